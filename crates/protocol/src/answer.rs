//! An answer: the output columns of one batch, shared by all requests that were in it. Rows that a
//! model answered with other columns, types or shapes than their neighbours keep their own, and a
//! row that failed is known by itself.

mod agree;
mod declared;
mod join;

use std::ops::Range;

use bytes::Bytes;
use domain::schema::{Column, Schema};
use domain::{Datatype, Problem};

use self::agree::json_agrees;
use self::declared::{as_declared, is_validity, owners};
use crate::columns::{ColumnIndex, Named};
use crate::element::{is_close, number, write_json};
use crate::fault::WorkerFault;
use crate::limits::{shown_name, shown_names};
use crate::tensor::{Tensor, byte_elements, elements};

/// What a model gave for a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// How many rows.
    pub rows: usize,
    /// In the order of the rows; those that failed are in none.
    parts: Vec<Part>,
    failures: Vec<(Range<usize>, Problem)>,
}

/// Rows beside each other that have the same columns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    /// Of the batch.
    rows: Range<usize>,
    /// In the model's order.
    columns: Vec<AnswerColumn>,
}

/// What a worker gave for rows beside each other: their outputs, or why they failed.
pub type Given = (usize, Result<Vec<Tensor>, Problem>);

/// One output column of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerColumn {
    name: String,
    datatype: Datatype,
    /// Of one row.
    shape: Vec<usize>,
    data: Bytes,
    /// Where each row begins, and the end; only for elements that have a length of their own.
    offsets: Option<Vec<usize>>,
    valid: Option<Bytes>,
    has_rows: bool,
}

impl Named for AnswerColumn {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Answer {
    /// Takes the output tensors of a worker for a batch of `rows`. Types that travel as BYTES
    /// become what the schema says.
    pub fn from_tensors(
        tensors: Vec<Tensor>,
        rows: usize,
        schema: &Schema,
    ) -> Result<Answer, WorkerFault> {
        Answer::from_parts(vec![(rows, Ok(tensors))], rows, schema)
    }

    /// Takes what a worker gave for a batch of `rows`, part by part in their order.
    pub fn from_parts(
        given: Vec<Given>,
        rows: usize,
        schema: &Schema,
    ) -> Result<Answer, WorkerFault> {
        let mut answer = Answer { rows, parts: Vec::with_capacity(given.len()), failures: vec![] };
        let mut end = 0usize;
        for (count, outputs) in given {
            let range = end..end.saturating_add(count);
            end = range.end;
            if count == 0 || end > rows {
                return Err(WorkerFault::output(format!(
                    "the parts of the answer do not fit {rows} rows of input"
                )));
            }
            match outputs {
                Ok(tensors) => answer.parts.push(Part::from_tensors(tensors, range, schema)?),
                Err(problem) => answer.failures.push((range, problem)),
            }
        }
        if end != rows {
            return Err(WorkerFault::output(format!(
                "the parts of the answer have {end} rows for {rows} rows of input"
            )));
        }
        Ok(answer)
    }

    /// Fails if an output is missing that was asked for, or, if none was, one that the schema
    /// declares.
    pub(crate) fn has_declared(
        &self,
        wanted: &[String],
        schema: &Schema,
    ) -> Result<(), WorkerFault> {
        self.parts.iter().try_for_each(|part| part.has_declared(wanted, schema))
    }

    /// Why the first of these rows that failed did so.
    pub fn failure(&self, range: Range<usize>) -> Option<&Problem> {
        let at = self.failures.partition_point(|(rows, _)| rows.end <= range.start);
        self.failures.get(at).filter(|(rows, _)| rows.start < range.end).map(|(_, problem)| problem)
    }

    /// The parts that hold these rows, with each one's rows by its own count.
    fn pieces(&self, range: Range<usize>) -> impl Iterator<Item = (&Part, Range<usize>)> {
        let first = self.parts.partition_point(|part| part.rows.end <= range.start);
        let parts = self.parts[first..].iter().take_while(move |part| part.rows.start < range.end);
        parts.map(move |part| {
            let begin = part.rows.start;
            (part, range.start.max(begin) - begin..range.end.min(part.rows.end) - begin)
        })
    }

