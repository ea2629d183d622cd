//! What only shows from the inside: a disk without room, and errors that are none.

use super::*;

fn removed() -> Event {
    Event::ModelRemoved {}
}

#[test]
fn a_full_disk_has_its_own_error_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("l.sqlite");
    let mut ledger = Ledger::open(&path, 1, "test").unwrap();
    let pages: u32 =
        ledger.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    ledger.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    let mut seen = 0;
    let error = loop {
        let event = removed();
        let new = NewEntry {
            at_ms: 1,
            actor: "ann",
            subject: "default/a",
            expected_subject_seq: seen,
            event: &event,
        };
        match ledger.append(new) {
            Ok(entry) => seen = entry.subject_seq,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, LedgerError::Full), "{error}");
    assert_eq!(verify(&path, None).unwrap().entries, seen + 1);
    ledger.connection.pragma_update_and_check(None, "max_page_count", 1_000, |_| Ok(())).unwrap();
    let event = removed();
    let new = NewEntry {
        at_ms: 1,
        actor: "ann",
        subject: "default/a",
        expected_subject_seq: seen,
        event: &event,
    };
    assert_eq!(ledger.append(new).unwrap().subject_seq, seen + 1, "with room again it goes on");
}

#[test]
fn other_failures_of_the_disk_are_not_called_full() {
    let failure =
        |code| LedgerError::from(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
    assert!(matches!(failure(ffi::SQLITE_FULL), LedgerError::Full));
    assert!(matches!(failure(ffi::SQLITE_IOERR_SHMSIZE), LedgerError::Full));
    assert!(matches!(failure(ffi::SQLITE_IOERR_READ), LedgerError::Sql(_)));
    assert!(matches!(failure(ffi::SQLITE_NOTADB), LedgerError::Corrupt(_)));
}
