//! Numbers predicted, and what they were.

use domain::quality::{IntervalMethod, QualityMetric, QualityNumber};
use serde::{Deserialize, Serialize};

use super::interval::{mean_interval, number};
use super::moments::Moments;

/// Errors and truths: 160 bytes.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Regression {
    /// Truths are kept less this, so that large numbers of little spread lose no digits.
    centre: f64,
    error: Moments,
    absolute: Moments,
    square: Moments,
    /// Of truth less centre, and of its square.
    truth: Moments,
    truth_square: Moments,
    truth_cube: f64,
    /// Sums of the squared error times truth less centre, and times its square.
    square_truth: f64,
    square_truth_square: f64,
}

impl Regression {
    /// With a number that truths are about: the mean of the reference. Only what has the same can be
    /// merged.
    pub fn new(centre: f64) -> Regression {
        Regression { centre, ..Regression::default() }
    }

    /// Takes in a prediction and its truth; with weight −1, out again. What is not finite is left
    /// out.
    pub fn add(&mut self, predicted: f64, truth: f64, weight: f64) {
        let (error, from_centre) = (predicted - truth, truth - self.centre);
        if !error.is_finite() {
            return;
        }
        let square = error * error;
        self.error.add(error, weight);
        self.absolute.add(error.abs(), weight);
        self.square.add(square, weight);
        self.truth.add(from_centre, weight);
        self.truth_square.add(from_centre * from_centre, weight);
        self.truth_cube += weight * from_centre.powi(3);
        self.square_truth += weight * square * from_centre;
        self.square_truth_square += weight * square * from_centre * from_centre;
    }

    /// Adds all of another with the same centre; `false`, and nothing, if it has another.
    #[must_use]
    pub fn merge(&mut self, other: &Regression) -> bool {
        if self.centre != other.centre {
            return false;
        }
        self.error.merge(&other.error);
        self.absolute.merge(&other.absolute);
        self.square.merge(&other.square);
        self.truth.merge(&other.truth);
        self.truth_square.merge(&other.truth_square);
        self.truth_cube += other.truth_cube;
        self.square_truth += other.square_truth;
        self.square_truth_square += other.square_truth_square;
        true
    }

    /// Counts each row as so many.
    pub fn scale(&mut self, by: f64) {
        let all = [
            &mut self.error,
            &mut self.absolute,
            &mut self.square,
            &mut self.truth,
            &mut self.truth_square,
        ];
        all.into_iter().for_each(|moments| moments.scale(by));
        self.truth_cube *= by;
        self.square_truth *= by;
        self.square_truth_square *= by;
    }

    /// The mean absolute error; `None` without rows.
    pub fn absolute_error(&self) -> Option<f64> {
        (self.absolute.n > 0.0).then(|| self.absolute.mean())
    }

    /// MAE, RMSE, R² and bias. Empty without rows.
    pub fn numbers(&self) -> Vec<QualityNumber> {
        let rows = self.error.n;
        if rows < 1.0 {
            return vec![];
        }
        let n = rows.round() as u64;
        let mean = |metric, moments: &Moments| {
            let interval = mean_interval(moments.mean(), moments.variance_of_mean());
            number(metric, moments.mean(), interval, IntervalMethod::Normal, n)
        };
        let rmse = self.square.mean().max(0.0).sqrt();
        // The root's derivative is 1 / (2 · root).
        let variance = self.square.variance_of_mean() / (4.0 * rmse * rmse).max(f64::MIN_POSITIVE);
        let (low, high) = mean_interval(rmse, variance);
        let rmse =
            number(QualityMetric::Rmse, rmse, (low.max(0.0), high), IntervalMethod::Delta, n);
        let (mae, bias) =
            (mean(QualityMetric::Mae, &self.absolute), mean(QualityMetric::Bias, &self.error));
        [Some(mae), Some(rmse), self.r2(), Some(bias)].into_iter().flatten().collect()
    }

    /// The variance is that of the influence −(e² − (1 − R²)(y − ȳ)²) / var(y). `None` if all truths
    /// are alike.
    fn r2(&self) -> Option<QualityNumber> {
        let n = self.truth.n;
        let (d, mse) = (self.truth.mean(), self.square.mean());
        let variance = (self.truth.squares / n - d * d).max(0.0);
        if n < 2.0 || variance <= 1e-12 * self.truth.squares / n || variance <= 0.0 {
            return None;
        }
        let ratio = mse / variance;
        // Means of (y − ȳ)⁴ and e²(y − ȳ)² from powers about the centre.
        let fourth = self.truth_square.squares / n - 4.0 * d * self.truth_cube / n
            + 6.0 * d * d * self.truth.squares / n
            - 3.0 * d.powi(4);
        let cross = (self.square_truth_square - 2.0 * d * self.square_truth) / n + d * d * mse;
        let influence =
            (self.square.squares / n - 2.0 * ratio * cross + ratio * ratio * fourth).max(0.0);
        let interval = mean_interval(1.0 - ratio, influence / (variance * variance) / n);
        let interval = (interval.0, interval.1.min(1.0));
        let rows = n.round() as u64;
        Some(number(QualityMetric::R2, 1.0 - ratio, interval, IntervalMethod::Delta, rows))
    }
}
