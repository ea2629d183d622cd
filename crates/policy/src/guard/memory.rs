//! The latencies that an arm had lately, and from them which requests are lost.

use domain::guard::ArmWindow;
use domain::latency::{LatencyHistogram, bucket_start_us};
use serde::{Deserialize, Serialize};

/// Intervals in which the memory of latencies halves: ten minutes. The day's rhythm moves the
/// baseline's percentiles.
const MEMORY_INTERVALS: f64 = 120.0;
/// A request that its caller gave up, or that is still unanswered, after so many times the
/// baseline's 99th percentile is lost …
const LOST_FACTOR: u64 = 10;
/// … but not before it is so old, in microseconds, …
const LOST_US_MIN: u64 = 250_000;
/// … nor while fewer requests of the baseline are known: then at this age.
const LOST_REQUESTS_MIN: f64 = 20.0;
const LOST_US_UNKNOWN: u64 = 10_000_000;

/// Latencies of an arm, the older the lighter.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Memory {
    counts: Vec<f64>,
    total: f64,
    /// Of what comes next; grows, so that the rest shrinks beside it.
    weight: f64,
}

impl Memory {
    /// Takes in an interval: answers, and how long callers waited who had none, which would have
    /// taken longer.
    pub(super) fn take(&mut self, window: &ArmWindow) {
        self.weight =
            if self.weight == 0.0 { 1.0 } else { self.weight * 2f64.powf(1.0 / MEMORY_INTERVALS) };
        if self.weight > 1e9 {
            self.counts.iter_mut().for_each(|count| *count /= self.weight);
            self.total /= self.weight;
            self.weight = 1.0;
        }
        [&window.latency, &window.abandoned].into_iter().for_each(|latency| self.add(latency));
    }

    fn add(&mut self, latency: &LatencyHistogram) {
        if latency.counts().len() > self.counts.len() {
            self.counts.resize(latency.counts().len(), 0.0);
        }
        for (sum, count) in self.counts.iter_mut().zip(latency.counts()) {
            *sum += self.weight * f64::from(*count);
        }
        self.total += self.weight * latency.count() as f64;
    }

    /// The bucket of a percentile, if enough was seen.
    pub(super) fn bucket(&self, share: f64, requests_min: f64) -> Option<usize> {
        if self.weight == 0.0 || self.total / self.weight < requests_min {
            return None;
        }
        let mut above = self.total * (1.0 - share);
        self.counts.iter().rposition(|count| {
            above -= count;
            above < 0.0
        })
    }

    /// The age at which a request without an answer is lost, in microseconds.
    pub(super) fn lost_us(&self) -> u64 {
        let slow = self.bucket(0.99, LOST_REQUESTS_MIN).map(|bucket| bucket_start_us(bucket + 1));
        slow.map_or(LOST_US_UNKNOWN, |us| (LOST_FACTOR * us).max(LOST_US_MIN))
    }

    pub(super) fn quantile_ms(&self, share: f64) -> Option<f64> {
        let bucket = self.bucket(share, f64::MIN_POSITIVE)?;
        Some((bucket_start_us(bucket) + bucket_start_us(bucket + 1)) as f64 / 2_000.0)
    }
}
