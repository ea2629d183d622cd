//! Sums by group and bucket, kept so that any stretch of time costs one subtraction.

use std::ops::Range;

use super::measure::Triple;

/// Running sums of every group.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    buckets: usize,
    sums: Vec<Triple>,
}

impl Grid {
    pub(super) fn new(groups: usize, buckets: usize) -> Grid {
        Grid { buckets, sums: vec![[0.0; 3]; groups * (buckets + 1)] }
    }

    /// Before [`Self::finish`].
    pub(super) fn add(&mut self, group: usize, bucket: usize, triple: Triple) {
        let at = group * (self.buckets + 1) + bucket + 1;
        self.sums[at].iter_mut().zip(triple).for_each(|(sum, more)| *sum += more);
    }

    /// Makes the sums running ones.
    pub(super) fn finish(mut self) -> Grid {
        for group in self.sums.chunks_exact_mut(self.buckets + 1) {
            for at in 1..group.len() {
                let before = group[at - 1];
                group[at].iter_mut().zip(before).for_each(|(sum, more)| *sum += more);
            }
        }
        self
    }

    pub(super) fn groups(&self) -> usize {
        self.sums.len() / (self.buckets + 1)
    }

    pub(super) fn buckets(&self) -> usize {
        self.buckets
    }

    /// Of a group in a stretch of buckets. What rounding leaves of nothing is nothing.
    pub(super) fn sum(&self, group: usize, within: &Range<usize>) -> Triple {
        let row = group * (self.buckets + 1);
        let end = within.end.min(self.buckets);
        let (from, to) = (self.sums[row + within.start.min(end)], self.sums[row + end]);
        let all = to[0] - from[0];
        if all <= 1e-9 * to[0] {
            return [0.0; 3];
        }
        [all, (to[1] - from[1]).clamp(0.0, all), (to[2] - from[2]).max(f64::MIN_POSITIVE)]
    }
}

/// The share; 0 of nothing.
pub(super) fn rate(triple: Triple) -> f64 {
    if triple[0] > 0.0 { (triple[1] / triple[0]).clamp(0.0, 1.0) } else { 0.0 }
}

/// How many records of equal weight tell as much (Kish 1965).
pub(super) fn records(triple: Triple) -> f64 {
    if triple[0] > 0.0 { triple[0] * triple[0] / triple[2].max(f64::MIN_POSITIVE) } else { 0.0 }
}
