//! Numbers against what they are by definition, intervals against how often they hold.

use domain::quality::{Maturity, QualityMetric, QualityNumber};
use proptest::prelude::*;

use super::*;

/// Numbers from 0 to 1 (Knuth's generator, the upper bits).
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Nearly normal: the sum of twelve.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

fn of(numbers: &[QualityNumber], metric: QualityMetric) -> &QualityNumber {
    numbers.iter().find(|number| number.metric == metric).unwrap()
}

#[test]
fn a_confusion_matrix_gives_the_numbers_of_the_textbook() {
    let mut classes = Classes::default();
    // 40 hits, 10 false positives, 20 missed, 30 rightly negative.
    for (predicted, truth, n) in
        [("yes", "yes", 40), ("yes", "no", 10), ("no", "yes", 20), ("no", "no", 30)]
    {
        (0..n).for_each(|_| classes.add(predicted, truth, 1.0));
    }
    let numbers = classes.numbers(Some("yes"));
    for (metric, expected) in [
        (QualityMetric::Accuracy, 0.7),
        (QualityMetric::Precision, 0.8),
        (QualityMetric::Recall, 2.0 / 3.0),
        (QualityMetric::F1, 80.0 / 110.0),
    ] {
        let number = of(&numbers, metric);
        assert!((number.value - expected).abs() < 1e-12, "{number:?}");
        assert!(number.low < number.value && number.value < number.high, "{number:?}");
    }
    // Wilson's interval of 70 of 100.
    let accuracy = of(&numbers, QualityMetric::Accuracy);
    assert!((accuracy.low - 0.6042).abs() < 1e-4 && (accuracy.high - 0.7811).abs() < 1e-4);
    let means = classes.numbers(None);
    let precision = of(&means, QualityMetric::Precision);
    assert!((precision.value - (0.8 + 0.6) / 2.0).abs() < 1e-12 && precision.class.is_none());
    assert_eq!(means.len(), 1 + 3 + 2 * 3);
    let names: Vec<String> = (0..200).map(|class| class.to_string()).collect();
    names.iter().for_each(|name| classes.add(name, "yes", 1.0));
    assert_eq!((classes.n(), classes.numbers(None).len()), (300.0, 4 + 3 * (CLASSES_MAX + 1)));
}

#[test]
fn truth_that_is_corrected_leaves_no_trace() {
    let mut random = Random(1);
    let (mut corrected, mut right) = (Classes::default(), Classes::default());
    let (mut scores, mut right_scores) = (Scores::default(), Scores::default());
    for _ in 0..500 {
        let (score, first, last) = (random.unit(), random.unit() < 0.5, random.unit() < 0.5);
        let (was, is) = (if first { "yes" } else { "no" }, if last { "yes" } else { "no" });
        corrected.add("yes", was, 1.0);
        corrected.add("yes", was, -1.0);
        corrected.add("yes", is, 1.0);
        right.add("yes", is, 1.0);
        scores.add(score, first, 1.0);
        scores.add(score, first, -1.0);
        scores.add(score, last, 1.0);
        right_scores.add(score, last, 1.0);
    }
    assert_eq!(corrected.numbers(Some("yes")), right.numbers(Some("yes")));
    for (a, b) in scores.numbers().iter().zip(right_scores.numbers()) {
        assert!((a.value - b.value).abs() < 1e-9 && (a.low - b.low).abs() < 1e-9, "{a:?} {b:?}");
    }
}

