//! Watches what comes into models and what goes out. It sees every record, kept or not: each column
//! goes into sketches by the minute, and what has a reference is counted in its bins, which
//! detectors look at once a minute.
//!
//! Of a model in an environment the version with the most rows is in charge; the rows of others,
//! such as a canary's, are in the sketches and not in the detectors.

mod feature;
mod group;
mod learn;
mod model;
mod slicing;
mod status;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use domain::alarm::Target;
use domain::{Placement, Schema};
use parking_lot::Mutex;
use protocol::ColumnView;
use protocol::record::{Definition, RecordIn};

pub use feature::{Feature, Watched};
pub use model::Model;
pub use status::{BinShare, DriftGlance, ModelDrift, SeriesDrift};

use crate::columns::{Columns, Direction, Limits, MINUTE_MS, NotWatched, Sealed};
use crate::health::Tell;

/// Models in environments whose drift is watched at most; the sketches have limits of their own.
const MODELS_MAX: usize = 500;

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
            inner.models.insert(target, model.restored());
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
        self.inner.lock().models.values_mut().filter_map(Model::ask).collect()
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
        if model.in_charge().is_same_version(placement) {
            model.compare(baseline, &target, now_ms, tell);
        }
    }

    /// How the values of a model compare now.
    pub fn status(&self, target: &Target) -> Option<ModelDrift> {
        self.inner.lock().models.get(target).map(Model::status)
    }

    /// The same in a word.
    pub fn glance(&self, target: &Target) -> Option<DriftGlance> {
        self.inner.lock().models.get(target).map(Model::glance)
    }

    /// Takes what is found of a model for usual from now on.
    pub fn forgive(&self, target: &Target) -> bool {
        let mut inner = self.inner.lock();
        let Some(model) = inner.models.get_mut(target) else { return false };
        model.forgive();
        true
    }

    /// Each model that has changed since this was last called, as `save` makes bytes of it.
    pub fn changed<T>(&self, save: impl Fn(&Target, &Model) -> T) -> Vec<T> {
        let mut inner = self.inner.lock();
        let models = inner.models.iter_mut();
        models
            .filter_map(|(target, model)| model.take_dirty().then(|| save(target, model)))
            .collect()
    }

    /// Forgets models that are no more, with their alarms.
    pub fn retain(&self, exists: impl Fn(&Target) -> bool, now_ms: u64, tell: &dyn Tell) {
        self.inner.lock().models.retain(|target, model| {
            let stays = exists(target);
            if !stays {
                model.close(target, now_ms, tell);
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
        if model.had(u64::from(record.head.rows), &placement) {
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
            model.learn(minute);
        }
    }
}
