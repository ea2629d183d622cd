//! The classic trap, for contrast: tests made for one look, repeated at each.

use domain::{ArmWindow, LatencyHistogram};

/// The one-sided 5% point of a standard normal.
pub const CRITICAL_NORMAL: f64 = 1.645;

/// How many standard deviations the canary's latencies rank above the baseline's (Mann, Whitney
/// 1947, with ties).
pub fn mann_whitney(canary: &LatencyHistogram, baseline: &LatencyHistogram) -> f64 {
    let (n, m) = (canary.count() as f64, baseline.count() as f64);
    let total = n + m;
    let (mut below, mut wins, mut ties) = (0.0, 0.0, 0.0);
    let buckets = canary.counts().len().max(baseline.counts().len());
    for bucket in 0..buckets {
        let of = |histogram: &LatencyHistogram| {
            f64::from(histogram.counts().get(bucket).copied().unwrap_or(0))
        };
        let (mine, theirs) = (of(canary), of(baseline));
        wins += mine * (below + theirs / 2.0);
        below += theirs;
        let tied = mine + theirs;
        ties += tied * tied * tied - tied;
    }
    let variance = n * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)).max(1.0));
    (wins - n * m / 2.0) / variance.sqrt().max(f64::MIN_POSITIVE)
}

/// How many standard deviations the canary's share of errors lies above the baseline's, variances
/// pooled.
pub fn two_proportions(canary: &ArmWindow, baseline: &ArmWindow) -> f64 {
    let (n, m) = (canary.requests as f64, baseline.requests as f64);
    let pooled = (canary.errors + baseline.errors) as f64 / (n + m);
    let deviation = (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
    (canary.errors as f64 / n - baseline.errors as f64 / m) / deviation.max(f64::MIN_POSITIVE)
}

/// Adds a window to what was seen before.
pub fn accumulate(all: &mut ArmWindow, window: &ArmWindow) {
    all.requests += window.requests;
    all.errors += window.errors;
    all.latency.merge(&window.latency);
}
