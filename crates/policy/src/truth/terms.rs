//! What one row adds to a metric, for the metrics that are a function of a mean over rows: only
//! those can be compared row by row.

use domain::outcome::Outcome;
use domain::quality::{QualityMetric, TruthKind};

use super::comparison::Comparison;
use super::scores::{brier, log_loss};

/// The metrics that rows add up to.
pub const PAIRED_METRICS: [QualityMetric; 5] = [
    QualityMetric::Rmse,
    QualityMetric::Mae,
    QualityMetric::Accuracy,
    QualityMetric::LogLoss,
    QualityMetric::Brier,
];

/// What a prediction adds to the mean that a metric is made of: 1 or 0 for accuracy, the squared
/// error for RMSE. `None` if it cannot be compared, or the metric is none of [`PAIRED_METRICS`].
pub fn term(
    comparison: &Comparison,
    metric: QualityMetric,
    predicted: &Outcome,
    truth: &Outcome,
) -> Option<f64> {
    let error = || Some(predicted.number()? - truth.number()?).filter(|error| error.is_finite());
    let score = || {
        let is_score = comparison.kind == TruthKind::Score && comparison.is_probability;
        predicted.number().filter(|_| is_score).zip(comparison.is_positive(truth))
    };
    match metric {
        QualityMetric::Accuracy if comparison.kind != TruthKind::Number => {
            comparison.loss(predicted, truth).map(|loss| 1.0 - loss)
        }
        QualityMetric::Rmse => error().map(|error| error * error),
        QualityMetric::Mae => error().map(f64::abs),
        QualityMetric::LogLoss => score().map(|(score, truth)| log_loss(score, truth)),
        QualityMetric::Brier => score().map(|(score, truth)| brier(score, truth)),
        _ => None,
    }
}

/// The metric, of the mean of its terms.
pub fn of_mean(metric: QualityMetric, mean: f64) -> f64 {
    match metric {
        QualityMetric::Rmse => mean.max(0.0).sqrt(),
        _ => mean,
    }
}
