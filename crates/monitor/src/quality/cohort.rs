//! What one hour of a version sums up to.

use domain::quality::Maturity;
use domain::{EnvironmentName, ModelKey, VersionNumber};
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

/// The quality of one hour of predictions, for whoever watches it. Losses are from 0 to 1.
#[derive(Clone, PartialEq, Debug)]
pub struct QualityCohort {
    /// Of which model, …
    pub model: ModelKey,
    /// … where, …
    pub environment: EnvironmentName,
    /// … and which version.
    pub version: VersionNumber,
    /// The begin of the hour, in milliseconds since 1970.
    pub start_ms: u64,
    /// Predictions.
    pub predictions: u64,
    /// Predictions with truth.
    pub n: u64,
    /// By the truth: the share that is wrong, or how far numbers are off.
    pub mean_loss: Option<f64>,
    /// What is expected, while the estimate is trusted.
    pub estimated_loss: Option<f64>,
    /// The share of predictions whose truth is known.
    pub coverage: f64,
    /// How much of it is known.
    pub maturity: Maturity,
}
