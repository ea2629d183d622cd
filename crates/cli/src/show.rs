//! The verbs that read models: ls, show, logs; and rm.

use control::view::{ModelRow, ModelView, ParkedView, ReplicaView, VersionView};
use domain::launch::Sandbox;
use domain::reference::Selector;
use domain::state::Outcome;
use domain::{Code, EnvironmentName, ModelKey, Problem, Reference, Schema, Severity};
use monitor::Summary;
use serde_json::Value;
use server::{ModelListed, Models, ReferenceView};
use textwrap::core::display_width;

use crate::Failure;
use crate::client::Client;
use crate::layout::{Column, list, wrapped};
use crate::terminal::{Colour, escaped, one_line, painted, print_json, width};

pub fn reference(text: &str) -> Result<Reference, Problem> {
    text.parse().map_err(|error: domain::reference::ReferenceError| {
        Problem::new(Code::BadReference, error.to_string())
    })
}

/// A model as commands name it: the project `default` is not written.
pub fn named(model: &ModelKey) -> String {
    match model.project.as_str() {
        "default" => model.model.to_string(),
        _ => model.to_string(),
    }
}

pub fn path_of(reference: &Reference) -> String {
    format!("/v1/projects/{}/models/{}", reference.model.project, reference.model.model)
}

/// `decalog ls`
pub fn models(client: &Client, project: Option<String>, as_json: bool) -> Result<(), Failure> {
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
    let rows: Vec<Vec<String>> = listed.models.iter().map(row_of).collect();
    let lines = list(&COLUMNS, &rows, &["P50", "REQ/S", "ERRORS", "REPLICAS"], width());
    let colours: Vec<Option<Colour>> = listed.models.iter().map(colour_of).collect();
    for (at, line) in lines.iter().enumerate() {
        let colour = at.checked_sub(1).and_then(|at| *colours.get(at)?);
        // What is worth knowing stands at the end, after the last gap of its columns.
        let begin = lines[0].find("STATE").map_or(line.len(), |_| columns_before(&lines[0], line));
        let (before, state) = line.split_at(begin);
        std::println!("{}{}", escaped(before), painted(&escaped(state), colour));
    }
    Ok(())
}

/// Where in a line its last column begins, in bytes: below the title of that column.
fn columns_before(titles: &str, line: &str) -> usize {
    let columns = titles.find("STATE").map_or(0, |at| display_width(&titles[..at]));
    let mut used = 0;
    for (at, c) in line.char_indices() {
        if used >= columns {
            return at;
        }
        used += display_width(c.encode_utf8(&mut [0; 4]));
    }
    line.len()
}

/// In which colour a terminal shows what is said of a model.
fn colour_of(model: &ModelListed) -> Option<Colour> {
    let state = &model.row.state;
    let is = |words: &[&str]| words.iter().any(|word| state.contains(word));
    match &model.alarm {
        Some(alarm) if alarm.severity == Severity::Alert => Some(Colour::Red),
        Some(_) => Some(Colour::Yellow),
        None if is(&["fail", "no replica"]) => Some(Colour::Red),
        None if is(&["canary", "shadow", "deploying", "aborted"]) => Some(Colour::Yellow),
        None if is(&["idle"]) => Some(Colour::Faint),
        None => None,
    }
}

const COLUMNS: [Column; 8] = [
    Column::names("MODEL").down_to(16),
    Column::words("LIVE"),
    Column::words("REPLICAS"),
    Column::figures("REQ/S"),
    Column::figures("P50"),
    Column::figures("P99"),
    Column::figures("ERRORS"),
    Column::words("STATE").down_to(20),
];

fn row_of(model: &ModelListed) -> Vec<String> {
    let row = &model.row;
    let minute = model.last_minute.as_ref().filter(|minute| minute.requests > 0);
    let figure = |shown: fn(&Summary) -> String| minute.map_or_else(|| "–".into(), shown);
    vec![
        name_of(row),
        row.live.clone().unwrap_or_else(|| "–".into()),
        row.replicas.to_string(),
        figure(|minute| format!("{:.1}", minute.requests_per_s)),
        figure(|minute| format!("{:.1} ms", minute.p50_ms)),
        figure(|minute| format!("{:.1} ms", minute.p99_ms)),
        figure(|minute| format!("{:.2}%", minute.errors_share * 100.0)),
        one_line(&state_of(model)).into_owned(),
    ]
}

