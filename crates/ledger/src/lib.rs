//! The append-only, hash-chained event log. It decides nothing: it keeps what it is given, in
//! order, for good, in a store that [`Log`] describes; and beside it, for a time, what is only
//! telemetry.

mod chain;
mod checkpoints;
mod error;
mod export;
mod fold;
mod head;
mod kinds;
mod leases;
mod location;
pub mod log;
mod names;
pub mod proof;
pub mod scan;
pub mod snapshot;
mod sqlite;
pub mod telemetry;
mod tree;
mod verify;

use std::path::Path;

use domain::Digest;
use domain::event::{BODY_VERSION, Entry, Event, PLATFORM};
use head::HeadMarker;
use proof::Frontier;

pub use chain::Row;
pub use checkpoints::origin;
pub use error::LedgerError;
pub use export::{ExportedEntry, NotProved, rfc3339};
pub use fold::{Damage, fold, fold_nothing};
pub use leases::Leases;
pub use location::{Access, Location, LocationError};
pub use log::{KeptCheckpoint, Log};
pub use names::Names;
pub use scan::{Page, Reach, Scan, Selection};
pub use snapshot::Snapshot;
pub use telemetry::{Observed, Telemetry};
pub use verify::{Broken, Expected, Verified, verify};

/// An entry to be.
pub struct NewEntry<'a> {
    /// In milliseconds since 1970.
    pub at_ms: u64,
    /// Who.
    pub actor: &'a str,
    /// What it concerns.
    pub subject: &'a str,
    /// The number of the subject's entries that the caller has seen.
    pub expected_subject_seq: u64,
    /// What happened.
    pub event: &'a Event,
}

/// An open ledger.
pub struct Ledger {
    location: Location,
    log: Box<dyn Log>,
    /// Of its one writer.
    writer: Option<Writer>,
}

struct Writer {
    epoch: u64,
    marker: HeadMarker,
    /// The right edge of the tree over all entries.
    frontier: Frontier,
    tree_made_anew: bool,
}

/// Brings the tree over the entries up to date, beside a running writer: of a ledger that an
/// earlier program wrote, so that to open it takes no longer than another.
pub fn prepare(location: &Location) -> Result<(), LedgerError> {
    catch_up(location.open(Access::Write)?.as_mut()).map(|_| ())
}

/// In parts, so that nobody waits for long who wants to append. Gives whether the tree had to be
/// made anew.
fn catch_up(log: &mut dyn Log) -> Result<bool, LedgerError> {
    let mut made_anew = false;
    while tree::is_behind(log.entries())? {
        let appending = log.begin()?;
        kinds::check(appending.entries())?;
        appending.lay_out()?;
        made_anew |= tree::catch_up(appending.as_ref(), false)?.made_anew;
        appending.commit()?;
    }
    Ok(made_anew)
}

impl Ledger {
    /// Opens or makes a ledger and becomes its one writer; whoever wrote before is fenced off.
    /// Whether it is whole is [`fold`]'s business, before this.
    pub fn open(
        location: &Location,
        at_ms: u64,
        program_version: &str,
    ) -> Result<Ledger, LedgerError> {
        let mut log = location.open(Access::Write)?;
        let tree_made_anew = catch_up(log.as_mut())?;
        let (epoch, entry, frontier) = become_writer(log.as_mut(), at_ms, program_version)?;
        let marker = HeadMarker::open(&location.head()).map_err(marker_failed)?;
        marker.set(entry.seq, entry.hash).map_err(marker_failed)?;
        let writer = Writer { epoch, marker, frontier, tree_made_anew };
        Ok(Ledger { location: location.clone(), log, writer: Some(writer) })
    }

    /// Opens a ledger to read it, beside a running writer or without one.
    pub fn open_read_only(location: &Location) -> Result<Ledger, LedgerError> {
        let log = location.open(Access::Read)?;
        Ok(Ledger { location: location.clone(), log, writer: None })
    }

    /// Appends one entry. When it returns, the entry is on disk.
    pub fn append(&mut self, new: NewEntry) -> Result<Entry, LedgerError> {
        let writer = self.writer.as_mut().ok_or(LedgerError::ReadOnly)?;
        let entry = append(self.log.as_mut(), writer.epoch, &mut writer.frontier, new)?;
        // It only helps to find out later whether something is missing: the entry is on disk
        // without it.
        let _ = writer.marker.set(entry.seq, entry.hash);
        Ok(entry)
    }

    /// Which writer this is; `None` if it only reads.
    pub fn writer_epoch(&self) -> Option<u64> {
        self.writer.as_ref().map(|writer| writer.epoch)
    }

