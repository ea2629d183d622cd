//! Evidence for 'more than the limit' and 'less than it', from sums: mixtures of exponential
//! supermartingales.

use domain::guard::Sums;

/// The tilts λ that are mixed, each with the same weight: 0.005 · 1.5^j. The largest makes the most
/// of events that should be nearly absent, the smallest of differences of half a percent.
const TILTS: usize = 19;
const TILT_MIN: f64 = 0.005;
const TILT_STEP: f64 = 1.5;
/// Fewer degrees of freedom tell nothing of a variance.
const FREEDOM_MIN: u64 = 10;

/// The logarithm of Σ_λ exp(λ·s − ψ(λ)) / 19, with ψ the cumulant bound of the sum s. For each λ
/// the term is a nonnegative supermartingale that starts at 1 if the increments of s have mean 0 or
/// less, so their mixture is one too (Robbins 1970; Howard et al. 2021, section 3): it exceeds 1/α
/// at any time with probability α at most.
pub fn log_mixture(sum: f64, cumulant: impl Fn(f64) -> f64) -> f64 {
    let mut tilt = TILT_MIN;
    let exponents: [f64; TILTS] = std::array::from_fn(|_| {
        let exponent = tilt * sum - cumulant(tilt);
        tilt *= TILT_STEP;
        exponent
    });
    let largest = exponents.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !largest.is_finite() {
        return f64::NEG_INFINITY;
    }
    largest
        + (exponents.iter().map(|exponent| (exponent - largest).exp()).sum::<f64>() / TILTS as f64)
            .ln()
}

/// The cumulant of a centred variable that is 1 with probability `share`, else 0. That of a value
/// anywhere between 0 and 1 with the same mean is no larger (Hoeffding 1963).
fn cumulant(share: f64, tilt: f64) -> f64 {
    (share * tilt.exp_m1()).ln_1p() - tilt * share
}

/// A test of 'canary = factor · baseline + shift' for any shift, on given sums.
#[derive(Clone, Copy, Debug)]
pub struct Test<'a> {
    /// Over intervals.
    pub sums: &'a Sums,
    /// Of the baseline; 0 for an absolute guard.
    pub factor: f64,
    /// Whether values are 0 or 1; else latencies.
    pub share: bool,
    /// As many requests count as one.
    pub design_effect: f64,
}

