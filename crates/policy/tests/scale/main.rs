//! Simulation of scaling rules on a virtual clock: ours against ports of Knative's and Ray Serve's, over families of traffic.
//!
//! `DECALOG_SCALE_SEEDS` is the number of seeds in all (1,001 without it); `DECALOG_SCALE_TUNING=1` takes the seeds that rules
//! were tuned with instead of those that are reported.

mod frontier;
mod properties;
mod random;
mod rules;
mod simulator;
mod traces;

use frontier::{Spot, excess};
use rules::{Knative, Ours, Ray};
use simulator::{Rule, World, simulate};
use traces::{Family, world};

/// Seeds from here on are reported; those below were for tuning.
const REPORTED_FROM: u64 = 1_000_000;
/// A curve within this many misses of another is on it.
const ON_THE_CURVE: f64 = 0.000_5;

/// Utilisations that ours is planned with.
const OURS: [f64; 14] = [0.15, 0.25, 0.35, 0.5, 0.6, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0];
/// Requests in the system per replica, in parts of its largest batch.
const THEIRS: [f64; 12] = [0.03, 0.06, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0];

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
    let mut took = [0.0; 3];
    let mut sums = [0, 1, 2].map(|rule| vec![(0.0, 0.0, 0.0, 0.0); spots(rule).len()]);
    for seed in seeds {
        let world = world(family, seed);
        for (at, sums) in sums.iter_mut().enumerate() {
            let t = std::time::Instant::now();
            for (target, sum) in spots(at).iter().zip(sums) {
                let outcome = simulate(&world, rule(at, &world, *target).as_mut());
                sum.0 += outcome.replica_s;
                sum.1 += world.ideal_replica_s();
                sum.2 += outcome.missed as f64;
                sum.3 += outcome.requests as f64;
            }
            took[at] += t.elapsed().as_secs_f64();
        }
    }
    println!("took {took:?}");
    [0, 1, 2].map(|rule| {
        let spot = |(target, (replica_s, ideal_s, missed, requests)): (&f64, &(f64, f64, f64, f64))| Spot {
            target: *target,
            cost: replica_s / ideal_s,
            misses: missed / requests,
        };
        spots(rule).iter().zip(&sums[rule]).map(spot).collect()
    })
}

#[test]
fn on_or_below_the_frontiers_of_knative_and_ray() {
    let each = seeds().div_ceil(Family::ALL.len() as u64);
    let from = if std::env::var("DECALOG_SCALE_TUNING").is_ok() { 0 } else { REPORTED_FROM };
    let mut reached = Vec::new();
    for family in Family::ALL {
        let curves = sweep(family, from..from + each);
        for (name, curve) in RULES.iter().zip(&curves) {
            let cells: Vec<String> =
                curve.iter().map(|spot| format!("{:.2}: {:.2} {:.2}%", spot.target, spot.cost, spot.misses * 100.0)).collect();
            println!("{:10} {name:8} {}", family.name(), cells.join(" | "));
        }
        let mut above = f64::NEG_INFINITY;
        for (name, theirs) in RULES.iter().zip(&curves).skip(1) {
            let (excess, at) = excess(&curves[0], theirs);
            println!("{:10} above {name:8} by {:+.3}% at worst, at cost {:.2}", family.name(), excess * 100.0, at.cost);
            let cells: Vec<String> = frontier::frontier(theirs)
                .iter()
                .map(|spot| {
                    let ours = frontier::frontier(&curves[0]);
                    let m = frontier::misses_at(&ours, spot.cost).unwrap_or(1.0);
                    format!("{:.2}: {:.2}%{:+.3}", spot.cost, spot.misses * 100.0, (m - spot.misses) * 100.0)
                })
                .collect();
            println!("    {}", cells.join(" | "));
            above = above.max(excess);
        }
        reached.push((family, above <= ON_THE_CURVE));
    }
    println!("{reached:?}");
}
