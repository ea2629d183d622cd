//! What every store of a ledger does, whoever reads, writes or is killed: the suite that each of
//! them runs. Damage to what is stored is each store's own.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::process::{Command, Stdio};
use std::sync::{Barrier, Mutex};

use domain::event::{BODY_VERSION, Event, Measurement, PLATFORM};
use domain::{After, DataDirectory, DeploymentId, Digest, State};
use ledger::log::Range;
use ledger::{
    Access, Damage, Expected, Ledger, LedgerError, Location, Reach, Row, Selection, Snapshot, fold,
    verify,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::home::{Home, append, append_event, expected, folded, shapes};

/// Runs the suite for a store: `suite!(place)`, where `place` gives the location of a data
/// directory's ledger: an empty one the first time, and the same from then on.
macro_rules! suite {
    ($place:expr) => {
        $crate::conformance::suite! { $place;
            subjects_do_not_conflict_with_each_other
            whoever_looks_for_what_is_rare_is_told_how_far_it_was_looked
            a_later_writer_fences_off_the_earlier
            a_snapshot_gives_the_same_state
            a_fold_of_a_snapshot_and_the_rest_is_the_fold_of_all
            a_copy_is_whole
            many_threads_append_each_to_its_subject
            of_writers_that_open_at_once_exactly_one_may_write
            an_event_that_could_not_be_read_again_is_not_written
            a_reader_cannot_write_and_sees_what_a_writer_appends
            unknown_events_are_never_written_after
            what_is_not_committed_never_was
            questions_are_answered_alike
        }

        /// Not a test of its own: the process that `kill_9_at_any_moment` kills.
        #[test]
        fn child() {
            $crate::conformance::child($place)
        }

        #[test]
        fn kill_9_at_any_moment() {
            // As the test is named within this program.
            let child = concat!(module_path!(), "::child").split_once("::").unwrap().1;
            $crate::conformance::kill_9_at_any_moment($crate::home::Home::new($place), child)
        }
    };
    ($place:expr; $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                $crate::conformance::$case($crate::home::Home::new($place))
            }
        )*
    };
}
pub(crate) use suite;

pub fn subjects_do_not_conflict_with_each_other(home: Home) {
    let mut ledger = home.open();
    assert_eq!(append(&mut ledger, "default/a", 0).unwrap(), 2);
    assert_eq!(append(&mut ledger, "default/b", 0).unwrap(), 3);
    assert_eq!(append(&mut ledger, "default/a", 1).unwrap(), 4);
    let conflict = append(&mut ledger, "default/a", 1).unwrap_err();
    assert!(matches!(conflict, LedgerError::Conflict { expected: 1, found: 2, .. }), "{conflict}");
    assert_eq!(ledger.head().unwrap().0, 4);
}

