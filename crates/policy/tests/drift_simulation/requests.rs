//! Requests that become slow, or do not end at all, in buckets of five seconds.

use domain::LatencyHistogram;
use domain::alarm::{AlarmKey, AlarmKind, AlarmStep, Confidence, Finding, Severity, Target};
use policy::alarm::Alarms;
use policy::drift::{BUCKET_MS, SLOW_SHARE_MAX, ShareDetector, Signal, slow_limit_us};

use crate::number;
use crate::random::Random;
use crate::world::poisson;

const OLD_MS: u64 = 10;
const NEW_MS: u64 = 52_000;

fn latency_us(random: &mut Random) -> u64 {
    (10_000.0 * (0.3 * random.normal()).exp()) as u64
}

fn limit_us(random: &mut Random) -> u64 {
    let mut reference = LatencyHistogram::default();
    (0..10_000).for_each(|_| reference.record_us(latency_us(random)));
    slow_limit_us(&reference).unwrap()
}

/// A model and its callers: each waits for its answer and then `pause_ms` before it asks again.
struct Callers {
    /// When each one's request began and ends, in milliseconds.
    requests: Vec<(u64, u64)>,
    pause_ms: u64,
}

impl Callers {
    /// Slow and all requests of the bucket that ends at `end_ms`.
    fn bucket(&mut self, end_ms: u64, limit_ms: u64, takes_ms: impl Fn(u64) -> u64) -> (u64, u64) {
        let (mut slow, mut all) = (0, 0);
        for (begin_ms, request_end_ms) in &mut self.requests {
            while *request_end_ms <= end_ms {
                slow += u64::from(*request_end_ms - *begin_ms > limit_ms);
                all += 1;
                *begin_ms = *request_end_ms + self.pause_ms;
                *request_end_ms = *begin_ms + takes_ms(*begin_ms);
            }
            let is_old = end_ms.saturating_sub(*begin_ms) > limit_ms;
            (slow, all) = (slow + u64::from(is_old), all + u64::from(is_old));
        }
        (slow, all)
    }
}

/// From 10 ms to 52 s at minute 10, and back at minute 20: when an alarm is told and when it
/// resolves, in milliseconds after.
fn from_10_ms_to_52_s(callers: usize, pause_ms: u64) -> (Option<u64>, Option<u64>) {
    let (bad_ms, good_ms) = (600_000, 1_200_000);
    let limit_ms = limit_us(&mut Random::new(1)) / 1_000;
    let requests = (0..callers as u64).map(|caller| (caller * 7, caller * 7 + OLD_MS)).collect();
    let mut callers = Callers { requests, pause_ms };
    let takes = |begin_ms: u64| match (bad_ms..good_ms).contains(&begin_ms) {
        // What began under the fault ends with it: a stuck dependency comes back.
        true => NEW_MS.min(good_ms - begin_ms + OLD_MS),
        false => OLD_MS,
    };
    let (mut detector, mut alarms) = (ShareDetector::new(BUCKET_MS), Alarms::default());
    let key = AlarmKey {
        target: Some(Target {
            model: "default/churn".parse().unwrap(),
            environment: "production".parse().unwrap(),
        }),
        kind: AlarmKind::Latency,
        subject: String::new(),
    };
    let (mut told, mut resolved) = (None, None);
    for bucket in 0..360 {
        let end_ms = (bucket + 1) * BUCKET_MS;
        let (slow, all) = callers.bucket(end_ms, limit_ms, takes);
        let change = match detector.update(end_ms - BUCKET_MS, slow, all, SLOW_SHARE_MAX) {
            Signal::NoData => None,
            Signal::Quiet => alarms.quiet(&key, end_ms),
            Signal::Found(found) => {
                let finding = Finding {
                    version: None,
                    severity: Severity::Alert,
                    what: format!("{:.0}% of requests take longer", found.share * 100.0),
                    since_ms: found.since_ms,
                    confidence: Confidence::Evidence {
                        value: found.value,
                        threshold: found.threshold,
                    },
                    size: found.share,
                    columns: vec![],
                    next: "decalog logs churn".into(),
                };
                alarms.raise(&key, finding, end_ms)
            }
        };
        match change.map(|change| change.change) {
            Some(AlarmStep::Opened) => {
                assert!(told.is_none(), "opened twice");
                told = Some(end_ms - bad_ms);
            }
            Some(AlarmStep::Resolved) => resolved = end_ms.checked_sub(good_ms),
            _ => {}
        }
    }
    (told, resolved)
}

