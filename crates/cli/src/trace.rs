//! `decalog trace`: from the id of a request, a trace or a key to the prediction, and from there to
//! the version, its code and data, the release that was in force, and the truth.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};

use domain::lineage::{InForce, LineagePackages, LineageRelease, LineageVersion};
use domain::problem::excerpt;
use domain::{Code, Digest, EnvironmentName, Lineage, Problem, VersionNumber};
use monitor::drift::ModelDrift;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use server::TruthKnown;

use crate::Failure;
use crate::args::TraceOptions;
use crate::client::{Client, encoded, not_understood};
use crate::layout::{Column, list};
use crate::rows::Row;
use crate::show::reference;
use crate::terminal::{print_json, width};
use usual::Usual;

mod told;
mod usual;

/// Predictions that are listed.
const FOUND_MAX: usize = 20;
/// Rows of one request that are read.
const ROWS_MAX: usize = 1_000;
/// The fewest digits of an id.
const DIGITS_MIN: usize = 4;
/// Of an id in a list: enough to tell two of one millisecond apart.
const ID_CHARS: usize = 23;
/// Where an id has its hyphens, after so many digits.
const HYPHENS: [usize; 4] = [8, 12, 16, 20];
/// An input that so few of the reference had is rare.
const RARE_SHARE: f64 = 0.05;

/// A prediction that fits.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Found {
    id: String,
    project: String,
    model: String,
    environment: EnvironmentName,
    version: String,
    digest: Digest,
    time: String,
    status: u16,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    trace: Option<String>,
    copy: bool,
    rows: u64,
}

/// All that is known of one prediction.
#[derive(Default)]
struct Traced {
    records: Vec<Row>,
    version: Option<LineageVersion>,
    packages: Option<LineagePackages>,
    release: Option<Release>,
    truth: TruthKnown,
    rare: Vec<Rare>,
    /// What the values of each version of the model are compared with.
    references: BTreeMap<String, Digest>,
    /// How it stands among others, if that was asked for.
    usual: Option<Usual>,
    /// What could not be learned, and why.
    unknown: Vec<String>,
}

/// By which release it was answered.
#[derive(Clone, Debug, Serialize)]
struct Release {
    /// `live`, `part`, `copy`, `replaced`, or `by_number`.
    how: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<LineageRelease>,
}

/// An input that the reference hardly had.
#[derive(Clone, Debug, Serialize)]
struct Rare {
    row: usize,
    column: String,
    /// Of the reference's values, from 0 to 1.
    share: f64,
    reference: String,
}

/// Runs the verb.
pub fn run(client: &Client, options: &TraceOptions, as_json: bool) -> Result<(), Failure> {
    tell(client, options, as_json, false)
}

/// The same, and how it stands among others: `decalog why prediction`.
pub fn why(client: &Client, id: &str, as_json: bool) -> Result<(), Failure> {
    let options = TraceOptions { id: Some(id.into()), key: None, model: None };
    tell(client, &options, as_json, true)
}

fn tell(
    client: &Client,
    options: &TraceOptions,
    as_json: bool,
    says_why: bool,
) -> Result<(), Failure> {
    let of = match &options.model {
        Some(model) => Some(reference(model)?.model),
        None => None,
    };
    let place = of.map_or(String::new(), |key| {
        format!(
            "project = {} and model = {} and ",
            text(key.project.as_str()),
            text(key.model.as_str())
        )
    });
    let mut found = vec![];
    for condition in conditions(options)? {
        found = find(client, &format!("{place}{condition}"))?;
        if !found.is_empty() {
            break;
        }
    }
    // A shadow's copy of a request has its id; what the caller got is the other one.
    let is_copied =
        |copy: &Found| copy.copy && found.iter().any(|other| other.id == copy.id && !other.copy);
    let answered: Vec<Found> = found.iter().filter(|one| !is_copied(one)).cloned().collect();
    let [only] = answered.as_slice() else {
        if answered.is_empty() {
            return Err(nothing(client, &place, options)?.into());
        }
        several(&answered, as_json);
        return Ok(());
    };
    let mut traced = trace(client, only, options.key.as_deref())?;
    if let Some(record) = traced.records.first().filter(|_| says_why) {
        traced.usual = Some(usual::look(client, only, record)?);
    }
    if as_json {
        print_json(&json!({ "found": answered, "prediction": traced.json() }));
        return Ok(());
    }
    let copies: Vec<&Found> = found.iter().filter(|one| is_copied(one)).collect();
    told::tell(only, &traced, &copies);
    Ok(())
}

