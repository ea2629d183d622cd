//! Whether anything changed at all: the largest of CUSUMs of ranks, against the same with blocks of
//! a minute in another order. Within a minute buckets may depend on each other as they like.

use crate::random::Random;

/// A change is one if as much is rarer than this when nothing changes.
pub(super) const P_MAX: f64 = 0.001;
/// Orders that are tried.
const ORDERS: usize = 1_999;
/// From them the distribution of the largest CUSUM is known; with more as large than allowed, no
/// more are tried.
const ORDERS_FIRST: usize = 199;
const LARGER_MAX: usize = 12;
/// Buckets of a block: 60 s.
const BLOCK: usize = 12;
/// The CUSUM is looked at every so many buckets.
const STRIDE: usize = 3;
/// A change must have lasted for so many buckets.
const EDGE: usize = 6;
/// With fewer buckets there is nothing to see.
pub(super) const BUCKETS_MIN: usize = 60;
/// How long the smallest visible change lasts, in buckets: five minutes.
pub(super) const VISIBLE_BUCKETS: usize = 60;
/// The smallest visible change is one that is seen four times in five.
const POWER_Z: f64 = 0.84;
/// The mean rank moves by so many of its standard deviations when a normal value moves by one.
const RANK_SLOPE: f64 = 0.977;

/// What the gate says.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    /// How rare the largest CUSUM is if nothing changes.
    pub(super) p: f64,
    /// Which of the statistics has it.
    pub(super) strongest: usize,
    /// The largest CUSUM of each statistic, as multiples of what it must exceed.
    pub(super) strength: Vec<f64>,
    /// By how much a value must change for five minutes to be seen, for each statistic.
    pub(super) visible: Vec<f64>,
}

/// Ranks with mean 0 and variance 1; what has no value is in the middle.
fn ranks(values: &[Option<f64>]) -> Vec<f64> {
    // Sums in another order differ in the last digits; that must not order what is equal.
    let rounded = |value: f64| (value * 1e9).round();
    let mut known: Vec<(f64, usize)> = values
        .iter()
        .enumerate()
        .filter_map(|(at, value)| value.filter(|v| v.is_finite()).map(|v| (rounded(v), at)))
        .collect();
    known.sort_by(|one, other| one.0.total_cmp(&other.0));
    let middle = (known.len() as f64 - 1.0) / 2.0;
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    while first < known.len() {
        let same = known[first..].partition_point(|(value, _)| *value <= known[first].0);
        let rank = first as f64 + (same as f64 - 1.0) / 2.0 - middle;
        known[first..first + same].iter().for_each(|(_, at)| ranks[*at] = rank);
        first += same;
    }
    let variance = ranks.iter().map(|rank| rank * rank).sum::<f64>() / values.len().max(1) as f64;
    let scale = if variance > 0.0 { variance.sqrt().recip() } else { 0.0 };
    ranks.iter_mut().for_each(|rank| *rank *= scale);
    ranks
}

/// The statistics as sums over strides; all have the same length.
struct Strides {
    sums: Vec<Vec<f64>>,
    /// What a CUSUM after each stride is divided by; 0 too near to the ends.
    scale: Vec<f64>,
}

impl Strides {
    fn new(statistics: &[Vec<Option<f64>>], len: usize) -> Strides {
        let sums = statistics
            .iter()
            .map(|values| {
                ranks(&values[..len]).chunks(STRIDE).map(|part| part.iter().sum()).collect()
            })
            .collect();
        let scale = (1..=len / STRIDE)
            .map(|strides| {
                let (left, right) = ((strides * STRIDE) as f64, (len - strides * STRIDE) as f64);
                let inside = left.min(right) >= EDGE as f64;
                if inside { (len as f64 / (left * right)).sqrt() } else { 0.0 }
            })
            .collect();
        Strides { sums, scale }
    }

