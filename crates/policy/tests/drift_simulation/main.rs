//! Drift on a virtual clock: how often detectors alarm while nothing changes, and how soon when
//! something does. `DRIFT_SEEDS` and `DRIFT_DAYS` make it longer; the figures of
//! docs/monitoring.md are of
//!
//!     DRIFT_SEEDS=200 DRIFT_DAYS=30 cargo test -p policy --test drift_simulation -- --nocapture
//!
//! `delays_by_size_and_traffic` prints the table of docs/monitoring.md; it is left out else.

#[path = "../guard_simulation/random.rs"]
#[allow(dead_code)]
mod random;
mod requests;
mod world;

use policy::drift::{Finds, Reference, Signal, Stage};
use world::{Change, DAY_MINUTES, NO_CHANGE, Scene, World};

const REFERENCE_ROWS: usize = 10_000;

pub fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

const STEADY: Scene = Scene { rows_per_minute: 60.0, cycle: 0.0, weekend: 0.0, bulk_share: 0.0 };

/// Runs all seeds of a scene, and asserts that false alarms are within the promise: one in 525,600
/// minutes of one detector, give or take three standard deviations.
fn keeps_the_promise(name: &str, scene: Scene) {
    let (seeds, days) = (number("DRIFT_SEEDS", 20), number("DRIFT_DAYS", 3));
    let (mut alarms, mut minutes) = (0, 0);
    for seed in 0..seeds {
        let mut world = World::new(1_000 + seed, scene, REFERENCE_ROWS);
        let (of_seed, promised) = world.false_alarms(days * DAY_MINUTES);
        (alarms, minutes) = (alarms + of_seed, minutes + promised);
    }
    let expected = minutes as f64 / 525_600.0;
    println!("{name}: {alarms} alarms in {seeds} × {days} days, at most {expected:.1} promised");
    assert!(minutes > 0, "{name}: nothing was under a promise");
    let most = expected + 3.0 * expected.sqrt();
    assert!(alarms as f64 <= most, "{name}: {alarms} alarms, promised are {expected:.2}");
}

#[test]
fn nobody_is_woken_while_nothing_changes() {
    for rows_per_minute in [1.0, 60.0, 60_000.0] {
        let scene = Scene { rows_per_minute, ..STEADY };
        keeps_the_promise(&format!("steady, {rows_per_minute} rows a minute"), scene);
    }
}

#[test]
fn nobody_is_woken_by_the_time_of_day() {
    for rows_per_minute in [1.0, 60.0, 6_000.0] {
        let scene = Scene { cycle: 0.3, rows_per_minute, ..STEADY };
        keeps_the_promise(&format!("daily cycle, {rows_per_minute} rows a minute"), scene);
    }
}

/// What the two tests around this one would miss if the simulation were too kind.
#[test]
fn a_daily_cycle_is_found_by_a_reference_that_knows_no_hours() {
    let mut world = World::new(1, Scene { cycle: 0.3, ..STEADY }, REFERENCE_ROWS);
    let (_, found) = world.delay(0, DAY_MINUTES, NO_CHANGE).expect("a warning on the first day");
    assert_eq!(found.stage, Stage::Learning);
}

#[test]
fn the_first_weekend_is_told_and_those_after_the_second_week_are_not() {
    let (mut first, mut later) = (0, 0);
    for seed in 0..number("DRIFT_SEEDS", 10) {
        let mut world = World::new(seed, Scene { weekend: 0.5, ..STEADY }, REFERENCE_ROWS);
        world.alarms(0..2 * DAY_MINUTES);
        first += world.alarms(2 * DAY_MINUTES..14 * DAY_MINUTES);
        later += world.alarms(14 * DAY_MINUTES..42 * DAY_MINUTES);
    }
    println!("weekends: {first} alarms in the first two weeks, {later} in the four after");
    assert!(first > 0 && later == 0, "{first} {later}");
}

#[test]
fn nobody_is_woken_by_a_caller_that_sends_the_same_row_many_times() {
    keeps_the_promise("bulk", Scene { bulk_share: 0.6, ..STEADY });
}

#[test]
fn a_shift_is_found_and_its_column_is_named_and_it_resolves() {
    for seed in 0..number("DRIFT_SEEDS", 10).min(40) {
        let mut world = World::new(seed, STEADY, REFERENCE_ROWS);
        (0..2 * DAY_MINUTES).for_each(|minute| drop(world.minute(minute, NO_CHANGE)));
        let shift = Change { shift: 1.0, scale: 1.0 };
        let from = 2 * DAY_MINUTES;
        let (delay, found) = world.delay(from, 120, shift).expect("one standard deviation");
        assert_eq!(found.blamed[0].column, "age");
        assert_eq!(found.stage, Stage::Envelope);
        assert!(found.value >= found.threshold);
        let since = found.blamed[0].since_ms / 60_000;
        assert!(since.abs_diff(from) <= 20, "since {since}, not {from}");
        let after = from + delay;
        let over = (after..after + 600).find(|minute| {
            matches!(world.minute(*minute, NO_CHANGE).swap_remove(0), Signal::Quiet)
        });
        assert!(over.is_some_and(|minute| minute <= after + 240), "over after {over:?}");
    }
}

