//! 95% intervals.

use domain::quality::{IntervalMethod, QualityMetric, QualityNumber};

/// Standard errors to each side of a 95% interval.
pub const Z: f64 = 1.959_964;

/// Wilson's interval of a share: `part` of `whole`; both may be expected numbers. From 0 to 1 if
/// there is nothing.
pub fn wilson(part: f64, whole: f64) -> (f64, f64) {
    if whole <= 0.0 {
        return (0.0, 1.0);
    }
    let (share, z2) = ((part / whole).clamp(0.0, 1.0), Z * Z);
    let middle = share + z2 / (2.0 * whole);
    let spread = Z * (share * (1.0 - share) / whole + z2 / (4.0 * whole * whole)).sqrt();
    let scale = 1.0 + z2 / whole;
    (((middle - spread) / scale).max(0.0), ((middle + spread) / scale).min(1.0))
}

/// The interval of a mean whose estimate has this variance.
pub fn mean_interval(mean: f64, variance: f64) -> (f64, f64) {
    let spread = Z * variance.max(0.0).sqrt();
    (mean - spread, mean + spread)
}

/// A number with its interval.
pub fn number(
    metric: QualityMetric,
    value: f64,
    (low, high): (f64, f64),
    method: IntervalMethod,
    n: u64,
) -> QualityNumber {
    QualityNumber { metric, class: None, value, low, high, method, n, error_max: 0.0 }
}
