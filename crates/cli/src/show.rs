//! The verbs that read models: ls, show, logs, events; and rm.

use control::view::ModelView;
use domain::reference::Selector;
use domain::state::Outcome;
use domain::{After, Code, Event, Happened, Problem, Reference};
use monitor::Summary;
use serde_json::Value;
use server::Models;

use crate::Failure;
use crate::client::Client;
use crate::terminal::{as_written, one_line, print_json};

pub fn reference(text: &str) -> Result<Reference, Problem> {
    text.parse().map_err(|error: domain::reference::ReferenceError| {
        Problem::new(Code::BadReference, error.to_string())
    })
}

pub fn path_of(reference: &Reference) -> String {
    format!("/v1/projects/{}/models/{}", reference.model.project, reference.model.model)
}

/// `decalog ls`
pub fn list(client: &Client, project: Option<String>, as_json: bool) -> Result<(), Failure> {
    let query = project.map_or(String::new(), |project| format!("?project={project}"));
    let listed: Models = client.get(&format!("/v1/models{query}"))?;
    if as_json {
        print_json(&listed);
        return Ok(());
    }
    if listed.models.is_empty() {
        eprintln!("no models yet\nNext: decalog new hello && decalog deploy hello");
        return Ok(());
    }
    println!(
        "{:<20} {:<6} {:<12} {:<9} {:>8} {:>10} {:>10} {:>7}  STATE",
        "MODEL", "LIVE", "ENV", "REPLICAS", "REQ/S", "P50", "P99", "ERRORS"
    );
    for model in listed.models {
        let minute = model.last_minute.filter(|minute| minute.requests > 0);
        let figure = |of: fn(&Summary) -> f64| minute.as_ref().map(of);
        let dash = || "–".to_string();
        let ms = |of: fn(&Summary) -> f64| figure(of).map_or_else(dash, |ms| format!("{ms:.1} ms"));
        let row = &model.row;
        let name = if row.project.as_str() == "default" {
            row.name.to_string()
        } else {
            format!("{}/{}", row.project, row.name)
        };
        let line = format!(
            "{name:<20} {:<6} {:<12} {:<9} {:>8} {:>10} {:>10} {:>7}  {}",
            row.live.clone().unwrap_or_else(dash),
            row.environment.as_ref().map_or_else(dash, |environment| environment.to_string()),
            row.replicas,
            figure(|minute| minute.requests_per_s).map_or_else(dash, |rate| format!("{rate:.1}")),
            ms(|minute| minute.p50_ms),
            ms(|minute| minute.p99_ms),
            figure(|minute| minute.errors_share)
                .map_or_else(dash, |share| format!("{:.2}%", share * 100.0)),
            row.state,
        );
        println!("{}", line.trim_end());
    }
    Ok(())
}

