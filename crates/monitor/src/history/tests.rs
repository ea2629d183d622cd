//! A history against an oracle that remembers all rows: over restarts, late parts, clocks set back,
//! levels taken out, and files that are full or damaged.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use domain::record::Record;
use domain::{Datatype, Digest, ModelKey, VersionNumber};
use protocol::ColumnView;

use super::*;
use crate::columns::{Columns, Limits, MINUTE_MS};
use crate::requests::RequestMinutes;

fn placement(version: u32, revision: u32) -> Arc<Placement> {
    Arc::new(Placement {
        model: "default/churn".parse().unwrap(),
        environment: "production".parse().unwrap(),
        version: VersionNumber(version),
        digest: Digest::ZERO,
        revision,
    })
}

fn model() -> ModelKey {
    "default/churn".parse().unwrap()
}

fn take(columns: &mut Columns, placement: &Arc<Placement>, numbers: &[f64], now_ms: u64) {
    let data: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let (rows, datatype) = (numbers.len(), Datatype::Fp64);
    let view = ColumnView { name: "age", datatype, shape: &[], data: &data, valid: None, rows };
    columns.take(placement, Direction::In, [view].into_iter(), now_ms);
}

fn open(path: &Path, limits: HistoryLimits) -> History {
    let (history, anew) = History::open(path, limits).unwrap();
    assert_eq!(anew, None);
    history
}

/// Rows by beginning, with their sum.
fn totals(reader: &Reader, level: Level, apart: Apart) -> BTreeMap<u64, (u64, f64)> {
    let selection = Selection { apart, ..Selection::of(&model(), level, 0, u64::MAX) };
    let mut totals = BTreeMap::new();
    for row in reader.read(&selection).unwrap().rows {
        let sum = row.sketch.numbers().mean().unwrap_or(0.0) * row.sketch.numbers().count() as f64;
        let total: &mut (u64, f64) = totals.entry(row.start_ms).or_default();
        *total = (total.0 + row.sketch.rows(), total.1 + sum);
    }
    totals
}

fn is_close(left: &BTreeMap<u64, (u64, f64)>, right: &BTreeMap<u64, (u64, f64)>) -> bool {
    left.len() == right.len()
        && left.iter().zip(right).all(|(left, right)| {
            left.0 == right.0
                && left.1.0 == right.1.0
                && (left.1.1 - right.1.1).abs() <= 1e-6 * (1.0 + right.1.1.abs())
        })
}

#[derive(Default)]
struct Oracle(BTreeMap<u64, (u64, f64)>);

impl Oracle {
    fn add(&mut self, number: f64, now_ms: u64) {
        let total = self.0.entry(now_ms - now_ms % MINUTE_MS).or_default();
        *total = (total.0 + 1, total.1 + number);
    }

    fn at(&self, level: Level) -> BTreeMap<u64, (u64, f64)> {
        let mut totals: BTreeMap<u64, (u64, f64)> = BTreeMap::new();
        for (minute, (rows, sum)) in &self.0 {
            let total = totals.entry(minute - minute % level.length_ms()).or_default();
            *total = (total.0 + rows, total.1 + sum);
        }
        totals
    }
}

