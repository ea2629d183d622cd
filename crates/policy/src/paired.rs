//! Two versions that were asked the same rows: what differs between them, and by how much. Rows are
//! paired, so that what both find hard takes no part in the difference. Pure: whoever asks gives a
//! seed, and the same rows with the same seed have the same intervals.

mod bootstrap;
mod latency;
mod outputs;
mod quality;
#[cfg(test)]
mod tests;

pub use bootstrap::{Estimate, RESAMPLES, function_of_means, share};
pub use latency::latency_ratio;
pub use outputs::{Cell, LARGEST_MAX, OutputCompared, OutputKind, outputs};
pub use quality::{McNemar, QualityCompared, is_better_low, mcnemar, quality};
