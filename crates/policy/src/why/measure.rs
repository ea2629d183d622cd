//! The share by which causes are measured. All of them are shares of requests, so that a change of
//! one is the sum of what groups of requests contribute.

use super::histogram::{BINS, Pooled, start_us};
use super::input::{Cell, Observed, Sums};

/// No sum is taken for larger: it keeps extreme inputs finite.
const SUM_MAX: f64 = 1e12;
/// What a difference of shares is compared with besides its own spread, so that one request among
/// thousands does not decide where the limit lies.
const SPREAD_MIN: f64 = 0.002;

/// Weight of all, weight of those that count, squares of the weights of all.
pub(super) type Triple = [f64; 3];

/// Which time of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    Total,
    Queue,
    Worker,
}

/// A share of requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Measure {
    /// Those whose time lies in this bin or above.
    Slow { part: Part, bin: u16 },
    /// Those that failed.
    Failed,
    /// The loss of those whose truth is known.
    Loss,
    /// Those whose output is in a bin.
    Output { bin: u16 },
    /// Those with a value in a column.
    Value { column: usize, value: u16 },
}

/// A sum as it is counted.
pub(super) fn counted(sum: f64) -> f64 {
    if sum > 0.0 { sum.min(SUM_MAX) } else { 0.0 }
}

/// The times of a cell.
pub(super) fn histogram(sums: &Sums, part: Part) -> &super::histogram::Histogram {
    match part {
        Part::Total => &sums.total,
        Part::Queue => &sums.queue,
        Part::Worker => &sums.worker,
    }
}

impl Measure {
    /// Of a cell.
    pub(super) fn of(self, cell: &Cell) -> Triple {
        let sums = &cell.sums;
        let (requests, squares) = (counted(sums.requests), counted(sums.squares));
        let (all, some, squares) = match self {
            Measure::Slow { part, bin } => {
                let histogram = histogram(sums, part);
                let all = counted(histogram.weight());
                // Requests without this time weigh as those with it.
                let squares = squares * (all / requests.max(f64::MIN_POSITIVE)).min(1.0);
                (all, counted(histogram.weight_from(bin)), squares)
            }
            Measure::Failed => (requests, counted(sums.errors), squares),
            Measure::Loss => {
                (counted(sums.truths), counted(sums.loss), counted(sums.truth_squares))
            }
            Measure::Output { bin } => {
                let weight = |own: Option<u16>| {
                    let bins =
                        sums.outputs.iter().filter(|(at, _)| own.is_none_or(|own| own == *at));
                    bins.map(|(_, weight)| counted(f64::from(*weight))).sum::<f64>()
                };
                (counted(weight(None)), weight(Some(bin)), squares)
            }
            Measure::Value { value, .. } => {
                (requests, if cell.key.value == value { requests } else { 0.0 }, squares)
            }
        };
        // Squares that are missing are those of records of equal weight.
        [all, some.min(all), if squares > 0.0 { squares } else { all }]
    }

    /// In words.
    pub(super) fn words(self, observed: &Observed) -> String {
        let name = |names: &[String], at: u16| {
            names.get(usize::from(at)).cloned().unwrap_or_else(|| at.to_string())
        };
        match self {
            Measure::Slow { part, bin } => {
                let ms = start_us(bin) / 1_000.0;
                let limit = if ms >= 10.0 { format!("{ms:.0} ms") } else { format!("{ms:.2} ms") };
                match part {
                    Part::Total => format!("slower than {limit}"),
                    Part::Queue => format!("wait longer than {limit}"),
                    Part::Worker => format!("longer than {limit} at the worker"),
                }
            }
            Measure::Failed => "failed".into(),
            Measure::Loss => "mean loss".into(),
            Measure::Output { bin } => format!("output in {}", name(&observed.names.outputs, bin)),
            Measure::Value { column, value } => {
                let column = observed.columns.get(column);
                let value = column.map(|column| name(&column.values, value)).unwrap_or_default();
                format!("{} is {value}", column.map_or("", |column| &column.name))
            }
        }
    }
}

/// All that cells have of a time.
pub(super) fn pooled<'a>(cells: impl Iterator<Item = &'a Cell>, part: Part) -> Pooled {
    let mut pooled = Pooled::new();
    cells.for_each(|cell| pooled.add(histogram(&cell.sums, part)));
    pooled
}

/// The bin from which on the two differ most, as multiples of how widely such a share spreads.
pub(super) fn widest(before: &Pooled, after: &Pooled) -> u16 {
    let (before_all, after_all) = (before.weight(), after.weight());
    if before_all <= 0.0 || after_all <= 0.0 {
        return 0;
    }
    let (mut below_before, mut below_after) = (0.0, 0.0);
    let (mut best, mut at) = (0.0, 0);
    for bin in 0..BINS - 1 {
        below_before += before.0[bin] / before_all;
        below_after += after.0[bin] / after_all;
        let middle = ((below_before + below_after) / 2.0).clamp(0.0, 1.0);
        let spread = (middle * (1.0 - middle) + SPREAD_MIN).sqrt();
        let score = (below_before - below_after).abs() / spread;
        if score > best + 1e-9 {
            (best, at) = (score, bin + 1);
        }
    }
    at as u16
}
