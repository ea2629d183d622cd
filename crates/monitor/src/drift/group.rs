//! The inputs or the outputs of one model that are watched together, with their detectors.

use std::collections::VecDeque;

use domain::alarm::{AlarmKind, Target};
use policy::drift::{
    Blamed, Counts, Detector, Found, Series, Signal, Stage, Watch, drift_finding, drift_numbers,
};
use protocol::ColumnView;
use serde::{Deserialize, Serialize};

use crate::columns::Direction;
use crate::drift::feature::{Feature, Places, Watched};
use crate::drift::status::{BinShare, SeriesDrift};
use crate::health::Tell;

const HOUR_MS: u64 = 3_600_000;
/// What people see is of the last hours, so many; if the clock is set back, of the last that had rows.
const HOURS: usize = 24;

/// Series, what was counted of them, and what watches the counts.
#[derive(Debug, Serialize, Deserialize)]
pub struct Group {
    watched: Vec<Watched>,
    detectors: Vec<Kinded>,
    /// Of the last day, by the hour that began at so many milliseconds since 1970.
    hours: VecDeque<(u64, Vec<Counts>)>,
    #[serde(skip)]
    minute: Vec<Counts>,
}

/// A detector of one kind.
#[derive(Debug, Serialize, Deserialize)]
struct Kinded {
    kind: AlarmKind,
    /// Of these series.
    of: Vec<usize>,
    detector: Detector,
    /// What it last said.
    found: Option<Found>,
}

/// What the series of a group are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Of {
    /// Columns that go in.
    Inputs,
    /// Columns that come out.
    Outputs,
    /// Columns that come out, of some rows each.
    Slices,
}

/// Whether a series is watched for something.
type IsOf = fn(&Watched) -> bool;

impl Group {
    /// Watches these.
    pub fn new(of: Of, watched: Vec<Watched>) -> Group {
        let all: IsOf = |_| true;
        let numeric: IsOf = Watched::is_numeric;
        let categories: IsOf = |series| !series.is_numeric();
        let kinds: &[(AlarmKind, Watch, IsOf)] = match of {
            Of::Inputs => &[
                (AlarmKind::Inputs, Watch::Bins, all),
                (AlarmKind::Missing, Watch::Missing, all),
                (AlarmKind::Unseen, Watch::Unseen, categories),
                (AlarmKind::OutOfRange, Watch::OutOfRange, numeric),
            ],
            Of::Outputs => &[(AlarmKind::Outputs, Watch::Bins, all)],
            Of::Slices => &[(AlarmKind::Slices, Watch::Bins, all)],
        };
        let detectors = kinds.iter().filter_map(|(kind, watch, is_of)| {
            let of: Vec<usize> =
                (0..watched.len()).filter(|index| is_of(&watched[*index])).collect();
            let series = of.iter().map(|index| {
                let watched = &watched[*index];
                Series::new(&watched.name(), *watch, &watched.reference)
            });
            let detector = Detector::new(*watch, series.collect());
            (!of.is_empty()).then_some(Kinded { kind: *kind, of, detector, found: None })
        });
        Group { detectors: detectors.collect(), watched, hours: VecDeque::new(), minute: vec![] }
    }

    /// The series.
    pub fn watched(&self) -> &[Watched] {
        &self.watched
    }

    /// The kinds of alarms that it may raise.
    pub fn kinds(&self) -> impl Iterator<Item = AlarmKind> {
        self.detectors.iter().map(|kinded| kinded.kind)
    }

    /// Counts the rows of a column.
    pub fn count(&mut self, places: &mut Places, position: usize, view: &ColumnView) {
        self.counts();
        places.count(position, view, &self.watched, &mut self.minute);
    }

    /// What was counted in the minute that runs, of each series.
    pub fn counts(&mut self) -> &mut [Counts] {
        if self.minute.len() != self.watched.len() {
            self.minute = self.watched.iter().map(|series| series.reference.counts()).collect();
        }
        &mut self.minute
    }

