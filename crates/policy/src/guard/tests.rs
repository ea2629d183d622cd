//! Verdicts on hand-made arms, and properties of all verdicts.

use domain::guard::{GuardInputs, GuardSettings, Judgements, Limit, Metric, Reason, Verdict};
use domain::{ArmWindow, Guard};
use proptest::prelude::*;

use super::{Watch, judge, verdict};

/// An interval with this many requests, errors, and latencies spread over 1 to 2 times `base_us`.
fn window(requests: u64, errors: u64, base_us: u64) -> ArmWindow {
    let mut window = ArmWindow::default();
    for n in 0..requests {
        window.record(n < errors, base_us + base_us * (n * 37 % 100) / 100);
    }
    window
}

fn watch(guards: &[&str]) -> Watch {
    let guards: Vec<Guard> = guards.iter().map(|text| text.parse().unwrap()).collect();
    Watch::new(GuardSettings::default(), &guards)
}

fn feed(watch: &mut Watch, intervals: usize, canary: &ArmWindow, baseline: &ArmWindow) {
    (0..intervals).for_each(|_| watch.observe(canary, baseline));
}

/// Intervals until this verdict.
fn intervals_until(
    wanted: Verdict,
    watch: &mut Watch,
    canary: &ArmWindow,
    baseline: &ArmWindow,
) -> Option<usize> {
    (1..=400).find(|_| {
        watch.observe(canary, baseline);
        watch.verdict() == wanted
    })
}

#[test]
fn total_failure_is_found_at_once() {
    for requests in [3, 25, 500] {
        let (canary, baseline) =
            (window(requests, requests, 1_000), window(requests * 9, 0, 1_000));
        let found =
            intervals_until(Verdict::RollBack, &mut watch(&[]), &canary, &baseline).unwrap();
        // Two intervals, or twenty requests, are left out.
        assert!(
            found <= 2 + 20 / requests as usize + 6,
            "{requests} requests: after {found} intervals"
        );
    }
}

#[test]
fn a_good_canary_advances() {
    let (canary, baseline) = (window(50, 0, 1_000), window(450, 0, 1_000));
    let mut watch = watch(&[
        "errors<1%",
        "errors<baseline+1%",
        "p99<3ms",
        "p99<1.2x",
        "p50<1.1x",
        "mean<2ms",
        "mean<1.2x",
    ]);
    let found = intervals_until(Verdict::Advance, &mut watch, &canary, &baseline);
    assert!(
        found.is_some_and(|intervals| (8..60).contains(&intervals)),
        "{found:?}\n{}",
        watch.judge()
    );
    watch.begin_step();
    assert_eq!(watch.verdict(), Verdict::Hold, "a step has to earn it");
    assert!(watch.judge().guards.iter().all(|guard| guard.reason == Reason::WarmingUp));
}

#[test]
fn slow_canaries_go_back() {
    for (guard, canary_us) in [
        ("p99<1.2x", 2_000),
        ("p50<1.2x", 2_000),
        ("mean<1.2x", 2_000),
        ("mean<baseline+1ms", 3_000),
        ("p99<5ms", 4_000),
        ("mean<2ms", 2_000),
    ] {
        let mut watch = watch(&[guard]);
        let found = intervals_until(
            Verdict::RollBack,
            &mut watch,
            &window(50, 0, canary_us),
            &window(450, 0, 1_000),
        );
        assert!(
            found.is_some_and(|intervals| intervals < 30),
            "{guard}: {found:?}\n{}",
            watch.judge()
        );
        let judgement = &watch.judge().guards[0];
        assert!(
            judgement.lower > judgement.limit && judgement.lower <= judgement.estimate,
            "{judgement:?}"
        );
        assert!(judgement.to_string().ends_with(": roll back"), "{judgement}");
    }
}

/// A canary that hangs some of its calls, whose callers hang up after a second, and answers the
/// rest as the baseline does.
fn hanging(requests: u64, hang: u64) -> ArmWindow {
    let mut window = window(requests - hang, 0, 1_000);
    window.abandoned.record_many_us(1_000_000, hang as u32);
    window
}

#[test]
fn a_canary_that_hangs_is_found_by_each_guard_although_nobody_waits_for_it() {
    for guard in
        ["errors<1%", "errors<baseline+0.5%", "p99<50ms", "p95<1.2x", "mean<1.2x", "mean<50ms"]
    {
        for (hang, intervals_max) in [(15, 30), (50, 30)] {
            let mut watch = watch(&[guard]);
            let found = intervals_until(
                Verdict::RollBack,
                &mut watch,
                &hanging(50, hang),
                &window(450, 0, 1_000),
            );
            assert!(
                found.is_some_and(|found| found < intervals_max),
                "{guard}, {hang} of 50: {found:?}\n{}",
                watch.judge()
            );
        }
    }
}

