//! The route table: what the state wants, as far as replicas are there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use domain::route::{Candidate, KnownVersion, ModelRoutes, PlacementRoute, ReplicaRoute, Route, RouteTable, SHARES};
use domain::state::{Live, Model, Version};
use domain::{EnvironmentName, Manifest, ModelKey, Placement, State};
use engine::{ReplicaState, ReplicaStatus};
use imbl::ordmap::DiffItem;

use crate::wanted::Part;
use crate::{Control, LOOK_ALL_MS, now_ms};

/// Steps in which the default deadline grows with the time that a start takes, in milliseconds.
const DEADLINE_STEP_MS: u64 = 10_000;

/// The versions of all that a table is made of.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Stamp {
    seq: u64,
    replicas: u64,
    scales: u64,
    /// Some of what may have replicas ends with time.
    looks: u64,
}

/// The table in force, and what it was made of.
#[derive(Default)]
pub(crate) struct Published {
    table: RouteTable,
    state: State,
    stamp: Stamp,
    /// Models whose routes depend on more than the state: they have replicas, or parts that end with time.
    active: BTreeSet<ModelKey>,
}

/// Replicas that may be used, by what they run, of each model that is looked at.
type Ready<'a> = HashMap<&'a ModelKey, BTreeMap<&'a Placement, Vec<&'a ReplicaStatus>>>;

impl Control {
    /// Puts a new table in force if it differs from the last. What is looked at is what may have changed, so that it takes as
    /// long with ten thousand models that sleep as with one.
    pub(crate) fn publish_routes(&self) {
        let mut published = self.published.lock();
        // Read before the table is made: what changes meanwhile is seen the next time.
        let state = self.state();
        let stamp = Stamp {
            seq: state.seq,
            replicas: *self.engine.changed().borrow() + self.replicas.changes.count(),
            scales: self.scales.changes.count(),
            looks: self.monotonic_ms() / LOOK_ALL_MS,
        };
        if published.table.epoch > 0 && published.stamp == stamp {
            return;
        }
        let mut stale = changed_models(&published.state, &state);
        stale.append(&mut self.scales.changes.take());
        stale.append(&mut self.replicas.changes.take());
        let statuses = self.engine.replicas();
        let with_replicas: BTreeSet<&ModelKey> = statuses.iter().map(|status| &status.placement.model).collect();
        if (Stamp { seq: stamp.seq, ..published.stamp }) != stamp {
            stale.extend(published.active.iter().cloned());
            stale.extend(with_replicas.iter().copied().cloned());
        }
        let ready = self.ready_of(&stale, &statuses);
        let mut models = published.table.models.clone();
        let mut is_same = published.table.epoch > 0;
        for key in &stale {
            let made = state.models.get(key).map(|model| self.model_routes(&state, key, model, &ready));
            let (routes, ends) = made.map_or((None, false), |(routes, ends)| (Some(routes), ends));
            match ends || with_replicas.contains(key) {
                true => published.active.insert(key.clone()),
                false => published.active.remove(key),
            };
            if routes.as_ref() == models.get(key).map(AsRef::as_ref) {
                continue;
            }
            is_same = false;
            match routes {
                Some(routes) => {
                    self.replicas.routed(&routes);
                    models.insert(key.clone(), Arc::new(routes))
                }
                None => models.remove(key),
            };
        }
        (published.state, published.stamp) = (State::clone(&state), stamp);
        if !is_same {
            // Larger than any epoch of an earlier process too.
            let epoch = now_ms().max(published.table.epoch + 1);
            published.table = RouteTable { epoch, models };
            (self.publish)(published.table.clone());
        }
    }

