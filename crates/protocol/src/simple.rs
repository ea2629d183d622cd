//! Simple JSON: one row as an object of input columns, or `{"rows": [...]}`. Values go straight into the
//! columns' bytes; only a request that does not fit is read a second time, to explain all that is wrong with it.

use std::fmt;

use domain::schema::{Column, Schema};
use domain::{Datatype, Problem};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::cells::{CellSeed, CellsBuilder};
use crate::payload::{Payload, absent, expected, mismatch, unknown_column};
use crate::tensor::push_byte_element;

/// The most wrong fields that one answer lists.
const DETAILS_MAX: usize = 20;
/// The most elements of one column of a made-up row.
const MADE_UP_ELEMENTS_MAX: u64 = 1 << 22;

/// How the request was written, and so how its answer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// One object.
    Row,
    /// `{"rows": [...]}`
    Rows,
}

/// Reads a request body.
pub fn decode(body: &[u8], schema: &Schema) -> Result<(Payload, Form), Problem> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let mut builders: Vec<CellsBuilder> = schema.inputs.iter().map(|column| CellsBuilder::new(column, 1)).collect();
    let top = Top { schema, builders: &mut builders };
    let read = top.deserialize(&mut reader).and_then(|read| reader.end().map(|()| read));
    let Ok((rows, form)) = read else { return Err(explain(body, schema)) };
    if rows == 0 {
        return Err(Problem::new("no_rows", "the request has no rows").help("send at least one row"));
    }
    Ok((Payload { rows, columns: builders.into_iter().map(CellsBuilder::finish).collect() }, form))
}

/// The whole body.
struct Top<'b, 's> {
    schema: &'s Schema,
    builders: &'b mut Vec<CellsBuilder<'s>>,
}

impl<'de> DeserializeSeed<'de> for Top<'_, '_> {
    type Value = (usize, Form);
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(usize, Form), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Top<'_, '_> {
    type Value = (usize, Form);
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of input columns, or {\"rows\": [...]}")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(usize, Form), A::Error> {
        let mut row = RowReader { schema: self.schema, builders: self.builders, row: 0, seen: 0, next: 0 };
        while let Some(target) = map.next_key_seed(KeySeed { row: &row })? {
            match target {
                Target::Column(at) => row.cell(&mut map, at)?,
                Target::Rows if row.seen == 0 => {
                    let rows = map.next_value_seed(RowsSeed { schema: self.schema, builders: row.builders })?;
                    return match map.next_key::<serde::de::IgnoredAny>()? {
                        None => Ok((rows, Form::Rows)),
                        Some(_) => Err(A::Error::custom("more than rows")),
                    };
                }
                _ => return Err(A::Error::custom("unknown column")),
            }
        }
        row.finish().map_err(A::Error::custom)?;
        Ok((1, Form::Row))
    }
}

enum Target {
    Column(usize),
    Rows,
    Unknown,
}

/// Finds the column of a key without allocating; keys mostly come in the schema's order.
struct KeySeed<'r, 'b, 's> {
    row: &'r RowReader<'b, 's>,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_, '_, '_> {
    type Value = Target;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Target, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed<'_, '_, '_> {
    type Value = Target;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a column")
    }
    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Target, E> {
        let inputs = &self.row.schema.inputs;
        if inputs.get(self.row.next).is_some_and(|column| column.name == key) {
            return Ok(Target::Column(self.row.next));
        }
        let found = inputs.iter().position(|column| column.name == key).map(Target::Column);
        Ok(found.unwrap_or(if key == "rows" { Target::Rows } else { Target::Unknown }))
    }
}

struct RowReader<'b, 's> {
    schema: &'s Schema,
    builders: &'b mut Vec<CellsBuilder<'s>>,
    /// Rows before this one.
    row: usize,
    /// Columns of this row so far.
    seen: usize,
    /// Where the next key is looked for first.
    next: usize,
}

impl RowReader<'_, '_> {
    fn cell<'de, A: MapAccess<'de>>(&mut self, map: &mut A, at: usize) -> Result<(), A::Error> {
        let builder = &mut self.builders[at];
        if builder.rows != self.row {
            return Err(A::Error::custom("twice"));
        }
        if builder.column.datatype == Datatype::Json && builder.column.shape.as_deref() == Some(&[]) {
            let raw: &RawValue = map.next_value()?;
            if raw.get() == "null" && builder.column.nullable {
                builder.push_absent();
            } else {
                push_byte_element(&mut builder.data, raw.get().as_bytes());
                builder.row_done(true);
            }
        } else {
            map.next_value_seed(CellSeed { builder })?;
        }
        self.seen += 1;
        self.next = at + 1;
        Ok(())
    }

    /// Fills in what the row left out.
    fn finish(&mut self) -> Result<(), &'static str> {
        if self.seen == self.builders.len() {
            return Ok(());
        }
        let row = self.row;
        for builder in self.builders.iter_mut().filter(|builder| builder.rows == row) {
            if !builder.push_default() {
                return Err("missing");
            }
        }
        Ok(())
    }
}

