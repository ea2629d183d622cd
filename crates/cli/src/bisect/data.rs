//! What versions are asked while the first bad one is looked for: the rows of a file, or what
//! recorded requests asked.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use domain::outcome::Outcome;
use domain::{Code, Datatype, EnvironmentName, ModelKey, Problem, Schema};
use records::sheet::{self, SheetRow};
use records::truth::Form;
use serde::Deserialize;
use serde_json::Value;
use server::{EVALUATED_MAX, EVALUATED_ROWS_MAX, RowKey};

use crate::Failure;
use crate::client::Client;
use crate::evaluations::Question;

/// What is asked.
pub struct Data {
    /// As it is sent.
    pub question: Question,
    /// The columns of a file that could be the truth, by their names.
    columns: HashMap<String, Vec<Option<Value>>>,
    /// What it is, in words.
    pub words: String,
}

/// Rows of a file for versions with these columns. What no version takes stays here: one of them may be the truth.
pub fn of_file(schemas: &[Schema], file: &Path, truth: Option<&str>) -> Result<Data, Problem> {
    let name = file.display().to_string();
    let unread = |error: &dyn std::fmt::Display| {
        Problem::new(Code::NoInput, format!("{name} cannot be read: {error}"))
    };
    let form = Form::of_name(&name).ok_or_else(|| {
        let text = format!("it is not clear what {name} is");
        Problem::new(Code::BadOption, text).help("name a file .parquet, .csv, .jsonl or .json")
    })?;
    let is_text = |name: &str| {
        let column = schemas.iter().flat_map(|schema| &schema.inputs).find(|it| it.name == name);
        column
            .is_some_and(|column| matches!(column.datatype, Datatype::Bytes | Datatype::Timestamp))
    };
    let content = File::open(file).map_err(|error| unread(&error))?;
    let mut rows = sheet::read(form, content, EVALUATED_ROWS_MAX, &is_text).map_err(|error| {
        unread(&error).help(format!("at most {EVALUATED_ROWS_MAX} rows are asked"))
    })?;
    if rows.is_empty() {
        return Err(Problem::new(Code::NoInput, format!("{name} has no rows")));
    }
    if let Some(column) = truth.filter(|column| rows.iter().all(|row| !row.contains_key(*column))) {
        return Err(Problem::new(Code::NoInput, format!("{name} has no column `{column}`")));
    }
    let words = format!("{} rows of {name}", rows.len());
    let is_input = |name: &str| {
        schemas.iter().flat_map(|schema| &schema.inputs).any(|column| column.name == name)
    };
    let is_kept = |name: &str| match truth {
        Some(truth) => name != truth,
        None => is_input(name),
    };
    let columns = taken(&mut rows, is_kept);
    Ok(Data { question: Question::Rows(rows), columns, words })
}

/// All columns; those that are not kept are taken out of the rows.
fn taken(
    rows: &mut [SheetRow],
    is_kept: impl Fn(&str) -> bool,
) -> HashMap<String, Vec<Option<Value>>> {
    let count = rows.len();
    let mut columns: HashMap<String, Vec<Option<Value>>> = HashMap::new();
    for (at, row) in rows.iter_mut().enumerate() {
        for (name, value) in row.iter() {
            columns.entry(name.clone()).or_insert_with(|| vec![None; count])[at] =
                Some(value.clone());
        }
        row.retain(|name, _| is_kept(name));
    }
    columns
}

#[derive(Deserialize)]
struct Known {
    id: String,
}

/// The last requests that were answered in an environment.
pub fn of_records(
    client: &Client,
    key: &ModelKey,
    environment: &EnvironmentName,
    count: usize,
) -> Result<Data, Failure> {
    if count == 0 || count > EVALUATED_MAX {
        let text = format!("from 1 to {EVALUATED_MAX} requests are asked again");
        return Err(Problem::new(Code::BadOption, text).into());
    }
    // Names have no quotes: these are parts of a reference that was read.
    let sql = format!(
        "select distinct id from records where project = '{}' and model = '{}' and environment = '{environment}' \
         and status = 200 and not copy order by id desc limit {count}",
        key.project, key.model
    );
    let known: Vec<Known> = client.sql(&sql)?;
    if known.is_empty() {
        let text = format!("there are no records of requests to {key} in {environment}");
        return Err(Problem::new(Code::NoRecords, text)
            .help("ask with rows of a file instead: --data FILE")
            .into());
    }
    let mut ids: Vec<String> = known.into_iter().map(|known| known.id).collect();
    ids.sort();
    let words = format!("what the last {} requests asked", ids.len());
    Ok(Data { question: Question::Ids(ids), columns: HashMap::new(), words })
}

impl Data {
    /// Whether it is what recorded requests asked.
    pub fn is_recorded(&self) -> bool {
        matches!(self.question, Question::Ids(_))
    }

    /// The truth in a column of the file, by row; `None` if it has no such column.
    pub fn truth(&self, column: &str) -> Option<HashMap<RowKey, Outcome>> {
        let values = self.columns.get(column)?;
        let outcomes = values.iter().enumerate().filter_map(|(at, value)| {
            Some(((None, at), Outcome::of_json(value.as_ref()?).ok().flatten()?))
        });
        Some(outcomes.collect())
    }
}
