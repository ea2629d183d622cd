//! What waits for approval: `proposals`, `approve`, `reject`, `env protect`.

use control::ProposalView;
use serde_json::{Value, json};

use crate::Failure;
use crate::args::{EnvironmentOf, ProposalOptions};
use crate::client::{Client, encoded};
use crate::events::describe;
use crate::layout::{Column, list, wrapped};
use crate::show::time;
use crate::terminal::{one_line, print_json, width};

/// `decalog proposals`
pub fn run(client: &Client, options: ProposalOptions, as_json: bool) -> Result<(), Failure> {
    if let Some(id) = options.id {
        let proposal: ProposalView = client.get(&format!("/v1/proposals/{id}"))?;
        if as_json {
            print_json(&proposal);
        } else {
            show(&proposal);
        }
        return Ok(());
    }
    let all = listed(client, options.all || as_json)?;
    if as_json {
        print_json(&json!({ "proposals": all }));
        return Ok(());
    }
    let shown: Vec<ProposalView> =
        all.into_iter().filter_map(|it| serde_json::from_value(it).ok()).collect();
    if shown.is_empty() {
        eprintln!("nothing waits for approval");
        return Ok(());
    }
    let columns = [
        Column::figures("#"),
        Column::words("WHAT").down_to(16),
        Column::words("BY").down_to(6),
        Column::words("STATE").down_to(12),
    ];
    let rows: Vec<Vec<String>> = shown.iter().map(row).collect();
    list(&columns, &rows, &["BY"], width()).iter().for_each(|line| println!("{line}"));
    Ok(())
}

/// All of them, page by page; only those that are open, or also those that are over.
fn listed(client: &Client, all: bool) -> Result<Vec<Value>, Failure> {
    let mut found: Vec<Value> = vec![];
    loop {
        let before = found.last().and_then(|last| last["id"].as_u64());
        let before = before.map_or(String::new(), |id| format!("&before={id}"));
        let page: Value = client.get(&format!("/v1/proposals?limit=1000&open={}{before}", !all))?;
        let more = page["more"] == true;
        match page["proposals"].as_array() {
            Some(some) if !some.is_empty() => found.extend(some.iter().cloned()),
            _ => return Ok(found),
        }
        if !more {
            return Ok(found);
        }
    }
}

fn row(proposal: &ProposalView) -> Vec<String> {
    vec![
        proposal.id.to_string(),
        format!("{} of {}", proposal.action, proposal.object),
        one_line(&proposal.proposer).into_owned(),
        one_line(&proposal.says).into_owned(),
    ]
}

fn show(proposal: &ProposalView) {
    println!("{}  {} of {}", proposal.id, proposal.action, proposal.object);
    let line = |name: &str, text: &str| {
        println!("{}", wrapped(&format!("  {name:<10} {}", one_line(text)), 13, width()));
    };
    line("change", &format!("{} {}", proposal.change.kind(), describe(&proposal.change, "")));
    if !proposal.removes.is_empty() {
        let removed: Vec<String> = proposal
            .removes
            .iter()
            .map(|it| format!("{} ({})", it.version, &it.digest.to_string()[..12]))
            .collect();
        line("removes", &removed.join(", "));
    }
    line("by", &format!("{}, {}", proposal.proposer, time(proposal.at_ms)));
    if let Some(pusher) = &proposal.pusher {
        line("pushed by", pusher);
    }
    if !proposal.approvers.is_empty() {
        line("approved", &proposal.approvers.join(", "));
    }
    line("state", &proposal.says);
    if proposal.open {
        line("until", &time(proposal.expires_ms));
    }
}

/// `decalog approve`
pub fn approve(client: &Client, id: u64, as_json: bool) -> Result<(), Failure> {
    let path = format!("/v1/proposals/{id}/approvals");
    told(&client.post(&path, &json!({}))?, as_json);
    Ok(())
}

/// `decalog reject`
pub fn reject(client: &Client, id: u64, why: &str, as_json: bool) -> Result<(), Failure> {
    let path = format!("/v1/proposals/{id}/rejections");
    told(&client.post(&path, &json!({ "why": why }))?, as_json);
    Ok(())
}

fn told(proposal: &ProposalView, as_json: bool) {
    if as_json {
        print_json(proposal);
        return;
    }
    let (action, object) = (proposal.action, &proposal.object);
    eprintln!("proposal {}, {action} of {object}: {}", proposal.id, one_line(&proposal.says));
}

/// `decalog env protect`, `decalog env unprotect`
pub fn protect(client: &Client, of: &EnvironmentOf, approvals: u32) -> Result<(), Failure> {
    let path = format!(
        "/v1/projects/{}/environments/{}/protection",
        encoded(&of.project),
        encoded(&of.env)
    );
    client.put(&path, &json!({ "approvals": approvals }))?;
    let of = format!("{} of project {}", one_line(&of.env), one_line(&of.project));
    match approvals {
        0 => eprintln!("changes of {of} need no approval any more"),
        1 => eprintln!("changes of {of} need one approval"),
        more => eprintln!("changes of {of} need {more} approvals"),
    }
    Ok(())
}
