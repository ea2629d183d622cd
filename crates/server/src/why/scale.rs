//! Longer times than two hours: a bucket stands for more, and all times are brought closer together
//! by as much before they are looked at, and apart again after.

use policy::drift::BUCKET_MS;
use policy::why::{Answer, Span, WINDOW_BUCKETS, WhyNot};

/// So many buckets of 5 s are one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scale(u64);

/// Buckets of 5 s, a minute, ten minutes and an hour: two hours, a day, ten days and 60 days.
const FACTORS: [u64; 4] = [1, 12, 120, 720];

impl Scale {
    /// Buckets of 5 s.
    pub const FINE: Scale = Scale(1);

    /// The finest by which so many milliseconds can be looked at, else the coarsest.
    pub fn of(length_ms: u64) -> Scale {
        let holds = |factor: &&u64| **factor * BUCKET_MS * WINDOW_BUCKETS as u64 >= length_ms;
        Scale(*FACTORS.iter().find(holds).unwrap_or(&720))
    }

    /// The length of a bucket, in milliseconds.
    pub fn bucket_ms(self) -> u64 {
        self.0 * BUCKET_MS
    }

    /// A time as it is looked at.
    pub fn within(self, start_ms: u64, at_ms: u64) -> u64 {
        match at_ms.checked_sub(start_ms) {
            Some(since) => start_ms + since / self.0,
            None => start_ms.saturating_sub((start_ms - at_ms) / self.0),
        }
    }

    /// A time that was looked at, as it is.
    fn back_ms(self, start_ms: u64, at_ms: u64) -> u64 {
        start_ms.saturating_add(at_ms.saturating_sub(start_ms).saturating_mul(self.0))
    }

    /// Brings the times of an answer apart again.
    pub fn back(self, start_ms: u64, answer: &mut Answer) {
        if self == Scale::FINE {
            return;
        }
        let back = |at_ms: u64| self.back_ms(start_ms, at_ms);
        let span = |span: &mut Span| {
            (span.from_ms, span.to_ms) = (back(span.from_ms), back(span.to_ms));
        };
        answer.changed_at = answer.changed_at.map(back);
        answer.interval.iter_mut().for_each(span);
        answer.before.iter_mut().chain(&mut answer.after).for_each(|level| span(&mut level.span));
        answer.causes.iter_mut().for_each(|cause| span(&mut cause.interval));
        let charts = answer.causes.iter_mut().filter_map(|cause| cause.chart.as_mut());
        for chart in charts.chain(&mut answer.chart) {
            chart.from_ms = back(chart.from_ms);
            chart.step_ms = chart.step_ms.saturating_mul(self.0);
        }
        for out in &mut answer.ruled_out {
            if let WhyNot::WellBefore { for_ms, .. } = &mut out.why {
                *for_ms = for_ms.saturating_mul(self.0);
            }
        }
        if let Some(visible) = &mut answer.smallest_visible {
            visible.for_ms = visible.for_ms.saturating_mul(self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_there_is_can_be_looked_at() {
        const HOUR_MS: u64 = 3_600_000;
        let bucket_s = |hours: u64| Scale::of(hours * HOUR_MS).bucket_ms() / 1_000;
        assert_eq!([1, 2, 3, 24, 25, 241, 9_999].map(bucket_s), [5, 5, 60, 60, 600, 3_600, 3_600]);
        let scale = Scale::of(HOUR_MS * 24);
        let start_ms = 1_790_000_000_000;
        for at_ms in [start_ms, start_ms + 720_000, start_ms + HOUR_MS * 24] {
            assert_eq!(scale.back_ms(start_ms, scale.within(start_ms, at_ms)), at_ms);
        }
        assert_eq!(scale.within(start_ms, start_ms - 12_000), start_ms - 1_000);
    }
}
