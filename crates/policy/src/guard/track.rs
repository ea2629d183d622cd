//! One guard of a release under way: the sums that it looks at, of bounded size however long it
//! lasts.

use domain::guard::{ArmWindow, Guard, Limit, Metric, Sums};
use domain::latency::{bucket_of, bucket_start_us};
use serde::{Deserialize, Serialize};

use super::design::Dispersion;
use super::judge::null_of;
use super::memory::Memory;

/// A percentile is known once as many slower requests are expected among those seen.
const SLOWER_MIN: f64 = 2.0;
/// Intervals that little traffic is gathered over until both arms have some.
const GATHER_INTERVALS_MAX: u32 = 12;
/// Requests of one arm and the values that a guard looks at.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Cell {
    requests: u64,
    values: f64,
    squares: f64,
}

impl Cell {
    /// An abandoned request counts as slower than what it had waited for already, and not at all
    /// where it had not: its latency is only known to be longer. It has failed if it was lost. The
    /// mean takes the wait itself, which is too low for either arm alike.
    fn of(metric: Metric, window: &ArmWindow, slower_than_us: Option<u64>, lost_us: u64) -> Cell {
        let abandoned = &window.abandoned;
        let share = |requests: u64, events: u64| Cell {
            requests,
            values: events.min(requests) as f64,
            squares: 0.0,
        };
        match metric {
            Metric::Errors => {
                let lost = abandoned.above_us(lost_us);
                share(window.requests + lost, window.errors + lost)
            }
            Metric::Disagreement => share(window.compared, window.disagreements),
            Metric::Quantile(_) => match slower_than_us {
                Some(us) => {
                    let slower = abandoned.above_us(us);
                    share(window.latency.count() + slower, window.latency.above_us(us) + slower)
                }
                None => Cell::default(),
            },
            Metric::Mean => Cell {
                requests: window.latency.count() + abandoned.count(),
                values: window.latency.sum_ms() + abandoned.sum_ms(),
                squares: window.latency.squares_ms2() + abandoned.squares_ms2(),
            },
        }
    }

    fn add(&mut self, other: Cell) {
        self.requests += other.requests;
        self.values += other.values;
        self.squares += other.squares;
    }

    /// Σ (x - mean)².
    fn deviations(&self) -> f64 {
        (self.squares - self.values * self.values / (self.requests as f64).max(1.0)).max(0.0)
    }
}

/// Adds an interval; returns its weight and the weighted means of both arms.
fn add(sums: &mut Sums, canary: &Cell, baseline: &Cell, relative: bool) -> (f64, f64, f64) {
    let (n, m) = (canary.requests as f64, baseline.requests as f64);
    let weight = if relative { n * m / (n + m) } else { n };
    sums.intervals += 1;
    sums.canary_requests += canary.requests;
    sums.canary_values += canary.values;
    sums.canary_squares += canary.deviations();
    sums.weight += weight;
    sums.canary_weighted += weight * canary.values / n;
    sums.canary_spread += weight * weight / n;
    if !relative {
        return (weight, weight * canary.values / n, 0.0);
    }
    sums.baseline_requests += baseline.requests;
    sums.baseline_values += baseline.values;
    sums.baseline_squares += baseline.deviations();
    sums.baseline_weighted += weight * baseline.values / m;
    sums.baseline_spread += weight * weight / m;
    (weight, weight * canary.values / n, weight * baseline.values / m)
}

/// One guard under way.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Track {
    pub(super) guard: Guard,
    pub(super) slower_than_ms: Option<f64>,
    gathered: (Cell, Cell),
    gathered_intervals: u32,
    pub(super) whole: Sums,
    pub(super) recent: Sums,
    pub(super) dispersion: Dispersion,
}

impl Track {
    pub(super) fn new(guard: Guard) -> Track {
        Track {
            guard,
            slower_than_ms: None,
            gathered: Default::default(),
            gathered_intervals: 0,
            whole: Sums::default(),
            recent: Sums::default(),
            dispersion: Dispersion::default(),
        }
    }

    /// The latencies beyond which requests of canary and baseline are counted, in microseconds.
    fn thresholds_us(&self, baseline: &Memory) -> Option<(u64, u64)> {
        let Metric::Quantile(per_10000) = self.guard.metric() else { return None };
        let share = f64::from(per_10000) / 10_000.0;
        if let Limit::Absolute(ms) = self.guard.limit() {
            return Some(((ms * 1_000.0) as u64, 0));
        }
        let requests_min = (SLOWER_MIN / (1.0 - share)).max(SLOWER_MIN / share);
        // The last microsecond of the bucket: with a factor of 1 both arms are counted alike.
        let us = bucket_start_us(baseline.bucket(share, requests_min)? + 1) - 1;
        match self.guard.limit() {
            Limit::BaselineTimes(factor) => Some(((us as f64 * factor) as u64, us)),
            Limit::BaselinePlus(ms) => Some((us + (ms * 1_000.0) as u64, us)),
            Limit::Absolute(_) => None,
        }
    }

    pub(super) fn observe(&mut self, canary: &ArmWindow, baseline: &ArmWindow, memory: &Memory) {
        let (metric, relative) = (self.guard.metric(), self.guard.relative());
        let thresholds = self.thresholds_us(memory);
        if let Some((canary_us, _)) = thresholds {
            self.slower_than_ms = Some(bucket_start_us(bucket_of(canary_us) + 1) as f64 / 1_000.0);
        }
        let lost_us = memory.lost_us();
        self.gathered.0.add(Cell::of(metric, canary, thresholds.map(|us| us.0), lost_us));
        if relative {
            self.gathered.1.add(Cell::of(metric, baseline, thresholds.map(|us| us.1), lost_us));
        }
        self.gathered_intervals += 1;
        let complete = self.gathered.0.requests > 0 && (!relative || self.gathered.1.requests > 0);
        if !complete && self.gathered_intervals < GATHER_INTERVALS_MAX {
            return;
        }
        let (canary, baseline) = std::mem::take(&mut self.gathered);
        self.gathered_intervals = 0;
        if complete {
            self.add(&canary, &baseline);
        }
    }

    fn add(&mut self, canary: &Cell, baseline: &Cell) {
        let relative = self.guard.relative();
        add(&mut self.recent, canary, baseline, relative);
        let (weight, canary_weighted, baseline_weighted) =
            add(&mut self.whole, canary, baseline, relative);
        let (factor, _) = null_of(&self.guard);
        let spread = |requests: u64| weight * weight / (requests as f64).max(1.0);
        let spreads = (spread(canary.requests), factor * factor * spread(baseline.requests));
        self.dispersion.observe(canary_weighted - factor * baseline_weighted, weight, spreads);
    }

    pub(super) fn estimate(
        &self,
        totals: (u64, u64),
        memory: &Memory,
        sums: (u64, f64),
    ) -> Option<f64> {
        match self.guard.metric() {
            Metric::Errors => (totals.0 > 0).then(|| totals.1 as f64 / totals.0 as f64),
            Metric::Quantile(per_10000) => memory.quantile_ms(f64::from(per_10000) / 10_000.0),
            _ => (sums.0 > 0).then(|| sums.1 / sums.0 as f64),
        }
    }
}
