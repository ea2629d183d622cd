//! Watches what comes into models and what goes out. It sees every record, kept or not: each column
//! goes into sketches by the minute, and what has a reference is counted in its bins, which
//! detectors look at once a minute.
//!
//! Of a model in an environment the version with the most rows is in charge; the rows of others,
//! such as a canary's, are in the sketches and not in the detectors.

mod feature;
mod group;
mod learn;
mod status;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use domain::alarm::Target;
use domain::{Placement, Schema, VersionNumber};
use parking_lot::Mutex;
use policy::drift::SERIES_MAX;
use protocol::ColumnView;
use protocol::record::{Definition, RecordIn};
use serde::{Deserialize, Serialize};

pub use feature::{Feature, Watched};
pub use status::{BinShare, ModelDrift, SeriesDrift};

use crate::columns::{Columns, Direction, Limits, MINUTE_MS, NotWatched, Sealed};
use crate::health::Tell;
use feature::Places;
use group::Group;
use learn::Learning;

/// Models in environments whose drift is watched at most; the sketches have limits of their own.
const MODELS_MAX: usize = 500;
/// Another version is in charge when it had the most rows for so many minutes.
const CHALLENGES: u32 = 2;
/// Rows of so many versions are told apart in one minute.
const VERSIONS_MAX: usize = 64;

/// What a version's values are compared with.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Baseline {
    /// The file that it is from.
    pub file: String,
    /// Of inputs.
    pub inputs: Vec<Watched>,
    /// Of outputs; empty as a rule, because a file of training data has none.
    pub outputs: Vec<Watched>,
}

/// Watches all models.
pub struct Drift {
    inner: Mutex<Inner>,
}

struct Inner {
    columns: Columns,
    /// What the last record was of, so that no name is looked at for each.
    last: Option<Last>,
    placements: HashMap<Placement, Arc<Placement>>,
    /// The columns whose texts the schema names. Other texts may be what somebody is known by, and
    /// are in nothing that is kept.
    named: HashMap<Arc<Placement>, Vec<String>>,
    models: HashMap<Target, Model>,
    minute_ms: u64,
    /// The minute of the first row since a minute was last over: not that of the last tick, if the
    /// machine slept in between.
    first_ms: Option<u64>,
}

#[derive(Clone)]
struct Last {
    definition: Arc<Definition>,
    placement: Arc<Placement>,
    target: Arc<Target>,
}

/// One model in an environment.
#[derive(Serialize, Deserialize)]
pub struct Model {
    in_charge: Placement,
    /// The file that inputs are compared with.
    file: Option<String>,
    inputs: Option<Group>,
    outputs: Option<Group>,
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

impl Drift {
    /// Nothing yet, within these limits of columns.
    pub fn new(limits: Limits) -> Drift {
        Drift {
            inner: Mutex::new(Inner {
                columns: Columns::new(limits),
                last: None,
                placements: HashMap::new(),
                named: HashMap::new(),
                models: HashMap::new(),
                minute_ms: 0,
                first_ms: None,
            }),
        }
    }

    /// Goes on with what was saved of a model.
    pub fn restore(&self, target: Target, model: Model) {
        let mut inner = self.inner.lock();
        if inner.models.len() < MODELS_MAX {
            inner.models.insert(target, Model { is_asked_for: true, ..model });
        }
    }

    /// Takes in a record.
    pub fn take(&self, definition: &Arc<Definition>, record: &RecordIn, now_ms: u64) {
        if record.head.is_copy || record.head.status != 200 {
            return;
        }
        self.inner.lock().take(definition, record, now_ms);
    }

