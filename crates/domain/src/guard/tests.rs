//! Guards as text, and windows of an arm.

use super::*;

#[test]
fn reads_and_shows() {
    for (text, shown) in [
        ("errors<1%", "errors<1%"),
        ("errors < 0.7 %", "errors<0.7%"),
        ("disagreement<2%", "disagreement<2%"),
        ("p99<50ms", "p99<50ms"),
        ("p50<5ms", "p50<5ms"),
        ("p99.9<1.5s", "p99.9<1500ms"),
        ("p95<250us", "p95<0.25ms"),
        ("mean<10ms", "mean<10ms"),
        ("errors<baseline+0.5%", "errors<baseline+0.5%"),
        ("errors<baseline", "errors<baseline+0%"),
        ("errors<2x", "errors<2x"),
        ("p99<1.2x", "p99<1.2x"),
        ("p99<baseline+5ms", "p99<baseline+5ms"),
        ("mean<1.1x", "mean<1.1x"),
    ] {
        let guard: Guard = text.parse().unwrap();
        assert_eq!(guard.to_string(), shown);
        assert_eq!(shown.parse::<Guard>().unwrap(), guard, "{text}");
        let json = serde_json::to_string(&guard).unwrap();
        assert_eq!(json, format!("\"{shown}\""));
        assert_eq!(serde_json::from_str::<Guard>(&json).unwrap(), guard);
    }
    assert_eq!(
        Guard::defaults().iter().map(Guard::to_string).collect::<Vec<_>>(),
        ["errors<baseline+0.5%", "p95<1.2x"]
    );
}

#[test]
fn refusals_name_the_input_and_the_remedy() {
    for (text, expected) in [
        ("", "`` is not a guard: it has no `<`; write METRIC<LIMIT"),
        ("errors", "it has no `<`"),
        ("errors>1%", "a guard says what must hold, with `<` alone"),
        ("errors<=1%", "a guard says what must hold, with `<` alone"),
        (
            "latency<5ms",
            "`latency` is no metric; there are errors, disagreement, mean, or a percentile",
        ),
        ("p100<5ms", "`p100` is no metric"),
        ("p99.999<5ms", "`p99.999` is no metric"),
        ("pp<5ms", "`pp` is no metric"),
        ("errors<5ms", "`5ms` is no share; errors takes percent, as errors<1%"),
        ("errors<0.01", "`0.01` is no share"),
        ("errors<0%", "a share lies between 0% and 100%"),
        ("errors<100%", "a share lies between 0% and 100%"),
        ("errors<-1%", "`-1%` is no share"),
        ("errors<1e3%", "`1e3%` is no share"),
        ("errors<NaN%", "`NaN%` is no share"),
        (
            "p99<50",
            "`50` is no latency; p99 takes us, ms or s, as p99<50ms, or a factor, as p99<1.2x",
        ),
        ("p99<5%", "`5%` is no latency"),
        ("p99<0ms", "a latency is above 0 and at most an hour"),
        ("p99<0x", "a factor on the baseline lies above 0x"),
        ("p99<infx", "`inf` is no number; a factor is written as 1.2x"),
        ("disagreement<1.2x", "disagreement is itself a comparison with the baseline"),
        ("errors<baseline+5ms", "`5ms` is no share"),
        ("errors<baseline+", "`` is no share"),
        ("mean<baseline+1%", "`1%` is no latency"),
    ] {
        let error = text.parse::<Guard>().unwrap_err().to_string();
        assert!(
            error.contains(expected) && error.contains(&format!("`{text}`")),
            "{text}: {error}"
        );
    }
}

fn judgement() -> Judgement {
    Judgement {
        guard: "errors<1%".parse().unwrap(),
        verdict: Verdict::RollBack,
        reason: Reason::Beyond,
        canary: Some(0.041),
        baseline: None,
        slower_than_ms: None,
        span: Span::Release,
        estimate: 0.041,
        lower: 0.02,
        upper: 0.069,
        limit: 0.01,
        tolerated: 0.02,
        canary_requests: 812,
        baseline_requests: 0,
        design_effect: 1.0,
        alpha: 0.0125,
        missing_requests: None,
    }
}

#[test]
fn a_judgement_in_one_line() {
    let beyond = judgement();
    assert_eq!(
        beyond.to_string(),
        "errors 4.1% [2.0%, 6.9%] against at most 1.0%, n = 812: roll back"
    );
    let relative = Judgement {
        guard: "errors<baseline+0.5%".parse().unwrap(),
        baseline: Some(0.005),
        baseline_requests: 9_000,
        ..judgement()
    };
    assert_eq!(
        relative.to_string(),
        "errors 4.1% [2.0%, 6.9%] against at most 1.0% (baseline + 0.5%), n = 812 and 9000: roll back"
    );
    let slow = Judgement {
        guard: "p99<1.2x".parse().unwrap(),
        verdict: Verdict::Hold,
        reason: Reason::Undecided,
        canary: Some(48.3),
        baseline: Some(41.0),
        slower_than_ms: Some(49.2),
        missing_requests: Some(1_200),
        baseline_requests: 9_000,
        ..judgement()
    };
    assert_eq!(
        slow.to_string(),
        "p99 48.3 ms against 41.0 ms of the baseline (4.1% slower than 49.2 ms [2.0%, 6.9%] against at most 1.0%), \
         n = 812 and 9000: hold: undecided, about 1200 more requests of the canary are needed"
    );
    let nothing = Judgement {
        reason: Reason::NothingCompared,
        verdict: Verdict::Hold,
        canary_requests: 0,
        ..judgement()
    };
    assert_eq!(
        nothing.to_string(),
        "errors<1%: hold: no answers were compared; disagreement needs a release with --shadow"
    );
}

#[test]
fn recorded_numbers_survive_json() {
    let mut state = 1u64;
    for _ in 0..10_000 {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let value = rounded((state >> 11) as f64 * 2f64.powi((state % 60) as i32 - 70));
        let text = serde_json::to_string(&value).unwrap();
        assert_eq!(serde_json::from_str::<f64>(&text).unwrap(), value, "{text}");
    }
    assert_eq!([f64::NAN, f64::INFINITY, 1e-12].map(rounded), [0.0; 3]);
}
