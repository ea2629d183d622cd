//! What holds on every run of ours, whatever the traffic.

use policy::scale::{ScaleRecord, Settings, decide};

use crate::rules::Ours;
use crate::simulator::{World, simulate};
use crate::traces::{Family, world};

const SEEDS: u64 = 20;
/// Long enough for all windows and the first hold time, in milliseconds.
const SETTLED_MS: f64 = 300_000.0;

type Set = Box<dyn Fn(&World, &mut Settings)>;

/// Ways to be set: learned at several utilisations, by concurrency, by latency.
fn settings() -> Vec<Set> {
    vec![
        Box::new(|_, settings| settings.utilisation = 0.3),
        Box::new(|_, _| ()),
        Box::new(|_, settings| settings.utilisation = 0.95),
        Box::new(|world, settings| settings.target_concurrency = Some(0.3 * world.rows_max as f64)),
        Box::new(|world, settings| settings.target_concurrency = Some(0.7 * world.rows_max as f64)),
        Box::new(|world, settings| settings.slo_ms = Some(3.0 * world.service_ms(1))),
    ]
}

fn records(world: &World, set: &dyn Fn(&World, &mut Settings)) -> Vec<ScaleRecord> {
    let mut ours = Ours::with(world, |settings| set(world, settings));
    ours.records = Some(Vec::new());
    simulate(world, &mut ours);
    ours.records.unwrap_or_default()
}

/// Evenly spaced arrivals, so that the load is the same at all times.
fn constant(seed: u64, hours: f64) -> World {
    let mut world = world(Family::Steady, seed);
    let every_ms = world.horizon_ms / world.arrivals_ms.len() as f64;
    world.horizon_ms = hours * 3_600_000.0;
    world.arrivals_ms =
        (1..(world.horizon_ms / every_ms) as usize).map(|at| at as f64 * every_ms).collect();
    world
}

#[test]
fn every_decision_can_be_taken_again_from_its_record() {
    for family in Family::ALL {
        for record in records(&world(family, 7), &|_, _| ()) {
            let back: ScaleRecord =
                serde_json::from_str(&serde_json::to_string(&record).unwrap()).unwrap();
            assert_eq!(back, record);
            assert_eq!(decide(&back.inputs), record.decision);
        }
    }
}

#[test]
fn never_below_what_the_requests_in_the_system_need() {
    for family in Family::ALL {
        for (seed, set) in settings().iter().enumerate() {
            let mut lowered = 0;
            for ScaleRecord { inputs, decision } in records(&world(family, seed as u64), set) {
                lowered += u32::from(decision.target < inputs.current);
                assert!(
                    decision.target >= inputs.in_flight_floor.min(inputs.current),
                    "{inputs:?} {decision:?}"
                );
            }
            assert!(lowered > 0 || family == Family::Steady, "{}", family.name());
        }
    }
}

#[test]
fn a_constant_load_is_answered_by_a_constant_number() {
    for (at, set) in settings().iter().enumerate() {
        for seed in 0..SEEDS {
            let world = constant(seed, 1.0);
            let records = records(&world, set);
            let late: Vec<&ScaleRecord> =
                records.iter().skip((SETTLED_MS / Ours::PERIOD_MS) as usize).collect();
            let changes = late
                .iter()
                .filter(|record| record.decision.target != record.inputs.current)
                .count();
            let reversals = reversals(&records);
            assert!(
                changes <= 3 && reversals <= 6,
                "setting {at}, seed {seed}: {changes} changes, {reversals} reversals"
            );
        }
    }
}

/// Changes of the number that go the other way than the one before.
fn reversals(records: &[ScaleRecord]) -> usize {
    let changed = records.iter().filter(|record| record.decision.target != record.inputs.current);
    let rises: Vec<bool> =
        changed.map(|record| record.decision.target > record.inputs.current).collect();
    rises.windows(2).filter(|pair| pair[0] != pair[1]).count()
}
