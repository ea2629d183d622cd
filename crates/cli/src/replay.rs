//! `decalog replay`: has recorded requests asked again, and prints what came of each.

use std::collections::BTreeMap;

use domain::reference::Selector;
use domain::{Code, EnvironmentName, ModelKey, Problem, VersionNumber};
use serde::Deserialize;
use serde_json::Value;
use server::{REPLAYED_MAX, ReplayOutcome, ReplayReport, ReplayRequest, Replayed};

use crate::Failure;
use crate::args::ReplayOptions;
use crate::client::{Client, not_understood};
use crate::layout::wrapped;
use crate::show::reference;
use crate::terminal::{one_line, print_json, width};

/// So many requests are listed one by one; of more, those that are not the same.
const LISTED_MAX: usize = 20;
/// Others than the same that are listed; more are for programs.
const OTHERS_MAX: usize = 100;
/// The shortest beginning of an id.
const PREFIX_BYTES_MIN: usize = 6;

/// A request, and what it was asked of.
#[derive(Deserialize)]
struct Known {
    id: String,
    project: String,
    model: String,
    environment: EnvironmentName,
}

/// Runs the verb.
pub fn run(client: &Client, options: &ReplayOptions, as_json: bool) -> Result<(), Failure> {
    let on = options.on.as_deref().map(version_of).transpose()?;
    let replays = match options.last {
        Some(count) => vec![last(&options.what, count)?],
        None => by_ids(client, &options.what)?,
    };
    let mut reports: Vec<ReplayReport> = vec![];
    for (key, request) in replays {
        if let Some((Some(of), _)) = on.as_ref().filter(|(of, _)| of.as_ref() != Some(&key)) {
            let text = format!("these requests were asked of {key}, not of {of}");
            return Err(Problem::new(Code::BadReference, text).into());
        }
        let on = on.as_ref().map(|(_, version)| version.to_string());
        let body = serde_json::to_value(ReplayRequest { on, ..request }).unwrap_or_default();
        let path = format!("/v1/projects/{}/models/{}/replay", key.project, key.model);
        reports.push(client.post(&path, &body)?);
    }
    match (as_json, reports.as_slice()) {
        (true, [one]) => print_json(one),
        (true, all) => print_json(&all),
        (false, all) => all.iter().for_each(print),
    }
    Ok(())
}

/// `v5`, or `churn@v5`.
fn version_of(text: &str) -> Result<(Option<ModelKey>, VersionNumber), Problem> {
    if let Ok(version) = text.parse() {
        return Ok((None, version));
    }
    let reference = reference(text)?;
    match reference.selector {
        Some(Selector::Number(number)) => Ok((Some(reference.model), number)),
        _ => Err(Problem::new(Code::BadReference, format!("`{text}` names no version"))
            .help(format!("--on {}@v5", reference.model.model))),
    }
}

fn last(what: &[String], count: usize) -> Result<(ModelKey, ReplayRequest), Problem> {
    let [model] = what else {
        return Err(Problem::new(Code::BadReference, "--last takes one model")
            .help("decalog replay churn --last 100"));
    };
    let reference = reference(model)?;
    let version = match &reference.selector {
        None => None,
        Some(Selector::Number(number)) => Some(number.to_string()),
        Some(Selector::Digest(_)) => {
            return Err(Problem::new(Code::BadReference, "name the version by its number")
                .help("decalog replay churn@v4 --last 100"));
        }
    };
    let environment = reference.environment();
    let request = ReplayRequest { last: Some(count), environment, version, ..Default::default() };
    Ok((reference.model, request))
}

