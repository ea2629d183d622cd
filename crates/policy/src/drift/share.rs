//! Watches one share over time: of requests that fail or are slow, of records that are lost, of
//! minutes in which a worker ended.

use serde::{Deserialize, Serialize};

use super::calm::{Calm, Stretch};
use super::evidence::Evidence;

const YEAR_MS: u64 = 365 * 86_400_000;
/// Errors, latencies and queues are looked at so often, in milliseconds.
pub const BUCKET_MS: u64 = 5_000;
/// Up to this share of requests may be slower than the limit of [`slow_limit_us`]: of the
/// reference, half as many are slower than two thirds of it.
pub const SLOW_SHARE_MAX: f64 = 0.02;
/// Times the reference's 99th percentile.
const SLOW_FACTOR: f64 = 1.5;
/// And so much more at least, in microseconds: what one pause of a machine costs.
const SLOW_MARGIN_US: f64 = 2_000.0;
/// Requests that make a reference of latencies.
pub const LATENCIES_MIN: u64 = 500;
/// Units of a stretch that must be clean.
const STRETCH_UNITS: u32 = 4;

/// What a detector says after a unit of time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Signal<F> {
    /// There was nothing to look at: nothing is known, and nothing changes.
    NoData,
    /// Nothing is found, or what was found is over.
    Quiet,
    /// It is so, and still so.
    Found(F),
}

/// What is found about a share.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct ShareFound {
    /// The share over the last dozen units or so.
    pub share: f64,
    /// What it should stay below.
    pub bound: f64,
    /// The evidence, and from where on it is an alarm.
    pub value: f64,
    /// The mean number of units between two false alarms, at least.
    pub threshold: f64,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
}

/// The detector of one share: 250 bytes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ShareDetector {
    threshold: f64,
    evidence: Evidence,
    recent: f64,
    found: Option<ShareFound>,
    calm: Calm,
    units_without_data: u64,
}

impl ShareDetector {
    /// Looks at units of so many milliseconds. In a year at most one false alarm is expected.
    pub fn new(unit_ms: u64) -> ShareDetector {
        ShareDetector {
            threshold: (YEAR_MS / unit_ms.max(1)) as f64,
            evidence: Evidence::default(),
            recent: 0.0,
            found: None,
            calm: Calm::default(),
            units_without_data: 0,
        }
    }

    /// Takes in the unit that began at `at_ms`: `part` of `whole` were so, and given all before it
    /// at most `bound` of them should be in the mean.
    pub fn update(&mut self, at_ms: u64, part: u64, whole: u64, bound: f64) -> Signal<ShareFound> {
        if whole == 0 {
            self.units_without_data += 1;
            return Signal::NoData;
        }
        self.update_share(at_ms, part as f64 / whole as f64, bound)
    }

    /// The same for a unit whose share is known, or for another number from 0 to 1, such as a mean
    /// loss.
    pub fn update_share(&mut self, at_ms: u64, share: f64, bound: f64) -> Signal<ShareFound> {
        let share = share.clamp(0.0, 1.0);
        let cap = Evidence::cap(self.threshold, 1);
        self.evidence.update(at_ms, share, bound, cap);
        self.recent += (share - self.recent) / 12.0;
        let value = self.evidence.value();
        if self.found.is_none() && value < self.threshold {
            return Signal::Quiet;
        }
        let since_ms = match &self.found {
            Some(found) => found.since_ms,
            None => {
                // What there was before it began says nothing of how large it is.
                self.recent = share;
                self.evidence.since_ms().unwrap_or(at_ms)
            }
        };
        let threshold = self.threshold;
        let found = ShareFound { share: self.recent, bound, value, threshold, since_ms };
        self.found = Some(found);
        let stretch = Stretch { units_min: STRETCH_UNITS, rows_min: 0 };
        if self.calm.update(stretch, 1, [share - bound]) {
            self.reset();
            return Signal::Quiet;
        }
        Signal::Found(found)
    }

    /// Forgets all evidence: after a release, or when the bound means something else.
    pub fn reset(&mut self) {
        (self.evidence, self.found, self.calm) = Default::default();
        self.recent = 0.0;
    }

    /// Units in which there was nothing to look at: counted, not taken for zero.
    pub fn units_without_data(&self) -> u64 {
        self.units_without_data
    }
}

/// Above which latency a request counts as slow, in microseconds: 1.5 times the 99th percentile of
/// the reference, and 2 ms more at least. `None` if the reference has too few requests. The
/// percentile is the upper end of its 95% interval.
///
/// For each bucket, the slow ones are those that ended slower than this, and those that are in
/// flight and already older: what never ends is slow too.
pub fn slow_limit_us(reference: &domain::LatencyHistogram) -> Option<u64> {
    let n = reference.count();
    if n < LATENCIES_MIN {
        return None;
    }
    let share = 0.99 + 1.645 * (0.99 * 0.01 / n as f64).sqrt();
    let p99_us = reference.quantile_ms(share)? * 1_000.0;
    Some((p99_us * SLOW_FACTOR).max(p99_us + SLOW_MARGIN_US) as u64)
}
