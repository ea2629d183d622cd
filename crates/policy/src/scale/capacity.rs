//! What one replica can carry, from the learned service times.

use domain::scale::ServicePoint;

/// How far the batch size in use may exceed the latency to keep.
const KEPT_ROOM: f64 = 1.1;

/// Of one replica, learned.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Capacity {
    /// The most requests in a second, with the batches that serve most of them.
    pub requests_per_s: f64,
    /// The rows of those batches.
    pub rows: f64,
}

/// The highest throughput of one replica among the batch sizes that were seen, for batches of at
/// most `rows_max` rows of which `concurrency` run at once. A request that arrives while a batch
/// runs waits for its rest and then for its own; so with a latency to keep, only sizes count whose
/// time fits twice into it, or the fastest size if none does. A size that was never seen is never
/// assumed: capacity grows as batches form. The size that was `kept` before may exceed the latency
/// by a tenth, so that one at the border is not taken and dropped in turn. `None` before the first
/// batch.
pub fn capacity(
    service: &[ServicePoint],
    rows_per_request: f64,
    rows_max: u32,
    concurrency: u32,
    slo_ms: Option<f64>,
    kept: Option<Capacity>,
) -> Option<Capacity> {
    let known = || {
        let usable = |point: &&ServicePoint| {
            point.mean_us.is_finite() && point.mean_us > 0.0 && point.rows >= 1.0
        };
        service.iter().filter(usable)
    };
    let fits = |point: &&ServicePoint| {
        let was_kept =
            kept.is_some_and(|kept| point.rows < kept.rows * 1.42 && kept.rows < point.rows * 1.42);
        let room = if was_kept { KEPT_ROOM } else { 1.0 };
        slo_ms.is_none_or(|slo_ms| 2.0 * point.mean_us <= slo_ms * 1_000.0 * room)
    };
    let throughput = |point: &ServicePoint| point.rows.min(rows_max.max(1) as f64) / point.mean_us;
    let best = known()
        .filter(fits)
        .max_by(|one, other| throughput(one).total_cmp(&throughput(other)))
        .or_else(|| known().min_by(|one, other| one.mean_us.total_cmp(&other.mean_us)))?;
    let rows_per_s = throughput(best) * 1e6 * concurrency.max(1) as f64;
    let rows_per_request =
        if rows_per_request.is_finite() { rows_per_request.max(1.0) } else { 1.0 };
    Some(Capacity { requests_per_s: rows_per_s / rows_per_request, rows: best.rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(sizes: &[u32]) -> Vec<ServicePoint> {
        sizes
            .iter()
            .map(|&rows| ServicePoint {
                rows: rows as f64,
                mean_us: 10_000.0 + 100.0 * rows as f64,
            })
            .collect()
    }

    #[test]
    fn the_best_size_seen() {
        assert_eq!(capacity(&[], 1.0, 64, 1, None, None), None);
        let lone = capacity(&curve(&[1]), 1.0, 64, 1, None, None).unwrap();
        assert!((lone.requests_per_s - 1e6 / 10_100.0).abs() < 1e-6, "{lone:?}");
        let full = capacity(&curve(&[1, 8, 64]), 1.0, 64, 1, None, None).unwrap();
        assert!((full.requests_per_s - 64e6 / 16_400.0).abs() < 1e-6, "{full:?}");
        let threads = capacity(&curve(&[1, 8, 64]), 1.0, 64, 4, None, None).unwrap();
        assert!((threads.requests_per_s - 4.0 * full.requests_per_s).abs() < 1e-6);
        let wide = capacity(&curve(&[1, 8, 64]), 4.0, 64, 1, None, None).unwrap();
        assert!((wide.requests_per_s - full.requests_per_s / 4.0).abs() < 1e-6);
    }

    #[test]
    fn only_sizes_that_keep_the_latency() {
        let rows =
            |slo_ms| capacity(&curve(&[1, 8, 64]), 1.0, 64, 1, Some(slo_ms), None).unwrap().rows;
        assert_eq!(rows(33.0), 64.0);
        assert_eq!(rows(32.0), 8.0);
        assert_eq!(rows(1.0), 1.0);
        let kept = capacity(&curve(&[1, 8, 64]), 1.0, 64, 1, Some(33.0), None);
        assert_eq!(capacity(&curve(&[1, 8, 64]), 1.0, 64, 1, Some(31.0), kept).unwrap().rows, 64.0);
        assert_eq!(capacity(&curve(&[1, 8, 64]), 1.0, 64, 1, Some(29.0), kept).unwrap().rows, 8.0);
    }

    #[test]
    fn nonsense_is_left_out() {
        let points = [
            ServicePoint { rows: 4.0, mean_us: f64::NAN },
            ServicePoint { rows: 0.0, mean_us: 1.0 },
        ];
        assert_eq!(capacity(&points, 1.0, 64, 1, None, None), None);
        assert!(capacity(&curve(&[1]), f64::NAN, 0, 0, None, None).unwrap().requests_per_s > 0.0);
    }
}
