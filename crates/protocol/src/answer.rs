//! An answer: the output columns of one batch, shared by all requests that were in it. Rows that a
//! model answered with other columns, types or shapes than their neighbours keep their own, and a
//! row that failed is known by itself.

mod agree;
mod column;
mod declared;
mod exact;
mod join;
mod part;

use std::ops::Range;

use domain::Problem;
use domain::schema::Schema;

pub use self::agree::json_agrees;
pub use self::column::AnswerColumn;
use self::part::Part;
use crate::fault::WorkerFault;
use crate::tensor::Tensor;

/// What a model gave for a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// How many rows.
    pub rows: usize,
    /// In the order of the rows; those that failed are in none.
    parts: Vec<Part>,
    failures: Vec<(Range<usize>, Problem)>,
}

/// What a worker gave for rows beside each other: their outputs, or why they failed.
pub type Given = (usize, Result<Vec<Tensor>, Problem>);

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

#[cfg(test)]
mod tests;
