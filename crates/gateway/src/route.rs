//! From a reference to a placement, by a snapshot that is swapped whole. A request keeps the snapshot it began with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use domain::reference::{Reference, Selector};
use domain::route::{Demand, KnownVersion, ModelRoutes, Observation, PlacementRoute, RouteTable};
use domain::scale::LoadSample;
use domain::{Code, EnvironmentName, LatencyHistogram, ModelKey, Placement, Problem, ReplicaId, Schema, VersionNumber};
use http::HeaderValue;
use imbl::ordmap::DiffItem;
use imbl::{HashMap, OrdMap};
use parking_lot::Mutex;
use tokio::sync::mpsc::error::TrySendError;

use crate::Shared;
use crate::dispatch;
use crate::heavy::Heavy;
use crate::load::LoadMeter;
use crate::memory::Budget;
use crate::queue::{Limits, Queue};
use crate::replica::Replica;
use crate::shadow::Copies;
use crate::split::{Split, Target};

/// One placement in the data plane: its queue and its replicas. It outlives route tables that agree on it.
pub struct Lane {
    /// Which.
    pub placement: Arc<Placement>,
    /// What requests must fit.
    pub schema: Schema,
    /// The most rows of a batch.
    pub rows_max: usize,
    /// The longest a batch may run.
    pub predict_ms_max: u64,
    /// Requests that wait.
    pub queue: Queue,
    /// `v3`, as a header.
    pub version_header: HeaderValue,
    /// Requests that wait or run.
    pub load: Arc<LoadMeter>,
    /// Copies of other placements' requests that wait or run.
    pub copies: Copies,
    /// Bytes of its requests in flight.
    pub memory: Arc<Budget>,
    replicas: Mutex<BTreeMap<ReplicaId, Arc<Replica>>>,
    /// Why it has no replica, if the last start failed.
    failure: Mutex<Option<Problem>>,
    /// Whether the control plane knows that requests wait and nothing runs.
    told: AtomicBool,
    /// Whether it has no replica because nobody asked.
    asleep: AtomicBool,
    deadline_ms: AtomicU64,
}

impl Lane {
    fn new(route: PlacementRoute, memory: &Budget) -> Lane {
        let mix = route.mix && !route.schema.streams && !route.schema.is_row_by_row();
        let limits = Limits {
            rows_max: route.rows_max as usize,
            queue_rows_max: route.queue_rows_max as usize,
            queue_bytes_max: memory.lane_max(),
            mix,
        };
        let version = route.placement.version.to_string();
        Lane {
            placement: Arc::new(route.placement),
            rows_max: route.rows_max as usize,
            predict_ms_max: route.predict_ms_max,
            schema: route.schema,
            queue: Queue::new(limits),
            version_header: HeaderValue::try_from(version).unwrap_or(HeaderValue::from_static("v0")),
            load: LoadMeter::new(),
            copies: Copies::new(0),
            memory: memory.of_lane(),
            replicas: Mutex::new(BTreeMap::new()),
            failure: Mutex::new(None),
            told: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            deadline_ms: AtomicU64::new(0),
        }
    }

    /// The deadline of a request that names none, in milliseconds.
    pub fn deadline_ms(&self) -> u64 {
        self.deadline_ms.load(Ordering::Relaxed)
    }

    /// Whether it answers: at once, or after it has been woken.
    pub fn answers(&self) -> bool {
        self.asleep.load(Ordering::Relaxed) || self.is_ready()
    }

    /// Whether it can answer at once.
    pub fn is_ready(&self) -> bool {
        self.replicas.lock().values().any(|replica| replica.is_used())
    }

