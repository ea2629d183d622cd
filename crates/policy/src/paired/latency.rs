//! How much longer the same calls take.

use super::bootstrap::{Estimate, function_of_means};

/// A time counts as at least this, in milliseconds: a ratio stays finite.
const MS_MIN: f64 = 1e-3;

/// By which factor calls take longer, as the geometric mean of the ratios of pairs: `pairs` have the
/// milliseconds that a call took before and after. `None` without pairs.
pub fn latency_ratio(pairs: &[(f64, f64)], seed: u64) -> Option<Estimate> {
    let logarithms: Vec<f64> =
        pairs.iter().map(|(a, b)| (b.max(MS_MIN) / a.max(MS_MIN)).ln()).collect();
    function_of_means(&[&logarithms], |means| means[0].exp(), seed)
}
