//! What is usual: the requests of the last day or two, without those of times in which something
//! was found.

use domain::LatencyHistogram;
use policy::drift::{LATENCIES_MIN, slow_limit_us};
use serde::{Deserialize, Serialize};

use crate::bucket::Bucket;

/// The older half is forgotten after so long, in milliseconds, once there are enough newer ones.
const GENERATION_MS: u64 = 86_400_000;
/// What was seen is learned when so long a stretch after its own is over, in milliseconds.
const STRETCH_MS: u64 = 120_000;
/// A pause of the machine costs so much, in microseconds: the tail begins so far above the 99th
/// percentile.
const PAUSE_US: u64 = 2_000;

/// Sums of requests.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Sums {
    latency: LatencyHistogram,
    failed: u64,
    judged: u64,
}

impl Sums {
    fn add(&mut self, latency: &LatencyHistogram, failed: u64, judged: u64) {
        self.latency.merge(latency);
        self.failed += failed;
        self.judged += judged;
    }

    fn merge(&mut self, other: &Sums) {
        self.add(&other.latency, other.failed, other.judged);
    }
}

/// A stretch of time.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Stretch {
    since_ms: u64,
    sums: Sums,
}

/// What a model or a version did.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Past {
    /// The day that runs, and the one before.
    days: [Stretch; 2],
    /// The stretch that runs, and the one before: not learned yet.
    fresh: [Stretch; 2],
}

impl Past {
    /// Takes in what was seen; `clean` if nothing was found in it.
    pub fn add(&mut self, at_ms: u64, seen: &Bucket, clean: bool) {
        if !clean {
            // What led to it is not usual either.
            self.fresh = Default::default();
            return;
        }
        if seen.latency.count() == 0 && seen.judged == 0 {
            return;
        }
        let none = LatencyHistogram::default();
        let mut latency = &seen.latency;
        if self.count() < LATENCIES_MIN {
            // Nothing that is slow can be found yet; what fails can.
            self.learn(at_ms, |sums| sums.latency.merge(latency));
            latency = &none;
        }
        let [running, before] = &mut self.fresh;
        if running.since_ms == 0 || at_ms < running.since_ms {
            running.since_ms = at_ms;
        }
        running.sums.add(latency, seen.failed, seen.judged);
        if at_ms >= running.since_ms + STRETCH_MS {
            let over = std::mem::take(running);
            let learned = std::mem::replace(before, over);
            self.learn(at_ms, |sums| sums.merge(&learned.sums));
        }
    }

    fn learn(&mut self, at_ms: u64, add: impl FnOnce(&mut Sums)) {
        let [running, before] = &mut self.days;
        if running.since_ms == 0 {
            running.since_ms = at_ms;
        }
        if at_ms >= running.since_ms + GENERATION_MS
            && running.sums.latency.count() >= LATENCIES_MIN
        {
            *before = std::mem::take(running);
            running.since_ms = at_ms;
        }
        add(&mut running.sums);
    }

    fn count(&self) -> u64 {
        self.days.iter().map(|day| day.sums.latency.count()).sum()
    }

    fn latency(&self) -> LatencyHistogram {
        let mut latency = self.days[0].sums.latency.clone();
        latency.merge(&self.days[1].sums.latency);
        latency
    }

    /// Requests that failed.
    pub fn failed(&self) -> u64 {
        self.days.iter().map(|day| day.sums.failed).sum()
    }

    /// Requests that were answered or failed.
    pub fn judged(&self) -> u64 {
        self.days.iter().map(|day| day.sums.judged).sum()
    }

    /// From where on a request is slow, in microseconds; `None` while too little is known.
    pub fn slow_limit_us(&self) -> Option<u64> {
        slow_limit_us(&self.latency())
    }

    /// From where on it belongs to the slowest hundredth, in microseconds; `None` while too little
    /// is known. The percentile is the upper end of its 95% interval.
    pub fn tail_limit_us(&self) -> Option<u64> {
        let n = self.count();
        if n < LATENCIES_MIN {
            return None;
        }
        let share = 0.99 + 1.645 * (0.99 * 0.01 / n as f64).sqrt();
        let us = (self.latency().quantile_ms(share)? * 1_000.0) as u64;
        Some(us + PAUSE_US)
    }
}