/// What is worth knowing: an alarm before all.
fn state_of(ModelListed { row, alarms, alarm, .. }: &ModelListed) -> String {
    let more = alarms.saturating_sub(1);
    match alarm {
        Some(alarm) if more > 0 => format!("{} (and {more} more)", alarm.what),
        Some(alarm) => alarm.what.clone(),
        None => row.state.clone(),
    }
}

/// The shortest reference to what is live: neither `default` nor `production` is written.
fn name_of(row: &ModelRow) -> String {
    let mut name = row.name.to_string();
    if row.project.as_str() != "default" {
        name = format!("{}/{name}", row.project);
    }
    match &row.environment {
        Some(environment) if *environment != EnvironmentName::default() => {
            format!("{name}@{environment}")
        }
        _ => name,
    }
}

/// What of a model is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// All that there is to say.
    All,
    /// Its columns.
    Schema,
    /// A row of these.
    Row,
}

impl Part {
    /// As the options say.
    pub fn of(schema: bool, row: bool) -> Part {
        match (schema, row) {
            (true, _) => Part::Schema,
            (_, true) => Part::Row,
            _ => Part::All,
        }
    }
}

/// `decalog show`
pub fn show(client: &Client, model: &str, part: Part, as_json: bool) -> Result<(), Failure> {
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
    match part {
        Part::Schema => return print_schema(version, as_json),
        Part::Row => {
            let schema = known_schema(version)?;
            std::println!("{}", worker::synthetic_row(schema));
            return Ok(());
        }
        Part::All => {}
    }
    if as_json {
        print_json(&view);
        return Ok(());
    }
    let columns = width();
    let print = |line: String, indent: usize| {
        println!("{}", wrapped(line.trim_end(), indent, columns));
    };
    print(format!("{}/{}", view.project, view.name), 0);
    for (environment, version) in &view.live {
        print(format!("  live         {version} in {environment}"), 15);
    }
    for (environment, problem) in &view.failing {
        let ready =
            view.replicas.iter().filter(|it| it.state == "ready" && it.environment == *environment);
        let answering = match ready.count() {
            0 => "no replica answers".into(),
            1 => "an earlier replica answers".into(),
            count => format!("{count} earlier replicas answer"),
        };
        print(
            format!(
                "  failing      new replicas in {environment}: {}; {answering}",
                problem.message
            ),
            15,
        );
        problem.details.iter().for_each(|line| print(format!("               {line}"), 17));
        if !problem.help.is_empty() {
            print(format!("               help: {}", problem.help), 15);
        }
    }
    if let Some(version) = version {
        let schema = version.schema.as_ref();
        let schema = schema.map_or("not known yet".into(), |schema| schema.to_string());
        print(format!("  schema       {schema}"), 15);
        let packages = version.packages.len();
        print(format!("  runtime      {}, {packages} packages", version.runtime), 15);
        let signature = version.signature.as_ref();
        let signed = signature.map_or("not signed", |signature| signature.says.as_str());
        print(format!("  signature    {}", one_line(signed)), 15);
        for (title, text) in crate::provenance::lines(&version.provenance) {
            print(format!("  {title:<12} {text}"), 15);
        }
        for (environment, probe) in &version.probed {
            print(format!("  answers      {probe} ({environment})"), 15);
        }
        let path = format!("{}/reference?version={}", path_of(&reference), version.version);
        // Most versions have none, and an older server does not know what it is.
        if let Ok(file) = client.get::<ReferenceView>(&path) {
            print(format!("  reference    {}", crate::profiling::line(&file)), 15);
        }
    }
    print("  replicas".into(), 0);
    view.replicas.iter().for_each(|replica| print(line_of_replica(replica), 13));
    if !view.parked.is_empty() {
        print("  parked".into(), 0);
    }
    view.parked.iter().for_each(|parked| print(line_of_parked(parked), 13));
    print("  versions".into(), 0);
    view.versions.iter().for_each(|version| print(line_of_version(version), 9));
    if let Some(deployment) = view.deployments.last()
        && let Outcome::Failed { step, problem } = &deployment.outcome
    {
        print(format!("  {} {}", deployment.version, failed(step, &problem.to_string())), 4);
    }
    Ok(())
}

