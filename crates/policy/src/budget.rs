//! Who gets how many replicas when the models together want more than the machine has, and what is
//! evicted of what is parked.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A placement used within this time is not idle, in milliseconds; such placements share alike.
pub const BUSY_MS: u64 = 1_000;

/// What one placement wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Want {
    /// Replicas that its own decision asks for.
    pub replicas: u32,
    /// Replicas that it is guaranteed.
    pub min: u32,
    /// Replicas that the requests in its system need; guaranteed too.
    pub in_flight_floor: u32,
    /// Thousandths of a core that one replica takes.
    pub cores_milli: u64,
    /// Memory that one replica takes, in MiB.
    pub memory_mb: u64,
    /// Time since its last request, in milliseconds.
    pub idle_ms: u64,
}

/// What there is for all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Thousandths of a core.
    pub cores_milli: u64,
    /// Memory in MiB.
    pub memory_mb: u64,
}

/// Why a placement got no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GrantRule {
    /// It got all that it wants.
    Full,
    /// The cores went to placements that were used more recently, or were shared with those as
    /// busy.
    Cores,
    /// The memory did.
    Memory,
}

/// What one placement gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant {
    /// How many replicas.
    pub replicas: u32,
    /// What cut it.
    pub rule: GrantRule,
}

/// Shares the budget; the grants are in the order of the wants. Each placement first gets its
/// guarantee, the larger of `min` and `in_flight_floor` but no more than it wants; only these can
/// exceed the budget. The rest goes to the busy ones, replica by replica to the one that has the
/// smallest part of what it wants, and then to the idle ones, the least recently used last.
pub fn allot(wants: &[Want], budget: Budget) -> Vec<Grant> {
    let guarantee = |want: &Want| want.min.max(want.in_flight_floor).min(want.replicas);
    let mut grants: Vec<Grant> = wants
        .iter()
        .map(|want| Grant { replicas: guarantee(want), rule: GrantRule::Full })
        .collect();
    let mut left =
        Left { cores_milli: budget.cores_milli as u128, memory_mb: budget.memory_mb as u128 };
    for (want, grant) in wants.iter().zip(&grants) {
        left.take(want, grant.replicas as u128);
    }
    // First in the queue: busy before idle, the most recently used first; among the busy by the
    // part that they have.
    let idle_ms = |want: &Want| if want.idle_ms < BUSY_MS { 0 } else { want.idle_ms };
    let part = |want: &Want, granted: u32| {
        if want.idle_ms < BUSY_MS {
            granted as u64 * 1_000_000 / want.replicas.max(1) as u64
        } else {
            0
        }
    };
    let mut queue: BinaryHeap<Reverse<(u64, u64, usize)>> = wants
        .iter()
        .enumerate()
        .map(|(at, want)| Reverse((idle_ms(want), part(want, grants[at].replicas), at)))
        .filter(|Reverse((_, _, at))| grants[*at].replicas < wants[*at].replicas)
        .collect();
    while let Some(Reverse((idle, _, at))) = queue.pop() {
        let (want, grant) = (&wants[at], &mut grants[at]);
        if let Some(short_of) = left.short_of(want) {
            grant.rule = short_of;
            continue;
        }
        left.take(want, 1);
        grant.replicas += 1;
        if grant.replicas < want.replicas {
            queue.push(Reverse((idle, part(want, grant.replicas), at)));
        }
    }
    grants
}

/// What is not given away yet.
struct Left {
    cores_milli: u128,
    memory_mb: u128,
}

impl Left {
    fn take(&mut self, want: &Want, replicas: u128) {
        self.cores_milli = self.cores_milli.saturating_sub(want.cores_milli as u128 * replicas);
        self.memory_mb = self.memory_mb.saturating_sub(want.memory_mb as u128 * replicas);
    }

    fn short_of(&self, want: &Want) -> Option<GrantRule> {
        if want.memory_mb as u128 > self.memory_mb {
            Some(GrantRule::Memory)
        } else if want.cores_milli as u128 > self.cores_milli {
            Some(GrantRule::Cores)
        } else {
            None
        }
    }
}

/// What is kept without serving, so that a later replica starts fast. In the order in which it is
/// given up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ParkedKind {
    /// A replica that was forked and serves nobody.
    Spare,
    /// A process with the model loaded, to fork from.
    Parent,
    /// A process with the libraries imported, to fork from.
    Zygote,
}

/// One parked process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parked {
    /// What it is.
    pub kind: ParkedKind,
    /// What its end would free, in MiB.
    pub memory_mb: u64,
    /// Time since it was used, in milliseconds.
    pub idle_ms: u64,
}

