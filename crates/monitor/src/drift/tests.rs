//! Values that change, minute by minute, and what is told of them.

use std::cell::RefCell;

use domain::alarm::{AlarmChange, AlarmKey, AlarmKind, AlarmStep, Finding};
use domain::{Datatype, Schema, VersionNumber};
use policy::alarm::Alarms;
use policy::drift::Reference;
use protocol::Tensor;
use protocol::payload::Cells;
use protocol::record::{RecordHead, RecordOut};

use super::feature::Places;
use super::*;

#[derive(Default)]
struct Told {
    alarms: RefCell<Alarms>,
    changes: RefCell<Vec<AlarmChange>>,
}

impl Told {
    fn opened(&self) -> Vec<AlarmKind> {
        let changes = self.changes.borrow();
        let opened = changes.iter().filter(|change| change.change == AlarmStep::Opened);
        opened.map(|change| change.alarm.key.kind).collect()
    }
}

impl Tell for Told {
    fn raise(&self, key: &AlarmKey, finding: Finding, now_ms: u64) {
        self.changes.borrow_mut().extend(self.alarms.borrow_mut().raise(key, finding, now_ms));
    }
    fn quiet(&self, key: &AlarmKey, now_ms: u64) {
        self.changes.borrow_mut().extend(self.alarms.borrow_mut().quiet(key, now_ms));
    }
    fn close(&self, key: &AlarmKey, now_ms: u64) {
        self.changes.borrow_mut().extend(self.alarms.borrow_mut().close(key, now_ms));
    }
}

fn definition(version: u32) -> Arc<Definition> {
    Arc::new(Definition {
        placement: Placement {
            model: "default/churn".parse().unwrap(),
            environment: "production".parse().unwrap(),
            version: VersionNumber(version),
            digest: domain::Digest::of(&version.to_le_bytes()),
            revision: 0,
        },
        schema: Schema {
            inputs: vec![
                domain::Column::scalar("age", Datatype::Fp64),
                domain::Column::scalar("city", Datatype::Bytes),
            ],
            outputs: vec![domain::Column::scalar("leave", Datatype::Fp64)],
            ..Schema::default()
        },
        key: None,
    })
}

/// One row as the data plane leaves it.
fn record(age: f64, city: &str, leave: f64) -> Vec<u8> {
    let text = [&(city.len() as u32).to_le_bytes()[..], city.as_bytes()].concat();
    let cells = |data: Vec<u8>| Cells { shape: vec![], data: data.into(), valid: None };
    let inputs = [cells(age.to_le_bytes().to_vec()), cells(text)];
    let outputs = [Tensor {
        name: "leave".into(),
        datatype: Datatype::Fp64,
        shape: vec![1],
        data: leave.to_le_bytes().to_vec().into(),
    }];
    let head = RecordHead {
        lane: 1,
        status: 200,
        rows: 1,
        kept: protocol::record::Kept::Whole,
        ..RecordHead::default()
    };
    let out = RecordOut { head, inputs: &inputs, outputs: &outputs, traced: Default::default() };
    let mut bytes = vec![0; out.size()];
    out.write(&mut bytes);
    bytes
}

fn baseline() -> Baseline {
    let ages: Vec<f64> = (0..5_000).map(|n| 20.0 + f64::from(n % 500) / 10.0).collect();
    let series = |column: &str, reference| Watched {
        column: column.into(),
        feature: Feature::Value,
        reference,
        centroid: vec![],
        quantiles: vec![],
        slice: None,
    };
    let cities = [("Utrecht", 4_000), ("Delft", 1_000)];
    Baseline {
        file: "train.parquet".into(),
        inputs: vec![
            series("age", Reference::of_numbers(&ages, 0).unwrap()),
            series("city", Reference::of_categories(cities, 0).unwrap()),
        ],
        outputs: vec![],
    }
}

/// A minute of 60 rows; `age` gives each row's.
fn minute(drift: &Drift, told: &Told, of: &Arc<Definition>, minute: u64, age: impl Fn(u64) -> f64) {
    let begin_ms = minute * MINUTE_MS;
    for row in 0..60 {
        let city = if row % 5 == 0 { "Delft" } else { "Utrecht" };
        let bytes = record(age(minute * 60 + row), city, 0.1);
        drift.take(of, &RecordIn::read(&bytes).unwrap(), begin_ms + row * 1_000);
    }
    drift.tick(begin_ms + MINUTE_MS, told);
}

/// Ages as in the reference, in an order that mixes them.
fn usual(row: u64) -> f64 {
    20.0 + (row * 7_919 % 500) as f64 / 10.0
}

fn compared(told: &Told, definition: &Arc<Definition>) -> Drift {
    let drift = Drift::new(Limits::default());
    minute(&drift, told, definition, 1_000, usual);
    assert_eq!(drift.without_baseline(), [definition.placement.clone()]);
    assert_eq!(drift.without_baseline(), []);
    drift.compare(&definition.placement, Some(baseline()), 0, told);
    drift
}

