//! Builds one column's bytes out of JSON values, one row after another.

use std::cell::Cell;
use std::fmt;

use bytes::Bytes;
use domain::Datatype;
use domain::schema::Column;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::element::{Scalar, push, taken};
use crate::limits::{DIMENSIONS_MAX, FILLED_BYTES_MAX, is_deep};
use crate::payload::{Cells, category_fits, null_bytes, push_null};
use crate::tensor::push_byte_element;

mod encoded;

/// A dimension that no row has fixed yet.
const FREE: usize = usize::MAX;

/// What the columns of one request may take together.
pub struct Allowance {
    /// What may still be put in place of what the rows leave out, in bytes.
    filled: Cell<usize>,
    /// The length of the text that values are read from.
    text_bytes: usize,
}

impl Allowance {
    /// For one request; `text_bytes` is its length.
    pub fn new(text_bytes: usize) -> Allowance {
        Allowance { filled: Cell::new(FILLED_BYTES_MAX), text_bytes }
    }

    /// Takes some of what may be filled in; `false` if there is not as much.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let left = self.filled.get().checked_sub(bytes);
        left.inspect(|left| self.filled.set(*left)).is_some()
    }
}

/// Why a value was not taken, where 'it is no value of this column' does not say it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Misfit {
    /// Arrays that should have the same length have not.
    Ragged {
        /// Of the dimension, from the outermost.
        depth: usize,
        /// The row that fixed the length, if it was an earlier one.
        row: Option<usize>,
        /// The length so far.
        had: usize,
        /// The length now.
        got: usize,
    },
    /// Another number of dimensions than in this earlier row.
    Rank(usize),
    /// An array has more levels than a tensor dimensions, or JSON more than its readers take.
    Deep,
    /// What stands in for missing values takes too much memory.
    Filled,
    /// An object that does not stand for bytes.
    Object,
    /// What should be base64 is none.
    Encoding,
}

/// The most elements that a text of this length has: each takes two bytes of it at least.
fn text_elements_max(text_bytes: usize) -> usize {
    text_bytes / 2
}

/// Collects the cells of one column.
pub struct CellsBuilder<'s> {
    pub(crate) column: &'s Column,
    allowance: &'s Allowance,
    data: Vec<u8>,
    /// Of one row, `FREE` where it is not fixed yet.
    shape: Vec<usize>,
    /// Whether the number of dimensions is known.
    rank_known: bool,
    /// The first row that has a value.
    shaped_by: Option<usize>,
    valid: Option<Vec<u8>>,
    pub(crate) rows: usize,
    /// Why the last value was not taken.
    pub(crate) misfit: Option<Misfit>,
}

