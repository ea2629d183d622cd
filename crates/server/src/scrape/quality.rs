//! How good models are, for whoever scrapes: read from the sums of hours, and not at every scrape.

use std::sync::Arc;

use domain::quality::QualityMetric;
use monitor::exposition::{Family, Kind, Label, Value};
use monitor::quality::{Quality, QualityWindow, Step};
use parking_lot::Mutex;

use super::of_model;

/// It is read again after so long, in milliseconds.
const READ_MS: u64 = 60_000;
/// Of predictions of so long a time, in milliseconds.
const SINCE_MS: u64 = 7 * 86_400_000;
/// Models that are read: the first by name.
const MODELS_MAX: usize = 100;
/// Series of quality.
const QUALITY_SERIES_MAX: usize = 2_000;

/// What was read last, and when, in milliseconds since 1970.
#[derive(Default)]
pub struct Recent(Mutex<Option<(u64, Family)>>);

impl Recent {
    /// As it is, or was not long ago.
    pub fn family(&self, quality: &Quality, now_ms: u64) -> Family {
        let mut last = self.0.lock();
        if let Some((at_ms, family)) = &*last
            && now_ms.abs_diff(*at_ms) < READ_MS
        {
            return family.clone();
        }
        let family = read(quality, now_ms).unwrap_or_else(|error| {
            tracing::warn!("quality is in no metric: {error}");
            empty()
        });
        *last = Some((now_ms, family.clone()));
        family
    }
}

fn empty() -> Family {
    let help = "How good a version was in the last seven days, by the truth or as it is estimated.";
    Family::new(Kind::Gauge, "decalog_quality", "", help)
}

fn read(quality: &Quality, now_ms: u64) -> Result<Family, Box<dyn std::error::Error>> {
    let mut family = empty();
    for model in quality.models(MODELS_MAX)? {
        let from_ms = now_ms.saturating_sub(SINCE_MS);
        let report = quality.report(&model, None, (from_ms, now_ms), Step::All, now_ms)?;
        for window in report.windows {
            let mut labels = of_model(&model, &window.environment);
            labels.push(("version", window.version.clone().into()));
            add(&mut family, labels.into(), &window);
        }
    }
    family.series.truncate(QUALITY_SERIES_MAX);
    Ok(family)
}

/// Numbers of all classes together: what classes there are, only truth says.
fn add(family: &mut Family, shared: Arc<[Label]>, window: &QualityWindow) {
    for (by, numbers) in [("truth", &window.numbers), ("estimate", &window.estimates)] {
        for number in numbers.iter().filter(|number| number.class.is_none()) {
            let own = vec![("measure", measure(number.metric).into()), ("by", by.into())];
            family.push(&shared, own, Value::Number(number.value));
        }
    }
}

/// As it is written in JSON.
fn measure(metric: QualityMetric) -> &'static str {
    match metric {
        QualityMetric::Accuracy => "accuracy",
        QualityMetric::Precision => "precision",
        QualityMetric::Recall => "recall",
        QualityMetric::F1 => "f1",
        QualityMetric::Auc => "auc",
        QualityMetric::LogLoss => "log_loss",
        QualityMetric::Brier => "brier",
        QualityMetric::Mae => "mae",
        QualityMetric::Rmse => "rmse",
        QualityMetric::R2 => "r2",
        QualityMetric::Bias => "bias",
    }
}
