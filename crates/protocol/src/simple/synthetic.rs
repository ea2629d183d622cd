//! An input row that nobody gave.

use domain::Datatype;
use domain::schema::{Column, Schema};
use serde_json::Value;

/// The most elements of a made-up array: an image of 1,000 × 1,000 points in four colours.
const ELEMENTS_MAX: u64 = 1 << 22;

/// An input row that fits the schema, for examples and benchmarks where nobody gave one.
pub fn synthetic_row(schema: &Schema) -> Value {
    let cell = |column: &Column| {
        if let Some(value) = column.default.as_ref().or(column.categories.first()) {
            return value.clone();
        }
        let leaf = match column.datatype {
            Datatype::Bool => Value::Bool(false),
            Datatype::Bytes => Value::from("text"),
            Datatype::Timestamp => Value::from("2026-01-01T00:00:00Z"),
            Datatype::Json => serde_json::json!({}),
            Datatype::Fp16 | Datatype::Fp32 | Datatype::Fp64 | Datatype::Bf16 => Value::from(0.5),
            _ => Value::from(1),
        };
        let shape = column.shape.clone().unwrap_or_else(|| vec![1]);
        let size = shape
            .iter()
            .fold(1_u64, |size, dimension| size.saturating_mul((*dimension).max(1) as u64));
        if size > ELEMENTS_MAX {
            return Value::Null;
        }
        shape.iter().rev().fold(leaf, |inner, dimension| {
            // A free dimension has one element; one that is fixed at 0 has none.
            let length = if *dimension < 0 { 1 } else { *dimension as usize };
            Value::Array(vec![inner; length])
        })
    };
    Value::Object(schema.inputs.iter().map(|column| (column.name.clone(), cell(column))).collect())
}
