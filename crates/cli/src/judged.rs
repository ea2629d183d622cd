//! Metrics in words.

use domain::quality::QualityMetric;

/// A metric as people write it.
pub fn label(metric: QualityMetric) -> &'static str {
    match metric {
        QualityMetric::Accuracy => "accuracy",
        QualityMetric::LogLoss => "log loss",
        QualityMetric::Brier => "Brier score",
        QualityMetric::Mae => "MAE",
        QualityMetric::Rmse => "RMSE",
        QualityMetric::Precision => "precision",
        QualityMetric::Recall => "recall",
        QualityMetric::F1 => "F1",
        QualityMetric::Auc => "AUC",
        QualityMetric::R2 => "R²",
        QualityMetric::Bias => "bias",
    }
}
