//! Watches how wrong a model's hours are, in one environment: by their truth, once nearly all of it is
//! known, and until then by the estimate, while it is trusted. What is usual is what the first days
//! were.

use domain::alarm::{AlarmKey, AlarmKind, Target};
use domain::quality::{Maturity, TruthKind};
use domain::{EnvironmentName, ModelKey, VersionNumber};
use policy::drift::{ShareDetector, Signal, share_finding};
use policy::truth::{Moments, loss_bound};
use serde::{Deserialize, Serialize};

use super::cohort::{HOUR_MS, MATURE_SHARE, QualityCohort};
use crate::health::Tell;

/// So many days with truth say what is usual: the hours of one day are alike, so that a day or two of
/// them say nothing of how much days differ.
pub const USUAL_DAYS: f64 = 14.0;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Hours with fewer predictions say nothing.
const ROWS_MIN: u64 = 10;

/// What is known of the losses of a model in one environment.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Losses {
    usual: Usual,
    /// Hours up to this one were looked at, in milliseconds since 1970.
    known_until_ms: u64,
    realised: ShareDetector,
    /// The same by estimates.
    estimated_until_ms: u64,
    estimated: ShareDetector,
}

impl Default for Losses {
    fn default() -> Losses {
        Losses {
            usual: Usual::default(),
            known_until_ms: 0,
            realised: ShareDetector::new(HOUR_MS),
            estimated_until_ms: 0,
            estimated: ShareDetector::new(HOUR_MS),
        }
    }
}

/// The losses of the first days.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Usual {
    /// The mean loss of each.
    days: Moments,
    /// The day that its hours are added to, counted from 1970, …
    day: u64,
    /// … and their losses.
    hours: Moments,
}

impl Usual {
    /// Takes in an hour; `false` once the days are enough, so that it is to be held against them.
    fn take(&mut self, start_ms: u64, loss: f64) -> bool {
        let day = start_ms / DAY_MS;
        if day != self.day && self.hours.n > 0.0 {
            self.days.add(self.hours.mean(), 1.0);
            self.hours = Moments::default();
        }
        self.day = day;
        let takes = !self.is_known();
        if takes {
            self.hours.add(loss, 1.0);
        }
        takes
    }

    fn is_known(&self) -> bool {
        self.days.n >= USUAL_DAYS
    }
}

/// Of all versions in one hour.
struct OfHour {
    version: VersionNumber,
    loss: f64,
}

impl Losses {
    /// The first hour that was not looked at yet, in milliseconds since 1970.
    pub fn from_ms(&self) -> u64 {
        self.known_until_ms.min(self.estimated_until_ms)
    }

    /// Looks at the hours of one environment, oldest first; each is looked at once, when its truth is
    /// nearly all there. One whose truth comes later than that of the next is passed over.
    pub fn take(
        &mut self,
        target: (&ModelKey, &EnvironmentName),
        kind: TruthKind,
        cohorts: &[QualityCohort],
        now_ms: u64,
        tell: &dyn Tell,
    ) {
        for hour in cohorts.chunk_by(|a, b| a.start_ms == b.start_ms) {
            let Some(start_ms) = hour.first().map(|cohort| cohort.start_ms) else { continue };
            if start_ms + HOUR_MS > now_ms {
                return;
            }
            let is_mature =
                |of: &QualityCohort| of.coverage >= MATURE_SHARE || of.maturity == Maturity::Final;
            if start_ms >= self.known_until_ms
                && hour.iter().all(is_mature)
                && let Some(of) = mean(hour, |cohort| (cohort.mean_loss, cohort.n))
            {
                self.known_until_ms = start_ms + HOUR_MS;
                self.realised(target, kind, start_ms, &of, now_ms, tell);
            }
            if start_ms >= self.estimated_until_ms {
                self.estimated_until_ms = start_ms + HOUR_MS;
                if let Some(of) = mean(hour, |cohort| (cohort.estimated_loss, cohort.predictions)) {
                    self.estimated(target, kind, start_ms, &of, now_ms, tell);
                }
            }
        }
    }

    fn realised(
        &mut self,
        target: (&ModelKey, &EnvironmentName),
        kind: TruthKind,
        start_ms: u64,
        of: &OfHour,
        now_ms: u64,
        tell: &dyn Tell,
    ) {
        if self.usual.take(start_ms, of.loss) {
            return;
        }
        let bound = loss_bound(&self.usual.days);
        let signal = self.realised.update_share(start_ms, of.loss, bound);
        let what = match kind {
            TruthKind::Number => "of four mean errors is the error",
            TruthKind::Class | TruthKind::Score => "of predictions are wrong",
        };
        say(key(target, AlarmKind::Quality), of.version, what, &signal, now_ms, tell);
    }

    fn estimated(
        &mut self,
        target: (&ModelKey, &EnvironmentName),
        kind: TruthKind,
        start_ms: u64,
        of: &OfHour,
        now_ms: u64,
        tell: &dyn Tell,
    ) {
        if !self.usual.is_known() || kind != TruthKind::Score {
            return;
        }
        let bound = loss_bound(&self.usual.days);
        let signal = self.estimated.update_share(start_ms, of.loss, bound);
        let what = "of predictions are wrong by an estimate";
        say(key(target, AlarmKind::EstimatedQuality), of.version, what, &signal, now_ms, tell);
    }
}

/// The mean loss of an hour over its versions, and which of them had most predictions; `None` of too
/// few.
fn mean(
    hour: &[QualityCohort],
    loss_of: impl Fn(&QualityCohort) -> (Option<f64>, u64),
) -> Option<OfHour> {
    let known = hour.iter().filter_map(|cohort| {
        let (loss, n) = loss_of(cohort);
        Some((cohort.version, loss?, n))
    });
    let known: Vec<(VersionNumber, f64, u64)> = known.collect();
    let rows: u64 = known.iter().map(|(.., n)| n).sum();
    let (version, ..) = *known.iter().max_by_key(|(.., n)| *n)?;
    let sum: f64 = known.iter().map(|(_, loss, n)| loss * *n as f64).sum();
    (rows >= ROWS_MIN).then(|| OfHour { version, loss: sum / rows as f64 })
}

fn key((model, environment): (&ModelKey, &EnvironmentName), kind: AlarmKind) -> AlarmKey {
    Target { model: model.clone(), environment: environment.clone() }.key(kind)
}

fn say(
    key: AlarmKey,
    version: VersionNumber,
    what: &str,
    signal: &Signal<policy::drift::ShareFound>,
    now_ms: u64,
    tell: &dyn Tell,
) {
    match signal {
        Signal::NoData => {}
        Signal::Quiet => tell.quiet(&key, now_ms),
        Signal::Found(found) => {
            tell.raise(&key, share_finding(&key, Some(version), found, what), now_ms);
        }
    }
}
