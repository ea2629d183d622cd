//! A gateway that follows route tables, gives replicas back when it likes, and complains.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use domain::route::{Demand, ModelRoutes, Observation, PlacementRoute, RouteTable};
use domain::scale::{LoadSample, ServicePoint};
use domain::{ModelKey, Placement, ReplicaId};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Duration;

use super::World;

/// The time that a request takes, in milliseconds.
const SERVICE_MS: f64 = 20.0;

/// How much each model is asked.
#[derive(Default)]
pub struct Load {
    models: Mutex<BTreeMap<ModelKey, OfModel>>,
}

#[derive(Clone, Copy, Default)]
struct OfModel {
    per_s: f64,
    since_ms: u64,
    arrived: f64,
}

impl Load {
    /// From now on a model gets so many requests a second.
    pub fn set(&self, model: &ModelKey, per_s: f64, now_ms: u64) {
        let mut models = self.models.lock();
        let of = models.entry(model.clone()).or_default();
        of.arrived += of.per_s * now_ms.saturating_sub(of.since_ms) as f64 / 1_000.0;
        (of.per_s, of.since_ms) = (per_s, now_ms);
    }

    fn of(&self, model: &ModelKey, now_ms: u64) -> (f64, u64) {
        let of = self.models.lock().get(model).copied().unwrap_or_default();
        let more = of.per_s * now_ms.saturating_sub(of.since_ms) as f64 / 1_000.0;
        (of.per_s, (of.arrived + more) as u64)
    }
}

/// The data plane of one life.
pub struct Gateway {
    world: Arc<World>,
    says: mpsc::Sender<Observation>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    table: RouteTable,
    /// How often each replica came and was not given back.
    in_use: HashMap<ReplicaId, u32>,
    /// Replicas that do not answer.
    broken: HashSet<ReplicaId>,
    /// Placements of which it was said that a request waits.
    waiting: BTreeSet<Placement>,
    /// Models whose live version was served, and has had no excuse since.
    served: HashSet<ModelKey>,
}

impl Gateway {
    pub fn new(world: Arc<World>, says: mpsc::Sender<Observation>) -> Arc<Gateway> {
        Arc::new(Gateway { world, says, inner: Mutex::default() })
    }

    pub fn uses(&self, replica: &ReplicaId) -> bool {
        self.inner.lock().in_use.contains_key(replica)
    }

    pub fn excuse(&self, model: &ModelKey) {
        self.inner.lock().served.remove(model);
    }

    /// All replicas that requests go to.
    pub fn routed(&self) -> Vec<ReplicaId> {
        let inner = self.inner.lock();
        inner.table.models.values().flat_map(|routes| routes.replicas()).cloned().collect()
    }

    /// Something is wrong with a replica.
    pub async fn complain(&self, replica: ReplicaId) {
        self.inner.lock().broken.insert(replica.clone());
        let reason = "it answered nothing".into();
        let _ = self.says.send(Observation::Broken { replica, reason }).await;
    }

    pub fn apply(self: &Arc<Gateway>, table: RouteTable) {
        let mut inner = self.inner.lock();
        if table.epoch <= inner.table.epoch {
            self.world.violate(format!("epoch {} after {}", table.epoch, inner.table.epoch));
        }
        let of = |table: &RouteTable| -> HashSet<ReplicaId> {
            table.models.values().flat_map(|routes| routes.replicas()).cloned().collect()
        };
        let (before, after) = (of(&inner.table), of(&table));
        for replica in after.difference(&before) {
            *inner.in_use.entry(replica.clone()).or_default() += 1;
        }
        for replica in before.difference(&after) {
            self.give_back(replica.clone());
        }
        for (model, routes) in table.models.iter() {
            if inner.table.models.get(model) != Some(routes) {
                self.world.note(format!("routes of {model}: {}", short(routes)));
            }
            match live(routes, &inner.broken) {
                Some(true) => drop(inner.served.insert(model.clone())),
                Some(false) if inner.served.remove(model) => {
                    self.world.violate(format!("{model} has no replica any more"));
                }
                Some(false) => {}
                None => drop(inner.served.remove(model)),
            }
        }
        let gone = |model: &ModelKey| table.models.contains_key(model);
        inner.served.retain(gone);
        inner.table = table;
    }

