//! What is learnt of a model's values in an environment: how they are compared, how its scores are
//! calibrated, and whether an estimate by them is to be believed.

use std::collections::BTreeMap;

use domain::VersionNumber;
use domain::manifest::TruthSection;
use domain::outcome::OutcomesSeen;
use domain::quality::TruthKind;
use policy::truth::{Calibration, Comparison, Distrust, compare};
use serde::{Deserialize, Serialize};

use super::cohort::{HourOf, MATURE_SHARE};
use super::losses::Losses;

/// Rows with truth that a calibration needs, and the scale of a loss.
pub const CALIBRATION_ROWS_MIN: u64 = 500;
/// An absolute error of so many mean errors is a loss of 1.
const LOSS_ERRORS: f64 = 4.0;
/// Values that were seen once are enough; counts stop growing here.
const SEEN_MAX: u64 = 1_000_000;

/// What was learnt of a model's values in one environment.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Learnt {
    /// How they are compared, if that is known.
    pub comparison: Option<Comparison>,
    /// Why it is not known, and what to do.
    #[serde(default)]
    pub undecided: Option<(String, String)>,
    predicted: OutcomesSeen,
    calibrated: BTreeMap<VersionNumber, Calibrated>,
    /// Watches losses.
    #[serde(default)]
    pub losses: Losses,
}

/// How the scores of a version are calibrated.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Calibrated {
    calibration: Calibration,
    /// It was fitted on truth of hours before this time, in milliseconds since 1970.
    until_ms: u64,
    /// Whether it is that of an earlier version.
    is_borrowed: bool,
    distrust: Distrust,
}

/// Which output the truth is compared with: the one that the manifest names (`probability[1]` is an
/// element of a list), else the one that is called as the truth is, else the only one, else the only
/// one that is no list.
pub fn choose_output(
    section: &TruthSection,
    outputs: &[String],
    scalars: &[String],
) -> Result<String, (String, String)> {
    let has = |name: &&String| outputs.contains(name);
    if let Some(named) = &section.output {
        let column = named.split_once('[').map_or(named.clone(), |(column, _)| column.into());
        return match has(&named) || has(&&column) {
            true => Ok(named.clone()),
            false => Err((
                format!("[truth] output is `{named}`, and predictions have {}", list(outputs)),
                "put the name right in decalog.toml, and deploy".into(),
            )),
        };
    }
    if let Some(column) = section.column.as_ref().filter(has) {
        return Ok(column.clone());
    }
    match (outputs, scalars) {
        ([only], _) | (_, [only]) => Ok(only.clone()),
        _ => Err((
            format!("it is not known which output the truth is compared with: {}", list(outputs)),
            "[truth] output = \"…\" in decalog.toml, and deploy".into(),
        )),
    }
}

/// Outputs that a message lists.
const OUTPUTS_SHOWN: usize = 5;

fn list(outputs: &[String]) -> String {
    match outputs {
        [] => "no outputs".into(),
        _ => outputs.iter().take(OUTPUTS_SHOWN).cloned().collect::<Vec<_>>().join(", "),
    }
}

impl Learnt {
    /// Decides how an output is compared. What stays the same stays as it was, so that sums that
    /// were made before can be merged with later ones.
    pub fn decide(&mut self, section: &TruthSection, output: &str, truth: &OutcomesSeen) {
        match compare(section, output, truth, &self.predicted) {
            Ok(mut new) => {
                if let Some(old) = &self.comparison {
                    if old.kind == new.kind {
                        (new.centre, new.loss_scale) = (old.centre, old.loss_scale);
                    }
                    if *old != new {
                        self.calibrated.clear();
                        self.losses = Losses::default();
                    }
                }
                (self.comparison, self.undecided) = (Some(new), None);
            }
            Err(error) => self.undecide(error.to_string(), error.help().into()),
        }
    }

    /// Says why values cannot be compared.
    pub fn undecide(&mut self, why: String, help: String) {
        (self.comparison, self.undecided) = (None, Some((why, help)));
    }

    /// Whether any prediction was seen yet.
    pub fn has_seen(&self) -> bool {
        self.predicted.count() > 0
    }

    /// Takes in what predictions look like.
    pub fn see(&mut self, seen: &OutcomesSeen) {
        if self.predicted.count() < SEEN_MAX {
            self.predicted.merge(seen);
            return;
        }
        // What is rare must still be seen: another range, or a new class.
        let mut other = self.predicted.clone();
        other.merge(seen);
        (self.predicted.range, self.predicted.classes) = (other.range, other.classes);
    }

