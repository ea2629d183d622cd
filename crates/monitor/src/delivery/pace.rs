//! When a receiver that did not take a message is asked again.

/// After the first failure, in milliseconds; twice as long each time.
const PAUSE_MS_MIN: u64 = 1_000;
/// However often it failed, no longer than this, in milliseconds.
const PAUSE_MS_MAX: u64 = 600_000;
/// However long the receiver asks to wait, no longer than this, in milliseconds.
pub const RETRY_AFTER_MS_MAX: u64 = 3_600_000;

/// How often it failed, and when it is asked again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pace {
    /// In a row.
    pub failures: u32,
    /// Not before this time, in milliseconds since 1970.
    not_before_ms: u64,
}

impl Pace {
    /// Whether it may be asked now. A clock that was set back by more than the longest pause does
    /// not hold it up.
    pub fn is_due(&self, now_ms: u64) -> bool {
        now_ms >= self.not_before_ms
            || self.not_before_ms - now_ms > PAUSE_MS_MAX.max(RETRY_AFTER_MS_MAX)
    }

    /// It failed. `draw` is between 0 and 1: those who failed at the same time do not come back at
    /// the same time.
    pub fn failed(&mut self, now_ms: u64, retry_after_ms: Option<u64>, draw: f64) {
        let doubled = PAUSE_MS_MIN.saturating_mul(1 << self.failures.min(20)).min(PAUSE_MS_MAX);
        let pause_ms = doubled / 2 + (doubled as f64 / 2.0 * draw.clamp(0.0, 1.0)) as u64;
        let asked_ms = retry_after_ms.unwrap_or(0).min(RETRY_AFTER_MS_MAX);
        self.failures = self.failures.saturating_add(1);
        self.not_before_ms = now_ms.saturating_add(pause_ms.max(asked_ms));
    }

    /// It took something.
    pub fn succeeded(&mut self) {
        *self = Pace::default();
    }
}

/// `Retry-After`: seconds, or a date as HTTP writes it. In milliseconds from now.
pub fn retry_after_ms(text: &str, now_ms: u64) -> Option<u64> {
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let date = jiff::fmt::rfc2822::parse(text.trim()).ok()?;
    let at_ms = u64::try_from(date.timestamp().as_millisecond()).ok()?;
    Some(at_ms.saturating_sub(now_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_ten_minutes() {
        let mut pace = Pace::default();
        assert!(pace.is_due(0));
        let mut now_ms = 1_000_000;
        for expected in [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000] {
            pace.failed(now_ms, None, 1.0);
            assert!(!pace.is_due(now_ms + expected - 1) && pace.is_due(now_ms + expected));
            now_ms += expected;
        }
        for _ in 0..100 {
            pace.failed(now_ms, None, 1.0);
        }
        assert!(pace.is_due(now_ms + PAUSE_MS_MAX) && !pace.is_due(now_ms + PAUSE_MS_MAX - 1));
        pace.succeeded();
        pace.failed(now_ms, None, 0.0);
        assert!(pace.is_due(now_ms + 500) && !pace.is_due(now_ms + 499));
    }

    #[test]
    fn what_the_receiver_asks_for_is_honoured_up_to_an_hour() {
        let mut pace = Pace::default();
        pace.failed(0, Some(120_000), 0.5);
        assert!(!pace.is_due(119_999) && pace.is_due(120_000));
        pace.failed(0, Some(u64::MAX), 0.5);
        assert!(!pace.is_due(RETRY_AFTER_MS_MAX - 1) && pace.is_due(RETRY_AFTER_MS_MAX));
        // The clock went back by a day.
        pace.failed(86_400_000, None, 0.5);
        assert!(pace.is_due(0));
    }

    #[test]
    fn both_forms_are_read() {
        assert_eq!(retry_after_ms(" 7 ", 0), Some(7_000));
        assert_eq!(retry_after_ms("99999999999999999999", 0), None);
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(retry_after_ms(date, 784_111_770_000), Some(7_000));
        assert_eq!(retry_after_ms(date, 884_111_770_000), Some(0));
        for wrong in ["", "soon", "-1", "1.5"] {
            assert_eq!(retry_after_ms(wrong, 0), None, "{wrong}");
        }
    }
}
