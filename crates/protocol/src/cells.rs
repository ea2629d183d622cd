//! Builds one column's bytes out of JSON values, one row after another.

use std::fmt;

use bytes::Bytes;
use domain::Datatype;
use domain::schema::Column;
use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::Value;

use crate::element::{Scalar, push};
use crate::payload::{Cells, category_fits, push_null};
use crate::tensor::push_byte_element;

/// A dimension that no row has fixed yet.
const FREE: usize = usize::MAX;

/// Collects the cells of one column.
pub struct CellsBuilder<'s> {
    pub(crate) column: &'s Column,
    pub(crate) data: Vec<u8>,
    /// Of one row, `FREE` where it is not fixed yet.
    shape: Vec<usize>,
    /// Whether the number of dimensions is known.
    rank_known: bool,
    valid: Option<Vec<u8>>,
    pub(crate) rows: usize,
}

impl<'s> CellsBuilder<'s> {
    /// For a column, with room for this many rows.
    pub fn new(column: &'s Column, rows: usize) -> CellsBuilder<'s> {
        let shape: Vec<usize> = match &column.shape {
            Some(shape) => shape.iter().map(|dimension| usize::try_from(*dimension).unwrap_or(FREE)).collect(),
            None => vec![],
        };
        let per_row: usize =
            shape.iter().map(|dimension| if *dimension == FREE { 1 } else { (*dimension).min(1 << 16) }).product();
        let capacity = rows.saturating_mul(per_row.min(1 << 20)).saturating_mul(column.datatype.size().unwrap_or(16));
        CellsBuilder {
            column,
            data: Vec::with_capacity(capacity.min(1 << 20)),
            shape,
            rank_known: column.shape.is_some(),
            valid: None,
            rows: 0,
        }
    }

    /// Appends one row's value; `false` if it does not fit.
    pub fn push_value(&mut self, value: &Value) -> bool {
        if self.column.datatype == Datatype::Json && self.column.shape.as_deref() == Some(&[]) {
            if value.is_null() && self.column.nullable {
                self.push_absent();
            } else {
                push_byte_element(&mut self.data, value.to_string().as_bytes());
                self.row_done(true);
            }
            return true;
        }
        CellSeed { builder: self }.deserialize(value).is_ok()
    }

    pub(crate) fn push_absent(&mut self) {
        let shape: Vec<usize> = self.shape.iter().map(|dimension| if *dimension == FREE { 0 } else { *dimension }).collect();
        push_null(self.column.datatype, &shape, &mut self.data);
        self.row_done(false);
    }

    /// Appends what a row without this column gets; `false` if it must have it.
    pub(crate) fn push_default(&mut self) -> bool {
        match &self.column.default {
            Some(value) if !value.is_null() => self.push_value(value),
            _ if self.column.is_optional() => {
                self.push_absent();
                true
            }
            _ => false,
        }
    }

    pub(crate) fn row_done(&mut self, is_valid: bool) {
        if !is_valid && self.valid.is_none() {
            self.valid = Some(vec![1; self.rows]);
        }
        self.rows += 1;
        if let Some(valid) = &mut self.valid {
            valid.push(is_valid as u8);
        }
    }

    /// The cells of all rows.
    pub fn finish(self) -> Cells {
        let shape = self.shape.iter().map(|dimension| if *dimension == FREE { 0 } else { *dimension }).collect();
        Cells { shape, data: Bytes::from(self.data), valid: self.valid.map(Bytes::from) }
    }

    fn element(&mut self, scalar: Scalar<'_>, depth: usize) -> bool {
        if !self.rank_known {
            // The first leaf tells how deep the arrays of this column are.
            self.rank_known = true;
            self.shape.truncate(depth);
        }
        let before = self.data.len();
        if depth != self.shape.len() || !push(self.column.datatype, scalar, &mut self.data) {
            return false;
        }
        if self.column.categories.is_empty() {
            return true;
        }
        let skip = if self.column.datatype.size().is_none() { 4 } else { 0 };
        category_fits(self.column, &self.data[before + skip..])
    }
}

pub(crate) struct CellSeed<'b, 's> {
    pub(crate) builder: &'b mut CellsBuilder<'s>,
}

impl<'de> DeserializeSeed<'de> for CellSeed<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let nullable = self.builder.column.nullable;
        let is_valid = deserializer.deserialize_any(ElementVisitor { builder: self.builder, depth: 0, nullable })?;
        if is_valid {
            self.builder.row_done(true);
        } else {
            self.builder.push_absent();
        }
        Ok(())
    }
}

/// Reads a scalar, or arrays of them; `false` for `null`.
struct ElementVisitor<'b, 's> {
    builder: &'b mut CellsBuilder<'s>,
    depth: usize,
    nullable: bool,
}

impl ElementVisitor<'_, '_> {
    fn element<E: serde::de::Error>(self, scalar: Scalar<'_>) -> Result<bool, E> {
        if self.builder.element(scalar, self.depth) { Ok(true) } else { Err(E::custom("does not fit")) }
    }
}

impl<'de> Visitor<'de> for ElementVisitor<'_, '_> {
    type Value = bool;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a value of the column's datatype")
    }
    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<bool, E> {
        self.element(Scalar::Bool(value))
    }
    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<bool, E> {
        self.element(Scalar::Signed(value))
    }
    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<bool, E> {
        self.element(Scalar::Unsigned(value))
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<bool, E> {
        self.element(Scalar::Float(value))
    }
    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<bool, E> {
        self.element(Scalar::Text(value))
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<bool, E> {
        if self.nullable { Ok(false) } else { Err(E::custom("null")) }
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<bool, A::Error> {
        let depth = self.depth;
        if !self.builder.rank_known && self.builder.shape.len() == depth {
            self.builder.shape.push(FREE);
        }
        if depth >= self.builder.shape.len() {
            return Err(A::Error::custom("too deep"));
        }
        let mut count = 0;
        while elements.next_element_seed(ElementSeed { builder: &mut *self.builder, depth: depth + 1 })?.is_some() {
            count += 1;
        }
        let dimension = &mut self.builder.shape[depth];
        if *dimension == FREE {
            *dimension = count;
        }
        if *dimension == count { Ok(true) } else { Err(A::Error::custom("another length")) }
    }
}

struct ElementSeed<'b, 's> {
    builder: &'b mut CellsBuilder<'s>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for ElementSeed<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let visitor = ElementVisitor { builder: self.builder, depth: self.depth, nullable: false };
        deserializer.deserialize_any(visitor).map(|_| ())
    }
}