/// How a deployment ended that did not go live: one that was aborted did not fail.
pub fn failed(step: &str, why: &str) -> String {
    match step {
        "aborted" | "superseded" => format!("did not go live: {why}"),
        _ => format!("failed at {step}: {why}"),
    }
}

fn known_schema(version: Option<&VersionView>) -> Result<&Schema, Problem> {
    version.and_then(|version| version.schema.as_ref()).ok_or_else(|| {
        Problem::new(Code::NotLive, "the schema is known once a version has been loaded")
    })
}

fn print_schema(version: Option<&VersionView>, as_json: bool) -> Result<(), Failure> {
    let schema = known_schema(version)?;
    if as_json {
        print_json(schema);
        return Ok(());
    }
    let columns_of_terminal = width();
    println!("{}", wrapped(&schema.to_string(), 4, columns_of_terminal));
    for (title, columns) in [("inputs", &schema.inputs), ("outputs", &schema.outputs)] {
        println!("{title}");
        for column in columns {
            let default = column.default.as_ref();
            let default = default.map_or(String::new(), |value| format!(" = {value}"));
            let values: Vec<String> = column.categories.iter().map(Value::to_string).collect();
            let labels = column.labels.iter().enumerate();
            let labels: Vec<String> = labels
                .map(|(place, label)| format!("{}[{place}] is of {label}", column.name))
                .collect();
            let told = [values.join(", "), labels.join(", ")].concat();
            let line = format!("  {column}{default}  {told}");
            println!("{}", wrapped(line.trim_end(), 6, columns_of_terminal));
        }
    }
    Ok(())
}

fn line_of_replica(replica: &ReplicaView) -> String {
    let memory = replica.memory_mb.map_or(String::new(), |mb| format!("{mb:.0} MB"));
    let start = replica.start_ms.map_or(String::new(), |ms| format!("started in {ms} ms"));
    let why = replica.colder_because.as_ref().map_or(String::new(), |why| format!(" ({why})"));
    let sandbox = match replica.sandbox {
        None => String::new(),
        Some(Sandbox::Off) => ", no sandbox".into(),
        Some(level) => format!(", sandbox {level}"),
    };
    format!(
        "    {:<8} {:<4} {:<9} pid {:<8} {memory:>8}  {} {start}{why}{sandbox}",
        replica.replica, replica.version, replica.state, replica.site.pid, replica.temperature
    )
}

fn line_of_parked(parked: &ParkedView) -> String {
    let memory = parked.memory_mb.map_or(String::new(), |mb| format!("{mb:.0} MB"));
    format!(
        "    {:<8} {:<4} {:<9} pid {:<8} {memory:>8}  {}",
        parked.kind, parked.version, "", parked.site.pid, parked.note
    )
}

fn line_of_version(version: &VersionView) -> String {
    let commit = version.provenance.git_commit.as_ref();
    let commit =
        commit.map_or(String::new(), |commit| format!(" {}", &commit[..commit.len().min(7)]));
    let measured = version.measured.map_or(String::new(), |measured| {
        format!(
            "  p50 {:.1} ms, p99 {:.1} ms, {:.0} MB",
            measured.p50_ms, measured.p99_ms, measured.memory_mb
        )
    });
    format!(
        "    {:<4} {}  {} by {}{commit}{measured}",
        version.version,
        version.digest.short(),
        time(version.at_ms),
        one_line(&version.provenance.author)
    )
}

/// Local time.
pub fn time(at_ms: u64) -> String {
    let timestamp = i64::try_from(at_ms)
        .ok()
        .and_then(|at_ms| jiff::Timestamp::from_millisecond(at_ms).ok())
        .unwrap_or_default();
    timestamp.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}