/// `decalog show`
pub fn show(client: &Client, model: &str, schema_only: bool, as_json: bool) -> Result<(), Failure> {
    let reference = reference(model)?;
    let view: ModelView = client.get(&path_of(&reference))?;
    let live = view
        .live
        .iter()
        .find(|(environment, _)| *environment == reference.environment())
        .map(|(_, version)| version.clone());
    let wanted = match &reference.selector {
        Some(Selector::Number(number)) => Some(number.to_string()),
        _ => live.clone().or_else(|| view.versions.last().map(|version| version.version.clone())),
    };
    let version = view.versions.iter().find(|version| Some(&version.version) == wanted.as_ref());
    if let (Some(wanted), None) = (&wanted, version) {
        let known: Vec<&str> =
            view.versions.iter().map(|version| version.version.as_str()).collect();
        return Err(Problem::new(
            Code::NoSuchVersion,
            format!("`{}` has no version {wanted}", view.name),
        )
        .help(format!("it has {}", known.join(", ")))
        .into());
    }
    if schema_only {
        let schema = version.and_then(|version| version.schema.as_ref());
        let schema = schema.ok_or_else(|| {
            Problem::new(Code::NotLive, "the schema is known once a version has been loaded")
        })?;
        if as_json {
            print_json(schema);
        } else {
            println!("{schema}");
            for (title, columns) in [("inputs", &schema.inputs), ("outputs", &schema.outputs)] {
                println!("{title}");
                for column in columns {
                    let default = column
                        .default
                        .as_ref()
                        .map_or(String::new(), |value| format!(" = {value}"));
                    let values: Vec<String> =
                        column.categories.iter().map(Value::to_string).collect();
                    let values = if values.is_empty() {
                        String::new()
                    } else {
                        format!("  {}", values.join(", "))
                    };
                    println!("  {column}{default}{values}");
                }
            }
        }
        return Ok(());
    }
    if as_json {
        print_json(&view);
        return Ok(());
    }
    println!("{}/{}", view.project, view.name);
    for (environment, version) in &view.live {
        println!("  live         {version} in {environment}");
    }
    if let Some(version) = version {
        println!(
            "  schema       {}",
            version.schema.as_ref().map_or("not known yet".into(), |schema| schema.to_string())
        );
        println!("  runtime      {}, {} packages", version.runtime, version.packages.len());
    }
    println!("  replicas");
    for replica in &view.replicas {
        let memory = replica.memory_mb.map_or(String::new(), |mb| format!("{mb:.0} MB"));
        let start = replica.start_ms.map_or(String::new(), |ms| format!("started in {ms} ms"));
        let why = replica.colder_because.as_ref().map_or(String::new(), |why| format!(" ({why})"));
        println!(
            "    {:<8} {:<4} {:<9} pid {:<8} {memory:>8}  {} {start}{why}",
            replica.replica, replica.version, replica.state, replica.site.pid, replica.temperature
        );
    }
    if !view.parked.is_empty() {
        println!("  parked");
    }
    for parked in &view.parked {
        let memory = parked.memory_mb.map_or(String::new(), |mb| format!("{mb:.0} MB"));
        let line = format!(
            "    {:<8} {:<4} {:<9} pid {:<8} {memory:>8}  {}",
            parked.kind, parked.version, "", parked.site.pid, parked.note
        );
        println!("{}", line.trim_end());
    }
    println!("  versions");
    for version in &view.versions {
        let commit = version
            .provenance
            .git_commit
            .as_ref()
            .map_or(String::new(), |commit| format!(" {}", &commit[..commit.len().min(7)]));
        let measured = version.measured.map_or(String::new(), |m| {
            format!("  p50 {:.1} ms, p99 {:.1} ms, {:.0} MB", m.p50_ms, m.p99_ms, m.memory_mb)
        });
        println!(
            "    {:<4} {}  {} by {}{commit}{measured}",
            version.version,
            version.digest.short(),
            time(version.at_ms),
            one_line(&version.provenance.author)
        );
    }
    if let Some(deployment) = view.deployments.last()
        && let Outcome::Failed { step, problem } = &deployment.outcome
    {
        println!("  {} failed at {step}: {problem}", deployment.version);
    }
    Ok(())
}