    /// Ends what runs there, soon or late, and says so.
    fn give_back(self: &Arc<Gateway>, replica: ReplicaId) {
        let gateway = self.clone();
        let late = if self.world.is_unlucky(10) { 10_000 } else { 400 };
        let in_ms = self.world.random(late);
        // Where nobody runs any more, nothing is given back.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            tokio::time::sleep(Duration::from_millis(in_ms)).await;
            gateway.given_back(&replica);
            let _ = gateway.says.send(Observation::Returned { replica }).await;
        });
    }

    fn given_back(&self, replica: &ReplicaId) {
        let mut inner = self.inner.lock();
        if let Some(count) = inner.in_use.get_mut(replica) {
            *count -= 1;
            if *count == 0 {
                inner.in_use.remove(replica);
            }
        }
    }

    pub fn demand(&self, placement: &Placement) -> Option<Demand> {
        let mut inner = self.inner.lock();
        let routes = inner.table.models.get(&placement.model)?.clone();
        let route = routes.placements.iter().find(|route| route.placement == *placement)?;
        let is_live = routes.routes.iter().any(|route| {
            route.version == placement.version && route.environment == placement.environment
        });
        let (per_s, arrived) = self.world.load.of(&placement.model, self.world.now_ms());
        let (per_s, arrived) = if is_live { (per_s, arrived) } else { (0.0, 0) };
        let waits = route.replicas.is_empty() && per_s > 0.0;
        if !waits {
            inner.waiting.remove(placement);
        } else if inner.waiting.insert(placement.clone()) {
            let waiting = Observation::Waiting { placement: placement.clone() };
            let _ = self.says.try_send(waiting);
        }
        let in_flight = (per_s * SERVICE_MS / 1_000.0).ceil() as u64;
        let load = LoadSample {
            now_ms: 0,
            in_system_request_ms: arrived as f64 * SERVICE_MS,
            arrived,
            queued: if waits { in_flight.max(1) } else { 0 },
            in_flight: if waits { 0 } else { in_flight },
            rows_per_request: 1.0,
            service: vec![ServicePoint { rows: 1.0, mean_us: SERVICE_MS * 1_000.0 }],
        };
        Some(Demand {
            placement: placement.clone(),
            queued_rows: load.queued,
            in_flight: BTreeMap::new(),
            load,
        })
    }
}

/// The routes of a model in one line.
fn short(routes: &ModelRoutes) -> String {
    let live = routes.routes.first().map(|route| route.version.to_string());
    let of = |placement: &PlacementRoute| {
        let replicas: Vec<&str> = placement.replicas.iter().map(|r| r.replica.0.as_str()).collect();
        let (of, asleep) = (&placement.placement, if placement.asleep { " asleep" } else { "" });
        format!("{}.{} [{}]{asleep}", of.version, of.revision, replicas.join(" "))
    };
    let placements: Vec<String> = routes.placements.iter().map(of).collect();
    format!("live {}: {}", live.unwrap_or_default(), placements.join(", "))
}

/// Whether what is live of a model can be asked, and answers; `None` if nothing is, or it sleeps.
fn live(routes: &ModelRoutes, broken: &HashSet<ReplicaId>) -> Option<bool> {
    let route = routes.routes.first()?;
    let own = || {
        routes.placements.iter().filter(|placement| {
            placement.placement.version == route.version
                && placement.placement.environment == route.environment
        })
    };
    if own().any(|placement| placement.asleep) {
        return None;
    }
    let mut replicas = own().flat_map(|placement| &placement.replicas);
    Some(replicas.any(|route| !broken.contains(&route.replica)))
}
