//! One hour of predictions, summed up by environment and version.

use std::collections::{BTreeMap, HashSet};

use domain::outcome::{Outcome, OutcomesSeen};
use domain::quality::TruthKind;
use domain::{EnvironmentName, VersionNumber};
use policy::truth::{Compared, Sums};

use super::cohort::{HOUR_MS, HourOf, MATURE_SHARE};
use super::keys::{Keys, hash};
use super::learnt::Learnt;

/// Rows of an hour that an estimate is checked by.
const CHECKED_MAX: usize = 20_000;
/// The most keys of an hour that are told apart.
const KEYS_MAX: usize = 2_000_000;

/// A prediction with what is known of its truth.
#[derive(Clone, Copy, Debug)]
pub struct HourRow<'a> {
    /// Where it was asked.
    pub environment: &'a EnvironmentName,
    /// What answered.
    pub version: VersionNumber,
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// What the caller called it.
    pub key: Option<&'a str>,
    /// How many predictions it stands for.
    pub weight: f64,
    /// What was predicted.
    pub predicted: &'a Outcome,
    /// What is true, and since when, in milliseconds since 1970.
    pub truth: Option<(&'a Outcome, u64)>,
}

/// An hour as it is summed up.
#[derive(Debug)]
pub struct HourSums {
    /// Its begin, in milliseconds since 1970.
    pub hour_ms: u64,
    /// By environment and version.
    pub cohorts: Vec<HourOf>,
    /// The keys that it has.
    pub keys: Keys,
    /// What predictions look like, by environment.
    pub seen: BTreeMap<EnvironmentName, OutcomesSeen>,
    hashes: HashSet<u64>,
    /// Probability and truth of rows, for each cohort.
    checks: Vec<Vec<(f64, bool)>>,
}

impl HourSums {
    /// Nothing yet, of an hour that begins then, in milliseconds since 1970.
    pub fn new(hour_ms: u64) -> HourSums {
        HourSums {
            hour_ms,
            cohorts: vec![],
            keys: Keys::default(),
            seen: BTreeMap::new(),
            hashes: HashSet::new(),
            checks: vec![],
        }
    }

    fn place(&mut self, row: &HourRow<'_>) -> usize {
        let is_its = |of: &HourOf| of.version == row.version && of.environment == *row.environment;
        if let Some(at) = self.cohorts.iter().position(is_its) {
            return at;
        }
        self.cohorts.push(HourOf {
            environment: row.environment.clone(),
            version: row.version,
            sums: Sums::new(self.hour_ms, self.hour_ms + HOUR_MS),
            is_checked: false,
        });
        self.checks.push(vec![]);
        self.cohorts.len() - 1
    }

    /// Takes in a prediction; it counts for nothing if it is not known how to compare it.
    pub fn add(&mut self, learnt: &BTreeMap<EnvironmentName, Learnt>, row: &HourRow<'_>) {
        if let Some(key) = row.key
            && self.hashes.len() < KEYS_MAX
        {
            self.hashes.insert(hash(key));
        }
        match self.seen.get_mut(row.environment) {
            Some(seen) => seen.add(row.predicted),
            None => self.seen.entry(row.environment.clone()).or_default().add(row.predicted),
        }
        let Some((learnt, comparison)) = learnt
            .get(row.environment)
            .and_then(|learnt| Some((learnt, learnt.comparison.as_ref()?)))
        else {
            return;
        };
        let at = self.place(row);
        let calibration = learnt.calibration(row.version);
        let truth = row.truth.map(|(truth, at_ms)| (truth, at_ms.saturating_sub(row.time_ms)));
        let compared = Compared { predicted: row.predicted, truth, weight: row.weight };
        self.cohorts[at].sums.add(comparison, calibration, compared);
        if let (TruthKind::Score, Some(calibration), Some((truth, _))) =
            (comparison.kind, calibration, row.truth)
            && let (Some(score), Some(truth)) =
                (row.predicted.number(), comparison.is_positive(truth))
            && self.checks[at].len() < CHECKED_MAX
        {
            self.checks[at].push((calibration.probability(score), truth));
        }
    }

    /// Ends the hour: its truth is held against estimates, once it is known.
    pub fn finish(&mut self, learnt: &mut BTreeMap<EnvironmentName, Learnt>, known: &[HourOf]) {
        self.keys = Keys::of(&std::mem::take(&mut self.hashes));
        for (cohort, checks) in self.cohorts.iter_mut().zip(std::mem::take(&mut self.checks)) {
            let is_its = |other: &&HourOf| {
                other.environment == cohort.environment && other.version == cohort.version
            };
            cohort.is_checked = known.iter().find(is_its).is_some_and(|known| known.is_checked);
            let is_mature = cohort.sums.cohort.coverage() >= MATURE_SHARE;
            let Some(learnt) = learnt.get_mut(&cohort.environment) else { continue };
            if is_mature && !cohort.is_checked && !checks.is_empty() {
                cohort.is_checked = learnt.check(cohort.version, self.hour_ms, &checks);
            }
        }
        for (environment, seen) in &self.seen {
            if let Some(learnt) = learnt.get_mut(environment) {
                learnt.see(seen);
            }
        }
    }
}
