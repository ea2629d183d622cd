//! From a reference to a placement, by a snapshot that is swapped whole. A request keeps the
//! snapshot it began with.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::reference::{Reference, Selector};
use domain::route::{KnownVersion, ModelRoutes, RouteTable};
use domain::{Code, EnvironmentName, ModelKey, Placement, Problem, VersionNumber};
use imbl::ordmap::DiffItem;
use imbl::{HashMap, OrdMap};

use crate::Shared;
use crate::dispatch;
use crate::heavy::Heavy;
use crate::lane::{Lane, LaneGuard};
use crate::split::{Split, Target};

/// What there is of one model.
struct Served {
    routes: Arc<ModelRoutes>,
    lanes: BTreeMap<Placement, Arc<LaneGuard>>,
    live: BTreeMap<EnvironmentName, Arc<Target>>,
}

impl Served {
    /// Of newer routes; lanes that both have go on.
    fn next(
        before: Option<&Served>,
        routes: &Arc<ModelRoutes>,
        shared: &Arc<Shared>,
        heavy: &Heavy,
    ) -> Served {
        let mut next =
            Served { routes: routes.clone(), lanes: BTreeMap::new(), live: BTreeMap::new() };
        for route in &routes.placements {
            let known = before.and_then(|before| before.lanes.get(&route.placement)).cloned();
            let guard = known.unwrap_or_else(|| {
                let lane = Lane::new(route.clone(), &shared.memory);
                shared.define(&lane);
                Arc::new(LaneGuard(Arc::new(lane)))
            });
            let lane = &guard.0;
            lane.record_as(route, shared);
            for (replica, route) in lane.follow(route) {
                dispatch::start(lane, replica, route, shared, heavy);
            }
            lane.tell(route);
            next.lanes.insert(route.placement.clone(), guard);
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

    /// The placement of a version. While variables change, two revisions of it run; of those that
    /// are ready, the later.
    fn lane_of(&self, environment: &EnvironmentName, version: VersionNumber) -> Option<&Arc<Lane>> {
        let lanes = self.lanes.values().map(|guard| &guard.0);
        let own = lanes.filter(|lane| {
            lane.placement.environment == *environment && lane.placement.version == version
        });
        own.max_by_key(|lane| (lane.is_ready(), lane.placement.revision))
    }
}

/// All routes at one epoch. Snapshots share what is the same in both: the next costs what has
/// changed.
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
    pub fn next(
        current: &Snapshot,
        table: RouteTable,
        shared: &Arc<Shared>,
        heavy: &Heavy,
    ) -> Snapshot {
        let mut next =
            Snapshot { epoch: table.epoch, table: table.models.clone(), ..current.clone() };
        for change in current.table.diff(&table.models) {
            let (key, routes) = match change {
                DiffItem::Add(key, routes) | DiffItem::Update { new: (key, routes), .. } => {
                    (key, Some(routes))
                }
                DiffItem::Remove(key, _) => (key, None),
            };
            let before = current.models.get(key).map(AsRef::as_ref);
            let served = routes.map(|routes| Arc::new(Served::next(before, routes, shared, heavy)));
            next.set(key, served);
        }
        next
    }

    fn set(&mut self, key: &ModelKey, served: Option<Arc<Served>>) {
        let target =
            served.as_ref().and_then(|served| served.live.get(&EnvironmentName::default()));
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
        self.models.values().flat_map(|served| served.lanes.values()).map(|guard| &guard.0)
    }

    /// One placement.
    pub fn lane(&self, placement: &Placement) -> Option<&Arc<Lane>> {
        self.models.get(&placement.model)?.lanes.get(placement).map(|guard| &guard.0)
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
        let reference: Reference =
            text.parse().map_err(|error: domain::reference::ReferenceError| {
                Problem::new(Code::BadReference, error.to_string())
            })?;
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
                    Problem::new(
                        Code::NotLive,
                        format!("no version of `{}` is live in {environment}", model.model),
                    )
                    .help(format!("decalog show {}", model.model))
                });
            }
            Some(Selector::Number(number)) => {
                versions.iter().find(|known| known.version == *number)
            }
            Some(Selector::Digest(digits)) => {
                versions.iter().find(|known| known.digest.begins_with(digits))
            }
        };
        let Some(known) = version else {
            let newest = versions.iter().rev().map(|known| known.version);
            return Err(domain::near::no_such_version(reference, versions.len(), newest));
        };
        let lane = served.lane_of(&environment, known.version).cloned();
        lane.map(|lane| Arc::new(Target { lane, split: None })).ok_or_else(|| {
            Problem::new(
                Code::NotRunning,
                format!(
                    "{} of `{}` exists, but does not run in {environment}",
                    known.version, model.model
                ),
            )
            .help(format!("decalog show {} tells which version does", model.model))
        })
    }

    fn no_such_model(&self, key: &ModelKey) -> Problem {
        let names =
            domain::near::neighbours(&self.models, key).map(|(other, _)| other.model.as_str());
        domain::near::no_such_model(key, domain::near::near_name(key.model.as_str(), names))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::memory::Budget;

    #[tokio::test]
    async fn a_change_of_one_model_makes_nothing_else_anew() {
        let shared = Arc::new(Shared {
            records: Arc::new(crossbeam_queue::ArrayQueue::new(1)),
            records_dropped: AtomicU64::new(0),
            observations: tokio::sync::mpsc::channel(1).0,
            connections: crate::connections::Connections::new(1),
            memory: Budget::new(1),
            ids: crate::keep::Ids::new(),
            recorder: crate::keep::Keeper::new(),
            tracing: Default::default(),
        });
        let heavy = Heavy::new(tokio::runtime::Handle::current());
        let key = |number: u32| domain::state::default_model(&format!("m{number:04}")).unwrap();
        let routes = |version| {
            let digest = domain::Digest::of(b"m");
            let versions = vec![KnownVersion { version: VersionNumber(version), digest }];
            Arc::new(ModelRoutes { versions, ..ModelRoutes::default() })
        };
        let first = RouteTable {
            epoch: 1,
            models: (0..1_000).map(|number| (key(number), routes(1))).collect(),
        };
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
