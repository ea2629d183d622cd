//! Numbers that people know: for comparison with other tools, not for alarms. Each of them grows
//! with fewer values although nothing changes.

use domain::drift::{DriftMethod, DriftNumber};

use super::reference::{Counts, Reference};

/// Below so many values there is no PSI: at 200 one window in fifty without any change is above
/// 0.1, at 60 three of four.
pub const PSI_ROWS_MIN: u64 = 500;
/// Where quantile functions are read; the KS statistic is this much off, inversely, at most.
const QUANTILES: usize = 1_000;

/// The numbers over bins.
pub fn drift_numbers(reference: &Reference, counts: &Counts) -> Vec<DriftNumber> {
    let (n, reference_n) = (counts.present(), reference.present());
    let number = |method, value| DriftNumber { method, value, n, reference_n };
    vec![
        number(DriftMethod::Psi, psi(&reference.shares, reference_n, &counts.bins)),
        number(DriftMethod::JensenShannon, jensen_shannon(&reference.shares, &counts.bins)),
    ]
}

/// The numbers over quantile functions, by rank from 0 to 1: of the `reference_n` values of the
/// reference, and of the `n` of now.
pub fn distances(
    (before, reference_n): (impl Fn(f64) -> f64, u64),
    (now, n): (impl Fn(f64) -> f64, u64),
) -> Vec<DriftNumber> {
    let (before, now) = (points(before), points(now));
    if before.is_empty() || now.is_empty() {
        return vec![];
    }
    let number = |method, value| DriftNumber { method, value, n, reference_n };
    let greatest = kolmogorov_smirnov(&before, &now);
    vec![
        number(DriftMethod::KolmogorovSmirnov, Some(greatest)),
        number(DriftMethod::Wasserstein, wasserstein(&before, &now)),
    ]
}

/// The population stability index of counts against the shares of a reference of `reference_n`
/// values, less its bias: with B bins chance alone adds (B − 1)(1/n + 1/m) in the mean. `None` below
/// [`PSI_ROWS_MIN`] values on either side.
pub fn psi(shares: &[f64], reference_n: u64, counts: &[u64]) -> Option<f64> {
    let n: u64 = counts.iter().sum();
    if n < PSI_ROWS_MIN || reference_n < PSI_ROWS_MIN {
        return None;
    }
    let (n, m) = (n as f64, reference_n as f64);
    let used = shares.iter().zip(counts).filter(|(share, count)| **share > 0.0 || **count > 0);
    // Half a value in each bin, so that an empty one is not infinitely far.
    let bins = used.clone().count() as f64;
    let sum: f64 = used
        .map(|(share, count)| {
            let p = (share * m + 0.5) / (m + 0.5 * bins);
            let q = (*count as f64 + 0.5) / (n + 0.5 * bins);
            (q - p) * (q / p).ln()
        })
        .sum();
    Some((sum - (bins - 1.0) * (1.0 / n + 1.0 / m)).max(0.0))
}

/// The Jensen–Shannon distance to base 2: 0 if the shares are the same, 1 if no bin is in both.
/// `None` without values.
pub fn jensen_shannon(shares: &[f64], counts: &[u64]) -> Option<f64> {
    let n: u64 = counts.iter().sum();
    if n == 0 {
        return None;
    }
    let term = |share: f64, middle: f64| match share > 0.0 {
        true => 0.5 * share * (share / middle).log2(),
        false => 0.0,
    };
    let of_bin = |(p, count): (&f64, &u64)| {
        let q = *count as f64 / n as f64;
        let middle = 0.5 * (p + q);
        term(*p, middle) + term(q, middle)
    };
    let divergence: f64 = shares.iter().zip(counts).map(of_bin).sum();
    Some(divergence.clamp(0.0, 1.0).sqrt())
}

/// A quantile function at the middles of [`QUANTILES`] equal steps, ascending.
fn points(quantile: impl Fn(f64) -> f64) -> Vec<f64> {
    let rank = |index: usize| (index as f64 + 0.5) / QUANTILES as f64;
    let mut points: Vec<f64> = (0..QUANTILES).map(|index| quantile(rank(index))).collect();
    points.retain(|point| point.is_finite());
    points.sort_by(f64::total_cmp);
    points
}

/// The greatest distance between the cumulative distributions of two ascending samples.
pub fn kolmogorov_smirnov(before: &[f64], now: &[f64]) -> f64 {
    if before.is_empty() || now.is_empty() {
        return 0.0;
    }
    let (mut i, mut j, mut greatest) = (0, 0, 0.0f64);
    while i < before.len() && j < now.len() {
        let value = before[i].min(now[j]);
        // Equal values count on both sides before the distance is taken.
        i += before[i..].iter().take_while(|other| **other <= value).count();
        j += now[j..].iter().take_while(|other| **other <= value).count();
        let distance = i as f64 / before.len() as f64 - j as f64 / now.len() as f64;
        greatest = greatest.max(distance.abs());
    }
    greatest
}

/// How far values moved in the mean, in standard deviations of those before; from two ascending
/// samples of the same size. `None` if those before are all alike or a sample is short.
pub fn wasserstein(before: &[f64], now: &[f64]) -> Option<f64> {
    let n = before.len().min(now.len()) as f64;
    let mean = before.iter().sum::<f64>() / before.len().max(1) as f64;
    let squares = before.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    let deviation = (squares / before.len().max(1) as f64).sqrt();
    if n < 2.0 || deviation <= 0.0 || !deviation.is_finite() || before.len() != now.len() {
        return None;
    }
    let moved: f64 = before.iter().zip(now).map(|(a, b)| (a - b).abs()).sum();
    Some(moved / n / deviation)
}
