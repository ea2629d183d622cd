//! The sums of a cohort: all that its numbers are made of. They can be merged over cohorts.

use domain::outcome::Outcome;
use domain::quality::{QualityNumber, TruthKind};
use serde::{Deserialize, Serialize};

use super::classes::Classes;
use super::cohort::Cohort;
use super::comparison::Comparison;
use super::estimate::{Calibration, Estimate};
use super::moments::Moments;
use super::regression::Regression;
use super::scores::Scores;

/// A prediction, and its truth if it is known.
#[derive(Clone, Copy, Debug)]
pub struct Compared<'a> {
    /// What was predicted.
    pub predicted: &'a Outcome,
    /// What is true, and how long after the prediction that became known, in milliseconds.
    pub truth: Option<(&'a Outcome, u64)>,
    /// How many predictions it stands for.
    pub weight: f64,
}

/// What a cohort's predictions and truths sum up to.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Sums {
    /// Which predictions, and of how many of them the truth is known.
    pub cohort: Cohort,
    /// Truths, or predictions with truth, that are not what they are compared as.
    pub unreadable: u64,
    /// The weights of predictions with truth; their squares say how many rows they are worth.
    weights: Moments,
    /// How long truth took, in milliseconds.
    lateness: Moments,
    /// From 0 to 1: whether the prediction was wrong, or how far it was off.
    loss: Moments,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    classes: Option<Classes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scores: Option<Scores>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    regression: Option<Regression>,
    /// Rows with truth by score, to calibrate later estimates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    calibration: Option<Calibration>,
    /// Of all predictions, whether or not their truth is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    estimate: Option<Estimate>,
    /// The weights of all predictions.
    all_weights: Moments,
}

impl Sums {
    /// None yet, of predictions of this stretch of time, in milliseconds since 1970.
    pub fn new(start_ms: u64, end_ms: u64) -> Sums {
        Sums { cohort: Cohort { start_ms, end_ms, ..Cohort::default() }, ..Sums::default() }
    }

    /// Takes in a prediction; what it is expected to be worth, if there is a calibration.
    pub fn add(
        &mut self,
        comparison: &Comparison,
        calibration: Option<&Calibration>,
        row: Compared<'_>,
    ) {
        self.cohort.predictions += 1;
        self.all_weights.add(row.weight, 1.0);
        let score = row.predicted.number().filter(|_| comparison.kind == TruthKind::Score);
        if let (Some(score), Some(calibration)) = (score, calibration) {
            let is_positive = score >= comparison.threshold;
            let probability = calibration.probability(score);
            let estimate = self.estimate.get_or_insert_default();
            estimate.add(score, probability, is_positive, row.weight);
        }
        let Some((truth, late_ms)) = row.truth else { return };
        if self.add_truth(comparison, row.predicted, truth, row.weight).is_none() {
            self.unreadable += 1;
            return;
        }
        self.cohort.known += 1;
        self.weights.add(row.weight, 1.0);
        self.lateness.add(late_ms as f64, row.weight);
    }

    /// `None` if they cannot be compared.
    fn add_truth(
        &mut self,
        comparison: &Comparison,
        predicted: &Outcome,
        truth: &Outcome,
        weight: f64,
    ) -> Option<()> {
        if let Some(loss) = comparison.loss(predicted, truth) {
            self.loss.add(loss, weight);
        }
        match comparison.kind {
            TruthKind::Class => {
                let (predicted, truth) = (comparison.class(predicted), comparison.class(truth));
                self.classes.get_or_insert_default().add(&predicted, &truth, weight);
            }
            TruthKind::Score => {
                let (score, truth) = (predicted.number()?, comparison.is_positive(truth)?);
                let is_positive = score >= comparison.threshold;
                let name = |is_positive| comparison.class_of_score(is_positive);
                self.classes.get_or_insert_default().add(&name(is_positive), &name(truth), weight);
                if comparison.is_probability {
                    self.scores.get_or_insert_default().add(score, truth, weight);
                    self.calibration.get_or_insert_default().add(score, truth);
                }
            }
            TruthKind::Number => {
                let (predicted, truth) = (predicted.number()?, truth.number()?);
                let regression =
                    self.regression.get_or_insert_with(|| Regression::new(comparison.centre));
                regression.add(predicted, truth, weight);
            }
        }
        Some(())
    }