    fn ready_of<'a>(&self, models: &BTreeSet<ModelKey>, statuses: &'a [ReplicaStatus]) -> Ready<'a> {
        let mut ready = Ready::new();
        for status in statuses.iter().filter(|status| models.contains(&status.placement.model)) {
            if matches!(status.state, ReplicaState::Ready { .. }) && !self.replicas.is_leaving(&status.replica) {
                let of_model = ready.entry(&status.placement.model).or_default();
                of_model.entry(&status.placement).or_default().push(status);
            }
        }
        ready
    }

    /// The routes of one model, and whether they may be others later although nothing changes.
    fn model_routes(&self, state: &State, key: &ModelKey, model: &Model, ready: &Ready) -> (ModelRoutes, bool) {
        let known = |version: &Arc<Version>| KnownVersion { version: version.pushed.version, digest: version.pushed.digest };
        let route = |(environment, live): (&EnvironmentName, &Live)| Route {
            environment: environment.clone(),
            version: live.version,
            candidate: candidate(model, environment),
        };
        let mut routes = ModelRoutes {
            routes: model.live.iter().map(route).collect(),
            placements: vec![],
            versions: model.versions.values().map(known).collect(),
        };
        let (wanted, until_ms) = self.wanted_of(state, key, model, now_ms());
        let ready = ready.get(key);
        for (placement, wanted) in wanted {
            // A candidate that is still built and tested is nobody's business.
            if wanted.part == Part::Candidate && wanted.floor == 0 {
                continue;
            }
            let asleep = self.scales.target(&placement) == Some(0);
            let own = ready.and_then(|ready| ready.get(&placement)).map(Vec::as_slice).unwrap_or_default();
            // What is there of one that sleeps is a spare, or on its way out.
            let replicas = if asleep { &[] } else { own };
            routes.placements.extend(self.placement_route(state, placement.clone(), replicas, asleep));
            if replicas.is_empty() && !asleep {
                // While new variables arrive, the replicas with the old ones serve.
                for (older, replicas) in ready.into_iter().flatten().filter(|(other, _)| other.is_same_version(&placement)) {
                    routes.placements.extend(self.placement_route(state, (*older).clone(), replicas, false));
                }
            }
        }
        (routes, until_ms < u64::MAX)
    }

    /// The deadline of requests that name none: as the manifest says, else long enough for a replica to start first.
    fn deadline_ms(&self, placement: &Placement, manifest: &Manifest) -> u64 {
        let start_up_ms = self.replicas.start_up_ms(placement).unwrap_or(0);
        // In steps, so that routes do not change with every start.
        let steps = (2 * start_up_ms).div_ceil(DEADLINE_STEP_MS);
        manifest.model.deadline_ms.unwrap_or(manifest.deadline_ms().max(steps * DEADLINE_STEP_MS))
    }

    fn placement_route(
        &self,
        state: &State,
        placement: Placement,
        replicas: &[&ReplicaStatus],
        asleep: bool,
    ) -> Option<PlacementRoute> {
        let version = state.models.get(&placement.model)?.versions.get(&placement.version)?;
        let manifest = &version.pushed.manifest;
        let mut routes: Vec<ReplicaRoute> = vec![];
        for status in replicas {
            let ReplicaState::Ready { info, .. } = &status.state else { continue };
            routes.push(ReplicaRoute {
                replica: status.replica.clone(),
                socket: status.socket.to_string_lossy().into_owned(),
                protocol: info.protocol.clone(),
                concurrency: manifest.resources.concurrency,
                prefetch: info.prefetch,
            });
        }
        routes.sort_by(|a, b| a.replica.cmp(&b.replica));
        Some(PlacementRoute {
            schema: version.schema.clone()?,
            rows_max: manifest.batch.rows_max,
            mix: manifest.batch.mix,
            queue_rows_max: manifest.batch.queue_rows_max,
            deadline_ms: self.deadline_ms(&placement, manifest),
            predict_ms_max: manifest.predict_ms_max(),
            asleep,
            failed: self.replicas.problem(&placement).filter(|_| !asleep && routes.is_empty()),
            replicas: routes,
            placement,
        })
    }
}

/// Models that are not the same in both states, or whose projects have other variables.
fn changed_models(before: &State, after: &State) -> BTreeSet<ModelKey> {
    let mut changed: BTreeSet<ModelKey> = before.models.diff(&after.models).map(|change| key_of(change).clone()).collect();
    let places = before.variables.diff(&after.variables).map(key_of);
    // By `project@environment`.
    let projects: BTreeSet<&str> = places.filter_map(|place| place.split('@').next()).collect();
    if !projects.is_empty() {
        // Rare, and then all replicas of a project are replaced.
        changed.extend(after.models.keys().filter(|key| projects.contains(key.project.as_str())).cloned());
    }
    changed
}

fn key_of<'a, K, V>(change: DiffItem<'a, 'a, K, V>) -> &'a K {
    match change {
        DiffItem::Add(key, _) | DiffItem::Update { new: (key, _), .. } | DiffItem::Remove(key, _) => key,
    }
}

/// The part of a release that is on its way.
fn candidate(model: &Model, environment: &EnvironmentName) -> Option<Candidate> {
    let (deployment, progress) = model.shifting(environment)?;
    let version = model.versions.get(&deployment.version)?;
    Some(Candidate {
        version: deployment.version,
        share: u32::from(progress.phase.percent) * (SHARES / 100),
        shadow: progress.phase.shadow,
        sticky: deployment.plan.sticky.clone(),
        salt: deployment.id.0,
        tolerance: version.pushed.manifest.tests.tolerance,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::state::Variables;

    #[test]
    fn of_many_models_those_that_changed_are_looked_at() {
        let key = |project: &str, model: u32| ModelKey {
            project: project.parse().unwrap(),
            model: format!("m{model}").parse().unwrap(),
        };
        let mut before = State::default();
        for model in 0..1_000 {
            before.models.insert(key("one", model), Arc::new(Model::default()));
        }
        before.models.insert(key("other", 1), Arc::new(Model::default()));
        let mut after = State { seq: 7, ..before.clone() };
        assert!(changed_models(&before, &after).is_empty());
        let variables = [(EnvironmentName::default(), Variables { revision: 1, ..Variables::default() })].into();
        after.models.insert(key("one", 5), Arc::new(Model { variables, ..Model::default() }));
        after.models.remove(&key("one", 6));
        after.models.insert(key("one", 2_000), Arc::new(Model::default()));
        let changed: Vec<ModelKey> = changed_models(&before, &after).into_iter().collect();
        assert_eq!(changed, [key("one", 2_000), key("one", 5), key("one", 6)]);
        let mut with_variables = after.clone();
        with_variables.variables.insert("other@production".into(), Arc::new(Variables { revision: 1, ..Variables::default() }));
        let changed: Vec<ModelKey> = changed_models(&after, &with_variables).into_iter().collect();
        assert_eq!(changed, [key("other", 1)]);
    }
}