    /// Writes the rows as simple JSON: an object, or `{"rows": [...]}`.
    pub fn write_simple(&self, range: Range<usize>, as_one: bool, out: &mut Vec<u8>) {
        if as_one {
            self.write_row(range.start, out);
            return;
        }
        out.extend_from_slice(b"{\"rows\":[");
        let mut first = true;
        for (part, rows) in self.pieces(range) {
            for row in rows {
                if !std::mem::take(&mut first) {
                    out.push(b',');
                }
                part.write_row(row, out);
            }
        }
        out.extend_from_slice(b"]}");
    }

    /// Whether some rows say the same as some of another answer: the same columns in any order,
    /// numbers within `tolerance`, absolute or relative, whichever is larger. Both ranges have the
    /// same length.
    pub fn agrees(
        &self,
        range: Range<usize>,
        other: &Answer,
        of_other: Range<usize>,
        tolerance: f64,
    ) -> bool {
        let own: Vec<_> = self.pieces(range.clone()).collect();
        let others: Vec<_> = other.pieces(of_other.clone()).collect();
        if let ([(part, rows)], [(twin, of_twin)]) = (own.as_slice(), others.as_slice()) {
            return rows.len() == of_twin.len()
                && part.agrees(rows.clone(), twin, of_twin.clone(), tolerance);
        }
        let (own, others) = (one_by_one(own), one_by_one(others));
        own.len() == others.len()
            && own.iter().zip(&others).all(|((part, row), (twin, of_twin))| {
                part.agrees(*row..*row + 1, twin, *of_twin..*of_twin + 1, tolerance)
            })
    }

    fn write_row(&self, row: usize, out: &mut Vec<u8>) {
        match self.pieces(row..row + 1).next() {
            Some((part, rows)) => part.write_row(rows.start, out),
            None => out.extend_from_slice(b"null"),
        }
    }

    /// The rows as tensors with a leading dimension, without copying where they have the same
    /// columns. Where they do not, a column has nulls for rows without it, and is JSON if its types
    /// or shapes differ.
    pub fn to_tensors(&self, range: Range<usize>) -> Result<Vec<Tensor>, Problem> {
        let mut pieces = self.pieces(range);
        match (pieces.next(), pieces.next()) {
            (None, _) => Ok(vec![]),
            (Some((part, rows)), None) => Ok(part.to_tensors(rows)),
            (Some(first), Some(second)) => {
                join::tensors(&[first, second].into_iter().chain(pieces).collect::<Vec<_>>())
            }
        }
    }
}

/// Parts and rows of them, row by row.
fn one_by_one(pieces: Vec<(&Part, Range<usize>)>) -> Vec<(&Part, usize)> {
    pieces.into_iter().flat_map(|(part, rows)| rows.map(move |row| (part, row))).collect()
}

impl Part {
    fn from_tensors(
        tensors: Vec<Tensor>,
        range: Range<usize>,
        schema: &Schema,
    ) -> Result<Part, WorkerFault> {
        let rows = range.len();
        let declared = ColumnIndex::new(&schema.outputs);
        let mut columns: Vec<AnswerColumn> = Vec::with_capacity(tensors.len());
        let (validities, values): (Vec<Tensor>, Vec<Tensor>) =
            tensors.into_iter().partition(is_validity);
        let column = |tensor: Tensor, at: usize| {
            let declared = declared.find(&tensor.name, at).map(|at| &schema.outputs[at]);
            AnswerColumn::from_tensor(tensor, rows, declared, schema.batches)
        };
        for (at, tensor) in values.into_iter().enumerate() {
            columns.push(column(tensor, at)?);
        }
        for (tensor, owner) in owners(validities, &columns) {
            match owner {
                Some(owner) => columns[owner].set_valid(tensor, rows)?,
                None => columns.push(column(tensor, usize::MAX)?),
            }
        }
        if let Some(twice) = ColumnIndex::new(&columns).twice() {
            return Err(WorkerFault::output(format!(
                "the output `{}` is there twice",
                shown_name(&twice.name)
            )));
        }
        Ok(Part { rows: range, columns })
    }

