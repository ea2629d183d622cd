//! The append-only, hash-chained event log in SQLite. It decides nothing: it keeps what it is
//! given, in order, for good; and beside it, for a time, what is only telemetry.

mod chain;
mod fold;
mod head;
mod kinds;
pub mod scan;
pub mod snapshot;
pub mod telemetry;
mod verify;

use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::event::{BODY_VERSION, Entry, Event, PLATFORM, UnknownEvent};

use domain::Digest;
use head::HeadMarker;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior, ffi, params,
};

pub use chain::Row;
pub use fold::{Damage, fold, fold_nothing};
pub use scan::{Page, Reach, Scan, Selection};
pub use snapshot::Snapshot;
pub use telemetry::{Observed, Telemetry};
pub use verify::{Broken, Verified, verify};

/// How long a statement waits for another process's, in milliseconds.
const BUSY_MS_MAX: u64 = 5_000;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS entries (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    subject TEXT NOT NULL,
    subject_seq INTEGER NOT NULL,
    writer_epoch INTEGER NOT NULL,
    kind TEXT NOT NULL,
    body_version INTEGER NOT NULL,
    body BLOB NOT NULL,
    previous_hash BLOB NOT NULL,
    hash BLOB NOT NULL,
    UNIQUE (subject, subject_seq)
) STRICT;";

/// Why the ledger did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Somebody else wrote to the subject in the meantime: read again and decide again.
    #[error("`{subject}` has {found} entries, not {expected}: it changed in the meantime")]
    Conflict {
        /// Whose.
        subject: String,
        /// What the caller knew.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// Another process became the writer.
    #[error("another process (writer epoch {newer}) writes this ledger now")]
    Fenced {
        /// Its epoch.
        newer: u64,
    },
    /// No room on disk. Nothing was written.
    #[error("the disk is full: the ledger could not be written")]
    Full,
    /// The disk or the file takes no writes. Nothing was written.
    #[error("the ledger cannot be written: its disk or its file is read-only")]
    ReadOnly,
    /// Entries that were written are not there.
    #[error(
        "the ledger ends at entry {last}, and entry {seq}, which was written, is not in it: it was cut off or replaced"
    )]
    CutOff {
        /// What is missing.
        seq: u64,
        /// What is there.
        last: u64,
    },
    /// Written by a newer program.
    #[error(transparent)]
    Unknown(#[from] UnknownEvent),
    /// Not a ledger, or damaged.
    #[error("the ledger is damaged: {0}")]
    Corrupt(String),
    /// Anything else of SQLite.
    #[error("the ledger could not be used: {0}")]
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> LedgerError {
        // SQLite reports a full disk under its own code, except where it could not extend the
        // shared memory of its log.
        let extended = error.sqlite_error().map(|error| error.extended_code);
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => LedgerError::Full,
            _ if extended == Some(ffi::SQLITE_IOERR_SHMSIZE) => LedgerError::Full,
            Some(ErrorCode::ReadOnly) => LedgerError::ReadOnly,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                LedgerError::Corrupt(error.to_string())
            }
            _ => LedgerError::Sql(error),
        }
    }
}

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
    path: PathBuf,
    connection: Connection,
    /// Of its one writer.
    writer: Option<Writer>,
}

struct Writer {
    epoch: u64,
    marker: HeadMarker,
}