#[test]
fn callers_who_are_impatient_with_both_arms_harm_neither() {
    let impatient = |requests: u64| {
        let mut window = window(requests, 0, 1_000);
        window.abandoned.record_many_us(900, requests as u32 / 2);
        window
    };
    let mut watch = watch(&["errors<baseline+0.5%", "errors<1%", "p95<1.2x", "mean<1.2x"]);
    let found = intervals_until(Verdict::Advance, &mut watch, &impatient(50), &impatient(450));
    assert!(found.is_some_and(|intervals| intervals < 60), "{found:?}\n{}", watch.judge());
}

#[test]
fn a_canary_that_answers_nothing_goes_back_whatever_its_guards_are() {
    let baseline = window(450, 0, 1_000);
    let mut stuck = ArmWindow::default();
    stuck.unfinished.record_many_us(20_000_000, 25);
    let failing = window(10, 10, 1_000);
    for canary in [&hanging(10, 10), &stuck, &failing] {
        let mut watch = watch(&["p50<3000s"]);
        feed(&mut watch, 2, canary, &baseline);
        assert_eq!(watch.verdict(), Verdict::Hold, "two intervals are no evidence");
        let found = intervals_until(Verdict::RollBack, &mut watch, canary, &baseline);
        assert!(found.is_some_and(|found| found <= 2), "{found:?} {}", watch.judge());
        assert!(watch.judge().to_string().contains("answered none"), "{}", watch.judge());
        let text = serde_json::to_string(&watch.inputs()).unwrap();
        assert_eq!(
            judge(&serde_json::from_str(&text).unwrap()),
            watch.judge(),
            "the record says the same"
        );
    }
    let mut watch = watch(&["p50<3000s"]);
    feed(&mut watch, 50, &failing, &window(450, 450, 1_000));
    assert_eq!(watch.verdict(), Verdict::Hold, "the baseline answers as little: {}", watch.judge());
}

#[test]
fn restarts_do_not_spend_more_than_there_is() {
    let spent = |segment| {
        let mut watch =
            Watch::resume(GuardSettings::default(), &["errors<1%".parse().unwrap()], 3, segment);
        feed(&mut watch, 10, &window(50, 0, 1_000), &window(450, 0, 1_000));
        let judgements = watch.judge();
        assert_eq!(judgements.step, 3);
        2.0 * judgements.guards[0].alpha
    };
    let all: f64 = (1..=1_000).map(spent).sum();
    let alpha = GuardSettings::default().alpha;
    assert!(all <= alpha && all > 0.99 * alpha, "{all}");
    assert_eq!(spent(0), alpha, "as it was recorded before");
}

#[test]
fn a_harm_that_begins_late_is_found_soon() {
    let (good, bad, baseline) =
        (window(50, 0, 1_000), window(50, 10, 1_000), window(450, 0, 1_000));
    let mut watch = watch(&["errors<baseline+0.5%"]);
    feed(&mut watch, 720, &good, &baseline);
    assert_eq!(watch.verdict(), Verdict::Advance);
    let found = intervals_until(Verdict::RollBack, &mut watch, &bad, &baseline).unwrap();
    assert!(found < 60, "{found}");
}

#[test]
fn without_traffic_it_holds_and_says_so() {
    let mut watch = watch(&[]);
    feed(&mut watch, 1_000, &ArmWindow::default(), &ArmWindow::default());
    let judged = watch.judge();
    assert_eq!(judged.verdict, Verdict::Hold);
    let shown = judged.to_string();
    assert!(
        shown.contains(
            "too little traffic to tell, about 50 more requests of the canary are needed"
        ),
        "{shown}"
    );
    feed(&mut watch, 1_000, &ArmWindow::default(), &window(100, 0, 1_000));
    assert_eq!(watch.verdict(), Verdict::Hold);
    // A little: the guess grows with the guard.
    feed(&mut watch, 20, &window(5, 0, 1_000), &window(100, 0, 1_000));
    let judged = watch.judge();
    assert_eq!(judged.verdict, Verdict::Hold);
    let errors = &judged.guards[0];
    assert_eq!(errors.reason, Reason::Undecided);
    assert!(
        errors.missing_requests.is_some_and(|missing| (300..5_000).contains(&missing)),
        "{judged}"
    );
}

#[test]
fn the_guess_of_what_is_missing_is_about_right() {
    let (canary, baseline) = (window(10, 0, 1_000), window(90, 0, 1_000));
    let mut watch = watch(&["errors<1%"]);
    feed(&mut watch, 20, &canary, &baseline);
    let missing = watch.judge().guards[0].missing_requests.unwrap();
    let needed =
        10 * intervals_until(Verdict::Advance, &mut watch, &canary, &baseline).unwrap() as u64;
    assert!(missing >= needed / 2 && missing <= needed * 3, "guessed {missing}, needed {needed}");
}

