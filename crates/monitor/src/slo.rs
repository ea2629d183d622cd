//! Service level objectives of models: how many events were bad, how much of the error budget of 30
//! days is left, and alarms where it is spent too fast. Counts outlive the process; of the last
//! minute before it is killed they may be missing.
//!
//! Memory: [`OBJECTIVES_MAX`] objectives of 13 KB.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::alarm::{AlarmKey, AlarmKind, Confidence, Finding, Target};
use domain::{EnvironmentName, ModelKey};
use parking_lot::Mutex;
pub use policy::burn::Events;
use policy::burn::{self, Burning, Objective};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::alarms::Desk;

/// So many objectives are kept, over all models; what would be one more is not counted.
pub const OBJECTIVES_MAX: usize = 6_000;
/// Counts are written so often, in milliseconds.
const SAVE_INTERVAL_MS: u64 = 60_000;
/// It is looked so often whether budgets are spent too fast, in milliseconds.
const LOOK_INTERVAL_MS: u64 = 10_000;
/// An objective without events for so long is forgotten, in milliseconds.
const FORGET_MS: u64 = 30 * 86_400_000;
/// So many events wait until the counts of before are read.
const EARLY_MAX: usize = 100_000;

/// What an objective is about.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum SloKind {
    /// Requests are answered without fault of model or platform.
    Availability,
    /// Requests are answered within `slo_ms`.
    Latency,
    /// Records are kept of all requests of which they should be.
    Records,
}

impl SloKind {
    /// All of them.
    pub const ALL: [SloKind; 3] = [SloKind::Availability, SloKind::Latency, SloKind::Records];

    /// The share of events that should be good.
    pub fn target(self) -> f64 {
        match self {
            SloKind::Availability => burn::AVAILABILITY,
            SloKind::Latency => burn::LATENCY,
            SloKind::Records => burn::RECORDS_COMPLETE,
        }
    }

    /// As it is written in JSON.
    pub fn label(self) -> &'static str {
        match self {
            SloKind::Availability => "availability",
            SloKind::Latency => "latency",
            SloKind::Records => "records",
        }
    }

    fn alarm(self) -> AlarmKind {
        match self {
            SloKind::Availability => AlarmKind::SloAvailability,
            SloKind::Latency => AlarmKind::SloLatency,
            SloKind::Records => AlarmKind::SloRecords,
        }
    }

    /// What is bad about a bad event.
    fn bad(self) -> &'static str {
        match self {
            SloKind::Availability => "requests failed",
            SloKind::Latency => "requests were slower than slo_ms",
            SloKind::Records => "records are missing",
        }
    }
}

/// How it stands with an objective.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SloView {
    /// Where.
    pub environment: EnvironmentName,
    /// What it is about.
    pub objective: SloKind,
    /// The share of events that should be good.
    pub target: f64,
    /// Over so many days.
    pub window_days: u32,
    /// Events in that time.
    pub events: u64,
    /// Those of them that broke it.
    pub bad: u64,
    /// The share of the error budget that is left: 1 if nothing broke it, negative if more did
    /// than it allows.
    pub budget_left: f64,
    /// How fast the budget is spent over the last hour: at 1 it lasts just as long as the window.
    pub burn_rate_1h: f64,
    /// The same over the last six hours.
    pub burn_rate_6h: f64,
    /// Whether it is spent so fast that there is an alarm.
    pub burning: bool,
}

/// What an objective is of: a model, or the platform.
type Key = (Option<Target>, SloKind);

struct Known {
    objective: Objective,
    last_ms: u64,
    is_dirty: bool,
}

#[derive(Default)]
struct Inner {
    known: BTreeMap<Key, Known>,
    /// Events from before the counts of earlier processes were read.
    early: Vec<(Key, u64, Events)>,
    is_loaded: bool,
    saved_ms: u64,
    looked_ms: u64,
}

/// All objectives.
#[derive(Default)]
pub struct Objectives {
    inner: Mutex<Inner>,
}

fn text(key: &Key) -> String {
    serde_json::to_string(key).unwrap_or_default()
}

impl Inner {
    fn add(&mut self, key: Key, at_ms: u64, events: Events) {
        if self.known.len() >= OBJECTIVES_MAX && !self.known.contains_key(&key) {
            return;
        }
        let target = key.1.target();
        let known = self.known.entry(key).or_insert_with(|| Known {
            objective: Objective::new(target),
            last_ms: 0,
            is_dirty: true,
        });
        known.objective.add(at_ms, events);
        (known.last_ms, known.is_dirty) = (known.last_ms.max(at_ms), true);
    }

    /// Reads what earlier processes counted, and adds what came since.
    fn load(&mut self, desk: &Desk, now_ms: u64) {
        self.is_loaded = true;
        for (key, body) in desk.objectives() {
            let Ok(key) = serde_json::from_str::<Key>(&key) else { continue };
            let Some(objective) = Objective::from_bytes(key.1.target(), &body) else { continue };
            self.known.insert(key, Known { objective, last_ms: now_ms, is_dirty: false });
        }
        for (key, at_ms, events) in std::mem::take(&mut self.early) {
            self.add(key, at_ms, events);
        }
    }

    fn save(&mut self, desk: &Desk, now_ms: u64) {
        let is_old = |known: &Known| now_ms.saturating_sub(known.last_ms) >= FORGET_MS;
        let dropped = self.known.iter().filter(|(_, known)| is_old(known));
        let dropped: Vec<String> = dropped.map(|(key, _)| text(key)).collect();
        let dirty = self.known.iter().filter(|(_, known)| known.is_dirty && !is_old(known));
        let kept: Vec<(String, Vec<u8>)> =
            dirty.map(|(key, known)| (text(key), known.objective.to_bytes())).collect();
        if (kept.is_empty() && dropped.is_empty()) || !desk.keep_objectives(&kept, &dropped) {
            return;
        }
        self.known.retain(|_, known| !is_old(known));
        self.known.values_mut().for_each(|known| known.is_dirty = false);
    }
}

