//! `decalog diff`: what differs between two versions, from their code to what they answer.

mod brief;
mod service;
mod told;

use control::view::{ModelView, VersionView};
use domain::reference::Selector;
use domain::{Code, EnvironmentName, ModelKey, Problem, VersionNumber};
use serde::Serialize;
use serde_json::json;
use server::{ChangesView, CompareReport, CompareRequest, Compared, EVALUATED_MAX};

use crate::Failure;
use crate::args::DiffOptions;
use crate::client::Client;
use crate::evaluations::in_turn;
use crate::show::reference;
use crate::terminal::print_json;
use service::Service;

pub use brief::brief;

/// A value of both versions; `None` where one has none.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Changed {
    /// What it is of.
    pub name: String,
    /// Before.
    pub before: Option<String>,
    /// After.
    pub after: Option<String>,
}

/// What differs in what the versions were made of.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// Files and manifest.
    pub changes: ChangesView,
    /// Packages, by their names.
    pub packages: Vec<Changed>,
    /// Columns; absent where those of one version are not known yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Vec<Changed>>,
    /// The same of outputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Vec<Changed>>,
    /// Training data, by their names.
    pub data: Vec<Changed>,
    /// The numbers of metrics.json.
    pub metrics: Vec<Changed>,
    /// Who pushed it, from which code.
    pub facts: Vec<Changed>,
}

/// All that is told.
#[derive(Serialize)]
struct Diff {
    project: String,
    model: String,
    environment: EnvironmentName,
    before: VersionView,
    after: VersionView,
    #[serde(flatten)]
    difference: Difference,
    service: Service,
    #[serde(skip_serializing_if = "Option::is_none")]
    replay: Option<Compared>,
    next: Vec<String>,
}

/// Runs the verb.
pub fn run(client: &Client, options: &DiffOptions, as_json: bool) -> Result<(), Failure> {
    let (key, environment, names) = versions(&options.versions)?;
    let path = format!("/v1/projects/{}/models/{}", key.project, key.model);
    let view: ModelView = client.get(&path)?;
    let of = |name: &str| {
        let found = view.versions.iter().find(|version| version.version == name);
        found.ok_or_else(|| {
            let known: Vec<&str> = view.versions.iter().map(|it| it.version.as_str()).collect();
            let text = format!("{key} has no version {name}, or not any more");
            let newest = known.iter().rev().take(10).copied().collect::<Vec<_>>().join(", ");
            Problem::new(Code::NoSuchVersion, text).help(format!("it has {newest}"))
        })
    };
    let (mut before, mut after) = (of(&names.0)?.clone(), of(&names.1)?.clone());
    let replay = match options.replay {
        Some(count) => {
            let report = compared(client, &key, &environment, &names, count)?;
            // Versions that were never deployed have told their columns now.
            before.schema.get_or_insert(report.schema_before);
            after.schema.get_or_insert(report.schema_after);
            Some(report.compared)
        }
        None => None,
    };
    let difference = Difference::read(client, &view, &before, &after)?;
    let service = Service::read(client, &path, &environment, (&before, &after), &options.since)?;
    let next = next(&key, &environment, &names, replay.as_ref());
    let diff = Diff {
        project: key.project.to_string(),
        model: key.model.to_string(),
        environment,
        before,
        after,
        difference,
        service,
        replay,
        next,
    };
    match as_json {
        true => print_json(&diff),
        false => told::print(&diff, options.lines),
    }
    Ok(())
}

/// What both answer to the last requests, so many.
fn compared(
    client: &Client,
    key: &ModelKey,
    environment: &EnvironmentName,
    (before, after): &(String, String),
    count: usize,
) -> Result<CompareReport, Failure> {
    if count == 0 || count > EVALUATED_MAX {
        let text = format!("from 1 to {EVALUATED_MAX} requests are asked again");
        return Err(Problem::new(Code::BadOption, text).into());
    }
    let asked = CompareRequest {
        before: before.clone(),
        after: after.clone(),
        environment: environment.clone(),
        last: Some(count),
        ids: vec![],
    };
    let path = format!("/v1/projects/{}/models/{}/compare", key.project, key.model);
    in_turn(client, &path, &json!(asked))
}

/// Both versions: `churn@v3 churn@v4`, `churn@v3 v4`, or `churn v3 v4`.
fn versions(words: &[String]) -> Result<(ModelKey, EnvironmentName, (String, String)), Problem> {
    let (first, second) = match words {
        [model, first, second] => (format!("{model}@{first}"), second),
        [first, second] => (first.clone(), second),
        _ => return Err(no_version("nothing")),
    };
    let first = reference(&first)?;
    let named = |selector: &Option<Selector>, text: &str| match selector {
        Some(Selector::Number(number)) => Ok(number.to_string()),
        _ => Err(no_version(text)),
    };
    let before = named(&first.selector, words[0].as_str())?;
    let after = match second.parse::<VersionNumber>() {
        Ok(number) => number.to_string(),
        Err(_) => {
            let second_reference = reference(second)?;
            if second_reference.model != first.model {
                let text =
                    format!("{} is another model than {}", second_reference.model, first.model);
                return Err(Problem::new(Code::BadReference, text)
                    .help("versions of one model are compared"));
            }
            named(&second_reference.selector, second)?
        }
    };
    Ok((first.model.clone(), first.environment(), (before, after)))
}

fn no_version(text: &str) -> Problem {
    Problem::new(Code::BadReference, format!("`{text}` names no version by its number"))
        .help("decalog diff churn@v3 churn@v4")
}

/// What to do then.
fn next(
    key: &ModelKey,
    environment: &EnvironmentName,
    (before, after): &(String, String),
    replay: Option<&Compared>,
) -> Vec<String> {
    let model = match key.project.as_str() {
        "default" => key.model.to_string(),
        _ => key.to_string(),
    };
    let place = match *environment == EnvironmentName::default() {
        true => model.clone(),
        false => format!("{model}@{environment}"),
    };
    match replay {
        None => vec![format!("decalog diff {place}@{before} {after} --replay 1000")],
        Some(asked) => {
            let worst = asked.worst().map(|id| format!("decalog replay {id} --on {model}@{after}"));
            let number = |name: &String| name.parse().map_or(0, |number: VersionNumber| number.0);
            let has_others = number(after) > number(before) + 1;
            let bisect = has_others.then(|| {
                format!("decalog bisect {place} --good {before} --bad {after} --replay 1000")
            });
            // What is surely worse by the truth is nothing to release.
            let release = (!asked.is_worse())
                .then(|| format!("decalog release {place}@{after} --canary 5,25,50"));
            worst.into_iter().chain(bisect).chain(release).collect()
        }
    }
}

impl Difference {
    /// Asks what differs.
    pub fn read(
        client: &Client,
        view: &ModelView,
        before: &VersionView,
        after: &VersionView,
    ) -> Result<Difference, Failure> {
        let path = format!(
            "/v1/projects/{}/models/{}/changes?from={}&to={}",
            view.project, view.name, before.version, after.version
        );
        let changes: ChangesView = client.get(&path)?;
        Ok(brief::of(changes, before, after))
    }
}
