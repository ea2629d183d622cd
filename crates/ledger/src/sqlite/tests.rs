//! What only shows from the inside: a disk without room, and errors that are none.

use domain::DataDirectory;
use domain::event::Event;

use super::*;
use crate::proof::Frontier;
use crate::{Expected, Location, NewEntry, verify};

fn append(sqlite: &mut Sqlite, seen: u64) -> Result<u64, LedgerError> {
    let new = NewEntry {
        at_ms: 1,
        actor: "ann",
        subject: "default/a",
        expected_subject_seq: seen,
        event: &Event::ModelRemoved { proposal: None },
    };
    crate::append(sqlite, 1, &mut Frontier::default(), new).map(|entry| entry.subject_seq)
}

#[test]
fn a_full_disk_has_its_own_error_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDirectory::new(directory.path());
    let mut sqlite = Sqlite::open(&data.ledger()).unwrap();
    crate::become_writer(&mut sqlite, 1, "test").unwrap();
    let pages: u32 =
        sqlite.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    let limit_to = |sqlite: &Sqlite, pages: u32| {
        sqlite
            .connection
            .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
            .unwrap();
    };
    limit_to(&sqlite, pages);
    let mut seen = 0;
    let error = loop {
        match append(&mut sqlite, seen) {
            Ok(subject_seq) => seen = subject_seq,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, LedgerError::Full), "{error}");
    assert_eq!(verify(&Location::of(&data), &Expected::default()).unwrap().entries, seen + 1);
    limit_to(&sqlite, 1_000);
    assert_eq!(append(&mut sqlite, seen).unwrap(), seen + 1, "with room again it goes on");
}

#[test]
fn a_writer_that_is_not_let_in_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("l.sqlite");
    let (mut one, mut other) = (Sqlite::open(&path).unwrap(), Sqlite::open(&path).unwrap());
    other.connection.busy_timeout(Duration::ZERO).unwrap();
    let appending = one.begin().unwrap();
    assert!(matches!(other.begin(), Err(LedgerError::Busy(_))));
    drop(appending);
    assert!(other.begin().is_ok());
}

#[test]
fn other_failures_of_the_disk_are_not_called_full() {
    let failure =
        |code| LedgerError::from(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
    assert!(matches!(failure(ffi::SQLITE_FULL), LedgerError::Full));
    assert!(matches!(failure(ffi::SQLITE_IOERR_SHMSIZE), LedgerError::Full));
    assert!(matches!(failure(ffi::SQLITE_IOERR_READ), LedgerError::Store(_)));
    assert!(matches!(failure(ffi::SQLITE_NOTADB), LedgerError::Corrupt(_)));
}
