//! Which missing replicas start now. Starts cost processor time, memory and descriptors, and a
//! machine that makes many at once makes none of them soon; so their number at a time is bounded,
//! however many are missing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Starts at the same time for each core: while one reads its files another computes.
pub const STARTS_PER_CORE: u32 = 2;
/// On a machine of few cores.
pub const STARTS_AT_ONCE_MIN: u32 = 4;
/// So many times as many are made where requests wait for a first replica: those must not queue
/// behind slow starts of others.
pub const WAKES: u32 = 4;

/// Starts at the same time on a machine with so many cores.
pub fn starts_at_once_max(cores: u32) -> u32 {
    cores.saturating_mul(STARTS_PER_CORE).max(STARTS_AT_ONCE_MIN)
}

/// What one placement lacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lack {
    /// Replicas that it should have and that are not even starting.
    pub missing: u32,
    /// Replicas that serve.
    pub ready: u32,
    /// Replicas that start.
    pub starting: u32,
    /// Whether requests wait.
    pub waits: bool,
}

/// How many of each placement's missing replicas start now, in the order of the lacks; `starting`
/// are all on their way already. First one each where requests wait and no replica is there or
/// coming, then one by one to whoever has the fewest.
pub fn starts(lacks: &[Lack], starting: u32, at_once_max: u32) -> Vec<u32> {
    let mut given = vec![0; lacks.len()];
    let mut total = starting;
    for (lack, given) in lacks.iter().zip(&mut given) {
        let wakes = lack.missing > 0 && lack.waits && lack.ready + lack.starting == 0;
        if wakes && total < at_once_max.saturating_mul(WAKES) {
            *given = 1;
            total += 1;
        }
    }
    let order = |at: usize, given: u32| Reverse((lacks[at].ready + lacks[at].starting + given, at));
    let lacking = (0..lacks.len()).filter(|&at| given[at] < lacks[at].missing);
    let mut queue: BinaryHeap<_> = lacking.map(|at| order(at, given[at])).collect();
    while total < at_once_max
        && let Some(Reverse((_, at))) = queue.pop()
    {
        given[at] += 1;
        total += 1;
        if given[at] < lacks[at].missing {
            queue.push(order(at, given[at]));
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn by_the_cores_of_the_machine() {
        assert_eq!([1, 2, 16, u32::MAX].map(starts_at_once_max), [4, 4, 32, u32::MAX]);
    }

    #[test]
    fn a_large_placement_leaves_room_for_others() {
        let large = Lack { missing: 1_000, ..Lack::default() };
        let small = Lack { missing: 2, ..Lack::default() };
        assert_eq!(starts(&[large, small], 0, 4), [2, 2]);
        assert_eq!(starts(&[large, small], 3, 4), [1, 0]);
        assert_eq!(starts(&[Lack { ready: 1, ..large }, small], 0, 3), [1, 2]);
    }

    #[test]
    fn requests_that_wait_do_not_queue_behind_slow_starts() {
        let wakes = Lack { missing: 3, waits: true, ..Lack::default() };
        assert_eq!(starts(&[wakes, wakes], 4, 4), [1, 1]);
        assert_eq!(starts(&[Lack { starting: 1, ..wakes }], 4, 4), [0]);
        assert_eq!(starts(&vec![wakes; 100], 0, 4).iter().sum::<u32>(), 4 * WAKES);
    }

    proptest! {
        #[test]
        fn bounded_and_without_idle_slots(
            lacks in prop::collection::vec(
                (0u32..9, 0u32..4, 0u32..4, any::<bool>())
                    .prop_map(|(missing, ready, starting, waits)| Lack { missing, ready, starting, waits }),
                0..20,
            ),
            more in 0u32..9,
            at_once_max in 1u32..20,
        ) {
            let starting = lacks.iter().map(|lack| lack.starting).sum::<u32>() + more;
            let given = starts(&lacks, starting, at_once_max);
            let sum: u32 = given.iter().sum();
            let wakes = lacks.iter().filter(|lack| lack.waits && lack.ready + lack.starting == 0).count() as u32;
            prop_assert!(starting + sum <= starting.max(at_once_max) + wakes);
            prop_assert!(starting + sum <= starting.max(at_once_max * WAKES));
            let all_given = lacks.iter().zip(&given).all(|(lack, given)| *given == lack.missing);
            prop_assert!(all_given || starting + sum >= at_once_max);
            prop_assert!(lacks.iter().zip(&given).all(|(lack, given)| *given <= lack.missing));
        }
    }
}
