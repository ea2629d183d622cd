//! The ledger through its public face: conflicts, fencing, tampering, kill -9.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use domain::event::Event;
use domain::state::Subject;
use domain::{After, Digest, EnvironmentName, State};
use ledger::{
    Damage, Ledger, LedgerError, NewEntry, Reach, Selection, Snapshot, fold, snapshot, verify,
};

fn open(path: &Path) -> Ledger {
    Ledger::open(path, 1, "test").unwrap()
}

fn folded(ledger: &Ledger) -> State {
    fold(ledger, State::default(), Damage::Refused).unwrap()
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
    let new =
        NewEntry { at_ms: 7, actor: "ann", subject, expected_subject_seq: expected, event: &event };
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
fn whoever_looks_for_what_is_rare_is_told_how_far_it_was_looked() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(&directory.path().join("l.sqlite"));
    // Of 300 entries every hundredth concerns the one; the first, 1, is the writer's.
    let (mut rare, mut others) = (0, 0);
    for number in 2..=300 {
        let (subject, count) = if number % 100 == 0 {
            ("default/rare", &mut rare)
        } else {
            ("default/other", &mut others)
        };
        append(&mut ledger, subject, *count).unwrap();
        *count += 1;
    }
    let look = |after: u64, subjects: &[&str], kinds: Option<&str>, rows_max: usize| {
        let subjects = subjects.iter().map(|subject| subject.to_string()).collect();
        let selection = Selection { subjects, kinds: kinds.map(|kind| vec![kind.into()]) };
        let after = After { seq: after, telemetry: None };
        let page = ledger
            .scan(after.seq, &selection, Reach { rows_max, found_max: 1_000 })
            .unwrap()
            .page(after, 1_000);
        (
            page.events.iter().map(|event| event.place.seq).collect::<Vec<_>>(),
            page.next.seq,
            page.more,
        )
    };
    // Of one subject nothing else is looked at.
    assert_eq!(look(0, &["default/rare", "default"], None, 10), (vec![100, 200, 300], 300, false));
    assert_eq!(look(100, &["default/rare", "default"], None, 10), (vec![200, 300], 300, false));
    assert_eq!(look(300, &["default/rare"], None, 10), (vec![], 300, false));
    assert!(look(u64::MAX, &["default/rare"], None, 10).0.is_empty());
    assert_eq!(look(0, &["default/none"], None, 10), (vec![], 0, false));
    // Of two, as far as both have been looked through.
    assert_eq!(look(0, &["default/rare", "default/other"], None, 2), (vec![2, 3], 3, true));
    // What matches nothing is looked for a part at a time.
    assert_eq!(look(0, &[], Some("model_removed"), 100), (vec![], 100, true));
    assert_eq!(look(200, &[], Some("model_removed"), 101), (vec![], 300, false));
    assert_eq!(look(0, &[], Some("writer_started"), 100), (vec![1], 100, true));
    let page = ledger
        .scan(0, &Selection::default(), Reach { rows_max: 100, found_max: 3 })
        .unwrap()
        .page(After::default(), 3);
    assert_eq!((page.events.len(), page.next.seq, page.more), (3, 3, true));
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
        let changed =
            connection.execute(&format!("UPDATE entries SET {change} WHERE seq = 4"), []).unwrap();
        assert_eq!(changed, 1);
        drop(connection);
        let broken = verify(&path, None).unwrap_err();
        assert_eq!(broken.seq, 4, "{change}: {broken}");
        std::fs::write(&path, &original).unwrap();
    }
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute("DELETE FROM entries WHERE seq = 6", []).unwrap();
    drop(connection);
    assert_eq!(
        verify(&path, None).unwrap_err().seq,
        6,
        "the marker beside it tells that the end is missing"
    );
    std::fs::remove_file(path.with_extension("head")).unwrap();
    assert_eq!(verify(&path, None).unwrap().entries, 5);
    assert_eq!(
        verify(&path, Some(head)).unwrap_err().seq,
        6,
        "without it, only a head that was kept elsewhere does"
    );
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
    let path = directory.path().join("l.sqlite");
    let mut ledger = open(&path);
    let mut kept = Snapshot::open(&path).unwrap();
    for n in 0..20 {
        append(&mut ledger, "default", n).unwrap();
        let state = fold(&ledger, kept.state().clone(), Damage::Refused).unwrap();
        assert_eq!(state, folded(&ledger));
        if n % 7 == 0 {
            kept.save(&state).unwrap();
            assert_eq!(*Snapshot::open(&path).unwrap().state(), state);
        }
    }
    let before = Snapshot::open(&path).unwrap();
    assert_eq!(before.state().seq, 16);
    // Another process wrote it since: what it holds is not taken for what this one wrote.
    let mut other = Snapshot::open(&path).unwrap();
    other.save(&State { seq: 1_000, ..State::default() }).unwrap();
    kept.save(&folded(&ledger)).unwrap();
    assert_eq!(*Snapshot::open(&path).unwrap().state(), folded(&ledger));
    other.save(&State { seq: 1_000, ..State::default() }).unwrap();
    let beyond = Snapshot::open(&path).unwrap().state().clone();
    assert_eq!(
        fold(&ledger, beyond, Damage::Refused).unwrap().seq,
        21,
        "a snapshot beyond the log is not trusted"
    );
}