impl Ledger {
    /// Opens or makes a ledger and becomes its one writer; whoever wrote before is fenced off.
    /// Whether it is whole is [`fold`]'s business, before this.
    pub fn open(path: &Path, at_ms: u64, program_version: &str) -> Result<Ledger, LedgerError> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_millis(BUSY_MS_MAX))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // In one transaction, so that no two processes ever take the same epoch.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(SCHEMA)?;
        transaction.execute_batch(kinds::INDEX)?;
        kinds::check(&transaction)?;
        let newest = "SELECT writer_epoch FROM entries ORDER BY seq DESC LIMIT 1";
        let epoch =
            transaction.query_row(newest, [], |row| row.get::<_, u64>(0)).optional()?.unwrap_or(0)
                + 1;
        let expected_subject_seq = subject_seq(&transaction, PLATFORM)?;
        let event = Event::WriterStarted { program_version: program_version.into() };
        let new = NewEntry {
            at_ms,
            actor: PLATFORM,
            subject: PLATFORM,
            expected_subject_seq,
            event: &event,
        };
        let entry = insert(&transaction, epoch, new)?;
        transaction.commit()?;
        let marker = HeadMarker::open(path).map_err(marker_failed)?;
        marker.set(entry.seq, entry.hash).map_err(marker_failed)?;
        Ok(Ledger { path: path.into(), connection, writer: Some(Writer { epoch, marker }) })
    }

    /// Opens a ledger to read it, beside a running writer or without one.
    pub fn open_read_only(path: &Path) -> Result<Ledger, LedgerError> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(Duration::from_millis(BUSY_MS_MAX))?;
        Ok(Ledger { path: path.into(), connection, writer: None })
    }

    /// Appends one entry. When it returns, the entry is on disk.
    pub fn append(&mut self, new: NewEntry) -> Result<Entry, LedgerError> {
        let writer = self.writer.as_ref().ok_or(LedgerError::ReadOnly)?;
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let entry = insert(&transaction, writer.epoch, new)?;
        transaction.commit()?;
        // It only helps to find out later whether something is missing: the entry is on disk
        // without it.
        let _ = writer.marker.set(entry.seq, entry.hash);
        Ok(entry)
    }

    /// Which writer this is; `None` if it only reads.
    pub fn writer_epoch(&self) -> Option<u64> {
        self.writer.as_ref().map(|writer| writer.epoch)
    }

    /// Entries after `after_seq`, in order, at most `limit`.
    pub fn read(&self, after_seq: u64, limit: usize) -> Result<Vec<Entry>, LedgerError> {
        let mut entries = vec![];
        chain::rows(&self.connection, after_seq, limit, |row, hash| {
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
        scan::entries(&self.connection, after_seq, selection, reach)
    }

    /// The last entry's number and hash.
    pub fn head(&self) -> Result<(u64, Digest), LedgerError> {
        let newest: Option<(u64, Vec<u8>)> = self
            .connection
            .query_row("SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        let Some((seq, hash)) = newest else { return Ok((0, Digest::ZERO)) };
        let hash = hash
            .try_into()
            .map_err(|_| LedgerError::Corrupt(format!("entry {seq} has no whole hash")))?;
        Ok((seq, Digest(hash)))
    }

    /// Whether it has entries; a process that is killed at the wrong moment leaves a file without
    /// its tables.
    fn has_entries(&self) -> Result<bool, LedgerError> {
        let sql =
            "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'entries')";
        let has_table: bool = self.connection.query_row(sql, [], |row| row.get(0))?;
        Ok(has_table
            && self
                .connection
                .query_row("SELECT EXISTS (SELECT 1 FROM entries)", [], |row| row.get(0))?)
    }

    /// The hash of an entry, if it is there.
    fn hash_of(&self, seq: u64) -> Result<Option<Digest>, LedgerError> {
        let hash: Option<Vec<u8>> = self
            .connection
            .query_row("SELECT hash FROM entries WHERE seq = ?1", [seq], |row| row.get(0))
            .optional()?;
        Ok(hash.and_then(|hash| hash.try_into().ok()).map(Digest))
    }

    /// Writes a consistent copy to a new file; half a copy is removed.
    pub fn backup_to(&self, path: &Path) -> Result<(), LedgerError> {
        backup(&self.connection, path)
    }
}

/// Writes a consistent copy of a database to a new file; half a copy is removed.
fn backup(from: &Connection, path: &Path) -> Result<(), LedgerError> {
    let is_new = !path.exists();
    let copied = copy(from, path);
    if copied.is_err() && is_new {
        // The error that is returned says more than one of this.
        let _ = std::fs::remove_file(path);
    }
    copied
}

fn copy(from: &Connection, path: &Path) -> Result<(), LedgerError> {
    let mut copy = Connection::open(path)?;
    let backup = rusqlite::backup::Backup::new(from, &mut copy)?;
    // In one step: what another connection writes in between would make it begin again, for ever on
    // a busy ledger.
    Ok(backup.run_to_completion(i32::MAX, Duration::from_millis(10), None)?)
}

/// Throws away a database that can be made again.
fn remove_database(path: &Path) {
    for end in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(end);
        let _ = std::fs::remove_file(file);
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

fn subject_seq(connection: &Connection, subject: &str) -> Result<u64, LedgerError> {
    let sql = "SELECT coalesce(max(subject_seq), 0) FROM entries WHERE subject = ?1";
    Ok(connection.prepare_cached(sql)?.query_row([subject], |row| row.get(0))?)
}

/// Adds an entry at the end. It stays only if the caller's transaction commits.
fn insert(connection: &Connection, writer_epoch: u64, new: NewEntry) -> Result<Entry, LedgerError> {
    let newest: Option<(u64, u64, Vec<u8>)> = connection
        .prepare_cached("SELECT seq, writer_epoch, hash FROM entries ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let (seq, epoch, previous) = newest.unwrap_or((0, 0, Digest::ZERO.0.to_vec()));
    if epoch > writer_epoch {
        return Err(LedgerError::Fenced { newer: epoch });
    }
    let found = subject_seq(connection, new.subject)?;
    if found != new.expected_subject_seq {
        let subject = new.subject.to_string();
        return Err(LedgerError::Conflict { subject, expected: new.expected_subject_seq, found });
    }
    let previous_hash = previous
        .try_into()
        .map(Digest)
        .map_err(|_| LedgerError::Corrupt(format!("entry {seq} has no whole hash")))?;
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
    connection
        .prepare_cached(
            "INSERT INTO entries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            row.seq,
            row.at_ms,
            row.actor,
            row.subject,
            row.subject_seq,
            row.writer_epoch,
            row.kind,
            row.body_version,
            row.body,
            row.previous_hash.0.as_slice(),
            hash.0.as_slice()
        ])?;
    // Read back before it is committed: what this program cannot read must never be in the log.
    Ok(row.into_entry(hash)?)
}

#[cfg(test)]
mod tests;