pub fn whoever_looks_for_what_is_rare_is_told_how_far_it_was_looked(home: Home) {
    let mut ledger = home.open();
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

pub fn a_later_writer_fences_off_the_earlier(home: Home) {
    let mut old = home.open();
    append(&mut old, "default", 0).unwrap();
    let mut new = home.open();
    assert!(matches!(append(&mut old, "default", 1), Err(LedgerError::Fenced { newer: 2 })));
    append(&mut new, "default", 1).unwrap();
    verify(&home.location, &Expected::default()).unwrap();
}

pub fn a_snapshot_gives_the_same_state(home: Home) {
    let mut ledger = home.open();
    let mut kept = Snapshot::open(&home.location).unwrap();
    for n in 0..20 {
        append(&mut ledger, "default", n).unwrap();
        let state = fold(&ledger, kept.state().clone(), Damage::Refused).unwrap();
        assert_eq!(state, folded(&ledger));
        if n % 7 == 0 {
            kept.save(&state).unwrap();
            assert_eq!(*Snapshot::open(&home.location).unwrap().state(), state);
        }
    }
    let before = Snapshot::open(&home.location).unwrap();
    assert_eq!(before.state().seq, 16);
    // Another process wrote it since: what it holds is not taken for what this one wrote.
    let mut other = Snapshot::open(&home.location).unwrap();
    other.save(&State { seq: 1_000, ..State::default() }).unwrap();
    kept.save(&folded(&ledger)).unwrap();
    assert_eq!(*Snapshot::open(&home.location).unwrap().state(), folded(&ledger));
    other.save(&State { seq: 1_000, ..State::default() }).unwrap();
    let beyond = Snapshot::open(&home.location).unwrap().state().clone();
    assert_eq!(
        fold(&ledger, beyond, Damage::Refused).unwrap().seq,
        21,
        "a snapshot beyond the log is not trusted"
    );
}

pub fn a_copy_is_whole(home: Home) {
    let mut ledger = home.open();
    append(&mut ledger, "default", 0).unwrap();
    // Whatever the store, a copy is a file that is a ledger by itself.
    let copies = DataDirectory::new(home.data.root().join("copies"));
    std::fs::create_dir(copies.root()).unwrap();
    ledger.backup_to(&copies.ledger()).unwrap();
    let copy = Location::of(&copies);
    assert_eq!(verify(&copy, &expected(ledger.head().unwrap().1)).unwrap().entries, 2);
}

pub fn many_threads_append_each_to_its_subject(home: Home) {
    let ledger = Mutex::new(home.open());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let ledger = &ledger;
            scope.spawn(move || {
                for seen in 0..25 {
                    let subject = format!("default/m{thread}");
                    append_event(
                        &mut ledger.lock().unwrap(),
                        &subject,
                        seen,
                        &Event::ModelRemoved { proposal: None },
                    )
                    .unwrap();
                }
            });
        }
    });
    let state = folded(&ledger.lock().unwrap());
    assert!((0..4).all(|thread| state.entries_of(&format!("default/m{thread}")) == 25));
    assert_eq!(verify(&home.location, &Expected::default()).unwrap().entries, 101);
}

