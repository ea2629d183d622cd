//! The last minute of one placement, in buckets of five seconds, with latencies by a logarithmic
//! histogram.

use domain::record::Record;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const BUCKET_MS: u64 = 5_000;
const BUCKETS: usize = 12;
/// Eight steps for each doubling: a latency is known within 9%.
const STEPS: f64 = 8.0;
/// Up to 2^32 µs.
const CELLS: usize = 32 * STEPS as usize + 1;

/// The last minute in numbers.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Requests.
    pub requests: u64,
    /// Requests per second.
    pub requests_per_s: f64,
    /// Median of all answered requests, in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile of all answered requests, in milliseconds.
    pub p99_ms: f64,
    /// Requests that got a 5xx, of all.
    pub errors_share: f64,
}

#[derive(Clone)]
struct Bucket {
    /// Number of the five seconds since 1970.
    number: u64,
    requests: u64,
    errors: u64,
    cells: Vec<u32>,
}

/// The buckets.
pub struct Window {
    buckets: Vec<Bucket>,
    first_ms: u64,
    last_ms: u64,
}

impl Default for Window {
    fn default() -> Self {
        Window {
            buckets: vec![Bucket { number: 0, requests: 0, errors: 0, cells: vec![] }; BUCKETS],
            first_ms: 0,
            last_ms: 0,
        }
    }
}

fn cell(us: u32) -> usize {
    ((us.max(1) as f64).log2() * STEPS) as usize
}

impl Window {
    /// Time since the last request, in milliseconds.
    pub fn idle_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.last_ms)
    }

    /// Takes in a request that has just finished.
    pub fn take(&mut self, record: &Record, now_ms: u64) {
        if self.first_ms == 0 {
            self.first_ms = now_ms;
        }
        self.last_ms = now_ms;
        let number = now_ms / BUCKET_MS;
        let bucket = &mut self.buckets[(number % BUCKETS as u64) as usize];
        if bucket.number != number {
            *bucket = Bucket { number, requests: 0, errors: 0, cells: vec![0; CELLS] };
        }
        bucket.requests += 1;
        bucket.errors += (record.status >= 500) as u64;
        if record.status == 200 {
            bucket.cells[cell(record.total_us).min(CELLS - 1)] += 1;
        }
    }

    /// The last minute before `now_ms`.
    pub fn summary(&self, now_ms: u64) -> Summary {
        let number = now_ms / BUCKET_MS;
        let recent = || {
            self.buckets
                .iter()
                .filter(|bucket| bucket.number + BUCKETS as u64 > number && bucket.requests > 0)
        };
        let requests: u64 = recent().map(|bucket| bucket.requests).sum();
        if requests == 0 {
            return Summary::default();
        }
        let errors: u64 = recent().map(|bucket| bucket.errors).sum();
        let mut cells = vec![0u64; CELLS];
        for bucket in recent() {
            bucket.cells.iter().zip(&mut cells).for_each(|(count, sum)| *sum += u64::from(*count));
        }
        let answered: u64 = cells.iter().sum();
        let quantile_ms = |share: f64| {
            let rank = (answered as f64 * share).ceil().max(1.0) as u64;
            let mut below = 0;
            let at = cells.iter().position(|count| {
                below += count;
                below >= rank
            });
            // The middle of the cell.
            at.map_or(0.0, |at| 2f64.powf((at as f64 + 0.5) / STEPS) / 1_000.0)
        };
        let oldest_ms = recent()
            .map(|bucket| bucket.number * BUCKET_MS)
            .min()
            .unwrap_or(now_ms)
            .max(self.first_ms);
        let span_s = (now_ms.saturating_sub(oldest_ms) as f64 / 1_000.0).max(1.0);
        Summary {
            requests,
            requests_per_s: requests as f64 / span_s,
            p50_ms: quantile_ms(0.5),
            p99_ms: quantile_ms(0.99),
            errors_share: errors as f64 / requests as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(status: u16, total_us: u32) -> Record {
        Record { status, ..Record::new(None, 1, total_us) }
    }

    #[test]
    fn the_last_minute_and_no_more() {
        let mut window = Window::default();
        for n in 0..100 {
            window.take(&record(200, 1_000 + n * 10), 1_000_000 + u64::from(n) * 100);
        }
        window.take(&record(500, 1), 1_010_000);
        let summary = window.summary(1_010_000);
        assert_eq!(summary.requests, 101);
        assert!((summary.requests_per_s - 10.1).abs() < 0.2, "{summary:?}");
        assert!((1.35..1.65).contains(&summary.p50_ms), "{summary:?}");
        assert!((1.8..2.2).contains(&summary.p99_ms), "{summary:?}");
        assert!((summary.errors_share - 1.0 / 101.0).abs() < 1e-9);
        assert_eq!(window.summary(1_100_000), Summary::default());
    }
}