#[test]
fn whatever_happens_each_row_is_counted_once() {
    let mut taken_out = 0;
    for seed in 0..12 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.sqlite");
        let limits =
            HistoryLimits { minutes_ms: 5 * HOUR_MS, hours_ms: 40 * HOUR_MS, ..Default::default() };
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut history, mut columns) = (open(&path, limits), Columns::default());
        let (mut other, mut others) = (open(&path, limits), Columns::default());
        let (mut oracle, mut now_ms, mut last_ms) =
            (Oracle::default(), 1_700_000_000_000_u64, 0_u64);
        for step in 0..1_500 {
            // Minutes pass, now and then hours, and now and then the clock is set back.
            now_ms = match random.u32(0..100) {
                0 => now_ms + random.u64(0..9 * HOUR_MS),
                1 => now_ms - random.u64(0..2 * HOUR_MS),
                _ => now_ms + random.u64(0..50_000),
            };
            last_ms = last_ms.max(now_ms);
            let number = random.f64();
            let who = placement(1, random.u32(0..2));
            let mine = if random.bool() { &mut columns } else { &mut others };
            take(mine, &who, &[number], now_ms);
            oracle.add(number, now_ms);
            history.write(&columns.seal(now_ms), now_ms);
            other.write(&others.seal(now_ms), now_ms);
            let (mine, file) = match random.bool() {
                true => (&mut columns, &mut history),
                false => (&mut others, &mut other),
            };
            match random.u32(0..20) {
                // The process is killed after a snapshot; the file is not closed.
                0 => {
                    file.write(&mine.snapshot(), now_ms);
                    *mine = Columns::default();
                    *file = open(&path, limits);
                }
                1 => file.write(&mine.snapshot(), now_ms),
                // The same again.
                2 => {
                    let snapshot = mine.snapshot();
                    file.write(&snapshot, now_ms);
                    file.write(&snapshot, now_ms);
                }
                3..9 => drop(file.tick(now_ms)),
                _ => {}
            }
            if step % 300 == 299 {
                history.write(&columns.seal(now_ms), now_ms);
                history.write(&columns.snapshot(), now_ms);
                other.write(&others.seal(now_ms), now_ms);
                other.write(&others.snapshot(), now_ms);
                let apart = [Apart::Placements, Apart::Versions][step / 300 % 2];
                for level in [Level::Hour, Level::Day] {
                    let found = totals(&history.reader(), level, apart);
                    if level == Level::Day {
                        assert!(is_close(&found, &oracle.at(level)), "seed {seed}, step {step}");
                    }
                    // Of hours that are too old, there is only what came late.
                    let first = last_ms - 40 * HOUR_MS;
                    let first = first - first % DAY_MS;
                    let kept = |all: BTreeMap<u64, (u64, f64)>| -> BTreeMap<u64, (u64, f64)> {
                        all.into_iter().filter(|(start, _)| *start >= first).collect()
                    };
                    let (found, wanted) = (kept(found), kept(oracle.at(level)));
                    assert!(!found.is_empty());
                    assert!(
                        is_close(&found, &wanted),
                        "seed {seed}, step {step}, {level:?}: {found:?} {wanted:?}"
                    );
                }
            }
        }
        while history.tick(now_ms) {}
        assert_eq!(
            (history.not_kept(), other.not_kept()),
            (&NotKept::default(), &NotKept::default())
        );
        let hours = totals(&history.reader(), Level::Hour, Apart::Versions);
        taken_out += oracle.at(Level::Hour).len() - hours.len();
    }
    assert!(taken_out > 20, "{taken_out} hours");
}

#[test]
fn hours_and_days_are_what_all_their_values_are_together() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("metrics.sqlite");
    let start_ms = 20_000 * DAY_MS;
    let (mut history, mut columns, mut direct) =
        (open(&path, HistoryLimits::default()), Columns::default(), None);
    let mut random = fastrand::Rng::with_seed(3);
    for minute in 0..24 * 60 {
        let now_ms = start_ms + minute * MINUTE_MS;
        let numbers: Vec<f64> = (0..40).map(|_| random.f64() * 100.0).collect();
        take(&mut columns, &placement(1, 0), &numbers, now_ms);
        let mut all = Columns::default();
        take(&mut all, &placement(1, 0), &numbers, 0);
        let sketch = all.close().remove(0).sketch;
        match &mut direct {
            None => direct = Some(sketch),
            Some(direct) => direct.merge(&sketch).unwrap(),
        }
        history.write(&columns.seal(now_ms), now_ms);
        history.tick(now_ms);
    }
    history.write(&columns.close(), start_ms + DAY_MS);
    let direct = direct.unwrap();
    let (reader, later_ms) = (history.reader(), start_ms + DAY_MS + HOUR_MS);
    let day = |reader: &Reader| {
        let selection = Selection::of(&model(), Level::Day, start_ms, u64::MAX);
        reader.read(&selection).unwrap().rows.remove(0).sketch
    };
    let before = day(&reader);
    while history.tick(later_ms) {}
    for sketch in [before, day(&reader)] {
        assert_eq!(
            (sketch.rows(), sketch.numbers().min()),
            (direct.rows(), direct.numbers().min())
        );
        let means = (sketch.numbers().mean().unwrap(), direct.numbers().mean().unwrap());
        assert!((means.0 - means.1).abs() < 1e-9);
        for share in [0.05, 0.5, 0.95] {
            let quantile = sketch.quantile(share).unwrap();
            assert!((quantile / 100.0 - share).abs() < 0.03, "{share}: {quantile}");
        }
        let (found, wanted) = (sketch.distinct().unwrap() as f64, 57_600.0);
        assert!((found / wanted - 1.0).abs() < 0.08, "{found}");
    }
    // Two days later the minutes are gone; a minute that comes then is added nevertheless.
    let late_ms = start_ms + 3 * DAY_MS;
    while history.tick(late_ms) {}
    assert!(totals(&reader, Level::Minute, Apart::Versions).is_empty());
    let mut late = Columns::default();
    take(&mut late, &placement(1, 0), &[50.0], start_ms + HOUR_MS);
    let mut again = open(&path, HistoryLimits::default());
    let sealed = late.close();
    again.write(&sealed, late_ms);
    for _ in 0..3 {
        assert_eq!(day(&reader).rows(), 57_601);
        assert_eq!(totals(&reader, Level::Hour, Apart::Versions)[&(start_ms + HOUR_MS)].0, 2_401);
        while history.tick(late_ms) {}
        again.write(&sealed, late_ms);
    }
    assert_eq!((again.not_kept().repeated, again.not_kept().unwritten), (3, 0));
}

