//! What people type or programs write as text, in a cell of a file or a field of a form, as a value
//! of a column. Pure.

use domain::{Column, Datatype};
use serde_json::{Number, Value};

/// What programs write where there is no value.
const MISSING: [&str; 14] = [
    "", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan", "NULL", "null", "None", "NaT",
    "#NA",
];
/// Categories that are named where a text is none of them.
const CATEGORIES_MAX: usize = 8;
/// Integers up to this are exact as floating-point numbers.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Whether elements of a datatype are numbers.
pub fn is_number(datatype: Datatype) -> bool {
    !matches!(datatype, Datatype::Bytes | Datatype::Timestamp | Datatype::Json | Datatype::Bool)
}

fn is_float(datatype: Datatype) -> bool {
    matches!(datatype, Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64)
}

/// Whether a cell says that a column has no value.
fn is_missing(column: &Column, cell: &str) -> bool {
    let is_text = matches!(column.datatype, Datatype::Bytes | Datatype::Json)
        && column.shape.as_deref() == Some(&[]);
    // Where any text may stand, `NA` is one: it may be Namibia.
    match is_text && column.categories.is_empty() {
        true => cell.is_empty(),
        false => MISSING.contains(&cell.trim()),
    }
}

/// Whether a cell leaves out a column that a row may do without.
pub fn is_left_out(column: &Column, cell: &str) -> bool {
    column.is_optional() && is_missing(column, cell)
}

/// What a cell says of a column; `None` is left out.
pub fn value(column: &Column, cell: &str) -> Result<Option<Value>, String> {
    let bare = cell.trim();
    let is_scalar = column.shape.as_deref() == Some(&[]);
    let category = |value: &&Value| match value {
        Value::String(text) => text == cell || text == bare,
        other => {
            let text = other.to_string();
            text == bare
        }
    };
    if let Some(value) = column.categories.iter().find(category) {
        return Ok(Some(value.clone()));
    }
    if is_left_out(column, cell) {
        return Ok(None);
    }
    let is_missing = is_missing(column, cell);
    if !column.categories.is_empty() {
        let known: Vec<String> =
            column.categories.iter().take(CATEGORIES_MAX).map(Value::to_string).collect();
        let more = if column.categories.len() > CATEGORIES_MAX { ", …" } else { "" };
        return Err(format!("expected one of {}{more}, got {cell:?}", known.join(", ")));
    }
    if is_missing && (is_number(column.datatype) || column.datatype == Datatype::Bool) {
        return Err(format!("is missing: expected {}", column.datatype));
    }
    let expected = || format!("expected {}, got {cell:?}", column.datatype);
    match column.datatype {
        Datatype::Bytes | Datatype::Timestamp if is_scalar => Ok(Some(cell.into())),
        Datatype::Bool if is_scalar => truth(bare).map(|is| Some(is.into())).ok_or_else(expected),
        _ if is_scalar && column.booleans && word_of_truth(bare).is_some() => {
            Ok(word_of_truth(bare).map(Value::from))
        }
        number if is_scalar && is_float(number) => {
            let read = bare.parse().ok().and_then(Number::from_f64);
            read.map(|number| Some(number.into())).ok_or_else(expected)
        }
        number if is_scalar && is_number(number) => {
            integer(bare).map(|number| Some(number.into())).ok_or_else(expected)
        }
        _ => {
            let read = |text: &str| serde_json::from_str(text).ok();
            Ok(read(cell).or_else(|| read(&cell.to_lowercase())).or_else(|| Some(cell.into())))
        }
    }
}

/// What data frames write for truths, in a column of numbers that was trained on some.
fn word_of_truth(cell: &str) -> Option<bool> {
    cell.eq_ignore_ascii_case("true")
        .then_some(true)
        .or_else(|| cell.eq_ignore_ascii_case("false").then_some(false))
}

/// What programs write for yes and no.
fn truth(cell: &str) -> Option<bool> {
    match cell.to_ascii_lowercase().as_str() {
        "1" | "1.0" | "true" | "t" | "yes" | "y" => Some(true),
        "0" | "0.0" | "false" | "f" | "no" | "n" => Some(false),
        _ => None,
    }
}

/// An integer, also as programs write it that have turned a column with gaps into floating-point
/// numbers: `42.0`.
fn integer(cell: &str) -> Option<Number> {
    let exact =
        cell.parse::<i64>().map(Number::from).or_else(|_| cell.parse::<u64>().map(Into::into));
    exact.ok().or_else(|| {
        let number = cell.parse::<f64>().ok()?;
        let is_whole = number.fract() == 0.0 && number.abs() <= EXACT_MAX;
        is_whole.then(|| Number::from(number as i64))
    })
}