impl Test<'_> {
    /// The canary's mean, weighted as it is compared.
    pub fn canary(&self) -> f64 {
        self.sums.canary_weighted / self.sums.weight.max(f64::MIN_POSITIVE)
    }

    /// What the baseline contributes to the limit.
    pub fn baseline(&self) -> f64 {
        self.factor * self.sums.baseline_weighted / self.sums.weight.max(f64::MIN_POSITIVE)
    }

    /// How far the canary is above what it would be with this shift.
    fn excess(&self, shift: f64) -> f64 {
        let sums = self.sums;
        sums.canary_weighted - self.factor * sums.baseline_weighted - shift * sums.weight
    }

    /// The shares of canary and baseline, if the shift is true.
    fn shares(&self, shift: f64) -> (f64, f64) {
        let inside = |share: f64| share.clamp(1e-9, 1.0 - 1e-9);
        if self.factor == 0.0 {
            return (inside(shift), inside(0.0));
        }
        let baseline = self.pooled(shift);
        (inside(self.factor * baseline + shift), baseline)
    }

    /// The baseline's share, estimated from both arms as if the shift were true (as Farrington and
    /// Manning do, 1990), with half an event added: an estimate from the baseline alone is smallest
    /// just when the difference is largest by chance.
    fn pooled(&self, shift: f64) -> f64 {
        let sums = self.sums;
        let (canary, baseline) = (sums.canary_requests as f64, sums.baseline_requests as f64);
        let requests = self.factor * canary + baseline + 1.0;
        let events = (sums.canary_values + sums.baseline_values - shift * canary).max(0.0) + 0.5;
        (events / requests).clamp(1e-9, 1.0 - 1e-9)
    }

    /// Whether there is anything to go by.
    fn usable(&self) -> bool {
        let sums = self.sums;
        let freedom = sums.canary_requests.saturating_sub(sums.intervals);
        sums.weight > 0.0 && (self.share || freedom >= FREEDOM_MIN)
    }

    /// The logarithm of the evidence that the canary is above this shift.
    pub fn above(&self, shift: f64) -> f64 {
        self.evidence(shift, 1.0)
    }

    /// The logarithm of the evidence that the canary is below this shift.
    pub fn below(&self, shift: f64) -> f64 {
        self.evidence(shift, -1.0)
    }

    /// In the direction of `sign`. For shares the excess is that of binomial counts, in which a
    /// request of the canary has the part `mine` and one of the baseline `theirs`; for latencies it
    /// is taken as normal.
    fn evidence(&self, shift: f64, sign: f64) -> f64 {
        if !self.usable() {
            return f64::NEG_INFINITY;
        }
        let (sums, excess) = (self.sums, sign * self.excess(shift) / self.design_effect);
        if self.share {
            let (canary, baseline) = self.shares(shift);
            let mine = sums.canary_spread / sums.weight;
            let theirs = (self.factor * sums.baseline_spread / sums.weight).max(1e-9);
            let counts = (
                sums.canary_spread / (mine * mine),
                self.factor.powi(2) * sums.baseline_spread / (theirs * theirs),
            );
            return log_mixture(excess, |tilt| {
                let of_baseline = if counts.1 > 0.0 {
                    counts.1 * cumulant(baseline, -sign * tilt * theirs)
                } else {
                    0.0
                };
                (counts.0 * cumulant(canary, sign * tilt * mine) + of_baseline) / self.design_effect
            });
        }
        let ((canary, baseline), squared, unit) =
            (mean_variances(sums), self.factor * self.factor, self.unit());
        let variance = sums.canary_spread * canary.max(squared * baseline)
            + sums.baseline_spread * squared * baseline;
        log_mixture(excess / unit, |tilt| {
            variance / (unit * unit) / self.design_effect * tilt * tilt / 2.0
        })
    }

    /// Latencies are measured in units of their mean, so that the tilts fit.
    fn unit(&self) -> f64 {
        self.canary().max(self.baseline()).max(1e-9)
    }

    /// Lower and upper bound of the canary's mean: what the evidence does not exclude at
    /// `log_threshold` on either side.
    pub fn bounds(&self, log_threshold: f64) -> (f64, f64) {
        let (baseline, canary) = (self.baseline(), self.canary());
        let excluded_above = |value: f64| self.above(value - baseline) >= log_threshold;
        let lower = if excluded_above(0.0) { crossing(0.0, canary, excluded_above) } else { 0.0 };
        let excluded_below = |value: f64| self.below(value - baseline) >= log_threshold;
        let end = if self.share { 1.0 } else { 1_000.0 * canary.max(baseline).max(1e-6) };
        let upper = if excluded_below(end) { crossing(end, canary, excluded_below) } else { end };
        (lower.min(canary), upper.max(canary))
    }
}

/// Where `excluded` ends, between a value that is excluded and one that is not.
fn crossing(mut excluded: f64, mut open: f64, is_excluded: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..50 {
        let middle = (excluded + open) / 2.0;
        if is_excluded(middle) { excluded = middle } else { open = middle }
    }
    open
}

/// The variance of a latency within intervals, of canary and baseline; a thousandth of the mean at
/// least, so that a clock too coarse to see differences does not pass for certainty.
pub fn mean_variances(sums: &Sums) -> (f64, f64) {
    let variance = |requests: u64, values: f64, squares: f64| {
        let mean = values / (requests as f64).max(1.0);
        (squares / requests.saturating_sub(sums.intervals).max(1) as f64).max(mean * mean * 1e-6)
    };
    (
        variance(sums.canary_requests, sums.canary_values, sums.canary_squares),
        variance(sums.baseline_requests, sums.baseline_values, sums.baseline_squares),
    )
}

