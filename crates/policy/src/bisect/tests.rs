//! Properties of the search, over all places of the fault and many sets of versions that cannot be tried.

use proptest::prelude::*;

use super::*;
use crate::random::Random;

/// Looks for a fault that came in with a version, where some cannot be tried.
fn search(count: usize, fault: usize, cannot: &[bool], removed: &[bool]) -> (Found, usize, usize) {
    let mut bisect = Bisect::new(count);
    (1..count - 1).filter(|at| removed[*at]).for_each(|at| bisect.leave_out(at));
    let mut skipped = 0;
    while let Some(at) = bisect.next() {
        assert!(!removed[at]);
        let mark = match cannot[at] {
            true => Mark::Skipped,
            false if at >= fault => Mark::Bad,
            false => Mark::Good,
        };
        skipped += usize::from(mark == Mark::Skipped);
        bisect.tell(at, mark);
    }
    (bisect.found(), bisect.tries(), skipped)
}

/// What can be known at best.
fn expected(count: usize, fault: usize, passed_over: impl Fn(usize) -> bool) -> Found {
    let is_known = |at: &usize| *at == 0 || *at == count - 1 || !passed_over(*at);
    let good = (0..fault).rev().find(is_known).unwrap_or(0);
    let bad = (fault..count).find(is_known).unwrap_or(count - 1);
    if bad == good + 1 { Found::First(bad) } else { Found::Between(good + 1, bad) }
}

fn log2_up(number: usize) -> usize {
    number.next_power_of_two().trailing_zeros() as usize
}

#[test]
fn every_place_is_found_in_as_few_tries_as_can_be() {
    for count in 2..130 {
        let none = vec![false; count];
        for fault in 1..count {
            let (found, tries, _) = search(count, fault, &none, &none);
            assert_eq!(found, Found::First(fault));
            assert!(tries <= log2_up(count - 1), "{count} {fault}: {tries}");
        }
    }
}

#[test]
fn thirty_two_versions_take_five_tries() {
    let none = vec![false; 32];
    for fault in 1..32 {
        assert!(search(32, fault, &none, &none).1 <= 5);
        for broken in 1..31 {
            let mut cannot = none.clone();
            cannot[broken] = true;
            let (found, tries, _) = search(32, fault, &cannot, &none);
            assert_eq!(found, expected(32, fault, |at| cannot[at]));
            assert!(tries <= 6, "fault {fault}, broken {broken}: {tries}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() })]
    #[test]
    fn the_fault_or_the_exact_range_is_found(
        (count, fault, cannot, removed) in (2_usize..80).prop_flat_map(|count| {
            let some = || proptest::collection::vec(proptest::bool::weighted(0.3), count);
            (Just(count), 1..count, some(), some())
        })
    ) {
        let (found, tries, skipped) = search(count, fault, &cannot, &removed);
        prop_assert_eq!(found, expected(count, fault, |at| cannot[at] || removed[at]));
        let may_be_tried = (1..count - 1).filter(|at| !removed[*at]).count();
        prop_assert!(tries <= log2_up(may_be_tried + 1) + skipped);
        prop_assert!(tries <= log2_up(count) + skipped);
    }
}

#[test]
fn a_version_is_like_the_end_that_it_is_nearer_to() {
    let mut random = Random::new(11);
    let mut terms = |centre: f64| -> Vec<f64> {
        (0..400).map(|_| centre + random.below(1_000) as f64 / 1e3).collect()
    };
    let (good, bad) = (terms(1.0), terms(2.0));
    let same = |mean: f64| mean;
    assert!(ends(&good, &bad, same, 1).unwrap().is_beyond_noise());
    assert!(!ends(&good, &terms(1.0), same, 1).unwrap().is_beyond_noise());
    let side_of = |version: &[f64]| side(&good, &bad, version, same, 1).unwrap().0;
    assert_eq!(side_of(&terms(1.1)), Side::Good);
    assert_eq!(side_of(&terms(1.9)), Side::Bad);
    assert_eq!(side_of(&terms(1.5)), Side::Undecided);
    // A metric of which less is worse.
    assert_eq!(side(&bad, &good, &terms(1.1), same, 1).unwrap().0, Side::Bad);
    assert!(side(&[], &[], &[], same, 1).is_none());
}