/// Local time.
fn time(at_ms: u64) -> String {
    let timestamp = i64::try_from(at_ms)
        .ok()
        .and_then(|at_ms| jiff::Timestamp::from_millisecond(at_ms).ok())
        .unwrap_or_default();
    timestamp.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// `decalog logs`
pub fn logs(client: &Client, model: &str, follow: bool, lines: usize) -> Result<(), Failure> {
    let reference = reference(model)?;
    let version = match &reference.selector {
        Some(Selector::Number(number)) => format!("&version={number}"),
        _ => String::new(),
    };
    let path = format!("{}/logs?lines={lines}{version}", path_of(&reference));
    let mut printed = client.text(&path)?;
    std::print!("{}", as_written(&printed));
    if !follow {
        return Ok(());
    }
    loop {
        std::thread::sleep(std::time::Duration::from_millis(500));
        let now = client.text(&path)?;
        // What is new follows the last line that was printed.
        let last: Vec<&str> = printed.lines().rev().take(5).collect();
        let new: Vec<&str> = now.lines().rev().collect();
        let at = (0..new.len())
            .find(|at| new[*at..].iter().take(last.len()).eq(last.iter()))
            .unwrap_or(new.len());
        new[..at].iter().rev().for_each(|line| std::println!("{}", as_written(line)));
        printed = now;
    }
}

/// One line on an event.
fn describe(event: &Event) -> String {
    match event {
        Event::WriterStarted { program_version } => format!("decalog {program_version} started"),
        Event::VersionPushed(pushed) => {
            format!(
                "{} pushed by {}, {} files, {}",
                pushed.version,
                pushed.provenance.author,
                pushed.tree.files().len(),
                pushed.digest.short()
            )
        }
        Event::WriterHandedOver { pid } => format!("to process {pid}"),
        Event::DeployStarted { version, environment, plan, .. } if plan.is_instant() => {
            format!("{version} to {environment}{}", if plan.untested { ", untested" } else { "" })
        }
        Event::DeployStarted { version, environment, plan, .. } => {
            format!("{version} to {environment}: {plan}")
        }
        Event::TrafficShifted { version, environment, baseline, phase, .. } => {
            format!("{version} gets {phase} in {environment}, the rest goes to {baseline}")
        }
        Event::GuardsJudged { judgements, .. } => judgements.to_string().replace('\n', ";"),
        Event::ReleasePaused { .. } | Event::ReleaseResumed { .. } => String::new(),
        Event::ScaleChanged { placement, record } => {
            format!("{} in {}: {record}", placement.version, placement.environment)
        }
        Event::VersionRemoved { version } => version.to_string(),
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
        Event::Released { version, environment, previous, elapsed_ms, .. } => {
            let from = previous.map_or(String::new(), |previous| format!("{previous} → "));
            format!("{from}{version} in {environment}, {elapsed_ms} ms after it was asked")
        }
        Event::DeployFailed { step, problem, .. } => format!("at {step}: {}", problem.message),
        Event::VariableSet { environment, name, value, .. } => {
            let what = if value.is_some() { "variable" } else { "secret" };
            format!("{what} {name} in {environment}")
        }
        Event::VariableRemoved { environment, name, .. } => format!("{name} in {environment}"),
        Event::ReplicaReady { replica, elapsed_ms, .. } => {
            format!("{replica} ready after {elapsed_ms} ms")
        }
        Event::ReplicaFailed { replica, reason, restart_in_ms, .. } => {
            format!("{replica}: {reason}; the next starts in {restart_in_ms} ms")
        }
        Event::ModelRemoved {} => String::new(),
    }
}

fn print_event(happened: &Happened) {
    println!(
        "{}  {:<12} {:<18} {:<20} {}",
        time(happened.at_ms),
        one_line(&happened.actor),
        happened.event.kind(),
        one_line(&happened.subject),
        one_line(&describe(&happened.event))
    );
}

/// Events that are asked for at a time.
const PAGE: usize = 1_000;

/// `decalog events`
pub fn events(
    client: &Client,
    model: Option<String>,
    kind: Option<String>,
    follow: bool,
    after: After,
    as_json: bool,
) -> Result<(), Failure> {
    let filter = match &model {
        Some(model) => format!("&model={}", reference(model)?.model),
        None => String::new(),
    };
    let filter = format!("{filter}{}", kind.map_or(String::new(), |kind| format!("&kind={kind}")));
    if follow {
        for line in client.lines(&format!("/v1/events?after={after}&follow=true{filter}"))? {
            let line = line.map_err(|error| {
                Problem::new(Code::Interrupted, format!("the connection broke: {error}"))
            })?;
            match serde_json::from_str::<Happened>(&line) {
                Ok(happened) if !as_json => print_event(&happened),
                _ => std::println!("{line}"),
            }
        }
        return Ok(());
    }
    let (mut after, mut all) = (after, vec![]);
    loop {
        let page: Value = client.get(&format!("/v1/events?after={after}&limit={PAGE}{filter}"))?;
        let events = page["events"].as_array().cloned().unwrap_or_default();
        if as_json {
            all.extend(events);
        } else {
            events
                .into_iter()
                .filter_map(|event| serde_json::from_value(event).ok())
                .for_each(|event| print_event(&event));
        }
        // A page looks at so much and no more, whatever it finds there.
        match page["next"].as_str().and_then(|next| next.parse().ok()) {
            Some(next) if page["more"] == true => after = next,
            _ => break,
        }
    }
    if as_json {
        print_json(&serde_json::json!({ "events": all }));
    }
    Ok(())
}

/// `decalog rm`
pub fn remove(client: &Client, model: &str) -> Result<(), Failure> {
    let reference = reference(model)?;
    if let Some(Selector::Number(number)) = &reference.selector {
        client.delete(&format!("{}/versions/{number}", path_of(&reference)))?;
        eprintln!(
            "{number} of {} is removed; its files go with the next decalog gc",
            reference.model
        );
        return Ok(());
    }
    client.delete(&path_of(&reference))?;
    eprintln!("{} is removed; its files go with the next decalog gc", reference.model);
    Ok(())
}
