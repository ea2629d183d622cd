//! What is kept of a release under way: sums by guard, of bounded size however long it lasts.

use domain::guard::{
    ArmWindow, Guard, GuardInputs, GuardSettings, GuardSums, Judgements, Limit, Metric, Silence,
    Sums, Verdict, rounded,
};
use domain::latency::{LatencyHistogram, bucket_of, bucket_start_us};
use serde::{Deserialize, Serialize};

use super::design::Dispersion;
use super::judge::{judge, null_of, verdict};

/// Intervals in which the memory of latencies halves: ten minutes. The day's rhythm moves the
/// baseline's percentiles.
const MEMORY_INTERVALS: f64 = 120.0;
/// A percentile is known once as many slower requests are expected among those seen.
const SLOWER_MIN: f64 = 2.0;
/// Intervals that little traffic is gathered over until both arms have some.
const GATHER_INTERVALS_MAX: u32 = 12;
/// A request that its caller gave up, or that is still unanswered, after so many times the
/// baseline's 99th percentile is lost …
const LOST_FACTOR: u64 = 10;
/// … but not before it is so old, in microseconds, …
const LOST_US_MIN: u64 = 250_000;
/// … nor while fewer requests of the baseline are known: then at this age.
const LOST_REQUESTS_MIN: f64 = 20.0;
const LOST_US_UNKNOWN: u64 = 10_000_000;

/// Latencies of an arm, the older the lighter.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Memory {
    counts: Vec<f64>,
    total: f64,
    /// Of what comes next; grows, so that the rest shrinks beside it.
    weight: f64,
}

impl Memory {
    /// Takes in an interval: answers, and how long callers waited who had none, which would have
    /// taken longer.
    fn take(&mut self, window: &ArmWindow) {
        self.weight =
            if self.weight == 0.0 { 1.0 } else { self.weight * 2f64.powf(1.0 / MEMORY_INTERVALS) };
        if self.weight > 1e9 {
            self.counts.iter_mut().for_each(|count| *count /= self.weight);
            self.total /= self.weight;
            self.weight = 1.0;
        }
        [&window.latency, &window.abandoned].into_iter().for_each(|latency| self.add(latency));
    }

    fn add(&mut self, latency: &LatencyHistogram) {
        if latency.counts().len() > self.counts.len() {
            self.counts.resize(latency.counts().len(), 0.0);
        }
        for (sum, count) in self.counts.iter_mut().zip(latency.counts()) {
            *sum += self.weight * f64::from(*count);
        }
        self.total += self.weight * latency.count() as f64;
    }

    /// The bucket of a percentile, if enough was seen.
    fn bucket(&self, share: f64, requests_min: f64) -> Option<usize> {
        if self.weight == 0.0 || self.total / self.weight < requests_min {
            return None;
        }
        let mut above = self.total * (1.0 - share);
        self.counts.iter().rposition(|count| {
            above -= count;
            above < 0.0
        })
    }

    /// The age at which a request without an answer is lost, in microseconds.
    fn lost_us(&self) -> u64 {
        let slow = self.bucket(0.99, LOST_REQUESTS_MIN).map(|bucket| bucket_start_us(bucket + 1));
        slow.map_or(LOST_US_UNKNOWN, |us| (LOST_FACTOR * us).max(LOST_US_MIN))
    }

    fn quantile_ms(&self, share: f64) -> Option<f64> {
        let bucket = self.bucket(share, f64::MIN_POSITIVE)?;
        Some((bucket_start_us(bucket) + bucket_start_us(bucket + 1)) as f64 / 2_000.0)
    }
}

/// The first requests of an arm, which are left out.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
struct WarmUp {
    intervals: u32,
    requests: u64,
    over: bool,
    left_out: u64,
}

impl WarmUp {
    fn again(&mut self) {
        *self = WarmUp { left_out: self.left_out, ..WarmUp::default() };
    }

