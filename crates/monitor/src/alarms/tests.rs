//! Alarms over restarts, two processes, a broken file, silences, and what receivers are told.

use std::sync::Arc;

use domain::alarm::{
    AlarmKey, AlarmKind, AlarmStep, Confidence, Finding, Severity, Silence, Target,
};
use domain::{AlertReceiver, Digest, EnvironmentName, ReceiverKind};
use policy::alarm::HOLD_MS_MIN;

use super::*;

const START_MS: u64 = 1_800_000_000_000;

pub fn key(model: &str) -> AlarmKey {
    AlarmKey {
        target: Some(Target {
            model: format!("default/{model}").parse().unwrap(),
            environment: EnvironmentName::default(),
        }),
        kind: AlarmKind::Errors,
        subject: String::new(),
    }
}

pub fn finding(severity: Severity, size: f64) -> Finding {
    Finding {
        version: None,
        severity,
        what: format!("{size} of requests failed"),
        since_ms: START_MS,
        confidence: Confidence::Measured,
        size,
        columns: vec![],
        next: "decalog logs churn".into(),
    }
}

pub fn receiver(name: &str, kind: ReceiverKind, severity: Severity) -> AlertReceiver {
    AlertReceiver {
        name: name.parse().unwrap(),
        kind,
        host: "http://localhost".into(),
        model: None,
        severity,
        secret: Digest::ZERO,
    }
}

fn open(directory: &tempfile::TempDir) -> Arc<Desk> {
    let (desk, error) = Desk::open(&directory.path().join("alarms.sqlite")).unwrap();
    assert_eq!(error, None);
    desk
}

fn steps(desk: &Desk) -> Vec<(AlarmStep, bool)> {
    let changes = desk.changes(0, 1_000).into_iter();
    changes.map(|change| (change.change.change, change.change.silenced)).collect()
}

#[test]
fn an_alarm_opens_and_resolves_once_over_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let churn = key("churn");
    let mut now_ms = START_MS;
    // A process that is killed at any moment leaves what is committed, and nothing else: each step
    // is by another desk.
    for _ in 0..20 {
        open(&directory).raise(&churn, finding(Severity::Warning, 0.1), now_ms);
        now_ms += 5_000;
    }
    assert!(open(&directory).is_open(&churn));
    for _ in 0..20 {
        let desk = open(&directory);
        desk.quiet(&churn, now_ms);
        // Its quiet is remembered where the process had a minute to write it, or ended in order.
        desk.pause(now_ms);
        now_ms += 5_000;
    }
    let desk = open(&directory);
    assert_eq!(steps(&desk), [(AlarmStep::Opened, false), (AlarmStep::Resolved, false)]);
    assert!(!desk.is_open(&churn) && desk.open_alarms().is_empty());
    // That it may flap is remembered.
    desk.raise(&churn, finding(Severity::Warning, 0.1), now_ms);
    assert_eq!(desk.open_alarms()[0].flaps, 1);
}

#[test]
fn what_says_nothing_new_does_not_touch_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let desk = open(&directory);
    desk.raise(&key("churn"), finding(Severity::Warning, 0.1), START_MS);
    let version = |desk: &Desk| -> i64 {
        let inner = desk.inner.lock();
        inner.store.total_changes()
    };
    let before = version(&desk);
    let begun = std::time::Instant::now();
    for at in 0..100_000_u64 {
        desk.quiet(&key("fraud"), START_MS + at);
        desk.raise(&key("churn"), finding(Severity::Warning, 0.1), START_MS + at);
    }
    assert_eq!(version(&desk), before);
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