/// A text of SQL.
fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// What may be meant, the likeliest first.
fn conditions(options: &TraceOptions) -> Result<Vec<String>, Problem> {
    if let Some(key) = &options.key {
        return Ok(vec![format!("key = {}", text(key))]);
    }
    let given = options.id.as_deref().unwrap_or_default().trim().to_ascii_lowercase();
    // version-trace-span-flags, as the header has it.
    let parts: Vec<&str> = given.split('-').collect();
    if let [version, trace, span, flags] = parts.as_slice()
        && (version.len(), trace.len(), span.len(), flags.len()) == (2, 32, 16, 2)
    {
        return Ok(vec![format!("trace = {}", text(trace))]);
    }
    let digits = given.replace('-', "");
    let is_hex = digits.bytes().all(|c| c.is_ascii_hexdigit());
    if !is_hex || !(DIGITS_MIN..=32).contains(&digits.len()) {
        let message = format!("`{}` is no id of a request and no trace id", excerpt(&given));
        return Err(Problem::new(Code::BadOption, message).help(
            "answers have the id in Decalog-Request-Id; a key is named by --key customer=42",
        ));
    }
    let of_id =
        format!("id >= {} and id < {}", text(&hyphens(&digits)), text(&(hyphens(&digits) + "~")));
    let of_trace = format!("trace = {}", text(&digits));
    Ok(match digits.len() {
        32 if given.contains('-') => vec![of_id],
        32 => vec![of_trace, of_id],
        _ => vec![of_id],
    })
}

/// Digits as an id has them.
fn hyphens(digits: &str) -> String {
    let mut id = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if HYPHENS.contains(&at) {
            id.push('-');
        }
        id.push(digit);
    }
    id
}

fn find(client: &Client, condition: &str) -> Result<Vec<Found>, Failure> {
    let of = "id, project, model, environment, version, digest, copy, status, trace";
    let sql = format!(
        "select {of}, min(time) as time, min(key) as key, count(*) as rows from records \
         where {condition} group by {of} order by id desc limit {}",
        FOUND_MAX + 1
    );
    client.sql(&sql)
}

/// Lists what fits.
fn several(found: &[Found], as_json: bool) {
    let shown = &found[..found.len().min(FOUND_MAX)];
    if as_json {
        print_json(&json!({ "found": shown, "is_cut": found.len() > FOUND_MAX }));
        return;
    }
    let columns = [
        Column::words("TIME"),
        Column::words("ID"),
        Column::words("MODEL").down_to(12),
        Column::words("VERSION"),
        Column::figures("STATUS"),
        Column::words("KEY").down_to(8),
    ];
    let cells = shown.iter().map(|one| {
        vec![
            told::local(&one.time, "%Y-%m-%d %H:%M:%S"),
            one.id.chars().take(ID_CHARS).collect(),
            told::model_of(one),
            one.version.clone(),
            one.status.to_string(),
            one.key.clone().unwrap_or_default(),
        ]
    });
    let cells: Vec<Vec<String>> = cells.collect();
    list(&columns, &cells, &["KEY", "STATUS"], width()).iter().for_each(|line| println!("{line}"));
    let count = match found.len() > FOUND_MAX {
        true => format!("the newest {FOUND_MAX} of more"),
        false => format!("{} predictions", found.len()),
    };
    eprintln!("{count}; one by its id: decalog trace {}", found[0].id);
}