impl<'s> CellsBuilder<'s> {
    /// For one of so many columns.
    pub fn new(column: &'s Column, columns: usize, allowance: &'s Allowance) -> CellsBuilder<'s> {
        let shape: Vec<usize> = match &column.shape {
            Some(shape) => {
                shape.iter().map(|dimension| usize::try_from(*dimension).unwrap_or(FREE)).collect()
            }
            None => vec![],
        };
        // Room for one row, but no more than the text can fill.
        let per_row = shape.iter().fold(1usize, |product, dimension| match *dimension {
            FREE => product,
            dimension => product.saturating_mul(dimension),
        });
        let size = column.datatype.size().unwrap_or(16);
        let capacity = per_row
            .saturating_mul(size)
            .min(text_elements_max(allowance.text_bytes) * size / columns.max(1));
        CellsBuilder {
            column,
            allowance,
            data: Vec::with_capacity(capacity),
            shape,
            rank_known: column.shape.is_some(),
            shaped_by: None,
            valid: None,
            rows: 0,
            misfit: None,
        }
    }

    /// Appends one row's value; `false` if it does not fit, and then nothing is appended.
    pub fn push_value(&mut self, value: &Value) -> bool {
        self.push_or_undo(|builder| match builder.keeps_json() {
            true if value.is_null() && builder.column.nullable => builder.push_absent(),
            true => builder.push_json(&value.to_string()),
            false => CellSeed { builder }.deserialize(value).is_ok(),
        })
    }

    /// Appends one row's value as it was written; `false` if it does not fit, and then nothing is
    /// appended.
    pub(crate) fn push_raw(&mut self, raw: &RawValue) -> bool {
        self.push_or_undo(|builder| match builder.keeps_json() {
            true => builder.push_raw_json(raw),
            false => CellSeed { builder }
                .deserialize(&mut serde_json::Deserializer::from_str(raw.get()))
                .is_ok(),
        })
    }

    fn push_or_undo(&mut self, push: impl FnOnce(&mut Self) -> bool) -> bool {
        let (bytes, shape, rank_known) = (self.data.len(), self.shape.clone(), self.rank_known);
        let taken = push(self);
        if !taken {
            self.data.truncate(bytes);
            (self.shape, self.rank_known) = (shape, rank_known);
        }
        taken
    }

    /// Of a column that keeps JSON.
    pub(crate) fn push_raw_json(&mut self, raw: &RawValue) -> bool {
        if raw.get() == "null" && self.column.nullable {
            self.push_absent()
        } else {
            self.push_json(raw.get())
        }
    }

    /// Whether this column keeps JSON as it was written.
    pub(crate) fn keeps_json(&self) -> bool {
        self.column.datatype == Datatype::Json && self.column.shape.as_deref() == Some(&[])
    }

    fn push_json(&mut self, json: &str) -> bool {
        if is_deep(json) {
            self.misfit = Some(Misfit::Deep);
            return false;
        }
        push_byte_element(&mut self.data, json.as_bytes());
        self.row_done()
    }

    /// Appends a row without a value; `false` if all that stands in for missing values takes too
    /// much memory.
    pub(crate) fn push_absent(&mut self) -> bool {
        let row_bytes = self.stand_in_bytes();
        if !row_bytes.is_some_and(|bytes| self.allowance.take(bytes + 1)) {
            self.misfit = Some(Misfit::Filled);
            return false;
        }
        // Until a row tells the shape, nothing is put in: see `shape_known`.
        if self.shaped_by.is_some() {
            push_null(self.column.datatype, &self.fixed_shape(), &mut self.data);
        }
        self.valid.get_or_insert_with(|| vec![1; self.rows]).push(0);
        self.rows += 1;
        true
    }

    /// Appends what a row without this column gets; `false` if it must have it.
    pub(crate) fn push_default(&mut self) -> bool {
        match &self.column.default {
            Some(value) if !value.is_null() => {
                let before = self.data.len();
                let taken = self.push_value(value);
                if taken && !self.allowance.take(self.data.len() - before + 1) {
                    self.misfit = Some(Misfit::Filled);
                    return false;
                }
                taken
            }
            _ => self.column.is_optional() && self.push_absent(),
        }
    }

    /// What stands in for one missing row, in bytes.
    fn stand_in_bytes(&self) -> Option<usize> {
        null_bytes(self.column.datatype, &self.fixed_shape())
    }

    /// The shape of a row, 0 where it is free.
    fn fixed_shape(&self) -> Vec<usize> {
        self.shape.iter().map(|dimension| if *dimension == FREE { 0 } else { *dimension }).collect()
    }

    /// A row's value is in.
    fn row_done(&mut self) -> bool {
        if self.shaped_by.is_none() && !self.shape_known() {
            self.misfit = Some(Misfit::Filled);
            return false;
        }
        self.rows += 1;
        if let Some(valid) = &mut self.valid {
            valid.push(1);
        }
        true
    }

    /// The first value tells the shape of the rows without one that came before it.
    fn shape_known(&mut self) -> bool {
        (self.shaped_by, self.rank_known) = (Some(self.rows), true);
        if self.rows == 0 {
            return true;
        }
        let Some(row_bytes) = self.stand_in_bytes() else { return false };
        if !self.allowance.take(row_bytes.saturating_mul(self.rows)) {
            return false;
        }
        let first = std::mem::take(&mut self.data);
        self.put_stand_ins();
        self.data.extend_from_slice(&first);
        true
    }

    /// Puts in what stands in for all rows so far.
    fn put_stand_ins(&mut self) {
        let shape = self.fixed_shape();
        (0..self.rows).for_each(|_| push_null(self.column.datatype, &shape, &mut self.data));
    }

    /// The cells of all rows.
    pub fn finish(mut self) -> Cells {
        if self.shaped_by.is_none() {
            self.put_stand_ins();
        }
        Cells {
            shape: self.fixed_shape(),
            data: Bytes::from(self.data),
            valid: self.valid.map(Bytes::from),
        }
    }

    /// Appends one row of bytes: one element, or a list of them for a column of lists; `false` if
    /// they do not fit.
    pub(crate) fn push_bytes(&mut self, elements: &[&[u8]], is_list: bool) -> bool {
        self.push_or_undo(|builder| {
            let depth = usize::from(is_list);
            let mut all = elements.iter();
            (!is_list || builder.begin_array(0))
                && all.all(|bytes| builder.element(Scalar::Bytes(bytes), depth))
                && (!is_list || builder.end_array(0, elements.len()))
                && builder.row_done()
        })
    }

    fn element(&mut self, scalar: Scalar<'_>, depth: usize) -> bool {
        // The first leaf tells how deep the arrays of this column are, unless an empty array went
        // deeper.
        self.rank_known |= self.shape.len() == depth;
        if depth != self.shape.len() {
            return self.other_rank();
        }
        let before = self.data.len();
        if let Some(size) = self.column.datatype.size()
            && self.data.capacity() - before < size
        {
            self.make_room(size);
        }
        if !push(self.column.datatype, taken(self.column, scalar), &mut self.data) {
            return false;
        }
        if self.column.categories.is_empty() {
            return true;
        }
        let skip = if self.column.datatype.size().is_none() { 4 } else { 0 };
        category_fits(self.column, &self.data[before + skip..])
    }

    /// Grows as a vector does, but to no more than the text can fill.
    fn make_room(&mut self, size: usize) {
        let left =
            (text_elements_max(self.allowance.text_bytes) * size).saturating_sub(self.data.len());
        self.data.reserve_exact(self.data.len().min(left).max(8 * size));
    }

    /// An array begins at this depth; `false` if there must be none.
    fn begin_array(&mut self, depth: usize) -> bool {
        if !self.rank_known && self.shape.len() == depth {
            if depth == DIMENSIONS_MAX {
                self.misfit = Some(Misfit::Deep);
                return false;
            }
            self.shape.push(FREE);
        }
        depth < self.shape.len() || self.other_rank()
    }

    fn other_rank(&mut self) -> bool {
        self.misfit = self.shaped_by.filter(|_| self.column.shape.is_none()).map(Misfit::Rank);
        false
    }

    /// An array of this length ends; `false` if others have another length.
    fn end_array(&mut self, depth: usize, length: usize) -> bool {
        let had = self.shape[depth];
        if had == FREE {
            self.shape[depth] = length;
        } else if had != length {
            let is_fixed = self
                .column
                .shape
                .as_ref()
                .is_some_and(|shape| shape.get(depth).is_some_and(|wanted| *wanted >= 0));
            self.misfit = (!is_fixed).then_some(Misfit::Ragged {
                depth,
                row: self.shaped_by,
                had,
                got: length,
            });
            return false;
        }
        true
    }
}