#[test]
fn intervals_hold_as_often_as_they_say() {
    let runs = 400;
    let mut held = std::collections::BTreeMap::<QualityMetric, u32>::new();
    let mut random = Random(11);
    for _ in 0..runs {
        let (mut scores, mut classes) = (Scores::default(), Classes::default());
        let mut regression = Regression::new(1_000.5);
        for _ in 0..400 {
            // Uniform scores that are calibrated: AUC 5/6, accuracy and F1 3/4, Brier 1/6.
            let score = random.unit();
            let truth = random.unit() < score;
            scores.add(score, truth, 1.0);
            let name = |positive| if positive { "yes" } else { "no" };
            classes.add(name(score >= 0.5), name(truth), 1.0);
            // R² ½, bias 0, RMSE 1, MAE √(2/π).
            let predicted = 1_000.0 + random.normal();
            regression.add(predicted, predicted + random.normal(), 1.0);
        }
        let numbers = [scores.numbers(), classes.numbers(None), regression.numbers()].concat();
        for (metric, truth) in [
            (QualityMetric::Auc, 5.0 / 6.0),
            (QualityMetric::Accuracy, 0.75),
            (QualityMetric::F1, 0.75),
            (QualityMetric::Recall, 0.75),
            (QualityMetric::Precision, 0.75),
            (QualityMetric::Brier, 1.0 / 6.0),
            (QualityMetric::LogLoss, 0.5),
            (QualityMetric::R2, 0.5),
            (QualityMetric::Bias, 0.0),
            (QualityMetric::Rmse, 1.0),
            (QualityMetric::Mae, (2.0 / std::f64::consts::PI).sqrt()),
        ] {
            let number = of(&numbers, metric);
            let holds = number.low <= truth && truth <= number.high;
            *held.entry(metric).or_default() += u32::from(holds);
        }
    }
    for (metric, held) in held {
        let share = f64::from(held) / f64::from(runs);
        assert!((0.91..=0.985).contains(&share), "{metric:?}: {share}");
    }
}

proptest! {
    /// AUC from bins is within its own error of that over all pairs.
    #[test]
    fn auc_is_off_by_its_error_at_most(
        rows in proptest::collection::vec((0u32..3_000, any::<bool>()), 2..200),
    ) {
        let rows: Vec<(f64, bool)> =
            rows.iter().map(|(score, truth)| (f64::from(*score) / 3_000.0, *truth)).collect();
        let mut scores = Scores::default();
        rows.iter().for_each(|(score, truth)| scores.add(*score, *truth, 1.0));
        let of_class = |wanted| rows.iter().filter(move |row| row.1 == wanted).map(|row| row.0);
        let (mut wins, mut pairs) = (0.0, 0.0);
        for positive in of_class(true) {
            for negative in of_class(false) {
                pairs += 1.0;
                wins += match positive.total_cmp(&negative) {
                    std::cmp::Ordering::Less => 0.0,
                    std::cmp::Ordering::Equal => 0.5,
                    std::cmp::Ordering::Greater => 1.0,
                };
            }
        }
        match scores.auc() {
            None => prop_assert_eq!(pairs, 0.0),
            Some(auc) => {
                let exact = wins / pairs;
                prop_assert!((auc.value - exact).abs() <= auc.error_max + 1e-9, "{auc:?} {exact}");
            }
        }
    }

    /// What is merged is what was added together, in any order and any parts.
    #[test]
    fn merged_is_the_same_as_added_together(
        rows in proptest::collection::vec((-5.0..5.0f64, -5.0..5.0f64, 0u8..5, 0u8..5), 1..100),
        cut in 0usize..100,
    ) {
        let cut = cut.min(rows.len());
        let mut parts = [(); 3].map(|()| (Classes::default(), Scores::default(), Regression::new(1.0)));
        for (index, (a, b, predicted, truth)) in rows.iter().enumerate() {
            for part in [usize::from(index >= cut), 2] {
                let (classes, scores, regression) = &mut parts[part];
                classes.add(&predicted.to_string(), &truth.to_string(), 1.0);
                scores.add((a + 5.0) / 10.0, *truth > 2, 1.0);
                regression.add(*a, *b, 1.0);
            }
        }
        let [mut merged, other, all] = parts;
        merged.0.merge(&other.0);
        merged.1.merge(&other.1);
        prop_assert!(merged.2.merge(&other.2));
        prop_assert!(!merged.2.merge(&Regression::new(2.0)));
        let numbers = |part: &(Classes, Scores, Regression)| {
            [part.0.numbers(Some("1")), part.1.numbers(), part.2.numbers()].concat()
        };
        let (merged, all) = (numbers(&merged), numbers(&all));
        prop_assert_eq!(merged.len(), all.len());
        for (a, b) in merged.iter().zip(&all) {
            prop_assert!((a.value - b.value).abs() < 1e-6 && (a.low - b.low).abs() < 1e-4, "{a:?} {b:?}");
        }
    }
}

/// Scores that are too sure: the truth is nearer to one half.
fn too_sure(random: &mut Random) -> (f64, bool) {
    let probability = random.unit();
    let score =
        if probability > 0.5 { probability.sqrt() } else { 1.0 - (1.0 - probability).sqrt() };
    (score, random.unit() < probability)
}

