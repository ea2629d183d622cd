//! Quality before the truth is known, from the probabilities of a binary classifier (confidence-based
//! performance estimation): if they are calibrated, each says how likely its own prediction is right.
//! And when not to believe it.

use domain::quality::{IntervalMethod, QualityMetric, QualityNumber};
use serde::{Deserialize, Serialize};

use super::interval::{mean_interval, number};
use super::scores::Scores;

/// Bins of scores that a calibration is fitted on.
pub const CALIBRATION_BINS: usize = 50;
/// From this e-value on an estimate is distrusted; a calibrated one ever is with a probability of
/// one in a thousand.
pub const DISTRUST_E_VALUE: f64 = 1_000.0;
/// Probabilities may be off by this much in the mean.
const TOLERANCE: f64 = 0.02;
/// Bets on the excess of truth over probability.
const BETS: [f64; 5] = [0.02, 0.05, 0.1, 0.2, 0.4];

/// Rows with truth by score: 1.2 KB.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Calibration {
    /// Rows, the sum of their scores, positives.
    bins: Vec<(f64, f64, f64)>,
    /// Mean score and share of positives, both rising; empty until fitted.
    map: Vec<(f64, f64)>,
}

impl Default for Calibration {
    fn default() -> Calibration {
        Calibration { bins: vec![(0.0, 0.0, 0.0); CALIBRATION_BINS], map: vec![] }
    }
}

impl Calibration {
    /// Takes in a row of the reference whose truth is known.
    pub fn add(&mut self, score: f64, truth: bool) {
        let score = score.clamp(0.0, 1.0);
        let bin = ((score * CALIBRATION_BINS as f64) as usize).min(CALIBRATION_BINS - 1);
        let (rows, sum, positives) = &mut self.bins[bin];
        *rows += 1.0;
        *sum += if score.is_nan() { 0.5 } else { score };
        *positives += f64::from(u8::from(truth));
    }

    /// Adds all rows of another; the map stays.
    pub fn merge(&mut self, other: &Calibration) {
        for (mine, theirs) in self.bins.iter_mut().zip(&other.bins) {
            *mine = (mine.0 + theirs.0, mine.1 + theirs.1, mine.2 + theirs.2);
        }
    }

    /// Rows with truth so far.
    pub fn rows(&self) -> u64 {
        self.bins.iter().map(|(rows, ..)| *rows).sum::<f64>().round() as u64
    }

    /// Makes the map: the rising step function that is nearest, by pooling neighbours that fall
    /// (Ayer et al. 1955), with straight lines between.
    pub fn fit(&mut self) {
        let mut blocks: Vec<(f64, f64, f64)> = vec![];
        for bin in self.bins.iter().filter(|(rows, ..)| *rows > 0.0) {
            blocks.push(*bin);
            while let [.., before, last] = blocks.as_slice()
                && before.2 / before.0 >= last.2 / last.0
            {
                let pooled = (before.0 + last.0, before.1 + last.1, before.2 + last.2);
                blocks.truncate(blocks.len() - 2);
                blocks.push(pooled);
            }
        }
        self.map = blocks.iter().map(|(rows, sum, hits)| (sum / rows, hits / rows)).collect();
    }

    /// The probability that a row with this score is positive; the score itself before there is a
    /// map.
    pub fn probability(&self, score: f64) -> f64 {
        let score = if score.is_nan() { 0.5 } else { score.clamp(0.0, 1.0) };
        let after = self.map.partition_point(|(at, _)| *at < score);
        match (after.checked_sub(1).and_then(|at| self.map.get(at)), self.map.get(after)) {
            (Some((a, low)), Some((b, high))) if b > a => {
                low + (high - low) * (score - a) / (b - a)
            }
            (Some((_, only)), _) | (None, Some((_, only))) => *only,
            (None, None) => score,
        }
    }
}

/// The estimated quality of a cohort: 16 KB.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Estimate {
    rows: f64,
    /// Rows predicted positive; expected positives among them, and in all.
    predicted: f64,
    hits: f64,
    positives: f64,
    /// Sums of p(1 − p) over rows predicted positive, and over the others.
    variance_predicted: f64,
    variance_others: f64,
    scores: Scores,
}

