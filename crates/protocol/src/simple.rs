//! Simple JSON: one row as an object of input columns, or `{"rows": [...]}`. Values go straight
//! into the columns' bytes; only a request that does not fit is read a second time, to explain what
//! is wrong with it.

use std::fmt;

use domain::schema::Schema;
use domain::{Code, Problem};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::cells::{Allowance, CellSeed, CellsBuilder};
use crate::columns::ColumnIndex;
use crate::limits::ROWS_MAX;
use crate::payload::Payload;

mod explain;
mod form;
mod synthetic;

pub use form::{decode_bytes, decode_form};
pub use synthetic::synthetic_row;

/// How the request was written, and so how its answer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// One object.
    Row,
    /// `{"rows": [...]}`
    Rows,
}

/// Reads a request body. Takes no more memory than four times the body and what stands in for
/// missing values.
pub fn decode(body: &[u8], schema: &Schema) -> Result<(Payload, Form), Problem> {
    let read = read(body, schema);
    let Ok((payload, form)) = read else { return Err(explain::explain(body, schema)) };
    if payload.rows == 0 {
        return Err(
            Problem::new(Code::NoRows, "the request has no rows").help("send at least one row")
        );
    }
    Ok((payload, form))
}

fn read(body: &[u8], schema: &Schema) -> Result<(Payload, Form), serde_json::Error> {
    let (allowance, columns) = (Allowance::new(body.len()), ColumnIndex::new(&schema.inputs));
    let mut builders = builders(schema, &allowance);
    let mut reader = serde_json::Deserializer::from_slice(body);
    let top = Top { columns: &columns, builders: &mut builders };
    let (rows, form) = top.deserialize(&mut reader).and_then(|read| reader.end().map(|()| read))?;
    Ok((Payload { rows, columns: builders.into_iter().map(CellsBuilder::finish).collect() }, form))
}

/// One for each input column.
fn builders<'s>(schema: &'s Schema, allowance: &'s Allowance) -> Vec<CellsBuilder<'s>> {
    schema
        .inputs
        .iter()
        .map(|column| CellsBuilder::new(column, schema.inputs.len(), allowance))
        .collect()
}

/// The whole body.
struct Top<'b, 's> {
    columns: &'b ColumnIndex<'s>,
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
        let mut row =
            RowReader { columns: self.columns, builders: self.builders, row: 0, seen: 0, next: 0 };
        while let Some(target) = map.next_key_seed(KeySeed { row: &row })? {
            match target {
                Target::Column(at) => row.cell(&mut map, at)?,
                Target::Rows if row.seen == 0 => {
                    let rows = map.next_value_seed(RowsSeed {
                        columns: self.columns,
                        builders: row.builders,
                    })?;
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
        let found = self.row.columns.find(key, self.row.next).map(Target::Column);
        Ok(found.unwrap_or(if key == "rows" { Target::Rows } else { Target::Unknown }))
    }
}

struct RowReader<'b, 's> {
    columns: &'b ColumnIndex<'s>,
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
        if builder.keeps_json() {
            if !builder.push_raw_json(map.next_value::<&RawValue>()?) {
                return Err(A::Error::custom("does not fit"));
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
    columns: &'b ColumnIndex<'s>,
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
        while elements
            .next_element_seed(OneRow {
                columns: self.columns,
                row: rows,
                builders: &mut *self.builders,
            })?
            .is_some()
        {
            rows += 1;
            if rows > ROWS_MAX {
                return Err(A::Error::custom("too many rows"));
            }
        }
        Ok(rows)
    }
}

struct OneRow<'b, 's> {
    columns: &'b ColumnIndex<'s>,
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
        let mut row = RowReader {
            columns: self.columns,
            builders: self.builders,
            row: self.row,
            seen: 0,
            next: 0,
        };
        while let Some(target) = map.next_key_seed(KeySeed { row: &row })? {
            match target {
                Target::Column(at) => row.cell(&mut map, at)?,
                _ => return Err(A::Error::custom("unknown column")),
            }
        }
        row.finish().map_err(A::Error::custom)
    }
}

#[cfg(test)]
mod tests;
