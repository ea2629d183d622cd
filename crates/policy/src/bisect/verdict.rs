//! Which end a version is like, by a metric on the same rows.

use crate::paired::{Estimate, function_of_means};

/// Which end a version is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// It is nearer to the good end, beyond noise.
    Good,
    /// It is nearer to the bad end, beyond noise.
    Bad,
    /// These rows do not tell.
    Undecided,
}

/// How the ends differ: the metric of the bad one less that of the good one. `None` without rows.
/// Terms are of rows, and `of_mean` makes the metric of their mean.
pub fn ends(
    good: &[f64],
    bad: &[f64],
    of_mean: impl Fn(f64) -> f64,
    seed: u64,
) -> Option<Estimate> {
    function_of_means(&[good, bad], |means| of_mean(means[1]) - of_mean(means[0]), seed)
}

/// Which end a version is like: whether its metric is on the bad one's side of the middle between
/// both, and whether the interval of that leaves out the middle. All three are of the same rows, and
/// are drawn together. `None` without rows.
pub fn side(
    good: &[f64],
    bad: &[f64],
    version: &[f64],
    of_mean: impl Fn(f64) -> f64,
    seed: u64,
) -> Option<(Side, Estimate)> {
    let from_middle = |means: &[f64]| {
        let (good, bad) = (of_mean(means[0]), of_mean(means[1]));
        let towards_bad = if bad < good { -1.0 } else { 1.0 };
        towards_bad * (of_mean(means[2]) - (good + bad) / 2.0)
    };
    let estimate = function_of_means(&[good, bad, version], from_middle, seed)?;
    let side = match (estimate.low > 0.0, estimate.high < 0.0) {
        (true, _) => Side::Bad,
        (_, true) => Side::Good,
        _ => Side::Undecided,
    };
    Some((side, estimate))
}
