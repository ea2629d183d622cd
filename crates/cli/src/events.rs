//! `decalog events`: what happened, one event after the other.

use domain::release::{Cause, Plan};
use domain::{After, Code, Event, Happened, Problem, TokenOrigin};
use serde_json::Value;

use crate::Failure;
use crate::client::Client;
use crate::layout::{cut, padded, wrapped};
use crate::show::{failed, path_of, reference, time};
use crate::terminal::{one_line, print_json, width};

/// Events that are requested at a time.
const PAGE: usize = 1_000;
/// A terminal narrower than this gets a shorter form, in columns.
const WIDE: usize = 120;
/// Where a long event goes on below itself, in columns.
const INDENT: usize = 16;

/// Which events, and of what.
pub struct Selection {
    pub model: Option<String>,
    pub kind: Option<String>,
    pub after: After,
}

/// Runs the verb.
pub fn run(
    client: &Client,
    selection: Selection,
    follow: bool,
    as_json: bool,
) -> Result<(), Failure> {
    let model = selection.model.as_deref().map(reference).transpose()?;
    let mut filter = String::new();
    if let Some(reference) = &model {
        filter += &format!("&model={}", reference.model);
    }
    if let Some(kind) = &selection.kind {
        filter += &format!("&kind={kind}");
    }
    let print = |happened: &Happened| println!("{}", line(happened, model.is_some(), width()));
    if follow {
        if let Some(reference) = &model
            && let Err(Failure::Problem(problem)) = client.get::<Value>(&path_of(reference))
        {
            eprintln!("note: {}; it is waited for", problem.message);
        }
        let path = format!("/v1/events?after={}&follow=true{filter}", selection.after);
        for line in client.lines(&path)? {
            let line = line.map_err(|error| {
                Problem::new(Code::Interrupted, format!("the connection broke: {error}"))
            })?;
            match serde_json::from_str::<Happened>(&line) {
                Ok(happened) if !as_json => print(&happened),
                _ => std::println!("{line}"),
            }
        }
        return Ok(());
    }
    let (mut after, mut all, mut is_empty) = (selection.after, vec![], true);
    loop {
        let page: Value = client.get(&format!("/v1/events?after={after}&limit={PAGE}{filter}"))?;
        let events = page["events"].as_array().cloned().unwrap_or_default();
        is_empty &= events.is_empty();
        if as_json {
            all.extend(events);
        } else {
            events
                .into_iter()
                .filter_map(|event| serde_json::from_value(event).ok())
                .for_each(|event| print(&event));
        }
        // A page looks at so much and no more, whatever it finds there.
        match page["next"].as_str().and_then(|next| next.parse().ok()) {
            Some(next) if page["more"] == true => after = next,
            _ => break,
        }
    }
    // Nothing happened, or the name is none: of a model that was removed there are events.
    if let Some(reference) = model.as_ref().filter(|_| is_empty && selection.kind.is_none()) {
        client.get::<Value>(&path_of(reference))?;
    }
    if as_json {
        print_json(&serde_json::json!({ "events": all }));
    }
    Ok(())
}

/// An event as a person reads it. On a narrow terminal it goes without the year and with short
/// names, and without the model if there is only one; the text always stays whole.
fn line(happened: &Happened, is_of_one: bool, width: Option<usize>) -> String {
    let is_narrow = width.is_some_and(|width| width < WIDE);
    let (actor_max, subject_max) = if is_narrow { (8, 16) } else { (12, 30) };
    let at = time(happened.at_ms);
    let year = "2026-".len();
    let at = if is_narrow { at.get(year..).unwrap_or(&at) } else { &at };
    let fitted = |text: &str, columns: usize| {
        let text = one_line(text);
        match width {
            Some(_) => padded(&cut(&text, columns), columns),
            None => padded(&text, columns),
        }
    };
    let subject = happened.subject.strip_prefix("default/").unwrap_or(&happened.subject);
    let subject = match is_narrow && is_of_one {
        true => String::new(),
        false => format!("{}  ", fitted(subject, subject_max)),
    };
    let line = format!(
        "{at}  {}  {}  {subject}{}",
        fitted(&happened.actor, actor_max),
        padded(happened.event.kind(), 17),
        one_line(&describe(&happened.event, happened.about.as_deref().unwrap_or_default()))
    );
    wrapped(line.trim_end(), INDENT, width)
}

