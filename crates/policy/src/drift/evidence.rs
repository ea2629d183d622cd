//! Evidence that a share rose above its bound: Shiryaev–Roberts e-detectors, which may be looked at
//! after every update.
//!
//! With f the share of a unit of time and m its bound, the hypothesis is E[f | past] ≤ m. For κ in
//! (0, 1) the factor 1 + κ(f/m − 1) is at least 1 − κ > 0 because f ≥ 0, and its mean given the
//! past is at most 1; so M ← factor · (M + 1) rises by 1 a unit at most in the mean: M minus the
//! number of units is a supermartingale (Shin, Ramdas, Rinaldo, 'E-detectors: a nonparametric
//! framework for sequential change detection', NEJSDS 2023). This stays true of any mean of such M
//! whose weights are fixed, because expectations add up whatever depends on whatever; of the lesser
//! of M and a cap; and if m changes, so long as it is known before f. If M starts at 0 again after
//! each alarm at `threshold`, then `threshold · alarms + M − units` is a supermartingale too:
//! in n units at most n / `threshold` false alarms are expected.

use serde::{Deserialize, Serialize};

/// The bets that are mixed, as shares κ of the largest that cannot go broke: large ones find large
/// shifts soon, small ones small shifts at all.
pub const BETS: [f64; 6] = [0.9, 0.45, 0.2, 0.1, 0.05, 0.02];
/// The bet whose cumulative sum dates a change.
const DATING_BET: f64 = 0.2;
/// The least bound: a share that never occurred is not impossible.
pub const BOUND_MIN: f64 = 1e-6;

/// The evidence about one share: 72 bytes.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    sums: [f64; BETS.len()],
    cusum: f64,
    since_ms: Option<u64>,
}

impl Evidence {
    /// Takes in the share of one unit of time that began at `at_ms`. No sum rises above `cap`: it
    /// bounds how long the evidence of something long over stands in the way, and overflow.
    #[inline]
    pub fn update(&mut self, at_ms: u64, share: f64, bound: f64, cap: f64) {
        let excess = share.clamp(0.0, 1.0) / bound.clamp(BOUND_MIN, 1.0) - 1.0;
        for (sum, bet) in self.sums.iter_mut().zip(BETS) {
            *sum = ((*sum + 1.0) * (1.0 + bet * excess)).min(cap);
        }
        // Page's sum: the best estimate of a change is where it last was 0.
        let cusum = self.cusum + (DATING_BET * excess).ln_1p();
        if cusum <= 0.0 {
            (self.cusum, self.since_ms) = (0.0, None);
        } else {
            self.cusum = cusum;
            self.since_ms.get_or_insert(at_ms);
        }
    }

    /// The mean over the bets: in the mean it rises by 1 a unit at most.
    #[inline]
    pub fn value(&self) -> f64 {
        self.sums.iter().sum::<f64>() / self.sums.len() as f64
    }

    /// Since when the share is above its bound, by maximum likelihood, if it seems to be; in
    /// milliseconds since 1970.
    pub fn since_ms(&self) -> Option<u64> {
        self.since_ms
    }

    /// The evidence of one unit is at most so many times `threshold`, over `streams` of which the
    /// mean is taken: the cap for [`Evidence::update`], ten times what a single bet needs.
    pub fn cap(threshold: f64, streams: usize) -> f64 {
        10.0 * threshold * (streams.max(1) * BETS.len()) as f64
    }
}
