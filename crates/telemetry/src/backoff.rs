//! When a collector that took nothing is asked again.

use std::time::{Duration, Instant};

/// After the first failure, in milliseconds; twice as long each time.
const PAUSE_MS_MIN: u64 = 1_000;
/// However often it failed, no longer than this, in milliseconds.
const PAUSE_MS_MAX: u64 = 30_000;
/// However long the collector asks to wait, no longer than this, in milliseconds.
const RETRY_AFTER_MS_MAX: u64 = 300_000;

/// How often it failed, and when it is asked again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failures: u32,
    not_before: Option<Instant>,
}

impl Backoff {
    /// When it may be asked; `None` is now.
    pub fn until(&self, now: Instant) -> Option<Instant> {
        self.not_before.filter(|not_before| *not_before > now)
    }

    /// Whether the last try failed.
    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// It failed. `draw` is between 0 and 1: those who failed at the same time do not come back at
    /// the same time.
    pub fn failed(&mut self, now: Instant, retry_after_ms: Option<u64>, draw: f64) {
        let doubled = PAUSE_MS_MIN.saturating_mul(1 << self.failures.min(20)).min(PAUSE_MS_MAX);
        let pause_ms = doubled / 2 + (doubled as f64 / 2.0 * draw.clamp(0.0, 1.0)) as u64;
        let asked_ms = retry_after_ms.unwrap_or(0).min(RETRY_AFTER_MS_MAX);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + Duration::from_millis(pause_ms.max(asked_ms)));
    }

    /// It took something.
    pub fn succeeded(&mut self) {
        *self = Backoff::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_half_a_minute_and_what_is_asked_for_holds_up_to_five_minutes() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        assert_eq!(backoff.until(now), None);
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            backoff.failed(now, None, 1.0);
            assert_eq!(backoff.until(now), Some(now + Duration::from_secs(seconds)));
        }
        for (asked_ms, seconds) in [(60_000, 60), (u64::MAX, 300), (0, 30)] {
            backoff.failed(now, Some(asked_ms), 1.0);
            assert_eq!(backoff.until(now), Some(now + Duration::from_secs(seconds)));
        }
        backoff.succeeded();
        assert!(backoff.until(now).is_none() && !backoff.is_failing());
        backoff.failed(now, None, 0.0);
        assert_eq!(backoff.until(now), Some(now + Duration::from_millis(500)));
    }
}