    /// The minute that began at `at_ms` is over.
    pub fn minute(
        &mut self,
        at_ms: u64,
        target: &Target,
        version: domain::VersionNumber,
        now_ms: u64,
        tell: &dyn Tell,
    ) {
        if self.minute.len() != self.watched.len() {
            return;
        }
        let hour_ms = at_ms - at_ms % HOUR_MS;
        match self.hours.back_mut().filter(|(begin_ms, _)| *begin_ms == hour_ms) {
            Some((_, counts)) => {
                counts.iter_mut().zip(&self.minute).for_each(|(sum, one)| sum.merge(one));
            }
            None => self.hours.push_back((hour_ms, self.minute.clone())),
        }
        // A machine that slept left hours out.
        let from_ms = hour_ms.saturating_sub((HOURS as u64 - 1) * HOUR_MS);
        let is_over = |hours: &VecDeque<(u64, _)>| {
            hours.len() > HOURS || hours.front().is_some_and(|(begin_ms, _)| *begin_ms < from_ms)
        };
        while is_over(&self.hours) {
            self.hours.pop_front();
        }
        let watched = &self.watched;
        for Kinded { kind, of, detector, found } in &mut self.detectors {
            let counts: Vec<Counts> = of.iter().map(|index| self.minute[*index].clone()).collect();
            let key = target.key(*kind);
            match detector.minute(at_ms, &counts) {
                Signal::NoData => {}
                Signal::Quiet => {
                    *found = None;
                    tell.quiet(&key, now_ms);
                }
                Signal::Found(is) => {
                    let bin_name = |blamed: &Blamed| {
                        let series = watched.iter().find(|series| series.name() == blamed.column);
                        series.map_or_else(String::new, |it| it.reference.bin_name(blamed.bin))
                    };
                    tell.raise(&key, drift_finding(&key, Some(version), &is, bin_name), now_ms);
                    *found = Some(is);
                }
            }
        }
        self.minute.iter_mut().for_each(Counts::clear);
    }

    /// The alarms that it raised can be so no more.
    pub fn close(&self, target: &Target, now_ms: u64, tell: &dyn Tell) {
        self.kinds().for_each(|kind| tell.close(&target.key(kind), now_ms));
    }

    /// Takes what is found for usual from now on.
    pub fn forgive(&mut self) {
        for Kinded { detector, found, .. } in &mut self.detectors {
            detector.reset();
            *found = None;
        }
    }

    /// Whether something is found.
    pub fn is_found(&self) -> bool {
        self.detectors.iter().any(|kinded| kinded.found.is_some())
    }

    /// How good the bounds are.
    pub fn stage(&self) -> Stage {
        self.detectors.first().map_or(Stage::Learning, |kinded| kinded.detector.stage())
    }

    /// Each series as people see it: its last day against the reference.
    pub fn status(&self) -> Vec<SeriesDrift> {
        (0..self.watched.len()).map(|index| self.of_series(index)).collect()
    }

    fn direction(&self) -> Direction {
        match self.kinds().next() {
            Some(AlarmKind::Outputs | AlarmKind::Slices) => Direction::Out,
            _ => Direction::In,
        }
    }

    fn of_series(&self, index: usize) -> SeriesDrift {
        let series = &self.watched[index];
        let mut now = series.reference.counts();
        let hours = self.hours.iter().filter_map(|(_, counts)| counts.get(index));
        hours.for_each(|counts| now.merge(counts));
        let name = series.name();
        let blamed = |kinded: &Kinded| {
            let found = kinded.found.as_ref()?;
            let blamed = found.blamed.iter().find(|blamed| blamed.column == name)?;
            Some((kinded.kind, blamed.clone(), found.threshold))
        };
        let found: Vec<_> = self.detectors.iter().filter_map(blamed).collect();
        let present = now.present().max(1) as f64;
        let bins = series.reference.shares.iter().enumerate().map(|(bin, share)| BinShare {
            bin: series.reference.bin_name(bin),
            reference: *share,
            now: now.bins.get(bin).copied().unwrap_or(0) as f64 / present,
        });
        let has_sketch =
            matches!(series.feature, Feature::Value | Feature::Characters | Feature::Norm);
        SeriesDrift {
            column: series.column.clone(),
            name,
            direction: self.direction().as_str().into(),
            slice: series.slice.as_ref().map(|slice| slice.to_string()),
            rows: now.rows,
            reference_rows: series.reference.rows,
            missing: now.missing as f64 / now.rows.max(1) as f64,
            reference_missing: series.reference.missing_share,
            unseen: (!series.is_numeric()).then(|| now.unseen as f64 / present),
            out_of_range: series.is_numeric().then(|| now.out_of_range as f64 / present),
            since_ms: found.iter().map(|(_, blamed, _)| blamed.since_ms).min(),
            changed: found.iter().map(|(kind, ..)| *kind).collect(),
            evidence: found.iter().map(|(_, blamed, _)| blamed.value).reduce(f64::max),
            threshold: found.first().map(|(.., threshold)| *threshold),
            numbers: drift_numbers(&series.reference, &now),
            quantiles: if has_sketch { series.quantiles.clone() } else { vec![] },
            bins: bins.collect(),
        }
    }
}
