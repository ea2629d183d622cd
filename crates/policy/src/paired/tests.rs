//! Comparisons of pairs whose answers are known by hand, or by how they were made.

use domain::quality::QualityMetric;

use super::*;
use crate::random::Random;

/// From −1 to 1.
fn noise(random: &mut Random) -> f64 {
    random.below(2_000_001) as f64 / 1e6 - 1.0
}

fn numbers(pairs: &[(f64, f64)]) -> Vec<(Cell, Cell)> {
    pairs.iter().map(|(a, b)| (Cell::Number(*a), Cell::Number(*b))).collect()
}

#[test]
fn the_same_answers_do_not_differ() {
    let pairs = numbers(&[(1.0, 1.0), (0.1 + 0.2, 0.3), (-7.5, -7.5)]);
    let compared = outputs("x", &pairs, 1);
    assert_eq!((compared.differing, compared.rounding), (0, 1));
    assert_eq!(compared.kind, OutputKind::Number);
    assert!(compared.largest.is_empty());
    assert!(compared.differing_share.high < 0.57 && compared.differing_share.low == 0.0);
}

#[test]
fn the_largest_differences_come_first() {
    let pairs = numbers(&[(1.0, 2.0), (1.0, 9.0), (3.0, 3.0), (0.0, -5.0)]);
    let compared = outputs("x", &pairs, 1);
    let places: Vec<usize> = compared.largest.iter().map(|it| it.0).collect();
    assert_eq!((compared.differing, places), (3, vec![1, 3, 0]));
    assert_eq!(compared.mean_difference.unwrap().value, 1.0);
    assert_eq!(compared.mean_absolute_difference.unwrap().value, 3.5);
}

#[test]
fn labels_agree_or_not() {
    let label = |text: &str| Cell::Label(text.into());
    let pairs = [(label("a"), label("a")), (label("a"), label("b")), (label("b"), Cell::Missing)];
    let compared = outputs("x", &pairs, 1);
    assert_eq!((compared.kind, compared.differing), (OutputKind::Label, 2));
    assert!(compared.mean_difference.is_none());
}

#[test]
fn a_seed_has_one_interval_and_it_covers_the_truth() {
    let mut covered = 0;
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let column: Vec<f64> = (0..200).map(|_| 0.3 + noise(&mut random)).collect();
        let one = function_of_means(&[&column], |means| means[0], seed).unwrap();
        assert_eq!(one, function_of_means(&[&column], |means| means[0], seed).unwrap());
        assert!(one.low <= one.value && one.value <= one.high);
        covered += u32::from(one.low <= 0.3 && 0.3 <= one.high);
    }
    // 190 are expected; 200 · 0.05 has a standard deviation of 3.1.
    assert!((180..=199).contains(&covered), "{covered}");
}

#[test]
fn what_both_find_hard_is_no_difference() {
    let mut random = Random::new(7);
    // Errors of 100, which both share, and 0.5 more of the second.
    let shared: Vec<f64> = (0..300).map(|_| 100.0 * noise(&mut random)).collect();
    let before: Vec<f64> = shared.iter().map(|error| error.abs()).collect();
    let after: Vec<f64> = before.iter().map(|term| term + 0.5 + 0.1 * noise(&mut random)).collect();
    let compared = quality(QualityMetric::Mae, &before, &after, 3).unwrap();
    assert!(compared.difference.is_beyond_noise(), "{compared:?}");
    assert!((compared.difference.value - 0.5).abs() < 0.05, "{compared:?}");
    assert!((compared.after - compared.before - compared.difference.value).abs() < 1e-9);
}

#[test]
fn the_root_is_taken_of_the_mean() {
    let compared = quality(QualityMetric::Rmse, &[4.0, 4.0], &[9.0, 9.0], 1).unwrap();
    assert_eq!((compared.before, compared.after, compared.difference.value), (2.0, 3.0, 1.0));
    assert!(quality(QualityMetric::Rmse, &[], &[], 1).is_none());
}

#[test]
fn mcnemars_test_is_exact() {
    // By hand: 2 · (1 + 10) / 2^10, and all of it where the split is even.
    assert!((mcnemar(1, 9).p - 22.0 / 1024.0).abs() < 1e-12);
    assert_eq!(mcnemar(5, 5).p, 1.0);
    assert_eq!(mcnemar(0, 0).p, 1.0);
    assert_eq!(mcnemar(9, 1).p, mcnemar(1, 9).p);
    let p = mcnemar(4_000, 6_000).p;
    assert!(p > 0.0 && p < 1e-80, "{p}");
    let terms = ([1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 1.0]);
    let compared = quality(QualityMetric::Accuracy, &terms.0, &terms.1, 1).unwrap();
    let mcnemar = compared.mcnemar.unwrap();
    assert_eq!((mcnemar.only_before, mcnemar.only_after, mcnemar.p), (1, 1, 1.0));
}

#[test]
fn a_ratio_of_times_is_geometric() {
    let ratio = latency_ratio(&[(1.0, 2.0), (4.0, 2.0)], 1).unwrap();
    assert!((ratio.value - 1.0).abs() < 1e-12, "{ratio:?}");
    let slower = latency_ratio(&vec![(1.0, 3.0); 50], 1).unwrap();
    assert!((slower.low - 3.0).abs() < 1e-9 && (slower.high - 3.0).abs() < 1e-9);
    assert!(latency_ratio(&[], 1).is_none());
}