    /// The largest CUSUM of one statistic with its blocks in this order.
    fn largest(&self, statistic: usize, order: &[u32]) -> f64 {
        const PARTS: usize = BLOCK / STRIDE;
        let sums = &self.sums[statistic];
        let (mut sum, mut largest) = (0.0_f64, 0.0_f64);
        for (place, block) in order.iter().enumerate() {
            let from = *block as usize * PARTS;
            for part in 0..PARTS {
                sum += sums[from + part];
                largest = largest.max(sum.abs() * self.scale[place * PARTS + part]);
            }
        }
        largest
    }
}

/// Half of what lies between the 16th and the 84th percentile.
fn spread(values: &[Option<f64>]) -> f64 {
    let mut known: Vec<f64> = values.iter().filter_map(|value| *value).collect();
    known.sort_by(f64::total_cmp);
    let at = |share: f64| known.get((known.len() as f64 * share) as usize).copied().unwrap_or(0.0);
    let (inner, count) = ((at(0.84) - at(0.16)) / 2.0, known.len().max(1) as f64);
    // Rare events have no inner half, and spread nevertheless.
    let mean = known.iter().sum::<f64>() / count;
    let squares = known.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    if inner > 0.0 { inner } else { squares.sqrt() }
}

/// Looks at statistics of the same buckets, the earliest first. `None` if there are too few.
///
/// Statistics differ in what chance makes of them: the part of Mondays is the same for a day. So each
/// is measured by what it comes to itself in another order, before the largest of all is compared.
pub(super) fn gate(statistics: &[Vec<Option<f64>>], seed: u64) -> Option<Gate> {
    let len = known_since(statistics)? / BLOCK * BLOCK;
    if len < BUCKETS_MIN {
        return None;
    }
    // Of an incomplete block at the beginning nothing is looked at: the end is what matters.
    let statistics: Vec<Vec<Option<f64>>> =
        statistics.iter().map(|values| values[values.len() - len..].to_vec()).collect();
    let strides = Strides::new(&statistics, len);
    let mut order: Vec<u32> = (0..(len / BLOCK) as u32).collect();
    let all = 0..statistics.len();
    let seen: Vec<f64> = all.clone().map(|at| strides.largest(at, &order)).collect();
    let mut random = Random::new(seed);
    let mut next = || {
        random.shuffle(&mut order);
        all.clone().map(|at| strides.largest(at, &order)).collect::<Vec<f64>>()
    };
    let first: Vec<Vec<f64>> = (0..ORDERS_FIRST).map(|_| next()).collect();
    let usual: Vec<Usual> =
        all.clone().map(|at| Usual::of(first.iter().map(|values| values[at]))).collect();
    let most = |values: &[f64]| {
        let strengths = values.iter().zip(&usual).map(|(value, usual)| usual.strength(*value));
        strengths.enumerate().fold((0, f64::NEG_INFINITY), |best, (at, strength)| {
            if strength > best.1 { (at, strength) } else { best }
        })
    };
    let (strongest, strength) = most(&seen);
    let firsts: Vec<f64> = first.iter().map(|values| most(values).1).collect();
    let is_larger = |value: f64| usize::from(value >= strength - 1e-9);
    let mut larger: usize = firsts.iter().map(|value| is_larger(*value)).sum();
    let mut tried = ORDERS_FIRST;
    while tried < ORDERS && larger <= LARGER_MAX {
        larger += is_larger(most(&next()).1);
        tried += 1;
    }
    let limit = Usual::of(firsts.into_iter()).rarely();
    let critical: Vec<f64> = usual.iter().map(|usual| usual.mean + limit * usual.sd).collect();
    let n = (len as f64 * VISIBLE_BUCKETS as f64 / (len - VISIBLE_BUCKETS / 2) as f64).sqrt();
    let visible = all.map(|at| {
        let needed = critical[at] + POWER_Z * usual[at].sd.max(1.0);
        needed / n / RANK_SLOPE * spread(&statistics[at])
    });
    let of_limit = |(seen, limit): (&f64, &f64)| seen / limit.max(f64::MIN_POSITIVE);
    Some(Gate {
        p: if seen[strongest] > 0.0 { (larger + 1) as f64 / (tried + 1) as f64 } else { 1.0 },
        strongest,
        strength: seen.iter().zip(&critical).map(of_limit).collect(),
        visible: visible.collect(),
    })
}

