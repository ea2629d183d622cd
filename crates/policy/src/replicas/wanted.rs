//! Which placements of a model may have replicas, and what for.

use std::collections::BTreeMap;

use domain::state::Model;
use domain::{ModelKey, Placement, State};

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

impl Wanted {
    /// Whether it is a candidate that takes no traffic yet: its deployment alone starts and judges
    /// its replica.
    pub fn is_trial(&self) -> bool {
        self.part == Part::Candidate && self.floor == 0
    }
}

/// What is known of the number of a placement's replicas.
pub trait Sizes {
    /// How many it should have, or has if nothing was decided yet.
    fn target(&self, placement: &Placement) -> u32;

    /// The fewest that a release asks for.
    fn floor(&self, placement: &Placement) -> u32;
}

/// The placements of one model that may have replicas, and until when that holds, in milliseconds
/// since 1970. What was replaced is kept for `keep_ms`; a clock that was set back by more than that
/// ends it, too.
pub fn wanted(
    state: &State,
    key: &ModelKey,
    model: &Model,
    sizes: &impl Sizes,
    keep_ms: u64,
    now_ms: u64,
) -> (BTreeMap<Placement, Wanted>, u64) {
    let (mut wanted, mut until_ms) = (BTreeMap::new(), u64::MAX);
    for (environment, live) in &model.live {
        let kept_until_ms = live.since_ms.saturating_add(keep_ms);
        let is_kept = now_ms < kept_until_ms && live.since_ms < now_ms.saturating_add(keep_ms);
        let replaced = live.replaced.filter(|replaced| model.versions.contains_key(replaced));
        if let Some(replaced) = replaced.filter(|_| is_kept) {
            let placement = state.placement(key, environment, replaced);
            let floor = sizes.target(&placement);
            until_ms = until_ms.min(kept_until_ms);
            wanted.insert(placement, Wanted { part: Part::Kept, floor });
        }
    }
    for deployment in model.running() {
        let placement = state.placement(key, &deployment.environment, deployment.version);
        let floor = sizes.floor(&placement).max(deployment.progress.is_some() as u32);
        wanted.insert(placement, Wanted { part: Part::Candidate, floor });
    }
    for (environment, live) in &model.live {
        let placement = state.placement(key, environment, live.version);
        // While a release is on its way, the version that it may go back to keeps its capacity.
        let is_baseline = model.shifting(environment).is_some();
        let floor = if is_baseline { sizes.target(&placement) } else { sizes.floor(&placement) };
        wanted.insert(placement, Wanted { part: Part::Live, floor });
    }
    (wanted, until_ms)
}