pub(crate) struct CellSeed<'b, 's> {
    pub(crate) builder: &'b mut CellsBuilder<'s>,
}

impl<'de> DeserializeSeed<'de> for CellSeed<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.builder.misfit = None;
        let nullable = self.builder.column.nullable;
        let is_valid = deserializer.deserialize_any(ElementVisitor {
            builder: self.builder,
            depth: 0,
            nullable,
        })?;
        let taken = if is_valid { self.builder.row_done() } else { self.builder.push_absent() };
        if taken { Ok(()) } else { Err(D::Error::custom("does not fit")) }
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
        if self.builder.element(scalar, self.depth) {
            Ok(true)
        } else {
            Err(E::custom("does not fit"))
        }
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
    /// `{"b64": "…"}`
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<bool, A::Error> {
        match self.builder.column.datatype {
            Datatype::Bytes => encoded::element(self.builder, self.depth, map).map(|()| true),
            _ => Err(A::Error::custom("an object")),
        }
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<bool, A::Error> {
        if !self.builder.begin_array(self.depth) {
            return Err(A::Error::custom("too deep"));
        }
        let mut length = 0;
        while elements
            .next_element_seed(ElementSeed { builder: &mut *self.builder, depth: self.depth + 1 })?
            .is_some()
        {
            length += 1;
        }
        if self.builder.end_array(self.depth, length) {
            Ok(true)
        } else {
            Err(A::Error::custom("another length"))
        }
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
