//! Which records are kept, and how many requests each stands for. Errors and the slowest are always
//! kept; of the others so many a second of each lane as is wanted, drawn by their ids, so that a copy
//! of this program draws the same.

use domain::LatencyHistogram;
use protocol::record::RecordHead;

/// How often the probability is set anew, in milliseconds.
const STEP_MS: u64 = 100;
/// The slowest: beyond this quantile of the last minute.
const SLOW: f64 = 0.99;
/// So many requests must be known before some of them are the slowest.
const KNOWN_MIN: u64 = 1_000;
/// How often the slowest are determined anew, in milliseconds.
const SLOW_STEP_MS: u64 = 60_000;

/// What is drawn of one lane.
pub struct Sampler {
    per_second: f64,
    probability: f64,
    /// In this step.
    seen: u64,
    step_at_ms: u64,
    slow_us: u64,
    latency: LatencyHistogram,
    latency_since_ms: u64,
}

impl Sampler {
    /// Keeps about so many records a second.
    pub fn new(per_second: f64, now_ms: u64) -> Sampler {
        Sampler {
            per_second,
            probability: 1.0,
            seen: 0,
            step_at_ms: now_ms,
            slow_us: u64::MAX,
            latency: LatencyHistogram::default(),
            latency_since_ms: now_ms,
        }
    }

    /// The weight of a record that is kept: 1 divided by the probability of keeping it.
    pub fn weight(&mut self, head: &RecordHead<'_>, now_ms: u64) -> Option<f64> {
        self.step(now_ms);
        if head.status != 200 {
            return Some(1.0);
        }
        let total_us = u64::from(head.total_us);
        self.latency.record_us(total_us);
        if total_us > self.slow_us {
            return Some(1.0);
        }
        self.seen += 1;
        // What was expected for this step has come already: the rest of it gets the rest.
        let expected = self.per_second * STEP_MS as f64 / 1_000.0;
        let probability = self.probability.min(2.0 * expected / self.seen as f64).min(1.0);
        (fraction(&head.id) < probability).then(|| 1.0 / probability)
    }

    fn step(&mut self, now_ms: u64) {
        let step_ms = now_ms.saturating_sub(self.step_at_ms);
        if step_ms >= STEP_MS {
            let rate = self.seen as f64 * 1_000.0 / step_ms as f64;
            self.probability = if rate > 0.0 { (self.per_second / rate).min(1.0) } else { 1.0 };
            (self.seen, self.step_at_ms) = (0, now_ms);
        }
        if now_ms.saturating_sub(self.latency_since_ms) >= SLOW_STEP_MS {
            let known = Some(&self.latency).filter(|latency| latency.count() >= KNOWN_MIN);
            let slow_ms = known.and_then(|latency| latency.quantile_ms(SLOW));
            self.slow_us = slow_ms.map_or(u64::MAX, |ms| (ms * 1_000.0) as u64);
            (self.latency, self.latency_since_ms) = (LatencyHistogram::default(), now_ms);
        }
    }
}

/// A number from 0 to 1 that follows from an id, by the mixer of SplitMix64.
fn fraction(id: &[u8; 16]) -> f64 {
    let low = u64::from_le_bytes([id[8], id[9], id[10], id[11], id[12], id[13], id[14], id[15]]);
    let mut hash = low;
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((hash ^ (hash >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(n: u64, status: u16, total_us: u32) -> RecordHead<'static> {
        let mut id = [0; 16];
        id[8..].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        RecordHead { id, status, total_us, ..RecordHead::default() }
    }

    #[test]
    fn the_weights_add_up_to_all_requests_and_errors_are_all_there() {
        for per_second in [10.0, 1_000.0, 100_000.0] {
            let mut sampler = Sampler::new(per_second, 0);
            let (mut sum, mut kept, mut errors) = (0.0, 0u64, 0u64);
            // 5,000 a second for a minute, each 50th an error.
            for n in 0..300_000u64 {
                let now_ms = n / 5;
                let is_error = n % 50 == 0;
                let weight =
                    sampler.weight(&head(n, if is_error { 500 } else { 200 }, 1_000), now_ms);
                if let Some(weight) = weight {
                    (sum, kept) = (sum + weight, kept + 1);
                    errors += u64::from(is_error && weight == 1.0);
                }
            }
            assert_eq!(errors, 6_000);
            let noise = 4.0 * (300_000.0f64 * (5_000.0 / per_second).max(1.0)).sqrt() + 1_000.0;
            assert!((sum - 300_000.0).abs() < noise, "{per_second}: {sum}");
            let wanted = (per_second * 60.0).min(294_000.0);
            let others = (kept - errors) as f64;
            assert!(others < wanted * 1.1 + 2_000.0 && others > wanted * 0.9 - 50.0, "{others}");
        }
    }

    #[test]
    fn the_slowest_are_all_there() {
        let mut sampler = Sampler::new(10.0, 0);
        for n in 0..120_000u64 {
            let slow = n % 200 == 7;
            let kept =
                sampler.weight(&head(n, 200, if slow { 900_000 } else { 1_000 }), n).is_some();
            assert!(!slow || kept || n < 60_001, "{n}");
        }
    }
}