#[test]
fn what_is_as_in_the_file_raises_nothing_and_what_is_not_names_its_column() {
    let (told, of) = (Told::default(), definition(1));
    let drift = compared(&told, &of);
    (1_001..1_300).for_each(|at| minute(&drift, &told, &of, at, usual));
    assert_eq!(told.opened(), []);
    let target = Target::of(&of.placement);
    let status = drift.status(&target).unwrap();
    assert_eq!((status.reference.as_deref(), status.series.len()), (Some("train.parquet"), 2));
    assert!(status.series.iter().all(|series| series.changed.is_empty()));
    (1_300..1_360).for_each(|at| minute(&drift, &told, &of, at, |row| usual(row) + 15.0));
    assert_eq!(told.opened(), [AlarmKind::OutOfRange, AlarmKind::Inputs]);
    let finding = told.changes.borrow()[0].alarm.finding.clone();
    assert_eq!(finding.columns, ["age"]);
    assert_eq!(finding.next, "decalog drift churn --column age");
    let status = drift.status(&target).unwrap();
    assert_eq!(status.series[0].changed, [AlarmKind::Inputs, AlarmKind::OutOfRange]);
    assert!(status.series[0].numbers[0].value.unwrap() > 0.02, "{:?}", status.series[0].numbers);
    assert!(status.series[1].changed.is_empty());
    // Who takes it for usual is not told of it again at once.
    assert!(drift.forgive(&target));
    assert!(drift.status(&target).unwrap().series[0].changed.is_empty());
}

#[test]
fn a_canary_does_not_count_and_what_takes_its_place_does() {
    let (told, one, two) = (Told::default(), definition(1), definition(2));
    let drift = compared(&told, &one);
    for at in 1_001..1_100 {
        let bytes = record(9_999.0, "Mars", 0.5);
        (0..20).for_each(|_| {
            drift.take(&two, &RecordIn::read(&bytes).unwrap(), at * MINUTE_MS);
        });
        minute(&drift, &told, &one, at, usual);
    }
    assert_eq!(told.opened(), []);
    (1_100..1_104).for_each(|at| minute(&drift, &told, &two, at, usual));
    assert_eq!(drift.without_baseline(), [two.placement.clone()]);
    // An answer that comes too late is about another version.
    drift.compare(&one.placement, None, 0, &told);
    let target = Target::of(&one.placement);
    assert_eq!(drift.status(&target).unwrap().reference.as_deref(), Some("train.parquet"));
    drift.compare(&two.placement, None, 0, &told);
    assert_eq!(drift.status(&target).unwrap().reference, None);
    assert_eq!(drift.status(&target).unwrap().version, 2);
}

#[test]
fn without_a_file_the_first_day_is_usual() {
    let (told, of) = (Told::default(), definition(1));
    let drift = Drift::new(Limits::default());
    minute(&drift, &told, &of, 1_000, usual);
    let asked = drift.without_baseline();
    drift.compare(&asked[0], None, 0, &told);
    let target = Target::of(&of.placement);
    let mut at = 1_001;
    while drift.status(&target).unwrap().series.is_empty() {
        minute(&drift, &told, &of, at, usual);
        at += 1;
        assert!(at < 1_000 + 1_500, "a day has 1,440 minutes");
    }
    assert!(at > 1_000 + 1_440, "learned by minute {at}");
    assert!(drift.status(&target).unwrap().learning_since_ms.is_none());
    (at..at + 60).for_each(|at| minute(&drift, &told, &of, at, usual));
    assert_eq!(told.opened(), []);
    (at + 60..at + 140).for_each(|at| minute(&drift, &told, &of, at, |row| usual(row) + 15.0));
    assert!(told.opened().contains(&AlarmKind::Inputs), "{:?}", told.opened());
}

#[test]
fn a_restart_changes_nothing_but_the_minute_that_ran() {
    let of = definition(1);
    let run = |restarts: bool| {
        let told = Told::default();
        let mut drift = compared(&told, &of);
        for at in 1_001..1_200 {
            let shift = if at < 1_100 { 0.0 } else { 15.0 };
            minute(&drift, &told, &of, at, |row| usual(row) + shift);
            if restarts && at % 10 == 0 {
                let saved = drift.changed(|target, model| {
                    (target.clone(), serde_json::to_string(model).unwrap())
                });
                drift = Drift::new(Limits::default());
                for (target, model) in saved {
                    drift.restore(target, serde_json::from_str(&model).unwrap());
                }
                drift.tick(at * MINUTE_MS + MINUTE_MS, &told);
            }
        }
        told.changes.into_inner().iter().map(|change| change.alarm.clone()).collect::<Vec<_>>()
    };
    let without = run(false);
    assert!(!without.is_empty());
    assert_eq!(run(true), without);
}

