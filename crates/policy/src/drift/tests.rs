//! Properties of references, bounds and detectors.

use proptest::prelude::*;

use super::*;

#[test]
fn values_that_have_a_tenth_by_themselves_are_alone_in_their_bin() {
    let mut values: Vec<f64> = (0..1_000).map(f64::from).collect();
    values.extend(vec![500.0; 300]);
    let reference = Reference::of_numbers(&values, 0).unwrap();
    let bin = reference.bin_of(500.0);
    assert!((reference.shares[bin] - 301.0 / 1_300.0).abs() < 1e-9);
    assert_eq!((reference.bin_of(499.9), reference.bin_of(500.1)), (bin - 1, bin + 1));
    assert_eq!(reference.bin_name(bin), "500");
}

#[test]
fn a_column_of_one_value_shows_what_is_below_and_above() {
    let reference = Reference::of_numbers(&[3.0; 50], 0).unwrap();
    assert_eq!(reference.shares, [0.0, 1.0, 0.0]);
    assert_eq!([2.0, 3.0, 4.0].map(|value| reference.bin_of(value)), [0, 1, 2]);
}

#[test]
fn unseen_categories_are_counted_and_rare_known_ones_are_not() {
    let names: Vec<String> = (0..40).map(|index| format!("city{index}")).collect();
    let counts = names.iter().enumerate().map(|(index, name)| (name.as_str(), 100 - index as u64));
    let reference = Reference::of_categories(counts, 10).unwrap();
    assert_eq!(reference.shares.len(), CATEGORIES_MAX + 1);
    let mut counted = reference.counts();
    ["city0", "city39", "Atlantis"].iter().for_each(|c| reference.count_category(&mut counted, c));
    reference.count_missing(&mut counted);
    assert_eq!((counted.rows, counted.missing, counted.unseen), (4, 1, 1));
    assert_eq!((counted.bins[0], counted.bins[CATEGORIES_MAX]), (1, 2));
    assert_eq!(reference.bin_name(0), "city0");
}

#[test]
fn a_sketch_makes_the_reference_that_its_values_make() {
    let values: Vec<f64> = (0..20_000).map(|index| (index as f64 * 0.7).sin() * 10.0).collect();
    let mut sorted = values.clone();
    sorted.sort_by(f64::total_cmp);
    let quantile = |rank: f64| sorted[((rank * 20_000.0) as usize).min(19_999)];
    let (exact, sketched) = (
        Reference::of_numbers(&values, 5).unwrap(),
        Reference::of_quantiles(quantile, 20_000, 5).unwrap(),
    );
    assert_eq!(exact.shares.len(), sketched.shares.len());
    let difference = exact.shares.iter().zip(&sketched.shares).map(|(a, b)| (a - b).abs());
    assert!(difference.fold(0.0, f64::max) < 1e-3);
    assert_eq!((exact.missing_share, exact.rows), (sketched.missing_share, sketched.rows));
    let range = |reference: &Reference| match &reference.bins {
        Bins::Numeric { min, max, .. } => (*min, *max),
        Bins::Categorical { .. } => unreachable!(),
    };
    assert_eq!(range(&exact), range(&sketched));
}

#[test]
fn minutes_without_rows_change_nothing_and_are_counted() {
    let reference = Reference::of_numbers(&(0..5_000).map(f64::from).collect::<Vec<_>>(), 0);
    let reference = reference.unwrap();
    let mut detector =
        Detector::new(Watch::Bins, vec![Series::new("age", Watch::Bins, &reference)]);
    let mut counts = reference.counts();
    (0..50).for_each(|_| reference.count(&mut counts, 4_999.0));
    detector.minute(60_000, std::slice::from_ref(&counts));
    let value = detector.value();
    assert!(value > 0.0);
    for minute in 2..100 {
        let signal = detector.minute(minute * 60_000, &[reference.counts()]);
        assert_eq!(signal, Signal::NoData);
    }
    assert_eq!((detector.value(), detector.minutes()), (value, (1, 98)));
}

proptest! {
    #[test]
    fn every_number_is_in_one_bin_and_bins_have_the_shares_of_the_reference(
        values in proptest::collection::vec(prop_oneof![-1e6..1e6f64, (0..5i32).prop_map(f64::from)], 1..400),
    ) {
        let reference = Reference::of_numbers(&values, 3).unwrap();
        prop_assert!(reference.shares.len() <= BINS_MAX);
        let mut counts = reference.counts();
        values.iter().for_each(|value| reference.count(&mut counts, *value));
        prop_assert_eq!(counts.bins.iter().sum::<u64>(), values.len() as u64);
        prop_assert_eq!((counts.out_of_range, counts.missing), (0, 0));
        for (count, share) in counts.bins.iter().zip(&reference.shares) {
            prop_assert!((*count as f64 / values.len() as f64 - share).abs() < 1e-9);
        }
        for value in [f64::MIN, f64::MAX, f64::MIN_POSITIVE, -0.0] {
            prop_assert!(reference.bin_of(value) < reference.shares.len());
        }
    }

    /// Whatever the shares are: evidence is finite, not negative, and at most the cap.
    #[test]
    fn evidence_neither_overflows_nor_becomes_negative(
        shares in proptest::collection::vec((0.0..=1.0f64, 0.0..=1.0f64), 1..2_000),
    ) {
        let (mut evidence, cap) = (Evidence::default(), Evidence::cap(525_600.0, 1_000));
        for (minute, (share, bound)) in shares.iter().enumerate() {
            evidence.update(minute as u64, *share, *bound, cap);
            prop_assert!((0.0..=cap).contains(&evidence.value()), "{}", evidence.value());
        }
    }

    /// The mean of one step, over a share of two values with exactly the mean of the bound, is at
    /// most the evidence before it and 1.
    #[test]
    fn in_the_mean_evidence_rises_by_one_a_minute_at_most(
        history in proptest::collection::vec(0.0..0.5f64, 0..50),
        bound in 0.01..0.9f64,
        lower in 0.0..1.0f64,
        upper in 0.0..1.0f64,
    ) {
        let (lower, upper) = (bound * lower, bound + (1.0 - bound) * upper);
        prop_assume!(upper - lower > 1e-6);
        let probability = (bound - lower) / (upper - lower);
        let mut before = Evidence::default();
        history.iter().for_each(|share| before.update(0, *share, bound, 1e12));
        let after = |share: f64| {
            let mut evidence = before;
            evidence.update(0, share, bound, 1e12);
            evidence.value()
        };
        let mean = probability * after(upper) + (1.0 - probability) * after(lower);
        prop_assert!(mean <= (before.value() + 1.0) * (1.0 + 1e-9), "{} {}", mean, before.value());
    }
}
