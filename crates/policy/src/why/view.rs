//! The part of what is known that a pass looks at: two hours, without the groups that are accounted
//! for already.

use std::cell::OnceCell;
use std::ops::Range;

use super::dimension::{Dimension, place};
use super::input::{BUCKETS_MAX, CELLS_MAX, Cell, Observed, WINDOW_BUCKETS};
use super::measure::Part;
use super::timeline::Timeline;

/// A group of requests.
pub(super) type Group = (Dimension, u16);

/// What is looked at. Buckets are counted from `from`.
pub(super) struct View<'a> {
    pub(super) observed: &'a Observed,
    pub(super) from: usize,
    pub(super) buckets: usize,
    /// Each request once.
    pub(super) cells: Cells<'a>,
    /// The same requests by column.
    pub(super) columns: Vec<Cells<'a>>,
    /// The times of requests, made when they are first asked for.
    times: [OnceCell<Timeline>; 3],
}

/// Cells in the order of their buckets.
#[derive(Clone)]
pub(super) struct Cells<'a> {
    pub(super) all: Vec<&'a Cell>,
    /// Where each bucket begins, and the end.
    starts: Vec<usize>,
}

impl<'a> Cells<'a> {
    /// Puts cells of these buckets in order; those of a bucket stay in theirs.
    fn new(chosen: impl Iterator<Item = &'a Cell> + Clone, within: &Range<usize>) -> Cells<'a> {
        let bucket = |cell: &Cell| cell.bucket as usize - within.start;
        let mut starts = vec![0; within.len() + 1];
        chosen.clone().for_each(|cell| starts[bucket(cell) + 1] += 1);
        (1..starts.len()).for_each(|at| starts[at] += starts[at - 1]);
        let mut next = starts.clone();
        let first = chosen.clone().next();
        let mut all = first.map_or(vec![], |first| vec![first; starts[within.len()]]);
        for cell in chosen {
            let at = &mut next[bucket(cell)];
            all[*at] = cell;
            *at += 1;
        }
        Cells { all, starts }
    }

    /// Those of a stretch of buckets.
    pub(super) fn within(&self, within: &Range<usize>) -> &[&'a Cell] {
        let last = self.starts.len() - 1;
        let (from, to) = (within.start.min(last), within.end.min(last));
        &self.all[self.starts[from]..self.starts[to.max(from)]]
    }
}

/// The buckets that are looked at when the question is of this one, or of the end.
pub(super) fn window(observed: &Observed, at: Option<usize>) -> Range<usize> {
    // So long after a moment that is asked about.
    const AFTER_BUCKETS: usize = 120;
    let all = observed.buckets.min(BUCKETS_MAX);
    let end = at.map_or(all, |at| (at + AFTER_BUCKETS).min(all));
    end.saturating_sub(WINDOW_BUCKETS)..end
}

impl<'a> View<'a> {
    /// Without these groups. One of values of a column can be left out only of that column's cells;
    /// these stand for all requests then.
    pub(super) fn new(observed: &'a Observed, within: Range<usize>, without: &[Group]) -> View<'a> {
        let of_column = without.iter().find_map(|(dimension, _)| match dimension {
            Dimension::Column(column) => Some(*column),
            _ => None,
        });
        let chosen = |cells: &'a [Cell], column: Option<usize>| {
            let kept = cells.iter().take(CELLS_MAX).filter(|cell| {
                within.contains(&(cell.bucket as usize))
                    && !without.iter().any(|(dimension, id)| match dimension {
                        Dimension::Column(of) => column == Some(*of) && cell.key.value == *id,
                        _ => place(&cell.key, *dimension) == *id,
                    })
            });
            Cells::new(kept, &within)
        };
        let columns: Vec<_> = observed
            .columns
            .iter()
            .enumerate()
            .map(|(at, column)| chosen(&column.cells, Some(at)))
            .collect();
        let cells = match of_column {
            Some(column) => columns[column].clone(),
            None => chosen(&observed.cells, None),
        };
        let times = Default::default();
        View { observed, from: within.start, buckets: within.len(), cells, columns, times }
    }

    /// The times of requests by bucket.
    pub(super) fn times(&self, part: Part) -> &Timeline {
        let made = || Timeline::new(&self.cells.all, self.from, self.buckets, part);
        self.times[part as usize].get_or_init(made)
    }

    /// The bucket of a cell.
    pub(super) fn bucket(&self, cell: &Cell) -> usize {
        cell.bucket as usize - self.from
    }

    /// The time at which a bucket begins, in milliseconds since 1970.
    pub(super) fn time_ms(&self, bucket: usize) -> u64 {
        let ms = ((self.from + bucket) as u64).saturating_mul(crate::drift::BUCKET_MS);
        self.observed.start_ms.saturating_add(ms)
    }

    /// The bucket of a time, counted from `from`; it may lie outside.
    pub(super) fn bucket_at(&self, at_ms: u64) -> i64 {
        let since = at_ms as i128 - self.observed.start_ms as i128;
        since.div_euclid(i128::from(crate::drift::BUCKET_MS)) as i64 - self.from as i64
    }
}