#[test]
fn the_file_is_bounded_and_what_leaves_it_is_in_the_level_above() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("metrics.sqlite");
    let limits = HistoryLimits { bytes_max: 3 << 20, ..Default::default() };
    let (mut history, mut columns) = (open(&path, limits), Columns::default());
    let mut random = fastrand::Rng::with_seed(4);
    let (start_ms, mut rows, mut bytes) = (20_000 * DAY_MS, 0, 0);
    for minute in 0..40 * 60 {
        let now_ms = start_ms + minute * MINUTE_MS;
        let numbers: Vec<f64> = (0..300).map(|_| random.f64()).collect();
        take(&mut columns, &placement(1, 0), &numbers, now_ms);
        rows += 300;
        history.write(&columns.seal(now_ms), now_ms);
        history.tick(now_ms);
        bytes = bytes.max(Store(&history.connection).used_bytes().unwrap());
    }
    let now_ms = start_ms + 40 * HOUR_MS;
    history.write(&columns.close(), now_ms);
    let reader = history.reader();
    let minutes = totals(&reader, Level::Minute, Apart::Versions);
    println!("{} minutes of 2,400 are left; {bytes} bytes at most", minutes.len());
    assert!(minutes.len() < 2_000, "room is made");
    assert!(minutes.len() > 100, "minutes keep their half: {}", minutes.len());
    assert!(bytes < limits.bytes_max + (256 << 10), "{bytes}");
    for level in [Level::Hour, Level::Day] {
        let sum: u64 = totals(&reader, level, Apart::Versions).values().map(|total| total.0).sum();
        assert_eq!(sum, rows, "{level:?}");
    }
    assert_eq!(history.not_kept(), &NotKept::default());
    // What is beyond all ages goes, with its series.
    let end_ms = now_ms + 500 * DAY_MS;
    while history.tick(end_ms) {}
    assert!(totals(&reader, Level::Day, Apart::Versions).is_empty());
    assert!(reader.columns(&Selection::of(&model(), Level::Day, 0, 0)).unwrap().is_empty());
    for level in Level::ALL {
        assert_eq!(Store(&history.connection).level_bytes(level).unwrap(), 0, "{level:?}");
    }
}

#[test]
fn a_full_disk_costs_minutes_that_are_counted_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("metrics.sqlite");
    let (mut history, mut columns) = (open(&path, HistoryLimits::default()), Columns::default());
    let numbers: Vec<f64> = (0..3_000).map(f64::from).collect();
    let mut write = |history: &mut History, minute: u64| {
        take(&mut columns, &placement(1, 0), &numbers, minute * MINUTE_MS);
        history.write(&columns.close(), minute * MINUTE_MS);
    };
    (0..10).for_each(|minute| write(&mut history, minute));
    history.connection.pragma_update(None, "max_page_count", 50).unwrap();
    (10..40).for_each(|minute| write(&mut history, minute));
    let lost = history.not_kept().clone();
    assert!((20..=30).contains(&lost.unwritten), "{lost:?}");
    assert!(lost.error.unwrap().contains("full"));
    assert!(!history.tick(HOUR_MS * 3));
    history.connection.pragma_update(None, "max_page_count", 100_000).unwrap();
    (40..50).for_each(|minute| write(&mut history, minute));
    let rows: u64 =
        totals(&history.reader(), Level::Hour, Apart::Versions).values().map(|t| t.0).sum();
    assert_eq!(
        (rows, history.not_kept().unwritten),
        ((50 - lost.unwritten) * 3_000, lost.unwritten)
    );
}

