//! The store in an SQLite file: the suite that all stores run, and bytes of the file that change
//! anywhere.

use domain::event::{Entry, Event};
use domain::{Digest, State};
use ledger::{Damage, Expected, Ledger, LedgerError, Location, Snapshot, fold, verify};
use proptest::prelude::*;

use crate::conformance::suite;
use crate::home::{Home, append, append_event, expected, folded, shapes};

suite!(Location::of);

fn home() -> Home {
    Home::new(Location::of)
}

/// A ledger of one entry of every kind; all its bytes are in its one file.
fn filled(home: &Home) -> (Vec<Entry>, Digest) {
    let mut ledger = home.open();
    for (seen, event) in shapes().iter().enumerate() {
        append_event(&mut ledger, "default/a", seen as u64, event).unwrap();
    }
    (ledger.read(0, 1_000).unwrap(), ledger.head().unwrap().1)
}

#[test]
fn a_change_in_any_column_is_named() {
    let home = home();
    let path = home.data.ledger();
    let mut ledger = home.open();
    for n in 0..5 {
        append(&mut ledger, "default", n).unwrap();
    }
    let (_, head) = ledger.head().unwrap();
    drop(ledger);
    assert_eq!(verify(&home.location, &expected(head)).unwrap().entries, 6);
    let original = std::fs::read(&path).unwrap();
    let changes = [
        "at = at + 1",
        "actor = 'mallory'",
        "subject = 'other'",
        "subject_seq = 99",
        "writer_epoch = 9",
        "kind = 'model_removed'",
        "body_version = 2",
        "body = cast(replace(cast(body as text), '2', '3') as blob)",
        "previous_hash = zeroblob(32)",
        "hash = zeroblob(32)",
        "seq = 77",
    ];
    for change in changes {
        let connection = rusqlite::Connection::open(&path).unwrap();
        let changed =
            connection.execute(&format!("UPDATE entries SET {change} WHERE seq = 4"), []).unwrap();
        assert_eq!(changed, 1);
        drop(connection);
        let broken = verify(&home.location, &Expected::default()).unwrap_err();
        assert_eq!(broken.seq, 4, "{change}: {broken}");
        std::fs::write(&path, &original).unwrap();
    }
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute("DELETE FROM entries WHERE seq = 6", []).unwrap();
    drop(connection);
    assert_eq!(
        verify(&home.location, &Expected::default()).unwrap_err().seq,
        6,
        "the marker beside it tells that the end is missing"
    );
    std::fs::remove_file(home.location.head()).unwrap();
    let broken = verify(&home.location, &Expected::default()).unwrap_err();
    assert!(broken.seq == 6 && broken.reason.contains("tree"), "so does the tree: {broken}");
    let connection = rusqlite::Connection::open(&path).unwrap();
    // Five entries complete eight subtrees.
    connection.execute("DELETE FROM proof WHERE position >= 8", []).unwrap();
    drop(connection);
    assert_eq!(verify(&home.location, &Expected::default()).unwrap().entries, 5);
    assert_eq!(
        verify(&home.location, &expected(head)).unwrap_err().seq,
        6,
        "without it, only a head that was kept elsewhere does"
    );
}

#[test]
fn what_was_written_and_is_not_there_is_missed() {
    let home = home();
    let path = home.data.ledger();
    let mut ledger = home.open();
    let copy = home.data.root().join("copy.sqlite");
    ledger.backup_to(&copy).unwrap();
    for n in 0..3 {
        append(&mut ledger, "default", n).unwrap();
    }
    drop(ledger);
    let refused = || {
        fold(&Ledger::open_read_only(&home.location).unwrap(), State::default(), Damage::Refused)
            .unwrap_err()
    };
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute("DELETE FROM entries WHERE seq > 3", [])
        .unwrap();
    assert!(matches!(refused(), LedgerError::CutOff { seq: 4, last: 3 }));
    assert_eq!(verify(&home.location, &Expected::default()).unwrap_err().seq, 4);
    // An older copy in its place is whole in itself.
    std::fs::copy(&copy, &path).unwrap();
    assert!(matches!(refused(), LedgerError::CutOff { seq: 4, last: 1 }));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(
        ledger::fold_nothing(&home.location, Damage::Refused),
        Err(LedgerError::CutOff { seq: 4, last: 0 })
    ));
    assert_eq!(
        ledger::fold_nothing(&home.location, Damage::Accepted).unwrap(),
        State::default(),
        "somebody said so"
    );
    std::fs::copy(&copy, &path).unwrap();
    let state =
        fold(&Ledger::open_read_only(&home.location).unwrap(), State::default(), Damage::Accepted)
            .unwrap();
    assert_eq!(state.seq, 1);
    drop(home.open());
    verify(&home.location, &Expected::default()).unwrap();
}

