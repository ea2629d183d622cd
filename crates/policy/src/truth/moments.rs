//! Sums of a number and its square, which can be merged and taken apart.

use serde::{Deserialize, Serialize};

/// How many, their sum, and that of their squares. For numbers whose mean is not far beyond their
/// spread, such as losses: the variance is a difference.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Moments {
    /// How many.
    pub n: f64,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub squares: f64,
}

impl Moments {
    /// Takes one in; with weight −1, out again.
    pub fn add(&mut self, value: f64, weight: f64) {
        self.n += weight;
        self.sum += weight * value;
        self.squares += weight * value * value;
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Moments) {
        self.n += other.n;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    /// Counts each as so many.
    pub fn scale(&mut self, by: f64) {
        self.n *= by;
        self.sum *= by;
        self.squares *= by;
    }

    /// The mean; 0 of none.
    pub fn mean(&self) -> f64 {
        if self.n > 0.0 { self.sum / self.n } else { 0.0 }
    }

    /// The variance of one.
    pub fn variance(&self) -> f64 {
        if self.n <= 1.0 {
            return 0.0;
        }
        ((self.squares - self.sum * self.sum / self.n) / (self.n - 1.0)).max(0.0)
    }

    /// The variance of the mean.
    pub fn variance_of_mean(&self) -> f64 {
        if self.n > 0.0 { self.variance() / self.n } else { 0.0 }
    }
}
