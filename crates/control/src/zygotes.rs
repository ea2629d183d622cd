//! Which zygotes are of use, and for whom: found from what may have replicas, model by model, so
//! that it takes as long with ten thousand models that have not changed as with one.

use std::collections::{BTreeMap, BTreeSet};

use domain::launch::ZygoteKey;
use domain::{ModelKey, Placement};
use policy::replicas::Part;

use crate::wanted::AllWanted;

/// How long a zygote stays that nothing is forked from while all that could be has a parent, in
/// milliseconds: a version that is deployed soon after another starts from it.
const REST_MS: u64 = 120_000;

/// Placements by the zygote that they can be forked from.
#[derive(Default)]
pub(crate) struct Zygotes {
    seen: AllWanted,
    users: BTreeMap<ZygoteKey, BTreeSet<Placement>>,
    keys: BTreeMap<ModelKey, BTreeMap<Placement, ZygoteKey>>,
}

impl Zygotes {
    /// Takes in what may have replicas now. `key_of` gives the zygote that a placement can be
    /// forked from, which is always the same.
    pub fn update(&mut self, wanted: &AllWanted, key_of: impl Fn(&Placement) -> Option<ZygoteKey>) {
        for model in wanted.changed_since(&self.seen) {
            for (placement, key) in self.keys.remove(model).into_iter().flatten() {
                let Some(users) = self.users.get_mut(&key) else { continue };
                users.remove(&placement);
                if users.is_empty() {
                    self.users.remove(&key);
                }
            }
            let keyed = wanted
                .of(model)
                .filter_map(|(placement, _)| Some((placement.clone(), key_of(placement)?)));
            let keyed: BTreeMap<Placement, ZygoteKey> = keyed.collect();
            for (placement, key) in &keyed {
                self.users.entry(key.clone()).or_default().insert(placement.clone());
            }
            if !keyed.is_empty() {
                self.keys.insert(model.clone(), keyed);
            }
        }
        self.seen = wanted.clone();
    }

    /// Whether a zygote may be asked for something soon, although it was not for so long: then a
    /// parent of what can be forked from it is missing. `has_parent` tells of a placement whether
    /// it has one.
    pub fn is_of_use(
        &self,
        key: &ZygoteKey,
        idle_ms: u64,
        has_parent: impl Fn(&Placement) -> bool,
    ) -> bool {
        match self.users.get(key) {
            Some(users) => idle_ms < REST_MS || !users.iter().all(has_parent),
            None => false,
        }
    }

    /// Each zygote that something live can be forked from, with one such placement.
    pub fn of_live(&self) -> impl Iterator<Item = (&ZygoteKey, &Placement)> {
        let is_live = |placement: &&Placement| {
            self.seen.get(placement).is_some_and(|wanted| wanted.part == Part::Live)
        };
        self.users.iter().filter_map(move |(key, users)| Some((key, users.iter().find(is_live)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::placement_of;
    use domain::Digest;
    use policy::replicas::Wanted;

    #[test]
    fn a_zygote_is_of_use_as_long_as_a_model_has_its_libraries() {
        // The second version of any model has other libraries.
        let key_of = |placement: &Placement| {
            let lock = Digest::of(&[(placement.version.0 > 1) as u8]);
            Some(ZygoteKey {
                project: placement.model.project.clone(),
                lock,
                sandbox: String::new(),
            })
        };
        let [first, second] = [1, 2].map(|version| key_of(&placement_of("a", version, 0)).unwrap());
        let (mut zygotes, mut wanted) = (Zygotes::default(), AllWanted::default());
        let set = |wanted: &mut AllWanted, model: &str, placements: &[(u32, Part)]| {
            let placements = placements.iter().map(|(version, part)| {
                (placement_of(model, *version, 0), Wanted { part: *part, floor: 0 })
            });
            wanted.set(&domain::state::default_model(model).unwrap(), placements.collect());
        };
        set(&mut wanted, "a", &[(1, Part::Live)]);
        set(&mut wanted, "b", &[(1, Part::Live), (2, Part::Candidate)]);
        zygotes.update(&wanted, key_of);
        let is_used = |zygotes: &Zygotes, key: &ZygoteKey| zygotes.is_of_use(key, 0, |_| true);
        assert!(is_used(&zygotes, &first) && is_used(&zygotes, &second));
        let first_has = |placement: &Placement| *placement == placement_of("a", 1, 0);
        assert!(zygotes.is_of_use(&first, REST_MS, first_has), "`b` may have to start from it");
        assert!(
            !zygotes.is_of_use(&first, REST_MS, |_| true),
            "all that could start from it has something better"
        );
        assert!(zygotes.is_of_use(&first, REST_MS - 1, |_| true), "another version may come soon");
        assert_eq!(
            zygotes.of_live().collect::<Vec<_>>(),
            [(&first, &placement_of("a", 1, 0))],
            "a candidate's are not made ahead"
        );
        set(&mut wanted, "b", &[(1, Part::Kept), (2, Part::Live)]);
        set(&mut wanted, "a", &[]);
        zygotes.update(&wanted, key_of);
        assert!(is_used(&zygotes, &first));
        assert_eq!(zygotes.of_live().collect::<Vec<_>>(), [(&second, &placement_of("b", 2, 0))]);
        set(&mut wanted, "b", &[]);
        zygotes.update(&wanted, key_of);
        assert!(
            !is_used(&zygotes, &first) && !is_used(&zygotes, &second) && zygotes.keys.is_empty()
        );
    }
}