    /// What is over: the minutes of all columns; detectors say what they find. To be called once a
    /// second.
    pub fn tick(&self, now_ms: u64, tell: &dyn Tell) -> Vec<Sealed> {
        let mut inner = self.inner.lock();
        let sealed = inner.columns.seal(now_ms);
        let sealed = inner.kept(sealed);
        inner.learn(&sealed);
        let minute_ms = now_ms - now_ms % MINUTE_MS;
        let over_ms = std::mem::replace(&mut inner.minute_ms, minute_ms);
        if over_ms != minute_ms && over_ms != 0 {
            let over_ms = inner.first_ms.take().unwrap_or(over_ms);
            for (target, model) in &mut inner.models {
                model.minute(over_ms, target, now_ms, tell);
            }
        }
        sealed
    }

    /// Copies what the minute that runs has so far of columns, where there is more than at the last
    /// snapshot.
    pub fn snapshot(&self) -> Vec<Sealed> {
        let mut inner = self.inner.lock();
        let snapshot = inner.columns.snapshot();
        inner.kept(snapshot)
    }

    /// Gives the minutes of all columns, that which runs too: before the end.
    pub fn close(&self) -> Vec<Sealed> {
        let mut inner = self.inner.lock();
        let all = inner.columns.close();
        inner.kept(all)
    }

    /// The versions whose baseline is to be told by [`Drift::compare`]; each is named once.
    pub fn without_baseline(&self) -> Vec<Placement> {
        let mut inner = self.inner.lock();
        let asked = inner.models.values_mut().filter(|model| !model.is_asked_for);
        asked
            .map(|model| {
                model.is_asked_for = true;
                model.in_charge.clone()
            })
            .collect()
    }

    /// What a version is compared with; `None` if nothing says it, so that it is learned.
    pub fn compare(
        &self,
        placement: &Placement,
        baseline: Option<Baseline>,
        now_ms: u64,
        tell: &dyn Tell,
    ) {
        let target = Target::of(placement);
        let mut inner = self.inner.lock();
        let Some(model) = inner.models.get_mut(&target) else { return };
        if model.in_charge.is_same_version(placement) {
            model.compare(baseline, &target, now_ms, tell);
        }
    }

    /// How the values of a model compare now.
    pub fn status(&self, target: &Target) -> Option<ModelDrift> {
        self.inner.lock().models.get(target).map(Model::status)
    }

    /// Takes what is found of a model for usual from now on.
    pub fn forgive(&self, target: &Target) -> bool {
        let mut inner = self.inner.lock();
        let Some(model) = inner.models.get_mut(target) else { return false };
        [&mut model.inputs, &mut model.outputs].into_iter().flatten().for_each(Group::forgive);
        model.is_dirty = true;
        true
    }

    /// Each model that has changed since this was last called, as `save` makes bytes of it.
    pub fn changed<T>(&self, save: impl Fn(&Target, &Model) -> T) -> Vec<T> {
        let mut inner = self.inner.lock();
        let changed = inner.models.iter_mut().filter(|(_, model)| model.is_dirty);
        changed
            .map(|(target, model)| {
                model.is_dirty = false;
                save(target, model)
            })
            .collect()
    }

    /// Forgets models that are no more, with their alarms.
    pub fn retain(&self, exists: impl Fn(&Target) -> bool, now_ms: u64, tell: &dyn Tell) {
        self.inner.lock().models.retain(|target, model| {
            let stays = exists(target);
            if !stays {
                let groups = [&model.inputs, &model.outputs];
                groups.into_iter().flatten().for_each(|group| group.close(target, now_ms, tell));
            }
            stays
        });
    }

