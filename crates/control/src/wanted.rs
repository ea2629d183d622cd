//! Which placements may have replicas, and what for. Found from the state model by model, and kept
//! as long as it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use domain::state::Model;
use domain::{ModelKey, Placement, State};
use engine::ReplicaState;
use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use policy::replicas::{Sizes, Wanted, wanted};

use crate::{Control, LOOK_ALL_MS};

/// All models are looked at within this time even if nothing says that they have changed, in
/// milliseconds.
const ROUND_MS: u64 = 30_000;
/// So many models are looked at each second, however few there are.
const ROUND_MODELS_MIN: usize = 300;

/// All placements that may have replicas, by model. Copies share what is the same.
#[derive(Clone, Default)]
pub(crate) struct AllWanted(OrdMap<ModelKey, Arc<BTreeMap<Placement, Wanted>>>);

impl AllWanted {
    /// What a placement is for; `None` if it may have no replicas.
    pub fn get(&self, placement: &Placement) -> Option<&Wanted> {
        self.0.get(&placement.model)?.get(placement)
    }

    /// A placement as it is kept here, and what it is for.
    pub fn find(&self, placement: &Placement) -> Option<(&Placement, &Wanted)> {
        self.0.get(&placement.model)?.get_key_value(placement)
    }

    /// The placements of one model.
    pub fn of(&self, model: &ModelKey) -> impl Iterator<Item = (&Placement, &Wanted)> {
        self.0.get(model).into_iter().flat_map(|placements| placements.iter())
    }

    /// The models of which something else is wanted than in an earlier one.
    pub fn changed_since<'a>(
        &'a self,
        before: &'a AllWanted,
    ) -> impl Iterator<Item = &'a ModelKey> {
        before.0.diff(&self.0).map(|change| match change {
            DiffItem::Add(key, _)
            | DiffItem::Update { new: (key, _), .. }
            | DiffItem::Remove(key, _) => key,
        })
    }

    /// Puts in what is wanted of one model. Gives the placements of which nothing is wanted any
    /// more.
    pub fn set(
        &mut self,
        model: &ModelKey,
        placements: BTreeMap<Placement, Wanted>,
    ) -> Vec<Placement> {
        let before = match placements.is_empty() {
            true => self.0.remove(model),
            false if self.0.get(model).is_some_and(|before| **before == placements) => None,
            false => self.0.insert(model.clone(), Arc::new(placements)),
        };
        let before = before.iter().flat_map(|before| before.keys());
        before.filter(|placement| self.get(placement).is_none()).cloned().collect()
    }
}

/// What has changed since it was last asked.
#[derive(Default)]
pub(crate) struct Fresh {
    /// Models of which something has changed that a decision may depend on.
    pub models: BTreeSet<ModelKey>,
    /// Placements that may have no replicas any more.
    pub gone: Vec<Placement>,
}

/// A look at all models in turn, some at a time: whatever was missed is seen within one round.
#[derive(Default)]
pub(crate) struct Round {
    after: Option<ModelKey>,
    looked_at_ms: Option<u64>,
}

impl Round {
    /// The models whose turn it is, and whether they are the last of a round.
    pub fn next(&mut self, wanted: &AllWanted, now_ms: u64) -> (Vec<ModelKey>, bool) {
        if self.looked_at_ms.is_some_and(|at_ms| now_ms.saturating_sub(at_ms) < LOOK_ALL_MS) {
            return (vec![], false);
        }
        self.looked_at_ms = Some(now_ms);
        let models_max =
            (wanted.0.len() / (ROUND_MS / LOOK_ALL_MS) as usize + 1).max(ROUND_MODELS_MIN);
        let from = self.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let rest = wanted.0.range::<_, ModelKey>((from, Bound::Unbounded));
        let models: Vec<ModelKey> = rest.map(|(key, _)| key.clone()).take(models_max).collect();
        let is_last = models.len() < models_max;
        self.after = models.last().filter(|_| !is_last).cloned();
        (models, is_last)
    }
}

