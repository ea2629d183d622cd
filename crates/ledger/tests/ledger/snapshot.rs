//! The snapshot beside a ledger, an SQLite file whatever the ledger's store: what is changed in it is
//! found, and it is made again.

use domain::State;
use domain::state::Subject;
use ledger::{Damage, Expected, LedgerError, Location, Snapshot, fold, snapshot, verify};

use crate::home::{Home, append, folded};

fn home() -> Home {
    Home::new(Location::of)
}

#[test]
fn a_changed_snapshot_is_found_and_made_again() {
    let home = home();
    let mut ledger = home.open();
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
        Snapshot::open(&home.location).unwrap().save(&state).unwrap();
        verify(&home.location, &Expected::default()).unwrap();
        let connection = rusqlite::Connection::open(home.location.snapshot()).unwrap();
        assert_eq!(connection.execute(change, []).unwrap(), 1, "{change}");
        drop(connection);
        if change.contains("parts") {
            verify(&home.location, &Expected::default()).unwrap_err();
        }
        let kept = Snapshot::open(&home.location).unwrap().state().clone();
        assert_eq!(fold(&ledger, kept, Damage::Refused).unwrap(), state, "{change}");
    }
    // One that is whole in itself, but not what the entries give.
    let mut other = state.clone();
    other.variables = Default::default();
    Snapshot::open(&home.location).unwrap().save(&other).unwrap();
    assert!(verify(&home.location, &Expected::default()).unwrap_err().reason.contains("snapshot"));
}

#[test]
fn a_large_snapshot_is_read_as_it_was_written() {
    let home = home();
    drop(home.open());
    let subject = |n: u64| (format!("default/m{n:05}"), Subject { entries: n, last_version: 1 });
    let state = State { seq: 1, subjects: (0..5_000).map(subject).collect(), ..State::default() };
    Snapshot::open(&home.location).unwrap().save(&state).unwrap();
    let read = Snapshot::open(&home.location).unwrap();
    assert!(read.made_anew().is_none());
    assert_eq!(*read.state(), state);
    for n in [0, 31, 32, 2_500, 4_999] {
        let connection = rusqlite::Connection::open(home.location.snapshot()).unwrap();
        let change = "UPDATE parts SET body = ?2 WHERE key = 'subject ' || ?1";
        for body in [r#"{"entries":9999,"last_version":1}"#, "no JSON"] {
            let key = subject(n).0;
            connection.execute(change, rusqlite::params![key, body.as_bytes()]).unwrap();
            let error = snapshot::read(&home.location).unwrap_err().to_string();
            assert!(
                error.contains("changed after it was written") || error.contains(&key),
                "{error}"
            );
        }
        drop(connection);
        Snapshot::open(&home.location).unwrap().save(&state).unwrap();
    }
}

#[test]
fn a_snapshot_that_is_only_out_of_reach_is_kept() {
    let home = home();
    let mut ledger = home.open();
    append(&mut ledger, "default", 0).unwrap();
    let state = folded(&ledger);
    Snapshot::open(&home.location).unwrap().save(&state).unwrap();
    let path = home.location.snapshot();
    // As `sqlite3` or a copying program in another process may lock it.
    let holder = rusqlite::Connection::open(&path).unwrap();
    holder.pragma_update(None, "locking_mode", "EXCLUSIVE").unwrap();
    holder.execute_batch("BEGIN EXCLUSIVE; UPDATE head SET seq = seq; COMMIT").unwrap();
    let refused = Snapshot::open(&home.location).err().unwrap();
    assert!(matches!(refused, LedgerError::Busy(_)), "{refused}");
    drop(holder);
    let read = Snapshot::open(&home.location).unwrap();
    assert!(read.made_anew().is_none());
    assert_eq!(*read.state(), state);
    drop(read);
    // Opening it fails for a reason outside the file.
    let aside = path.with_extension("aside");
    std::fs::rename(&path, &aside).unwrap();
    std::os::unix::fs::symlink(&path, &path).unwrap();
    assert!(matches!(Snapshot::open(&home.location), Err(LedgerError::Store(_))));
    assert!(path.is_symlink(), "it was removed");
    std::fs::rename(&aside, &path).unwrap();
    assert_eq!(*Snapshot::open(&home.location).unwrap().state(), state);
}