/// Why nothing was found: since when there are records, and what is missing.
fn nothing(client: &Client, place: &str, options: &TraceOptions) -> Result<Problem, Failure> {
    #[derive(Deserialize)]
    struct Since {
        since: Option<String>,
    }
    #[derive(Deserialize)]
    struct Missing {
        reason: String,
        records: u64,
        until: String,
    }
    let condition = place.strip_suffix(" and ").map_or(String::new(), |of| format!("where {of}"));
    let since: Vec<Since> =
        client.sql(&format!("select min(time) as since from records {condition}"))?;
    let gaps: Vec<Missing> = client.sql(
        "select reason, sum(records) as records, max(time) as until from gaps \
         where records > 0 group by reason order by 3 desc limit 5",
    )?;
    let given = options.key.as_ref().or(options.id.as_ref()).map_or("", String::as_str);
    let mut problem = Problem::new(Code::Failed, format!("no record fits `{}`", excerpt(given)));
    let second = |time: &str| time.chars().take(19).collect::<String>().replace('T', " ");
    problem.details.push(match since.into_iter().find_map(|since| since.since) {
        Some(since) => format!("the oldest record is of {} (UTC)", second(&since)),
        None => "there are no records that you may read".into(),
    });
    problem.details.extend(gaps.into_iter().map(|gap| {
        format!(
            "{} records are missing, last noticed {}: {}",
            gap.records,
            second(&gap.until),
            gap.reason
        )
    }));
    let help = match options.key {
        Some(_) => {
            "a key that the model redacts is kept as another text; docs/records.md says which requests are kept"
        }
        None => "docs/records.md says which requests are kept, and for how long",
    };
    Ok(problem.help(help))
}

fn trace(client: &Client, found: &Found, key: Option<&str>) -> Result<Traced, Failure> {
    let path = format!("/v1/projects/{}/models/{}", found.project, found.model);
    let query = format!("format=jsonl&limit={ROWS_MAX}&id={}", encoded(&found.id));
    let lines = BufReader::new(client.reader(&format!("{path}/records?{query}"))?).lines();
    let mut records = vec![];
    for line in lines {
        let row = Row::read(&line.map_err(|error| not_understood(&error))?)?;
        let is = |name: &str, value: &str| row.get(name).and_then(Value::as_str) == Some(value);
        let is_copy = row.get("copy").and_then(Value::as_bool) == Some(true);
        // Of a request, those rows that were asked for.
        if is_copy == found.copy
            && is("version", &found.version)
            && key.is_none_or(|key| is("key", key))
        {
            records.push(row);
        }
    }
    let mut traced = Traced { records, ..Traced::default() };
    let mut known = |what: &str, failure: Failure| {
        let (Failure::Problem(problem) | Failure::Unreachable(problem)) = failure;
        traced.unknown.push(format!("{what} not known: {}", problem.message));
    };
    match client.get::<Lineage>(&format!("{path}/lineage")) {
        Err(failure) => known("where its version comes from is", failure),
        Ok(lineage) => {
            traced.references = references(&lineage);
            let version = lineage.versions.iter().find(|version| version.digest == found.digest);
            let lock = version.and_then(|version| version.lock);
            let is_lock = |packages: &&LineagePackages| Some(packages.digest) == lock;
            traced.packages = lineage.packages.iter().find(is_lock).cloned();
            traced.version = version.cloned();
            traced.release = release(&lineage, found);
        }
    }
    let mut query = format!("id={}&environment={}", found.id, found.environment);
    query += &found.key.as_ref().map_or(String::new(), |key| format!("&key={}", encoded(key)));
    match client.get::<TruthKnown>(&format!("{path}/truth?{query}")) {
        Ok(truth) => traced.truth = truth,
        Err(failure) => {
            let (Failure::Problem(problem) | Failure::Unreachable(problem)) = failure;
            traced.unknown.push(format!("its truth is not known: {}", problem.message));
        }
    }
    // What is usual is known of the version with the most rows only, and only where somebody watches.
    let drift =
        client.get::<ModelDrift>(&format!("{path}/drift?environment={}", found.environment));
    if let Ok(drift) = drift {
        let of = |version: &str| traced.references.get(version);
        let watched = format!("v{}", drift.version);
        let is_same = of(&watched).is_some() && of(&watched) == of(&found.version);
        if is_same || watched == found.version {
            traced.rare = rare(&traced.records, &drift);
        }
    }
    Ok(traced)
}