#[test]
fn a_changed_snapshot_is_found_and_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("l.sqlite");
    let mut ledger = open(&path);
    for n in 0..3 {
        append(&mut ledger, "default", n).unwrap();
    }
    let state = folded(&ledger);
    let changes = [
        "UPDATE parts SET body = cast(replace(cast(body as text), '2', '3') as blob) WHERE key LIKE 'variables%'",
        "DELETE FROM parts WHERE key LIKE 'variables%'",
        "UPDATE parts SET key = 'subject other' WHERE key = 'subject default'",
        "UPDATE head SET seq = 3",
    ];
    for change in changes {
        Snapshot::open(&path).unwrap().save(&state).unwrap();
        verify(&path, None).unwrap();
        let connection = rusqlite::Connection::open(snapshot::path(&path)).unwrap();
        assert_eq!(connection.execute(change, []).unwrap(), 1, "{change}");
        drop(connection);
        if change.contains("parts") {
            verify(&path, None).unwrap_err();
        }
        let kept = Snapshot::open(&path).unwrap().state().clone();
        assert_eq!(fold(&ledger, kept, Damage::Refused).unwrap(), state, "{change}");
    }
    // One that is whole in itself, but not what the entries give.
    let mut other = state.clone();
    other.variables = Default::default();
    Snapshot::open(&path).unwrap().save(&other).unwrap();
    assert!(verify(&path, None).unwrap_err().reason.contains("snapshot"));
}

#[test]
fn a_large_snapshot_is_read_as_it_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("l.sqlite");
    drop(open(&path));
    let subject = |n: u64| (format!("default/m{n:05}"), Subject { entries: n, last_version: 1 });
    let state = State { seq: 1, subjects: (0..5_000).map(subject).collect(), ..State::default() };
    Snapshot::open(&path).unwrap().save(&state).unwrap();
    let read = Snapshot::open(&path).unwrap();
    assert!(read.made_anew().is_none());
    assert_eq!(*read.state(), state);
    for n in [0, 31, 32, 2_500, 4_999] {
        let connection = rusqlite::Connection::open(snapshot::path(&path)).unwrap();
        let change = "UPDATE parts SET body = ?2 WHERE key = 'subject ' || ?1";
        for body in [r#"{"entries":9999,"last_version":1}"#, "no JSON"] {
            let key = subject(n).0;
            connection.execute(change, rusqlite::params![key, body.as_bytes()]).unwrap();
            let error = snapshot::read(&path).unwrap_err().to_string();
            assert!(
                error.contains("changed after it was written") || error.contains(&key),
                "{error}"
            );
        }
        drop(connection);
        Snapshot::open(&path).unwrap().save(&state).unwrap();
    }
}

#[test]
fn what_was_written_and_is_not_there_is_missed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("l.sqlite");
    let mut ledger = open(&path);
    let copy = directory.path().join("copy.sqlite");
    ledger.backup_to(&copy).unwrap();
    for n in 0..3 {
        append(&mut ledger, "default", n).unwrap();
    }
    drop(ledger);
    let refused = || {
        fold(&Ledger::open_read_only(&path).unwrap(), State::default(), Damage::Refused)
            .unwrap_err()
    };
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute("DELETE FROM entries WHERE seq > 3", [])
        .unwrap();
    assert!(matches!(refused(), LedgerError::CutOff { seq: 4, last: 3 }));
    assert_eq!(verify(&path, None).unwrap_err().seq, 4);
    // An older copy in its place is whole in itself.
    std::fs::copy(&copy, &path).unwrap();
    assert!(matches!(refused(), LedgerError::CutOff { seq: 4, last: 1 }));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(
        ledger::fold_nothing(&path, Damage::Refused),
        Err(LedgerError::CutOff { seq: 4, last: 0 })
    ));
    assert_eq!(
        ledger::fold_nothing(&path, Damage::Accepted).unwrap(),
        State::default(),
        "somebody said so"
    );
    std::fs::copy(&copy, &path).unwrap();
    let state =
        fold(&Ledger::open_read_only(&path).unwrap(), State::default(), Damage::Accepted).unwrap();
    assert_eq!(state.seq, 1);
    drop(open(&path));
    verify(&path, None).unwrap();
}

#[test]
fn a_broken_chain_is_not_folded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("l.sqlite");
    let mut ledger = open(&path);
    let mut kept = Snapshot::open(&path).unwrap();
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
        let ledger = Ledger::open_read_only(&path).unwrap();
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
    let state = folded(&ledger);
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
            let line = lines
                .find(|line| line.as_ref().is_ok_and(|line| line.contains("appended ")))
                .unwrap()
                .unwrap();
            acknowledged = line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
        }
        child.kill().unwrap();
        for line in lines.map_while(Result::ok).filter(|line| line.contains("appended ")) {
            acknowledged = line.rsplit(' ').next().unwrap().parse().unwrap_or(acknowledged);
        }
        child.wait().unwrap();
        let verified = verify(&path, None).unwrap();
        assert!(
            verified.entries >= acknowledged,
            "{} entries, {acknowledged} acknowledged",
            verified.entries
        );
    }
    assert_ne!(verify(&path, None).unwrap().head, Digest::ZERO);
}