/// The variance of a 0 or 1 by arm, from the shares seen so far, drawn by one event towards what
/// the limit (`shift`), or both arms together, suggest: before the first event the share is not 0.
pub fn share_variances(sums: &Sums, relative: bool, shift: f64) -> (f64, f64) {
    let requests = (sums.canary_requests + sums.baseline_requests) as f64;
    let expected = if relative {
        (sums.canary_values + sums.baseline_values + 0.5) / (requests + 1.0)
    } else {
        shift
    };
    let variance = |requests: u64, values: f64| {
        let share = (values + 1.0) / (requests as f64 + 1.0 / expected.clamp(1e-9, 1.0));
        share * (1.0 - share).max(1e-3)
    };
    (
        variance(sums.canary_requests, sums.canary_values),
        variance(sums.baseline_requests, sums.baseline_values),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// xorshift64*, in [0, 1).
    fn unit(state: &mut u64) -> f64 {
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Sums after another interval of independent requests.
    fn grow(sums: &mut Sums, shares: (f64, f64), requests: (u64, u64), state: &mut u64) {
        let mut events = |share: f64, requests: u64| {
            (0..requests).filter(|_| unit(state) < share).count() as f64
        };
        let (canary, baseline) = (events(shares.0, requests.0), events(shares.1, requests.1));
        let (n, m) = (requests.0 as f64, requests.1 as f64);
        let weight = if m > 0.0 { n * m / (n + m) } else { n };
        sums.intervals += 1;
        sums.canary_requests += requests.0;
        sums.baseline_requests += requests.1;
        sums.canary_values += canary;
        sums.baseline_values += baseline;
        sums.weight += weight;
        sums.canary_weighted += weight * canary / n;
        sums.canary_spread += weight * weight / n;
        if m > 0.0 {
            sums.baseline_weighted += weight * baseline / m;
            sums.baseline_spread += weight * weight / m;
        }
    }

    /// Ville's inequality, on independent requests at the limit itself: looked at after every
    /// interval, the evidence on either side exceeds 1/α in at most α of all runs.
    #[test]
    fn evidence_is_rarely_wrong_however_often_one_looks() {
        let (runs, alpha) = (2_000, 0.1f64);
        let mut state = 42;
        for (shares, requests, factor, shift) in [
            ((0.01, 0.0), (20, 0), 0.0, 0.01),
            ((0.5, 0.0), (5, 0), 0.0, 0.5),
            ((0.01, 0.01), (5, 45), 1.0, 0.0),
            ((0.02, 0.01), (20, 20), 1.0, 0.01),
            ((0.02, 0.01), (10, 40), 2.0, 0.0),
        ] {
            let (mut above, mut below) = (0, 0);
            for _ in 0..runs {
                let mut sums = Sums::default();
                let (mut was_above, mut was_below) = (false, false);
                for _ in 0..100 {
                    grow(&mut sums, shares, requests, &mut state);
                    let test = Test { sums: &sums, factor, share: true, design_effect: 1.0 };
                    was_above |= test.above(shift) >= -alpha.ln();
                    was_below |= test.below(shift) >= -alpha.ln();
                }
                above += u32::from(was_above);
                below += u32::from(was_below);
            }
            let most = f64::from(runs) * alpha;
            assert!(
                f64::from(above) <= most && f64::from(below) <= most,
                "{shares:?} {requests:?}: {above} and {below} of {runs}"
            );
        }
    }

    #[test]
    fn bounds_close_in_on_the_truth() {
        let mut state = 7;
        let mut sums = Sums::default();
        let mut widths = vec![];
        for _ in 0..3 {
            (0..300).for_each(|_| grow(&mut sums, (0.05, 0.02), (20, 100), &mut state));
            let (lower, upper) =
                Test { sums: &sums, factor: 1.0, share: true, design_effect: 1.0 }.bounds(3.0);
            assert!(lower < 0.05 && upper > 0.05, "{lower} {upper}");
            widths.push(upper - lower);
        }
        assert!(widths[2] < widths[1] && widths[1] < widths[0] && widths[2] < 0.02, "{widths:?}");
    }
}