/// What the values of each version are compared with.
fn references(lineage: &Lineage) -> BTreeMap<String, Digest> {
    let of = |version: &LineageVersion| {
        Some((version.version.to_string(), version.provenance.reference.as_ref()?.digest))
    };
    lineage.versions.iter().filter_map(of).collect()
}

/// By which release it was answered.
fn release(lineage: &Lineage, found: &Found) -> Option<Release> {
    let version: VersionNumber = found.version.parse().ok()?;
    let at_ms = told::time(&found.time)?.as_millisecond();
    let in_force = lineage.in_force(&found.environment, version, u64::try_from(at_ms).ok()?);
    let of = |how, release: &LineageRelease| Release {
        how,
        percent: None,
        replaced_ms: None,
        release: Some(release.clone()),
    };
    Some(match in_force {
        None => Release { how: "by_number", percent: None, replaced_ms: None, release: None },
        Some(InForce::Live(release)) => of("live", release),
        Some(InForce::Part(release, part)) => {
            let how = if part.is_shadow { "copy" } else { "part" };
            Release { percent: Some(part.percent), ..of(how, release) }
        }
        Some(InForce::Replaced(release, at_ms)) => {
            Release { replaced_ms: Some(at_ms), ..of("replaced", release) }
        }
    })
}

/// Inputs that are a rare category of the file that came with the version.
fn rare(records: &[Row], drift: &ModelDrift) -> Vec<Rare> {
    let Some(file) = drift.reference.as_ref() else { return vec![] };
    let mut rare = vec![];
    for (row, record) in records.iter().enumerate() {
        for series in &drift.series {
            let is_plain = series.slice.is_none() && series.name == series.column;
            if series.direction != "in" || !is_plain {
                continue;
            }
            let share = match record.get(&format!("in.{}", series.column)) {
                Some(Value::Null) => Some(series.reference_missing),
                Some(Value::String(value)) if series.unseen.is_some() => {
                    series.bins.iter().find(|bin| bin.bin == *value).map(|bin| bin.reference)
                }
                _ => None,
            };
            let share = share.filter(|share| *share < RARE_SHARE);
            rare.extend(share.map(|share| Rare {
                row,
                column: series.column.clone(),
                share,
                reference: file.clone(),
            }));
        }
    }
    rare
}

impl Traced {
    fn json(&self) -> Value {
        let record = |row: &Row| -> Value {
            row.0.iter().cloned().collect::<serde_json::Map<String, Value>>().into()
        };
        json!({
            "records": self.records.iter().map(record).collect::<Vec<Value>>(),
            "version": self.version,
            "packages": self.packages,
            "release": self.release,
            "truth": self.truth,
            "rare": self.rare,
            "usual": self.usual,
            "unknown": self.unknown,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions_of(id: &str) -> Result<Vec<String>, Problem> {
        let id = Some(id.to_string());
        conditions(&TraceOptions { id, key: None, model: None })
    }

    #[test]
    fn ids_are_read_however_they_are_written() {
        let of = |from: &str| vec![format!("id >= '{from}' and id < '{from}~'")];
        assert_eq!(conditions_of("0199A3F2-7c1d").unwrap(), of("0199a3f2-7c1d"));
        assert_eq!(conditions_of("0199a3f27c1d7").unwrap(), of("0199a3f2-7c1d-7"));
        let whole = "0199a3f2-7c1d-7000-8000-000000000001";
        assert_eq!(conditions_of(whole).unwrap(), of(whole));
        let plain = whole.replace('-', "");
        let of_trace = format!("trace = '{plain}'");
        assert_eq!(conditions_of(&plain).unwrap(), [of_trace.clone(), of(whole)[0].clone()]);
        let parent = format!("00-{plain}-00f067aa0ba902b7-01");
        assert_eq!(conditions_of(&parent).unwrap(), [of_trace]);
        for text in ["", "019", "customer=42", "0199a3f2' or 1=1", &"a".repeat(33)] {
            assert!(conditions_of(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_stays_one_text() {
        let key = Some("name=O'Brien' or '1'='1".to_string());
        let options = TraceOptions { id: None, key, model: None };
        assert_eq!(conditions(&options).unwrap(), ["key = 'name=O''Brien'' or ''1''=''1'"]);
    }
}
