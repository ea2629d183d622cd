//! How much a placement has to do: exact integrals over time of the requests that wait or run, kept
//! by four counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Counts requests in and out. With `n` present, the time that all have spent so far is `n · now −
/// Σ entered + Σ left`; the sums may wrap around, their difference is right all the same.
pub struct LoadMeter {
    begin: Instant,
    entered: AtomicU64,
    entered_us: AtomicU64,
    left: AtomicU64,
    left_us: AtomicU64,
    rows: AtomicU64,
}

/// What a meter shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    /// Requests that wait or run.
    pub requests: u64,
    /// Requests that came, all in all.
    pub arrived: u64,
    /// Rows of all of them.
    pub rows: u64,
    /// The time that all spent, in microseconds.
    pub spent_us: u64,
}

impl LoadMeter {
    /// At zero.
    pub fn new() -> Arc<LoadMeter> {
        Arc::new(LoadMeter {
            begin: Instant::now(),
            entered: AtomicU64::new(0),
            entered_us: AtomicU64::new(0),
            left: AtomicU64::new(0),
            left_us: AtomicU64::new(0),
            rows: AtomicU64::new(0),
        })
    }

    fn us(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.begin).as_micros() as u64
    }

    /// Counts a request in, until what is returned is dropped.
    pub fn enter(self: &Arc<LoadMeter>, at: Instant, rows: usize) -> Present {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        self.entered_us.fetch_add(self.us(at), Ordering::Relaxed);
        self.entered.fetch_add(1, Ordering::Relaxed);
        Present { meter: self.clone() }
    }

    /// What it shows now. The counters are read one by one: a request that comes at this moment may
    /// be half in it, for this reading only.
    pub fn read(&self) -> Reading {
        let (left, left_us) =
            (self.left.load(Ordering::Relaxed), self.left_us.load(Ordering::Relaxed));
        let (arrived, entered_us) =
            (self.entered.load(Ordering::Relaxed), self.entered_us.load(Ordering::Relaxed));
        let requests = arrived.saturating_sub(left);
        let spent_us = requests
            .wrapping_mul(self.us(Instant::now()))
            .wrapping_sub(entered_us)
            .wrapping_add(left_us);
        Reading { requests, arrived, rows: self.rows.load(Ordering::Relaxed), spent_us }
    }
}

/// A request that waits or runs.
pub struct Present {
    meter: Arc<LoadMeter>,
}

impl Drop for Present {
    fn drop(&mut self) {
        let meter = &self.meter;
        meter.left_us.fetch_add(meter.us(Instant::now()), Ordering::Relaxed);
        meter.left.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn time_spent_is_exact() {
        let meter = LoadMeter::new();
        let begin = Instant::now();
        let first = meter.enter(begin, 1);
        let second = meter.enter(begin, 1);
        while begin.elapsed() < Duration::from_millis(5) {
            std::hint::spin_loop();
        }
        drop(first);
        let reading = meter.read();
        assert_eq!((reading.requests, reading.arrived), (1, 2));
        let elapsed_us = begin.elapsed().as_micros() as u64;
        // Each time is cut to whole microseconds.
        assert!(
            (9_998..=2 * elapsed_us + 2).contains(&reading.spent_us),
            "{reading:?} {elapsed_us}"
        );
        drop(second);
        let after = meter.read();
        assert_eq!(meter.read().spent_us, after.spent_us, "nobody is there");
    }
}