#[test]
fn only_one_process_decides_and_another_goes_on_where_it_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let (old, churn) = (open(&directory), key("churn"));
    old.raise(&churn, finding(Severity::Warning, 0.1), START_MS);
    let new = open(&directory);
    assert!(old.decides() && !new.decides() && new.is_open(&churn));
    new.raise(&key("fraud"), finding(Severity::Alert, 0.5), START_MS);
    assert!(!new.is_open(&key("fraud")), "it does not decide yet");
    // What is told at this moment is told to its end before the other one begins.
    let receiver = receiver("ops", ReceiverKind::Webhook, Severity::Notice);
    old.add_receiver(&receiver);
    let due = old.due(&receiver, 0).unwrap();
    old.pause(START_MS + 1);
    new.tick(START_MS + 2);
    assert!(!new.decides() && !old.decides());
    // Nor does the process end before: whoever is told holds it up.
    let (ending, begun) = (old.clone(), std::time::Instant::now());
    let ended = std::thread::spawn(move || ending.end(START_MS + 2, Duration::from_secs(60)));
    while begun.elapsed() < Duration::from_millis(50) {
        assert!(!ended.is_finished());
    }
    old.told(&due.lease, "ops", 7, (1, 0), START_MS + 3);
    drop(due);
    ended.join().unwrap();
    new.tick(START_MS + 4);
    assert!(new.decides() && new.is_open(&churn));
    assert_eq!(new.receiver(&receiver).delivered, 1);
    old.tick(START_MS + 5);
    old.resume();
    assert!(!old.decides(), "the other one has it");
    new.end(START_MS + 6, Duration::from_secs(5));
    old.resume();
    assert!(old.decides());
    assert_eq!(steps(&old), [(AlarmStep::Opened, false)]);
}

#[test]
fn a_broken_file_is_set_aside_and_said_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alarms.sqlite");
    std::fs::write(&path, vec![7; 20_000]).unwrap();
    let (desk, error) = Desk::open(&path).unwrap();
    assert!(error.unwrap().contains("begin anew"));
    desk.raise(&key("churn"), finding(Severity::Alert, 0.5), START_MS);
    drop(desk);
    let desk = open(&directory);
    assert!(desk.is_open(&key("churn")));
    assert!(directory.path().join("alarms.sqlite.broken").exists());
    // Where none can be made, alarms live in memory.
    let (desk, error) = Desk::open(&directory.path().join("no/such/place")).unwrap();
    assert!(error.unwrap().contains("beyond this process"));
    desk.raise(&key("churn"), finding(Severity::Alert, 0.5), START_MS);
    assert!(desk.is_open(&key("churn")) && desk.changes(0, 9).len() == 1);
}

#[test]
fn a_silence_outlives_the_process_and_its_end_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let (desk, churn) = (open(&directory), key("churn"));
    let minute = |count: u64| START_MS + count * 60_000;
    let silence = Silence {
        model: churn.model().cloned(),
        until_ms: minute(10),
        reason: "we know".into(),
        ..Silence::default()
    };
    desk.silence(silence.clone(), START_MS).unwrap();
    drop(desk);
    let desk = open(&directory);
    desk.raise(&churn, finding(Severity::Alert, 0.5), minute(1));
    let alarm = desk.open_alarms().remove(0);
    assert_eq!(desk.silence_of(&alarm, minute(1)), Some(silence));
    let receiver = receiver("ops", ReceiverKind::Webhook, Severity::Notice);
    desk.tick(minute(9));
    assert_eq!(steps(&desk), [(AlarmStep::Opened, true)]);
    assert!(desk.announced(&receiver).is_empty());
    drop(desk);
    let desk = open(&directory);
    desk.tick(minute(10));
    desk.tick(minute(11));
    assert_eq!(steps(&desk), [(AlarmStep::Opened, true), (AlarmStep::Unsilenced, false)]);
    assert_eq!(desk.announced(&receiver).len(), 1);
    assert_eq!(desk.silences(minute(11)).len(), 0);
    desk.silence(Silence { until_ms: minute(20), ..Silence::default() }, minute(11)).unwrap();
    assert_eq!(desk.unsilence(|silence| silence.model.is_none(), minute(12)), 1);
    assert_eq!(desk.unsilence(|_| true, minute(12)), 0);
}

