//! A sparse histogram of durations by weight, in logarithmic bins: small enough for a million cells.
//! Two can be added, and one taken away from another.

use serde::{Deserialize, Serialize};

/// Bins for each doubling: a value read from one is at most 4.5% off.
pub const STEPS: u32 = 16;
/// One bin for 0 µs, then 32 doublings.
pub(super) const BINS: usize = 1 + 32 * STEPS as usize;

/// Weights by bin, ascending; what a sampled request stands for is its weight.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Histogram {
    bins: Vec<(u16, f32)>,
}

/// The bin of a duration.
pub(super) fn bin_of(us: u64) -> u16 {
    let us = us.min(u64::from(u32::MAX));
    if us == 0 {
        return 0;
    }
    // log₂ as the command of SQL has it, so that bins can be made in a query.
    1 + ((us as f64).log2() * f64::from(STEPS)).floor() as u16
}

/// The least duration of a bin, in microseconds.
pub(super) fn start_us(bin: u16) -> f64 {
    if bin == 0 { 0.0 } else { (f64::from(bin - 1) / f64::from(STEPS)).exp2() }
}

/// The middle of a bin, in milliseconds.
pub(super) fn middle_ms(bin: u16) -> f64 {
    if bin == 0 { 0.0 } else { (start_us(bin) * start_us(bin + 1)).sqrt() / 1_000.0 }
}

impl Histogram {
    /// From pairs of bin and weight in any order: bin 0 is 0 µs, bin `1 + floor(16·log2(us))` else.
    /// Weights that are no positive numbers count as nothing.
    pub fn from_bins(bins: impl IntoIterator<Item = (u16, f32)>) -> Histogram {
        let mut histogram = Histogram::default();
        bins.into_iter().for_each(|(bin, weight)| histogram.add_bin(bin, weight));
        histogram
    }

    /// Takes in a duration in microseconds.
    pub fn add_us(&mut self, us: u64, weight: f64) {
        self.add_bin(bin_of(us), weight as f32);
    }

    fn add_bin(&mut self, bin: u16, weight: f32) {
        if !(weight > 0.0 && weight.is_finite()) {
            return;
        }
        let bin = bin.min(BINS as u16 - 1);
        match self.bins.binary_search_by_key(&bin, |(bin, _)| *bin) {
            Ok(at) => self.bins[at].1 += weight,
            Err(at) => self.bins.insert(at, (bin, weight)),
        }
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Histogram) {
        other.bins.iter().for_each(|(bin, weight)| self.add_bin(*bin, *weight));
    }

    /// Takes another away; no weight falls below 0.
    pub fn subtract(&mut self, other: &Histogram) {
        for (bin, weight) in &other.bins {
            if let Ok(at) = self.bins.binary_search_by_key(bin, |(bin, _)| *bin) {
                self.bins[at].1 = (self.bins[at].1 - weight).max(0.0);
            }
        }
        self.bins.retain(|(_, weight)| *weight > 0.0);
    }

    /// The weight of all.
    pub fn weight(&self) -> f64 {
        self.bins.iter().map(|(_, weight)| f64::from(*weight)).sum()
    }

    /// The duration that a share (0 to 1) of the weight does not exceed, in milliseconds: the middle
    /// of its bin. `None` if empty.
    pub fn quantile_ms(&self, share: f64) -> Option<f64> {
        let mut pooled = Pooled::new();
        pooled.add(self);
        pooled.quantile_ms(share)
    }

    /// The weight of those in bins from this one on.
    pub(super) fn weight_from(&self, bin: u16) -> f64 {
        let from = self.bins.partition_point(|(own, _)| *own < bin);
        self.bins[from..].iter().map(|(_, weight)| f64::from(*weight)).sum()
    }

    pub(super) fn bins(&self) -> &[(u16, f32)] {
        &self.bins
    }
}

/// All bins with weights that do not lose small ones among large ones.
#[derive(Clone, Debug)]
pub(super) struct Pooled(pub Vec<f64>);

impl Pooled {
    pub(super) fn new() -> Pooled {
        Pooled(vec![0.0; BINS])
    }

    pub(super) fn add(&mut self, histogram: &Histogram) {
        for (bin, weight) in histogram.bins() {
            self.0[usize::from(*bin)] += f64::from(*weight);
        }
    }

    pub(super) fn weight(&self) -> f64 {
        self.0.iter().sum()
    }

    /// The bin that a share of the weight does not exceed.
    pub(super) fn quantile(&self, share: f64) -> Option<u16> {
        let all = self.weight();
        let mut below = 0.0;
        let found = self.0.iter().position(|weight| {
            below += weight;
            below >= all * share * (1.0 - 1e-9)
        })?;
        (all > 0.0).then_some(found as u16)
    }

    pub(super) fn quantile_ms(&self, share: f64) -> Option<f64> {
        self.quantile(share).map(middle_ms)
    }

    /// The mean, in milliseconds, of what does not lie above a bin; what does counts as that bin.
    pub(super) fn mean_ms_up_to(&self, most: u16) -> f64 {
        let sum: f64 = (0u16..).zip(&self.0).map(|(bin, w)| w * middle_ms(bin.min(most))).sum();
        sum / self.weight().max(f64::MIN_POSITIVE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_narrow_and_follow_each_other() {
        for us in (1..3_000).chain([u64::from(u32::MAX), u64::MAX, 52_000_000]) {
            let bin = bin_of(us);
            let us = us.min(u64::from(u32::MAX)) as f64;
            assert!(start_us(bin) <= us * 1.000_001 && us < start_us(bin + 1), "{us}");
            assert!(usize::from(bin) < BINS);
        }
    }

    #[test]
    fn what_was_added_can_be_taken_away_again() {
        let (mut quick, mut slow) = (Histogram::default(), Histogram::default());
        (1..500).for_each(|ms| quick.add_us(ms * 1_000, 1.0));
        (1..40).for_each(|s| slow.add_us(s * 1_000_000, 2.5));
        let mut both = quick.clone();
        both.merge(&slow);
        assert!((both.weight() - 499.0 - 97.5).abs() < 1e-3);
        both.subtract(&slow);
        assert_eq!(both, quick);
        both.subtract(&quick);
        both.subtract(&quick);
        assert_eq!((both.weight(), both.bins().len()), (0.0, 0));
        both.add_us(7, f64::NAN);
        both.add_us(7, -1.0);
        assert_eq!(both.weight(), 0.0);
    }

    #[test]
    fn quantiles() {
        let mut pooled = Pooled::new();
        assert_eq!(pooled.quantile(0.5), None);
        let mut all = Histogram::default();
        (1..=1_000).for_each(|ms| all.add_us(ms * 1_000, 1.0));
        pooled.add(&all);
        for (share, ms) in [(0.5, 500.0), (0.99, 990.0)] {
            let found = pooled.quantile_ms(share).unwrap();
            assert!((found / ms - 1.0).abs() < 0.045, "{found}");
        }
        assert_eq!(all.weight_from(bin_of(1)), 1_000.0);
        assert_eq!(all.weight_from(bin_of(2_000_000)), 0.0);
    }
}
