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
    assert!(reference.bin_name(bin - 1).ends_with(" to 500"), "{}", reference.bin_name(bin - 1));
    // The number next to zero is none that people read.
    let reference = Reference::of_numbers(&[0.0; 50], 0).unwrap();
    let names = [0, 1, 2].map(|bin| reference.bin_name(bin));
    assert_eq!(names, ["below 0", "0", "above 0"]);
    let values: Vec<f64> = (0..1_000).map(|n| f64::from(n % 2 * (n - 500))).collect();
    let reference = Reference::of_numbers(&values, 0).unwrap();
    let zero = reference.bin_of(0.0);
    assert_eq!(reference.bin_name(zero), "0");
    assert!(reference.bin_name(zero - 1).ends_with(" to 0"));
    assert!((0..reference.shares.len()).all(|bin| !reference.bin_name(bin).contains("e-")));
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

#[test]
fn psi_of_windows_without_change_is_about_zero_once_its_bias_is_off() {
    let mut state = 1u64;
    let mut unit = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let (shares, windows) = ([0.1; 10], 2_000);
    let (mut above, mut sum) = (0, 0.0);
    for _ in 0..windows {
        let mut counts = [0u64; 10];
        (0..500).for_each(|_| counts[(unit() * 10.0) as usize] += 1);
        let value = psi(&shares, 1_000_000, &counts).unwrap();
        sum += value;
        above += u32::from(value > 0.1);
    }
    assert_eq!(above, 0);
    // 9/500 before; what is left is from cutting off at 0.
    assert!(sum / f64::from(windows) < 0.005, "{}", sum / f64::from(windows));
    assert_eq!(psi(&shares, 1_000_000, &[49; 10]), None);
    assert_eq!(psi(&shares, 499, &[490; 10]), None);
    let shifted = psi(&[0.5, 0.5], 10_000, &[8_000, 2_000]).unwrap();
    assert!((shifted - (0.3 * 1.6f64.ln() - 0.3 * 0.4f64.ln())).abs() < 0.01, "{shifted}");
}

#[test]
fn distances_are_those_of_the_textbook() {
    let normal = |mean: f64| move |rank: f64| mean + super::bound::normal_quantile(rank);
    let values: Vec<f64> = (0..1_000).map(|i| normal(0.0)((i as f64 + 0.5) / 1_000.0)).collect();
    let reference = Reference::of_numbers(&values, 0).unwrap();
    let mut counts = reference.counts();
    values.iter().for_each(|value| reference.count(&mut counts, value + 1.0));
    let mut numbers = drift_numbers(&reference, &counts);
    numbers.extend(distances((normal(0.0), 1_000), (normal(1.0), 1_000)));
    let of = |method| numbers.iter().find(|n| n.method == method).unwrap().value.unwrap();
    use domain::drift::DriftMethod::*;
    // 2Φ(½) − 1, and the shift itself.
    assert!((of(KolmogorovSmirnov) - 0.3829).abs() < 0.002, "{}", of(KolmogorovSmirnov));
    assert!((of(Wasserstein) - 1.0).abs() < 0.01, "{}", of(Wasserstein));
    assert!((0.2..0.5).contains(&of(JensenShannon)) && of(Psi) > 0.5);
    assert_eq!(jensen_shannon(&[1.0, 0.0], &[0, 9]), Some(1.0));
    assert_eq!(jensen_shannon(&[0.5, 0.5], &[9, 9]), Some(0.0));
    assert_eq!(kolmogorov_smirnov(&[1.0, 1.0, 2.0], &[1.0, 1.0, 2.0]), 0.0);
    assert_eq!(wasserstein(&[1.0, 1.0], &[2.0, 2.0]), None);
}

#[test]
fn texts_and_tensors_become_numbers() {
    let text = text_features("Straße 12, Ωμέγα!");
    assert_eq!((text.characters, text.script), (17.0, "latin"));
    assert!((text.letters + text.digits + text.spaces + text.others - 1.0).abs() < 1e-12);
    assert_eq!(text_features("").script, "none");
    assert_eq!(text_features("Привет").script, "cyrillic");
    assert_eq!(text_features("日本").script, "han");
    let values: Vec<f64> = (0..256).map(|i| (i as f64).sin()).collect();
    let tensor = tensor_features("embedding", &values, &values);
    assert!((tensor.cosine - 1.0).abs() < 1e-12);
    assert_eq!(tensor, tensor_features("embedding", &values, &values));
    assert_ne!(tensor.projections, tensor_features("other", &values, &values).projections);
    assert!(tensor_features("embedding", &values, &[]).cosine.is_nan());
    // Random signs keep the length in the mean: eight projections of a vector of length √128.
    let mean = tensor.projections.map(|value| value * value).iter().sum::<f64>() / 8.0;
    assert!((0.1..2.0).contains(&mean), "{mean}");
}