#[test]
fn quality_is_estimated_before_the_truth_is_known() {
    let (mut random, mut calibration) = (Random(5), Calibration::default());
    for _ in 0..50_000 {
        let (score, truth) = too_sure(&mut random);
        calibration.add(score, truth);
    }
    calibration.fit();
    let (mut estimate, mut classes, mut scores) =
        (Estimate::default(), Classes::default(), Scores::default());
    let mut last = 0.0;
    for step in 0..=100 {
        let probability = calibration.probability(f64::from(step) / 100.0);
        assert!((0.0..=1.0).contains(&probability) && probability >= last);
        last = probability;
    }
    for _ in 0..20_000 {
        let (score, truth) = too_sure(&mut random);
        let is_positive = score >= 0.5;
        estimate.add(score, calibration.probability(score), is_positive, 1.0);
        let name = |positive| if positive { "yes" } else { "no" };
        classes.add(name(is_positive), name(truth), 1.0);
        scores.add(score, truth, 1.0);
    }
    let truth = [classes.numbers(Some("yes")), scores.numbers()].concat();
    for number in estimate.numbers() {
        let truth = of(&truth, number.metric).value;
        assert!((number.value - truth).abs() < 0.02, "{number:?}, in truth {truth}");
    }
    assert!((estimate.loss().unwrap() - 0.25).abs() < 0.01);
}

#[test]
fn an_estimate_is_distrusted_once_truth_contradicts_it_and_not_before() {
    let mut random = Random(9);
    for _ in 0..20 {
        let mut distrust = Distrust::default();
        for _ in 0..20_000 {
            let probability = random.unit();
            distrust.add(probability, random.unit() < probability);
        }
        assert!(!distrust.is_distrusted(), "{}", distrust.e_value());
        let text = serde_json::to_string(&distrust).unwrap();
        assert_eq!(serde_json::from_str::<Distrust>(&text).unwrap().rows, 20_000);
    }
    // The concept changed: a fifth of what was positive is not any more.
    let changed = |probability: f64| probability * 0.8;
    // Or the model is too sure on both sides, and right in the mean.
    let unsure = |probability: f64| 0.5 + 0.7 * (probability - 0.5);
    for concept in [&changed as &dyn Fn(f64) -> f64, &unsure] {
        let mut distrust = Distrust::default();
        let needed = (1..).find(|_| {
            let probability = random.unit();
            distrust.add(probability, random.unit() < concept(probability));
            distrust.is_distrusted()
        });
        assert!(needed.unwrap() < 5_000, "{needed:?}");
    }
}

#[test]
fn a_cohort_is_estimated_then_partial_then_final() {
    let (hour, day) = (3_600_000, 86_400_000);
    let cohort = |known| Cohort { start_ms: 0, end_ms: hour, predictions: 100, known };
    assert_eq!(cohort(0).maturity(40 * day, 30 * day), Maturity::Estimated);
    assert_eq!(cohort(10).maturity(day, 30 * day), Maturity::Partial);
    assert_eq!(cohort(99).maturity(day, 30 * day), Maturity::Final);
    assert_eq!(cohort(99).maturity(hour / 2, 30 * day), Maturity::Partial);
    assert_eq!(cohort(10).maturity(31 * day, 30 * day), Maturity::Final);
    assert_eq!(cohort(10).coverage(), 0.1);
}

#[test]
fn a_loss_that_rises_is_found_by_cohort_and_one_that_varies_is_not() {
    use crate::drift::{ShareDetector, Signal};
    let (hour, mut random) = (3_600_000, Random(3));
    let mut loss = |mean: f64| (0..200).filter(|_| random.unit() < mean).count() as f64 / 200.0;
    let mut reference = Moments::default();
    (0..48).for_each(|_| reference.add(loss(0.1), 1.0));
    let bound = loss_bound(&reference);
    assert!((0.11..0.14).contains(&bound), "{bound}");
    let mut detector = ShareDetector::new(hour);
    for cohort in 0..2_000 {
        assert_eq!(detector.update_share(cohort * hour, loss(0.1), bound), Signal::Quiet);
    }
    let found = (2_000..).find(|cohort| {
        matches!(detector.update_share(cohort * hour, loss(0.2), bound), Signal::Found(_))
    });
    assert!(found.unwrap() <= 2_048, "{found:?}");
}
