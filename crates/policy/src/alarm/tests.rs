//! Lives of alarms.

use domain::alarm::{AlarmKind, Confidence, Severity, Target};
use proptest::prelude::*;

use super::*;

const MINUTE_MS: u64 = 60_000;

fn key(model: &str, kind: AlarmKind) -> AlarmKey {
    AlarmKey {
        target: Some(Target {
            model: format!("default/{model}").parse().unwrap(),
            environment: "production".parse().unwrap(),
        }),
        kind,
        subject: String::new(),
    }
}

fn finding(severity: Severity, size: f64) -> Finding {
    Finding {
        version: None,
        severity,
        what: format!("{size:.0}% of requests fail"),
        since_ms: 1,
        confidence: Confidence::Measured,
        size,
        columns: vec![],
        next: "decalog logs churn".into(),
    }
}

#[test]
fn an_alarm_opens_once_and_resolves_once_and_keeps_its_name() {
    let (mut alarms, key) = (Alarms::default(), key("churn", AlarmKind::Errors));
    let opened = alarms.raise(&key, finding(Severity::Alert, 5.0), 1_000).unwrap();
    for second in 2..60 {
        assert_eq!(alarms.raise(&key, finding(Severity::Alert, 5.1), second * 1_000), None);
    }
    let mut told = vec![];
    for second in 60..120 {
        told.push(alarms.quiet(&key, second * 1_000));
    }
    let resolved = told.into_iter().flatten().collect::<Vec<_>>();
    assert_eq!(resolved.len(), 1);
    assert_eq!(resolved[0].alarm.id, opened.alarm.id);
    assert_eq!(resolved[0].alarm.resolved_at_ms, Some(60_000 + HOLD_MS_MIN));
    assert_eq!(alarms.open_alarms().count(), 0);
}

#[test]
fn an_alarm_is_told_again_when_it_gets_worse_and_not_more_than_every_five_minutes() {
    let (mut alarms, key) = (Alarms::default(), key("churn", AlarmKind::Errors));
    alarms.raise(&key, finding(Severity::Notice, 5.0), 0).unwrap();
    let worse = alarms.raise(&key, finding(Severity::Alert, 5.0), 1_000).unwrap();
    assert_eq!(worse.change, AlarmStep::Updated);
    let mut told = 0;
    for minute in 1..=60 {
        let size = 5.0 * 1.6f64.powi(minute);
        let at_ms = 1_000 + minute as u64 * MINUTE_MS;
        told += alarms.raise(&key, finding(Severity::Alert, size), at_ms).is_some() as u32;
    }
    assert_eq!(told, 12);
    let same = finding(Severity::Notice, 5.0 * 1.6f64.powi(60));
    assert_eq!(alarms.raise(&key, same, 70 * MINUTE_MS), None);
    assert_eq!(alarms.get(&key).unwrap().finding.severity, Severity::Alert);
    let columns = vec!["age".to_string()];
    let other = Finding { columns, ..finding(Severity::Alert, 5.0 * 1.6f64.powi(60)) };
    assert!(alarms.raise(&key, other, 71 * MINUTE_MS).is_some());
}

#[test]
fn what_flaps_becomes_one_alarm() {
    let (mut alarms, key) = (Alarms::default(), key("churn", AlarmKind::Latency));
    let mut opened = 0;
    // Two minutes bad, two minutes good, for twelve hours.
    for tick in 0..12 * 720 {
        let now_ms = tick * 5_000;
        let change = match (now_ms / (2 * MINUTE_MS)).is_multiple_of(2) {
            true => alarms.raise(&key, finding(Severity::Alert, 5.0), now_ms),
            false => alarms.quiet(&key, now_ms),
        };
        opened += change.is_some_and(|change| change.change == AlarmStep::Opened) as u32;
    }
    assert!(opened <= 3, "{opened} alarms");
    assert_eq!(alarms.open_alarms().count(), 1);
}