impl Estimate {
    /// Takes in a prediction: its score, the probability of that by [`Calibration`], and which class
    /// was answered; and how many rows it stands for.
    pub fn add(&mut self, score: f64, probability: f64, is_positive: bool, weight: f64) {
        let variance = weight * probability * (1.0 - probability);
        self.rows += weight;
        self.positives += weight * probability;
        if is_positive {
            self.predicted += weight;
            self.hits += weight * probability;
            self.variance_predicted += variance;
        } else {
            self.variance_others += variance;
        }
        self.scores.add_expected(score, probability, weight);
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Estimate) {
        self.rows += other.rows;
        self.predicted += other.predicted;
        self.hits += other.hits;
        self.positives += other.positives;
        self.variance_predicted += other.variance_predicted;
        self.variance_others += other.variance_others;
        self.scores.merge(&other.scores);
    }

    /// Counts each row as so many.
    pub fn scale(&mut self, by: f64) {
        for sum in [
            &mut self.rows,
            &mut self.predicted,
            &mut self.hits,
            &mut self.positives,
            &mut self.variance_predicted,
            &mut self.variance_others,
        ] {
            *sum *= by;
        }
        self.scores.scale(by);
    }

    /// The expected share of wrong answers: a loss for the detector of estimated quality. `None`
    /// without rows.
    pub fn loss(&self) -> Option<f64> {
        let wrong = self.predicted - self.hits + (self.positives - self.hits);
        (self.rows > 0.0).then(|| wrong / self.rows)
    }

    /// Estimated accuracy, F1 of the positive class and AUC. Their intervals say how the truth may
    /// fall if the calibration is right; whether it is, says [`Distrust`].
    pub fn numbers(&self) -> Vec<QualityNumber> {
        let Some(loss) = self.loss() else { return vec![] };
        let n = self.rows as u64;
        let variance = (self.variance_predicted + self.variance_others) / (self.rows * self.rows);
        let interval = mean_interval(1.0 - loss, variance);
        let mut numbers =
            vec![number(QualityMetric::Accuracy, 1.0 - loss, interval, IntervalMethod::Normal, n)];
        let whole = self.predicted + self.positives;
        if whole > 0.0 {
            let f1 = 2.0 * self.hits / whole;
            // A row that is positive adds a hit if it was predicted, and lengthens the whole.
            let (hit, miss) = ((2.0 - f1) / whole, f1 / whole);
            let variance = self.variance_predicted * hit * hit + self.variance_others * miss * miss;
            let interval = mean_interval(f1, variance);
            numbers.push(number(QualityMetric::F1, f1, interval, IntervalMethod::Delta, n));
        }
        numbers.extend(self.scores.auc());
        numbers
    }
}

/// Evidence against an estimate, from truth as it comes: 20 bets, each the product of
/// 1 + λ·s·(y − p) − λ·tolerance, where s is 1, −1, or either by the side of ½ that p is on. Each
/// has mean 1 at most if E[y | past] is within the tolerance of p, so their mean is an e-process: by
/// Ville's inequality it ever reaches x with a probability of 1/x at most. Feed it truth of cohorts
/// that are final: early truth is no random sample, and contradicts any estimate.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Distrust {
    logs: [[f64; BETS.len()]; 4],
    log_greatest: f64,
    /// Rows with truth so far.
    pub rows: u64,
}

impl Distrust {
    /// Takes in a probability and its truth.
    pub fn add(&mut self, probability: f64, truth: bool) {
        let probability = probability.clamp(0.0, 1.0);
        let excess = f64::from(u8::from(truth)) - probability;
        let side = if probability < 0.5 { -1.0 } else { 1.0 };
        for (logs, sign) in self.logs.iter_mut().zip([1.0, -1.0, side, -side]) {
            for (log, bet) in logs.iter_mut().zip(BETS) {
                *log += (bet * (sign * excess - TOLERANCE)).ln_1p();
            }
        }
        self.rows += 1;
        self.log_greatest = self.log_greatest.max(self.log_mean());
    }

    fn log_mean(&self) -> f64 {
        let logs = || self.logs.iter().flatten().copied();
        let greatest = logs().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logs().map(|log| (log - greatest).exp()).sum();
        greatest + (sum / (4 * BETS.len()) as f64).ln()
    }

    /// The greatest e-value so far, at most 1e300.
    pub fn e_value(&self) -> f64 {
        self.log_greatest.min(690.0).exp()
    }

    /// Whether the estimate is not to be believed, until it is calibrated anew.
    pub fn is_distrusted(&self) -> bool {
        self.e_value() >= DISTRUST_E_VALUE
    }
}
