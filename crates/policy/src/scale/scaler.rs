//! The memory of one placement's load, condensed into the inputs of a decision.

use domain::scale::{LoadMeasure, LoadSample, ScaleInputs, TargetSource};

use super::capacity::{Capacity, capacity};
use super::hold::Hold;
use super::rounded;
use super::window::{History, Point, Span};

/// The utilisation that a replica is planned with.
pub const UTILISATION: f64 = 0.7;
/// The window of the mean load, in milliseconds; as Knative's.
pub const STABLE_MS: u64 = 60_000;
/// The window of the load that is remembered for the hold time, in milliseconds.
pub const RECENT_MS: u64 = 20_000;
/// The windows in which a burst is looked for, in milliseconds.
pub const BURST_MS: [u64; 4] = [1_000, 2_000, 4_000, 8_000];
/// The shortest and the longest window of a trend, in milliseconds.
pub const TREND_MS: [u64; 2] = [5_000, 40_000];
/// Standard deviations of chance arrivals that a burst must exceed.
pub const BURST_DEVIATIONS: f64 = 2.0;
/// And a trend, which carries its error further.
pub const TREND_DEVIATIONS: f64 = 3.0;
/// A trend is followed to this many times the present load at most.
pub const FORECAST_MAX: f64 = 3.0;
/// A queue is planned to be cleared within this, or within a start-up if that is longer, in
/// milliseconds.
pub const CLEAR_MS_MIN: u64 = 2_000;
/// A report older than this says nothing of now, in milliseconds.
pub const DATA_AGE_MS_MAX: u64 = 5_000;
/// A learned capacity is replaced by one that differs by more than this share.
const CAPACITY_STEP: f64 = 0.1;
/// Replicas are never asked to carry less than this, so that a wrong setting cannot ask for all of
/// them.
const TARGET_MIN: f64 = 0.001;

/// The replicas of a placement as they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// The number in force: what the last decision said.
    pub current: u32,
    /// Those that serve.
    pub ready: u32,
    /// Those that start.
    pub starting: u32,
    /// Those that finish their work and then stop.
    pub draining: u32,
}

/// What a placement is scaled by.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Settings {
    /// Replicas that always run.
    pub min: u32,
    /// The most replicas.
    pub max: u32,
    /// The most that the machine's budget leaves; `None` if it is not short.
    pub budget: Option<u32>,
    /// Requests in the system that one replica should have; `None` to learn what it can carry.
    pub target_concurrency: Option<f64>,
    /// The latency to keep, in milliseconds.
    pub slo_ms: Option<f64>,
    /// Idle time after which no replica is kept beyond `min`, in milliseconds.
    pub idle_ms_max: u64,
    /// The share of what a replica can carry that it is planned with.
    pub utilisation: f64,
    /// The most rows of a batch.
    pub rows_max: u32,
    /// Batches that run at once at one replica.
    pub concurrency: u32,
    /// How long a replica takes to become ready, in milliseconds; see [`super::StartupTime`].
    pub startup_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            min: 0,
            max: u32::MAX,
            budget: None,
            target_concurrency: None,
            slo_ms: None,
            idle_ms_max: 300_000,
            utilisation: UTILISATION,
            rows_max: 64,
            concurrency: 1,
            startup_ms: 2_000,
        }
    }
}

/// The memory of one placement.
#[derive(Clone, Debug, Default)]
pub struct Scaler {
    history: History,
    newest: LoadSample,
    busy_at_ms: u64,
    /// Since when the load is known without a gap.
    watched_since_ms: u64,
    capacity: Option<Capacity>,
    hold: Hold,
}

impl Scaler {
    /// Takes in a report. Reports may be late, lost or repeated.
    pub fn observe(&mut self, sample: LoadSample) {
        let request_ms =
            if sample.in_system_request_ms.is_finite() { sample.in_system_request_ms } else { 0.0 };
        let before = self.history.last();
        let goes_on = self.history.push(Point {
            at_ms: sample.now_ms,
            arrived: sample.arrived as f64,
            request_ms,
        });
        let now_ms = self.history.last().map_or(sample.now_ms, |last| last.at_ms);
        let moved = before.is_none_or(|before| {
            before.arrived != sample.arrived as f64 || before.request_ms != request_ms
        });
        if !goes_on || before.is_none() {
            // Whoever was there before the first report, or before the counts began anew, is not
            // known: as if just now.
            (self.busy_at_ms, self.watched_since_ms) = (now_ms, now_ms);
            self.hold.clear();
        }
        if moved || sample.queued + sample.in_flight > 0 {
            self.busy_at_ms = now_ms;
        }
        self.newest = sample;
    }

