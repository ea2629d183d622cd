//! Requests that become slow or fail, second by second, and what is told of them.

use std::cell::RefCell;

use super::*;
use domain::alarm::{AlarmStep, Severity};
use policy::alarm::Alarms;

/// What was told, with when, in seconds.
#[derive(Default)]
struct Told {
    alarms: RefCell<Alarms>,
    changes: RefCell<Vec<(AlarmStep, AlarmKind, u64)>>,
    last: RefCell<Option<Finding>>,
}

impl Told {
    fn note(&self, change: Option<domain::alarm::AlarmChange>, now_ms: u64) {
        let Some(change) = change else { return };
        let kind = change.alarm.key.kind;
        self.changes.borrow_mut().push((change.change, kind, now_ms / 1_000));
        *self.last.borrow_mut() = Some(change.alarm.finding);
    }

    fn steps(&self, kind: AlarmKind) -> Vec<(AlarmStep, u64)> {
        let changes = self.changes.borrow();
        let of_kind = changes.iter().filter(|(_, of, _)| *of == kind);
        of_kind.map(|(step, _, at)| (*step, *at)).collect()
    }
}

impl Tell for Told {
    fn raise(&self, key: &AlarmKey, finding: Finding, now_ms: u64) {
        let change = self.alarms.borrow_mut().raise(key, finding, now_ms);
        self.note(change, now_ms);
    }
    fn quiet(&self, key: &AlarmKey, now_ms: u64) {
        let change = self.alarms.borrow_mut().quiet(key, now_ms);
        self.note(change, now_ms);
    }
    fn close(&self, key: &AlarmKey, now_ms: u64) {
        let change = self.alarms.borrow_mut().close(key, now_ms);
        self.note(change, now_ms);
    }
}

fn placement(version: u32) -> Arc<Placement> {
    Arc::new(Placement {
        model: "default/fraud".parse().unwrap(),
        environment: "production".parse().unwrap(),
        version: VersionNumber(version),
        digest: domain::Digest::ZERO,
        revision: 0,
    })
}

fn observed(version: u32, requests: u64, each_us: u64, failed: u64, old_us: &[u64]) -> Observed {
    let mut ended = Bucket { failed, judged: requests, ..Bucket::default() };
    // A spread as real ones have.
    (0..requests - failed).for_each(|n| ended.latency.record_us(each_us + each_us * (n % 7) / 20));
    let mut unfinished = LatencyHistogram::default();
    old_us.iter().for_each(|us| unfinished.record_us(*us));
    let placement = placement(version);
    Observed { placement, ended, unfinished, queued_rows: 0, crashed: false }
}

/// Feeds buckets from one second to another.
fn feed(
    health: &mut Health,
    told: &Told,
    seconds: std::ops::Range<u64>,
    of: impl Fn(u64) -> Observed,
) {
    for at in seconds.step_by(5) {
        health.bucket(at * 1_000, [of(at)], told);
    }
}

#[test]
fn from_10_ms_to_52_s_is_told_within_a_minute_and_over_within_two() {
    let (mut health, told) = (Health::default(), Told::default());
    feed(&mut health, &told, 3_600..4_200, |_| observed(1, 20, 10_000, 0, &[]));
    assert_eq!(told.changes.borrow().len(), 0);
    // 52 s pass before the first one ends: four callers wait.
    feed(&mut health, &told, 4_200..4_300, |at| {
        observed(1, 0, 1, 0, &[(at - 4_195) * 1_000_000; 4])
    });
    let opened = told.steps(AlarmKind::Latency);
    assert!(matches!(opened[..], [(AlarmStep::Opened, at)] if at <= 4_260), "{opened:?}");
    let finding = told.last.borrow().clone().unwrap();
    assert_eq!(finding.severity, Severity::Alert);
    assert!(finding.what.contains("longer than"), "{}", finding.what);
    feed(&mut health, &told, 4_300..4_600, |_| observed(1, 20, 10_000, 0, &[]));
    let steps = told.steps(AlarmKind::Latency);
    assert!(matches!(steps[..], [_, (AlarmStep::Resolved, at)] if at <= 4_420), "{steps:?}");
}

