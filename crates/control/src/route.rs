//! The route table: what the state wants, as far as replicas are there. Made model by model, of
//! what has changed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use domain::route::{
    Candidate, KnownVersion, ModelRoutes, PlacementRoute, ReplicaRoute, Route, RouteTable, SHARES,
};
use domain::state::{Live, Model, Version};
use domain::{EnvironmentName, Manifest, ModelKey, Placement, ReplicaId, State};
use engine::{ReplicaState, ReplicaStatus};
use imbl::ordmap::DiffItem;
use policy::replicas::{Part, Wanted, stands_in};

use crate::Control;
use crate::wanted::{AllWanted, Fresh};

/// Steps in which the default deadline grows with the time that a start takes, in milliseconds.
const DEADLINE_STEP_MS: u64 = 10_000;

/// The versions of all that a table is made of.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Stamp {
    seq: u64,
    replicas: u64,
    scales: u64,
}

/// The table in force, what may have replicas, and what both were made of.
#[derive(Default)]
pub(crate) struct Published {
    table: RouteTable,
    state: State,
    stamp: Stamp,
    /// All placements that may have replicas.
    pub(crate) wanted: AllWanted,
    /// What the reconciler of replicas has not looked at yet.
    pub(crate) fresh: Fresh,
    /// Models of which something is live and does not sleep.
    pub(crate) awake: BTreeSet<ModelKey>,
    uses: Uses,
    /// When what is wanted of a model ends by itself, in milliseconds since 1970.
    ends: BTreeSet<(u64, ModelKey)>,
}

/// What replicas are good for, as far as routes depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Use {
    /// It will be of use.
    Starts,
    /// Requests may go there.
    Serves,
    /// None may any more.
    None,
}

/// What each replica was good for when it was looked at last.
#[derive(Default)]
struct Uses(HashMap<ReplicaId, (ModelKey, Use)>);

impl Uses {
    /// Takes in what replicas are good for now. Gives the models for which that is something else
    /// than before.
    fn update<'a>(
        &mut self,
        now: impl ExactSizeIterator<Item = (&'a ReplicaId, &'a ModelKey, Use)>,
    ) -> BTreeSet<ModelKey> {
        let (mut changed, mut present) = (BTreeSet::new(), HashSet::new());
        for (replica, model, is_now) in now {
            present.insert(replica);
            match self.0.get_mut(replica) {
                Some((_, before)) if *before == is_now => continue,
                Some((_, before)) => *before = is_now,
                None => drop(self.0.insert(replica.clone(), (model.clone(), is_now))),
            }
            changed.insert(model.clone());
        }
        if present.len() < self.0.len() {
            let gone = self.0.extract_if(|replica, _| !present.contains(replica));
            changed.extend(gone.map(|(_, (model, _))| model));
        }
        changed
    }
}

/// Replicas that may be used, by what they run, of each model that is looked at.
type Ready<'a> = HashMap<&'a ModelKey, BTreeMap<&'a Placement, Vec<&'a ReplicaStatus>>>;

impl Control {
    /// Puts a new table in force if it differs from the last. What is looked at is what may have
    /// changed, so that it takes as long with ten thousand models that sleep as with one.
    pub(crate) fn publish_routes(&self) {
        let mut published = self.published.lock();
        // Read before the table is made: what changes meanwhile is seen the next time.
        let (state, now_ms) = (self.state(), self.clock.now_ms());
        let stamp = Stamp {
            seq: state.seq,
            replicas: *self.engine.changed().borrow() + self.replicas.changes.count(),
            scales: self.scales.changes.count(),
        };
        let is_over = published.ends.first().is_some_and(|(until_ms, _)| *until_ms <= now_ms);
        if published.table.epoch > 0 && published.stamp == stamp && !is_over {
            return;
        }
        let statuses = self.replicas();
        let stale = self.stale(&mut published, &state, &statuses, now_ms);
        let ready = self.ready_of(&stale, &statuses);
        let mut models = published.table.models.clone();
        let mut is_same = published.table.epoch > 0;
        for key in stale {
            let routes = self.look_at(&mut published, &state, &key, &ready);
            published.fresh.models.insert(key.clone());
            if routes.as_ref() == models.get(&key).map(AsRef::as_ref) {
                continue;
            }
            is_same = false;
            match routes {
                Some(routes) => {
                    self.grant_leases(models.get(&key), &routes);
                    models.insert(key, Arc::new(routes))
                }
                None => models.remove(&key),
            };
        }
        (published.state, published.stamp) = (State::clone(&state), stamp);
        if !is_same {
            // Larger than any epoch of an earlier process too.
            let epoch = now_ms.max(published.table.epoch + 1);
            published.table = RouteTable { epoch, models };
            (self.publish)(published.table.clone());
        }
    }