    /// The inputs of a decision now. Call it for every decision, so that changes of
    /// `counts.current` are seen: how long a load is remembered depends on whether lowering was
    /// regretted before.
    pub fn inputs(&mut self, now_ms: u64, counts: Counts, settings: &Settings) -> ScaleInputs {
        let learned = self.capacity(settings);
        let (measure, target, target_source) = target(learned, settings);
        let data_age_ms = self.history.last().map(|last| now_ms.saturating_sub(last.at_ms));
        let no_data = data_age_ms.is_none_or(|age_ms| age_ms > DATA_AGE_MS_MAX);
        let load = |span: Span| mean(span, measure);
        let stable = load(self.history.span(STABLE_MS, 0));
        let burst = self.burst(measure);
        let forecast = self.forecast(measure, settings.startup_ms).max(stable);
        let backlog = self.backlog(measure, learned, counts, settings);
        let per_s = mean(self.history.span(STABLE_MS, 0), LoadMeasure::PerSecond);
        let hold_ms = self.hold.observe_target(now_ms, counts.current, per_s, settings.startup_ms);
        if !no_data {
            let recent = load(self.history.span(RECENT_MS, 0));
            self.hold.observe_load(now_ms, measure, recent.max(burst));
        }
        // What was there before the load was watched had its reason.
        let is_known = now_ms.saturating_sub(self.watched_since_ms) >= hold_ms;
        let unwatched_floor = if is_known { 0 } else { counts.current };
        let LoadSample { queued, in_flight, .. } = self.newest;
        ScaleInputs {
            measure,
            stable: rounded(stable),
            burst: rounded(burst),
            forecast: rounded(forecast),
            backlog: rounded(backlog),
            held: rounded(self.hold.load(now_ms, hold_ms)),
            hold_ms,
            tried_floor: self.hold.floor(now_ms, per_s).max(unwatched_floor),
            busy_replicas: rounded(learned.map_or(0.0, |learned| per_s / learned.requests_per_s)),
            target: rounded(target).max(TARGET_MIN),
            target_source,
            current: counts.current,
            ready: counts.ready,
            starting: counts.starting,
            draining: counts.draining,
            queued,
            in_flight,
            in_flight_floor: self.in_flight_floor(settings),
            startup_ms: settings.startup_ms,
            min: settings.min,
            max: settings.max,
            budget: settings.budget,
            idle_ms: now_ms.saturating_sub(self.busy_at_ms),
            idle_ms_max: settings.idle_ms_max,
            data_age_ms,
            no_data,
        }
    }

    /// The learned capacity; a value is kept until the measured one has moved away from it, since
    /// it varies with every batch.
    fn capacity(&mut self, settings: &Settings) -> Option<Capacity> {
        let LoadSample { service, rows_per_request, .. } = &self.newest;
        let fresh = capacity(
            service,
            *rows_per_request,
            settings.rows_max,
            settings.concurrency,
            settings.slo_ms,
            self.capacity,
        );
        let kept = |kept: Capacity, fresh: Capacity| {
            (fresh.requests_per_s / kept.requests_per_s - 1.0).abs() <= CAPACITY_STEP
                && fresh.requests_per_s > 0.0
        };
        match (self.capacity, fresh) {
            (Some(old), Some(fresh)) if kept(old, fresh) => {}
            (_, Some(fresh)) => self.capacity = Some(fresh),
            (_, None) => {}
        }
        self.capacity
    }

    /// The highest lower bound of the load over the burst windows: what chance arrivals rarely
    /// reach.
    fn burst(&self, measure: LoadMeasure) -> f64 {
        BURST_MS
            .iter()
            .map(|window_ms| self.history.span(*window_ms, 0))
            .map(|span| lower_bound(span, measure))
            .fold(0.0, f64::max)
    }

