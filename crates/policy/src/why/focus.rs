//! Whether and when a metric changed, and which share says so best: for latency the limit, and
//! whether it is the worker's time or all of it, are chosen by what differs most.

use std::ops::Range;

use super::gate::{BUCKETS_MIN, Gate, P_MAX, VISIBLE_BUCKETS, gate};
use super::grid::{Grid, rate};
use super::groups::all;
use super::input::{Observed, SeriesKind};
use super::measure::{Measure, Part, widest};
use super::metric::Metric;
use super::placebo::moved;
use super::queue::{Split, series};
use super::starts;
use super::step::{Step, near, stretch};
use super::view::View;
use super::window::Windows;

/// Percentiles of the window above which requests are counted, to see any change of latency.
const PERCENTILES: [f64; 5] = [0.25, 0.5, 0.75, 0.9, 0.99];
/// Bins of outputs, and values of columns, that are looked at for drift.
const DRIFT_OUTPUTS_MAX: u16 = 16;
const DRIFT_VALUES_MAX: usize = 64;
/// A stretch that began so early has nothing before it to compare with, in buckets.
const BEGIN_MIN: usize = 60;
/// The change is looked for so long before an alarm, and around a moment, in buckets.
const SEARCH_BEFORE: i64 = 360;
const SEARCH_AFTER: i64 = 120;
/// An alarm tells of what began before, or just now.
const ALARM_AFTER: i64 = 24;

/// A metric as it can be looked at.
pub(super) struct Looked {
    pub(super) measures: Vec<Measure>,
    pub(super) grids: Vec<Grid>,
    pub(super) gate: Gate,
}

/// What is compared, and when.
pub(super) struct Focus {
    pub(super) measure: Measure,
    pub(super) grid: Grid,
    pub(super) step: Step,
    pub(super) windows: Windows,
    /// Of latency.
    pub(super) split: Option<Split>,
    /// Whether it is the worker's time that changed, rather than all of it.
    pub(super) is_worker: bool,
}

fn measures(view: &View, metric: Metric) -> Vec<Measure> {
    match metric {
        Metric::Errors => vec![Measure::Failed],
        Metric::Accuracy => vec![Measure::Loss],
        Metric::Latency => {
            let all = view.times(Part::Total).pooled(&(0..view.buckets));
            let mut bins: Vec<u16> = PERCENTILES
                .iter()
                .filter_map(|share| all.quantile(*share))
                .map(|bin| bin + 1)
                .collect();
            bins.dedup();
            bins.into_iter().map(|bin| Measure::Slow { part: Part::Total, bin }).collect()
        }
        Metric::Drift => {
            let outputs = (view.observed.names.outputs.len() as u16).min(DRIFT_OUTPUTS_MAX);
            let values = view.observed.columns.iter().enumerate().flat_map(|(column, of)| {
                (0..of.values.len() as u16).map(move |value| Measure::Value { column, value })
            });
            let outputs = (0..outputs).map(|bin| Measure::Output { bin });
            outputs.chain(values.take(DRIFT_VALUES_MAX)).collect()
        }
    }
}

/// `None` if there is too little to look at.
pub(super) fn look(view: &View, metric: Metric, seed: u64) -> Option<Looked> {
    let measures = measures(view, metric);
    let grids: Vec<Grid> = measures.iter().map(|measure| all(view, *measure)).collect();
    let share = |grid: &Grid, bucket: usize| {
        let sum = grid.sum(0, &(bucket..bucket + 1));
        (sum[0] > 0.0).then(|| rate(sum))
    };
    let known: Vec<usize> = (0..view.buckets)
        .filter(|bucket| grids.iter().any(|grid| share(grid, *bucket).is_some()))
        .collect();
    if known.len() < BUCKETS_MIN {
        return None;
    }
    let statistics: Vec<Vec<Option<f64>>> = grids
        .iter()
        .map(|grid| known.iter().map(|bucket| share(grid, *bucket)).collect())
        .collect();
    let gate = gate(&statistics, seed)?;
    Some(Looked { measures, grids, gate })
}

impl Looked {
    /// Whether it is beyond noise.
    pub(super) fn changed(&self) -> bool {
        self.gate.p <= P_MAX
    }

