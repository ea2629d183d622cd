//! One output column of a batch: its rows as they are stored, compared and written.

use std::ops::Range;

use bytes::Bytes;
use domain::Datatype;
use domain::schema::Column;

use super::agree::json_agrees;
use super::declared::as_declared;
use crate::columns::Named;
use crate::element::{is_close, number, write_json};
use crate::fault::WorkerFault;
use crate::limits::shown_name;
use crate::tensor::{Tensor, byte_elements, elements};

/// One output column of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerColumn {
    pub(super) name: String,
    pub(super) datatype: Datatype,
    /// Of one row.
    pub(super) shape: Vec<usize>,
    pub(super) data: Bytes,
    /// Where each row begins, and the end; only for elements that have a length of their own.
    pub(super) offsets: Option<Vec<usize>>,
    pub(super) valid: Option<Bytes>,
    pub(super) has_rows: bool,
}

impl Named for AnswerColumn {
    fn name(&self) -> &str {
        &self.name
    }
}

impl AnswerColumn {
    /// `declared` is what the schema says of it, if it knows it.
    pub(super) fn from_tensor(
        tensor: Tensor,
        rows: usize,
        declared: Option<&Column>,
        has_rows: bool,
    ) -> Result<AnswerColumn, WorkerFault> {
        tensor.check()?;
        let (leading, mut shape) = match tensor.shape.split_first() {
            Some((leading, shape)) if has_rows => (*leading, shape.to_vec()),
            None if has_rows => (1, vec![]),
            _ => (1, tensor.shape.clone()),
        };
        if leading != rows {
            let text = format!(
                "`{}` has {leading} rows for {rows} rows of input",
                shown_name(&tensor.name)
            );
            return Err(WorkerFault::output(text));
        }
        let datatype = match declared {
            Some(column) => as_declared(column, &tensor, &mut shape)?,
            None => tensor.datatype,
        };
        let offsets = tensor.datatype.size().is_none().then(|| {
            let per_row = elements(&shape).unwrap_or(0);
            let mut offsets = Vec::with_capacity(rows + 1);
            offsets.push(0);
            let (mut end, mut count) = (0, 0);
            for element in byte_elements(&tensor.data) {
                end += 4 + element.len();
                count += 1;
                if count == per_row {
                    offsets.push(end);
                    count = 0;
                }
            }
            offsets.resize(rows + 1, end);
            offsets
        });
        Ok(AnswerColumn {
            name: tensor.name,
            datatype,
            shape,
            data: tensor.data,
            offsets,
            valid: None,
            has_rows,
        })
    }

    pub(super) fn set_valid(&mut self, tensor: Tensor, rows: usize) -> Result<(), WorkerFault> {
        tensor.check()?;
        let name = shown_name(&tensor.name);
        if tensor.data.len() != rows {
            let found = tensor.data.len();
            return Err(WorkerFault::output(format!(
                "`{name}` has {found} rows for {rows} rows of input"
            )));
        }
        match self.valid.replace(tensor.data) {
            None => Ok(()),
            Some(_) => Err(WorkerFault::output(format!("the output `{name}` is there twice"))),
        }
    }

    pub(super) fn byte_range(&self, range: Range<usize>) -> Range<usize> {
        match &self.offsets {
            Some(offsets) => offsets[range.start]..offsets[range.end],
            None => {
                let row = elements(&self.shape).unwrap_or(0) * self.datatype.size().unwrap_or(0);
                range.start * row..range.end * row
            }
        }
    }

    pub(super) fn row_agrees(
        &self,
        row: usize,
        twin: &AnswerColumn,
        of_twin: usize,
        tolerance: f64,
    ) -> bool {
        let is_valid = |column: &AnswerColumn, row: usize| {
            column.valid.as_ref().is_none_or(|valid| valid[row] != 0)
        };
        match (is_valid(self, row), is_valid(twin, of_twin)) {
            (false, false) => return true,
            (true, true) if self.shape == twin.shape => {}
            _ => return false,
        }
        let (own, others) = (
            &self.data[self.byte_range(row..row + 1)],
            &twin.data[twin.byte_range(of_twin..of_twin + 1)],
        );
        match (self.datatype.size(), twin.datatype.size()) {
            (Some(size), Some(other_size)) => {
                let numbers = own.chunks_exact(size).zip(others.chunks_exact(other_size));
                let mut numbers = numbers
                    .map(|(own, other)| (number(self.datatype, own), number(twin.datatype, other)));
                numbers.all(|(own, other)| is_close(own, other, tolerance))
            }
            (None, None) => {
                own == others
                    || (self.datatype == Datatype::Json && json_agrees(own, others, tolerance))
            }
            _ => false,
        }
    }

    pub(super) fn slice(&self, range: Range<usize>) -> Bytes {
        self.data.slice(self.byte_range(range))
    }

    pub(super) fn write_row(&self, row: usize, out: &mut Vec<u8>) {
        if self.valid.as_ref().is_some_and(|valid| valid[row] == 0) {
            out.extend_from_slice(b"null");
            return;
        }
        let data = &self.data[self.byte_range(row..row + 1)];
        match self.datatype.size() {
            Some(size) => {
                let mut elements = data.chunks_exact(size);
                write_nested(&self.shape, &mut || elements.next(), self.datatype, out);
            }
            None => {
                let mut elements = byte_elements(data);
                write_nested(&self.shape, &mut || elements.next(), self.datatype, out);
            }
        }
    }
}

fn write_nested<'a>(
    shape: &[usize],
    next: &mut impl FnMut() -> Option<&'a [u8]>,
    datatype: Datatype,
    out: &mut Vec<u8>,
) {
    let Some((count, inner)) = shape.split_first() else {
        match next() {
            Some(element) => write_json(datatype, element, out),
            None => out.extend_from_slice(b"null"),
        }
        return;
    };
    out.push(b'[');
    for at in 0..*count {
        if at > 0 {
            out.push(b',');
        }
        write_nested(inner, next, datatype, out);
    }
    out.push(b']');
}

/// The tensor that says which rows of a column are there.
pub(super) fn validity(name: &str, valid: Bytes) -> Tensor {
    Tensor {
        name: format!("{name}:valid"),
        datatype: Datatype::Bool,
        shape: vec![valid.len()],
        data: valid,
    }
}
