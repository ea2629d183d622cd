//! What a cause looks like over time: its requests beside all others, around the change.

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::grid::{Grid, rate};
use super::view::View;
use super::window::Windows;

/// Points of a line at most.
const POINTS_MAX: usize = 120;

/// The share that is looked at, over time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Chart {
    /// When the first point begins, in milliseconds since 1970.
    pub from_ms: u64,
    /// From one point to the next, in milliseconds.
    pub step_ms: u64,
    /// The requests in question first.
    pub lines: Vec<Line>,
}

/// One line.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    /// Whose: a version, a replica, a caller, `others`, `all`.
    pub name: String,
    /// Shares from 0 to 1; `null` where there was no request.
    pub values: Vec<Option<f64>>,
}

/// Steps of whole buckets over both windows.
fn steps(windows: &Windows) -> (Range<usize>, usize) {
    let range = windows.before.start..windows.after.end;
    (range.clone(), range.len().div_ceil(POINTS_MAX).max(1))
}

fn chart(view: &View, windows: &Windows, lines: Vec<(String, Vec<[f64; 3]>)>) -> Chart {
    let (range, step) = steps(windows);
    let share = |sum: &[f64; 3]| (sum[0] > 0.0).then(|| rounded(rate(*sum)));
    let lines = lines.into_iter();
    Chart {
        from_ms: view.time_ms(range.start),
        step_ms: step as u64 * crate::drift::BUCKET_MS,
        lines: lines
            .map(|(name, sums)| Line { name, values: sums.iter().map(share).collect() })
            .collect(),
    }
}

/// To a millionth: more digits say nothing.
fn rounded(share: f64) -> f64 {
    (share * 1e6).round() / 1e6
}

fn sums(grid: &Grid, slots: &[usize], windows: &Windows) -> Vec<[f64; 3]> {
    let (range, step) = steps(windows);
    let starts = range.clone().step_by(step);
    starts
        .map(|start| {
            let within = start..(start + step).min(range.end);
            slots.iter().fold([0.0; 3], |sum, slot| {
                let own = grid.sum(*slot, &within);
                std::array::from_fn(|at| sum[at] + own[at])
            })
        })
        .collect()
}

/// Of all requests.
pub(super) fn of_all(view: &View, grid: &Grid, windows: &Windows) -> Chart {
    chart(view, windows, vec![("all".into(), sums(grid, &[0], windows))])
}

/// Of one group, and of those beside it.
pub(super) fn of_group(
    view: &View,
    grid: &Grid,
    slot: usize,
    name: &str,
    windows: &Windows,
) -> Chart {
    let others: Vec<usize> = (0..grid.groups()).filter(|other| *other != slot).collect();
    let lines = vec![
        (name.to_string(), sums(grid, &[slot], windows)),
        ("others".into(), sums(grid, &others, windows)),
    ];
    chart(view, windows, lines)
}
