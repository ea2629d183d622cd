//! The ledger under adversity: writers that race, bytes that change anywhere, histories that are
//! swapped.

use std::path::Path;
use std::sync::{Barrier, Mutex};

use domain::event::{Entry, Event, Measurement, PLATFORM};
use domain::{DeploymentId, Digest, State};
use ledger::{Damage, Ledger, LedgerError, NewEntry, Snapshot, fold, verify};
use proptest::prelude::*;

/// One event of every kind.
const SHAPES: &str = include_str!("../../domain/tests/events_v1.jsonl");

fn shapes() -> Vec<Event> {
    SHAPES.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn append(
    ledger: &mut Ledger,
    subject: &str,
    seen: u64,
    event: &Event,
) -> Result<Entry, LedgerError> {
    ledger.append(NewEntry { at_ms: 7, actor: "ann", subject, expected_subject_seq: seen, event })
}

fn folded(ledger: &Ledger) -> State {
    fold(ledger, State::default(), Damage::Refused).unwrap()
}

/// A ledger of one entry of every kind; all its bytes are in its one file.
fn filled(path: &Path) -> (Vec<Entry>, Digest) {
    let mut ledger = Ledger::open(path, 1, "test").unwrap();
    for (seen, event) in shapes().iter().enumerate() {
        append(&mut ledger, "default/a", seen as u64, event).unwrap();
    }
    (ledger.read(0, 1_000).unwrap(), ledger.head().unwrap().1)
}

#[test]
fn many_threads_append_each_to_its_subject() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("l.sqlite");
    let ledger = Mutex::new(Ledger::open(&path, 1, "test").unwrap());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let ledger = &ledger;
            scope.spawn(move || {
                for seen in 0..25 {
                    let subject = format!("default/m{thread}");
                    append(&mut ledger.lock().unwrap(), &subject, seen, &Event::ModelRemoved {})
                        .unwrap();
                }
            });
        }
    });
    let state = folded(&ledger.lock().unwrap());
    assert!((0..4).all(|thread| state.entries_of(&format!("default/m{thread}")) == 25));
    assert_eq!(verify(&path, None).unwrap().entries, 101);
}

#[test]
fn of_writers_that_open_at_once_exactly_one_may_write() {
    const WRITERS: u64 = 8;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("l.sqlite");
    drop(Ledger::open(&path, 1, "test").unwrap());
    let barrier = Barrier::new(WRITERS as usize);
    let ledgers: Vec<Ledger> = std::thread::scope(|scope| {
        let open = || {
            barrier.wait();
            Ledger::open(&path, 1, "test").unwrap()
        };
        let threads: Vec<_> = (0..WRITERS).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let appended: Vec<_> = ledgers
        .into_iter()
        .map(|mut ledger| append(&mut ledger, "default/a", 0, &Event::ModelRemoved {}))
        .collect();
    assert_eq!(appended.iter().filter(|result| result.is_ok()).count(), 1);
    let newest = WRITERS + 1;
    assert!(appended.iter().all(|result| match result {
        Ok(entry) => entry.writer_epoch == newest,
        Err(error) => matches!(error, LedgerError::Fenced { newer } if *newer == newest),
    }));
    verify(&path, None).unwrap();
}

#[test]
fn an_event_that_could_not_be_read_again_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("l.sqlite");
    let mut ledger = Ledger::open(&path, 1, "test").unwrap();
    // JSON has no NaN: it would be written as null, which is no number.
    let candidate = Measurement { p50_ms: f64::NAN, p99_ms: 1.0, memory_mb: 1.0, requests: 1 };
    let event =
        Event::GatesPassed { deployment: DeploymentId(1), candidate, live: None, elapsed_ms: 1 };
    assert!(matches!(append(&mut ledger, "default/a", 0, &event), Err(LedgerError::Unknown(_))));
    append(&mut ledger, "default/a", 0, &Event::ModelRemoved {}).unwrap();
    drop(ledger);
    assert_eq!(folded(&Ledger::open(&path, 1, "test").unwrap()).entries_of("default/a"), 1);
}

#[test]
fn a_reader_cannot_write_and_sees_what_a_writer_appends() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("l.sqlite");
    let mut writer = Ledger::open(&path, 1, "test").unwrap();
    let mut reader = Ledger::open_read_only(&path).unwrap();
    append(&mut writer, "default/a", 0, &Event::ModelRemoved {}).unwrap();
    assert_eq!(reader.head().unwrap(), writer.head().unwrap());
    assert_eq!(verify(&path, None).unwrap().entries, 2, "verified beside the running writer");
    assert!(append(&mut reader, "default/a", 1, &Event::ModelRemoved {}).is_err());
    assert!(Ledger::open_read_only(&directory.path().join("none")).is_err());
}

