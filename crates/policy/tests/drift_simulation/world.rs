//! Columns of normal values whose minute counts are drawn by the multinomial distribution, so that
//! a thousand rows a second cost no more than one.

use policy::drift::{Bins, Counts, Detector, Found, Reference, Series, Signal, Stage, Watch};

use crate::random::Random;

pub const COLUMNS: usize = 5;
pub const DAY_MINUTES: u64 = 1_440;
const MISSING_SHARE: f64 = 0.01;
const NAMES: [&str; COLUMNS] = ["age", "income", "tenure", "calls", "distance"];

/// Who sends rows, and how their values vary.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    pub rows_per_minute: f64,
    /// Amplitude of a daily cycle of all columns' means, in standard deviations.
    pub cycle: f64,
    /// So much are all columns' means shifted on two of seven days, in standard deviations.
    pub weekend: f64,
    /// Of each minute's rows so many are copies of one row.
    pub bulk_share: f64,
}

/// What becomes of the first column.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub shift: f64,
    pub scale: f64,
}

pub const NO_CHANGE: Change = Change { shift: 0.0, scale: 1.0 };

pub struct World {
    random: Random,
    references: Vec<Reference>,
    pub detectors: Vec<Detector>,
    scene: Scene,
}

/// The probability that a standard normal variable does not exceed this (Abramowitz, Stegun,
/// 26.2.17): another formula than that of the code under test.
pub fn normal_share(value: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * value.abs());
    let terms = [1.330_274_429, -1.821_255_978, 1.781_477_937, -0.356_563_782, 0.319_381_530];
    let polynomial = terms.iter().fold(0.0, |sum, term| (sum + term) * t);
    let upper = (-value * value / 2.0).exp() / std::f64::consts::TAU.sqrt() * polynomial;
    if value > 0.0 { 1.0 - upper } else { upper }
}

fn binomial(random: &mut Random, n: u64, p: f64) -> u64 {
    if n == 0 || p <= 0.0 {
        return 0;
    }
    if p > 0.5 {
        return n - binomial(random, n, 1.0 - p);
    }
    let mean = n as f64 * p;
    if mean > 50.0 {
        let value = mean + (mean * (1.0 - p)).sqrt() * random.normal();
        return value.round().clamp(0.0, n as f64) as u64;
    }
    let (mut left, mut probability) = (random.unit(), (1.0 - p).powf(n as f64));
    for count in 0..n {
        if left < probability {
            return count;
        }
        left -= probability;
        probability *= (n - count) as f64 / (count + 1) as f64 * p / (1.0 - p);
        if probability < 1e-18 && count as f64 > mean {
            return count;
        }
    }
    n
}

pub fn poisson(random: &mut Random, mean: f64) -> u64 {
    if mean > 50.0 {
        return (mean + mean.sqrt() * random.normal()).round().max(0.0) as u64;
    }
    let (mut product, mut count) = (random.unit(), 0);
    while product > (-mean).exp() {
        product *= random.unit();
        count += 1;
    }
    count
}

impl World {
    pub fn new(seed: u64, scene: Scene, reference_rows: usize) -> World {
        let mut random = Random::new(seed);
        let missing = (reference_rows as f64 * MISSING_SHARE) as u64;
        let references: Vec<Reference> = (0..COLUMNS)
            .map(|_| {
                let values: Vec<f64> = (0..reference_rows).map(|_| random.normal()).collect();
                Reference::of_numbers(&values, missing).unwrap()
            })
            .collect();
        let detector = |watch| {
            let series = NAMES.iter().zip(&references);
            Detector::new(watch, series.map(|(name, of)| Series::new(name, watch, of)).collect())
        };
        let detectors = [Watch::Bins, Watch::Missing, Watch::OutOfRange].map(detector).into();
        World { random, references, detectors, scene }
    }