    /// Which sums can be merged: those of the same basis.
    pub fn basis(&self) -> String {
        let Some(comparison) = &self.comparison else { return String::new() };
        let fitted: Vec<_> =
            self.calibrated.iter().map(|(version, of)| (version.0, of.until_ms)).collect();
        format!("{comparison:?} {fitted:?}")
    }

    /// What the scores of a version are calibrated by.
    pub fn calibration(&self, version: VersionNumber) -> Option<&Calibration> {
        self.calibrated.get(&version).map(|of| &of.calibration)
    }

    /// Whether the estimates of a version are to be believed; `None` if there are none.
    pub fn is_trusted(&self, version: VersionNumber) -> Option<bool> {
        self.calibrated.get(&version).map(|of| !of.distrust.is_distrusted())
    }

    /// Holds probabilities against the truth; `false` if the calibration is of that very truth.
    pub fn check(&mut self, version: VersionNumber, hour_ms: u64, rows: &[(f64, bool)]) -> bool {
        let Some(of) = self.calibrated.get_mut(&version) else { return false };
        if !of.is_borrowed && hour_ms < of.until_ms {
            return false;
        }
        rows.iter().for_each(|(probability, truth)| of.distrust.add(*probability, *truth));
        true
    }

    /// Whether there is anything to learn from hours: of classes there is not.
    pub fn may_learn(&self) -> bool {
        self.comparison.as_ref().is_some_and(|of| match of.kind {
            TruthKind::Class => false,
            TruthKind::Score => of.is_probability,
            TruthKind::Number => of.loss_scale.is_none(),
        })
    }

    /// Learns from hours of this environment, oldest first, whose truth is known: calibrations, and
    /// the scale of losses. Gives whether anything is new.
    pub fn learn(&mut self, hours: &[HourOf]) -> bool {
        let mature = || hours.iter().filter(|hour| hour.sums.cohort.coverage() >= MATURE_SHARE);
        let mut versions: Vec<VersionNumber> = hours.iter().map(|hour| hour.version).collect();
        versions.sort_unstable();
        versions.dedup();
        let mut is_new = self.learn_scale(mature());
        for version in versions {
            if self.calibrated.get(&version).is_some_and(|of| !of.is_borrowed) {
                continue;
            }
            let of_version = mature().filter(|hour| hour.version == version);
            if let Some(fitted) = fit(of_version) {
                self.calibrated.insert(version, fitted);
                is_new = true;
                continue;
            }
            let before = self.calibrated.range(..version).next_back().map(|(_, of)| of.clone());
            if let (Some(before), false) = (before, self.calibrated.contains_key(&version)) {
                let distrust = Distrust::default();
                let borrowed = Calibrated { is_borrowed: true, distrust, ..before };
                self.calibrated.insert(version, borrowed);
                is_new = true;
            }
        }
        is_new
    }

    fn learn_scale<'a>(&mut self, mature: impl Iterator<Item = &'a HourOf>) -> bool {
        let Some(comparison) = self.comparison.as_mut() else { return false };
        if comparison.loss_scale.is_some() {
            return false;
        }
        let mut sums = policy::truth::Sums::default();
        for hour in mature {
            sums.merge(&hour.sums);
            if sums.cohort.known >= CALIBRATION_ROWS_MIN {
                let error = sums.absolute_error().filter(|error| *error > 0.0);
                comparison.loss_scale = error.map(|error| error * LOSS_ERRORS);
                return comparison.loss_scale.is_some();
            }
        }
        false
    }
}

/// Fits the first rows whose truth is known, if they are enough.
fn fit<'a>(hours: impl Iterator<Item = &'a HourOf>) -> Option<Calibrated> {
    let mut calibration = Calibration::default();
    for hour in hours {
        let Some(of_hour) = hour.sums.calibration() else { continue };
        calibration.merge(of_hour);
        if calibration.rows() >= CALIBRATION_ROWS_MIN {
            calibration.fit();
            let (until_ms, distrust) = (hour.sums.cohort.end_ms, Distrust::default());
            return Some(Calibrated { calibration, until_ms, is_borrowed: false, distrust });
        }
    }
    None
}
