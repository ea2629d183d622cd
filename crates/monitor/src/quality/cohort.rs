//! What one hour of a version sums up to.

use domain::{EnvironmentName, VersionNumber};
use policy::truth::Sums;
use serde::{Deserialize, Serialize};

/// Predictions are summed up by the hour, in milliseconds.
pub const HOUR_MS: u64 = 3_600_000;
/// So much of the truth of an hour must be known before it says whether an estimate is right.
pub const MATURE_SHARE: f64 = 0.9;

/// What an hour of one version in one environment sums up to.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HourOf {
    /// Where.
    pub environment: EnvironmentName,
    /// Which version.
    pub version: VersionNumber,
    /// All that its numbers are made of.
    pub sums: Sums,
    /// Whether its truth was held against the estimate already.
    pub is_checked: bool,
}
