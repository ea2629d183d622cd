//! Which placements may have replicas, and what for. Found from the state, and kept as long as it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::state::Model;
use domain::{ModelKey, Placement, State};
use engine::ReplicaState;

use crate::{Control, LOOK_ALL_MS, now_ms};

/// What a placement that may have replicas is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// It is live.
    Live,
    /// It was live until a moment ago: kept so that a rollback waits for no start.
    Kept,
    /// A deployment is on its way to make it live.
    Candidate,
}

/// A placement that may have replicas.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// What for.
    pub part: Part,
    /// The fewest replicas, whatever the load.
    pub floor: u32,
}

/// What is live, under today's configuration.
pub(crate) fn live_placements(state: &State) -> BTreeSet<Placement> {
    let live = |(key, model): (&ModelKey, &Arc<Model>)| {
        let placements: Vec<_> =
            model.live.iter().map(|(environment, live)| state.placement(key, environment, live.version)).collect();
        placements
    };
    state.models.iter().flat_map(live).collect()
}

/// What may have replicas, with the versions of all that it depends on.
pub(crate) struct Wants {
    seq: u64,
    scales: u64,
    /// Until when something that was live is kept yet, in milliseconds since 1970.
    until_ms: u64,
    placements: Arc<BTreeMap<Placement, Wanted>>,
}

/// What the reconciler looked at last.
#[derive(Default)]
pub(crate) struct Looked {
    wanted: Option<Arc<BTreeMap<Placement, Wanted>>>,
    all_at: Option<Instant>,
}

impl Looked {
    /// Whether everything is to be looked at, and not only what may have load.
    pub fn is_due(&mut self, wanted: &Arc<BTreeMap<Placement, Wanted>>, now: Instant) -> bool {
        let is_same = self.wanted.as_ref().is_some_and(|before| Arc::ptr_eq(before, wanted));
        let is_recent = self.all_at.is_some_and(|at| now.duration_since(at) < Duration::from_millis(LOOK_ALL_MS));
        if is_same && is_recent {
            return false;
        }
        (self.wanted, self.all_at) = (Some(wanted.clone()), Some(now));
        true
    }
}

impl Control {
    /// All placements that may have replicas, and what for. The same as before as long as nothing has changed.
    pub(crate) fn wanted(&self, state: &State) -> Arc<BTreeMap<Placement, Wanted>> {
        // Read before the placements are made: what changes meanwhile is seen the next time.
        let (seq, scales, now_ms) = (state.seq, self.scales.changes.count(), now_ms());
        if let Some(wants) = &*self.wants.lock()
            && (wants.seq, wants.scales) == (seq, scales)
            && now_ms < wants.until_ms
        {
            return wants.placements.clone();
        }
        let (placements, until_ms) = self.find_wanted(state, now_ms);
        let placements = Arc::new(placements);
        *self.wants.lock() = Some(Wants { seq, scales, until_ms, placements: placements.clone() });
        placements
    }

    fn find_wanted(&self, state: &State, now_ms: u64) -> (BTreeMap<Placement, Wanted>, u64) {
        let (mut all, mut until_ms) = (BTreeMap::new(), u64::MAX);
        for (key, model) in &state.models {
            let (mut wanted, model_until_ms) = self.wanted_of(state, key, model, now_ms);
            all.append(&mut wanted);
            until_ms = until_ms.min(model_until_ms);
        }
        (all, until_ms)
    }

    /// The placements of one model that may have replicas, and until when that holds, in milliseconds since 1970.
    pub(crate) fn wanted_of(
        &self,
        state: &State,
        key: &ModelKey,
        model: &Model,
        now_ms: u64,
    ) -> (BTreeMap<Placement, Wanted>, u64) {
        let mut wanted = BTreeMap::new();
        let mut until_ms = u64::MAX;
        let target = |placement: &Placement| self.scales.target(placement).unwrap_or_else(|| self.running(placement));
        for (environment, live) in &model.live {
            let kept_until_ms = live.since_ms.saturating_add(self.config.keep_ms);
            if let Some(replaced) = live.replaced.filter(|replaced| model.versions.contains_key(replaced))
                && now_ms < kept_until_ms
            {
                let placement = state.placement(key, environment, replaced);
                let floor = target(&placement);
                until_ms = until_ms.min(kept_until_ms);
                wanted.insert(placement, Wanted { part: Part::Kept, floor });
            }
        }
        for deployment in model.running() {
            let placement = state.placement(key, &deployment.environment, deployment.version);
            let floor = self.scales.floor(&placement).max(deployment.progress.is_some() as u32);
            wanted.insert(placement, Wanted { part: Part::Candidate, floor });
        }
        for (environment, live) in &model.live {
            let placement = state.placement(key, environment, live.version);
            // While a release is on its way, the version that it may go back to keeps its capacity.
            let is_baseline = model.shifting(environment).is_some();
            let floor = if is_baseline { target(&placement) } else { self.scales.floor(&placement) };
            wanted.insert(placement, Wanted { part: Part::Live, floor });
        }
        (wanted, until_ms)
    }

    /// Replicas of a placement that run and are to go on.
    fn running(&self, placement: &Placement) -> u32 {
        let statuses = self.engine.replicas();
        let own = statuses.iter().filter(|status| {
            status.placement == *placement
                && !matches!(status.state, ReplicaState::Ended { .. })
                && !self.replicas.is_leaving(&status.replica)
        });
        own.count() as u32
    }
}
