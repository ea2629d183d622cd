//! Drift: whether what comes in or goes out is no longer distributed as in the reference.
//!
//! A [`Reference`] cuts a column into bins; the edge counts the rows of each minute in them, and
//! [`Detector`] takes those counts, minute by minute. Its unit is the share of the minute's rows
//! that lie in a bin, not the row: the rows of a minute may all come from one caller and be alike.

mod bound;
mod calm;
mod detector;
mod evidence;
mod features;
mod numbers;
mod operations;
mod reference;
mod season;
mod share;
mod slices;
mod tell;
#[cfg(test)]
mod tests;

pub use bound::{
    ERRORS_OF_REFERENCE, Finds, Shift, THRESHOLD_MINUTES, TOLERANCE, upper_bound, widened,
};
pub use detector::{Blamed, Detector, Found, SERIES_MAX, Series, Watch};
pub use evidence::{BETS, Evidence};
pub use features::{PROJECTIONS, TensorFeatures, TextFeatures, tensor_features, text_features};
pub use numbers::{distances, drift_numbers, jensen_shannon, kolmogorov_smirnov, psi, wasserstein};
pub use operations::{
    CRASH_MINUTES_SHARE, Disk, ERROR_SHARE_MIN, QUEUE_GROWTH_SHARE, RECORDS_LOST_SHARE,
    TAIL_SHARE_MAX, error_bound, queue_grew,
};
pub use reference::{BINS_MAX, Bins, CATEGORIES_MAX, Category, Counts, Reference, hash_of};
pub use season::{LEARNING_DAYS, OWN_HOUR_DAYS, Season, Stage};
pub use share::{
    BUCKET_MS, LATENCIES_MIN, SLOW_SHARE_MAX, ShareDetector, ShareFound, Signal, slow_limit_us,
};
pub use slices::{SLICES_MAX, Slice, slices};
pub use tell::{drift_finding, share_finding};