#[test]
fn texts_and_tensors_are_watched_by_their_features() {
    let watched = |feature| Watched {
        column: "x".into(),
        feature,
        reference: Reference::of_numbers(&[0.0, 0.5, 1.0, 2.0, 5.0], 0).unwrap(),
        centroid: vec![1.0, 0.0],
        quantiles: vec![],
        slice: None,
    };
    let series = [watched(Feature::Characters), watched(Feature::Norm), watched(Feature::Cosine)];
    let mut counts: Vec<_> = series.iter().map(|series| series.reference.counts()).collect();
    let mut places = Places::of(&series);
    let text = [&3u32.to_le_bytes()[..], b"abc"].concat();
    let view = ColumnView {
        name: "x",
        datatype: Datatype::Bytes,
        shape: &[],
        data: &text,
        valid: None,
        rows: 1,
    };
    places.count(0, &view, &series, &mut counts);
    assert_eq!(counts.iter().map(|c| c.missing).collect::<Vec<_>>(), [0, 1, 1]);
    let numbers: Vec<u8> = [3.0f64, 4.0].iter().flat_map(|n| n.to_le_bytes()).collect();
    let view = ColumnView { datatype: Datatype::Fp64, shape: &[2], data: &numbers, ..view };
    places.count(0, &view, &series, &mut counts);
    assert_eq!(counts.iter().map(|c| c.missing).collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!(counts[1].present(), 1);
}

#[test]
fn after_a_machine_slept_rows_are_of_the_time_in_which_they_came() {
    let (told, of) = (Told::default(), definition(1));
    let drift = compared(&told, &of);
    (1_001..1_010).for_each(|at| minute(&drift, &told, &of, at, usual));
    // Three days later rows come before anybody looks.
    let wakes_ms = (1_010 + 3 * 1_440) * MINUTE_MS;
    for row in 0..7 {
        drift.take(&of, &RecordIn::read(&record(30.0, "Delft", 0.1)).unwrap(), wakes_ms + row);
    }
    drift.tick(wakes_ms + 900, &told);
    drift.tick(wakes_ms + MINUTE_MS, &told);
    let status = drift.status(&Target::of(&of.placement)).unwrap();
    assert!(status.series.iter().all(|series| series.rows == 7), "the last day: {status:?}");
}

/// A minute of 60 rows, 12 of Delft: outputs are above 0.5 for so many of the 12, and of the others.
fn sliced(drift: &Drift, told: &Told, of: &Arc<Definition>, minute: u64, delft: u64, others: u64) {
    for row in 0..60 {
        let is_delft = row % 5 == 0;
        let is_high = if is_delft { row / 5 < delft } else { row - row / 5 - 1 < others };
        let leave = 0.001 * (row % 7) as f64 + if is_high { 0.9 } else { 0.1 };
        let bytes = record(usual(row), if is_delft { "Delft" } else { "Utrecht" }, leave);
        drift.take(of, &RecordIn::read(&bytes).unwrap(), minute * MINUTE_MS + row * 1_000);
    }
    drift.tick((minute + 1) * MINUTE_MS, told);
}

#[test]
fn outputs_that_change_in_a_slice_are_found_also_where_all_rows_look_as_before() {
    let (told, of) = (Told::default(), definition(1));
    let mut drift = compared(&told, &of);
    let target = Target::of(&of.placement);
    let mut at = 1_001;
    let slices = |drift: &Drift| {
        let series = drift.status(&target).unwrap().series;
        series
            .into_iter()
            .filter_map(|series| Some((series.slice?, series.rows)))
            .collect::<Vec<_>>()
    };
    // A day for the outputs, and one for the slices.
    while slices(&drift).is_empty() {
        sliced(&drift, &told, &of, at, 3, 24);
        at += 1;
        assert!(at < 1_000 + 2 * 1_500, "two days have 2,880 minutes");
        if at == 3_000 {
            let mut saved = drift.changed(|_, model| serde_json::to_string(model).unwrap());
            drift = Drift::new(Limits::default());
            drift.restore(target.clone(), serde_json::from_str(&saved.remove(0)).unwrap());
        }
    }
    assert!(at > 1_000 + 2 * 1_440, "learned by minute {at}");
    (at..at + 60).for_each(|at| sliced(&drift, &told, &of, at, 3, 24));
    assert_eq!(slices(&drift), [("city=Utrecht".into(), 48 * 60), ("city=Delft".into(), 12 * 60)]);
    assert_eq!(told.opened(), []);
    // Nine more of Delft and nine less of the others: as many of all.
    (at + 60..at + 120).for_each(|at| sliced(&drift, &told, &of, at, 12, 15));
    assert_eq!(told.opened(), [AlarmKind::Slices]);
    let finding = told.changes.borrow()[0].alarm.finding.clone();
    assert_eq!(finding.columns[0], "leave where city=Delft");
    assert_eq!(finding.next, "decalog drift churn --column 'leave where city=Delft'");
    assert!(drift.forgive(&target));
    let status = drift.status(&target).unwrap();
    assert!(status.series.iter().all(|series| series.changed.is_empty()));
    // Another reference has other slices.
    drift.compare(&of.placement, None, 0, &told);
    assert_eq!(slices(&drift), []);
}
