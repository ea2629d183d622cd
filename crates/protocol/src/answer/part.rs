//! Rows of an answer beside each other that have the same columns.

use std::ops::Range;

use domain::schema::Schema;

use super::column::{AnswerColumn, validity};
use super::declared::{is_validity, owners};
use crate::columns::ColumnIndex;
use crate::fault::WorkerFault;
use crate::limits::{shown_name, shown_names};
use crate::tensor::Tensor;

/// Rows beside each other that have the same columns.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    /// Of the batch.
    pub(super) rows: Range<usize>,
    /// In the model's order.
    pub(super) columns: Vec<AnswerColumn>,
}

impl Part {
    pub(super) fn from_tensors(
        tensors: Vec<Tensor>,
        range: Range<usize>,
        schema: &Schema,
    ) -> Result<Part, WorkerFault> {
        let rows = range.len();
        let promised = schema.promised();
        let declared = ColumnIndex::new(promised);
        let mut columns: Vec<AnswerColumn> = Vec::with_capacity(tensors.len());
        let (validities, values): (Vec<Tensor>, Vec<Tensor>) =
            tensors.into_iter().partition(is_validity);
        let column = |tensor: Tensor, at: usize| {
            let declared = declared.find(&tensor.name, at).map(|at| &promised[at]);
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
    pub(super) fn has_declared(
        &self,
        wanted: &[String],
        schema: &Schema,
    ) -> Result<(), WorkerFault> {
        let own = ColumnIndex::new(&self.columns);
        let declared = ColumnIndex::new(schema.promised());
        let is_missing = |at: usize, name: &str| own.find(name, at).is_none();
        let missing = match wanted {
            [] => schema
                .promised()
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

    pub(super) fn agrees(
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

    pub(super) fn write_row(&self, row: usize, out: &mut Vec<u8>) {
        out.push(b'{');
        for (at, column) in self.columns.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            crate::encoded::write_text(&column.name, out);
            out.push(b':');
            column.write_row(row, out);
        }
        out.push(b'}');
    }

    pub(super) fn to_tensors(&self, range: Range<usize>) -> Vec<Tensor> {
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