struct RowsSeed<'b, 's> {
    schema: &'s Schema,
    builders: &'b mut Vec<CellsBuilder<'s>>,
}

impl<'de> DeserializeSeed<'de> for RowsSeed<'_, '_> {
    type Value = usize;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for RowsSeed<'_, '_> {
    type Value = usize;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an array of rows")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<usize, A::Error> {
        let mut rows = 0;
        while elements.next_element_seed(OneRow { schema: self.schema, row: rows, builders: &mut *self.builders })?.is_some() {
            rows += 1;
        }
        Ok(rows)
    }
}

struct OneRow<'b, 's> {
    schema: &'s Schema,
    row: usize,
    builders: &'b mut Vec<CellsBuilder<'s>>,
}

impl<'de> DeserializeSeed<'de> for OneRow<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OneRow<'_, '_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of input columns")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut row = RowReader { schema: self.schema, builders: self.builders, row: self.row, seen: 0, next: 0 };
        while let Some(target) = map.next_key_seed(KeySeed { row: &row })? {
            match target {
                Target::Column(at) => row.cell(&mut map, at)?,
                _ => return Err(A::Error::custom("unknown column")),
            }
        }
        row.finish().map_err(A::Error::custom)
    }
}

/// Says all that is wrong with a body that did not fit.
fn explain(body: &[u8], schema: &Schema) -> Problem {
    let value: Value = match serde_json::from_slice(body) {
        Ok(value) => value,
        Err(error) => {
            return Problem::new("bad_json", format!("the body is not JSON: {error}"))
                .help("send one row as an object of input columns, or {\"rows\": [...]}");
        }
    };
    let form = || {
        Problem::new("bad_form", "the body is JSON, but not a row")
            .help("send one row as an object of input columns, or {\"rows\": [...]}")
    };
    let Value::Object(object) = &value else { return form() };
    let has_rows_column = schema.inputs.iter().any(|column| column.name == "rows");
    let rows: Vec<&Value> = match object.get("rows") {
        Some(Value::Array(rows)) if object.len() == 1 && !has_rows_column => rows.iter().collect(),
        Some(_) if object.len() == 1 && !has_rows_column => return form(),
        _ => vec![&value],
    };
    let mut builders: Vec<CellsBuilder> = schema.inputs.iter().map(|column| CellsBuilder::new(column, 1)).collect();
    let mut details = vec![];
    for (number, row) in rows.iter().enumerate() {
        let place = if rows.len() > 1 { format!("row {number}: ") } else { String::new() };
        let Value::Object(row) = row else {
            details.push(format!("{place}expected an object of input columns, got {}", shown(row)));
            continue;
        };
        for (column, builder) in schema.inputs.iter().zip(&mut builders) {
            match row.get(&column.name) {
                Some(value) if builder.push_value(value) => {}
                Some(value) => {
                    details.push(format!("{place}{}  expected {}, got {}", column.name, expected(column), shown(value)))
                }
                None if column.is_optional() => {}
                None => details.push(format!("{place}{}  is missing: expected {}", column.name, expected(column))),
            }
        }
        let unknown = row.keys().filter(|key| !schema.inputs.iter().any(|column| column.name == **key));
        details.extend(unknown.map(|key| format!("{place}{}", unknown_column(key, schema))));
        if details.len() > DETAILS_MAX {
            details.truncate(DETAILS_MAX);
            details.push("…".into());
            break;
        }
    }
    if details.is_empty() {
        details.push("a column is there twice".into());
    }
    mismatch(details)
}

/// A value as a person recognises it, short.
fn shown(value: &Value) -> String {
    const CHARS_MAX: usize = 60;
    let text = value.to_string();
    let short: String = text.chars().take(CHARS_MAX).collect();
    let short = if short.len() < text.len() { format!("{short}…") } else { short };
    match value {
        Value::String(_) => format!("the string {short}"),
        Value::Array(_) => format!("the array {short}"),
        Value::Object(_) => format!("the object {short}"),
        _ => short,
    }
}

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
        let size = shape.iter().fold(1_u64, |size, dimension| size.saturating_mul((*dimension).max(1) as u64));
        if size > MADE_UP_ELEMENTS_MAX {
            return Value::Null;
        }
        shape.iter().rev().fold(leaf, |inner, dimension| Value::Array(vec![inner; (*dimension).clamp(1, 1 << 20) as usize]))
    };
    Value::Object(schema.inputs.iter().map(|column| (column.name.clone(), cell(column))).collect())
}

/// Fills in the columns that a schema allows a payload to leave out; for callers that build payloads themselves.
pub fn complete(payload: &mut Payload, schema: &Schema) {
    for column in schema.inputs.iter().skip(payload.columns.len()) {
        payload.columns.push(absent(column, payload.rows));
    }
}

#[cfg(test)]
#[path = "simple_tests.rs"]
mod tests;