    /// Whether this window counts.
    fn admits(&mut self, window: &ArmWindow, settings: &GuardSettings) -> bool {
        let enough = self.intervals >= settings.warm_up_intervals
            && self.requests >= settings.warm_up_requests;
        self.over |= enough || self.intervals >= settings.warm_up_intervals_max;
        if !self.over {
            self.intervals += 1;
            self.requests += window.ended();
            self.left_out += window.ended();
        }
        self.over
    }
}

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
struct Track {
    guard: Guard,
    slower_than_ms: Option<f64>,
    gathered: (Cell, Cell),
    gathered_intervals: u32,
    whole: Sums,
    recent: Sums,
    dispersion: Dispersion,
}

impl Track {
    fn new(guard: Guard) -> Track {
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

    fn observe(&mut self, canary: &ArmWindow, baseline: &ArmWindow, memory: &Memory) {
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

    fn estimate(&self, totals: (u64, u64), memory: &Memory, sums: (u64, f64)) -> Option<f64> {
        match self.guard.metric() {
            Metric::Errors => (totals.0 > 0).then(|| totals.1 as f64 / totals.0 as f64),
            Metric::Quantile(per_10000) => memory.quantile_ms(f64::from(per_10000) / 10_000.0),
            _ => (sums.0 > 0).then(|| sums.1 / sums.0 as f64),
        }
    }
}

/// Watches one release. Hand it both arms' windows every [`domain::guard::INTERVAL_MS`], empty ones
/// too, and ask it for a verdict as often as you like.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Watch {
    settings: GuardSettings,
    step: u32,
    epoch: u32,
    epoch_intervals: u64,
    canary_warm_up: WarmUp,
    baseline_warm_up: WarmUp,
    step_canary_requests: u64,
    step_baseline_requests: u64,
    step_intervals: u64,
    canary_totals: (u64, u64),
    baseline_totals: (u64, u64),
    canary_memory: Memory,
    baseline_memory: Memory,
    segment: u32,
    silence: Silence,
    tracks: Vec<Track>,
}

impl Watch {
    /// At the first step of a release. Without guards, [`Guard::defaults`] hold.
    pub fn new(settings: GuardSettings, guards: &[Guard]) -> Watch {
        let guards = if guards.is_empty() { Guard::defaults() } else { guards.to_vec() };
        Watch {
            settings,
            step: 1,
            epoch: 1,
            epoch_intervals: 0,
            canary_warm_up: WarmUp::default(),
            baseline_warm_up: WarmUp::default(),
            step_canary_requests: 0,
            step_baseline_requests: 0,
            step_intervals: 0,
            canary_totals: (0, 0),
            baseline_totals: (0, 0),
            canary_memory: Memory::default(),
            baseline_memory: Memory::default(),
            segment: 1,
            silence: Silence::default(),
            tracks: guards.into_iter().map(Track::new).collect(),
        }
    }

    /// At this step, from 1, of a release whose evidence was lost with the process that had it: it
    /// is collected anew, for the `segment`th time.
    pub fn resume(settings: GuardSettings, guards: &[Guard], step: u32, segment: u32) -> Watch {
        Watch { step, segment, ..Watch::new(settings, guards) }
    }

    /// The next step: more traffic for the canary, and perhaps new replicas, which warm up.
    pub fn begin_step(&mut self) {
        self.step += 1;
        self.canary_warm_up.again();
        (self.step_canary_requests, self.step_baseline_requests, self.step_intervals) = (0, 0, 0);
        self.begin_epoch();
    }

    fn begin_epoch(&mut self) {
        self.epoch += 1;
        self.epoch_intervals = 0;
        self.tracks.iter_mut().for_each(|track| track.recent = Sums::default());
    }

