//! The predictions of one stretch of time, and how much of their truth is known.

use domain::quality::Maturity;
use serde::{Deserialize, Serialize};

use super::moments::Moments;
use crate::drift::ERRORS_OF_REFERENCE;

/// A cohort is final before its time if so much of its truth is known.
pub const FINAL_SHARE: f64 = 0.99;
/// Quality that is worse by less than a tenth of the loss is no loss that anybody is woken for.
const LOSS_TOLERANCE: f64 = 1.1;

/// The predictions of one stretch of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Cohort {
    /// When the first of its predictions may have been made, in milliseconds since 1970.
    pub start_ms: u64,
    /// And the last.
    pub end_ms: u64,
    /// Predictions.
    pub predictions: u64,
    /// Those whose truth is known; corrected truth counts once.
    pub known: u64,
}

impl Cohort {
    /// Where it stands now, if truth comes within `truth_ms_max` milliseconds of its prediction.
    pub fn maturity(&self, now_ms: u64, truth_ms_max: u64) -> Maturity {
        let is_due = now_ms >= self.end_ms.saturating_add(truth_ms_max);
        let is_over = now_ms >= self.end_ms;
        match self.known {
            0 => Maturity::Estimated,
            _ if is_due || (is_over && self.coverage() >= FINAL_SHARE) => Maturity::Final,
            _ => Maturity::Partial,
        }
    }

    /// The share of predictions whose truth is known.
    pub fn coverage(&self) -> f64 {
        self.known as f64 / self.predictions.max(1) as f64
    }
}

/// The bound of a cohort's mean loss, from 0 to 1, after those of the reference: 3.3 standard errors
/// above their mean, and a tenth more. Hand in the means of at least a dozen cohorts, because they
/// differ by more than chance; of one cohort, its rows.
pub fn loss_bound(reference: &Moments) -> f64 {
    let errors = ERRORS_OF_REFERENCE * reference.variance_of_mean().sqrt();
    ((reference.mean() + errors) * LOSS_TOLERANCE).clamp(1e-6, 1.0)
}