/// How a version gets its traffic, if not at once, and why it is no plain deploy.
fn planned(plan: &Plan) -> String {
    let how = if plan.is_instant() && plan.rehearse.is_none() {
        String::new()
    } else {
        format!(": {plan}")
    };
    let why = match plan.cause {
        Cause::Rollback => ", a rollback",
        _ if plan.untested => ", with --untested",
        _ => "",
    };
    format!("{how}{why}")
}

/// One line on an event.
pub fn describe(event: &Event, about: &str) -> String {
    match event {
        Event::WriterStarted { program_version } => format!("decalog {program_version} started"),
        Event::VersionPushed(pushed) => {
            format!(
                "{} pushed by {}, {} files, {}{}",
                pushed.version,
                pushed.provenance.author,
                pushed.tree.files().len(),
                pushed.digest.short(),
                pushed.signature.as_ref().map_or(String::new(), |it| format!(", {it}"))
            )
        }
        Event::WriterHandedOver { pid } => format!("to process {pid}"),
        Event::DeployStarted { version, environment, plan, .. } => {
            format!("{version} to {environment}{}", planned(plan))
        }
        Event::TrafficShifted { version, environment, baseline, phase, .. } => {
            format!("{version} in {environment}: {}", phase.told(*baseline))
        }
        Event::GuardsJudged { judgements, .. } => judgements.to_string().replace('\n', ";"),
        Event::ReleasePaused { .. } | Event::ReleaseResumed { .. } => String::new(),
        Event::ScaleChanged { placement, record } => {
            format!("{} in {}: {record}", placement.version, placement.environment)
        }
        Event::VersionRemoved { version, .. } => version.to_string(),
        Event::EnvironmentBuilt { lock, cached, elapsed_ms, .. } => {
            format!(
                "environment {}{}, {elapsed_ms} ms",
                lock.short(),
                if *cached { " (cached)" } else { "" }
            )
        }
        Event::SchemaRecorded { version, schema } => format!("{version}: {schema}"),
        Event::CandidateReady { elapsed_ms: 0, .. } => "replica was kept ready".into(),
        Event::CandidateReady { elapsed_ms, .. } => format!("model loaded in {elapsed_ms} ms"),
        Event::TestsPassed { cases, made_up, .. } => {
            crate::following::tested(*cases, made_up.as_ref())
        }
        Event::GatesPassed { candidate, live, .. } => {
            let live = live.map_or(String::new(), |live| {
                format!(" (live: p99 {:.1} ms, {:.0} MB)", live.p99_ms, live.memory_mb)
            });
            format!("p99 {:.1} ms, {:.0} MB{live}", candidate.p99_ms, candidate.memory_mb)
        }
        Event::DeterminismProbed { version, environment, probe, .. } => {
            format!("{version} in {environment} is {probe}")
        }
        Event::RehearsalStarted { version, environment, baseline, found, .. } => {
            format!("{found} requests of {environment} are asked of {version} and {baseline}")
        }
        Event::Rehearsed { version, environment, rehearsal, .. } => {
            format!("{version} in {environment}: {rehearsal}")
        }
        Event::Released { version, environment, previous, elapsed_ms, .. } => {
            let from = previous.map_or(String::new(), |previous| format!("{previous} → "));
            format!("{from}{version} in {environment}, {elapsed_ms} ms after it was requested")
        }
        Event::DeployFailed { step, problem, .. } => failed(step, &problem.message),
        Event::VariableSet { environment, name, value, .. } => {
            let what = if value.is_some() { "variable" } else { "secret" };
            format!("{what} {name} in {environment}")
        }
        Event::VariableReferenceSet { environment, name, reference, .. } => {
            format!("secret {name} in {environment} is read from {reference}")
        }
        Event::VariableRemoved { environment, name, .. } => format!("{name} in {environment}"),
        Event::ReplicaReady { replica, elapsed_ms, sandbox, .. } => {
            let within = sandbox.map_or(String::new(), |level| format!(", sandbox {level}"));
            format!("{replica} ready after {elapsed_ms} ms{within}")
        }
        Event::ReplicaFailed { replica, reason, restart_in_ms, .. } => {
            format!("{replica}: {reason}; the next starts in {restart_in_ms} ms")
        }
        Event::ModelRemoved { .. } => String::new(),
        Event::AccessBegan {} => "actors are proved from here on".into(),
        Event::PrincipalAdded { .. } | Event::PrincipalRemoved { .. } => about.into(),
        Event::GroupsChanged { groups, .. } => {
            let groups: Vec<&str> = groups.iter().map(|group| group.as_str()).collect();
            let groups = if groups.is_empty() { "no group".into() } else { groups.join(", ") };
            format!("{about} is in {groups}")
        }
        Event::GrantGiven { grant, .. } | Event::GrantWithdrawn { grant } => {
            format!("{about}: {} of {}", grant.role, grant.reach.display())
        }
        Event::TokenCreated { token } if !token.origin.is_made() => {
            let how = match token.origin {
                TokenOrigin::Session => "a browser",
                TokenOrigin::Exchange => "a job's token",
                TokenOrigin::Login | TokenOrigin::Made => "a terminal",
            };
            format!("{about} logged in by {how}: {}", token.id)
        }
        Event::TokenCreated { token } | Event::TokenRotated { token } => {
            format!("{} of {about}, for {}", token.id, token.scopes)
        }
        Event::TokenRevoked { id } => format!("{id} of {about}"),
        Event::TokensRevoked {} => "all that there were".into(),
        Event::KeysRotated { from, to, removed } => {
            let from = from.as_ref().map_or(String::new(), |from| format!("{from} -> "));
            let removed = match removed.len() {
                0 => String::new(),
                _ => format!("; deleted {}", removed.join(", ")),
            };
            format!("{from}{to}{removed}")
        }
        Event::AlertReceiverSet { receiver } => {
            let (name, kind) = (&receiver.name, receiver.kind.label());
            format!("{name}: {kind} at {}", receiver.host)
        }
        Event::AlertReceiverRemoved { name } => name.to_string(),
        Event::RecordsErased { model, records, files, .. } => {
            let model = model.as_ref().map_or(String::new(), |model| format!(" of {model}"));
            format!("{records} records{model} in {files} files")
        }
        Event::TokensRequired { required: true } => "also on this machine".into(),
        Event::TokensRequired { required: false } => "only from beyond this machine".into(),
        Event::EnvironmentProtected { environment, protection, .. } => {
            format!("{environment}: approvals {}", protection.approvals)
        }
        Event::EnvironmentUnprotected { environment, .. } => environment.to_string(),
        Event::SignatureJudged { version, environment, signature, .. } => {
            format!("{version} for {environment} is {signature}")
        }
        Event::SignaturesRequired { environment, required: true, .. } => {
            format!("{environment} takes only signed versions")
        }
        Event::SignaturesRequired { environment, .. } => {
            format!("{environment} takes versions without a signature")
        }
        Event::TrustGiven { key, .. } => key.to_string(),
        Event::TrustWithdrawn { key, name } => format!("{name} ({})", key.short()),
        Event::Proposed(proposed) => format!("{} of {}", proposed.action, proposed.object),
        Event::ProposalApproved { proposal, .. } => format!("proposal {proposal}"),
        Event::ProposalRejected { proposal, why, .. } => format!("proposal {proposal}: {why}"),
    }
}

#[cfg(test)]
mod tests;
