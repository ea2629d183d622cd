//! The rows of a file as JSON, each with the columns of the file: what a model is asked with. CSV,
//! JSON, JSON lines and Parquet.

use std::fs::File;
use std::io::BufReader;

use arrow_array::RecordBatch;
use domain::outcome::Outcome;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value};

use crate::outcomes::Outcomes;
use crate::truth::Form;

/// One row.
pub type SheetRow = Map<String, Value>;

/// Why a file has no rows.
#[derive(Debug, thiserror::Error)]
pub enum SheetError {
    /// It is no Parquet.
    #[error("it cannot be read as Parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// A batch of it cannot be read.
    #[error("it cannot be read as Parquet: {0}")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// It is no CSV.
    #[error("it cannot be read as CSV: {0}")]
    Csv(#[from] csv::Error),
    /// It is no JSON, or not one of rows.
    #[error("it cannot be read as JSON rows: {0}")]
    Json(#[from] serde_json::Error),
    /// More rows than may be.
    #[error("it has more than {0} rows")]
    TooMany(usize),
}

/// Reads all rows of a file, at most `rows_max`. Cells of a CSV file are numbers or true or false if
/// they look like it, except in columns that `is_text` says are texts; an empty one is left out.
pub fn read(
    form: Form,
    file: File,
    rows_max: usize,
    is_text: &dyn Fn(&str) -> bool,
) -> Result<Vec<SheetRow>, SheetError> {
    let rows = match form {
        Form::Parquet => parquet(file, rows_max)?,
        Form::Csv => csv_rows(file, rows_max, is_text)?,
        Form::Json => serde_json::from_reader(BufReader::new(file))?,
        Form::JsonLines => {
            let lines = serde_json::Deserializer::from_reader(BufReader::new(file));
            lines.into_iter().take(rows_max + 1).collect::<Result<_, _>>()?
        }
    };
    if rows.len() > rows_max { Err(SheetError::TooMany(rows_max)) } else { Ok(rows) }
}

fn csv_rows(
    file: File,
    rows_max: usize,
    is_text: &dyn Fn(&str) -> bool,
) -> Result<Vec<SheetRow>, SheetError> {
    let mut reader = csv::Reader::from_reader(file);
    let names: Vec<String> = reader
        .headers()?
        .iter()
        .map(|name| name.trim().trim_start_matches('\u{feff}').to_string())
        .collect();
    let texts: Vec<bool> = names.iter().map(|name| is_text(name)).collect();
    let mut rows = vec![];
    for record in reader.records().take(rows_max + 1) {
        let record = record?;
        let cells = names.iter().zip(&texts).zip(&record);
        let cell = |((name, is_text), cell): ((&String, &bool), &str)| {
            let value = match Outcome::of_cell(cell) {
                Ok(None) => return None,
                Ok(Some(outcome)) if !is_text => json(&outcome),
                _ => Value::from(cell),
            };
            Some((name.clone(), value))
        };
        rows.push(cells.filter_map(cell).collect());
    }
    Ok(rows)
}

fn parquet(file: File, rows_max: usize) -> Result<Vec<SheetRow>, SheetError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
    let mut rows = vec![];
    for batch in builder.with_limit(rows_max + 1).build()? {
        add(&batch?, &mut rows)?;
    }
    Ok(rows)
}

fn add(batch: &RecordBatch, rows: &mut Vec<SheetRow>) -> Result<(), SheetError> {
    let schema = batch.schema();
    let columns: Vec<(String, Outcomes)> = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| Ok((field.name().clone(), Outcomes::new(column)?)))
        .collect::<Result<_, arrow_schema::ArrowError>>()?;
    for row in 0..batch.num_rows() {
        let cells =
            columns.iter().filter_map(|(name, outcomes)| Some((name.clone(), outcomes.json(row)?)));
        rows.push(cells.collect());
    }
    Ok(())
}

/// A value as JSON.
fn json(outcome: &Outcome) -> Value {
    serde_json::to_value(outcome).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use serde_json::json;

    use super::*;

    fn file(text: &str) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        file
    }

    #[test]
    fn cells_are_what_they_look_like_unless_they_are_texts() {
        let text = "age,zip,open,note\n42,0815,true,\n1.5,7,false,\"a, b\"\n";
        let rows = read(Form::Csv, file(text), 10, &|name| name == "zip").unwrap();
        assert_eq!(Value::from(rows[0].clone()), json!({ "age": 42, "zip": "0815", "open": true }));
        assert_eq!(
            Value::from(rows[1].clone()),
            json!({ "age": 1.5, "zip": "7", "open": false, "note": "a, b" })
        );
        assert!(matches!(read(Form::Csv, file(text), 1, &|_| false), Err(SheetError::TooMany(1))));
    }

    #[test]
    fn json_is_a_list_or_lines() {
        let rows = [json!({ "a": [1, 2] }), json!({ "a": null })];
        let list = read(Form::Json, file(&json!(rows).to_string()), 10, &|_| false).unwrap();
        let text = rows.iter().map(|row| format!("{row}\n")).collect::<String>();
        let lines = read(Form::JsonLines, file(&text), 10, &|_| false).unwrap();
        assert_eq!(list, lines);
        assert_eq!(Value::from(list[0].clone()), rows[0]);
        assert!(read(Form::Json, file("{}"), 10, &|_| false).is_err());
    }
}
