//! One column of some rows, borrowed and read row by row: what is counted of values, without a copy
//! of them. Whatever the bytes are, reading them ends, and early if they are damaged.

use domain::Datatype;

use crate::element;
use crate::limits::{ELEMENTS_MAX, EMPTY_PLACES_MAX};
use crate::payload::Cells;
use crate::tensor::{Tensor, byte_elements};

/// A column of some rows.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ColumnView<'a> {
    /// The column's name.
    pub name: &'a str,
    /// Of its elements.
    pub datatype: Datatype,
    /// Of one row: `[]` for a scalar.
    pub shape: &'a [usize],
    /// As in a [`Tensor`]: little-endian and row-major, elements of BYTES behind their length. A
    /// row that is missing has a place in it.
    pub data: &'a [u8],
    /// A byte for each row, 0 where the value is missing; `None` if all are there.
    pub valid: Option<&'a [u8]>,
    /// How many.
    pub rows: usize,
}

/// The value of one row.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value<'a> {
    /// `null`, or left out.
    Missing,
    /// A scalar of BOOL.
    Bool(bool),
    /// A scalar number; integers beyond 2^53 are rounded.
    Number(f64),
    /// A scalar of BYTES, a timestamp or JSON.
    Text(&'a [u8]),
    /// A row that has a shape.
    Tensor(Elements<'a>),
}

/// The elements of one row.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Elements<'a> {
    datatype: Datatype,
    data: &'a [u8],
    count: usize,
}

impl<'a> ColumnView<'a> {
    /// A column of a payload.
    pub fn of_cells(name: &'a str, datatype: Datatype, cells: &'a Cells, rows: usize) -> Self {
        let valid = cells.valid.as_deref();
        ColumnView { name, datatype, shape: &cells.shape, data: &cells.data, valid, rows }
    }

    /// A tensor whose leading dimension is the rows; one without dimensions is a row.
    pub fn of_tensor(tensor: &'a Tensor, valid: Option<&'a [u8]>) -> Self {
        let (rows, shape) = tensor.shape.split_first().map_or((1, &[][..]), |(n, row)| (*n, row));
        let Tensor { name, datatype, data, .. } = tensor;
        ColumnView { name, datatype: *datatype, shape, data, valid, rows }
    }

    /// The values in order; fewer than there are rows if the bytes are damaged.
    pub fn values(&self) -> Values<'a> {
        let row = self.shape.iter().try_fold(1usize, |all, one| all.checked_mul(*one));
        let elements = row.filter(|elements| *elements <= ELEMENTS_MAX);
        // Rows without elements take no bytes that would bound their number.
        let rows_max = if elements == Some(0) { EMPTY_PLACES_MAX } else { usize::MAX };
        Values {
            datatype: self.datatype,
            is_scalar: self.shape.is_empty(),
            elements: elements.unwrap_or_default(),
            rest: self.data,
            valid: self.valid,
            row: 0,
            rows: if elements.is_none() { 0 } else { self.rows.min(rows_max) },
        }
    }
}

/// Goes through the values of a column.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    datatype: Datatype,
    is_scalar: bool,
    elements: usize,
    rest: &'a [u8],
    valid: Option<&'a [u8]>,
    row: usize,
    rows: usize,
}

impl<'a> Values<'a> {
    /// The bytes of the next row.
    fn take(&mut self) -> Option<&'a [u8]> {
        let bytes = match self.datatype.size() {
            Some(size) => self.elements.checked_mul(size)?,
            None => {
                let mut bytes = 0usize;
                for _ in 0..self.elements {
                    let (length, _) = self.rest.get(bytes..)?.split_first_chunk::<4>()?;
                    bytes = (bytes + 4).checked_add(u32::from_le_bytes(*length) as usize)?;
                }
                bytes
            }
        };
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    #[inline]
    fn next(&mut self) -> Option<Value<'a>> {
        if self.row >= self.rows {
            return None;
        }
        let is_there = match self.valid {
            None => true,
            Some(valid) => *valid.get(self.row)? != 0,
        };
        let data = self.take()?;
        self.row += 1;
        Some(match (is_there, self.is_scalar) {
            (false, _) => Value::Missing,
            (true, false) => {
                let (datatype, count) = (self.datatype, self.elements);
                Value::Tensor(Elements { datatype, data, count })
            }
            (true, true) => match self.datatype {
                Datatype::Bool => Value::Bool(data != [0]),
                Datatype::Bytes | Datatype::Timestamp | Datatype::Json => {
                    Value::Text(data.get(4..).unwrap_or_default())
                }
                number => Value::Number(element::number(number, data)),
            },
        })
    }
}

impl<'a> Elements<'a> {
    /// How many.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Each as a number; none if they are texts.
    pub fn numbers(&self) -> impl Iterator<Item = f64> + use<'a> {
        let datatype = self.datatype;
        let size = datatype.size();
        let data = if size.is_some() { self.data } else { &[] };
        data.chunks_exact(size.unwrap_or(1)).map(move |bytes| element::number(datatype, bytes))
    }

    /// Each as a text; none if they are numbers.
    pub fn texts(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        byte_elements(if self.datatype.size().is_none() { self.data } else { &[] })
    }
}

#[cfg(test)]
mod tests;