#[test]
fn one_changed_byte_in_any_column_of_any_entry_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("l.sqlite");
    let (entries, head) = filled(&path);
    let columns = [
        "at",
        "actor",
        "subject",
        "subject_seq",
        "writer_epoch",
        "kind",
        "body_version",
        "body",
        "previous_hash",
        "hash",
    ];
    for entry in [&entries[0], &entries[3], &entries[entries.len() - 1]] {
        for column in columns {
            let connection = rusqlite::Connection::open(&path).unwrap();
            let sql = format!(
                "SELECT {column}, typeof({column}), length(cast({column} AS blob)) FROM entries WHERE seq = ?1"
            );
            let (value, kind, length): (rusqlite::types::Value, String, usize) = connection
                .query_row(&sql, [entry.seq], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .unwrap();
            for at in [0, length / 2, length - 1] {
                let changed = match value.clone() {
                    rusqlite::types::Value::Integer(number) => {
                        rusqlite::types::Value::Integer(number ^ (1 << (at * 8)))
                    }
                    rusqlite::types::Value::Text(text) => {
                        let mut bytes = text.into_bytes();
                        bytes[at] ^= 1;
                        rusqlite::types::Value::Text(String::from_utf8(bytes).unwrap())
                    }
                    rusqlite::types::Value::Blob(mut bytes) => {
                        bytes[at] ^= 1;
                        rusqlite::types::Value::Blob(bytes)
                    }
                    other => panic!("{kind}: {other:?}"),
                };
                let update = format!("UPDATE entries SET {column} = ?1 WHERE seq = ?2");
                if connection.execute(&update, rusqlite::params![changed, entry.seq]).is_err() {
                    assert!(
                        ["subject", "subject_seq"].contains(&column),
                        "only a place that is taken cannot be taken"
                    );
                    continue;
                }
                let broken = verify(&path, None).unwrap_err();
                assert_eq!(broken.seq, entry.seq, "{column}, byte {at}: {broken}");
                connection.execute(&update, rusqlite::params![value, entry.seq]).unwrap();
            }
        }
    }
    verify(&path, Some(head)).unwrap();
}

#[test]
fn a_snapshot_of_another_history_is_not_trusted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("l.sqlite");
    let mut ledger = Ledger::open(&path, 1, "test").unwrap();
    append(&mut ledger, "default/a", 0, &Event::ModelRemoved {}).unwrap();
    Snapshot::open(&path).unwrap().save(&folded(&ledger)).unwrap();
    drop(ledger);
    // The end is cut off and other entries take its place, as after a restored backup.
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute("DELETE FROM entries WHERE seq = 2", [])
        .unwrap();
    let mut ledger = Ledger::open(&path, 1, "test").unwrap();
    append(&mut ledger, "default/b", 0, &Event::ModelRemoved {}).unwrap();
    let kept = Snapshot::open(&path).unwrap().state().clone();
    assert!(kept.subjects.contains_key("default/a"));
    let subjects = fold(&ledger, kept, Damage::Refused).unwrap().subjects;
    assert_eq!(subjects.keys().collect::<Vec<_>>(), ["decalog", "default/b"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_fold_of_a_snapshot_and_the_rest_is_the_fold_of_all(
        picks in prop::collection::vec((0usize..15, 0usize..3), 1..40),
        snapshot_every in 1usize..20,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("l.sqlite");
        let mut ledger = Ledger::open(&path, 1, "test").unwrap();
        let mut kept = Snapshot::open(&path).unwrap();
        let (events, subjects) = (shapes(), ["default/a", "default/b", PLATFORM]);
        let mut seen = [0, 0, 1];
        for (count, (event, subject)) in picks.into_iter().enumerate() {
            append(&mut ledger, subjects[subject], seen[subject], &events[event]).unwrap();
            seen[subject] += 1;
            if count % snapshot_every == 0 {
                kept.save(&folded(&ledger)).unwrap();
            }
        }
        let mut all = State::default();
        ledger.read(0, 1_000).unwrap().iter().for_each(|entry| all.apply(entry));
        prop_assert_eq!(&folded(&ledger), &all);
        let kept = Snapshot::open(&path).unwrap().state().clone();
        prop_assert_eq!(fold(&ledger, kept, Damage::Refused).unwrap(), all);
        verify(&path, None).unwrap();
    }

    #[test]
    fn damage_anywhere_in_the_file_is_found_or_harmless(at in 0.0f64..1.0, mask in 1u8..) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("l.sqlite");
        let (entries, head) = filled(&path);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = (at * bytes.len() as f64) as usize;
        bytes[at] ^= mask;
        std::fs::write(&path, bytes).unwrap();
        // Some bytes mean nothing (free space, the index that reading does not use); else the
        // damage must be found.
        if verify(&path, Some(head)).is_ok() {
            prop_assert_eq!(Ledger::open_read_only(&path).unwrap().read(0, 1_000).unwrap(), entries);
        }
    }
}
