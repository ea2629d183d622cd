//! Where the time of requests went, and what that follows from: they wait because workers are
//! slower, because there are more requests, or because there are fewer replicas.

use super::input::SeriesKind;
use super::measure::Part;
use super::view::View;
use super::window::Windows;

/// Of the mean, what lies beyond this share of all counts as much as that: one request of an hour
/// says nothing of the others.
const CUT: f64 = 0.995;
/// Workers are slower if they take so much longer, as a natural logarithm.
const SLOWER_MIN: f64 = 0.05;
/// The queue is told if it has so much of the change.
pub(super) const QUEUE_SHARE_MIN: f64 = 0.2;

/// Means before and after, in milliseconds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Split {
    pub(super) queue_ms: [f64; 2],
    pub(super) worker_ms: [f64; 2],
}

impl Split {
    pub(super) fn of(view: &View, windows: &Windows) -> Split {
        let means = |part| {
            let before = view.times(part).pooled(&windows.before);
            let after = view.times(part).pooled(&windows.after);
            let cut = |pooled: &super::histogram::Pooled| pooled.quantile(CUT).unwrap_or(0);
            let most = cut(&before).max(cut(&after));
            [before.mean_ms_up_to(most), after.mean_ms_up_to(most)]
        };
        Split { queue_ms: means(Part::Queue), worker_ms: means(Part::Worker) }
    }

    /// The part of the longer time that is spent waiting, 0 to 1.
    pub(super) fn queue_share(&self) -> f64 {
        let moved = |[before, after]: [f64; 2]| (after - before).abs();
        let (queue, worker) = (moved(self.queue_ms), moved(self.worker_ms));
        if queue + worker > 0.0 { queue / (queue + worker) } else { 0.0 }
    }

    /// Whether the worker is what changed: it has most of the change, or the queue follows from it
    /// more than from traffic and replicas. These are by how many times there is more of them. Where
    /// replicas start again and again it is them that requests wait for.
    pub(super) fn is_worker(
        &self,
        traffic_times: f64,
        replicas_times: f64,
        are_starting: bool,
    ) -> bool {
        if self.queue_share() < 0.5 {
            return true;
        }
        if are_starting {
            return false;
        }
        let [before, after] = self.worker_ms;
        let slower = if before > 0.0 && after > 0.0 { (after / before).ln() } else { 0.0 };
        let log = |times: f64| times.clamp(1e-3, 1e3).ln();
        slower >= SLOWER_MIN && slower >= log(traffic_times).max(-log(replicas_times))
    }
}

/// A series of the view's buckets; several of one kind are added.
pub(super) fn series(view: &View, kind: SeriesKind) -> Vec<Option<f64>> {
    let mut sum = vec![None; view.buckets];
    for series in view.observed.series.iter().filter(|series| series.kind == kind) {
        for (at, sum) in sum.iter_mut().enumerate() {
            let value = series.values.get(view.from + at).copied().flatten();
            if let Some(value) = value.filter(|value| value.is_finite()) {
                *sum = Some(sum.unwrap_or(0.0) + f64::from(value).clamp(-1e15, 1e15));
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_follows_from_what_grew_most() {
        let split = |worker| Split { queue_ms: [1.0, 50.0], worker_ms: [10.0, worker] };
        assert!(split(20.0).is_worker(1.0, 1.0, false), "twice as slow, as many requests");
        assert!(!split(10.2).is_worker(1.0, 1.0, false), "neither: the queue itself");
        assert!(!split(11.5).is_worker(1.5, 1.0, false), "half as many requests again");
        assert!(!split(11.5).is_worker(1.0, 0.5, false), "half of the replicas");
        assert!(!split(20.0).is_worker(1.0, 1.0, true), "they wait for replicas that start");
        let slow = Split { queue_ms: [1.0, 1.5], worker_ms: [10.0, 20.0] };
        assert!(slow.is_worker(3.0, 1.0, false), "most of it is at the worker");
    }
}