    /// Fails if an output is missing that was asked for, or, if none was, one that the schema
    /// declares.
    fn has_declared(&self, wanted: &[String], schema: &Schema) -> Result<(), WorkerFault> {
        let own = ColumnIndex::new(&self.columns);
        let declared = ColumnIndex::new(&schema.outputs);
        let is_missing = |at: usize, name: &str| own.find(name, at).is_none();
        let missing = match wanted {
            [] => schema
                .outputs
                .iter()
                .enumerate()
                .find(|(at, column)| is_missing(*at, &column.name))
                .map(|(_, c)| &c.name),
            // What the schema does not know, only the model does: then it is the caller who asked
            // for too much.
            wanted => wanted
                .iter()
                .enumerate()
                .find(|(at, name)| is_missing(*at, name) && declared.find(name, *at).is_some())
                .map(|(_, name)| name),
        };
        match missing {
            None => Ok(()),
            Some(name) => {
                let found = shown_names(self.columns.iter().map(|column| column.name.as_str()));
                let text = format!("the worker's answer lacks the output `{}`", shown_name(name));
                Err(WorkerFault::output(text).help(format!("it has {found}")))
            }
        }
    }

    fn agrees(
        &self,
        range: Range<usize>,
        other: &Part,
        of_other: Range<usize>,
        tolerance: f64,
    ) -> bool {
        let same = |column: &AnswerColumn| {
            let twin = other.columns.iter().find(|twin| twin.name == column.name);
            twin.is_some_and(|twin| {
                range
                    .clone()
                    .zip(of_other.clone())
                    .all(|(row, of_other)| column.row_agrees(row, twin, of_other, tolerance))
            })
        };
        self.columns.len() == other.columns.len() && self.columns.iter().all(same)
    }

    fn write_row(&self, row: usize, out: &mut Vec<u8>) {
        out.push(b'{');
        for (at, column) in self.columns.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            crate::element::write_text(column.name.as_bytes(), out);
            out.push(b':');
            column.write_row(row, out);
        }
        out.push(b'}');
    }

    fn to_tensors(&self, range: Range<usize>) -> Vec<Tensor> {
        let mut tensors = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let leading = column.has_rows.then_some(range.len());
            tensors.push(Tensor {
                name: column.name.clone(),
                datatype: column.datatype,
                shape: leading.into_iter().chain(column.shape.iter().copied()).collect(),
                data: column.slice(range.clone()),
            });
            if let Some(valid) = &column.valid {
                tensors.push(validity(&column.name, valid.slice(range.clone())));
            }
        }
        tensors
    }
}

/// The tensor that says which rows of a column are there.
fn validity(name: &str, valid: Bytes) -> Tensor {
    Tensor {
        name: format!("{name}:valid"),
        datatype: Datatype::Bool,
        shape: vec![valid.len()],
        data: valid,
    }
}

impl AnswerColumn {
    /// `declared` is what the schema says of it, if it knows it.
    fn from_tensor(
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

    fn set_valid(&mut self, tensor: Tensor, rows: usize) -> Result<(), WorkerFault> {
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

    fn byte_range(&self, range: Range<usize>) -> Range<usize> {
        match &self.offsets {
            Some(offsets) => offsets[range.start]..offsets[range.end],
            None => {
                let row = elements(&self.shape).unwrap_or(0) * self.datatype.size().unwrap_or(0);
                range.start * row..range.end * row
            }
        }
    }

    fn row_agrees(&self, row: usize, twin: &AnswerColumn, of_twin: usize, tolerance: f64) -> bool {
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

    fn slice(&self, range: Range<usize>) -> Bytes {
        self.data.slice(self.byte_range(range))
    }

    fn write_row(&self, row: usize, out: &mut Vec<u8>) {
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

#[cfg(test)]
mod tests;
