//! The ledger through its public face: conflicts, fencing, tampering, kill -9.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use domain::event::Event;
use domain::state::FOLD_VERSION;
use domain::{Digest, EnvironmentName, State};
use ledger::{Ledger, LedgerError, NewEntry, fold, verify};

fn open(path: &Path) -> Ledger {
    Ledger::open(path, 1, "test").unwrap()
}

fn variable(value: u64) -> Event {
    Event::VariableSet {
        environment: EnvironmentName::default(),
        model: None,
        name: "A".into(),
        value: Some(value.to_string()),
        secret: None,
    }
}

fn append(ledger: &mut Ledger, subject: &str, expected: u64) -> Result<u64, LedgerError> {
    let event = variable(expected);
    let new = NewEntry { at_ms: 7, actor: "ann", subject, expected_subject_seq: expected, event: &event };
    ledger.append(new).map(|entry| entry.seq)
}

#[test]
fn subjects_do_not_conflict_with_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(&directory.path().join("l.sqlite"));
    assert_eq!(append(&mut ledger, "default/a", 0).unwrap(), 2);
    assert_eq!(append(&mut ledger, "default/b", 0).unwrap(), 3);
    assert_eq!(append(&mut ledger, "default/a", 1).unwrap(), 4);
    let conflict = append(&mut ledger, "default/a", 1).unwrap_err();
    assert!(matches!(conflict, LedgerError::Conflict { expected: 1, found: 2, .. }), "{conflict}");
    assert_eq!(ledger.head().unwrap().0, 4);
}

#[test]
fn a_later_writer_fences_off_the_earlier() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("l.sqlite");
    let mut old = open(&path);
    append(&mut old, "default", 0).unwrap();
    let mut new = open(&path);
    assert!(matches!(append(&mut old, "default", 1), Err(LedgerError::Fenced { newer: 2 })));
    append(&mut new, "default", 1).unwrap();
    verify(&path, None).unwrap();
}

#[test]
fn a_change_in_any_column_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("l.sqlite");
    let mut ledger = open(&path);
    for n in 0..5 {
        append(&mut ledger, "default", n).unwrap();
    }
    let (_, head) = ledger.head().unwrap();
    drop(ledger);
    assert_eq!(verify(&path, Some(head)).unwrap().entries, 6);
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
        let changed = connection.execute(&format!("UPDATE entries SET {change} WHERE seq = 4"), []).unwrap();
        assert_eq!(changed, 1);
        drop(connection);
        let broken = verify(&path, None).unwrap_err();
        assert_eq!(broken.seq, 4, "{change}: {broken}");
        std::fs::write(&path, &original).unwrap();
    }
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute("DELETE FROM entries WHERE seq = 6", []).unwrap();
    drop(connection);
    assert_eq!(verify(&path, None).unwrap().entries, 5);
    assert_eq!(verify(&path, Some(head)).unwrap_err().seq, 6, "only the kept head tells that the end is missing");
}

#[test]
fn unknown_events_are_never_written_after() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("l.sqlite");
    drop(open(&path));
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute("UPDATE entries SET kind = 'teleported'", []).unwrap();
    drop(connection);
    assert!(matches!(Ledger::open(&path, 1, "test"), Err(LedgerError::Unknown(_))));
}

#[test]
fn a_snapshot_gives_the_same_state() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(&directory.path().join("l.sqlite"));
    for n in 0..20 {
        append(&mut ledger, "default", n).unwrap();
        let state = fold(&ledger).unwrap();
        if n % 7 == 0 {
            ledger.save_snapshot(state.seq, FOLD_VERSION, &serde_json::to_vec(&state).unwrap()).unwrap();
        }
        let mut all = State::default();
        ledger.read(0, 1_000).unwrap().iter().for_each(|entry| all.apply(entry));
        assert_eq!(all, state);
    }
    ledger.save_snapshot(1_000, FOLD_VERSION, b"from another log").unwrap();
    assert_eq!(fold(&ledger).unwrap().seq, 21, "a snapshot beyond the log is not trusted");
    ledger.save_snapshot(5, FOLD_VERSION, b"unreadable").unwrap();
    assert_eq!(fold(&ledger).unwrap().seq, 21);
}

#[test]
fn a_copy_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(&directory.path().join("l.sqlite"));
    append(&mut ledger, "default", 0).unwrap();
    let copy = directory.path().join("copy.sqlite");
    ledger.backup_to(&copy).unwrap();
    assert_eq!(verify(&copy, Some(ledger.head().unwrap().1)).unwrap().entries, 2);
}

const CHILD: &str = "LEDGER_TEST_CHILD";

/// Not a test of its own: the process that `kill_9_at_any_moment` kills.
#[test]
fn child() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let mut ledger = open(Path::new(&path));
    let state = fold(&ledger).unwrap();
    let mut seen = state.entries_of("default");
    loop {
        let seq = append(&mut ledger, "default", seen).unwrap();
        seen += 1;
        println!("appended {seq}");
    }
}

#[test]
fn kill_9_at_any_moment() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("l.sqlite");
    let mut acknowledged = 0;
    for round in 0..24 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Every fourth is killed while it opens the ledger.
        let appends = if round % 4 == 3 { 0 } else { 3 + round * 3 };
        for _ in 0..appends {
            let line = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("appended "))).unwrap().unwrap();
            acknowledged = line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
        }
        child.kill().unwrap();
        for line in lines.map_while(Result::ok).filter(|line| line.contains("appended ")) {
            acknowledged = line.rsplit(' ').next().unwrap().parse().unwrap_or(acknowledged);
        }
        child.wait().unwrap();
        let verified = verify(&path, None).unwrap();
        assert!(verified.entries >= acknowledged, "{} entries, {acknowledged} acknowledged", verified.entries);
    }
    assert_ne!(verify(&path, None).unwrap().head, Digest::ZERO);
}