    /// Values that found no room in the sketches since the start.
    pub fn not_watched(&self) -> NotWatched {
        self.inner.lock().columns.not_watched()
    }
}

/// The columns of a record, inputs and outputs.
fn views<'a>(
    definition: &'a Definition,
    record: &'a RecordIn<'a>,
) -> (impl Iterator<Item = ColumnView<'a>>, impl Iterator<Item = ColumnView<'a>>) {
    let rows = record.head.rows as usize;
    // What a key is, is nobody's distribution, and must be erased without a trace.
    let is_key = |name: &String| definition.key.as_ref() == Some(name);
    let inputs = definition.schema.inputs.iter().zip(&record.inputs);
    let inputs =
        inputs.filter(move |(column, _)| !is_key(&column.name)).map(move |(column, values)| {
            let (name, datatype) = (column.name.as_str(), column.datatype);
            let (shape, data, valid) = (values.shape.as_slice(), values.data, values.valid);
            ColumnView { name, datatype, shape, data, valid, rows }
        });
    let outputs = record.outputs.iter().filter_map(|values| {
        let (rows, shape) = values.shape.split_first().map_or((1, &[][..]), |(n, row)| (*n, row));
        let (data, valid, datatype) = (values.data, values.valid, values.datatype?);
        Some(ColumnView { name: values.name, datatype, shape, data, valid, rows })
    });
    (inputs, outputs)
}

impl Inner {
    fn take(&mut self, definition: &Arc<Definition>, record: &RecordIn, now_ms: u64) {
        let is_last = |last: &&Last| Arc::ptr_eq(&last.definition, definition);
        let Last { placement, target, .. } = match self.last.as_ref().filter(is_last) {
            Some(last) => last.clone(),
            None => {
                let placement = self.placement(&definition.placement);
                let target = Arc::new(Target::of(&placement));
                self.name(definition, &placement);
                let last = Last { definition: definition.clone(), placement, target };
                self.last.insert(last).clone()
            }
        };
        let (inputs, outputs) = views(definition, record);
        self.columns.take(&placement, Direction::In, inputs, now_ms);
        self.columns.take(&placement, Direction::Out, outputs, now_ms);
        if !self.models.contains_key(&*target) {
            if self.models.len() >= MODELS_MAX {
                return;
            }
            self.models.insert((*target).clone(), Model::new((*placement).clone()));
        }
        let Some(model) = self.models.get_mut(&*target) else { return };
        let rows = u64::from(record.head.rows);
        if model.rows.len() < VERSIONS_MAX || model.rows.contains_key(&placement.version) {
            model.rows.entry(placement.version).or_insert((0, placement.clone())).0 += rows;
        }
        if placement.version == model.in_charge.version {
            let (inputs, outputs) = views(definition, record);
            model.count(inputs, outputs);
            self.first_ms.get_or_insert(now_ms - now_ms % MINUTE_MS);
        }
    }

    fn placement(&mut self, placement: &Placement) -> Arc<Placement> {
        if let Some(known) = self.placements.get(placement) {
            return known.clone();
        }
        if self.placements.len() >= 4 * MODELS_MAX {
            self.placements.clear();
        }
        let shared = Arc::new(placement.clone());
        self.placements.insert(placement.clone(), shared.clone());
        shared
    }

    fn name(&mut self, definition: &Definition, placement: &Arc<Placement>) {
        if self.named.len() >= 4 * MODELS_MAX {
            self.named.clear();
            self.last = None;
        }
        let Schema { inputs, outputs, .. } = &definition.schema;
        let named = inputs.iter().chain(outputs).filter(|column| !column.categories.is_empty());
        self.named.insert(placement.clone(), named.map(|column| column.name.clone()).collect());
    }

    /// What may be kept of these minutes.
    fn kept(&self, mut sealed: Vec<Sealed>) -> Vec<Sealed> {
        for minute in &mut sealed {
            let named = self.named.get(&minute.placement);
            if !named.is_some_and(|named| named.iter().any(|name| **name == *minute.column)) {
                minute.sketch.forget_texts();
            }
        }
        sealed
    }

    fn learn(&mut self, sealed: &[Sealed]) {
        for minute in sealed {
            let Some(model) = self.models.get_mut(&Target::of(&minute.placement)) else { continue };
            let group = match minute.direction {
                Direction::In => &model.inputs,
                Direction::Out => &model.outputs,
            };
            let is_in_charge = model.in_charge.version == minute.placement.version;
            if group.is_none() && is_in_charge && model.is_asked_for {
                model.learning[minute.direction as usize].take(minute, SERIES_MAX);
            }
        }
    }
}

