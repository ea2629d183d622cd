//! The key of each row of a file: what the caller named, else out of the column that the model names
//! for it.

use domain::Datatype;
use protocol::record::{Definition, Kept, RecordIn, row_bytes, scalar_text};

/// The keys of a record's rows, of which the file has `rows`; empty where a row has none.
pub fn keys_of(definition: &Definition, record: &RecordIn<'_>, rows: usize) -> Vec<String> {
    let named = || vec![record.head.key.to_string(); rows];
    if !record.head.key.is_empty() || record.head.kept != Kept::Whole {
        return named();
    }
    let Some(name) = &definition.key else { return named() };
    let inputs = &definition.schema.inputs;
    let at = inputs.iter().position(|column| column.name == *name);
    let Some((input, datatype)) =
        at.and_then(|at| Some((record.inputs.get(at)?, inputs[at].datatype)))
    else {
        return named();
    };
    if !input.shape.is_empty() {
        return named();
    }
    row_bytes(datatype, 1, rows, input.data)
        .enumerate()
        .map(|(row, bytes)| {
            let is_there = input.valid.is_none_or(|valid| valid.get(row) == Some(&1));
            is_there.then(|| key_of(name, datatype, bytes)).flatten().unwrap_or_default()
        })
        .collect()
}

fn key_of(name: &str, datatype: Datatype, row: &[u8]) -> Option<String> {
    let text = scalar_text(datatype, row)?;
    Some(format!("{name}={}", std::str::from_utf8(&text).ok()?))
}
