//! The times of all requests by bucket and bin: what a stretch of them comes to is read from here, so
//! that cells are read once and not for each limit and each stretch that is tried.

use std::ops::Range;

use super::grid::Grid;
use super::histogram::{BINS, Pooled};
use super::input::Cell;
use super::measure::{Measure, Part, counted, histogram};

/// One part of the time of requests.
#[derive(Debug)]
pub(super) struct Timeline {
    buckets: usize,
    /// Weights by bucket, and in it by bin.
    bins: Vec<f64>,
    /// Squares of weights by bucket.
    squares: Vec<f64>,
}

impl Timeline {
    pub(super) fn new(cells: &[&Cell], from: usize, buckets: usize, part: Part) -> Timeline {
        let (mut bins, mut squares) = (vec![0.0; buckets * BINS], vec![0.0; buckets]);
        for cell in cells {
            let bucket = cell.bucket as usize - from;
            let row = &mut bins[bucket * BINS..(bucket + 1) * BINS];
            for (bin, weight) in histogram(&cell.sums, part).bins() {
                row[usize::from(*bin)] += counted(f64::from(*weight));
            }
            squares[bucket] += Measure::Slow { part, bin: 0 }.of(cell)[2];
        }
        Timeline { buckets, bins, squares }
    }

    /// All of a stretch of buckets.
    pub(super) fn pooled(&self, within: &Range<usize>) -> Pooled {
        let end = within.end.min(self.buckets);
        let mut pooled = Pooled::new();
        for row in self.bins[within.start.min(end) * BINS..end * BINS].chunks_exact(BINS) {
            pooled.0.iter_mut().zip(row).for_each(|(sum, more)| *sum += more);
        }
        pooled
    }

    /// Those from a bin on, of all.
    pub(super) fn grid(&self, bin: u16) -> Grid {
        let mut grid = Grid::new(1, self.buckets);
        for (bucket, row) in self.bins.chunks_exact(BINS).enumerate() {
            let sum = |row: &[f64]| row.iter().sum::<f64>();
            let all = sum(row);
            let slow = sum(&row[usize::from(bin).min(BINS)..]).min(all);
            grid.add(0, bucket, [all, slow, self.squares[bucket]]);
        }
        grid.finish()
    }
}
