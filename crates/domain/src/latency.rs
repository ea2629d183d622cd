//! A small histogram of latencies in logarithmic buckets: it can be added to another, and a value
//! read from it is at most 0.8% off.
//!
//! What simulations call for every request is inlined into them: only they are optimised in debug
//! builds.

use serde::{Deserialize, Serialize};

/// Buckets for each doubling.
const STEPS: u64 = 64;
const STEPS_BITS: u32 = STEPS.trailing_zeros();
/// Longer latencies count as this long: 71 minutes, in microseconds.
pub const LATENCY_US_MAX: u64 = u32::MAX as u64;

/// How many latencies fell into which bucket. Buckets are one microsecond wide up to 128 µs, then a
/// 64th of the power of two below. In JSON it is a list of pairs of bucket and count, with the
/// sums.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Sparse", into = "Sparse")]
pub struct LatencyHistogram {
    counts: Vec<u32>,
    count: u64,
    sum_ms: f64,
    squares_ms2: f64,
}

#[derive(Serialize, Deserialize)]
struct Sparse {
    buckets: Vec<(u16, u32)>,
    sum_ms: f64,
    squares_ms2: f64,
}

impl From<Sparse> for LatencyHistogram {
    fn from(sparse: Sparse) -> LatencyHistogram {
        let mut histogram = LatencyHistogram {
            sum_ms: sparse.sum_ms,
            squares_ms2: sparse.squares_ms2,
            ..LatencyHistogram::default()
        };
        for (bucket, count) in sparse.buckets {
            histogram.count_in(usize::from(bucket).min(bucket_of(LATENCY_US_MAX)), count);
        }
        histogram
    }
}

impl From<LatencyHistogram> for Sparse {
    fn from(histogram: LatencyHistogram) -> Sparse {
        let buckets = histogram.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        Sparse {
            buckets: buckets.map(|(bucket, count)| (bucket as u16, *count)).collect(),
            sum_ms: histogram.sum_ms,
            squares_ms2: histogram.squares_ms2,
        }
    }
}

/// The bucket of a latency in microseconds.
#[inline]
pub fn bucket_of(latency_us: u64) -> usize {
    let us = latency_us.min(LATENCY_US_MAX);
    if us < STEPS {
        return us as usize;
    }
    let shift = us.ilog2() - STEPS_BITS;
    (u64::from(shift) * STEPS + (us >> shift)) as usize
}

/// The lowest latency of a bucket, in microseconds.
#[inline]
pub fn bucket_start_us(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    (bucket % STEPS + STEPS) << shift
}

impl LatencyHistogram {
    /// Takes in one latency.
    #[inline]
    pub fn record_us(&mut self, latency_us: u64) {
        self.record_many_us(latency_us, 1);
    }

    /// Takes in a latency that `count` requests had.
    #[inline]
    pub fn record_many_us(&mut self, latency_us: u64, count: u32) {
        let ms = latency_us.min(LATENCY_US_MAX) as f64 / 1_000.0;
        self.sum_ms += ms * f64::from(count);
        self.squares_ms2 += ms * ms * f64::from(count);
        self.count_in(bucket_of(latency_us), count);
    }

