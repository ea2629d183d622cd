//! How far two answers to the same row are from each other, bit by bit.

use domain::{Datatype, Distance};

use super::column::AnswerColumn;
use super::{Answer, Part};
use crate::element::number;
use crate::exact;

impl Answer {
    /// How far a row is from one of another answer. Both must have the same columns, in any order.
    pub fn distance(&self, row: usize, other: &Answer, of_other: usize) -> Distance {
        let mut own = self.pieces(row..row + 1);
        let mut others = other.pieces(of_other..of_other + 1);
        match (own.next(), others.next()) {
            (Some((part, row)), Some((twin, of_twin))) => {
                part.distance(row.start, twin, of_twin.start)
            }
            _ => Distance::Far,
        }
    }
}

impl Part {
    fn distance(&self, row: usize, other: &Part, of_other: usize) -> Distance {
        if self.columns.len() != other.columns.len() {
            return Distance::Far;
        }
        let of_column = |column: &AnswerColumn| {
            let twin = other.columns.iter().find(|twin| twin.name == column.name);
            twin.map_or(Distance::Far, |twin| column.distance(row, twin, of_other))
        };
        self.columns.iter().map(of_column).max().unwrap_or(Distance::Same)
    }
}

impl AnswerColumn {
    fn distance(&self, row: usize, twin: &AnswerColumn, of_twin: usize) -> Distance {
        let is_there = |column: &AnswerColumn, row: usize| {
            column.valid.as_ref().is_none_or(|valid| valid[row] != 0)
        };
        match (is_there(self, row), is_there(twin, of_twin)) {
            (false, false) => return Distance::Same,
            (true, true) if self.shape == twin.shape => {}
            _ => return Distance::Far,
        }
        let own = &self.data[self.byte_range(row..row + 1)];
        let others = &twin.data[twin.byte_range(of_twin..of_twin + 1)];
        if self.datatype == twin.datatype {
            return exact::distance(self.datatype, own, others);
        }
        // A batch in which some rows have whole numbers and others fractions is one of fractions.
        match (self.as_numbers(own), twin.as_numbers(others)) {
            (Some(own), Some(others)) => exact::distance(Datatype::Fp64, &own, &others),
            _ => Distance::Far,
        }
    }

    /// Elements as FP64; `None` for what are no numbers.
    fn as_numbers(&self, data: &[u8]) -> Option<Vec<u8>> {
        let size = self.datatype.size().filter(|_| self.datatype != Datatype::Bool)?;
        let numbers = data.chunks_exact(size).map(|element| number(self.datatype, element));
        Some(numbers.flat_map(f64::to_le_bytes).collect())
    }
}
