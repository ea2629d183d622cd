//! Where a test's ledger is, and what it writes.

use domain::event::{Entry, Event};
use domain::{DataDirectory, Digest, EnvironmentName, State};
use ledger::{Damage, Expected, Ledger, LedgerError, Location, NewEntry, fold};
use tempfile::TempDir;

/// One event of every kind.
const SHAPES: &str = include_str!("../../../domain/tests/events_v1.jsonl");

/// A data directory of its own, and a place for a ledger that is not there yet.
pub struct Home {
    place: fn(&DataDirectory) -> Location,
    pub data: DataDirectory,
    pub location: Location,
    _directory: TempDir,
}

impl Home {
    pub fn new(place: fn(&DataDirectory) -> Location) -> Home {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDirectory::new(directory.path());
        Home { place, location: place(&data), data, _directory: directory }
    }

    /// Another one, in the same store.
    pub fn another(&self) -> Home {
        Home::new(self.place)
    }

    /// Becomes the ledger's writer.
    pub fn open(&self) -> Ledger {
        Ledger::open(&self.location, 1, "test").unwrap()
    }
}

pub fn shapes() -> Vec<Event> {
    SHAPES.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The whole of what a ledger says.
pub fn folded(ledger: &Ledger) -> State {
    fold(ledger, State::default(), Damage::Refused).unwrap()
}

pub fn append_event(
    ledger: &mut Ledger,
    subject: &str,
    seen: u64,
    event: &Event,
) -> Result<Entry, LedgerError> {
    ledger.append(NewEntry { at_ms: 7, actor: "ann", subject, expected_subject_seq: seen, event })
}

/// Appends some event. Gives the entry's number.
pub fn append(ledger: &mut Ledger, subject: &str, seen: u64) -> Result<u64, LedgerError> {
    let event = Event::VariableSet {
        environment: EnvironmentName::default(),
        model: None,
        name: "A".into(),
        value: Some(seen.to_string()),
        secret: None,
        proposal: None,
    };
    append_event(ledger, subject, seen, &event).map(|entry| entry.seq)
}

/// An entry with this hash is expected.
pub fn expected(head: Digest) -> Expected {
    Expected { head: Some(head), checkpoint: None }
}