#[test]
fn a_damaged_file_is_begun_anew_and_a_newer_one_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("metrics.sqlite");
    std::fs::write(&path, "no database at all, but long enough to look like one ".repeat(100))
        .unwrap();
    let (mut history, anew) = History::open(&path, HistoryLimits::default()).unwrap();
    assert!(anew.unwrap().contains("begun anew"));
    let mut columns = Columns::default();
    take(&mut columns, &placement(1, 0), &[1.0], 0);
    history.write(&columns.close(), 0);
    // A row whose bytes have changed is left out; the others are read.
    take(&mut columns, &placement(1, 0), &[1.0, 2.0], MINUTE_MS);
    history.write(&columns.close(), MINUTE_MS);
    let damage = "UPDATE parts SET body = zeroblob(length(body)) WHERE start_ms = 0";
    assert_eq!(history.connection.execute(damage, []).unwrap(), 1);
    assert_eq!(totals(&history.reader(), Level::Hour, Apart::Versions)[&0].0, 2);
    history.connection.pragma_update(None, "user_version", 99).unwrap();
    drop(history);
    let refused = History::open(&path, HistoryLimits::default()).map(|_| ());
    assert!(refused.unwrap_err().to_string().contains("version 99"));
    // What nobody could have counted is not kept.
    let mut history = open(&directory.path().join("new.sqlite"), HistoryLimits::default());
    take(&mut columns, &placement(1, 0), &[1.0], 0);
    let old = columns.close();
    take(&mut columns, &placement(1, 0), &[1.0], 900 * DAY_MS);
    history.write(&old, 500 * DAY_MS);
    history.write(&columns.close(), 500 * DAY_MS);
    assert_eq!(history.not_kept().out_of_time, 2);
}

#[test]
fn versions_and_kinds_are_told_apart_and_rows_are_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("metrics.sqlite");
    let (mut history, mut columns) = (open(&path, HistoryLimits::default()), Columns::default());
    for (version, revision) in [(1, 0), (1, 1), (2, 0)] {
        take(&mut columns, &placement(version, revision), &[1.0], 0);
    }
    let data = 7_i64.to_le_bytes();
    let (name, datatype) = ("age", Datatype::Int64);
    let view = ColumnView { name, datatype, shape: &[], data: &data, valid: None, rows: 1 };
    columns.take(&placement(1, 0), Direction::In, [view].into_iter(), 0);
    history.write(&columns.close(), 0);
    let reader = history.reader();
    let all = Selection::of(&model(), Level::Minute, 0, u64::MAX);
    let count = |selection: Selection| reader.read(&selection).unwrap().rows.len();
    let apart = |apart| count(Selection { apart, ..all.clone() });
    assert_eq!(apart(Apart::Placements), 4);
    assert_eq!(apart(Apart::Versions), 3);
    assert_eq!(apart(Apart::Environments), 2);
    assert_eq!(count(Selection { version: Some(VersionNumber(2)), ..all.clone() }), 1);
    assert_eq!(count(Selection { direction: Some(Direction::Out), ..all.clone() }), 0);
    assert_eq!(count(Selection { column: Some("age".into()), ..all.clone() }), 3);
    assert_eq!(count(Selection { column: Some("' OR 1".into()), ..all.clone() }), 0);
    assert_eq!(count(Selection { project: Some("other".parse().unwrap()), ..all.clone() }), 0);
    assert_eq!(count(Selection { to_ms: 0, ..all.clone() }), 0);
    assert_eq!(reader.columns(&all).unwrap().len(), 4);
    let two = reader.read(&Selection { rows_max: 2, ..all.clone() }).unwrap();
    assert_eq!((two.rows.len(), two.is_cut), (2, true));
    assert!(!reader.read(&Selection { rows_max: 3, ..all }).unwrap().is_cut);
}

