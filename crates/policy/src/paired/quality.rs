//! A metric of two versions on the same rows, by their truth.

use domain::quality::QualityMetric;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bootstrap::{Estimate, function_of_means};
use crate::truth::of_mean;

/// Which of two versions was right alone, and how likely that is by chance.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct McNemar {
    /// Rows that only the first was right on.
    pub only_before: u64,
    /// Rows that only the second was right on.
    pub only_after: u64,
    /// The probability of a split as uneven as this, if both were as good.
    pub p: f64,
}

/// A metric of two versions.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct QualityCompared {
    /// What is measured.
    pub metric: QualityMetric,
    /// Of the first.
    pub before: f64,
    /// Of the second.
    pub after: f64,
    /// After − before.
    pub difference: Estimate,
    /// Of accuracy: who was right alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcnemar: Option<McNemar>,
}

/// Whether less of a metric is better.
pub fn is_better_low(metric: QualityMetric) -> bool {
    matches!(
        metric,
        QualityMetric::Rmse | QualityMetric::Mae | QualityMetric::LogLoss | QualityMetric::Brier
    )
}

/// Compares a metric by the terms of each row ([`term`](crate::truth::term)). `None` without rows.
pub fn quality(
    metric: QualityMetric,
    before: &[f64],
    after: &[f64],
    seed: u64,
) -> Option<QualityCompared> {
    let value = |means: &[f64], at: usize| of_mean(metric, means[at]);
    let difference =
        function_of_means(&[before, after], |means| value(means, 1) - value(means, 0), seed)?;
    let rows = difference.n as usize;
    let of = |terms: &[f64]| of_mean(metric, terms[..rows].iter().sum::<f64>() / rows as f64);
    let is_right = |term: f64| term > 0.5;
    let mcnemar = (metric == QualityMetric::Accuracy).then(|| {
        let pairs = || before.iter().zip(after).map(|(a, b)| (is_right(*a), is_right(*b)));
        mcnemar(
            pairs().filter(|pair| *pair == (true, false)).count() as u64,
            pairs().filter(|pair| *pair == (false, true)).count() as u64,
        )
    });
    Some(QualityCompared { metric, before: of(before), after: of(after), difference, mcnemar })
}

/// McNemar's exact test: which of two was right alone is a fair coin if both are as good (McNemar,
/// Psychometrika 1947, with the binomial distribution instead of its limit).
pub fn mcnemar(only_before: u64, only_after: u64) -> McNemar {
    let n = only_before + only_after;
    let fewer = only_before.min(only_after);
    // Of log(n over k), term by term; the greatest is taken out, so that none is lost.
    let (mut term, mut terms) = (-(n as f64) * std::f64::consts::LN_2, vec![]);
    for k in 0..=fewer {
        if k > 0 {
            term += ((n - k + 1) as f64).ln() - (k as f64).ln();
        }
        terms.push(term);
    }
    let greatest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let tail = greatest.exp() * terms.iter().map(|term| (term - greatest).exp()).sum::<f64>();
    McNemar { only_before, only_after, p: (2.0 * tail).min(1.0) }
}