    /// The load when a replica started now is ready: the trend over three windows in a row, as far
    /// as it exceeds chance. The smaller of the two rises counts: a load that jumps once is no
    /// trend, and following it would overshoot.
    fn forecast(&self, measure: LoadMeasure, startup_ms: u64) -> f64 {
        let follow = |window_ms: u64| {
            let spans =
                [2, 1, 0].map(|back| self.history.span((back + 1) * window_ms, back * window_ms));
            if spans[0].ms < window_ms as f64 * 0.9 {
                return 0.0;
            }
            let [early, middle, late] = spans.map(|span| mean(span, measure));
            let chance =
                TREND_DEVIATIONS * deviation(spans[2], measure).hypot(deviation(spans[1], measure));
            let rise = (late - middle).min(middle - early) - chance;
            if rise <= 0.0 {
                return 0.0;
            }
            let ahead = 0.5 + startup_ms as f64 / window_ms as f64;
            (late + rise * ahead).min(FORECAST_MAX * late)
        };
        let short_ms = startup_ms.clamp(TREND_MS[0], TREND_MS[1]);
        [short_ms, TREND_MS[1]].into_iter().map(follow).fold(0.0, f64::max)
    }

    /// The load that clears what waits beyond one batch for each replica. Counted in requests in
    /// the system, the queue is part of the load already.
    fn backlog(
        &self,
        measure: LoadMeasure,
        learned: Option<Capacity>,
        counts: Counts,
        settings: &Settings,
    ) -> f64 {
        let (LoadMeasure::PerSecond, Some(learned)) = (measure, learned) else { return 0.0 };
        let batch = learned.rows / self.rows_per_request() * settings.concurrency.max(1) as f64;
        let excess = self.newest.queued as f64 - batch * counts.ready.max(1) as f64;
        excess.max(0.0) * 1_000.0 / settings.startup_ms.max(CLEAR_MS_MIN) as f64
    }

    fn in_flight_floor(&self, settings: &Settings) -> u32 {
        let full = settings.rows_max.max(1) as f64 * settings.concurrency.max(1) as f64
            / self.rows_per_request();
        ((self.newest.queued + self.newest.in_flight) as f64 / full.max(1.0)).ceil() as u32
    }

    fn rows_per_request(&self) -> f64 {
        let rows = self.newest.rows_per_request;
        if rows.is_finite() { rows.max(1.0) } else { 1.0 }
    }
}

/// What one replica should carry, in which unit, and how that is known.
fn target(learned: Option<Capacity>, settings: &Settings) -> (LoadMeasure, f64, TargetSource) {
    let utilisation =
        if settings.utilisation.is_finite() { settings.utilisation.max(0.01) } else { UTILISATION };
    if let Some(target) = settings.target_concurrency.filter(|target| target.is_finite()) {
        return (LoadMeasure::InFlight, target, TargetSource::TargetConcurrency);
    }
    match learned {
        Some(learned) => {
            let source =
                if settings.slo_ms.is_some() { TargetSource::Slo } else { TargetSource::Learned };
            (LoadMeasure::PerSecond, utilisation * learned.requests_per_s, source)
        }
        None => (
            LoadMeasure::InFlight,
            utilisation * settings.concurrency.max(1) as f64,
            TargetSource::Unlearned,
        ),
    }
}

/// The mean load of a span; over at least a second, so that the first request does not count as a
/// thousand a second.
fn mean(span: Span, measure: LoadMeasure) -> f64 {
    let ms = span.ms.max(1_000.0);
    match measure {
        LoadMeasure::InFlight => span.request_ms / ms,
        LoadMeasure::PerSecond => span.arrived * 1_000.0 / ms,
    }
}

/// The standard deviation of that mean if arrivals are independent (Poisson).
fn deviation(span: Span, measure: LoadMeasure) -> f64 {
    mean(span, measure) / span.arrived.max(1.0).sqrt()
}

fn lower_bound(span: Span, measure: LoadMeasure) -> f64 {
    (mean(span, measure) - BURST_DEVIATIONS * deviation(span, measure)).max(0.0)
}

#[cfg(test)]
mod tests;
