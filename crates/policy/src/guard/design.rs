//! How dependent requests are: differences between neighbouring blocks of intervals, against those
//! of independent requests.

use domain::guard::DispersionSums;
use serde::{Deserialize, Serialize};

/// Block lengths: 1, 2, 4, … 32 intervals.
const SCALES: usize = 6;
/// Fewer pairs of longer blocks say nothing.
const PAIRS_MIN: u64 = 4;
/// Pairs' worth of trust in the shorter blocks, when longer ones differ.
const SHRINKAGE: f64 = 2.0;

#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Block {
    difference: f64,
    weight: f64,
    canary_spread: f64,
    baseline_spread: f64,
}

#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Scale {
    filled: u32,
    block: Block,
    previous: Option<Block>,
    pairs: u64,
    squares: f64,
    canary: f64,
}

impl Scale {
    fn compare(&mut self, previous: &Block, block: &Block) {
        let step = block.difference / block.weight - previous.difference / previous.weight;
        let spread = |of: fn(&Block) -> f64| {
            of(block) / block.weight.powi(2) + of(previous) / previous.weight.powi(2)
        };
        let (canary, baseline) =
            (spread(|block| block.canary_spread), spread(|block| block.baseline_spread));
        if canary > 0.0 && step.is_finite() {
            self.pairs += 1;
            self.squares += step * step / (canary + baseline);
            self.canary += canary / (canary + baseline);
        }
    }
}

/// Von Neumann's mean square successive difference, for blocks of several lengths. Unlike the
/// variance about the mean it does not take a lasting difference between the arms, or one that
/// begins half-way, for noise.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Dispersion {
    scales: [Scale; SCALES],
}

impl Dispersion {
    /// Takes in an interval: the weighted difference of the arms, its weight w, and w²/n of canary
    /// and baseline, the latter with the square of the factor that the baseline is taken by.
    pub(super) fn observe(&mut self, difference: f64, weight: f64, spreads: (f64, f64)) {
        for (power, scale) in self.scales.iter_mut().enumerate() {
            scale.block.difference += difference;
            scale.block.weight += weight;
            scale.block.canary_spread += spreads.0;
            scale.block.baseline_spread += spreads.1;
            scale.filled += 1;
            if scale.filled < 1 << power {
                continue;
            }
            let block = std::mem::take(&mut scale.block);
            scale.filled = 0;
            if let Some(previous) = scale.previous.replace(block) {
                scale.compare(&previous, &block);
            }
        }
    }

    /// What is recorded of it.
    pub(super) fn sums(&self) -> Vec<DispersionSums> {
        let of = |(power, scale): (usize, &Scale)| DispersionSums {
            intervals: 1 << power,
            pairs: scale.pairs,
            squares: scale.squares,
            canary: scale.canary,
        };
        self.scales.iter().enumerate().map(of).collect()
    }
}

/// As many requests count as one: at least 1. `prior` is how many intervals are assumed in which
/// all requests shared one fate; `requests` are those of an interval on average, `variances` those
/// of a request of canary and baseline.
pub(super) fn design_effect(
    dispersion: &[DispersionSums],
    prior: f64,
    requests: f64,
    variances: (f64, f64),
) -> f64 {
    // Pairs, and how much more they differ than independent requests would, summed.
    let measured = |scale: &DispersionSums| {
        let pairs = scale.pairs as f64;
        let expected = variances.0 * scale.canary + variances.1 * (pairs - scale.canary);
        (pairs, if expected > 0.0 { scale.squares * pairs / expected } else { 0.0 })
    };
    let Some((shortest, longer)) = dispersion.split_first() else { return requests.max(1.0) };
    let (pairs, excess) = measured(shortest);
    let within = ((prior * requests + excess) / (prior + pairs).max(f64::MIN_POSITIVE)).max(1.0);
    longer
        .iter()
        .filter(|scale| scale.pairs >= PAIRS_MIN)
        .map(|scale| {
            let (pairs, excess) = measured(scale);
            (SHRINKAGE * within + excess) / (SHRINKAGE + pairs)
        })
        .fold(within, f64::max)
}
