//! The paired bootstrap: rows are drawn again with replacement, all that is known of a row at once
//! (Efron, Tibshirani 1993, chapter 13).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::random::Random;
use crate::truth::wilson;

/// How often rows are drawn again for an interval.
pub const RESAMPLES: usize = 1_000;
/// The share of resamples on each side of a 95% interval.
const TAIL: f64 = 0.025;

/// A number with its 95% interval.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// Of so many rows.
    pub n: u64,
}

impl Estimate {
    /// Whether the interval leaves out 0.
    pub fn is_beyond_noise(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// A share of rows, with Wilson's interval.
pub fn share(part: u64, whole: u64) -> Estimate {
    let (low, high) = wilson(part as f64, whole as f64);
    let value = if whole > 0 { part as f64 / whole as f64 } else { 0.0 };
    Estimate { value, low, high, n: whole }
}

/// A function of the means of columns that have a number for each row. The interval has the middle
/// 95% of what the function is for rows that are drawn again. `None` without rows.
pub fn function_of_means(
    columns: &[&[f64]],
    function: impl Fn(&[f64]) -> f64,
    seed: u64,
) -> Option<Estimate> {
    let rows = columns.iter().map(|column| column.len()).min().filter(|rows| *rows > 0)?;
    let mean_of = |pick: &mut dyn FnMut() -> usize| {
        let mut sums = vec![0.0; columns.len()];
        for _ in 0..rows {
            let row = pick();
            for (sum, column) in sums.iter_mut().zip(columns) {
                *sum += column[row];
            }
        }
        sums.iter_mut().for_each(|sum| *sum /= rows as f64);
        function(&sums)
    };
    let mut next = 0..rows;
    let value = mean_of(&mut || next.next().unwrap_or(0));
    let mut random = Random::new(seed);
    let mut drawn: Vec<f64> = (0..RESAMPLES).map(|_| mean_of(&mut || random.below(rows))).collect();
    drawn.sort_by(f64::total_cmp);
    let at = |share: f64| drawn[((share * RESAMPLES as f64) as usize).min(RESAMPLES - 1)];
    let (low, high) = (at(TAIL), at(1.0 - TAIL));
    Some(Estimate { value, low: low.min(value), high: high.max(value), n: rows as u64 })
}
