//! How good a model is, by the truth or by an estimate of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is measured.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum QualityMetric {
    /// The share of predictions that are right.
    Accuracy,
    /// Of those predicted to be of a class, the share that are; the mean over classes if no class
    /// is named.
    Precision,
    /// Of those that are of a class, the share predicted to be.
    Recall,
    /// The harmonic mean of the two.
    F1,
    /// The probability that a positive scores above a negative.
    Auc,
    /// The mean of −ln(probability of the truth).
    LogLoss,
    /// The mean squared difference of probability and truth.
    Brier,
    /// The mean absolute error.
    Mae,
    /// The root of the mean squared error.
    Rmse,
    /// The share of the truth's variance that is explained.
    R2,
    /// The mean of prediction − truth.
    Bias,
}

/// What a prediction is, beside its truth.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TruthKind {
    /// A class: right or wrong.
    Class,
    /// The probability of a class, from 0 to 1, or another score of it.
    Score,
    /// A number: near or far.
    Number,
}

/// Where an interval comes from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IntervalMethod {
    /// Wilson's, of a share; F1 through the share of its Jaccard index.
    Wilson,
    /// DeLong's variance, over the bins of scores.
    DeLong,
    /// The normal distribution of a mean.
    Normal,
    /// The normal distribution, with the variance by the delta method.
    Delta,
}

/// One number about quality, with its 95% interval.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct QualityNumber {
    /// What is measured.
    pub metric: QualityMetric,
    /// Of which class, if of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The number.
    pub value: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// Where the interval comes from.
    pub method: IntervalMethod,
    /// Of so many rows.
    pub n: u64,
    /// By how much the value may be off because scores are kept in bins; 0 else.
    #[serde(default)]
    pub error_max: f64,
}

/// How much of the truth of a cohort is known.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Maturity {
    /// Nothing yet: quality is estimated from the model's own probabilities.
    Estimated,
    /// Some. Truth that comes early is no random sample.
    Partial,
    /// As much as will come.
    Final,
}