#[test]
fn a_broken_chain_is_not_folded() {
    let home = home();
    let path = home.data.ledger();
    let mut ledger = home.open();
    let mut kept = Snapshot::open(&home.location).unwrap();
    for n in 0..6 {
        append(&mut ledger, "default", n).unwrap();
        if n == 2 {
            kept.save(&folded(&ledger)).unwrap();
        }
    }
    drop(ledger);
    for change in [
        "body = cast(replace(cast(body as text), '4', '5') as blob)",
        "previous_hash = zeroblob(32)",
        "seq = 77",
    ] {
        let whole = std::fs::read(&path).unwrap();
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute(&format!("UPDATE entries SET {change} WHERE seq = 6"), []).unwrap();
        drop(connection);
        let ledger = Ledger::open_read_only(&home.location).unwrap();
        for from in [State::default(), kept.state().clone()] {
            let error = fold(&ledger, from.clone(), Damage::Refused).unwrap_err();
            assert!(
                matches!(&error, LedgerError::Corrupt(why) if why.contains("entry 6")),
                "{change}: {error}"
            );
            fold(&ledger, from, Damage::Accepted).unwrap();
        }
        drop(ledger);
        std::fs::write(&path, whole).unwrap();
    }
}

#[test]
fn one_changed_byte_in_any_column_of_any_entry_is_named() {
    let home = home();
    let path = home.data.ledger();
    let (entries, head) = filled(&home);
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
                let broken = verify(&home.location, &Expected::default()).unwrap_err();
                assert_eq!(broken.seq, entry.seq, "{column}, byte {at}: {broken}");
                connection.execute(&update, rusqlite::params![value, entry.seq]).unwrap();
            }
        }
    }
    verify(&home.location, &expected(head)).unwrap();
}

#[test]
fn a_snapshot_of_another_history_is_not_trusted() {
    let home = home();
    let path = home.data.ledger();
    let mut ledger = home.open();
    append_event(&mut ledger, "default/a", 0, &Event::ModelRemoved { proposal: None }).unwrap();
    Snapshot::open(&home.location).unwrap().save(&folded(&ledger)).unwrap();
    drop(ledger);
    // The end is cut off and other entries take its place, as after a restored backup.
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute("DELETE FROM entries WHERE seq = 2", [])
        .unwrap();
    let mut ledger = home.open();
    append_event(&mut ledger, "default/b", 0, &Event::ModelRemoved { proposal: None }).unwrap();
    let kept = Snapshot::open(&home.location).unwrap().state().clone();
    assert!(kept.subjects.contains_key("default/a"));
    let subjects = fold(&ledger, kept, Damage::Refused).unwrap().subjects;
    assert_eq!(subjects.keys().collect::<Vec<_>>(), ["decalog", "default/b"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_anywhere_in_the_file_is_found_or_harmless(at in 0.0f64..1.0, mask in 1u8..) {
        let home = home();
        let path = home.data.ledger();
        let (entries, head) = filled(&home);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = (at * bytes.len() as f64) as usize;
        bytes[at] ^= mask;
        std::fs::write(&path, bytes).unwrap();
        // Some bytes mean nothing (free space, the index that reading does not use); else the
        // damage must be found.
        if verify(&home.location, &expected(head)).is_ok() {
            prop_assert_eq!(Ledger::open_read_only(&home.location).unwrap().read(0, 1_000).unwrap(), entries);
        }
    }
}
