//! Count, mean, variance and extremes of numbers, one by one or merged.

/// Of finite numbers. Means and variances that are beyond what a float holds are unknown.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Moments {
    pub(super) count: u64,
    pub(super) mean: f64,
    /// The sum of the squared distances from the mean.
    pub(super) squares: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Default for Moments {
    fn default() -> Moments {
        Moments { count: 0, mean: 0.0, squares: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl Moments {
    /// Takes in a number (Welford, Technometrics 4, 1962).
    #[inline]
    pub(crate) fn add(&mut self, number: f64) {
        self.count += 1;
        let from_mean = number - self.mean;
        self.mean += from_mean / self.count as f64;
        self.squares += from_mean * (number - self.mean);
        self.min = self.min.min(number);
        self.max = self.max.max(number);
    }

    /// Takes in all of another (Chan, Golub and LeVeque, 1979).
    pub(super) fn merge(&mut self, other: &Moments) {
        if other.count == 0 {
            return;
        }
        let count = self.count.saturating_add(other.count);
        let (mine, theirs) = (self.count as f64, other.count as f64);
        let apart = other.mean - self.mean;
        self.mean += apart * (theirs / count as f64);
        self.squares += other.squares + apart * apart * (mine * theirs / count as f64);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.count = count;
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// `None` without numbers.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0 && self.mean.is_finite()).then_some(self.mean)
    }

    /// Of the numbers as a sample; `None` for fewer than two.
    pub fn variance(&self) -> Option<f64> {
        let is_known = self.count > 1 && self.squares.is_finite() && self.mean.is_finite();
        is_known.then(|| self.squares.max(0.0) / (self.count - 1) as f64)
    }

    /// The smallest, exact.
    pub fn min(&self) -> Option<f64> {
        (self.count > 0).then_some(self.min)
    }

    /// The largest, exact.
    pub fn max(&self) -> Option<f64> {
        (self.count > 0).then_some(self.max)
    }
}