    /// Adds all of another that was compared the same way.
    pub fn merge(&mut self, other: &Sums) {
        let cohort = &mut self.cohort;
        if cohort.end_ms == 0 {
            *cohort = other.cohort;
        } else {
            cohort.start_ms = cohort.start_ms.min(other.cohort.start_ms);
            cohort.end_ms = cohort.end_ms.max(other.cohort.end_ms);
            cohort.predictions += other.cohort.predictions;
            cohort.known += other.cohort.known;
        }
        self.unreadable += other.unreadable;
        self.weights.merge(&other.weights);
        self.lateness.merge(&other.lateness);
        self.loss.merge(&other.loss);
        self.all_weights.merge(&other.all_weights);
        if let Some(classes) = &other.classes {
            self.classes.get_or_insert_default().merge(classes);
        }
        if let Some(scores) = &other.scores {
            self.scores.get_or_insert_default().merge(scores);
        }
        if let Some(calibration) = &other.calibration {
            self.calibration.get_or_insert_default().merge(calibration);
        }
        if let Some(estimate) = &other.estimate {
            self.estimate.get_or_insert_default().merge(estimate);
        }
        match (&mut self.regression, &other.regression) {
            // Of another comparison: it is about to be made anew.
            (Some(regression), Some(other)) => drop(regression.merge(other)),
            (own @ None, Some(other)) => *own = Some(other.clone()),
            (_, None) => {}
        }
    }

    /// What the truth says.
    pub fn numbers(&self, comparison: &Comparison) -> Vec<QualityNumber> {
        let scale = worth(&self.weights);
        let mut numbers = vec![];
        if let Some(mut classes) = self.classes.clone() {
            classes.scale(scale);
            numbers.extend(classes.numbers(comparison.positive.as_deref()));
        }
        if let Some(mut scores) = self.scores.clone() {
            scores.scale(scale);
            numbers.extend(scores.numbers());
        }
        if let Some(mut regression) = self.regression.clone() {
            regression.scale(scale);
            numbers.extend(regression.numbers());
        }
        numbers
    }

    /// What is expected of all its predictions; empty without a calibration.
    pub fn estimates(&self) -> Vec<QualityNumber> {
        let Some(mut estimate) = self.estimate.clone() else { return vec![] };
        estimate.scale(worth(&self.all_weights));
        estimate.numbers()
    }

    /// The mean loss by the truth, from 0 to 1.
    pub fn loss(&self) -> Option<f64> {
        (self.loss.n > 0.0).then(|| self.loss.mean())
    }

    /// The loss of its rows.
    pub fn losses(&self) -> &Moments {
        &self.loss
    }

    /// The mean loss that is expected.
    pub fn estimated_loss(&self) -> Option<f64> {
        self.estimate.as_ref().and_then(Estimate::loss)
    }

    /// How long truth took in the mean, in milliseconds.
    pub fn late_ms(&self) -> Option<u64> {
        (self.lateness.n > 0.0).then(|| self.lateness.mean().round() as u64)
    }

    /// Rows with truth by score.
    pub fn calibration(&self) -> Option<&Calibration> {
        self.calibration.as_ref()
    }

    /// The mean absolute error of numbers.
    pub fn absolute_error(&self) -> Option<f64> {
        self.regression.as_ref().and_then(Regression::absolute_error)
    }
}

