//! How good a model was, by version and window, as people and programs read it.

use std::collections::BTreeMap;

use domain::quality::{Maturity, QualityNumber, TruthKind};
use domain::{EnvironmentName, ModelKey, VersionNumber};
use policy::truth::Sums;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Quality;
use super::cohort::{HOUR_MS, HourOf, QualityCohort};
use super::learnt::Learnt;

/// The most windows of a report: the last ones are shown.
pub const WINDOWS_MAX: usize = 2_000;

/// How long a window is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Step {
    /// All of the time that is asked for.
    #[default]
    All,
    /// A day of UTC.
    Day,
    /// An hour.
    Hour,
}

impl Step {
    fn begin_ms(self, hour_ms: u64) -> u64 {
        match self {
            Step::All => 0,
            Step::Day => hour_ms - hour_ms % (24 * HOUR_MS),
            Step::Hour => hour_ms,
        }
    }
}

/// How good a model was.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct QualityReport {
    /// Which model.
    pub model: ModelKey,
    /// By environment, version and time.
    pub windows: Vec<QualityWindow>,
    /// Environments whose predictions cannot be compared with their truth.
    pub undecided: Vec<QualityUndecided>,
}

/// Predictions that cannot be compared with their truth.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct QualityUndecided {
    /// Where they were made.
    pub environment: EnvironmentName,
    /// Why not.
    pub error: String,
    /// What to do.
    pub help: String,
}

/// How good a version was in some time.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct QualityWindow {
    /// Where.
    pub environment: EnvironmentName,
    /// As `v3`.
    #[schemars(extend("pattern" = "^v[0-9]+$", "examples" = ["v3"]))]
    pub version: String,
    /// The begin of the first hour that it has, in milliseconds since 1970.
    pub from_ms: u64,
    /// The end of the last one.
    pub to_ms: u64,
    /// The output that is compared.
    pub output: String,
    /// As what it is compared.
    pub kind: TruthKind,
    /// How much of the truth is known.
    pub maturity: Maturity,
    /// Predictions that there are records of.
    pub predictions: u64,
    /// Those whose truth is known.
    pub known: u64,
    /// Their share.
    pub coverage: f64,
    /// How long after its prediction truth came, in the mean, in milliseconds.
    pub late_ms: Option<u64>,
    /// Truths that are not what they should be compared as.
    pub unreadable: u64,
    /// By the truth.
    pub numbers: Vec<QualityNumber>,
    /// By the model's own probabilities, of all predictions; empty if there is no calibration.
    pub estimates: Vec<QualityNumber>,
    /// Whether the truth so far agrees with the estimates.
    pub is_estimate_trusted: Option<bool>,
}

impl Quality {
    /// How good a model was in the hours that begin from one time to another, in milliseconds since
    /// 1970; in one environment or in all.
    pub fn report(
        &self,
        model: &ModelKey,
        environment: Option<&EnvironmentName>,
        (from_ms, to_ms): (u64, u64),
        step: Step,
        now_ms: u64,
    ) -> rusqlite::Result<QualityReport> {
        let learnt = self.learnt(model)?;
        let is_asked = |of: &EnvironmentName| environment.is_none_or(|asked| asked == of);
        let mut windows: BTreeMap<(EnvironmentName, u64, VersionNumber), Sums> = BTreeMap::new();
        for hour in self.cohorts(model, from_ms, to_ms)? {
            if is_asked(&hour.environment) {
                let begin_ms = step.begin_ms(hour.sums.cohort.start_ms);
                let key = (hour.environment, begin_ms, hour.version);
                windows.entry(key).or_default().merge(&hour.sums);
            }
        }
        let left_out = windows.len().saturating_sub(WINDOWS_MAX);
        let windows = windows.into_iter().skip(left_out);
        let windows = windows.filter_map(|((environment, _, version), sums)| {
            window(learnt.get(&environment)?, environment, version, &sums, now_ms)
        });
        let undecided = learnt.iter().filter(|(of, _)| is_asked(of)).filter_map(|(of, learnt)| {
            let (error, help) = learnt.undecided.clone()?;
            Some(QualityUndecided { environment: of.clone(), error, help })
        });
        let undecided = undecided.collect();
        Ok(QualityReport { model: model.clone(), windows: windows.collect(), undecided })
    }
}

fn window(
    learnt: &Learnt,
    environment: EnvironmentName,
    version: VersionNumber,
    sums: &Sums,
    now_ms: u64,
) -> Option<QualityWindow> {
    let comparison = learnt.comparison.as_ref()?;
    let cohort = &sums.cohort;
    let is_trusted = learnt.is_trusted(version);
    Some(QualityWindow {
        environment,
        version: version.to_string(),
        from_ms: cohort.start_ms,
        to_ms: cohort.end_ms,
        output: comparison.output.clone(),
        kind: comparison.kind,
        maturity: cohort.maturity(now_ms, comparison.truth_ms_max),
        predictions: cohort.predictions,
        known: cohort.known,
        coverage: cohort.coverage(),
        late_ms: sums.late_ms(),
        unreadable: sums.unreadable,
        numbers: sums.numbers(comparison),
        estimates: sums.estimates(),
        is_estimate_trusted: is_trusted.filter(|_| sums.estimated_loss().is_some()),
    })
}

/// An hour for whoever watches.
pub fn cohort_of(model: &ModelKey, hour: &HourOf, learnt: &Learnt, now_ms: u64) -> QualityCohort {
    let (cohort, sums) = (&hour.sums.cohort, &hour.sums);
    let truth_ms_max = learnt.comparison.as_ref().map_or(0, |of| of.truth_ms_max);
    let is_trusted = learnt.is_trusted(hour.version) == Some(true);
    QualityCohort {
        model: model.clone(),
        environment: hour.environment.clone(),
        version: hour.version,
        start_ms: cohort.start_ms,
        predictions: cohort.predictions,
        n: cohort.known,
        mean_loss: sums.loss(),
        estimated_loss: sums.estimated_loss().filter(|_| is_trusted),
        coverage: cohort.coverage(),
        maturity: cohort.maturity(now_ms, truth_ms_max),
    }
}
