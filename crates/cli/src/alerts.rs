//! `decalog alerts`: where alarms go.

use std::io::Read;

use domain::{Code, Problem, Severity};
use serde_json::{Value, json};
use server::{ReceiverListed, ReceiverSet, Receivers};

use crate::Failure;
use crate::args::AlertVerb;
use crate::client::{Client, encoded};
use crate::layout::{Column, list, wrapped};
use crate::show::{reference, time};
use crate::terminal::{one_line, print_json, width};

fn path(name: &str) -> String {
    format!("/v1/alert-receivers/{}", encoded(name))
}

/// Runs the verb.
pub fn run(client: &Client, verb: AlertVerb, as_json: bool) -> Result<(), Failure> {
    match verb {
        AlertVerb::Add { name, address, slack, alertmanager, model, severity } => {
            let kind = match (slack, alertmanager) {
                (true, _) => "slack",
                (_, true) => "alertmanager",
                _ => "webhook",
            };
            let model = model.as_deref().map(reference).transpose()?;
            let body = json!({
                "url": if address == "-" { read()? } else { address },
                "kind": kind,
                "model": model.map(|reference| reference.model.to_string()),
                "severity": Severity::from(severity),
            });
            set(client, &name, &body, as_json)
        }
        AlertVerb::Ls => listed(client, as_json),
        AlertVerb::Rm { name } => {
            client.delete(&path(&name))?;
            eprintln!("{name} is told of no more alarms");
            Ok(())
        }
        AlertVerb::Test { name } => {
            let tested: Value = client.post(&format!("{}/tests", path(&name)), &json!({}))?;
            match as_json {
                true => print_json(&tested),
                false => eprintln!("{name} has taken the test"),
            }
            Ok(())
        }
    }
}

/// An address that others do not see among the processes.
fn read() -> Result<String, Problem> {
    let mut text = String::new();
    let read = std::io::stdin().take(1 << 16).read_to_string(&mut text);
    read.map_err(|error| {
        Problem::new(Code::NoInput, format!("standard input cannot be read: {error}"))
    })?;
    Ok(text.trim().to_string())
}

fn set(client: &Client, name: &str, body: &Value, as_json: bool) -> Result<(), Failure> {
    let set: Value = client.put(&path(name), body)?;
    if as_json {
        print_json(&set);
        return Ok(());
    }
    let set: ReceiverSet = serde_json::from_value(set)
        .map_err(|error| Problem::new(Code::Failed, error.to_string()))?;
    eprintln!("{name} is told of alarms, at {}", set.receiver.host);
    if let Some(key) = &set.key {
        eprintln!("its messages are signed with this key, which is shown this once:");
        println!("{key}");
    }
    eprintln!("Next: decalog alerts test {name}");
    Ok(())
}

fn listed(client: &Client, as_json: bool) -> Result<(), Failure> {
    let Receivers { receivers } = client.get("/v1/alert-receivers")?;
    if as_json {
        print_json(&Receivers { receivers });
        return Ok(());
    }
    if receivers.is_empty() {
        eprintln!("alarms go nowhere yet\nNext: decalog alerts add NAME URL");
        return Ok(());
    }
    let columns = [
        Column::words("NAME").down_to(8),
        Column::words("KIND"),
        Column::words("HOST").down_to(14),
        Column::words("ALARMS").down_to(8),
        Column::figures("TOLD"),
        Column::figures("WAIT"),
        Column::figures("LOST"),
    ];
    let rows: Vec<Vec<String>> = receivers.iter().map(row).collect();
    for line in list(&columns, &rows, &["HOST"], width()) {
        println!("{line}");
    }
    for ReceiverListed { receiver, status } in &receivers {
        if let Some(error) = &status.error {
            let since = status.failing_since_ms.map_or(String::new(), time);
            let line = format!("{} takes nothing since {since}: {error}", receiver.name);
            println!("{}", wrapped(&one_line(&line), 2, width()));
        }
    }
    Ok(())
}

fn row(ReceiverListed { receiver, status }: &ReceiverListed) -> Vec<String> {
    let severity = match receiver.severity {
        Severity::Notice => "all",
        Severity::Warning => "from warnings",
        Severity::Alert => "only alerts",
    };
    let of = receiver.model.as_ref().map_or(String::new(), |model| format!(" of {model}"));
    vec![
        receiver.name.to_string(),
        receiver.kind.label().into(),
        one_line(&receiver.host).into_owned(),
        format!("{severity}{of}"),
        status.delivered.to_string(),
        status.waiting.to_string(),
        status.lost.to_string(),
    ]
}