    /// The load at this moment.
    pub fn demand(&self) -> Demand {
        let replicas = self.replicas.lock();
        let in_flight: BTreeMap<_, _> = replicas.values().map(|replica| (replica.id.clone(), replica.in_flight())).collect();
        drop(replicas);
        let reading = self.load.read();
        let waiting = self.queue.waiting();
        let load = LoadSample {
            now_ms: 0,
            in_system_request_ms: reading.spent_us as f64 / 1_000.0,
            arrived: reading.arrived,
            queued: (waiting.requests as u64).min(reading.requests),
            in_flight: reading.requests.saturating_sub(waiting.requests as u64),
            rows_per_request: reading.rows as f64 / reading.arrived.max(1) as f64,
            service: waiting.service,
        };
        Demand { placement: (*self.placement).clone(), queued_rows: waiting.rows as u64, in_flight, load }
    }

    /// How old the requests are that wait or run.
    pub fn ages(&self) -> LatencyHistogram {
        let mut ages = LatencyHistogram::default();
        self.queue.ages(&mut ages);
        self.replicas.lock().values().for_each(|replica| replica.ages(&mut ages));
        ages
    }

    /// Tells the control plane, once, that a request waits where nothing runs.
    pub fn wake(&self, shared: &Shared) {
        if !self.told.swap(true, Ordering::AcqRel) {
            let waiting = Observation::Waiting { placement: (*self.placement).clone() };
            if let Err(TrySendError::Full(waiting)) = shared.observations.try_send(waiting) {
                // It is behind, and is told but once.
                let observations = shared.observations.clone();
                tokio::spawn(async move { observations.send(waiting).await });
            }
        }
    }

    /// Forgets a replica whose last slot has ended; one of the same name that came back meanwhile stays.
    pub fn forget(&self, replica: &Arc<Replica>) {
        let mut replicas = self.replicas.lock();
        if replicas.get(&replica.id).is_some_and(|known| Arc::ptr_eq(known, replica)) {
            replicas.remove(&replica.id);
        }
    }

    /// Starts using new replicas and returns those that the table lacks.
    fn follow(self: &Arc<Lane>, wanted: &PlacementRoute, shared: &Arc<Shared>, heavy: &Heavy) {
        self.asleep.store(wanted.asleep, Ordering::Relaxed);
        self.deadline_ms.store(wanted.deadline_ms, Ordering::Relaxed);
        let mut replicas = self.replicas.lock();
        for route in &wanted.replicas {
            // One that is on its way out and comes back is used anew; what it does yet, it does beside that.
            if !replicas.get(&route.replica).is_some_and(|known| known.is_wanted()) {
                let replica = Arc::new(Replica::new(&self.placement, route));
                replicas.insert(route.replica.clone(), replica.clone());
                self.told.store(false, Ordering::Release);
                dispatch::start(self, replica, route, shared, heavy);
            }
        }
        let gone = replicas.values().filter(|replica| !wanted.replicas.iter().any(|route| route.replica == replica.id));
        gone.for_each(|replica| replica.drain());
        drop(replicas);
        self.queue.wake_all();
        self.fail(wanted);
    }

    /// Tells those who wait that the start which they waited for has failed.
    fn fail(&self, wanted: &PlacementRoute) {
        let failed = wanted.failed.as_ref().filter(|_| !self.is_ready());
        let failed = failed.map(|problem| Problem { code: Code::LoadFailed, ..problem.clone() });
        if let Some(problem) = &failed {
            self.told.store(false, Ordering::Release);
            self.queue.fail_all(problem);
        }
        *self.failure.lock() = failed;
    }

    /// Why it has no replica, if the last start failed.
    pub fn failure(&self) -> Option<Problem> {
        self.failure.lock().clone()
    }

    /// The placement is out of the table: what waits is answered, then all replicas are returned.
    fn retire(&self) {
        self.replicas.lock().values().for_each(|replica| replica.drain());
        self.queue.retire();
    }
}

/// Keeps a placement in use as long as a snapshot has it; then its last requests are answered and its replicas returned.
struct Tenure(Arc<Lane>);

impl Drop for Tenure {
    fn drop(&mut self) {
        self.0.retire();
    }
}

/// What there is of one model.
struct Served {
    routes: Arc<ModelRoutes>,
    lanes: BTreeMap<Placement, Arc<Tenure>>,
    live: BTreeMap<EnvironmentName, Arc<Target>>,
}