#[test]
fn slices_are_large_values_of_columns_with_few() {
    let city = Reference::of_categories([("Utrecht", 60), ("Delft", 39), ("Urk", 1)], 0).unwrap();
    let flag = Reference::of_numbers(&[0.0, 0.0, 0.0, 1.0].repeat(25), 0).unwrap();
    let age = Reference::of_numbers(&(0..100).map(f64::from).collect::<Vec<_>>(), 0).unwrap();
    let found = slices([("city", &city), ("flag", &flag), ("age", &age)]);
    let names: Vec<String> = found.iter().map(|s| format!("{}={}", s.column, s.value)).collect();
    assert_eq!(names.len(), 5, "{names:?}");
    assert_eq!(names[1..3], ["city=Utrecht", "city=Delft"]);
    assert!(names[0].starts_with("flag=") && names[3].starts_with("flag="), "{names:?}");
    let many: Vec<String> = (0..15).map(|i| i.to_string()).collect();
    let many = Reference::of_categories(many.iter().map(|n| (n.as_str(), 10)), 0).unwrap();
    assert_eq!(slices([("a", &many), ("b", &many)]).len(), SLICES_MAX);
}

#[test]
fn a_crash_loop_is_found_in_minutes_and_a_crash_is_not() {
    let mut detector = ShareDetector::new(60_000);
    let mut minute =
        |crashed: u64, at: u64| detector.update(at * 60_000, crashed, 1, CRASH_MINUTES_SHARE);
    assert_eq!(minute(1, 0), Signal::Quiet);
    assert!((1..600).all(|at| minute(0, at) == Signal::Quiet));
    let found = (600..).find(|at| matches!(minute(1, *at), Signal::Found(_))).unwrap();
    assert!(found <= 605, "{found}");
    let over = (found + 1..).find(|at| minute(0, *at) == Signal::Quiet).unwrap();
    assert!(over <= found + 12, "{over} {found}");
}

#[test]
fn a_queue_that_only_grows_is_found_and_one_that_comes_and_goes_is_not() {
    let mut detector = ShareDetector::new(BUCKET_MS);
    let mut rows = 0;
    let mut bucket = |at: u64, now: u64| {
        let grew = queue_grew(rows, now);
        rows = now;
        detector.update(at * BUCKET_MS, grew, 1, QUEUE_GROWTH_SHARE)
    };
    assert!((0..20_000).all(|at| bucket(at, 50 + at % 2) == Signal::Quiet));
    let found = (20_000..).find(|at| matches!(bucket(*at, *at), Signal::Found(_))).unwrap();
    assert!(found - 20_000 <= 60, "{}", found - 20_000);
}

#[test]
fn a_disk_is_told_before_it_is_full_and_does_not_flap_at_its_limit() {
    use domain::alarm::Severity;
    let disk = |free_bytes, free_hour_ago_bytes| Disk {
        free_bytes,
        size_bytes: 100_000,
        free_hour_ago_bytes,
    };
    assert_eq!(disk(50_000, 50_000).severity(None), None);
    assert_eq!(disk(9_900, 9_900).severity(None), Some(Severity::Warning));
    assert_eq!(disk(11_000, 11_000).severity(Some(Severity::Warning)), Some(Severity::Warning));
    assert_eq!(disk(11_000, 11_000).severity(None), None);
    assert_eq!(disk(12_100, 12_100).severity(Some(Severity::Warning)), None);
    assert_eq!(disk(40_000, 60_000).severity(None), Some(Severity::Alert));
    assert_eq!(disk(4_000, 4_000).severity(None), Some(Severity::Alert));
}

#[test]
fn what_is_found_is_told_in_one_sentence_with_numbers_and_a_next_command() {
    use domain::alarm::{AlarmKey, AlarmKind, Confidence, Severity, Target};
    let reference =
        Reference::of_numbers(&(0..5_000).map(f64::from).collect::<Vec<_>>(), 0).unwrap();
    let series = |name| Series::new(name, Watch::Bins, &reference);
    let mut detector = Detector::new(Watch::Bins, vec![series("age"), series("income")]);
    let (mut shifted, mut usual) = (reference.counts(), reference.counts());
    (0..100).for_each(|i| reference.count(&mut shifted, 4_950.0 - f64::from(i)));
    (0..100).for_each(|i| reference.count(&mut usual, 50.0 * f64::from(i)));
    let counts = [shifted, usual];
    let found = (0..).find_map(|minute| match detector.minute(minute * 60_000, &counts) {
        Signal::Found(found) => Some(found),
        _ => None,
    });
    let mut key = AlarmKey {
        target: Some(Target {
            model: "default/churn".parse().unwrap(),
            environment: "production".parse().unwrap(),
        }),
        kind: AlarmKind::Inputs,
        subject: String::new(),
    };
    let told = drift_finding(&key, None, &found.unwrap(), |blamed| reference.bin_name(blamed.bin));
    assert_eq!(told.what, "`age`: 100% of values are in `above 4499`, at most 14% are usual",);
    assert_eq!(told.next, "decalog drift churn --column age");
    assert_eq!((told.severity, told.confidence), (Severity::Notice, Confidence::WarnsOnly));
    key.kind = AlarmKind::Latency;
    let found =
        ShareFound { share: 0.5, bound: 0.02, value: 7e6, threshold: 6.3e6, since_ms: 5_000 };
    let told = share_finding(&key, None, &found, "15 ms");
    assert_eq!(told.what, "50% of requests take longer than 15 ms, at most 2.0% is usual");
    assert_eq!((told.severity, told.next.as_str()), (Severity::Alert, "decalog why churn"));
}