impl Model {
    fn new(in_charge: Placement) -> Model {
        Model {
            in_charge,
            file: None,
            inputs: None,
            outputs: None,
            learning: Default::default(),
            is_asked_for: false,
            places: None,
            rows: BTreeMap::new(),
            challenger: None,
            is_dirty: true,
        }
    }

    fn count<'a>(
        &mut self,
        inputs: impl Iterator<Item = ColumnView<'a>>,
        outputs: impl Iterator<Item = ColumnView<'a>>,
    ) {
        let places = self.places.get_or_insert_with(|| {
            let series = |group: &Option<Group>| {
                group.as_ref().map_or_else(Vec::new, |group| group.watched().to_vec())
            };
            [Places::of(&series(&self.inputs)), Places::of(&series(&self.outputs))]
        });
        let [of_inputs, of_outputs] = places;
        if let Some(group) = &mut self.inputs {
            inputs.enumerate().for_each(|(at, view)| group.count(of_inputs, at, &view));
        }
        if let Some(group) = &mut self.outputs {
            outputs.enumerate().for_each(|(at, view)| group.count(of_outputs, at, &view));
        }
    }

    fn minute(&mut self, at_ms: u64, target: &Target, now_ms: u64, tell: &dyn Tell) {
        let rows = std::mem::take(&mut self.rows);
        self.is_dirty |= !rows.is_empty();
        let most = rows.into_values().max_by_key(|(rows, placement)| (*rows, placement.version));
        let version = self.in_charge.version;
        for group in [&mut self.inputs, &mut self.outputs].into_iter().flatten() {
            group.minute(at_ms, target, version, now_ms, tell);
        }
        self.succeed(most.map(|(_, placement)| placement));
        for (direction, learning) in
            [Direction::In, Direction::Out].into_iter().zip(&mut self.learning)
        {
            let Some(watched) = learning.finished(now_ms) else { continue };
            let group = Group::new(direction, watched);
            match direction {
                Direction::In => self.inputs = Some(group),
                Direction::Out => self.outputs = Some(group),
            }
            (*learning, self.places) = (Learning::default(), None);
        }
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

    fn compare(
        &mut self,
        baseline: Option<Baseline>,
        target: &Target,
        now_ms: u64,
        tell: &dyn Tell,
    ) {
        let Baseline { file, inputs, outputs } = baseline.unwrap_or_default();
        self.file = (!file.is_empty()).then_some(file);
        for (group, watched, direction) in [
            (&mut self.inputs, inputs, Direction::In),
            (&mut self.outputs, outputs, Direction::Out),
        ] {
            // The same reference goes on, with what was learned of the hours of the day.
            if group.as_ref().is_some_and(|group| group.watched() == watched) {
                continue;
            }
            group.iter().for_each(|group| group.close(target, now_ms, tell));
            *group = (!watched.is_empty()).then(|| Group::new(direction, watched));
            self.learning[direction as usize] = Learning::default();
        }
        (self.places, self.is_dirty) = (None, true);
    }

    fn status(&self) -> ModelDrift {
        let groups = [(&self.inputs, Direction::In), (&self.outputs, Direction::Out)];
        let series = groups
            .iter()
            .filter_map(|(group, direction)| group.as_ref().map(|group| group.status(*direction)));
        let learning = self.learning.iter().map(Learning::since_ms).filter(|since| *since > 0);
        let first = self.inputs.as_ref().or(self.outputs.as_ref());
        let stage = first.map_or(policy::drift::Stage::Learning, Group::stage);
        ModelDrift {
            version: self.in_charge.version.0,
            reference: self.file.clone(),
            learning_since_ms: learning.min(),
            stage: serde_json::to_value(stage)
                .ok()
                .and_then(|stage| stage.as_str().map(String::from))
                .unwrap_or_default(),
            series: series.flatten().collect(),
        }
    }
}