impl Control {
    /// All placements that may have replicas at this moment.
    pub(crate) fn wanted(&self) -> AllWanted {
        self.publish_routes();
        self.published.lock().wanted.clone()
    }

    /// The same, and what has changed since this was last asked: one asks.
    pub(crate) fn wanted_afresh(&self) -> (AllWanted, Fresh) {
        self.publish_routes();
        let mut published = self.published.lock();
        (published.wanted.clone(), std::mem::take(&mut published.fresh))
    }

    /// The placements of one model that may have replicas, and until when that holds, in
    /// milliseconds since 1970.
    pub(crate) fn wanted_of(
        &self,
        state: &State,
        key: &ModelKey,
        model: &Model,
    ) -> (BTreeMap<Placement, Wanted>, u64) {
        wanted(state, key, model, self, self.config.keep_ms, self.clock.now_ms())
    }

    /// Replicas of a placement that run and are to go on.
    fn running(&self, placement: &Placement) -> u32 {
        let statuses = self.replicas();
        let own = statuses.iter().filter(|status| {
            status.placement == *placement
                && !matches!(status.state, ReplicaState::Ended { .. })
                && !self.replicas.is_leaving(&status.replica)
        });
        own.count() as u32
    }
}

impl Sizes for Control {
    fn target(&self, placement: &Placement) -> u32 {
        self.scales.target(placement).unwrap_or_else(|| self.running(placement))
    }

    fn floor(&self, placement: &Placement) -> u32 {
        self.scales.floor(placement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{Digest, VersionNumber};
    use policy::replicas::Part;

    fn key(model: usize) -> ModelKey {
        domain::state::default_model(&format!("m{model:05}")).unwrap()
    }

    fn live(model: usize, revision: u32) -> BTreeMap<Placement, Wanted> {
        let placement = Placement {
            model: key(model),
            environment: "production".parse().unwrap(),
            version: VersionNumber(1),
            digest: Digest::ZERO,
            revision,
        };
        [(placement, Wanted { part: Part::Live, floor: 0 })].into()
    }

    #[test]
    fn what_is_wanted_no_more_is_told_once() {
        let mut all = AllWanted::default();
        assert!(all.set(&key(1), live(1, 0)).is_empty());
        let before = all.clone();
        assert!(all.set(&key(1), live(1, 0)).is_empty());
        assert_eq!(all.changed_since(&before).count(), 0, "the same is no change");
        let old: Vec<Placement> = live(1, 0).into_keys().collect();
        assert_eq!(all.set(&key(1), live(1, 1)), old, "other variables are another placement");
        assert!(all.get(&old[0]).is_none() && all.of(&key(1)).count() == 1);
        assert_eq!(all.changed_since(&before).collect::<Vec<_>>(), [&key(1)]);
        assert_eq!(all.set(&key(1), BTreeMap::new()).len(), 1);
        assert!(all.set(&key(1), BTreeMap::new()).is_empty());
    }

    #[test]
    fn every_model_has_its_turn_within_a_round() {
        let mut all = AllWanted::default();
        for model in 0..25_000 {
            all.set(&key(model), live(model, 0));
        }
        let (mut round, mut now_ms, mut seen) = (Round::default(), 0, BTreeSet::new());
        for second in 0..30 {
            let (models, is_last) = round.next(&all, now_ms);
            assert!(
                models.len() <= 834 && is_last == (second == 29),
                "{second}: {} {is_last}",
                models.len()
            );
            assert!(models.into_iter().all(|model| seen.insert(model)), "each once");
            assert_eq!(
                round.next(&all, now_ms),
                (vec![], false),
                "not more often than once a second"
            );
            now_ms += LOOK_ALL_MS;
        }
        assert_eq!(seen.len(), 25_000);
        assert_eq!(round.next(&all, now_ms).0[0], key(0), "and then again");
        assert_eq!(Round::default().next(&AllWanted::default(), now_ms), (vec![], true));
    }
}