#[test]
fn receivers_are_told_what_they_take_from_when_they_came() {
    let directory = tempfile::tempdir().unwrap();
    let desk = open(&directory);
    desk.raise(&key("early"), finding(Severity::Alert, 0.5), START_MS);
    let all = receiver("all", ReceiverKind::Webhook, Severity::Notice);
    let severe = receiver("severe", ReceiverKind::Webhook, Severity::Alert);
    let churn = AlertReceiver {
        model: key("churn").model().cloned(),
        ..receiver("churn", ReceiverKind::Webhook, Severity::Notice)
    };
    for receiver in [&all, &severe, &churn] {
        desk.add_receiver(receiver);
        desk.add_receiver(receiver);
    }
    desk.raise(&key("churn"), finding(Severity::Notice, 0.1), START_MS + 1);
    desk.raise(&key("fraud"), finding(Severity::Alert, 0.5), START_MS + 2);
    desk.quiet(&key("fraud"), START_MS + 3);
    desk.quiet(&key("fraud"), START_MS + 3 + HOLD_MS_MIN);
    let told = |receiver: &AlertReceiver| {
        let due = desk.due(receiver, 0).unwrap();
        let models: Vec<String> = due
            .changes
            .iter()
            .map(|it| {
                format!("{} {:?}", it.change.alarm.key.model().unwrap().model, it.change.change)
            })
            .collect();
        desk.told(&due.lease, receiver.name.as_str(), due.seq, (1, 0), START_MS);
        models.join(", ")
    };
    assert_eq!(desk.receiver(&all).waiting, 3);
    assert_eq!(desk.receiver(&severe).waiting, 2);
    assert_eq!(told(&all), "churn Opened, fraud Opened, fraud Resolved");
    assert_eq!(told(&severe), "fraud Opened, fraud Resolved");
    assert_eq!(told(&churn), "churn Opened");
    assert_eq!(told(&all), "");
    assert_eq!((desk.receiver(&all).waiting, desk.receiver(&all).delivered), (0, 2));
    // A number is known again, and is another for each receiver.
    assert_eq!(desk.message_id("all", 2), desk.message_id("all", 2));
    assert_ne!(desk.message_id("all", 2), desk.message_id("severe", 2));
    assert_ne!(desk.message_id("all", 2), desk.message_id("all", 3));
    desk.note(&desk.due(&all, 0).unwrap().lease, "all", Some("no connection"), START_MS);
    assert_eq!(desk.receiver(&all).failing_since_ms, Some(START_MS));
    desk.remove_receiver("all");
    assert_eq!(desk.receiver(&all), ReceiverStatus::default());
    // In a file that knows nobody it goes on where it was.
    assert_eq!(desk.due(&all, 2).unwrap().changes.len(), 2);
}

#[test]
fn what_is_too_old_goes_and_is_counted_as_lost_to_who_was_not_told() {
    let directory = tempfile::tempdir().unwrap();
    let desk = open(&directory);
    let (slow, quick) = (
        receiver("slow", ReceiverKind::Webhook, Severity::Notice),
        receiver("quick", ReceiverKind::Webhook, Severity::Notice),
    );
    desk.add_receiver(&slow);
    desk.add_receiver(&quick);
    desk.raise(&key("churn"), finding(Severity::Notice, 0.1), START_MS);
    desk.raise(&key("churn"), finding(Severity::Alert, 0.1), START_MS + 1);
    desk.close_model(key("churn").model().unwrap(), START_MS + 2);
    let due = desk.due(&quick, 0).unwrap();
    desk.told(&due.lease, "quick", due.seq, (3, 0), START_MS + 3);
    let late_ms = START_MS + CHANGES_MS_MAX + 10;
    desk.raise(&key("fraud"), finding(Severity::Alert, 0.5), late_ms);
    desk.tick(late_ms);
    let left = desk.changes(0, 99);
    assert_eq!(left.len(), 1);
    // Its updates are not missed.
    assert_eq!((desk.receiver(&slow).lost, desk.receiver(&slow).waiting), (2, 1));
    assert_eq!((desk.receiver(&quick).lost, desk.receiver(&quick).waiting), (0, 1));
    assert_eq!(desk.resolved(u64::MAX, 9).len(), 0);
}

#[test]
fn whoever_waits_is_woken_by_a_change() {
    let directory = tempfile::tempdir().unwrap();
    let desk = open(&directory);
    let waiting = {
        let desk = desk.clone();
        std::thread::spawn(move || desk.wait(0, Duration::from_secs(60)))
    };
    desk.raise(&key("churn"), finding(Severity::Alert, 0.5), START_MS);
    assert_eq!(waiting.join().unwrap(), 1);
    assert_eq!(desk.wait(1, Duration::from_millis(1)), 1);
}