#[test]
fn what_is_slow_is_not_learned_before_it_is_found() {
    let (mut health, told) = (Health::default(), Told::default());
    // Just enough is known.
    feed(&mut health, &told, 3_600..3_700, |_| observed(1, 30, 10_000, 0, &[]));
    // Many more slow requests than there were fast ones.
    feed(&mut health, &told, 3_700..3_800, |_| observed(1, 400, 900_000, 0, &[]));
    let steps = told.steps(AlarmKind::Latency);
    assert!(matches!(steps[..], [(AlarmStep::Opened, _)]), "{steps:?}");
    // It stays so, also for an hour.
    feed(&mut health, &told, 3_800..7_400, |_| observed(1, 400, 900_000, 0, &[]));
    assert_eq!(
        told.steps(AlarmKind::Latency).iter().filter(|s| s.0 == AlarmStep::Resolved).count(),
        0
    );
}

#[test]
fn a_model_that_fails_from_its_first_minutes_is_told() {
    let (mut health, told) = (Health::default(), Told::default());
    feed(&mut health, &told, 3_600..3_630, |_| observed(1, 50, 10_000, 0, &[]));
    feed(&mut health, &told, 3_630..3_690, |_| observed(1, 50, 10_000, 50, &[]));
    assert!(matches!(told.steps(AlarmKind::Errors)[..], [(AlarmStep::Opened, _)]));
}

#[test]
fn errors_are_told_with_the_version_that_makes_them() {
    let (mut health, told) = (Health::default(), Told::default());
    feed(&mut health, &told, 3_600..4_200, |_| observed(1, 50, 10_000, 0, &[]));
    for at in (4_200..4_320).step_by(5) {
        let both = [observed(1, 45, 10_000, 0, &[]), observed(2, 5, 10_000, 5, &[])];
        health.bucket(at * 1_000, both, &told);
    }
    assert!(matches!(told.steps(AlarmKind::Errors)[..], [(AlarmStep::Opened, _)]));
    assert_eq!(told.last.borrow().clone().unwrap().version, Some(VersionNumber(2)));
}

#[test]
fn no_requests_are_no_proof_that_it_is_over_and_a_removed_model_has_no_alarm() {
    let (mut health, told) = (Health::default(), Told::default());
    feed(&mut health, &told, 3_600..4_200, |_| observed(1, 50, 10_000, 0, &[]));
    feed(&mut health, &told, 4_200..4_300, |_| observed(1, 50, 10_000, 50, &[]));
    feed(&mut health, &told, 4_300..9_000, |_| observed(1, 0, 1, 0, &[]));
    assert_eq!(told.steps(AlarmKind::Errors).len(), 1);
    health.retain(|_| false, 9_000_000, &told);
    assert!(matches!(told.steps(AlarmKind::Errors)[..], [_, (AlarmStep::Resolved, 9_000)]));
}

#[test]
fn a_restart_in_the_middle_changes_nothing() {
    let slow_from = |at: u64| if at < 4_200 { 10_000 } else { 80_000 };
    let run = |restarts: bool| {
        let (mut health, told) = (Health::default(), Told::default());
        for at in (3_600..4_400).step_by(5) {
            health.bucket(at * 1_000, [observed(1, 20, slow_from(at), 0, &[])], &told);
            if restarts {
                let saved: Vec<(Target, String)> = health
                    .changed()
                    .into_iter()
                    .map(|(target, model)| (target.clone(), serde_json::to_string(model).unwrap()))
                    .collect();
                let restored = saved
                    .into_iter()
                    .map(|(target, model)| (target, serde_json::from_str(&model).unwrap()));
                health = Health::restore(restored.collect::<Vec<_>>());
            }
        }
        told.changes.into_inner()
    };
    assert_eq!(run(true), run(false));
    assert!(!run(false).is_empty());
}

#[test]
fn a_queue_that_grows_and_workers_that_end_again_and_again_are_told() {
    let (mut health, told) = (Health::default(), Told::default());
    for at in (3_600..7_200).step_by(5) {
        let mut one = observed(1, 5, 10_000, 0, &[]);
        (one.queued_rows, one.crashed) = (at * 3, at % 60 == 0);
        health.bucket(at * 1_000, [one], &told);
    }
    for kind in [AlarmKind::QueueGrowth, AlarmKind::CrashLoop] {
        assert!(matches!(told.steps(kind)[..], [(AlarmStep::Opened, _), ..]), "{kind}");
    }
}
