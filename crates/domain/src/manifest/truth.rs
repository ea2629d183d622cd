//! `[truth]`: what the truth that comes later is compared with, and how.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ManifestError;
use crate::outcome::OUTCOME_BYTES_MAX;
use crate::quality::TruthKind;

/// How long truth may take, in days, if the manifest does not say.
pub const TRUTH_DAYS: u32 = 30;
/// The most that it may say.
pub const TRUTH_DAYS_MAX: u32 = 400;
/// A score from here on is a positive, if the manifest does not say.
pub const THRESHOLD: f64 = 0.5;
const DAY_MS: u64 = 86_400_000;

/// `[truth]`. What is unsaid is inferred from the values.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TruthSection {
    /// The output that the truth is compared with; default: the only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// What the truth is called where it is sent; `truth` and the output's name always work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// What the output is: a class, the score of a class, or a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<TruthKind>,
    /// The class that a score is the probability of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub positive: Option<String>,
    /// A score from here on is a positive; default 0.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// How long truth may take, in days; default 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days_max: Option<u32>,
}

impl TruthSection {
    /// Whether it says nothing.
    pub fn is_unsaid(&self) -> bool {
        *self == TruthSection::default()
    }

    /// How long truth may take, in milliseconds.
    pub fn truth_ms_max(&self) -> u64 {
        u64::from(self.days_max.unwrap_or(TRUTH_DAYS)) * DAY_MS
    }

    /// Checks what the types cannot.
    pub fn validate(&self) -> Result<(), ManifestError> {
        let refuse =
            |key, problem: &str| Err(ManifestError::Value { key, problem: problem.to_string() });
        if self.threshold.is_some_and(|threshold| !threshold.is_finite()) {
            return refuse("truth.threshold", "must be a finite number, as 0.5");
        }
        if self.days_max.is_some_and(|days| !(1..=TRUTH_DAYS_MAX).contains(&days)) {
            return refuse("truth.days_max", "must be from 1 to 400");
        }
        for (key, text) in [
            ("truth.output", &self.output),
            ("truth.column", &self.column),
            ("truth.positive", &self.positive),
        ] {
            let fits = |text: &String| (1..=OUTCOME_BYTES_MAX).contains(&text.len());
            if !text.as_ref().is_none_or(fits) {
                return refuse(key, "must have from 1 to 256 bytes");
            }
        }
        if self.column.as_deref().is_some_and(|column| ["id", "row", "key", "at"].contains(&column))
        {
            return refuse(
                "truth.column",
                "must not be id, row, key or at: they say whose truth it is",
            );
        }
        Ok(())
    }
}