/// What each weight counts for in intervals: as many rows as those that are worth the same together
/// (Kish's effective size), which is all of them if no weight differs.
fn worth(weights: &Moments) -> f64 {
    if weights.squares > 0.0 { weights.sum / weights.squares } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use domain::quality::QualityMetric;

    use super::*;

    fn comparison(kind: TruthKind) -> Comparison {
        Comparison {
            output: "leave".into(),
            kind,
            positive: (kind == TruthKind::Score).then(|| "true".into()),
            is_binary: kind == TruthKind::Score,
            threshold: 0.5,
            is_probability: true,
            centre: 10.0,
            loss_scale: Some(4.0),
            truth_ms_max: 1_000,
        }
    }

    fn add(sums: &mut Sums, kind: TruthKind, predicted: f64, truth: Option<f64>, weight: f64) {
        let (predicted, truth) = (Outcome::Number(predicted), truth.map(Outcome::Number));
        let truth = truth.as_ref().map(|truth| (truth, 60_000));
        let row = Compared { predicted: &predicted, truth, weight };
        sums.add(&comparison(kind), Some(&Calibration::default()), row);
    }

    fn value(numbers: &[QualityNumber], metric: QualityMetric) -> &QualityNumber {
        numbers.iter().find(|number| number.metric == metric).unwrap()
    }

    #[test]
    fn a_weight_counts_in_the_value_and_not_as_so_many_rows() {
        let (mut plain, mut sampled) = (Sums::new(0, 1), Sums::new(0, 1));
        for at in 0..100 {
            let (score, truth) = (f64::from(at) / 100.0, f64::from(u8::from(at % 3 == 0)));
            add(&mut plain, TruthKind::Score, score, Some(truth), 1.0);
            add(&mut sampled, TruthKind::Score, score, Some(truth), 10.0);
        }
        let (of_plain, of_sampled) = (
            plain.numbers(&comparison(TruthKind::Score)),
            sampled.numbers(&comparison(TruthKind::Score)),
        );
        for (a, b) in of_plain.iter().zip(&of_sampled) {
            assert!(
                (a.value - b.value).abs() < 1e-9 && (a.low - b.low).abs() < 1e-9,
                "{a:?} {b:?}"
            );
            assert_eq!(a.n, b.n);
        }
        // Half of the rows stand for nine each.
        let mut mixed = Sums::new(0, 1);
        (0..50).for_each(|_| add(&mut mixed, TruthKind::Score, 0.9, Some(1.0), 9.0));
        (0..50).for_each(|_| add(&mut mixed, TruthKind::Score, 0.9, Some(0.0), 1.0));
        let numbers = mixed.numbers(&comparison(TruthKind::Score));
        let accuracy = value(&numbers, QualityMetric::Accuracy);
        assert!((accuracy.value - 0.9).abs() < 1e-9, "{accuracy:?}");
        assert_eq!(accuracy.n, 61, "Kish's size of these weights");
    }

    #[test]
    fn cohorts_merge_to_what_they_are_together() {
        let kind = TruthKind::Number;
        let (mut one, mut two, mut all) = (Sums::new(0, 5), Sums::new(5, 9), Sums::new(0, 9));
        for at in 0..60 {
            let (predicted, truth) = (f64::from(at), (at % 4 > 0).then(|| f64::from(at * at % 7)));
            let part = if at % 2 == 0 { &mut one } else { &mut two };
            add(part, kind, predicted, truth, 1.0);
            add(&mut all, kind, predicted, truth, 1.0);
        }
        let mut merged = Sums::default();
        merged.merge(&one);
        merged.merge(&two);
        let text = serde_json::to_string(&merged).unwrap();
        assert_eq!(serde_json::from_str::<Sums>(&text).unwrap(), merged);
        assert_eq!(merged.cohort, all.cohort);
        assert_eq!((merged.cohort.predictions, merged.cohort.known), (60, 45));
        let (a, b) = (merged.numbers(&comparison(kind)), all.numbers(&comparison(kind)));
        assert!(a.iter().zip(&b).all(|(a, b)| (a.value - b.value).abs() < 1e-9), "{a:?} {b:?}");
        assert!(merged.loss().is_some_and(|loss| loss > 0.5 && loss <= 1.0));
        assert_eq!(merged.late_ms(), Some(60_000));
    }

    #[test]
    fn what_cannot_be_compared_is_counted() {
        let mut sums = Sums::new(0, 1);
        let (predicted, truth) = (Outcome::Number(0.4), Outcome::Text("n/a".into()));
        let row = Compared { predicted: &predicted, truth: Some((&truth, 5)), weight: 1.0 };
        sums.add(&comparison(TruthKind::Score), None, row);
        assert_eq!((sums.unreadable, sums.cohort.known, sums.cohort.predictions), (1, 0, 1));
        assert!(sums.numbers(&comparison(TruthKind::Score)).is_empty());
        assert!(sums.estimates().is_empty());
    }
}