#[test]
fn requests_are_kept_beside_columns() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("metrics.sqlite");
    let (mut history, mut minutes) =
        (open(&path, HistoryLimits::default()), RequestMinutes::default());
    let mut later = LatencySum::default();
    for minute in 0..180 {
        let now_ms = minute * MINUTE_MS;
        let records: Vec<Record> = (0..20)
            .map(|at| {
                let mut record = Record::new(None, 1, 1_000 * (at + 1) + minute as u32);
                if at == 0 {
                    (record.status, record.code) = (500, "model_raised");
                }
                later.0 += u64::from(record.total_us);
                record
            })
            .collect();
        minutes.take(&placement(1, 0), records.iter(), now_ms);
        history.write_requests(&minutes.snapshot(), now_ms);
        history.write_requests(&minutes.seal(now_ms), now_ms);
    }
    history.write_requests(&minutes.close(), 180 * MINUTE_MS);
    for _ in 0..2 {
        let read = |level| {
            history
                .reader()
                .read_requests(&Selection::of(&model(), level, 0, u64::MAX))
                .unwrap()
                .rows
        };
        let (hours, days) = (read(Level::Hour), read(Level::Day));
        assert_eq!((hours.len(), days.len()), (3, 1));
        let day = &days[0].requests;
        assert_eq!((day.requests, day.errors["model_raised"], day.failed), (3_600, 180, 180));
        assert_eq!(day.latency.count(), 3_600);
        assert!((day.latency.sum_ms() - later.0 as f64 / 1_000.0).abs() < 1e-6);
        let mut rest = day.latency.clone();
        hours.iter().for_each(|hour| rest.subtract(&hour.requests.latency));
        assert_eq!(rest.count(), 0, "a day less its hours is nothing");
        while history.tick(2 * DAY_MS) {}
    }
    assert!(
        history.reader().columns(&Selection::of(&model(), Level::Day, 0, 0)).unwrap().is_empty()
    );
}

#[derive(Default)]
struct LatencySum(u64);

#[test]
fn two_processes_write_while_others_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("metrics.sqlite");
    let limits = HistoryLimits { minutes_ms: HOUR_MS, ..Default::default() };
    let reader = open(&path, limits).reader();
    let (is_over, in_step) = (AtomicBool::new(false), std::sync::Barrier::new(2));
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let (mut history, mut columns) = (open(&path, limits), Columns::default());
                    for minute in 0..300 {
                        if minute % 10 == 0 {
                            in_step.wait();
                        }
                        let now_ms = minute * MINUTE_MS;
                        take(&mut columns, &placement(1, 0), &[1.0, 2.0], now_ms);
                        history.write(&columns.seal(now_ms), now_ms);
                        history.write(&columns.snapshot(), now_ms);
                        history.tick(now_ms);
                    }
                    assert_eq!(history.not_kept(), &NotKept::default());
                })
            })
            .collect();
        for _ in 0..3 {
            let (reader, is_over) = (reader.clone(), &is_over);
            scope.spawn(move || {
                let mut last = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let days = totals(&reader, Level::Day, Apart::Versions);
                    let rows = days.get(&0).map_or(0, |total| total.0);
                    assert!(rows >= last, "{rows} after {last}");
                    last = rows;
                }
            });
        }
        let results: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        is_over.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok));
    });
    assert_eq!(totals(&reader, Level::Day, Apart::Versions)[&0].0, 1_200);
}

/// What a snapshot of 100 busy columns costs; printed, as it depends on the machine.
#[test]
fn a_snapshot_is_cheap() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("metrics.sqlite");
    let (mut history, mut columns) =
        (open(&path, HistoryLimits::default()), Columns::new(Limits::default()));
    let mut random = fastrand::Rng::with_seed(1);
    let names: Vec<String> = (0..100).map(|at| format!("column-{at}")).collect();
    for _ in 0..5 {
        let data: Vec<u8> = (0..1_000).flat_map(|_| random.f64().to_le_bytes()).collect();
        let views = names.iter().map(|name| ColumnView {
            name,
            datatype: Datatype::Fp64,
            shape: &[],
            data: &data,
            valid: None,
            rows: 1_000,
        });
        columns.take(&placement(1, 0), Direction::In, views, 0);
        let begin = Instant::now();
        let snapshot = columns.snapshot();
        let copied = begin.elapsed();
        history.write(&snapshot, 0);
        let written = begin.elapsed();
        let bytes: usize = snapshot.iter().map(|sealed| sealed.sketch.encode().len()).sum();
        println!(
            "{} columns, {bytes} bytes: {copied:?} to copy, {:?} with writing",
            snapshot.len(),
            written
        );
        assert_eq!(snapshot.len(), 100);
    }
    assert!(columns.snapshot().is_empty());
}
