//! `decalog predict`: one row, in JSON or as columns, or the rows of a CSV file.

use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use domain::Code;
use domain::{Problem, Reference, Schema};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::Failure;
use crate::client::{Client, not_understood};
use crate::fields;
use crate::rows::Row;
use crate::sheet::{self, Sheet};
use crate::terminal::as_written;

/// Rows of a file that are asked at a time: no limit of a request or of a queue is in the way of a
/// long file.
const ASKED_ROWS: usize = 1_000;

/// The content type of rows.
const JSON: &str = "application/json";

/// What to predict from, and how to write what came of it.
pub struct Wanted {
    /// A row in JSON, `@FILE`, `-`, or a CSV file; or the columns of a row.
    pub input: Vec<String>,
    /// Whether it is a CSV file, and which.
    pub rows: Option<Option<PathBuf>>,
    /// Whether to write CSV.
    pub as_csv: bool,
}

/// Where rows come from.
enum Source {
    /// A body that is sent as it is, with its content type.
    Body(String, Vec<u8>),
    Csv(PathBuf),
}

impl Wanted {
    fn source(&self, reference: &str) -> Result<Source, Problem> {
        let is_csv = |name: &str| {
            let name = name.to_ascii_lowercase();
            name.ends_with(".csv") || name.ends_with(".tsv")
        };
        let is_row = self.input.first().is_some_and(|first| fields::is_field(first));
        if is_row && self.rows.is_none() {
            return fields::form(&self.input).map(|(kind, body)| Source::Body(kind, body));
        }
        if let [_, second, ..] = self.input.as_slice() {
            let text = format!("there are several inputs, of which {second} is the second");
            return Err(Problem::new(Code::BadOption, text)
                .help(format!("decalog predict {reference} COLUMN=VALUE COLUMN=@FILE …")));
        }
        match (self.input.first(), &self.rows) {
            (None, Some(Some(file))) => Ok(Source::Csv(file.clone())),
            (None, Some(None)) => Ok(Source::Csv("-".into())),
            (Some(file), Some(None)) => Ok(Source::Csv(file.trim_start_matches('@').into())),
            (Some(input), None) if is_csv(input) => {
                Ok(Source::Csv(input.trim_start_matches('@').into()))
            }
            (Some(input), None) => Ok(Source::Body(JSON.into(), text(input)?.into_bytes())),
            (Some(input), Some(Some(file))) => {
                let text = format!("there are two inputs: {input} and {}", file.display());
                Err(Problem::new(Code::BadOption, text)
                    .help(format!("decalog predict {reference} --rows FILE.csv")))
            }
            (None, None) => Err(Problem::new(Code::NoInput, "there is nothing to predict from")
                .help(format!(
                    "decalog predict {reference} '{{\"column\": value}}', COLUMN=VALUE, or --rows FILE.csv"
                ))),
        }
    }
}

/// Runs the verb.
pub fn run(client: &Client, reference: &str, wanted: &Wanted) -> Result<(), Failure> {
    let parsed: Reference =
        reference.parse().map_err(|error: domain::reference::ReferenceError| {
            Problem::new(Code::BadReference, error.to_string())
        })?;
    let path = format!("/v1/models/{reference}/predict");
    let written = match wanted.source(reference)? {
        Source::Body(kind, body) => {
            let (kind, answer) = client.post_as(&path, &kind, &body)?;
            if kind.starts_with("text/event-stream") {
                return stream(answer);
            }
            let answer = whole(answer)?;
            if wanted.as_csv { csv_of(None, &answers(&answer)?)? } else { answer }
        }
        Source::Csv(file) => {
            let schema = schema_of(client, &parsed)?;
            let (sheet, bodies) = sheet_of(&parsed, &schema, &file)?;
            if schema.streams && bodies.len() == 1 {
                return stream(client.post_text(&path, &bodies[0].1)?.1);
            }
            let mut all = vec![];
            for (lines, body) in bodies {
                let answer = client.post_text(&path, &body);
                let (_, answer) = answer.map_err(|failure| among(failure, &lines))?;
                all.push(whole(answer)?);
            }
            let parts: Vec<Vec<&RawValue>> =
                all.iter().map(|answer| answers(answer)).collect::<Result<_, _>>()?;
            let rows = parts.concat();
            if wanted.as_csv { csv_of(Some(&sheet), &rows)? } else { json_of(&rows) }
        }
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", as_written(&written)).map_err(broken)?;
    Ok(())
}

fn broken(error: std::io::Error) -> Problem {
    Problem::new(Code::Interrupted, format!("the answer broke off: {error}"))
}

fn whole(mut answer: impl Read) -> Result<String, Problem> {
    let mut text = String::new();
    answer.read_to_string(&mut text).map_err(broken)?;
    Ok(text)
}

/// Prints items as they come, one a line.
fn stream(answer: impl Read) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let mut is_error = false;
    for line in BufReader::new(answer).lines() {
        let line = line.map_err(broken)?;
        is_error |= line == "event: error";
        if let Some(item) = line.strip_prefix("data: ") {
            if is_error {
                let problem = serde_json::from_str(item)
                    .unwrap_or_else(|_| Problem::new(Code::ModelRaised, item));
                return Err(problem.into());
            }
            writeln!(out, "{}", as_written(item)).and_then(|()| out.flush()).map_err(broken)?;
        }
    }
    Ok(())
}

