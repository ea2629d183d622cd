//! Scores of a binary classifier: AUC in bounded memory, log loss, Brier's score.

use domain::quality::{IntervalMethod, QualityMetric, QualityNumber};
use serde::{Deserialize, Serialize};

use super::interval::{mean_interval, number};
use super::moments::Moments;

/// Bins of scores from 0 to 1.
pub const SCORE_BINS: usize = 1_024;
/// A probability counts as at least this, and at most 1 less this: log loss stays finite.
const PROBABILITY_MIN: f64 = 1e-6;

/// Positives and negatives by score: 16 KB.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Scores {
    #[serde(with = "sparse")]
    positives: Vec<f64>,
    #[serde(with = "sparse")]
    negatives: Vec<f64>,
    log_loss: Moments,
    brier: Moments,
}

impl Default for Scores {
    fn default() -> Scores {
        Scores {
            positives: vec![0.0; SCORE_BINS],
            negatives: vec![0.0; SCORE_BINS],
            log_loss: Moments::default(),
            brier: Moments::default(),
        }
    }
}

impl Scores {
    /// Takes in a probability and its truth; with weight −1, out again. Scores outside 0 to 1 count
    /// as the nearer end: map those that are no probabilities to that range first, by any rising
    /// function.
    pub fn add(&mut self, score: f64, truth: bool, weight: f64) {
        let score = if score.is_nan() { 0.5 } else { score.clamp(0.0, 1.0) };
        let side = if truth { &mut self.positives } else { &mut self.negatives };
        side[bin_of(score)] += weight;
        self.log_loss.add(log_loss(score, truth), weight);
        self.brier.add(brier(score, truth), weight);
    }

    /// Takes in a score that is positive with this probability: for estimates.
    pub(super) fn add_expected(&mut self, score: f64, probability: f64, weight: f64) {
        let bin = bin_of(score);
        self.positives[bin] += weight * probability;
        self.negatives[bin] += weight * (1.0 - probability);
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Scores) {
        let add = |mine: &mut Vec<f64>, theirs: &[f64]| {
            mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine += theirs)
        };
        add(&mut self.positives, &other.positives);
        add(&mut self.negatives, &other.negatives);
        self.log_loss.merge(&other.log_loss);
        self.brier.merge(&other.brier);
    }

    /// Counts each row as so many.
    pub fn scale(&mut self, by: f64) {
        let bins = self.positives.iter_mut().chain(&mut self.negatives);
        bins.for_each(|bin| *bin *= by);
        self.log_loss.scale(by);
        self.brier.scale(by);
    }

    /// AUC, log loss and Brier's score; those that there is something for.
    pub fn numbers(&self) -> Vec<QualityNumber> {
        let mean = |metric, moments: &Moments| {
            let interval = mean_interval(moments.mean(), moments.variance_of_mean());
            let n = moments.n.max(0.0).round() as u64;
            let is_any = moments.n >= 1.0;
            is_any.then(|| number(metric, moments.mean(), interval, IntervalMethod::Normal, n))
        };
        let numbers = [
            self.auc(),
            mean(QualityMetric::LogLoss, &self.log_loss),
            mean(QualityMetric::Brier, &self.brier),
        ];
        numbers.into_iter().flatten().collect()
    }

    /// The area under the ROC curve, with ties within a bin as halves: at most half of all pairs
    /// that share a bin are wrong, and this is its `error_max`. Its variance is DeLong's, over bins
    /// (DeLong, DeLong, Clarke-Pearson, Biometrics 1988). `None` without both classes.
    pub fn auc(&self) -> Option<QualityNumber> {
        let (p, n) = (self.positives.iter().sum::<f64>(), self.negatives.iter().sum::<f64>());
        if p <= 0.0 || n <= 0.0 {
            return None;
        }
        let (mut positives_below, mut negatives_below) = (0.0, 0.0);
        let (mut of_positives, mut of_negatives) = (Moments::default(), Moments::default());
        let mut tied = 0.0;
        for (positives, negatives) in self.positives.iter().zip(&self.negatives) {
            // The share of the other class that this one is on the right side of.
            of_positives.add((negatives_below + negatives / 2.0) / n, *positives);
            of_negatives.add(1.0 - (positives_below + positives / 2.0) / p, *negatives);
            tied += positives * negatives;
            positives_below += positives;
            negatives_below += negatives;
        }
        let value = of_positives.mean();
        let variance = of_positives.variance_of_mean() + of_negatives.variance_of_mean();
        let (low, high) = mean_interval(value, variance);
        let interval = (low.max(0.0), high.min(1.0));
        let rows = (p + n).round() as u64;
        let mut auc = number(QualityMetric::Auc, value, interval, IntervalMethod::DeLong, rows);
        auc.error_max = tied / (2.0 * p * n);
        Some(auc)
    }
}

/// How probable what is true was, if this is the probability of yes.
fn of_truth(score: f64, truth: bool) -> f64 {
    let score = if score.is_nan() { 0.5 } else { score.clamp(0.0, 1.0) };
    if truth { score } else { 1.0 - score }
}

/// −ln(probability of the truth) of one row; finite whatever the probability.
pub(super) fn log_loss(score: f64, truth: bool) -> f64 {
    -of_truth(score, truth).clamp(PROBABILITY_MIN, 1.0 - PROBABILITY_MIN).ln()
}

/// The squared difference of probability and truth of one row.
pub(super) fn brier(score: f64, truth: bool) -> f64 {
    (1.0 - of_truth(score, truth)).powi(2)
}

fn bin_of(score: f64) -> usize {
    // NaN is cast to 0.
    ((score.clamp(0.0, 1.0) * SCORE_BINS as f64) as usize).min(SCORE_BINS - 1)
}

/// Bins as they are stored: those that have something, with their numbers.
mod sparse {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::SCORE_BINS;

    pub fn serialize<S: Serializer>(bins: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        let filled: Vec<(usize, f64)> =
            bins.iter().copied().enumerate().filter(|(_, bin)| *bin != 0.0).collect();
        filled.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        let mut bins = vec![0.0; SCORE_BINS];
        for (at, value) in Vec::<(usize, f64)>::deserialize(deserializer)? {
            let bin = bins.get_mut(at).ok_or_else(|| serde::de::Error::custom("no such bin"))?;
            *bin = value;
        }
        Ok(bins)
    }
}