/// Which parked processes to end, as indexes in the order of ending, until the rest fits the
/// budget: spares, then parents, then zygotes, the least recently used first within each.
pub fn evict(parked: &[Parked], memory_mb_max: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..parked.len()).collect();
    order.sort_by_key(|&at| (parked[at].kind, Reverse(parked[at].idle_ms), at));
    let mut used_mb: u128 = parked.iter().map(|parked| parked.memory_mb as u128).sum();
    let mut evicted = Vec::new();
    for at in order {
        if used_mb <= memory_mb_max as u128 {
            break;
        }
        if parked[at].memory_mb > 0 {
            used_mb -= parked[at].memory_mb as u128;
            evicted.push(at);
        }
    }
    evicted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ONE: Want = Want {
        replicas: 1,
        min: 0,
        in_flight_floor: 0,
        cores_milli: 1_000,
        memory_mb: 100,
        idle_ms: 0,
    };

    fn replicas(wants: &[Want], cores: u64, memory_mb: u64) -> Vec<(u32, GrantRule)> {
        let grants = allot(wants, Budget { cores_milli: cores * 1_000, memory_mb });
        grants.iter().map(|grant| (grant.replicas, grant.rule)).collect()
    }

    #[test]
    fn enough_for_all() {
        let wants = [Want { replicas: 3, ..ONE }, Want { replicas: 2, idle_ms: 9_000, ..ONE }];
        assert_eq!(replicas(&wants, 5, 500), [(3, GrantRule::Full), (2, GrantRule::Full)]);
    }

    #[test]
    fn the_least_recently_used_gives_way_first() {
        let idle = |idle_ms| Want { idle_ms, ..ONE };
        let wants = [idle(50_000), idle(20_000), Want { replicas: 2, ..ONE }, idle(90_000)];
        let expected = [
            (0, GrantRule::Cores),
            (1, GrantRule::Full),
            (2, GrantRule::Full),
            (0, GrantRule::Cores),
        ];
        assert_eq!(replicas(&wants, 3, 1_000), expected);
        let expected = expected.map(|(replicas, rule)| {
            (replicas, if rule == GrantRule::Cores { GrantRule::Memory } else { rule })
        });
        assert_eq!(replicas(&wants, 30, 300), expected);
    }

    #[test]
    fn the_busy_share_by_what_they_want() {
        let wants = [Want { replicas: 8, ..ONE }, Want { replicas: 4, ..ONE }];
        assert_eq!(replicas(&wants, 6, 10_000), [(4, GrantRule::Cores), (2, GrantRule::Cores)]);
    }

    #[test]
    fn guarantees_come_first_even_beyond_the_budget() {
        let idle = Want { replicas: 4, min: 2, idle_ms: 60_000, ..ONE };
        let busy = Want { replicas: 4, in_flight_floor: 1, ..ONE };
        assert_eq!(
            replicas(&[idle, busy], 4, 1_000),
            [(2, GrantRule::Cores), (2, GrantRule::Cores)]
        );
        assert_eq!(
            replicas(&[idle, busy], 1, 1_000),
            [(2, GrantRule::Cores), (1, GrantRule::Cores)]
        );
    }

    #[test]
    fn what_does_not_fit_leaves_room_for_what_does() {
        let large = Want { memory_mb: 900, ..ONE };
        assert_eq!(replicas(&[large, ONE], 4, 500), [(0, GrantRule::Memory), (1, GrantRule::Full)]);
    }

    #[test]
    fn spares_then_parents_then_zygotes() {
        let parked = |kind, idle_ms| Parked { kind, memory_mb: 100, idle_ms };
        let all = [
            parked(ParkedKind::Zygote, 900),
            parked(ParkedKind::Parent, 5),
            parked(ParkedKind::Spare, 1),
            parked(ParkedKind::Parent, 7),
            parked(ParkedKind::Spare, 2),
        ];
        assert_eq!(evict(&all, 500), Vec::<usize>::new());
        assert_eq!(evict(&all, 499), [4]);
        assert_eq!(evict(&all, 150), [4, 2, 3, 1]);
        assert_eq!(evict(&all, 0), [4, 2, 3, 1, 0]);
        assert_eq!(evict(&[Parked { memory_mb: u64::MAX, ..all[0] }; 3], u64::MAX), [0, 1]);
    }

    fn any_want() -> impl Strategy<Value = Want> {
        (0u32..20, 0u32..5, 0u32..5, 0u64..3_000, 0u64..2_000, 0u64..100_000).prop_map(
            |(replicas, min, in_flight_floor, cores_milli, memory_mb, idle_ms)| Want {
                replicas,
                min,
                in_flight_floor,
                cores_milli,
                memory_mb,
                idle_ms,
            },
        )
    }

    proptest! {
        #[test]
        fn within_the_budget_and_never_below_a_guarantee(
            wants in prop::collection::vec(any_want(), 0..20), cores_milli in 0u64..40_000, memory_mb in 0u64..20_000,
        ) {
            let grants = allot(&wants, Budget { cores_milli, memory_mb });
            prop_assert_eq!(grants.len(), wants.len());
            let guaranteed = |want: &Want| want.min.max(want.in_flight_floor).min(want.replicas);
            let sum = |replicas: &dyn Fn(usize) -> u32| {
                let each = wants.iter().enumerate().map(|(at, want)| (replicas(at) as u64 * want.cores_milli, replicas(at) as u64 * want.memory_mb));
                each.fold((0, 0), |(cores, memory), (more_cores, more_memory)| (cores + more_cores, memory + more_memory))
            };
            let (cores, memory) = sum(&|at| grants[at].replicas);
            let (least_cores, least_memory) = sum(&|at| guaranteed(&wants[at]));
            prop_assert!(cores <= cores_milli.max(least_cores) && memory <= memory_mb.max(least_memory));
            for (want, grant) in wants.iter().zip(&grants) {
                prop_assert!(grant.replicas >= guaranteed(want) && grant.replicas <= want.replicas);
                prop_assert_eq!(grant.rule == GrantRule::Full, grant.replicas == want.replicas);
            }
            // What was cut does not fit into what is left.
            for (want, grant) in wants.iter().zip(&grants).filter(|(_, grant)| grant.rule != GrantRule::Full) {
                let fits = cores + want.cores_milli <= cores_milli && memory + want.memory_mb <= memory_mb;
                prop_assert!(!fits, "{want:?} {grant:?}");
            }
        }

        #[test]
        fn an_idle_placement_never_takes_from_one_used_later(one in any_want(), idle_ms in 1_000u64..50_000, cores_milli in 0u64..20_000) {
            let later = Want { idle_ms, ..one };
            let earlier = Want { idle_ms: idle_ms + 1, ..one };
            let grants = allot(&[earlier, later], Budget { cores_milli, memory_mb: u64::MAX });
            prop_assert!(grants[1].replicas >= grants[0].replicas);
        }
    }
}