#[test]
fn absolute_guards_need_no_baseline() {
    let mut alone = watch(&["errors<1%", "p99<1.2x"]);
    assert!(
        intervals_until(Verdict::Advance, &mut alone, &window(50, 0, 1_000), &ArmWindow::default())
            .is_some()
    );
    assert_eq!(alone.judge().guards[1].reason, Reason::NoBaseline);
    let mut failing = watch(&["errors<1%"]);
    assert!(
        intervals_until(
            Verdict::RollBack,
            &mut failing,
            &window(50, 5, 1_000),
            &ArmWindow::default()
        )
        .is_some()
    );
    let mut relative_only = watch(&["p99<1.2x"]);
    feed(&mut relative_only, 200, &window(50, 0, 1_000), &ArmWindow::default());
    assert_eq!(relative_only.verdict(), Verdict::Hold);
    assert!(relative_only.judge().to_string().contains("the baseline has no traffic"));
}

#[test]
fn disagreement_is_counted_where_answers_were_compared() {
    let compared =
        |disagreements| ArmWindow { compared: 50, disagreements, ..window(50, 0, 1_000) };
    let mut good = watch(&["disagreement<2%"]);
    assert!(
        intervals_until(Verdict::Advance, &mut good, &compared(0), &ArmWindow::default()).is_some()
    );
    let mut bad = watch(&["disagreement<2%"]);
    assert!(
        intervals_until(Verdict::RollBack, &mut bad, &compared(10), &ArmWindow::default())
            .is_some()
    );
    let mut none = watch(&["disagreement<2%"]);
    feed(&mut none, 100, &window(50, 0, 1_000), &window(50, 0, 1_000));
    assert_eq!(
        (none.verdict(), none.judge().guards[0].reason),
        (Verdict::Hold, Reason::NothingCompared)
    );
}

#[test]
fn what_slows_both_is_no_evidence() {
    let mut watch = watch(&["p99<1x", "p50<1x", "mean<1x", "errors<baseline"]);
    for interval in 0..300 {
        // A slow, failing minute in three.
        let (us, errors) = if interval / 12 % 3 == 0 { (9_000, 1) } else { (1_000, 0) };
        watch.observe(&window(20, errors, us), &window(180, errors * 9, us));
        assert_ne!(watch.verdict(), Verdict::RollBack, "{}", watch.judge());
    }
}

#[test]
fn cold_starts_are_left_out() {
    let mut watch = watch(&["p99<2ms", "errors<1%"]);
    feed(&mut watch, 2, &window(50, 50, 50_000), &window(450, 0, 500));
    let found =
        intervals_until(Verdict::Advance, &mut watch, &window(50, 0, 500), &window(450, 0, 500));
    assert!(found.is_some_and(|intervals| intervals < 60), "{}", watch.judge());
    assert_eq!((watch.judge().canary_left_out, watch.judge().baseline_left_out), (100, 900));
}

#[test]
fn a_watch_goes_on_where_it_was_read_back() {
    let mut one = watch(&[]);
    feed(&mut one, 20, &window(20, 1, 1_000), &window(90, 1, 1_000));
    let mut other: Watch = serde_json::from_str(&serde_json::to_string(&one).unwrap()).unwrap();
    feed(&mut one, 20, &window(20, 1, 1_000), &window(90, 1, 1_000));
    feed(&mut other, 20, &window(20, 1, 1_000), &window(90, 1, 1_000));
    assert_eq!(one.judge(), other.judge());
}

fn any_window() -> impl Strategy<Value = ArmWindow> {
    (0u64..60, 0u64..60, 0u64..2_000_000, 0u64..20).prop_map(
        |(requests, errors, base_us, disagreements)| ArmWindow {
            compared: disagreements * 2,
            disagreements,
            ..window(requests, errors.min(requests), base_us)
        },
    )
}

fn any_guard() -> impl Strategy<Value = Guard> {
    let metric = prop_oneof![
        Just(Metric::Errors),
        Just(Metric::Disagreement),
        Just(Metric::Mean),
        (1u16..10_000).prop_map(Metric::Quantile)
    ];
    (metric, 0u8..3, 1u32..100_000).prop_filter_map("no guard", |(metric, kind, size)| {
        let value = f64::from(size) / if metric.is_share() { 100_001.0 } else { 100.0 };
        let limit = match kind {
            0 => Limit::Absolute(value),
            1 => Limit::BaselinePlus(value),
            _ => Limit::BaselineTimes(f64::from(size) / 1_000.0),
        };
        // As read from text, which has nine decimals.
        Guard::new(metric, limit).ok()?.to_string().parse().ok()
    })
}

