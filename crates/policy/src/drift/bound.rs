//! How large a share may be before it counts as changed, and how small a shift is then found.

use serde::{Deserialize, Serialize};

use super::evidence::{BETS, BOUND_MIN};

/// Standard errors that a reference may be off: one in 2,000 bins is, by chance.
pub const ERRORS_OF_REFERENCE: f64 = 3.3;
/// A share that grew by less than a quarter is no change that anybody wants to hear of.
pub const TOLERANCE: f64 = 1.25;
/// Up to so many rows a minute the noise of a share is computed exactly.
const ROWS_EXACT_MAX: f64 = 40.0;
/// A share below 1 by next to nothing, where a logarithm of 1 − share is needed.
const SHARE_MAX: f64 = 1.0 - 1e-6;
/// Minutes in a year: an e-detector that alarms here alarms falsely once a year at most.
pub const THRESHOLD_MINUTES: f64 = 525_600.0;

/// The bound of a share that was `share` in a reference of `n` independent values: the upper end of
/// Wilson's interval (which is right for shares near 0, where share + 3.3 standard errors is not),
/// and a quarter more.
pub fn upper_bound(share: f64, n: u64) -> f64 {
    let (n, z2) = (n.max(1) as f64, ERRORS_OF_REFERENCE * ERRORS_OF_REFERENCE);
    let spread = (share * (1.0 - share) / n + z2 / (4.0 * n * n)).max(0.0).sqrt();
    let upper = (share + z2 / (2.0 * n) + ERRORS_OF_REFERENCE * spread) / (1.0 + z2 / n);
    widened(upper)
}

/// A share with the tolerance, as a bound.
pub fn widened(share: f64) -> f64 {
    (share * TOLERANCE).clamp(BOUND_MIN, 1.0)
}

/// The smallest shifts that are found, by how soon.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Finds {
    /// Within an hour; `None` if no shift is.
    pub hour: Option<Shift>,
    /// Within a day.
    pub day: Option<Shift>,
}

/// A shift of a column.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Shift {
    /// The share of the values in an outer bin of the reference, before.
    pub from_share: f64,
    /// And after.
    pub to_share: f64,
    /// The same shift of a normally distributed column's mean, in its standard deviations.
    pub standard_deviations: f64,
}

/// The smallest shift that is typically found within `minutes` if each has `rows` rows: the mean
/// growth of the logarithm of the best bet takes it to the threshold. `streams` are the bins that the evidence is averaged over.
pub fn smallest_shift(
    share: f64,
    bound: f64,
    rows: f64,
    minutes: f64,
    streams: usize,
    threshold: f64,
) -> Option<Shift> {
    let needed = (threshold * (streams.max(1) * BETS.len()) as f64).ln();
    // A minute with no row at all adds nothing.
    let minutes = minutes * (1.0 - (-rows).exp());
    let found = |to_share: f64| {
        let grows = |bet: f64| growth(bet, to_share, bound, rows) * minutes >= needed;
        BETS.into_iter().any(grows)
    };
    if !found(SHARE_MAX) {
        return None;
    }
    let (mut low, mut high) = (bound.min(SHARE_MAX), SHARE_MAX);
    for _ in 0..40 {
        let middle = 0.5 * (low + high);
        if found(middle) { high = middle } else { low = middle }
    }
    let deviations =
        normal_quantile(high) - normal_quantile(share.clamp(1.0 - SHARE_MAX, SHARE_MAX));
    Some(Shift { from_share: share, to_share: high, standard_deviations: deviations })
}

/// The mean logarithm of a bet's factor if a minute has so many independent rows of which this
/// share lies in the bin.
fn growth(bet: f64, share: f64, bound: f64, rows: f64) -> f64 {
    let log = |share: f64| (bet * (share / bound - 1.0)).ln_1p();
    if rows > ROWS_EXACT_MAX {
        let (mean, variance) = (1.0 + bet * (share / bound - 1.0), share * (1.0 - share) / rows);
        return mean.ln() - variance * (bet / bound / mean).powi(2) / 2.0;
    }
    // The binomial distribution, term by term.
    let rows = rows.round().max(1.0);
    let mut probability = (1.0 - share).powf(rows);
    let mut sum = 0.0;
    for inside in 0..=rows as u32 {
        let inside = f64::from(inside);
        sum += probability * log(inside / rows);
        probability *= (rows - inside) / (inside + 1.0) * share / (1.0 - share);
    }
    sum
}

/// The value that a standard normal variable does not exceed with this probability, by bisection
/// over [`normal_share`].
pub fn normal_quantile(share: f64) -> f64 {
    let (mut low, mut high) = (-9.0, 9.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if normal_share(middle) < share { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// The probability that a standard normal variable does not exceed this; to 1.2e-7 (Press et al.,
/// 'Numerical Recipes', 6.2: Chebyshev's fit of erfc).
pub fn normal_share(value: f64) -> f64 {
    const FIT: [f64; 10] = [
        -1.26551223,
        1.00002368,
        0.37409196,
        0.09678418,
        -0.18628806,
        0.27886807,
        -1.13520398,
        1.48851587,
        -0.82215223,
        0.17087277,
    ];
    let x = value.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * x);
    let fit = FIT.iter().rev().fold(0.0, |sum, coefficient| sum * t + coefficient);
    let upper = 0.5 * t * (-x * x + fit).exp();
    if value > 0.0 { 1.0 - upper } else { upper }
}