pub fn of_writers_that_open_at_once_exactly_one_may_write(home: Home) {
    const WRITERS: u64 = 8;
    drop(home.open());
    let barrier = Barrier::new(WRITERS as usize);
    let ledgers: Vec<Ledger> = std::thread::scope(|scope| {
        let open = || {
            barrier.wait();
            home.open()
        };
        let threads: Vec<_> = (0..WRITERS).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let appended: Vec<_> = ledgers
        .into_iter()
        .map(|mut ledger| {
            append_event(&mut ledger, "default/a", 0, &Event::ModelRemoved { proposal: None })
        })
        .collect();
    assert_eq!(appended.iter().filter(|result| result.is_ok()).count(), 1);
    let newest = WRITERS + 1;
    assert!(appended.iter().all(|result| match result {
        Ok(entry) => entry.writer_epoch == newest,
        Err(error) => matches!(error, LedgerError::Fenced { newer } if *newer == newest),
    }));
    verify(&home.location, &Expected::default()).unwrap();
}

pub fn an_event_that_could_not_be_read_again_is_not_written(home: Home) {
    let mut ledger = home.open();
    // JSON has no NaN: it would be written as null, which is no number.
    let candidate = Measurement { p50_ms: f64::NAN, p99_ms: 1.0, memory_mb: 1.0, requests: 1 };
    let event =
        Event::GatesPassed { deployment: DeploymentId(1), candidate, live: None, elapsed_ms: 1 };
    assert!(matches!(
        append_event(&mut ledger, "default/a", 0, &event),
        Err(LedgerError::Unknown(_))
    ));
    append_event(&mut ledger, "default/a", 0, &Event::ModelRemoved { proposal: None }).unwrap();
    drop(ledger);
    assert_eq!(folded(&home.open()).entries_of("default/a"), 1);
}

pub fn a_reader_cannot_write_and_sees_what_a_writer_appends(home: Home) {
    let mut writer = home.open();
    let mut reader = Ledger::open_read_only(&home.location).unwrap();
    append_event(&mut writer, "default/a", 0, &Event::ModelRemoved { proposal: None }).unwrap();
    assert_eq!(reader.head().unwrap(), writer.head().unwrap());
    assert_eq!(
        verify(&home.location, &Expected::default()).unwrap().entries,
        2,
        "verified beside the running writer"
    );
    assert!(
        append_event(&mut reader, "default/a", 1, &Event::ModelRemoved { proposal: None }).is_err()
    );
    assert!(Ledger::open_read_only(&home.another().location).is_err());
}

pub fn a_fold_of_a_snapshot_and_the_rest_is_the_fold_of_all(home: Home) {
    let config = ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() };
    let picks = prop::collection::vec((0usize..15, 0usize..3), 1..40);
    let checked = TestRunner::new(config).run(&(picks, 1usize..20), |(picks, snapshot_every)| {
        let home = home.another();
        let mut ledger = home.open();
        let mut kept = Snapshot::open(&home.location).unwrap();
        let (events, subjects) = (shapes(), ["default/a", "default/b", PLATFORM]);
        let mut seen = [0, 0, 1];
        for (count, (event, subject)) in picks.into_iter().enumerate() {
            append_event(&mut ledger, subjects[subject], seen[subject], &events[event]).unwrap();
            seen[subject] += 1;
            if count % snapshot_every == 0 {
                kept.save(&folded(&ledger)).unwrap();
            }
        }
        let mut all = State::default();
        ledger.read(0, 1_000).unwrap().iter().for_each(|entry| all.apply(entry));
        prop_assert_eq!(&folded(&ledger), &all);
        let kept = Snapshot::open(&home.location).unwrap().state().clone();
        prop_assert_eq!(fold(&ledger, kept, Damage::Refused).unwrap(), all);
        verify(&home.location, &Expected::default()).unwrap();
        Ok(())
    });
    checked.unwrap();
}

/// The row after the newest of a log, of some kind.
fn next_row(ledger: &Ledger, kind: &str, body_version: u32) -> (Row, Digest) {
    let (seq, previous_hash) = ledger.head().unwrap();
    let row = Row {
        seq: seq + 1,
        at_ms: 7,
        actor: "ann".into(),
        subject: "default/new".into(),
        subject_seq: 1,
        writer_epoch: 1,
        kind: kind.into(),
        body_version,
        body: b"{}".to_vec(),
        previous_hash,
    };
    let hash = row.hash();
    (row, hash)
}

pub fn unknown_events_are_never_written_after(home: Home) {
    for (kind, version) in [("teleported", BODY_VERSION), ("model_removed", BODY_VERSION + 1)] {
        let home = home.another();
        let ledger = home.open();
        let (row, hash) = next_row(&ledger, kind, version);
        let mut log = home.location.open(Access::Write).unwrap();
        let appending = log.begin().unwrap();
        appending.insert(&row, hash).unwrap();
        appending.commit().unwrap();
        let refused = Ledger::open(&home.location, 1, "test").err().unwrap();
        assert!(matches!(refused, LedgerError::Unknown(_)), "{refused}");
        let refused = fold(&ledger, State::default(), Damage::Refused).unwrap_err();
        assert!(matches!(refused, LedgerError::Unknown(_)), "{refused}");
    }
}

pub fn what_is_not_committed_never_was(home: Home) {
    let mut ledger = home.open();
    let head = ledger.head().unwrap();
    let (row, hash) = next_row(&ledger, "model_removed", BODY_VERSION);
    let mut log = home.location.open(Access::Write).unwrap();
    let appending = log.begin().unwrap();
    appending.insert(&row, hash).unwrap();
    assert_eq!(appending.entries().newest().unwrap().unwrap().hash, hash);
    assert_eq!(ledger.head().unwrap(), head, "nobody else sees it yet");
    drop(appending);
    assert_eq!(log.entries().newest().unwrap().unwrap().hash, head.1);
    append(&mut ledger, "default/new", 0).unwrap();
    assert_eq!(verify(&home.location, &Expected::default()).unwrap().entries, 2);
}

pub fn questions_are_answered_alike(home: Home) {
    let mut blank = home.location.open(Access::Write).unwrap();
    assert!(!blank.entries().has_any().unwrap(), "without its tables");
    let appending = blank.begin().unwrap();
    appending.lay_out().unwrap();
    appending.commit().unwrap();
    let entries = blank.entries();
    assert!(!entries.has_any().unwrap() && entries.newest().unwrap().is_none());
    assert!(entries.next_kind("", 0).unwrap().is_none());

    let mut ledger = home.open();
    let events = shapes();
    for (seen, event) in events.iter().enumerate() {
        append_event(&mut ledger, "default/a", seen as u64, event).unwrap();
        append(&mut ledger, "default/b", seen as u64).unwrap();
    }
    let log = home.location.open(Access::Read).unwrap();
    let (entries, count) = (log.entries(), events.len() as u64);
    assert!(entries.has_any().unwrap());
    let (seq, hash) = ledger.head().unwrap();
    let newest = entries.newest().unwrap().unwrap();
    assert_eq!((newest.seq, newest.writer_epoch, newest.hash), (seq, 1, hash));
    assert_eq!(entries.hash_of(seq).unwrap(), Some(hash));
    assert_eq!(entries.hash_of(seq + 1).unwrap(), None);
    assert_eq!(entries.count_of("default/a").unwrap(), count);
    assert_eq!(entries.count_of("default/c").unwrap(), 0);
    assert_eq!(entries.seq_of("default/b", 2).unwrap(), Some(5));
    assert_eq!(entries.seq_of("default/b", count + 1).unwrap(), None);
    let (mut kinds, mut last) = (vec![], (String::new(), 0));
    while let Some(next) = entries.next_kind(&last.0, last.1).unwrap() {
        kinds.push(next.0.clone());
        last = next;
    }
    let written = events.iter().map(Event::kind).chain(["writer_started", "variable_set"]);
    let written: BTreeSet<String> = written.map(String::from).collect();
    assert_eq!(kinds, Vec::from_iter(written));

    let read = |range: Range, breaks_at: usize| {
        let mut found = vec![];
        let each = &mut |row: ledger::log::Found| {
            found.push((row.seq, row.stored.is_some()));
            Ok(match found.len() == breaks_at {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            })
        };
        entries.read(range, each).unwrap();
        found
    };
    let of_b = Range { subject: Some("default/b"), rows_max: 2, ..Range::after(1) };
    assert_eq!(read(of_b, 9), [(5, true), (7, true)]);
    assert_eq!(read(Range::after(seq - 1), 9), [(seq, true)]);
    assert_eq!(read(Range::after(0), 1), [(1, true)]);
    assert!(read(Range::after(u64::MAX), 9).is_empty());
    let started = ["writer_started".to_string()];
    let kinds = Some(started.as_slice());
    assert_eq!(read(Range { kinds, ..Range::after(0) }, 1), [(1, true)]);
    let of_b = Range { kinds, ..of_b };
    assert_eq!(read(of_b, 9), [(5, false), (7, false)], "numbers only");
}

const CHILD: &str = "LEDGER_TEST_CHILD";

/// Appends until it is killed, if it was started for that.
pub fn child(place: fn(&DataDirectory) -> Location) {
    let Ok(root) = std::env::var(CHILD) else { return };
    let mut ledger = Ledger::open(&place(&DataDirectory::new(root)), 1, "test").unwrap();
    let state = folded(&ledger);
    let mut seen = state.entries_of("default");
    loop {
        let seq = append(&mut ledger, "default", seen).unwrap();
        seen += 1;
        println!("appended {seq}");
    }
}

pub fn kill_9_at_any_moment(home: Home, child: &str) {
    let mut acknowledged = 0;
    for round in 0..24 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", child, "--nocapture", "--test-threads=1"])
            .env(CHILD, home.data.root())
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
        let verified = verify(&home.location, &Expected::default()).unwrap();
        assert!(
            verified.entries >= acknowledged,
            "{} entries, {acknowledged} acknowledged",
            verified.entries
        );
    }
    assert_ne!(verify(&home.location, &Expected::default()).unwrap().head, Digest::ZERO);
}