    /// A replica that comes into the routes is under a lease from now on.
    fn grant_leases(&self, before: Option<&Arc<ModelRoutes>>, after: &ModelRoutes) {
        let known: HashSet<&ReplicaId> = before.into_iter().flat_map(|r| r.replicas()).collect();
        let new = after.replicas().filter(|replica| !known.contains(replica));
        new.for_each(|replica| self.engine.leases().grant(replica));
    }

    /// The models of which something may have changed.
    fn stale(
        &self,
        published: &mut Published,
        state: &State,
        statuses: &[Arc<ReplicaStatus>],
        now_ms: u64,
    ) -> BTreeSet<ModelKey> {
        let mut stale = changed_models(&published.state, state);
        stale.append(&mut self.scales.changes.take());
        stale.append(&mut self.replicas.changes.take());
        let uses = statuses
            .iter()
            .map(|status| (&status.replica, &status.placement.model, self.use_of(status)));
        stale.append(&mut published.uses.update(uses));
        while published.ends.first().is_some_and(|(until_ms, _)| *until_ms <= now_ms) {
            stale.extend(published.ends.pop_first().map(|(_, model)| model));
        }
        stale
    }

    pub(crate) fn use_of(&self, status: &ReplicaStatus) -> Use {
        match status.state {
            ReplicaState::Ended { .. } => Use::None,
            _ if self.replicas.is_leaving(&status.replica) => Use::None,
            ReplicaState::Starting => Use::Starts,
            ReplicaState::Ready { .. } => Use::Serves,
        }
    }

    /// Finds out what may have replicas of one model. Gives its routes; `None` if it does not
    /// exist.
    fn look_at(
        &self,
        published: &mut Published,
        state: &State,
        key: &ModelKey,
        ready: &Ready,
    ) -> Option<ModelRoutes> {
        let model = state.models.get(key);
        let (wanted, until_ms) =
            model.map_or((BTreeMap::new(), u64::MAX), |model| self.wanted_of(state, key, model));
        if until_ms < u64::MAX {
            published.ends.insert((until_ms, key.clone()));
        }
        let is_awake = |(placement, wanted): (&Placement, &Wanted)| {
            wanted.part == Part::Live && self.scales.target(placement) != Some(0)
        };
        match wanted.iter().any(is_awake) {
            true => published.awake.insert(key.clone()),
            false => published.awake.remove(key),
        };
        let none = BTreeMap::new();
        let routes = model
            .map(|model| self.model_routes(state, model, &wanted, ready.get(key).unwrap_or(&none)));
        published.fresh.gone.extend(published.wanted.set(key, wanted));
        routes
    }

    /// Replicas that requests may go to, by what they run, of some models.
    fn ready_of<'a>(
        &self,
        models: &BTreeSet<ModelKey>,
        statuses: &'a [Arc<ReplicaStatus>],
    ) -> Ready<'a> {
        let mut ready = Ready::new();
        for status in statuses.iter().filter(|status| models.contains(&status.placement.model)) {
            if self.use_of(status) == Use::Serves {
                let of_model = ready.entry(&status.placement.model).or_default();
                of_model.entry(&status.placement).or_default().push(status);
            }
        }
        ready
    }

    fn model_routes(
        &self,
        state: &State,
        model: &Model,
        wanted: &BTreeMap<Placement, Wanted>,
        ready: &BTreeMap<&Placement, Vec<&ReplicaStatus>>,
    ) -> ModelRoutes {
        let known = |version: &Arc<Version>| KnownVersion {
            version: version.pushed.version,
            digest: version.pushed.digest,
        };
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
        for (placement, wanted) in wanted {
            // A candidate that is still built and tested is nobody's business.
            if wanted.part == Part::Candidate && wanted.floor == 0 {
                continue;
            }
            let target = self.scales.target(placement);
            let serving = ready.iter().map(|(of, replicas)| (*of, replicas.len()));
            let older = stands_in(serving, placement, target);
            let own = ready.get(placement).map(Vec::as_slice).unwrap_or_default();
            // What is there of one that sleeps is a spare, or on its way out; and while others
            // stand in, requests go there.
            let replicas = if target == Some(0) || older.is_some() { &[] } else { own };
            routes.placements.extend(self.placement_route(
                state,
                placement,
                replicas,
                target == Some(0),
            ));
            routes
                .placements
                .extend(older.and_then(|older| {
                    self.placement_route(state, older, ready.get(older)?, false)
                }));
        }
        routes
    }

    /// The deadline of requests that name none: as the manifest says, else long enough for a
    /// replica to start first.
    fn deadline_ms(&self, placement: &Placement, manifest: &Manifest) -> u64 {
        let start_up_ms = self.replicas.start_up_ms(placement).unwrap_or(0);
        // In steps, so that routes do not change with every start.
        let steps = (2 * start_up_ms).div_ceil(DEADLINE_STEP_MS);
        manifest.model.deadline_ms.unwrap_or(manifest.deadline_ms().max(steps * DEADLINE_STEP_MS))
    }

    fn placement_route(
        &self,
        state: &State,
        placement: &Placement,
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
                address: status.address.clone(),
                protocol: info.protocol.clone(),
                concurrency: manifest.resources.concurrency,
                prefetch: info.prefetch,
            });
        }
        routes.sort_by(|a, b| a.replica.cmp(&b.replica));
        Some(PlacementRoute {
            schema: version.schema.clone()?,
            recording: self.recording(state, placement),
            rows_max: manifest.batch.rows_max,
            mix: manifest.batch.mix,
            queue_rows_max: manifest.batch.queue_rows_max,
            deadline_ms: self.deadline_ms(placement, manifest),
            predict_ms_max: manifest.predict_ms_max(),
            asleep,
            failed: self.replicas.problem(placement).filter(|_| !asleep && routes.is_empty()),
            replicas: routes,
            placement: placement.clone(),
        })
    }
}

