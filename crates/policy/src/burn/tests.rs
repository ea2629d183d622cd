//! Windows and rates.

use proptest::prelude::*;

use super::*;

const MINUTE_MS: u64 = 60_000;

fn run(target: f64, minutes: std::ops::Range<u64>, all: u64, bad: u64) -> Objective {
    let mut objective = Objective::new(target);
    minutes.for_each(|minute| objective.add(minute * MINUTE_MS, Events { all, bad }));
    objective
}

#[test]
fn a_fast_burn_pages_within_minutes_and_stops_when_it_stops() {
    let mut objective = run(AVAILABILITY, 0..4_000, 100, 0);
    let mut bad_from = 4_000..;
    let told = bad_from.find(|minute| {
        objective.add(minute * MINUTE_MS, Events { all: 100, bad: 20 });
        objective.burning(minute * MINUTE_MS).is_some()
    });
    let told = told.unwrap();
    assert!(told <= 4_005, "{told}");
    let burning = objective.burning(told * MINUTE_MS).unwrap();
    assert_eq!(burning.rule.severity, Severity::Alert);
    assert!(objective.budget_left(told * MINUTE_MS) < 1.0);
    let over = (told + 1..).find(|minute| {
        objective.add(minute * MINUTE_MS, Events { all: 100, bad: 0 });
        objective.burning(minute * MINUTE_MS).is_none_or(|b| b.rule.short_minutes > 5)
    });
    assert!(over.unwrap() <= told + 6);
}

#[test]
fn a_slow_burn_is_a_ticket() {
    let objective = run(AVAILABILITY, 0..5_000, 1_000, 2);
    let burning = objective.burning(4_999 * MINUTE_MS).unwrap();
    assert_eq!((burning.rule.rate, burning.rule.severity), (1.0, Severity::Warning));
    assert!((burning.long_rate - 2.0).abs() < 1e-9);
    assert!((objective.budget_left(4_999 * MINUTE_MS) + 1.0).abs() < 1e-9);
}

#[test]
fn nine_failures_at_night_wake_nobody() {
    let mut objective = Objective::new(AVAILABILITY);
    (0..9).for_each(|minute| objective.add(minute * MINUTE_MS, Events { all: 1, bad: 1 }));
    assert_eq!(objective.burning(9 * MINUTE_MS), None);
    objective.add(9 * MINUTE_MS, Events { all: 1, bad: 1 });
    assert!(objective.burning(9 * MINUTE_MS).is_some());
}

proptest! {
    /// Windows are what summing all minutes gives, to their own resolution, however many minutes
    /// have no events.
    #[test]
    fn windows_hold_what_happened_in_them(
        steps in proptest::collection::vec((0u64..400, 0u64..50, 0u64..50), 1..200),
    ) {
        let mut objective = Objective::new(0.99);
        let (mut minute, mut all) = (1_000_000u64, vec![]);
        for (gap, good, bad) in steps {
            minute += gap;
            objective.add(minute * MINUTE_MS, Events { all: good + bad, bad });
            all.push((minute, bad));
            for (window, slot) in [(5, 1), (30, 1), (60, 1), (120, 1), (360, 1), (1_440, 10), (4_320, 10)] {
                let first = (minute / slot + 1 - window / slot) * slot;
                let expected: u64 =
                    all.iter().filter(|(at, _)| *at >= first).map(|(_, bad)| bad).sum();
                prop_assert_eq!(objective.events(minute * MINUTE_MS, window).bad, expected);
            }
            let later = minute + 10_000;
            prop_assert_eq!(objective.events(later * MINUTE_MS, 4_320).all, 0);
        }
    }
}
