//! From a reference to a placement, by a snapshot that is swapped whole. A request keeps the snapshot it began with.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use domain::reference::{Reference, Selector};
use domain::route::{Demand, KnownVersion, PlacementRoute, RouteTable};
use domain::{EnvironmentName, ModelKey, Placement, Problem, ReplicaId, Schema, VersionNumber};
use http::HeaderValue;
use parking_lot::Mutex;

use crate::Shared;
use crate::dispatch::{self, Replica};
use crate::queue::{Limits, Queue};

/// One placement in the data plane: its queue and its replicas. It outlives route tables that agree on it.
pub struct Lane {
    /// Which.
    pub placement: Arc<Placement>,
    /// What requests must fit.
    pub schema: Schema,
    /// As the control plane gave it; its replicas are those of the first table.
    pub route: PlacementRoute,
    /// Where a worker takes requests.
    pub infer_path: String,
    /// Requests that wait.
    pub queue: Queue,
    /// `v3`, as a header.
    pub version_header: HeaderValue,
    replicas: Mutex<HashMap<ReplicaId, Arc<Replica>>>,
}

impl Lane {
    fn new(route: PlacementRoute) -> Lane {
        let mix = route.mix && route.schema.batches && !route.schema.streams;
        let limits = Limits { rows_max: route.rows_max as usize, queue_rows_max: route.queue_rows_max as usize, mix };
        let version = route.placement.version.to_string();
        Lane {
            placement: Arc::new(route.placement.clone()),
            schema: route.schema.clone(),
            infer_path: worker::caller::infer_path(route.placement.model.model.as_str(), &route.worker),
            queue: Queue::new(limits),
            version_header: HeaderValue::try_from(version).unwrap_or(HeaderValue::from_static("v0")),
            route,
            replicas: Mutex::new(HashMap::new()),
        }
    }

    /// Whether it can answer at once.
    pub fn is_ready(&self) -> bool {
        self.replicas.lock().values().any(|replica| replica.is_used())
    }

    /// The load at this moment.
    pub fn demand(&self) -> Demand {
        let replicas = self.replicas.lock();
        let in_flight: BTreeMap<_, _> = replicas.values().map(|replica| (replica.id.clone(), replica.in_flight())).collect();
        Demand { placement: (*self.placement).clone(), queued_rows: self.queue.queued_rows() as u64, in_flight }
    }

    /// Forgets a replica whose last slot has ended.
    pub fn forget(&self, replica: &ReplicaId) {
        self.replicas.lock().remove(replica);
    }

    /// Starts using new replicas and returns those that the table lacks.
    fn follow(self: &Arc<Lane>, wanted: &PlacementRoute, shared: &Arc<Shared>, runtime: &tokio::runtime::Handle) {
        let mut replicas = self.replicas.lock();
        for route in &wanted.replicas {
            if !replicas.contains_key(&route.replica) {
                let replica = Arc::new(Replica::new(route));
                replicas.insert(route.replica.clone(), replica.clone());
                dispatch::start(self, replica, route, shared, runtime);
            }
        }
        let gone = replicas.values().filter(|replica| !wanted.replicas.iter().any(|route| route.replica == replica.id));
        gone.for_each(|replica| replica.drain());
        drop(replicas);
        self.queue.wake_all();
    }

    /// The placement is out of the table: what waits is answered, then all replicas are returned.
    fn retire(&self) {
        self.replicas.lock().values().for_each(|replica| replica.drain());
        self.queue.retire();
    }
}

/// All routes at one epoch.
#[derive(Default)]
pub struct Snapshot {
    /// Of the table it came from.
    pub epoch: u64,
    /// References as they are mostly written.
    by_text: HashMap<String, Arc<Lane>>,
    live: HashMap<(ModelKey, EnvironmentName), Arc<Lane>>,
    lanes: HashMap<Placement, Arc<Lane>>,
    versions: HashMap<ModelKey, Vec<KnownVersion>>,
}