    #[inline]
    fn count_in(&mut self, bucket: usize, count: u32) {
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] = self.counts[bucket].saturating_add(count);
        self.count += u64::from(count);
    }

    /// Adds all of another.
    #[inline]
    pub fn merge(&mut self, other: &LatencyHistogram) {
        if other.counts.len() > self.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        self.counts
            .iter_mut()
            .zip(&other.counts)
            .for_each(|(mine, theirs)| *mine = mine.saturating_add(*theirs));
        self.count += other.count;
        self.sum_ms += other.sum_ms;
        self.squares_ms2 += other.squares_ms2;
    }

    /// Takes all of another away, which is a part of this one. What is not in this one cannot be
    /// taken: no count and no sum falls below 0.
    pub fn subtract(&mut self, other: &LatencyHistogram) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            let taken = (*mine).min(*theirs);
            *mine -= taken;
            self.count = self.count.saturating_sub(u64::from(taken));
        }
        self.sum_ms = (self.sum_ms - other.sum_ms).max(0.0);
        self.squares_ms2 = (self.squares_ms2 - other.squares_ms2).max(0.0);
        if self.count == 0 {
            (self.sum_ms, self.squares_ms2) = (0.0, 0.0);
        }
    }

    /// Empties it and keeps its memory.
    #[inline]
    pub fn clear(&mut self) {
        self.counts.fill(0);
        (self.count, self.sum_ms, self.squares_ms2) = (0, 0.0, 0.0);
    }

    /// How many.
    #[inline]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their exact sum, in milliseconds.
    #[inline]
    pub fn sum_ms(&self) -> f64 {
        self.sum_ms
    }

    /// The exact sum of their squares, in square milliseconds.
    #[inline]
    pub fn squares_ms2(&self) -> f64 {
        self.squares_ms2
    }

    /// Counts by bucket, from bucket 0.
    #[inline]
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// How many lie in buckets above that of `latency_us`; those in its own bucket have the benefit
    /// of the doubt.
    #[inline]
    pub fn above_us(&self, latency_us: u64) -> u64 {
        let first = (bucket_of(latency_us) + 1).min(self.counts.len());
        self.counts[first..].iter().map(|count| u64::from(*count)).sum()
    }

    /// The latency that a share of them does not exceed, in milliseconds: the middle of its bucket.
    /// `None` if empty.
    pub fn quantile_ms(&self, share: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let rank = (self.count as f64 * share).ceil().max(1.0) as u64;
        let mut below = 0;
        let bucket = self.counts.iter().position(|count| {
            below += u64::from(*count);
            below >= rank
        })?;
        Some((bucket_start_us(bucket) + bucket_start_us(bucket + 1)) as f64 / 2_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_and_are_narrow() {
        for bucket in 0..bucket_of(LATENCY_US_MAX) {
            let (start, end) = (bucket_start_us(bucket), bucket_start_us(bucket + 1));
            assert_eq!(
                (bucket_of(start), bucket_of(end - 1), bucket_of(end)),
                (bucket, bucket, bucket + 1)
            );
            assert!(
                end - start <= 1 || (end - start) as f64 <= start as f64 / 64.0,
                "{start}..{end}"
            );
        }
        assert_eq!(bucket_of(u64::MAX), bucket_of(LATENCY_US_MAX));
    }

    #[test]
    fn merged_is_the_same_as_recorded_together() {
        let (mut left, mut right, mut both) = Default::default();
        let parts: [&mut LatencyHistogram; 2] = [&mut left, &mut right];
        for (part, factor) in parts.into_iter().zip([7, 900]) {
            for us in 1..2_000 {
                part.record_us(us * factor);
                LatencyHistogram::record_us(&mut both, us * factor);
            }
        }
        left.merge(&right);
        assert_eq!((left.counts(), left.count()), (both.counts(), both.count()));
        assert!((left.sum_ms() - both.sum_ms()).abs() < 1e-6);
        let text = serde_json::to_string(&both).unwrap();
        assert_eq!(
            serde_json::from_str::<LatencyHistogram>(&text).unwrap().counts(),
            both.counts()
        );
    }

    #[test]
    fn what_was_merged_can_be_taken_away_again() {
        let (mut quick, mut slow) = (LatencyHistogram::default(), LatencyHistogram::default());
        (1..=500).for_each(|ms| quick.record_us(ms * 1_000));
        (1..=40).for_each(|s| slow.record_us(s * 1_000_000));
        let mut both = quick.clone();
        both.merge(&slow);
        both.subtract(&slow);
        assert_eq!((both.count(), both.above_us(500_000)), (quick.count(), 0));
        assert!((both.sum_ms() - quick.sum_ms()).abs() < 1e-6, "{}", both.sum_ms());
        assert_eq!(both.quantile_ms(0.99), quick.quantile_ms(0.99));
        // More than there is: nothing is left, and nothing is below 0.
        both.merge(&slow);
        quick.record_many_us(7, 3);
        both.subtract(&quick);
        assert_eq!(both.count(), slow.count());
        both.subtract(&slow);
        both.subtract(&slow);
        assert_eq!((both.count(), both.sum_ms(), both.squares_ms2()), (0, 0.0, 0.0));
        assert_eq!((both.quantile_ms(0.5), both.counts().iter().max()), (None, Some(&0)));
    }

    #[test]
    fn quantiles_and_shares() {
        let mut histogram = LatencyHistogram::default();
        assert_eq!((histogram.quantile_ms(0.5), histogram.above_us(0)), (None, 0));
        (1..=1_000).for_each(|ms| histogram.record_us(ms * 1_000));
        for (share, expected_ms) in [(0.5, 500.0), (0.99, 990.0), (0.001, 1.0), (1.0, 1_000.0)] {
            let ms = histogram.quantile_ms(share).unwrap();
            assert!((ms / expected_ms - 1.0).abs() < 0.016, "{share}: {ms}");
        }
        assert!(
            (485..=500).contains(&histogram.above_us(500_000)),
            "{}",
            histogram.above_us(500_000)
        );
        histogram.clear();
        assert_eq!(histogram.count(), 0);
    }
}
