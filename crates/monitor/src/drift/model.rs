//! What is known of one model in an environment: what its version in charge is compared with, and
//! what is counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::alarm::Target;
use domain::{Placement, VersionNumber};
use policy::drift::{SERIES_MAX, Stage};
use protocol::ColumnView;
use serde::{Deserialize, Serialize};

use super::Baseline;
use super::feature::{Places, Watched};
use super::group::{Group, Of};
use super::learn::Learning;
use super::slicing::Slicing;
use super::status::{DriftGlance, ModelDrift};
use crate::columns::{Direction, Sealed};
use crate::health::Tell;

/// Another version is in charge when it had the most rows for so many minutes.
const CHALLENGES: u32 = 2;
/// Rows of so many versions are told apart in one minute.
const VERSIONS_MAX: usize = 64;

/// One model in an environment.
#[derive(Serialize, Deserialize)]
pub struct Model {
    in_charge: Placement,
    /// The file that inputs are compared with.
    file: Option<String>,
    inputs: Option<Group>,
    outputs: Option<Group>,
    /// Outputs by slice, once there is something to compare both inputs and outputs with.
    #[serde(default)]
    slicing: Option<Slicing>,
    learning: [Learning; 2],
    #[serde(skip)]
    is_asked_for: bool,
    #[serde(skip)]
    places: Option<[Places; 2]>,
    #[serde(skip)]
    rows: BTreeMap<VersionNumber, (u64, Arc<Placement>)>,
    #[serde(skip)]
    challenger: Option<(VersionNumber, u32)>,
    /// Whether there was anything since it was last saved.
    #[serde(skip)]
    is_dirty: bool,
}

impl Model {
    /// Nothing is known of it but that this version answers.
    pub fn new(in_charge: Placement) -> Model {
        Model {
            in_charge,
            file: None,
            inputs: None,
            outputs: None,
            slicing: None,
            learning: Default::default(),
            is_asked_for: false,
            places: None,
            rows: BTreeMap::new(),
            challenger: None,
            is_dirty: true,
        }
    }

    /// As it was saved. What it is compared with is known.
    pub fn restored(self) -> Model {
        Model { is_asked_for: true, ..self }
    }

    /// The version whose values are compared.
    pub fn in_charge(&self) -> &Placement {
        &self.in_charge
    }

    /// The version whose baseline is to be told; once.
    pub fn ask(&mut self) -> Option<Placement> {
        let is_asked_for = std::mem::replace(&mut self.is_asked_for, true);
        (!is_asked_for).then(|| self.in_charge.clone())
    }