    /// Takes in what both arms did in the interval that has just ended.
    pub fn observe(&mut self, canary: &ArmWindow, baseline: &ArmWindow) {
        self.listen(canary, baseline);
        let baseline_counts = self.baseline_warm_up.admits(baseline, &self.settings);
        if self.canary_warm_up.admits(canary, &self.settings) && baseline_counts {
            if self.epoch_intervals >= self.settings.epoch_intervals {
                self.begin_epoch();
            }
            self.epoch_intervals += 1;
            self.step_canary_requests += canary.requests;
            self.step_baseline_requests += baseline.requests;
            self.step_intervals += u64::from(canary.requests > 0);
            self.tracks
                .iter_mut()
                .for_each(|track| track.observe(canary, baseline, &self.baseline_memory));
            self.canary_memory.take(canary);
            let lost_us = self.baseline_memory.lost_us();
            for (totals, window) in
                [(&mut self.canary_totals, canary), (&mut self.baseline_totals, baseline)]
            {
                let lost = window.abandoned.above_us(lost_us);
                *totals = (totals.0 + window.requests + lost, totals.1 + window.errors + lost);
            }
        }
        self.baseline_memory.take(baseline);
    }

    /// Whether the canary answers at all; from its first request on.
    fn listen(&mut self, canary: &ArmWindow, baseline: &ArmWindow) {
        if canary.answered() > 0 {
            self.silence = Silence::default();
            return;
        }
        let lost_us = self.baseline_memory.lost_us();
        let lost = canary.errors + canary.abandoned.above_us(lost_us);
        let silence = &mut self.silence;
        silence.unfinished = canary.unfinished.above_us(lost_us);
        if lost + silence.unfinished > 0 {
            silence.intervals += 1;
            silence.lost += lost;
            silence.baseline_requests += baseline.ended();
            silence.baseline_answered += baseline.answered();
        }
    }

    /// What a verdict depends on, exactly as it is computed with.
    fn exact_inputs(&self) -> GuardInputs {
        let sums = |track: &Track| {
            let whole = &track.whole;
            GuardSums {
                guard: track.guard,
                canary: track.estimate(
                    self.canary_totals,
                    &self.canary_memory,
                    (whole.canary_requests, whole.canary_values),
                ),
                baseline: track.estimate(
                    self.baseline_totals,
                    &self.baseline_memory,
                    (whole.baseline_requests, whole.baseline_values),
                ),
                slower_than_ms: track.slower_than_ms,
                whole: track.whole,
                recent: track.recent,
                dispersion: track.dispersion.sums(),
            }
        };
        GuardInputs {
            settings: self.settings,
            step: self.step,
            epoch: self.epoch,
            step_canary_requests: self.step_canary_requests,
            step_baseline_requests: self.step_baseline_requests,
            step_intervals: self.step_intervals,
            canary_left_out: self.canary_warm_up.left_out,
            baseline_left_out: self.baseline_warm_up.left_out,
            warming_up: !(self.canary_warm_up.over && self.baseline_warm_up.over),
            segment: self.segment,
            silence: self.silence,
            guards: self.tracks.iter().map(sums).collect(),
        }
    }

    /// What a verdict depends on, as it goes into the ledger: with numbers that JSON gives back as
    /// they are.
    pub fn inputs(&self) -> GuardInputs {
        let mut inputs = self.exact_inputs();
        for guard in &mut inputs.guards {
            [&mut guard.canary, &mut guard.baseline, &mut guard.slower_than_ms]
                .into_iter()
                .flatten()
                .for_each(|value| *value = rounded(*value));
            round(&mut guard.whole);
            round(&mut guard.recent);
            for scale in &mut guard.dispersion {
                (scale.squares, scale.canary) = (rounded(scale.squares), rounded(scale.canary));
            }
        }
        inputs
    }

    /// The verdict with its evidence: [`judge`] of [`Watch::inputs`].
    pub fn judge(&self) -> Judgements {
        judge(&self.inputs())
    }

    /// The verdict alone, which is much cheaper than [`Watch::judge`].
    pub fn verdict(&self) -> Verdict {
        verdict(&self.exact_inputs())
    }
}

fn round(sums: &mut Sums) {
    for value in [
        &mut sums.canary_values,
        &mut sums.canary_squares,
        &mut sums.baseline_values,
        &mut sums.baseline_squares,
        &mut sums.weight,
        &mut sums.canary_weighted,
        &mut sums.baseline_weighted,
        &mut sums.canary_spread,
        &mut sums.baseline_spread,
    ] {
        *value = rounded(*value);
    }
}
