//! `decalog predict`: one row, or the rows of a CSV file.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use domain::Code;
use domain::{Datatype, Problem, Reference, Schema};
use serde_json::{Map, Value, json};

use crate::Failure;
use crate::client::Client;
use crate::terminal::as_written;

/// Runs the verb.
pub fn run(
    client: &Client,
    reference: &str,
    input: Option<String>,
    rows: Option<PathBuf>,
) -> Result<(), Failure> {
    let parsed: Reference =
        reference.parse().map_err(|error: domain::reference::ReferenceError| {
            Problem::new(Code::BadReference, error.to_string())
        })?;
    let body = match (input, rows) {
        (None, Some(file)) => csv(client, &parsed, &file)?,
        (Some(input), None) => text(&input)?,
        _ => {
            return Err(Problem::new(Code::NoInput, "there is nothing to predict from")
                .help(format!(
                    "decalog predict {reference} '{{\"column\": value}}', or --rows FILE.csv"
                ))
                .into());
        }
    };
    let (kind, answer) = client.post_text(&format!("/v1/models/{reference}/predict"), &body)?;
    let mut out = std::io::stdout().lock();
    let broken = |error: std::io::Error| {
        Problem::new(Code::Interrupted, format!("the answer broke off: {error}"))
    };
    if kind.starts_with("text/event-stream") {
        // One line for each item, as it comes.
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
        return Ok(());
    }
    let mut answer = answer;
    let mut text = String::new();
    answer.read_to_string(&mut text).map_err(broken)?;
    writeln!(out, "{}", as_written(&text)).map_err(broken)?;
    Ok(())
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
        Some(file) => std::fs::read_to_string(file).map_err(|error| unreadable(file, error)),
        None => Ok(input.to_string()),
    }
}

/// The rows of a CSV file, each cell by its column's datatype.
fn csv(client: &Client, reference: &Reference, file: &Path) -> Result<String, Failure> {
    let schema = schema_of(client, reference)?;
    let text = std::fs::read_to_string(file).map_err(|error| {
        Problem::new(Code::NoInput, format!("{} cannot be read: {error}", file.display()))
    })?;
    let mut records = parse_csv(&text).into_iter();
    let names = records.next().ok_or_else(|| {
        Problem::new(Code::NoInput, "the CSV file is empty")
            .help("its first line names the columns")
    })?;
    let row = |cells: Vec<String>| {
        let row: Map<String, Value> = names
            .iter()
            .zip(cells)
            .filter_map(|(name, cell)| Some((name.clone(), cell_value(&schema, name, cell)?)))
            .collect();
        Value::Object(row)
    };
    let rows: Vec<Value> = records.map(row).collect();
    Ok(json!({ "rows": rows }).to_string())
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

/// An empty cell is a column left out.
fn cell_value(schema: &Schema, name: &str, cell: String) -> Option<Value> {
    let column = schema.inputs.iter().find(|column| column.name == name);
    let Some(column) = column else { return Some(Value::from(cell)) };
    if cell.is_empty() && column.is_optional() {
        return None;
    }
    let is_text = matches!(column.datatype, Datatype::Bytes | Datatype::Timestamp)
        && column.shape.as_deref() == Some(&[]);
    if is_text {
        Some(Value::from(cell))
    } else {
        serde_json::from_str(&cell.to_lowercase()).ok().or(Some(Value::from(cell)))
    }
}

/// RFC 4180: quotes around cells, doubled within them.
fn parse_csv(text: &str) -> Vec<Vec<String>> {
    let mut records = vec![];
    let (mut record, mut cell, mut quoted) = (vec![], String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut cell)),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                record.push(std::mem::take(&mut cell));
                records.push(std::mem::take(&mut record));
            }
            other => cell.push(other),
        }
    }
    if !cell.is_empty() || !record.is_empty() {
        record.push(cell);
        records.push(record);
    }
    records.retain(|record: &Vec<String>| record.iter().any(|cell| !cell.is_empty()));
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_cells() {
        let records = parse_csv("a,b\r\n1,\"x, \"\"y\"\"\nz\"\n\n2,\n");
        assert_eq!(records, [vec!["a", "b"], vec!["1", "x, \"y\"\nz"], vec!["2", ""]]);
    }
}