#[test]
fn a_new_baseline_ends_what_was_found_and_a_restart_forgets_nothing() {
    let mut world = World::new(7, STEADY, REFERENCE_ROWS);
    let shift = Change { shift: 1.0, scale: 1.0 };
    let mut minutes = 0..;
    let mut again = World::new(7, STEADY, REFERENCE_ROWS);
    let until = minutes.find(|minute| {
        let (one, other) = (world.minute(*minute, shift), again.minute(*minute, shift));
        assert_eq!(one.len(), other.len());
        let text = serde_json::to_string(&again.detectors).unwrap();
        again.detectors = serde_json::from_str(&text).unwrap();
        matches!(one[0], Signal::Found(_)) && matches!(other[0], Signal::Found(_))
    });
    assert!(until.is_some_and(|minute| minute < 60), "{until:?}");
    world.detectors[0].rebase(vec![]);
    assert_eq!(world.detectors[0].stage(), Stage::Learning);
    assert_eq!(world.detectors[0].value(), 0.0);
}

#[test]
fn a_reference_says_what_it_can_find_and_that_is_found() {
    let values: Vec<f64> = {
        let mut random = random::Random::new(3);
        (0..REFERENCE_ROWS).map(|_| random.normal()).collect()
    };
    let finds = |rows: usize, rate: f64| -> Finds {
        Reference::of_numbers(&values[..rows], 0).unwrap().finds(rate, world::COLUMNS)
    };
    let hour = |finds: Finds| finds.hour.map(|shift| shift.standard_deviations);
    let day = |finds: Finds| finds.day.map(|shift| shift.standard_deviations);
    for rate in [1.0, 60.0, 6_000.0] {
        let (small, large) = (finds(1_000, rate), finds(REFERENCE_ROWS, rate));
        println!("{rate} rows a minute: 1,000: {small:?}, 10,000: {large:?}");
        assert!(day(large) < day(small), "a larger reference finds less: {large:?} {small:?}");
        assert!(day(large) < hour(large));
        let shift = hour(large).unwrap();
        let mut found = 0;
        for seed in 0..20 {
            let mut world =
                World::new(seed, Scene { rows_per_minute: rate, ..STEADY }, REFERENCE_ROWS);
            let change = Change { shift: 1.2 * shift, scale: 1.0 };
            found += usize::from(world.delay(0, 70, change).is_some());
        }
        assert!(found >= 14, "{found} of 20 at {rate} rows a minute and {shift} sd");
    }
}

#[test]
#[ignore = "prints a table; takes minutes"]
fn delays_by_size_and_traffic() {
    let change = |shift, scale| Change { shift, scale };
    let changes = [
        ("+3 sd", change(3.0, 1.0)),
        ("+1 sd", change(1.0, 1.0)),
        ("sd × 2", change(0.0, 2.0)),
        ("+0.5 sd", change(0.5, 1.0)),
        ("+0.25 sd", change(0.25, 1.0)),
    ];
    for (stage, days) in [("reference only", 0), ("envelope, day 3", 2), ("own hour, day 16", 15)] {
        println!("| {stage} | 1/min | 1/s | 100/s | 1,000/s |\n| --- | --- | --- | --- | --- |");
        for (name, change) in changes {
            let cells: Vec<String> = [1.0, 60.0, 6_000.0, 60_000.0]
                .map(|rate| median(Scene { rows_per_minute: rate, ..STEADY }, days, change))
                .map(|delay| delay.map_or("over 2 days".into(), |minutes| minutes.to_string()))
                .into();
            println!("| {name} | {} |", cells.join(" | "));
        }
    }
}

fn median(scene: Scene, days: u64, change: Change) -> Option<u64> {
    let mut delays: Vec<u64> = (0..11)
        .map(|seed| {
            let mut world = World::new(500 + seed, scene, REFERENCE_ROWS);
            (0..days * DAY_MINUTES).for_each(|minute| drop(world.minute(minute, NO_CHANGE)));
            let found = world.delay(days * DAY_MINUTES, 2 * DAY_MINUTES, change);
            found.map_or(u64::MAX, |(delay, _)| delay)
        })
        .collect();
    delays.sort();
    Some(delays[delays.len() / 2]).filter(|delay| *delay < u64::MAX)
}
