//! Whether two values of JSON are the same but for what a tolerance allows.

use serde_json::Value;

use crate::element::is_close;
use crate::tensor::byte_elements;

/// Whether elements that are JSON say the same.
pub fn json_agrees(own: &[u8], others: &[u8], tolerance: f64) -> bool {
    let values = |data| {
        byte_elements(data)
            .map(|element| serde_json::from_slice::<Value>(element).ok())
            .collect::<Vec<_>>()
    };
    let (own, others) = (values(own), values(others));
    let agrees = |(own, other): (&Option<Value>, &Option<Value>)| match (own, other) {
        (Some(own), Some(other)) => value_agrees(own, other, tolerance),
        _ => false,
    };
    own.len() == others.len() && own.iter().zip(&others).all(agrees)
}

fn value_agrees(own: &Value, other: &Value, tolerance: f64) -> bool {
    match (own, other) {
        (Value::Number(own), Value::Number(other)) => is_close(
            own.as_f64().unwrap_or(f64::NAN),
            other.as_f64().unwrap_or(f64::NAN),
            tolerance,
        ),
        (Value::Array(own), Value::Array(others)) => {
            own.len() == others.len()
                && own.iter().zip(others).all(|(own, other)| value_agrees(own, other, tolerance))
        }
        (Value::Object(own), Value::Object(others)) => {
            own.len() == others.len()
                && own.iter().all(|(name, own)| {
                    others.get(name).is_some_and(|other| value_agrees(own, other, tolerance))
                })
        }
        _ => own == other,
    }
}
