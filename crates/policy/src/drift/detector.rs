//! Watches many shares of one kind together, minute by minute, under one budget of false alarms.
//!
//! The evidence is the mean over all bins of all columns, so that the number of columns costs time
//! to detection and no promise. Which columns are to blame is decided as by Benjamini and Hochberg,
//! on the e-detectors of this minute (e-d-BH, arXiv 2501.04130).

use serde::{Deserialize, Serialize};

use super::bound::{THRESHOLD_MINUTES, upper_bound};
use super::calm::{Calm, Stretch};
use super::evidence::Evidence;
use super::reference::{Counts, Reference};
use super::season::{Season, Stage};
use super::share::Signal;

/// Columns that one detector watches at most; the others are left out by whoever makes it, and
/// counted. With ten bins each that is 1.9 MB a model.
pub const SERIES_MAX: usize = 256;
/// What is found is over after two such stretches.
const STRETCH: Stretch = Stretch { units_min: 15, rows_min: 500 };
/// The recent share is a mean with this weight for the last minute.
const RECENT_WEIGHT: f64 = 1.0 / 15.0;

/// Which of a column's counts are watched.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Watch {
    /// Its bins.
    Bins,
    /// Missing values.
    Missing,
    /// Categories that the reference has not.
    Unseen,
    /// Numbers outside the reference's.
    OutOfRange,
}

/// One column.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Series {
    /// Its name, or that of the slice.
    pub name: String,
    season: Season,
    evidence: Vec<Evidence>,
    recent: Vec<f64>,
    minutes: u64,
}

/// A column that is to blame.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Blamed {
    /// Its name.
    pub column: String,
    /// The bin with the most evidence; 0 if it is not bins that are watched.
    pub bin: usize,
    /// Its share of the last quarter of an hour or so.
    pub share: f64,
    /// What it should stay below at this hour.
    pub bound: f64,
    /// The column's own e-detector.
    pub value: f64,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
}

/// What is found.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Found {
    /// The e-detector: the mean over all bins and columns.
    pub value: f64,
    /// It is an alarm from here on.
    pub threshold: f64,
    /// How good the bounds are: while they are learned, this is a warning without a promise.
    pub stage: Stage,
    /// The columns, the surest first; never empty.
    pub blamed: Vec<Blamed>,
}

/// The detector of one kind for one model.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Detector {
    watch: Watch,
    threshold: f64,
    series: Vec<Series>,
    stage: Stage,
    /// The columns that were last to blame, while something is found.
    found: Option<Vec<usize>>,
    calm: Calm,
    minutes: u64,
    minutes_without_rows: u64,
}

impl Series {
    /// A column with its reference.
    pub fn new(name: &str, watch: Watch, reference: &Reference) -> Series {
        let (rows, present) = (reference.rows, reference.present());
        Series::with_bounds(
            name,
            match watch {
                Watch::Bins => reference.shares.iter().map(|s| upper_bound(*s, present)).collect(),
                Watch::Missing => vec![upper_bound(reference.missing_share, rows)],
                Watch::Unseen | Watch::OutOfRange => vec![upper_bound(0.0, present)],
            },
        )
    }

    fn with_bounds(name: &str, bounds: Vec<f64>) -> Series {
        Series {
            name: name.to_string(),
            evidence: vec![Evidence::default(); bounds.len()],
            recent: bounds.clone(),
            season: Season::new(bounds),
            minutes: 0,
        }
    }

    fn value(&self) -> f64 {
        let sum: f64 = self.evidence.iter().map(Evidence::value).sum();
        sum / self.evidence.len().max(1) as f64
    }

    fn blame(&self, at_ms: u64, bounds: &[f64]) -> Blamed {
        let by_value =
            |a: &usize, b: &usize| self.evidence[*a].value().total_cmp(&self.evidence[*b].value());
        let bin = (0..self.evidence.len()).max_by(by_value).unwrap_or(0);
        let since_ms = self.evidence.get(bin).and_then(Evidence::since_ms).unwrap_or(at_ms);
        Blamed {
            column: self.name.clone(),
            bin,
            share: self.recent.get(bin).copied().unwrap_or(0.0),
            bound: bounds.get(bin).copied().unwrap_or(0.0),
            value: self.value(),
            since_ms,
        }
    }
}

impl Detector {
    /// Watches this of these columns; those beyond [`SERIES_MAX`] are left out.
    pub fn new(watch: Watch, mut series: Vec<Series>) -> Detector {
        series.truncate(SERIES_MAX);
        Detector {
            watch,
            threshold: THRESHOLD_MINUTES,
            series,
            stage: Stage::Learning,
            found: None,
            calm: Calm::default(),
            minutes: 0,
            minutes_without_rows: 0,
        }
    }