    /// Which measure says it: of drift, outputs go before inputs, as they are what matters.
    fn strongest(&self) -> usize {
        let outputs = self.measures.iter().zip(&self.gate.strength).enumerate();
        let changed = outputs
            .filter(|(_, (m, strength))| matches!(m, Measure::Output { .. }) && **strength >= 1.0);
        let largest = changed.fold(None, |best: Option<(usize, f64)>, (at, (_, strength))| {
            if best.is_none_or(|(_, most)| *strength > most) { Some((at, *strength)) } else { best }
        });
        largest.map_or(self.gate.strongest, |(at, _)| at)
    }

    /// The smallest change that would have been seen, by the measure that is most telling.
    pub(super) fn visible(&self, observed: &Observed) -> super::answer::Visible {
        let at = match self.measures.as_slice() {
            // Of latency, the slowest hundredth is what people ask about.
            [.., Measure::Slow { .. }] => self.measures.len() - 1,
            _ => self.strongest(),
        };
        let grid = &self.grids[at];
        let from = rate(grid.sum(0, &(0..grid.buckets())));
        super::answer::Visible {
            measure: self.measures[at].words(observed),
            from,
            to: (from + self.gate.visible[at]).min(1.0),
            for_ms: VISIBLE_BUCKETS as u64 * crate::drift::BUCKET_MS,
        }
    }
}

/// Where the change is looked for, in buckets of the view.
pub(super) fn begins(view: &View, at_ms: Option<u64>, since_ms: Option<u64>) -> Range<usize> {
    let inside = |bucket: i64| bucket.clamp(BEGIN_MIN as i64, view.buckets as i64) as usize;
    match (at_ms.map(|at| view.bucket_at(at)), since_ms.map(|since| view.bucket_at(since))) {
        (Some(at), _) => inside(at - SEARCH_BEFORE)..inside(at + SEARCH_AFTER),
        (None, Some(since)) => inside(since - SEARCH_BEFORE)..inside(since + ALARM_AFTER),
        (None, None) => BEGIN_MIN.min(view.buckets)..view.buckets,
    }
}

/// The limit that tells before and after apart best.
fn slow(view: &View, windows: &Windows, part: Part) -> Measure {
    let before = view.times(part).pooled(&windows.before);
    let after = view.times(part).pooled(&windows.after);
    Measure::Slow { part, bin: widest(&before, &after) }
}

/// By that limit, the step again.
fn by_limit(view: &View, part: Part, step: Step) -> (Measure, Grid, Step) {
    let measure = slow(view, &Windows::around(&step), part);
    let grid = all(view, measure);
    let better = near(&grid, step.at, step.over);
    (measure, grid, better.unwrap_or(step))
}

/// Localises the change. `None` if there is no stretch that differs.
pub(super) fn focus(
    view: &View,
    metric: Metric,
    looked: &Looked,
    begins: &Range<usize>,
) -> Option<Focus> {
    let at = looked.strongest();
    let found = stretch(&looked.grids[at], begins)?;
    let (mut measure, mut grid) = (looked.measures[at], looked.grids[at].clone());
    let mut step = near(&grid, found.start, found.end)?;
    if metric != Metric::Latency {
        let windows = Windows::around(&step);
        return Some(Focus { measure, grid, step, windows, split: None, is_worker: false });
    }
    (measure, grid, step) = by_limit(view, Part::Total, step);
    let windows = Windows::around(&step);
    let split = Split::of(view, &windows);
    let quiet = [];
    let traffic = moved(&traffic(&grid), &windows, &quiet).map_or(1.0, |moved| moved.times());
    let replicas = moved(&series(view, SeriesKind::Replicas), &windows, &quiet);
    let are_starting = starts::KINDS.into_iter().any(|kind| {
        let moved = moved(&series(view, kind), &windows, &quiet);
        moved.is_some_and(|moved| starts::are_many(view, &windows, kind, &moved))
    });
    let replicas = replicas.map_or(1.0, |moved| moved.times());
    let is_worker = split.is_worker(traffic, replicas, are_starting);
    if is_worker {
        (measure, grid, step) = by_limit(view, Part::Worker, step);
    }
    let windows = Windows::around(&step);
    Some(Focus { measure, grid, step, windows, split: Some(split), is_worker })
}

/// Requests by bucket, by weight.
pub(super) fn traffic(grid: &Grid) -> Vec<Option<f64>> {
    (0..grid.buckets()).map(|bucket| Some(grid.sum(0, &(bucket..bucket + 1))[0])).collect()
}