#[test]
fn a_silence_keeps_an_alarm_from_being_sent_and_what_outlasts_it_is_told() {
    let mut alarms = Alarms::default();
    let (churn, price) = (key("churn", AlarmKind::Inputs), key("price", AlarmKind::Inputs));
    let silence =
        Silence { model: churn.model().cloned(), until_ms: MINUTE_MS, ..Silence::default() };
    alarms.silence(silence.clone(), 0).unwrap();
    assert!(alarms.raise(&churn, finding(Severity::Notice, 1.0), 1).unwrap().silenced);
    assert!(!alarms.raise(&price, finding(Severity::Notice, 1.0), 1).unwrap().silenced);
    assert_eq!(alarms.unsilenced(MINUTE_MS - 1), vec![]);
    let told = alarms.unsilenced(MINUTE_MS);
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].change, &told[0].alarm.key), (AlarmStep::Unsilenced, &churn));
    assert_eq!(alarms.unsilenced(MINUTE_MS + 1), vec![]);
    assert_eq!(alarms.silences(MINUTE_MS).count(), 0);
    let id = alarms.get(&price).unwrap().id[..4].to_string();
    let by_id = Silence { alarm: Some(id), until_ms: 9 * MINUTE_MS, ..Silence::default() };
    alarms.silence(by_id.clone(), MINUTE_MS).unwrap();
    // Price was told before it was silenced, so its end is told too.
    assert!(!alarms.close(&price, 2 * MINUTE_MS).unwrap().silenced);
    alarms.silence(silence.clone(), 0).unwrap();
    alarms.close(&churn, 2 * MINUTE_MS).unwrap();
    alarms.raise(&churn, finding(Severity::Notice, 1.0), 1).unwrap();
    // Nobody ever heard of this one.
    assert!(alarms.close(&churn, 2 * MINUTE_MS).unwrap().silenced);
    assert_eq!((alarms.unsilence(&by_id), alarms.unsilence(&silence)), (1, 1));
}

#[derive(Clone, Debug)]
enum Signal {
    Raise(u8, bool),
    Quiet,
    Silent,
    Restart,
}

proptest! {
    /// Whatever detectors say: of each alarm exactly one opening and at most one end are told, in
    /// this order and under one name, all that is told lies five minutes apart unless it gets
    /// worse, and a restart in between changes nothing.
    #[test]
    fn every_alarm_opens_updates_and_resolves_in_order(
        signals in proptest::collection::vec(
            prop_oneof![
                (0u8..3, any::<bool>()).prop_map(|(severity, large)| Signal::Raise(severity, large)),
                Just(Signal::Quiet),
                Just(Signal::Silent),
                Just(Signal::Restart),
            ],
            1..400,
        ),
        step_ms in 1_000u64..120_000,
    ) {
        let (mut alarms, key) = (Alarms::default(), key("churn", AlarmKind::Errors));
        let mut open: Option<Alarm> = None;
        for (index, signal) in signals.iter().enumerate() {
            let now_ms = 1 + index as u64 * step_ms;
            let change = match signal {
                Signal::Raise(severity, large) => {
                    let severities = [Severity::Notice, Severity::Warning, Severity::Alert];
                    let size = if *large { 50.0 } else { 5.0 };
                    alarms.raise(&key, finding(severities[usize::from(*severity)], size), now_ms)
                }
                Signal::Quiet => alarms.quiet(&key, now_ms),
                Signal::Silent => None,
                Signal::Restart => {
                    let text = serde_json::to_string(&alarms).unwrap();
                    let again: Alarms = serde_json::from_str(&text).unwrap();
                    prop_assert_eq!(&again, &alarms);
                    alarms = again;
                    None
                }
            };
            let Some(AlarmChange { change, alarm, .. }) = change else { continue };
            match (&open, change) {
                (None, AlarmStep::Opened) => {}
                (Some(before), AlarmStep::Updated) => {
                    prop_assert_eq!(&before.id, &alarm.id);
                    let worse = alarm.finding.severity > before.finding.severity;
                    let apart = now_ms - before.updated_at_ms >= UPDATE_INTERVAL_MS;
                    prop_assert!(worse || apart);
                }
                (Some(before), AlarmStep::Resolved) => prop_assert_eq!(&before.id, &alarm.id),
                _ => prop_assert!(false, "{:?} while open is {:?}", change, open),
            }
            open = Some(alarm).filter(|alarm| alarm.status == AlarmStatus::Open);
        }
        prop_assert_eq!(open.is_some(), alarms.get(&key).is_some());
    }
}

#[test]
fn alarms_are_written_as_one_flat_object() {
    let (mut alarms, key) = (Alarms::default(), key("churn", AlarmKind::OutOfRange));
    let alarm = alarms.raise(&key, finding(Severity::Notice, 1.0), 1).unwrap().alarm;
    let json = serde_json::to_value(&alarm).unwrap();
    assert_eq!(json["kind"], "out_of_range");
    assert_eq!(json["severity"], "notice");
    assert_eq!(json["confidence"]["by"], "measured");
    assert_eq!(json["id"].as_str().unwrap().len(), 12);
    assert_eq!(serde_json::from_value::<Alarm>(json).unwrap(), alarm);
}

#[test]
fn every_kind_is_labelled_as_in_json() {
    use AlarmKind::*;
    for kind in [
        Inputs,
        Outputs,
        Missing,
        Unseen,
        OutOfRange,
        Slices,
        Errors,
        Latency,
        TailLatency,
        CrashLoop,
        QueueGrowth,
        Disk,
        RecordsLost,
        EstimatedQuality,
        Quality,
        SloAvailability,
        SloLatency,
        SloRecords,
        Rule,
    ] {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.label());
    }
}
