//! Objectives over restarts, and their limit.

use super::*;

const START_MS: u64 = 1_800_000_000_000;
const MINUTE_MS: u64 = 60_000;

fn desk(directory: &tempfile::TempDir) -> Arc<Desk> {
    Desk::open(&directory.path().join("alarms.sqlite")).unwrap().0
}

#[test]
fn a_budget_that_is_spent_too_fast_alarms_and_counts_outlive_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let model: ModelKey = "default/churn".parse().unwrap();
    let target = Target { model: model.clone(), environment: EnvironmentName::default() };
    let (open, objectives) = (desk(&directory), Objectives::new());
    let mut now_ms = START_MS;
    // Before the first tick: it waits until the counts of before are read.
    let kind = SloKind::Availability;
    objectives.add(Some(&target), kind, now_ms, Events { all: 100, bad: 0 });
    objectives.tick(&open, now_ms);
    assert_eq!(objectives.of(&model, now_ms)[0].events, 100);
    for _ in 0..90 {
        now_ms += MINUTE_MS;
        objectives.add(Some(&target), kind, now_ms, Events { all: 100, bad: 2 });
        objectives.add(Some(&target), SloKind::Latency, now_ms, Events { all: 100, bad: 0 });
        objectives.tick(&open, now_ms);
    }
    let alarms = open.open_alarms();
    assert_eq!(alarms.len(), 1);
    assert_eq!(alarms[0].key.kind, AlarmKind::SloAvailability);
    assert_eq!(alarms[0].finding.next, "decalog slo churn");
    assert!(alarms[0].finding.what.contains("requests failed in 1 h (2"), "{alarms:?}");
    let before = objectives.of(&model, now_ms);
    assert_eq!(before.iter().filter(|view| view.burning).count(), 1);
    assert!(before[0].budget_left < 0.0 && before[1].budget_left == 1.0, "{before:?}");
    open.pause(now_ms);
    drop(open);

    let (open, objectives) = (desk(&directory), Objectives::new());
    objectives.tick(&open, now_ms);
    assert_eq!(objectives.of(&model, now_ms), before);
    objectives.forget(&open, &model);
    assert!(objectives.of(&model, now_ms).is_empty() && open.objectives().is_empty());
}

#[test]
fn there_are_not_more_objectives_than_there_may_be() {
    let directory = tempfile::tempdir().unwrap();
    let (open, objectives) = (desk(&directory), Objectives::new());
    objectives.tick(&open, START_MS);
    let environment = EnvironmentName::default();
    let mut inner = objectives.inner.lock();
    for count in 0..OBJECTIVES_MAX + 10 {
        let model = format!("default/m{count}").parse().unwrap();
        let target = Target { model, environment: environment.clone() };
        let key = (Some(target), SloKind::Latency);
        inner.add(key, START_MS, Events { all: 1, bad: 1 });
    }
    assert_eq!(inner.known.len(), OBJECTIVES_MAX);
    // What had no events for a month makes room.
    inner.save(&open, START_MS + FORGET_MS);
    assert!(inner.known.is_empty());
}
