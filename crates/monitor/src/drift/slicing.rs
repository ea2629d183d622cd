//! Outputs by slice: whether what comes out changed for the rows that have one value in one column.
//!
//! No file says what is usual there. Once it is known of all rows, each slice is counted in the bins
//! of all rows for as long as a version's own values are learned, and has its own shares from then
//! on.

use domain::VersionNumber;
use domain::alarm::Target;
use policy::drift::{Counts, Reference, Slice, slices};
use protocol::ColumnView;
use serde::{Deserialize, Serialize};

use super::feature::{Feature, Places, Watched, bin_of, count_value};
use super::group::{Group, Of};
use super::learn::{ROWS_MIN, is_enough};
use crate::health::Tell;

/// So many outputs are watched by slice at most: the first ones.
const OUTPUTS_MAX: usize = 10;

/// The outputs of one model by slice.
#[derive(Debug, Serialize, Deserialize)]
pub struct Slicing {
    /// The columns that rows are told apart by, …
    columns: Vec<Watched>,
    /// … and of each the slice that each of its bins is, as a bit; 0 if it is none.
    bits: Vec<Vec<u32>>,
    slices: Vec<Slice>,
    /// The outputs of all rows.
    outputs: Vec<Watched>,
    /// Each output in each slice; an output's are together.
    cells: Vec<Cell>,
    stage: Stage,
    #[serde(skip)]
    places: Option<[Places; 2]>,
    /// The slices of each row of the request that is being counted, as bits.
    #[serde(skip)]
    rows: Vec<u32>,
}

/// An output in a slice, by their places.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Cell {
    slice: usize,
    output: usize,
}

#[derive(Debug, Serialize, Deserialize)]
enum Stage {
    /// What is usual is counted.
    Learning { since_ms: u64, counts: Vec<Counts> },
    /// It is known.
    Watching(Group),
}

impl Slicing {
    /// The slices of these inputs, if there are any, and these outputs.
    pub fn of(inputs: &[Watched], outputs: &[Watched]) -> Option<Slicing> {
        let is_value = |series: &&Watched| series.feature == Feature::Value;
        let columns = inputs.iter().filter(is_value);
        let slices = slices(columns.map(|series| (series.column.as_str(), &series.reference)));
        let outputs: Vec<Watched> =
            outputs.iter().filter(is_value).take(OUTPUTS_MAX).cloned().collect();
        if slices.is_empty() || outputs.is_empty() {
            return None;
        }
        let bits_of = |series: &Watched| {
            let mut bits = vec![0; series.reference.shares.len()];
            let of_column =
                slices.iter().enumerate().filter(|(_, slice)| slice.column == series.column);
            of_column.for_each(|(bit, slice)| bits[slice.bin] = 1 << bit);
            bits
        };
        let of_columns = inputs.iter().filter(is_value).map(|it| (it.clone(), bits_of(it)));
        let (columns, bits) =
            of_columns.filter(|(_, bits)| bits.iter().any(|bit| *bit != 0)).unzip();
        let cells: Vec<Cell> = (0..outputs.len())
            .flat_map(|output| (0..slices.len()).map(move |slice| Cell { slice, output }))
            .collect();
        let counts = cells.iter().map(|cell| outputs[cell.output].reference.counts()).collect();
        let stage = Stage::Learning { since_ms: 0, counts };
        let (places, rows) = (None, vec![]);
        Some(Slicing { columns, bits, slices, outputs, cells, stage, places, rows })
    }

    /// What watches them, once it is known what is usual.
    pub fn group(&self) -> Option<&Group> {
        match &self.stage {
            Stage::Learning { .. } => None,
            Stage::Watching(group) => Some(group),
        }
    }

    /// Since when it is learned what is usual; 0 if it is known, or nothing came yet.
    pub fn since_ms(&self) -> u64 {
        match &self.stage {
            Stage::Learning { since_ms, .. } => *since_ms,
            Stage::Watching(_) => 0,
        }
    }

    /// The next request is counted.
    pub fn begin(&mut self) {
        self.rows.clear();
    }

    /// Takes note of the slices that rows are in, by one of their inputs.
    pub fn mark(&mut self, position: usize, view: &ColumnView) {
        let Slicing { columns, bits, outputs, places, rows, .. } = self;
        let [places, _] = places.get_or_insert_with(|| [Places::of(columns), Places::of(outputs)]);
        let &[column] = places.find(position, view.name) else { return };
        rows.resize(rows.len().max(view.rows), 0);
        for (row, value) in rows.iter_mut().zip(view.values()) {
            let bin = bin_of(&columns[column].reference, value);
            *row |= bin.and_then(|bin| bits[column].get(bin)).unwrap_or(&0);
        }
    }

    /// Counts the rows of an output, after all inputs.
    pub fn count(&mut self, position: usize, view: &ColumnView) {
        let Slicing { outputs, cells, stage, places: Some([_, places]), rows, .. } = self else {
            return;
        };
        // An output of something else than rows is in no slice.
        let (&[output], true) = (places.find(position, view.name), view.rows == rows.len()) else {
            return;
        };
        let counts = match stage {
            Stage::Learning { counts, .. } => counts.as_mut_slice(),
            Stage::Watching(group) => group.counts(),
        };
        let reference = &outputs[output].reference;
        let first = cells.partition_point(|cell| cell.output < output);
        for (row, value) in rows.iter().zip(view.values()).filter(|(row, _)| **row != 0) {
            let of_output =
                cells.iter().zip(&mut *counts).skip(first).take_while(|it| it.0.output == output);
            for (_, counts) in of_output.filter(|(cell, _)| row & (1 << cell.slice) != 0) {
                count_value(reference, counts, value);
            }
        }
    }

    /// The minute that began at `at_ms` is over.
    pub fn minute(
        &mut self,
        at_ms: u64,
        target: &Target,
        version: VersionNumber,
        now_ms: u64,
        tell: &dyn Tell,
    ) {
        let (since_ms, counts) = match &mut self.stage {
            Stage::Watching(group) => return group.minute(at_ms, target, version, now_ms, tell),
            Stage::Learning { since_ms, counts } => (since_ms, counts),
        };
        let rows = counts.iter().map(|counts| counts.rows).max().unwrap_or(0);
        if rows > 0 && *since_ms == 0 {
            *since_ms = at_ms;
        }
        if *since_ms == 0 || !is_enough(now_ms.saturating_sub(*since_ms), rows) {
            return;
        }
        let learned: Vec<(Cell, Watched)> = self
            .cells
            .iter()
            .zip(counts)
            .filter(|(_, counts)| counts.present() >= ROWS_MIN)
            .map(|(cell, counts)| {
                let series = &self.outputs[cell.output];
                let slice = Some(self.slices[cell.slice].clone());
                let reference = usual(&series.reference, counts);
                (*cell, Watched { reference, slice, quantiles: vec![], ..series.clone() })
            })
            .collect();
        let (cells, watched) = learned.into_iter().unzip();
        (self.cells, self.stage) = (cells, Stage::Watching(Group::new(Of::Slices, watched)));
    }

    /// Takes what is found for usual from now on.
    pub fn forgive(&mut self) {
        if let Stage::Watching(group) = &mut self.stage {
            group.forgive();
        }
    }
}

/// The bins of one reference with the shares of what was counted in them; there is something.
fn usual(bins: &Reference, counts: &Counts) -> Reference {
    let present = counts.present() as f64;
    Reference {
        rows: counts.rows,
        missing_share: counts.missing as f64 / counts.rows as f64,
        shares: counts.bins.iter().map(|count| *count as f64 / present).collect(),
        bins: bins.bins.clone(),
    }
}