    /// One minute of all columns; what each detector says.
    pub fn minute(&mut self, minute: u64, change: Change) -> Vec<Signal<Found>> {
        let rows = poisson(&mut self.random, self.scene.rows_per_minute);
        let phase = minute as f64 / DAY_MINUTES as f64 * std::f64::consts::TAU;
        let is_weekend = minute / DAY_MINUTES % 7 >= 5;
        let weekend = if is_weekend { self.scene.weekend } else { 0.0 };
        let season = self.scene.cycle * phase.sin() + weekend;
        let counts: Vec<Counts> = (0..COLUMNS)
            .map(|column| {
                let change = if column == 0 { change } else { NO_CHANGE };
                self.draw(column, rows, season + change.shift, change.scale)
            })
            .collect();
        let at_ms = minute * 60_000;
        self.detectors.iter_mut().map(|detector| detector.minute(at_ms, &counts)).collect()
    }

    fn draw(&mut self, column: usize, rows: u64, mean: f64, scale: f64) -> Counts {
        let random = &mut self.random;
        let reference = &self.references[column];
        let mut counts = reference.counts();
        let Bins::Numeric { uppers, min, max, .. } = &reference.bins else { return counts };
        let bulk = (rows as f64 * self.scene.bulk_share) as u64;
        let missing = binomial(random, rows - bulk, MISSING_SHARE);
        let below = |value: f64| normal_share((value - mean) / scale);
        let (mut left, mut done) = (rows - bulk - missing, 0.0);
        for (bin, count) in counts.bins.iter_mut().enumerate() {
            let upper = uppers.get(bin).map_or(1.0, |upper| below(*upper));
            let share = ((upper - done) / (1.0 - done).max(1e-12)).clamp(0.0, 1.0);
            *count = if bin == uppers.len() { left } else { binomial(random, left, share) };
            (left, done) = (left - *count, upper);
        }
        let (first, last) = (uppers[0], uppers[uppers.len() - 1]);
        let outside = [
            (counts.bins[0], below(*min) / below(first)),
            (counts.bins[uppers.len()], (1.0 - below(*max)) / (1.0 - below(last))),
        ];
        counts.out_of_range = outside.map(|(n, p)| binomial(random, n, p.min(1.0))).iter().sum();
        (counts.rows, counts.missing) = (rows - bulk, missing);
        if bulk > 0 {
            let value = mean + scale * random.normal();
            let mut one = reference.counts();
            reference.count(&mut one, value);
            counts.bins[reference.bin_of(value)] += bulk;
            counts.out_of_range += one.out_of_range * bulk;
            counts.rows += bulk;
        }
        counts
    }

    /// How many minutes after `from` the first detector finds something; `None` within `limit`.
    pub fn delay(&mut self, from: u64, limit: u64, change: Change) -> Option<(u64, Found)> {
        (from..from + limit).find_map(|minute| match self.minute(minute, change).swap_remove(0) {
            Signal::Found(found) => Some((minute + 1 - from, found)),
            _ => None,
        })
    }

    /// Alarms of the first detector that begin in these minutes.
    pub fn alarms(&mut self, minutes: std::ops::Range<u64>) -> u64 {
        let mut open = false;
        minutes
            .filter(|minute| {
                let signal = self.minute(*minute, NO_CHANGE).swap_remove(0);
                let was_open = std::mem::replace(&mut open, matches!(signal, Signal::Found(_)));
                open && !was_open
            })
            .count() as u64
    }

    /// Alarms that begin in these minutes under a promise, of all detectors.
    pub fn false_alarms(&mut self, minutes: u64) -> (u64, u64) {
        let (mut alarms, mut promised) = (0, 0);
        let mut open = vec![false; self.detectors.len()];
        for minute in 0..minutes {
            let signals = self.minute(minute, NO_CHANGE);
            for ((signal, detector), open) in signals.iter().zip(&self.detectors).zip(&mut open) {
                let is_found = matches!(signal, Signal::Found(_));
                let counts = detector.stage() > Stage::Learning && *signal != Signal::NoData;
                promised += u64::from(counts);
                if counts && is_found && !*open {
                    alarms += 1;
                    if std::env::var_os("DRIFT_VERBOSE").is_some() {
                        println!("minute {minute}: {signal:?}");
                    }
                }
                *open = match signal {
                    Signal::NoData => *open,
                    _ => is_found,
                };
            }
        }
        (alarms, promised)
    }
}
