//! Floats in JSON that are read as they were written. The reader of JSON is off by one unit in the
//! last place for some floats of 17 digits, and a value at the edge of a bin would leave it: those
//! are written as texts after a mark.

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// What such a text begins with, and any other text that begins with it has it twice.
const MARK: char = '~';

pub(super) fn serialize<T: Serialize, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut value = serde_json::to_value(value).map_err(S::Error::custom)?;
    each(&mut value, &mark);
    value.serialize(serializer)
}

pub(super) fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    let mut value = Value::deserialize(deserializer)?;
    each(&mut value, &unmark);
    serde_json::from_value(value).map_err(D::Error::custom)
}

/// Does something to all texts and numbers; names of fields are left alone.
fn each(value: &mut Value, work: &impl Fn(&mut Value)) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| each(value, work)),
        Value::Object(fields) => fields.values_mut().for_each(|value| each(value, work)),
        other => work(other),
    }
}

fn mark(value: &mut Value) {
    match value {
        Value::String(text) if text.starts_with(MARK) => text.insert(0, MARK),
        Value::Number(number) if number.is_f64() => {
            let text = number.to_string();
            let read = serde_json::from_str::<f64>(&text).ok();
            if read.map(f64::to_bits) != number.as_f64().map(f64::to_bits) {
                *value = Value::String(format!("{MARK}{text}"));
            }
        }
        _ => {}
    }
}

fn unmark(value: &mut Value) {
    let Value::String(text) = value else { return };
    let Some(rest) = text.strip_prefix(MARK) else { return };
    if rest.starts_with(MARK) {
        *value = Value::String(rest.to_string());
    } else if let Some(number) = rest.parse().ok().and_then(serde_json::Number::from_f64) {
        *value = Value::Number(number);
    }
}
