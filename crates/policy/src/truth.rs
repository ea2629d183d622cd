//! How good a model is: by the truth, which comes late, twice, corrected and in part, and until
//! then by an estimate.
//!
//! All sums can be merged, and what was added can be taken out again when truth is corrected. Each
//! number has a 95% interval that says by which method. A cohort is the predictions of one stretch
//! of time, whenever their truth comes ([`Cohort`]).
//!
//! Who is told what: drift alone is a notice, because it may do no harm; estimated quality that
//! falls is a warning, so long as the estimate is trusted ([`Distrust`]); quality that fell by the
//! truth is an alert. Both are e-detectors on a loss from 0 to 1, one unit a cohort, with
//! [`loss_bound`] and [`ShareDetector::update_share`](crate::drift::ShareDetector::update_share).

mod classes;
mod cohort;
mod comparison;
mod estimate;
mod interval;
mod moments;
mod regression;
mod scores;
mod sums;
mod terms;
#[cfg(test)]
mod tests;

pub use classes::{CLASSES_MAX, Classes};
pub use cohort::{Cohort, FINAL_SHARE, loss_bound};
pub use comparison::{Comparison, Undecided, compare};
pub use estimate::{CALIBRATION_BINS, Calibration, DISTRUST_E_VALUE, Distrust, Estimate};
pub use interval::{mean_interval, wilson};
pub use moments::Moments;
pub use regression::Regression;
pub use scores::{SCORE_BINS, Scores};
pub use sums::{Compared, Sums};
pub use terms::{PAIRED_METRICS, of_mean, term};