#[test]
fn requests_that_take_52_s_instead_of_10_ms_are_told_within_a_minute_and_over_within_two() {
    for (callers, pause_ms) in [(1, 0), (1, 4_000), (10, 100), (1_000, 1_000)] {
        let (told, resolved) = from_10_ms_to_52_s(callers, pause_ms);
        println!("{callers} callers: told after {told:?} ms, over after {resolved:?} ms");
        assert!(told.is_some_and(|ms| ms < 60_000), "{callers} callers: told after {told:?} ms");
        assert!(resolved.is_some_and(|ms| ms < 120_000), "{callers}: over after {resolved:?} ms");
    }
}

/// Alarms in so many days of requests at this rate, of which none changed.
fn false_alarms(seed: u64, rate_per_bucket: f64, days: u64) -> u64 {
    let mut random = Random::new(seed);
    let limit_us = limit_us(&mut random);
    let (mut detector, mut alarms, mut open) = (ShareDetector::new(BUCKET_MS), 0, false);
    // The true share above the limit.
    let beyond = 1.0 - crate::world::normal_share((limit_us as f64 / 10_000.0).ln() / 0.3);
    for bucket in 0..days * 17_280 {
        let all = poisson(&mut random, rate_per_bucket);
        let slow = poisson(&mut random, all as f64 * beyond).min(all);
        let signal = detector.update(bucket * BUCKET_MS, slow, all, SLOW_SHARE_MAX);
        let is_found = matches!(signal, Signal::Found(_));
        alarms += u64::from(is_found && !open);
        open = is_found || (open && signal == Signal::NoData);
    }
    alarms
}

#[test]
fn nobody_is_woken_by_the_ordinary_tail_of_latencies() {
    let (seeds, days) = (number("DRIFT_SEEDS", 20), number("DRIFT_DAYS", 3));
    for rate_per_bucket in [0.1, 1.0, 500.0] {
        let alarms: u64 = (0..seeds).map(|seed| false_alarms(seed, rate_per_bucket, days)).sum();
        let expected = (seeds * days) as f64 / 365.0;
        println!("latency, {rate_per_bucket} a bucket: {alarms} alarms, {expected:.1} promised");
        assert!(alarms as f64 <= expected + 3.0 * expected.sqrt(), "{alarms}");
    }
}

#[test]
fn a_tenth_that_becomes_slow_is_found_within_two_minutes() {
    let mut delays: Vec<u64> = (0..20)
        .map(|seed| {
            let (mut random, mut detector) = (Random::new(seed), ShareDetector::new(BUCKET_MS));
            (0..720).for_each(|bucket| {
                let slow = poisson(&mut random, 500.0 * 0.002);
                detector.update(bucket * BUCKET_MS, slow, 500, SLOW_SHARE_MAX);
            });
            let found = (0..).find(|bucket| {
                let slow = poisson(&mut random, 50.0);
                let at_ms = (720 + bucket) * BUCKET_MS;
                let signal = detector.update(at_ms, slow, 500, SLOW_SHARE_MAX);
                matches!(signal, Signal::Found(_))
            });
            (found.unwrap() + 1) * BUCKET_MS / 1_000
        })
        .collect();
    delays.sort();
    println!("a tenth slow, 100/s: {} s in the median, {} s at most", delays[10], delays[19]);
    assert!(delays[19] <= 120, "{delays:?}");
}