/// The rows of an answer, as they were written.
fn answers(text: &str) -> Result<Vec<&RawValue>, Problem> {
    #[derive(Deserialize)]
    struct Rows<'a> {
        #[serde(borrow)]
        rows: Vec<&'a RawValue>,
    }
    if let Ok(Rows { rows }) = serde_json::from_str(text) {
        return Ok(rows);
    }
    serde_json::from_str(text).map(|row| vec![row]).map_err(|error| not_understood(&error))
}

fn json_of(rows: &[&RawValue]) -> String {
    let rows: Vec<&str> = rows.iter().map(|row| row.get()).collect();
    format!("{{\"rows\":[{}]}}", rows.join(","))
}

/// The answers as CSV, beside the cells of the file that they are to.
fn csv_of(asked: Option<&Sheet>, rows: &[&RawValue]) -> Result<String, Problem> {
    let rows: Vec<Row> = rows.iter().map(|row| Row::read(row.get())).collect::<Result<_, _>>()?;
    let mut names: Vec<&str> = vec![];
    for (name, _) in rows.iter().flat_map(|row| &row.0) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let known = asked.map_or(&[][..], |sheet| &sheet.header);
    let own = |name: &&str| match known.iter().any(|known| known == name) {
        true => format!("predicted_{name}"),
        false => name.to_string(),
    };
    let failed = |error: csv::Error| Problem::new(Code::Failed, error.to_string());
    let mut writer = csv::Writer::from_writer(vec![]);
    let header = known.iter().cloned().chain(names.iter().map(own));
    writer.write_record(header).map_err(failed)?;
    for (at, row) in rows.iter().enumerate() {
        let asked = asked.and_then(|sheet| sheet.lines.get(at)).map_or(&[][..], |it| &it.cells);
        let given = names.iter().map(|name| row.get(name).map_or_else(String::new, cell));
        writer.write_record(asked.iter().cloned().chain(given)).map_err(failed)?;
    }
    let bytes =
        writer.into_inner().map_err(|error| Problem::new(Code::Failed, error.to_string()))?;
    Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_string())
}

/// A value as a cell; what is no scalar stays JSON.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn text(input: &str) -> Result<String, Problem> {
    let unreadable = |what: &str, error: std::io::Error| {
        Problem::new(Code::NoInput, format!("{what} cannot be read: {error}"))
    };
    if input == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| unreadable("standard input", error))?;
        return Ok(text);
    }
    match input.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file).map_err(|error| {
            let is_binary = error.kind() == std::io::ErrorKind::InvalidData;
            let help = if is_binary {
                format!("as the bytes of a column: COLUMN=@{file}")
            } else {
                String::new()
            };
            unreadable(file, error).help(help)
        }),
        None => Ok(input.to_string()),
    }
}

/// The rows of a CSV file, and the bodies of the requests for them, each with the lines that it has.
fn sheet_of(
    reference: &Reference,
    schema: &Schema,
    file: &Path,
) -> Result<(Sheet, Vec<(String, String)>), Failure> {
    let is_stdin = file == Path::new("-");
    if is_stdin && std::io::stdin().is_terminal() {
        eprintln!("reading CSV from the terminal, until Ctrl-D");
    }
    let name = if is_stdin { "standard input".into() } else { file.display().to_string() };
    let mut bytes = vec![];
    let read = match is_stdin {
        true => std::io::stdin().read_to_end(&mut bytes).map(|_| bytes),
        false => std::fs::read(file),
    };
    let bytes = read
        .map_err(|error| Problem::new(Code::NoInput, format!("{name} cannot be read: {error}")))?;
    let model = reference.model.model.as_str();
    let sheet = sheet::read(&bytes, &name, schema)?;
    let mapping = sheet::mapping(&sheet, &name, schema, model)?;
    mapping.notes.iter().for_each(|note| eprintln!("note: {note}"));
    let rows = mapping.rows(&sheet, &name, schema, model)?;
    if rows.is_empty() {
        let text = format!("{name} names columns, and has no rows");
        return Err(Problem::new(Code::NoInput, text).into());
    }
    let bodies = rows.chunks(ASKED_ROWS).zip(sheet.lines.chunks(ASKED_ROWS));
    let bodies = bodies.map(|(rows, lines)| {
        let first = lines.first().map_or(0, |line| line.number);
        let last = lines.last().map_or(0, |line| line.number);
        (format!("lines {first} to {last} of {name}"), json!({ "rows": rows }).to_string())
    });
    let bodies = bodies.collect();
    Ok((sheet, bodies))
}

/// Says of which lines a refusal is: to the server the first of them was row 0.
fn among(failure: Failure, lines: &str) -> Failure {
    match failure {
        Failure::Problem(mut problem) => {
            problem.message = format!("{} ({lines})", problem.message);
            Failure::Problem(problem)
        }
        failure => failure,
    }
}

fn schema_of(client: &Client, reference: &Reference) -> Result<Schema, Failure> {
    let key = &reference.model;
    let view: control::view::ModelView =
        client.get(&format!("/v1/projects/{}/models/{}", key.project, key.model))?;
    let live = view
        .live
        .iter()
        .find(|(environment, _)| *environment == reference.environment())
        .map(|(_, version)| version.clone());
    let wanted = match &reference.selector {
        Some(domain::reference::Selector::Number(number)) => Some(number.to_string()),
        _ => live,
    };
    let version =
        view.versions.into_iter().find(|version| Some(&version.version) == wanted.as_ref());
    version
        .and_then(|version| version.schema)
        .ok_or_else(|| Problem::new(Code::NotLive, format!("{reference} has no schema yet")).into())
}
