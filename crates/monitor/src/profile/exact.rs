//! Profiles of the first form: floats that the reader of JSON was off for by one unit in the last
//! place were written as texts after a mark.

use serde_json::{Number, Value};

/// What such a text begins with, and any other text that begins with it has it twice.
const MARK: char = '~';
/// The fields of a column that were written so.
const FIELDS: [&str; 2] = ["mean", "watched"];

/// Takes the marks away.
pub(super) fn unmark_profile(profile: &mut Value) {
    let columns = profile.get_mut("columns").and_then(Value::as_array_mut);
    for column in columns.into_iter().flatten() {
        for field in FIELDS {
            column.get_mut(field).into_iter().for_each(unmark);
        }
    }
}

/// In all texts; names of fields are left alone.
fn unmark(value: &mut Value) {
    let text = match value {
        Value::Array(values) => return values.iter_mut().for_each(unmark),
        Value::Object(fields) => return fields.values_mut().for_each(unmark),
        Value::String(text) => text,
        _ => return,
    };
    let Some(rest) = text.strip_prefix(MARK) else { return };
    if rest.starts_with(MARK) {
        *value = Value::String(rest.to_string());
    } else if let Some(number) = rest.parse().ok().and_then(Number::from_f64) {
        *value = Value::Number(number);
    }
}