/// Models that are not the same in both states, or whose projects have other variables.
fn changed_models(before: &State, after: &State) -> BTreeSet<ModelKey> {
    let mut changed: BTreeSet<ModelKey> =
        before.models.diff(&after.models).map(|change| key_of(change).clone()).collect();
    let places = before.variables.diff(&after.variables).map(key_of);
    // By `project@environment`.
    let projects: BTreeSet<&str> = places.filter_map(|place| place.split('@').next()).collect();
    if !projects.is_empty() {
        // Rare, and then all replicas of a project are replaced.
        changed.extend(
            after.models.keys().filter(|key| projects.contains(key.project.as_str())).cloned(),
        );
    }
    changed
}

fn key_of<'a, K, V>(change: DiffItem<'a, 'a, K, V>) -> &'a K {
    match change {
        DiffItem::Add(key, _)
        | DiffItem::Update { new: (key, _), .. }
        | DiffItem::Remove(key, _) => key,
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
    fn only_models_whose_replicas_have_changed_are_looked_at() {
        let (one, other) = (
            domain::state::default_model("one").unwrap(),
            domain::state::default_model("other").unwrap(),
        );
        let replicas: Vec<ReplicaId> =
            (1..4).map(|number| ReplicaId(format!("r1-{number}"))).collect();
        let mut uses = Uses::default();
        let mut update = |now: &[(usize, &ModelKey, Use)]| {
            let changed = uses
                .update(now.iter().map(|(at, model, is_now)| (&replicas[*at], *model, *is_now)));
            changed.into_iter().map(|model| model.model.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(update(&[(0, &one, Use::Starts), (1, &other, Use::Serves)]), ["one", "other"]);
        assert!(update(&[(0, &one, Use::Starts), (1, &other, Use::Serves)]).is_empty());
        assert_eq!(update(&[(0, &one, Use::Serves), (1, &other, Use::Serves)]), ["one"]);
        assert_eq!(update(&[(0, &one, Use::Serves)]), ["other"], "it is gone");
        assert_eq!(update(&[(0, &one, Use::Serves), (2, &other, Use::None)]), ["other"]);
        assert_eq!(update(&[(0, &one, Use::None)]), ["one", "other"]);
        assert_eq!(update(&[]), ["one"]);
        assert!(update(&[]).is_empty());
    }

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
        let variables =
            [(EnvironmentName::default(), Variables { revision: 1, ..Variables::default() })]
                .into();
        after.models.insert(key("one", 5), Arc::new(Model { variables, ..Model::default() }));
        after.models.remove(&key("one", 6));
        after.models.insert(key("one", 2_000), Arc::new(Model::default()));
        let changed: Vec<ModelKey> = changed_models(&before, &after).into_iter().collect();
        assert_eq!(changed, [key("one", 2_000), key("one", 5), key("one", 6)]);
        let mut with_variables = after.clone();
        with_variables.variables.insert(
            "other@production".into(),
            Arc::new(Variables { revision: 1, ..Variables::default() }),
        );
        let changed: Vec<ModelKey> = changed_models(&after, &with_variables).into_iter().collect();
        assert_eq!(changed, [key("other", 1)]);
    }
}