/// Finds out what requests were asked of.
fn by_ids(client: &Client, prefixes: &[String]) -> Result<Vec<(ModelKey, ReplayRequest)>, Failure> {
    let mut conditions = vec![];
    for prefix in prefixes {
        let is_id = prefix.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if !is_id || prefix.len() < PREFIX_BYTES_MIN {
            let text = format!("`{prefix}` is no id of a request, nor the beginning of one");
            return Err(Problem::new(Code::BadReference, text)
                .help("the answer's header Decalog-Request-Id is one, and decalog records lists them; of a model: --last 100")
                .into());
        }
        conditions.push(format!("id like '{}%'", prefix.to_lowercase()));
    }
    let sql = format!(
        "select distinct id, project, model, environment from records where {} limit {}",
        conditions.join(" or "),
        REPLAYED_MAX + 1
    );
    let known: Vec<Known> = client.sql(&sql)?;
    if known.is_empty() {
        return Err(Problem::new(Code::NoRecords, "there is no record of such a request")
            .help("decalog records MODEL lists those that there are")
            .into());
    }
    let mut models: BTreeMap<(ModelKey, EnvironmentName), Vec<String>> = BTreeMap::new();
    for Known { id, project, model, environment } in known {
        let key = ModelKey::try_from(format!("{project}/{model}"))
            .map_err(|error| not_understood(&error))?;
        models.entry((key, environment)).or_default().push(id);
    }
    let request =
        |((key, environment), ids)| (key, ReplayRequest { ids, environment, ..Default::default() });
    Ok(models.into_iter().map(request).collect())
}

fn print(report: &ReplayReport) {
    let is_listed =
        |it: &&Replayed| report.results.len() <= LISTED_MAX || it.outcome != ReplayOutcome::Same;
    let listed: Vec<&Replayed> = report.results.iter().filter(is_listed).collect();
    for result in listed.iter().take(OTHERS_MAX) {
        print_result(result);
    }
    if listed.len() > OTHERS_MAX {
        eprintln!("… and {} more: --json has them all", listed.len() - OTHERS_MAX);
    }
    let all = report.results.len();
    let mut counts = vec![format!("{} of {all} the same, bit for bit", report.same)];
    for (count, what) in [
        (report.near, "the same but for rounding"),
        (report.different, "different"),
        (report.cannot, "cannot be repeated"),
    ] {
        if count > 0 {
            counts.push(format!("{count} {what}"));
        }
    }
    println!("{}/{}: {}", report.project, report.model, counts.join(", "));
    for version in &report.versions {
        if let Some(probe) = &version.probe {
            println!("{}", wrapped(&format!("{} is {probe}", version.version), 4, width()));
        }
        for changed in &version.changed {
            println!("{}", wrapped(&format!("{}: {changed}", version.version), 4, width()));
        }
    }
}

fn print_result(result: &Replayed) {
    let versions = match (&result.version, &result.on) {
        (Some(version), Some(on)) if version != on => format!("{version} → {on}"),
        (Some(version), _) => version.clone(),
        (None, _) => "–".into(),
    };
    let why = result.why.as_deref().unwrap_or_default();
    let outcome = match (result.outcome, result.ulp) {
        (ReplayOutcome::Same, _) => "same".into(),
        (ReplayOutcome::Near, Some(ulp)) => format!("same within {ulp} ulp"),
        (ReplayOutcome::Near, None) => "same but for rounding".into(),
        (ReplayOutcome::Different, _) if why.is_empty() => {
            format!("different, {} times of {}", result.runs, result.runs)
        }
        (ReplayOutcome::Different, _) => format!("different: {why}"),
        (ReplayOutcome::Cannot, _) => format!("cannot: {why}"),
    };
    let left_out = match result.left_out.len() {
        0 => String::new(),
        _ => format!(" (not recorded: {})", result.left_out.join(", ")),
    };
    let line = format!("{}  {versions}  {}{left_out}", result.id, one_line(&outcome));
    println!("{}", wrapped(&line, 4, width()));
    for difference in &result.differences {
        let ulp = difference.ulp.map_or(String::new(), |ulp| format!("  ({ulp} ulp)"));
        let row =
            if result.rows > 1 { format!(" of row {}", difference.row) } else { String::new() };
        println!(
            "    {}{row}  {} → {}{ulp}",
            one_line(&difference.column),
            text(&difference.before),
            text(&difference.after)
        );
    }
}

fn text(value: &Value) -> String {
    one_line(&value.to_string()).into_owned()
}