    /// Takes in the minute that began at `at_ms`: the counts of each column, in the order in which
    /// they were given. A column without rows is skipped; so is a minute without any.
    pub fn minute(&mut self, at_ms: u64, counts: &[Counts]) -> Signal<Found> {
        let bins: usize = self.series.iter().map(|series| series.evidence.len()).sum();
        let cap = Evidence::cap(self.threshold, bins);
        let clean = self.found.is_none();
        let (mut rows, mut stage) = (0, self.stage);
        let mut excess = vec![];
        let found = self.found.as_deref().unwrap_or(&[]);
        for (index, (series, counts)) in self.series.iter_mut().zip(counts).enumerate() {
            let (whole, parts) = self.watch.of(counts);
            if whole == 0 || parts.len() != series.evidence.len() {
                continue;
            }
            rows = rows.max(whole);
            let is_blamed = found.contains(&index);
            let of_series = series.season.bounds(at_ms).1;
            stage = stage.max(of_series);
            if of_series > Stage::Learning || self.stage == Stage::Learning {
                series.update(at_ms, whole, parts, cap, |by| {
                    if is_blamed {
                        excess.push(by);
                    }
                });
            }
            let shares = parts.iter().map(|part| *part as f64 / whole as f64);
            series.season.learn(at_ms, shares, clean);
        }
        if rows == 0 {
            self.minutes_without_rows += 1;
            return Signal::NoData;
        }
        self.minutes += 1;
        self.judge(at_ms, rows, stage, excess)
    }

    fn judge(&mut self, at_ms: u64, rows: u64, stage: Stage, excess: Vec<f64>) -> Signal<Found> {
        if self.stage == Stage::Learning && stage > Stage::Learning {
            // What was found against the reference alone is no evidence under a promise.
            self.stage = stage;
            self.reset();
            return Signal::Quiet;
        }
        self.stage = stage;
        let value = self.value();
        match &self.found {
            None if value < self.threshold => return Signal::Quiet,
            // The blamed columns had no rows: nothing is known of them.
            Some(_) if !excess.is_empty() && self.calm.update(STRETCH, rows, excess) => {
                self.reset();
                return Signal::Quiet;
            }
            _ => {}
        }
        let blamed = match (value >= self.threshold, &self.found) {
            (false, Some(blamed)) => blamed.clone(),
            _ => self.to_blame(),
        };
        let blamed_before = self.found.as_ref();
        if blamed_before.is_some_and(|before| *before != blamed) {
            // A stretch is about the same columns from its beginning to its end.
            self.calm = Calm::default();
        }
        let of = |index: &usize| {
            let series = &self.series[*index];
            series.blame(at_ms, series.season.last_bounds())
        };
        let told = blamed.iter().map(of).collect();
        self.found = Some(blamed);
        Signal::Found(Found { value, threshold: self.threshold, stage, blamed: told })
    }

    /// The mean over all bins of all columns, each column with the same weight.
    pub fn value(&self) -> f64 {
        let sum: f64 = self.series.iter().map(Series::value).sum();
        sum / self.series.len().max(1) as f64
    }

    /// The largest k columns of which each has at least `columns · threshold / k`; the one with the
    /// most evidence at least.
    fn to_blame(&self) -> Vec<usize> {
        let mut order: Vec<(usize, f64)> =
            self.series.iter().map(Series::value).enumerate().collect();
        order.sort_by(|a, b| b.1.total_cmp(&a.1));
        let needed = self.series.len() as f64 * self.threshold;
        let enough = |k: &usize| order[k - 1].1 * *k as f64 >= needed;
        let k = (1..=order.len()).rev().find(enough).unwrap_or(1);
        order.iter().take(k).map(|(index, _)| *index).collect()
    }

    /// Forgets all evidence, and keeps what was learned of seasons.
    pub fn reset(&mut self) {
        for series in &mut self.series {
            series.evidence.fill(Evidence::default());
        }
        (self.found, self.calm) = Default::default();
    }

    /// Begins anew with other columns or references: after a release, or when a person accepts what
    /// was found.
    pub fn rebase(&mut self, series: Vec<Series>) {
        *self = Detector::new(self.watch, series);
    }

    /// How good the bounds are.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Minutes that had rows, and minutes that had none: these are counted, not taken for zero.
    pub fn minutes(&self) -> (u64, u64) {
        (self.minutes, self.minutes_without_rows)
    }
}

impl Series {
    fn update(
        &mut self,
        at_ms: u64,
        whole: u64,
        parts: &[u64],
        cap: f64,
        mut exceeds: impl FnMut(f64),
    ) {
        let weight = if self.minutes == 0 { 1.0 } else { RECENT_WEIGHT };
        let bounds = self.season.last_bounds();
        for (index, part) in parts.iter().enumerate() {
            let share = *part as f64 / whole as f64;
            self.evidence[index].update(at_ms, share, bounds[index], cap);
            exceeds(share - bounds[index]);
            self.recent[index] += (share - self.recent[index]) * weight;
        }
        self.minutes += 1;
    }
}

impl Watch {
    /// Of how many, and how many of them in each bin.
    fn of(self, counts: &Counts) -> (u64, &[u64]) {
        let one = std::slice::from_ref;
        match self {
            Watch::Bins => (counts.present(), &counts.bins),
            Watch::Missing => (counts.rows, one(&counts.missing)),
            Watch::Unseen => (counts.present(), one(&counts.unseen)),
            Watch::OutOfRange => (counts.present(), one(&counts.out_of_range)),
        }
    }
}