impl Snapshot {
    /// The snapshot of a newer table; lanes that both have go on.
    pub fn next(current: &Snapshot, table: RouteTable, shared: &Arc<Shared>, runtime: &tokio::runtime::Handle) -> Snapshot {
        let mut next = Snapshot { epoch: table.epoch, ..Snapshot::default() };
        for route in &table.placements {
            let known = current.lanes.get(&route.placement).filter(|lane| lane.queue.revive());
            let lane = known.cloned().unwrap_or_else(|| Arc::new(Lane::new(route.clone())));
            lane.follow(route, shared, runtime);
            next.lanes.insert(route.placement.clone(), lane);
        }
        for (placement, lane) in &current.lanes {
            if !next.lanes.contains_key(placement) {
                lane.retire();
            }
        }
        for route in table.routes {
            let mut lanes = next.lanes.values().filter(|lane| {
                let placement = &lane.placement;
                placement.model == route.model && placement.environment == route.environment && placement.version == route.version
            });
            // While variables change, two revisions of the version run; the ready one of the later revision answers.
            let Some(first) = lanes.next() else { continue };
            let better = |a: Arc<Lane>, b: &Arc<Lane>| {
                let rank = |lane: &Lane| (lane.is_ready(), lane.placement.revision);
                if rank(b) > rank(&a) { b.clone() } else { a }
            };
            let lane = lanes.fold(first.clone(), better);
            let reference = Reference { environment: Some(route.environment.clone()), ..Reference::live(route.model.clone()) };
            next.by_text.insert(reference.to_string(), lane.clone());
            if route.environment == EnvironmentName::default() {
                next.by_text.insert(Reference::live(route.model.clone()).to_string(), lane.clone());
                next.by_text.insert(route.model.to_string(), lane.clone());
            }
            next.live.insert((route.model, route.environment), lane);
        }
        for known in table.versions {
            next.versions.entry(known.model.clone()).or_default().push(known);
        }
        next
    }

    /// All placements.
    pub fn lanes(&self) -> impl Iterator<Item = &Arc<Lane>> {
        self.lanes.values()
    }

    /// All models that are known.
    pub fn versions(&self, model: &ModelKey) -> &[KnownVersion] {
        self.versions.get(model).map(Vec::as_slice).unwrap_or_default()
    }

    /// The placement that a reference, as written in a URL, leads to.
    pub fn route(&self, text: &str) -> Result<Arc<Lane>, Problem> {
        if let Some(lane) = self.by_text.get(text) {
            return Ok(lane.clone());
        }
        let reference: Reference =
            text.parse().map_err(|error: domain::reference::ReferenceError| Problem::new("bad_reference", error.to_string()))?;
        self.resolve(&reference)
    }

    fn resolve(&self, reference: &Reference) -> Result<Arc<Lane>, Problem> {
        let model = &reference.model;
        let Some(versions) = self.versions.get(model) else { return Err(self.no_such_model(model)) };
        let environment = reference.environment();
        let version = match &reference.selector {
            None => {
                return self.live.get(&(model.clone(), environment.clone())).cloned().ok_or_else(|| {
                    Problem::new("not_live", format!("no version of `{}` is live in {environment}", model.model))
                        .help(format!("decalog show {}", model.model))
                });
            }
            Some(Selector::Number(number)) => versions.iter().find(|known| known.version == *number),
            Some(Selector::Digest(digits)) => versions.iter().find(|known| known.digest.to_string().starts_with(digits)),
        };
        let Some(known) = version else {
            let all: Vec<String> = versions.iter().map(|known| known.version.to_string()).collect();
            return Err(Problem::new("no_such_version", format!("`{}` has no such version: {reference}", model.model))
                .help(format!("it has {}", all.join(", "))));
        };
        self.placement_of(model, &environment, known.version)
    }

    fn placement_of(
        &self,
        model: &ModelKey,
        environment: &EnvironmentName,
        version: VersionNumber,
    ) -> Result<Arc<Lane>, Problem> {
        let of_version = |lane: &&Arc<Lane>| {
            lane.placement.model == *model && lane.placement.environment == *environment && lane.placement.version == version
        };
        let lane = self.lanes.values().filter(of_version).max_by_key(|lane| (lane.is_ready(), lane.placement.revision));
        lane.cloned().ok_or_else(|| {
            Problem::new("not_running", format!("{version} of `{}` exists, but does not run in {environment}", model.model))
                .help(format!("decalog show {} tells which version does", model.model))
        })
    }

    fn no_such_model(&self, key: &ModelKey) -> Problem {
        let names = self.versions.keys().filter(|other| other.project == key.project).map(|other| other.model.as_str());
        domain::state::no_such_model(key, domain::state::near_name(key.model.as_str(), names))
    }
}