impl Served {
    /// Of newer routes; lanes that both have go on.
    fn next(before: Option<&Served>, routes: &Arc<ModelRoutes>, shared: &Arc<Shared>, heavy: &Heavy) -> Served {
        let mut next = Served { routes: routes.clone(), lanes: BTreeMap::new(), live: BTreeMap::new() };
        for route in &routes.placements {
            let known = before.and_then(|before| before.lanes.get(&route.placement)).cloned();
            let tenure = known.unwrap_or_else(|| Arc::new(Tenure(Arc::new(Lane::new(route.clone(), &shared.memory)))));
            tenure.0.follow(route, shared, heavy);
            next.lanes.insert(route.placement.clone(), tenure);
        }
        for route in &routes.routes {
            let Some(lane) = next.lane_of(&route.environment, route.version) else { continue };
            let split = route.candidate.as_ref().and_then(|candidate| {
                let lane = next.lane_of(&route.environment, candidate.version)?;
                Some(Split::new(lane.clone(), candidate))
            });
            let target = Arc::new(Target { lane: lane.clone(), split });
            next.live.insert(route.environment.clone(), target);
        }
        next
    }

    /// The placement of a version. While variables change, two revisions of it run; of those that are ready, the later.
    fn lane_of(&self, environment: &EnvironmentName, version: VersionNumber) -> Option<&Arc<Lane>> {
        let lanes = self.lanes.values().map(|tenure| &tenure.0);
        let own = lanes.filter(|lane| lane.placement.environment == *environment && lane.placement.version == version);
        own.max_by_key(|lane| (lane.is_ready(), lane.placement.revision))
    }
}

/// All routes at one epoch. Snapshots share what is the same in both: the next costs what has changed.
#[derive(Clone, Default)]
pub struct Snapshot {
    /// Of the table it came from.
    pub epoch: u64,
    /// References as they are mostly written.
    by_text: HashMap<String, Arc<Target>>,
    models: OrdMap<ModelKey, Arc<Served>>,
    /// What it was made of.
    table: OrdMap<ModelKey, Arc<ModelRoutes>>,
}

impl Snapshot {
    /// The snapshot of a newer table; lanes that both have go on.
    pub fn next(current: &Snapshot, table: RouteTable, shared: &Arc<Shared>, heavy: &Heavy) -> Snapshot {
        let mut next = Snapshot { epoch: table.epoch, table: table.models.clone(), ..current.clone() };
        for change in current.table.diff(&table.models) {
            let (key, routes) = match change {
                DiffItem::Add(key, routes) | DiffItem::Update { new: (key, routes), .. } => (key, Some(routes)),
                DiffItem::Remove(key, _) => (key, None),
            };
            let before = current.models.get(key).map(AsRef::as_ref);
            let served = routes.map(|routes| Arc::new(Served::next(before, routes, shared, heavy)));
            next.set(key, served);
        }
        next
    }

    fn set(&mut self, key: &ModelKey, served: Option<Arc<Served>>) {
        let target = served.as_ref().and_then(|served| served.live.get(&EnvironmentName::default()));
        for text in [Reference::live(key.clone()).to_string(), key.to_string()] {
            match target {
                Some(target) => self.by_text.insert(text, target.clone()),
                None => self.by_text.remove(&text),
            };
        }
        match served {
            Some(served) => self.models.insert(key.clone(), served),
            None => self.models.remove(key),
        };
    }

    /// All placements.
    pub fn lanes(&self) -> impl Iterator<Item = &Arc<Lane>> {
        self.models.values().flat_map(|served| served.lanes.values()).map(|tenure| &tenure.0)
    }

    /// One placement.
    pub fn lane(&self, placement: &Placement) -> Option<&Arc<Lane>> {
        self.models.get(&placement.model)?.lanes.get(placement).map(|tenure| &tenure.0)
    }