impl Objectives {
    /// None yet; those of earlier processes are read once this one decides.
    pub fn new() -> Arc<Objectives> {
        Arc::default()
    }

    /// Takes in events of one objective, of the minute of this time, in milliseconds since 1970.
    pub fn add(&self, target: Option<&Target>, kind: SloKind, at_ms: u64, events: Events) {
        if events.all == 0 {
            return;
        }
        let mut inner = self.inner.lock();
        let key = (target.cloned(), kind);
        match inner.is_loaded {
            true => inner.add(key, at_ms, events),
            false if inner.early.len() < EARLY_MAX => inner.early.push((key, at_ms, events)),
            false => {}
        }
    }

    /// Forgets a model that was removed.
    pub fn forget(&self, desk: &Desk, model: &ModelKey) {
        let mut inner = self.inner.lock();
        let of_model = |key: &Key| key.0.as_ref().is_some_and(|target| target.model == *model);
        let dropped: Vec<String> =
            inner.known.keys().filter(|key| of_model(key)).map(text).collect();
        inner.known.retain(|key, _| !of_model(key));
        inner.early.retain(|(key, ..)| !of_model(key));
        if !dropped.is_empty() {
            desk.keep_objectives(&[], &dropped);
        }
    }

    /// To be called once a second: alarms where a budget is spent too fast, and writes counts.
    pub fn tick(&self, desk: &Desk, now_ms: u64) {
        if !desk.decides() {
            self.inner.lock().is_loaded = false;
            return;
        }
        let mut inner = self.inner.lock();
        if !inner.is_loaded {
            inner.load(desk, now_ms);
        }
        if now_ms.abs_diff(inner.saved_ms) >= SAVE_INTERVAL_MS {
            inner.saved_ms = now_ms;
            inner.save(desk, now_ms);
        }
        if now_ms.abs_diff(inner.looked_ms) < LOOK_INTERVAL_MS {
            return;
        }
        inner.looked_ms = now_ms;
        for ((target, kind), known) in &inner.known {
            let key =
                AlarmKey { target: target.clone(), kind: kind.alarm(), subject: String::new() };
            match known.objective.burning(now_ms) {
                Some(burning) => {
                    desk.raise(&key, finding(*kind, target.as_ref(), &burning, now_ms), now_ms);
                }
                None => desk.quiet(&key, now_ms),
            }
        }
    }

    /// Writes counts now: the process ends.
    pub fn save(&self, desk: &Desk, now_ms: u64) {
        let mut inner = self.inner.lock();
        if inner.is_loaded {
            inner.save(desk, now_ms);
        }
    }

    /// The share of its error budget that each objective has left, as [`SloView::budget_left`].
    pub fn budgets(&self, now_ms: u64) -> Vec<(Option<Target>, SloKind, f64)> {
        let inner = self.inner.lock();
        let budget = |((target, kind), known): (&Key, &Known)| {
            (target.clone(), *kind, known.objective.budget_left(now_ms))
        };
        inner.known.iter().map(budget).collect()
    }

    /// How it stands with all objectives of a model that have had events.
    pub fn of(&self, model: &ModelKey, now_ms: u64) -> Vec<SloView> {
        let inner = self.inner.lock();
        let view = |((target, kind), known): (&Key, &Known)| {
            let target = target.as_ref().filter(|target| target.model == *model)?;
            let objective = &known.objective;
            let month = objective.month(now_ms);
            let rate = |minutes: u64| objective.burn_rate(objective.events(now_ms, minutes));
            Some(SloView {
                environment: target.environment.clone(),
                objective: *kind,
                target: objective.target(),
                window_days: 30,
                events: month.all,
                bad: month.bad,
                budget_left: objective.budget_left(now_ms),
                burn_rate_1h: rate(60),
                burn_rate_6h: rate(360),
                burning: objective.burning(now_ms).is_some(),
            })
        };
        inner.known.iter().filter_map(view).collect()
    }
}

/// As `1 h` or `3 d`.
fn span(minutes: u64) -> String {
    match minutes {
        0..60 => format!("{minutes} min"),
        60..1_440 => format!("{} h", minutes / 60),
        _ => format!("{} d", minutes / 1_440),
    }
}

fn finding(kind: SloKind, target: Option<&Target>, burning: &Burning, now_ms: u64) -> Finding {
    let Burning { rule, long_rate, events, .. } = burning;
    let share = events.bad as f64 / events.all.max(1) as f64 * 100.0;
    let good = kind.target() * 100.0;
    // At this rate the budget of 30 days is gone after so long.
    let lasts = span((30.0 * 1_440.0 / long_rate.max(1e-9)) as u64);
    Finding {
        version: None,
        severity: rule.severity,
        what: format!(
            "{} of {} {} in {} ({share:.2}%, {good}% should be good): the budget of 30 days lasts {lasts} at this rate",
            events.bad,
            events.all,
            kind.bad(),
            span(rule.long_minutes),
        ),
        since_ms: now_ms.saturating_sub(rule.short_minutes * 60_000),
        confidence: Confidence::Measured,
        size: *long_rate,
        columns: vec![],
        next: match target {
            None => "decalog sql 'select * from gaps order by time desc limit 20'".into(),
            Some(target) => target.command("slo"),
        },
    }
}
