//! Simulation of scaling rules on a virtual clock: ours against ports of Knative's and Ray Serve's,
//! over families of traffic.
//!
//! `DECALOG_SCALE_SEEDS` is the number of seeds in all (1,001 without it); `DECALOG_SCALE_TUNING=1`
//! takes the seeds that rules were tuned with instead of those that are reported.

mod frontier;
mod properties;
mod random;
mod rules;
mod simulator;
mod traces;

use std::sync::atomic::{AtomicUsize, Ordering};

use frontier::{Spot, excess, frontier, misses_at};
use policy::scale::Settings;
use rules::{Knative, Ours, Ray};
use simulator::{Rule, World, simulate};
use traces::{Family, world};

/// Seeds from here on are reported; those below were for tuning.
const REPORTED_FROM: u64 = 2_000_000;
/// A curve within this part of missed requests of another is on it.
const ON_THE_CURVE: f64 = 0.000_5;
/// A setting under which more requests than this miss their deadline is nobody's; it is printed and
/// not judged.
const USABLE: f64 = 0.1;

/// Utilisations that ours is planned with.
const OURS: [f64; 12] = [0.15, 0.25, 0.35, 0.5, 0.7, 0.85, 1.0, 1.25, 1.6, 2.2, 3.5, 7.0];
/// Requests in the system per replica, in parts of its largest batch.
const THEIRS: [f64; 10] = [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0];

const RULES: [&str; 3] = ["ours", "knative", "ray"];

fn spots(rule: usize) -> &'static [f64] {
    if rule == 0 { &OURS } else { &THEIRS }
}

fn rule(rule: usize, world: &World, target: f64) -> Box<dyn Rule> {
    match rule {
        0 => Box::new(Ours::new(world, target)),
        1 => Box::new(Knative::new(target * world.rows_max as f64)),
        _ => Box::new(Ray::new(target * world.rows_max as f64, world.replicas_max)),
    }
}

fn seeds() -> u64 {
    std::env::var("DECALOG_SCALE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(1_001)
}

/// The three curves of a family.
fn sweep(family: Family, seeds: std::ops::Range<u64>) -> [Vec<Spot>; 3] {
    let mut sums = [0, 1, 2].map(|rule| vec![(0.0, 0.0, 0.0, 0.0); spots(rule).len()]);
    for seed in seeds {
        let world = world(family, seed);
        for (at, sums) in sums.iter_mut().enumerate() {
            for (target, sum) in spots(at).iter().zip(sums) {
                let outcome = simulate(&world, rule(at, &world, *target).as_mut());
                sum.0 += outcome.replica_s;
                sum.1 += world.ideal_replica_s();
                sum.2 += outcome.missed as f64;
                sum.3 += outcome.requests as f64;
            }
        }
    }
    [0, 1, 2].map(|rule| {
        let spot =
            |(target, (replica_s, ideal_s, missed, requests)): (&f64, &(f64, f64, f64, f64))| {
                Spot { target: *target, cost: replica_s / ideal_s, misses: missed / requests }
            };
        spots(rule).iter().zip(&sums[rule]).map(spot).collect()
    })
}

/// All families, shared by as many threads as there are cores.
fn sweep_all(from: u64, each: u64) -> Vec<(Family, [Vec<Spot>; 3])> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some(family) = Family::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push((*family, sweep(*family, from..from + each)));
        }
        done
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut all = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    all.sort_by_key(|(family, _)| Family::ALL.iter().position(|other| other == family));
    all
}

/// Where one of theirs is with how many misses, and by how much ours at the same cost differs.
fn compare(family: Family, name: &str, ours: &[Spot], theirs: &[Spot]) {
    let cells: Vec<String> = frontier(theirs)
        .iter()
        .map(|spot| {
            let misses = misses_at(&frontier(ours), spot.cost)
                .map_or("none".into(), |misses| format!("{:.2}", misses * 100.0));
            format!("{:.2}: {:.2}/{misses}", spot.cost, spot.misses * 100.0)
        })
        .collect();
    println!("{:10} {name:8} {}", family.name(), cells.join(" | "));
}

#[test]
fn on_or_below_the_frontiers_of_knative_and_ray() {
    let each = seeds().div_ceil(Family::ALL.len() as u64);
    let from = if std::env::var("DECALOG_SCALE_TUNING").is_ok() { 0 } else { REPORTED_FROM };
    println!(
        "cost (replica-seconds for each that would ideally do): their misses / ours at that cost, in %; {each} seeds each"
    );
    let mut reached = Vec::new();
    for (family, curves) in sweep_all(from, each) {
        let mut above = [f64::NEG_INFINITY; 2];
        for (name, theirs) in RULES.iter().zip(&curves).skip(1) {
            compare(family, name, &curves[0], theirs);
            for (above, misses_max) in above.iter_mut().zip([USABLE, 1.0]) {
                *above = above.max(excess(&curves[0], theirs, misses_max));
            }
        }
        let spot = curves[0]
            .iter()
            .find(|spot| spot.target == Settings::default().utilisation)
            .copied()
            .unwrap_or_default();
        println!(
            "{:10} default  {:.2}: {:.2}; above the others by {:+.3} at worst where they are usable, {:+.3} anywhere",
            family.name(),
            spot.cost,
            spot.misses * 100.0,
            above[0] * 100.0,
            above[1] * 100.0
        );
        reached.push((family, above[0] <= ON_THE_CURVE));
    }
    let count =
        reached.iter().filter(|(family, reached)| *reached && *family != Family::Flights).count();
    println!("on or below both in {count} of 6 families: {reached:?}");
    assert!(count >= 5, "{reached:?}");
}
