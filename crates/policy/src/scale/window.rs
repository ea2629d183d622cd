//! Means over trailing windows from cumulative counts, in bounded memory.

use std::collections::VecDeque;

/// The longest window, in milliseconds.
pub const WINDOW_MS_MAX: u64 = 120_000;
/// Samples closer than this replace each other, in milliseconds; the newest is always kept.
const BUCKET_MS: u64 = 500;
/// A time that fell by more than this is another clock, in milliseconds.
const SKEW_MS_MAX: u64 = 1_000;

/// Cumulative counts at one time.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Point {
    /// Monotonic, in milliseconds.
    pub at_ms: u64,
    /// Requests that arrived until then.
    pub arrived: f64,
    /// The integral of the requests in the system, in request-milliseconds.
    pub request_ms: f64,
}

/// What happened within a window.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Span {
    /// Its length, shorter than asked for if the history is, in milliseconds.
    pub ms: f64,
    /// Requests that arrived.
    pub arrived: f64,
    /// Request-milliseconds.
    pub request_ms: f64,
}

/// The counts of the last two minutes.
#[derive(Clone, Debug, Default)]
pub struct History {
    points: VecDeque<Point>,
}

impl History {
    /// Takes in the counts of a later time. Counts that fell (the gateway restarted) and a clock
    /// that jumped back start the history anew; a time that fell a little counts as no time passed.
    /// Returns whether the history goes on.
    pub fn push(&mut self, mut point: Point) -> bool {
        let mut goes_on = true;
        if let Some(last) = self.points.back().copied() {
            let clock_jumped = point.at_ms.saturating_add(SKEW_MS_MAX) < last.at_ms;
            if clock_jumped || point.arrived < last.arrived || point.request_ms < last.request_ms {
                self.points.clear();
                goes_on = false;
            } else {
                point.at_ms = point.at_ms.max(last.at_ms);
                let before = self
                    .points
                    .len()
                    .checked_sub(2)
                    .and_then(|at| self.points.get(at))
                    .map(|point| point.at_ms);
                if before.is_some_and(|before_ms| point.at_ms.saturating_sub(before_ms) < BUCKET_MS)
                {
                    self.points.pop_back();
                }
            }
        }
        self.points.push_back(point);
        let horizon_ms = point.at_ms.saturating_sub(WINDOW_MS_MAX);
        while self.points.len() > 2 && self.points[1].at_ms <= horizon_ms {
            self.points.pop_front();
        }
        goes_on
    }

    /// The newest counts.
    pub fn last(&self) -> Option<Point> {
        self.points.back().copied()
    }

    /// The time since the first counts that are kept, in milliseconds.
    #[cfg(test)]
    pub fn age_ms(&self) -> u64 {
        match (self.points.front(), self.points.back()) {
            (Some(first), Some(last)) => last.at_ms - first.at_ms,
            _ => 0,
        }
    }

    /// What happened from `from_ms` to `to_ms` before the newest counts.
    pub fn span(&self, from_ms: u64, to_ms: u64) -> Span {
        let (Some(start), Some(end)) = (self.before(from_ms), self.before(to_ms)) else {
            return Span::default();
        };
        Span {
            ms: end.at_ms.saturating_sub(start.at_ms) as f64,
            arrived: (end.arrived - start.arrived).max(0.0),
            request_ms: (end.request_ms - start.request_ms).max(0.0),
        }
    }

    /// The counts so long before the newest, by a straight line between neighbours; the oldest if
    /// there are none so old.
    fn before(&self, ms: u64) -> Option<Point> {
        let last = self.points.back()?;
        let at_ms = last.at_ms.saturating_sub(ms);
        let next = self.points.partition_point(|point| point.at_ms < at_ms);
        let right = *self.points.get(next)?;
        let Some(left) = next.checked_sub(1).and_then(|at| self.points.get(at)) else {
            return Some(right);
        };
        let share = (at_ms - left.at_ms) as f64 / (right.at_ms - left.at_ms).max(1) as f64;
        Some(Point {
            at_ms,
            arrived: left.arrived + share * (right.arrived - left.arrived),
            request_ms: left.request_ms + share * (right.request_ms - left.request_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steady(step_ms: u64, until_ms: u64) -> History {
        let mut history = History::default();
        for at_ms in (0..=until_ms).step_by(step_ms as usize) {
            history.push(Point {
                at_ms,
                arrived: at_ms as f64 / 100.0,
                request_ms: at_ms as f64 * 3.0,
            });
        }
        history
    }

    #[test]
    fn a_constant_rate_has_the_same_mean_in_every_window() {
        for step_ms in [1, 7, 100, 1_000, 9_000] {
            let history = steady(step_ms, 300_000);
            for window_ms in [500, 1_000, 6_000, 60_000] {
                let span = history.span(window_ms, 0);
                assert!(
                    (span.arrived / span.ms - 0.01).abs() < 1e-9,
                    "{step_ms} {window_ms} {span:?}"
                );
                assert!((span.request_ms / span.ms - 3.0).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn memory_is_bounded() {
        for step_ms in [1, 130, 260, 499, 500] {
            assert!(
                steady(step_ms, 1_000_000).points.len() as u64 <= 2 * WINDOW_MS_MAX / BUCKET_MS + 3
            );
        }
        assert!(steady(1, 1_000_000).age_ms() <= WINDOW_MS_MAX + BUCKET_MS);
    }

    #[test]
    fn clocks_and_counters_that_jump() {
        let mut history = steady(1_000, 10_000);
        assert!(history.push(Point { at_ms: 9_500, arrived: 101.0, request_ms: 30_001.0 }));
        assert_eq!(history.last().unwrap().at_ms, 10_000);
        assert!(history.push(Point { at_ms: u64::MAX, arrived: 102.0, request_ms: 30_002.0 }));
        assert!(history.span(6_000, 0).ms <= 6_000.0);
        assert!(!history.push(Point { at_ms: 3, arrived: 103.0, request_ms: 30_003.0 }));
        assert_eq!((history.age_ms(), history.last().unwrap().at_ms), (0, 3));
        assert!(!history.push(Point { at_ms: 5, arrived: 0.0, request_ms: 0.0 }));
        assert_eq!((history.age_ms(), history.last().unwrap().at_ms), (0, 5));
        assert_eq!(History::default().span(1_000, 0), Span::default());
    }
}