    /// All versions of a model that are known.
    pub fn versions(&self, model: &ModelKey) -> &[KnownVersion] {
        self.models.get(model).map(|served| served.routes.versions.as_slice()).unwrap_or_default()
    }

    /// What a reference, as written in a URL, leads to.
    pub fn route(&self, text: &str) -> Result<Arc<Target>, Problem> {
        if let Some(target) = self.by_text.get(text) {
            return Ok(target.clone());
        }
        let reference: Reference = text
            .parse()
            .map_err(|error: domain::reference::ReferenceError| Problem::new(Code::BadReference, error.to_string()))?;
        self.resolve(&reference)
    }

    fn resolve(&self, reference: &Reference) -> Result<Arc<Target>, Problem> {
        let model = &reference.model;
        let Some(served) = self.models.get(model) else { return Err(self.no_such_model(model)) };
        let versions = &served.routes.versions;
        let environment = reference.environment();
        let version = match &reference.selector {
            None => {
                return served.live.get(&environment).cloned().ok_or_else(|| {
                    Problem::new(Code::NotLive, format!("no version of `{}` is live in {environment}", model.model))
                        .help(format!("decalog show {}", model.model))
                });
            }
            Some(Selector::Number(number)) => versions.iter().find(|known| known.version == *number),
            Some(Selector::Digest(digits)) => versions.iter().find(|known| known.digest.begins_with(digits)),
        };
        let Some(known) = version else {
            let newest = versions.iter().rev().map(|known| known.version);
            return Err(domain::near::no_such_version(reference, versions.len(), newest));
        };
        let lane = served.lane_of(&environment, known.version).cloned();
        lane.map(|lane| Arc::new(Target { lane, split: None })).ok_or_else(|| {
            Problem::new(
                Code::NotRunning,
                format!("{} of `{}` exists, but does not run in {environment}", known.version, model.model),
            )
            .help(format!("decalog show {} tells which version does", model.model))
        })
    }

    fn no_such_model(&self, key: &ModelKey) -> Problem {
        let names = domain::near::neighbours(&self.models, key).map(|(other, _)| other.model.as_str());
        domain::near::no_such_model(key, domain::near::near_name(key.model.as_str(), names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_of_one_model_makes_nothing_else_anew() {
        let shared = Arc::new(Shared {
            records: Arc::new(crossbeam_queue::ArrayQueue::new(1)),
            records_dropped: AtomicU64::new(0),
            observations: tokio::sync::mpsc::channel(1).0,
            connections: crate::connections::Connections::new(1),
            memory: Budget::new(1),
        });
        let heavy = Heavy::new(tokio::runtime::Handle::current());
        let key = |number: u32| domain::state::default_model(&format!("m{number:04}")).unwrap();
        let routes = |version| {
            let digest = domain::Digest::of(b"m");
            let versions = vec![KnownVersion { version: VersionNumber(version), digest }];
            Arc::new(ModelRoutes { versions, ..ModelRoutes::default() })
        };
        let first = RouteTable { epoch: 1, models: (0..1_000).map(|number| (key(number), routes(1))).collect() };
        let mut second = RouteTable { epoch: 2, ..first.clone() };
        second.models.insert(key(500), routes(2));
        second.models.remove(&key(7));
        let before = Snapshot::next(&Snapshot::default(), first, &shared, &heavy);
        let after = Snapshot::next(&before, second, &shared, &heavy);
        let same = |number| {
            let (before, after) = (&before.models[&key(number)], after.models.get(&key(number)));
            after.is_some_and(|after| Arc::ptr_eq(before, after))
        };
        let changed: Vec<u32> = (0..1_000).filter(|number| !same(*number)).collect();
        assert_eq!(changed, [7, 500]);
        assert_eq!(after.versions(&key(500))[0].version, VersionNumber(2));
        assert_eq!(after.route("m0007").err().unwrap().code, Code::NoSuchModel);
        assert_eq!(after.route("m0008").err().unwrap().code, Code::NotLive);
    }
}