fn judged(
    guards: &[Guard],
    windows: &[(ArmWindow, ArmWindow)],
    step_at: usize,
) -> (GuardInputs, Judgements, Verdict) {
    let mut watch = Watch::new(GuardSettings::default(), guards);
    for (at, (canary, baseline)) in windows.iter().enumerate() {
        if at == step_at {
            watch.begin_step();
        }
        watch.observe(canary, baseline);
    }
    (watch.inputs(), watch.judge(), watch.verdict())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn guards_are_read_as_they_are_shown(guard in any_guard()) {
        prop_assert_eq!(guard.to_string().parse::<Guard>().unwrap(), guard);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[a-z0-9.<>=+%x ]{0,20}") {
        if let Ok(guard) = text.parse::<Guard>() {
            prop_assert_eq!(guard.to_string().parse::<Guard>().unwrap(), guard);
        }
    }

    #[test]
    fn the_record_gives_the_verdict_again(
        guards in prop::collection::vec(any_guard(), 0..4),
        windows in prop::collection::vec((any_window(), any_window()), 0..60),
        step_at in 0usize..80,
    ) {
        let (inputs, recorded, quick) = judged(&guards, &windows, step_at);
        let text = serde_json::to_string(&(&inputs, &recorded)).unwrap();
        let (inputs_read, recorded_read): (GuardInputs, Judgements) = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&inputs_read, &inputs);
        prop_assert_eq!(&recorded_read, &recorded);
        prop_assert_eq!(judge(&inputs_read), recorded);
        prop_assert_eq!(verdict(&inputs), recorded_read.verdict);
        prop_assert_eq!(quick, recorded_read.verdict);
    }

    #[test]
    fn all_numbers_are_numbers(
        guards in prop::collection::vec(any_guard(), 1..4),
        windows in prop::collection::vec((any_window(), any_window()), 0..60),
        step_at in 0usize..80,
    ) {
        let (_, judged, _) = judged(&guards, &windows, step_at);
        for guard in &judged.guards {
            for value in [guard.estimate, guard.lower, guard.upper, guard.limit, guard.tolerated, guard.design_effect, guard.alpha] {
                prop_assert!(value.is_finite(), "{guard:?}");
            }
            prop_assert!(guard.lower <= guard.estimate && guard.estimate <= guard.upper && guard.design_effect >= 1.0, "{guard:?}");
            prop_assert!(guard.canary.is_none_or(f64::is_finite) && !guard.to_string().contains("NaN"), "{guard}");
            if guard.reason == Reason::Beyond {
                prop_assert!(guard.lower >= guard.limit, "{guard:?}");
            }
            if guard.verdict == Verdict::Advance {
                prop_assert!(guard.upper <= guard.tolerated + 1e-9, "{guard:?}");
            }
        }
    }

    #[test]
    fn more_errors_never_turn_going_back_into_going_on(
        requests in 5u64..60,
        shares in prop::collection::vec((0.0f64..0.2, 0.0f64..0.02), 20..60),
        more in prop::collection::vec(0.0f64..1.0, 60),
        relative in any::<bool>(),
    ) {
        let guards: Vec<Guard> = vec![if relative { "errors<baseline+1%" } else { "errors<2%" }.parse().unwrap()];
        let windows: Vec<_> = shares
            .iter()
            .map(|(canary, baseline)| {
                let errors = |requests: u64, share: f64| (requests as f64 * share) as u64;
                (window(requests, errors(requests, *canary), 1_000), window(requests * 9, errors(requests * 9, *baseline), 1_000))
            })
            .collect();
        let (_, _, before) = judged(&guards, &windows, usize::MAX);
        let worse: Vec<_> = windows
            .into_iter()
            .zip(&more)
            .map(|((canary, baseline), more)| {
                let errors = canary.errors + ((canary.requests - canary.errors) as f64 * more) as u64;
                (window(canary.requests, errors, 1_000), baseline)
            })
            .collect();
        let (_, _, after) = judged(&guards, &worse, usize::MAX);
        prop_assert!(!(before == Verdict::RollBack && after == Verdict::Advance));
        prop_assert!(!(before == Verdict::Hold && after == Verdict::Advance));
    }

    #[test]
    fn without_data_it_holds(guards in prop::collection::vec(any_guard(), 0..4), intervals in 0usize..300) {
        let windows = vec![(ArmWindow::default(), ArmWindow::default()); intervals];
        let (_, judged, _) = judged(&guards, &windows, 50);
        prop_assert_eq!(judged.verdict, Verdict::Hold);
        prop_assert!(judged.guards.iter().all(|guard| guard.verdict == Verdict::Hold));
    }
}
