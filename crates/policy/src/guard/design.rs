//! How dependent requests are: differences between neighbouring blocks of intervals, against those of independent requests.

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
    variance: f64,
}

#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Scale {
    filled: u32,
    block: Block,
    previous: Option<Block>,
    pairs: u64,
    sum: f64,
}

/// Von Neumann's mean square successive difference, for blocks of several lengths. Unlike the variance about the mean it
/// does not take a lasting difference between the arms, or one that begins half-way, for noise.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Dispersion {
    scales: [Scale; SCALES],
}

impl Dispersion {
    /// Takes in an interval: the weighted difference of the arms, its weight, and the variance that it would have if all
    /// requests were independent.
    pub(super) fn observe(&mut self, difference: f64, weight: f64, variance: f64) {
        for (power, scale) in self.scales.iter_mut().enumerate() {
            scale.block.difference += difference;
            scale.block.weight += weight;
            scale.block.variance += variance;
            scale.filled += 1;
            if scale.filled < 1 << power {
                continue;
            }
            let block = std::mem::take(&mut scale.block);
            scale.filled = 0;
            if let Some(previous) = scale.previous.replace(block) {
                let step = block.difference / block.weight - previous.difference / previous.weight;
                let expected = block.variance / block.weight.powi(2) + previous.variance / previous.weight.powi(2);
                if expected > 0.0 && step.is_finite() {
                    scale.pairs += 1;
                    scale.sum += step * step / expected;
                }
            }
        }
    }

    /// What is recorded of it.
    pub(super) fn sums(&self) -> Vec<DispersionSums> {
        let of = |(power, scale): (usize, &Scale)| DispersionSums { intervals: 1 << power, pairs: scale.pairs, sum: scale.sum };
        self.scales.iter().enumerate().map(of).collect()
    }
}

/// As many requests count as one: at least 1. `prior` is how many intervals are assumed in which all requests shared one
/// fate; `requests` are those of an interval on average.
pub(super) fn design_effect(dispersion: &[DispersionSums], prior: f64, requests: f64) -> f64 {
    let Some((shortest, longer)) = dispersion.split_first() else { return requests.max(1.0) };
    let within = (prior * requests + shortest.sum) / (prior + shortest.pairs as f64).max(f64::MIN_POSITIVE);
    let within = within.max(1.0);
    longer
        .iter()
        .filter(|scale| scale.pairs >= PAIRS_MIN)
        .map(|scale| (SHRINKAGE * within + scale.sum) / (SHRINKAGE + scale.pairs as f64))
        .fold(within, f64::max)
}