    /// Whether the tree that was kept was not of its entries, so that it was made again.
    pub fn tree_made_anew(&self) -> bool {
        self.writer.as_ref().is_some_and(|writer| writer.tree_made_anew)
    }

    /// Entries after `after_seq`, in order, at most `limit`.
    pub fn read(&self, after_seq: u64, limit: usize) -> Result<Vec<Entry>, LedgerError> {
        let mut entries = vec![];
        self.log.entries().read_after(after_seq, limit, |row, hash| {
            entries.push(row.into_entry(hash)?);
            Ok(())
        })?;
        Ok(entries)
    }

    /// Looks at the entries after `after_seq`.
    pub fn scan(
        &self,
        after_seq: u64,
        selection: &Selection,
        reach: Reach,
    ) -> Result<Scan, LedgerError> {
        scan::entries(self.log.entries(), after_seq, selection, reach)
    }

    /// The last entry's number and hash.
    pub fn head(&self) -> Result<(u64, Digest), LedgerError> {
        let newest = self.log.entries().newest()?;
        Ok(newest.map_or((0, Digest::ZERO), |newest| (newest.seq, newest.hash)))
    }

    /// Writes a consistent copy to a new SQLite file; half a copy is removed.
    pub fn backup_to(&self, path: &Path) -> Result<(), LedgerError> {
        self.log.copy_to(path)
    }
}

fn marker_failed(error: std::io::Error) -> LedgerError {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => LedgerError::Full,
        std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied => {
            LedgerError::ReadOnly
        }
        _ => LedgerError::Corrupt(format!("its head marker cannot be used: {error}")),
    }
}

/// Takes the next epoch and says so in an entry, in one step, so that no two processes ever take the
/// same.
fn become_writer(
    log: &mut dyn Log,
    at_ms: u64,
    program_version: &str,
) -> Result<(u64, Entry, Frontier), LedgerError> {
    let appending = log.begin()?;
    appending.lay_out()?;
    kinds::check(appending.entries())?;
    let newest = appending.entries().newest()?;
    let epoch = newest.map_or(0, |newest| newest.writer_epoch) + 1;
    let event = Event::WriterStarted { program_version: program_version.into() };
    let expected_subject_seq = appending.entries().count_of(PLATFORM)?;
    let new =
        NewEntry { at_ms, actor: PLATFORM, subject: PLATFORM, expected_subject_seq, event: &event };
    let mut frontier = Frontier::default();
    let entry = insert(appending.as_ref(), epoch, &mut frontier, new)?;
    appending.commit()?;
    Ok((epoch, entry, frontier))
}

/// Appends one entry as the writer of an epoch.
fn append(
    log: &mut dyn Log,
    writer_epoch: u64,
    frontier: &mut Frontier,
    new: NewEntry,
) -> Result<Entry, LedgerError> {
    let appending = log.begin()?;
    let mut next = frontier.clone();
    let entry = insert(appending.as_ref(), writer_epoch, &mut next, new)?;
    appending.commit()?;
    *frontier = next;
    Ok(entry)
}

/// Adds an entry at the end, if this is still the writer and nobody has added to the subject since.
/// It stays only if it is committed.
fn insert(
    appending: &dyn log::Append,
    writer_epoch: u64,
    frontier: &mut Frontier,
    new: NewEntry,
) -> Result<Entry, LedgerError> {
    let (seq, epoch, previous_hash) = match appending.entries().newest()? {
        Some(newest) => (newest.seq, newest.writer_epoch, newest.hash),
        None => (0, 0, Digest::ZERO),
    };
    if epoch > writer_epoch {
        return Err(LedgerError::Fenced { newer: epoch });
    }
    let found = appending.entries().count_of(new.subject)?;
    if found != new.expected_subject_seq {
        let subject = new.subject.to_string();
        return Err(LedgerError::Conflict { subject, expected: new.expected_subject_seq, found });
    }
    let row = Row {
        seq: seq + 1,
        at_ms: new.at_ms,
        actor: new.actor.to_string(),
        subject: new.subject.to_string(),
        subject_seq: found + 1,
        writer_epoch,
        kind: new.event.kind().to_string(),
        body_version: BODY_VERSION,
        body: new.event.body(),
        previous_hash,
    };
    let hash = row.hash();
    if frontier.size() != seq {
        // The first time, or another process wrote.
        *frontier = tree::catch_up(appending, true)?.frontier;
    }
    appending.insert(&row, hash)?;
    tree::append(appending, frontier, hash)?;
    // Read back before it is committed: what this program cannot read must never be in the log.
    Ok(row.into_entry(hash)?)
}