    /// Whether there was anything since this was last called.
    pub fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.is_dirty)
    }

    /// There were rows of a version; whether their values are to be counted.
    pub fn had(&mut self, rows: u64, of: &Arc<Placement>) -> bool {
        if self.rows.len() < VERSIONS_MAX || self.rows.contains_key(&of.version) {
            self.rows.entry(of.version).or_insert((0, of.clone())).0 += rows;
        }
        of.version == self.in_charge.version
    }

    /// Counts the values of a request.
    pub fn count<'a>(
        &mut self,
        inputs: impl Iterator<Item = ColumnView<'a>>,
        outputs: impl Iterator<Item = ColumnView<'a>>,
    ) {
        let places = self.places.get_or_insert_with(|| {
            let of = |group: &Option<Group>| {
                Places::of(group.as_ref().map_or(&[], |group| group.watched()))
            };
            [of(&self.inputs), of(&self.outputs)]
        });
        let [of_inputs, of_outputs] = places;
        if let Some(group) = &mut self.inputs {
            self.slicing.iter_mut().for_each(Slicing::begin);
            for (at, view) in inputs.enumerate() {
                group.count(of_inputs, at, &view);
                self.slicing.iter_mut().for_each(|slicing| slicing.mark(at, &view));
            }
        }
        if let Some(group) = &mut self.outputs {
            for (at, view) in outputs.enumerate() {
                group.count(of_outputs, at, &view);
                self.slicing.iter_mut().for_each(|slicing| slicing.count(at, &view));
            }
        }
    }

    /// Takes in a minute of a column, if nothing says what is usual in it.
    pub fn learn(&mut self, minute: &Sealed) {
        let group = match minute.direction {
            Direction::In => &self.inputs,
            Direction::Out => &self.outputs,
        };
        let is_in_charge = self.in_charge.version == minute.placement.version;
        if group.is_none() && is_in_charge && self.is_asked_for {
            self.learning[minute.direction as usize].take(minute, SERIES_MAX);
        }
    }

    /// The minute that began at `at_ms` is over.
    pub fn minute(&mut self, at_ms: u64, target: &Target, now_ms: u64, tell: &dyn Tell) {
        let rows = std::mem::take(&mut self.rows);
        self.is_dirty |= !rows.is_empty();
        let most = rows.into_values().max_by_key(|(rows, placement)| (*rows, placement.version));
        let version = self.in_charge.version;
        for group in [&mut self.inputs, &mut self.outputs].into_iter().flatten() {
            group.minute(at_ms, target, version, now_ms, tell);
        }
        if let Some(slicing) = &mut self.slicing {
            slicing.minute(at_ms, target, version, now_ms, tell);
        }
        self.succeed(most.map(|(_, placement)| placement));
        for of in [Direction::In, Direction::Out] {
            let Some(watched) = self.learning[of as usize].finished(now_ms) else { continue };
            self.learning[of as usize] = Learning::default();
            self.watch(of, watched, target, now_ms, tell);
        }
        self.slice();
    }

    /// Another version may be in charge from now on; its baseline is asked for then.
    fn succeed(&mut self, most: Option<Arc<Placement>>) {
        let Some(most) = most else { return };
        if most.version == self.in_charge.version {
            self.challenger = None;
            return;
        }
        let before = self.challenger.filter(|(version, _)| *version == most.version);
        let times = before.map_or(1, |(_, times)| times + 1);
        self.challenger = Some((most.version, times));
        if times >= CHALLENGES {
            self.in_charge = (*most).clone();
            (self.challenger, self.is_asked_for) = (None, false);
        }
    }

    /// What the version in charge is compared with; where nothing says it, it is learned.
    pub fn compare(
        &mut self,
        baseline: Option<Baseline>,
        target: &Target,
        now_ms: u64,
        tell: &dyn Tell,
    ) {
        let Baseline { file, inputs, outputs } = baseline.unwrap_or_default();
        self.file = (!file.is_empty()).then_some(file);
        for (direction, watched) in [(Direction::In, inputs), (Direction::Out, outputs)] {
            let group = match direction {
                Direction::In => &self.inputs,
                Direction::Out => &self.outputs,
            };
            // The same reference goes on, with what was learned of the hours of the day.
            if group.as_ref().is_some_and(|group| group.watched() == watched) {
                continue;
            }
            self.learning[direction as usize] = Learning::default();
            self.watch(direction, watched, target, now_ms, tell);
        }
        self.slice();
    }

    /// Begins anew with these; with none, nothing is watched until it is learned.
    fn watch(
        &mut self,
        direction: Direction,
        watched: Vec<Watched>,
        target: &Target,
        now_ms: u64,
        tell: &dyn Tell,
    ) {
        let (group, of) = match direction {
            Direction::In => (&mut self.inputs, Of::Inputs),
            Direction::Out => (&mut self.outputs, Of::Outputs),
        };
        group.iter().for_each(|group| group.close(target, now_ms, tell));
        *group = (!watched.is_empty()).then(|| Group::new(of, watched));
        if let Some(slicing) = self.slicing.take() {
            slicing.group().into_iter().for_each(|group| group.close(target, now_ms, tell));
        }
        (self.places, self.is_dirty) = (None, true);
    }

    /// Chooses slices, once both inputs and outputs are compared with something.
    fn slice(&mut self) {
        if let (None, Some(inputs), Some(outputs)) = (&self.slicing, &self.inputs, &self.outputs) {
            self.slicing = Slicing::of(inputs.watched(), outputs.watched());
        }
    }

    fn groups(&self) -> impl Iterator<Item = &Group> {
        let slices = self.slicing.as_ref().and_then(Slicing::group);
        [self.inputs.as_ref(), self.outputs.as_ref(), slices].into_iter().flatten()
    }

    /// The alarms that it raised can be so no more.
    pub fn close(&self, target: &Target, now_ms: u64, tell: &dyn Tell) {
        self.groups().for_each(|group| group.close(target, now_ms, tell));
    }

    /// Takes what is found for usual from now on.
    pub fn forgive(&mut self) {
        [&mut self.inputs, &mut self.outputs].into_iter().flatten().for_each(Group::forgive);
        self.slicing.iter_mut().for_each(Slicing::forgive);
        self.is_dirty = true;
    }

    /// How its values compare now, in a word.
    pub fn glance(&self) -> DriftGlance {
        match self.groups().next() {
            None => DriftGlance::Learning,
            Some(_) if self.groups().any(Group::is_found) => DriftGlance::Changed,
            Some(_) => DriftGlance::Usual,
        }
    }

    /// How its values compare now.
    pub fn status(&self) -> ModelDrift {
        let slices = self.slicing.as_ref().map_or(0, Slicing::since_ms);
        let learning = self.learning.iter().map(Learning::since_ms).chain([slices]);
        let stage = self.groups().next().map_or(Stage::Learning, Group::stage);
        ModelDrift {
            version: self.in_charge.version.0,
            reference: self.file.clone(),
            learning_since_ms: learning.filter(|since| *since > 0).min(),
            stage: serde_json::to_value(stage)
                .ok()
                .and_then(|stage| stage.as_str().map(String::from))
                .unwrap_or_default(),
            series: self.groups().flat_map(Group::status).collect(),
        }
    }
}