/// How many buckets there are since the first of which something is known. Before it there is no
/// time in which nothing changed.
fn known_since(statistics: &[Vec<Option<f64>>]) -> Option<usize> {
    let len = statistics.first()?.len();
    let known = |values: &Vec<Option<f64>>| values.iter().position(Option::is_some);
    let first = statistics.iter().filter_map(known).min().unwrap_or(0);
    Some(len - first)
}

/// What a value comes to when nothing changes.
struct Usual {
    mean: f64,
    sd: f64,
}

impl Usual {
    fn of(values: impl ExactSizeIterator<Item = f64> + Clone) -> Usual {
        let count = values.len().max(1) as f64;
        let mean = values.clone().sum::<f64>() / count;
        let squares = values.map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        Usual { mean, sd: squares.sqrt() }
    }

    /// How far a value is from its mean, in standard deviations. Of what is always the same it is 0.
    fn strength(&self, value: f64) -> f64 {
        if self.sd > 1e-9 { (value - self.mean) / self.sd } else { 0.0 }
    }

    /// What is exceeded once in a thousand times, by the distribution of Gumbel that has this mean
    /// and standard deviation.
    fn rarely(&self) -> f64 {
        let scale = self.sd * 6.0_f64.sqrt() / std::f64::consts::PI;
        self.mean + scale * (-(-(1.0 - P_MAX).ln()).ln() - 0.577_216)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that only look random, with a step at a bucket.
    fn series(seed: u64, step_at: usize, step: f64) -> Vec<Option<f64>> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut unit = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        (0..1_440)
            .map(|at| {
                let noise: f64 = (0..12).map(|_| unit()).sum::<f64>() - 6.0;
                Some(noise + if at >= step_at { step } else { 0.0 })
            })
            .collect()
    }

    #[test]
    fn noise_passes_rarely_and_what_is_said_to_be_visible_is_seen() {
        let passed = |step: f64| {
            let seeds = 1..=60;
            seeds
                .filter(|seed| gate(&[series(*seed, 1_380, step)], *seed).unwrap().p <= P_MAX)
                .count()
        };
        let visible = gate(&[series(1, 1_440, 0.0)], 1).unwrap().visible[0];
        assert!((0.3..1.5).contains(&visible), "{visible}");
        assert!(passed(0.0) <= 1);
        let seen = passed(visible);
        assert!(seen >= 40, "{seen} of 60 at {visible}");
    }

    #[test]
    fn what_comes_in_days_hides_no_change_of_what_does_not() {
        // Two weeks of hours, of which the first is the first there is: weekdays, and a column of
        // which far more comes in the last three days.
        let hours = |value: &dyn Fn(usize) -> f64| -> Vec<Option<f64>> {
            (0..1_440).map(|at| (at >= 1_104 && at % 24 >= 5).then(|| value(at))).collect()
        };
        let mut all: Vec<Vec<Option<f64>>> =
            (0..7).map(|day| hours(&|at| f64::from(at / 24 % 7 == day))).collect();
        let noise = series(7, 1_440, 0.0);
        all.push(hours(&|at| noise[at].unwrap() + if at >= 1_368 { 3.0 } else { 0.0 }));
        let gate = gate(&all, 1).unwrap();
        assert!(gate.p <= P_MAX && gate.strongest == 7, "{} by {}", gate.p, gate.strongest);
    }

    #[test]
    fn ties_and_constants_have_no_rank() {
        assert!(ranks(&[Some(3.0); 100]).iter().all(|rank| *rank == 0.0));
        assert!(ranks(&[None; 100]).iter().all(|rank| *rank == 0.0));
        assert_eq!(gate(&[vec![Some(0.1); 1_440]], 1).unwrap().p, 1.0);
        assert!(gate(&[vec![Some(0.1); 59]], 1).is_none() && gate(&[], 1).is_none());
        let ranks = ranks(&[Some(1.0), Some(1.0), Some(5.0), Some(f64::NAN), None]);
        assert_eq!((ranks[0], ranks[3], ranks[4]), (ranks[1], 0.0, 0.0));
        assert!(ranks[2] > 0.0);
    }
}
