//! The append-only, hash-chained event log in SQLite. It decides nothing: it keeps what it is given, in order, for good.

mod chain;
mod verify;

use std::path::Path;
use std::time::Duration;

use domain::event::{BODY_VERSION, Entry, Event, PLATFORM, UnknownEvent};
use domain::state::FOLD_VERSION;
use domain::{Digest, State};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior, ffi, params};

pub use chain::Row;
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
) STRICT;
CREATE TABLE IF NOT EXISTS snapshots (
    fold_version INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL,
    body BLOB NOT NULL
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
        // SQLite reports a full disk under its own code, except where it could not extend the shared memory of its log.
        let extended = error.sqlite_error().map(|error| error.extended_code);
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => LedgerError::Full,
            _ if extended == Some(ffi::SQLITE_IOERR_SHMSIZE) => LedgerError::Full,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => LedgerError::Corrupt(error.to_string()),
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
    connection: Connection,
    writer_epoch: Option<u64>,
}

impl Ledger {
    /// Opens or makes a ledger and becomes its one writer; whoever wrote before is fenced off.
    pub fn open(path: &Path, at_ms: u64, program_version: &str) -> Result<Ledger, LedgerError> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_millis(BUSY_MS_MAX))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // In one transaction, so that no two processes ever take the same epoch.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(SCHEMA)?;
        check_known(&transaction)?;
        let writer_epoch =
            transaction.query_row("SELECT coalesce(max(writer_epoch), 0) + 1 FROM entries", [], |row| row.get(0))?;
        let expected_subject_seq = subject_seq(&transaction, PLATFORM)?;
        let event = Event::WriterStarted { program_version: program_version.into() };
        let new = NewEntry { at_ms, actor: PLATFORM, subject: PLATFORM, expected_subject_seq, event: &event };
        insert(&transaction, writer_epoch, new)?;
        transaction.commit()?;
        Ok(Ledger { connection, writer_epoch: Some(writer_epoch) })
    }

    /// Opens a ledger to read it, beside a running writer or without one.
    pub fn open_read_only(path: &Path) -> Result<Ledger, LedgerError> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(Duration::from_millis(BUSY_MS_MAX))?;
        Ok(Ledger { connection, writer_epoch: None })
    }

    /// Appends one entry. When it returns, the entry is on disk.
    pub fn append(&mut self, new: NewEntry) -> Result<Entry, LedgerError> {
        let writer_epoch = self.writer_epoch.ok_or_else(|| LedgerError::Corrupt("it was opened to be read only".into()))?;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let entry = insert(&transaction, writer_epoch, new)?;
        transaction.commit()?;
        Ok(entry)
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

    /// The last entry's number and hash.
    pub fn head(&self) -> Result<(u64, Digest), LedgerError> {
        let newest: Option<(u64, Vec<u8>)> = self
            .connection
            .query_row("SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((seq, hash)) = newest else { return Ok((0, Digest::ZERO)) };
        let hash = hash.try_into().map_err(|_| LedgerError::Corrupt(format!("entry {seq} has no whole hash")))?;
        Ok((seq, Digest(hash)))
    }

    /// Keeps a fold of all entries up to `seq`, in place of an older one; one beyond the log is not kept.
    pub fn save_snapshot(&self, seq: u64, fold_version: u32, body: &[u8]) -> Result<(), LedgerError> {
        let sql = "INSERT OR REPLACE INTO snapshots (fold_version, seq, hash, body)
                   SELECT ?1, seq, hash, ?3 FROM entries WHERE seq = ?2";
        let transaction = self.connection.unchecked_transaction()?;
        transaction.execute("DELETE FROM snapshots WHERE fold_version <> ?1", [fold_version])?;
        transaction.execute(sql, params![fold_version, seq, body])?;
        Ok(transaction.commit()?)
    }

    /// The kept fold, if there is one of this version, made of the entries that are in this log.
    pub fn snapshot(&self, fold_version: u32) -> Result<Option<(u64, Vec<u8>)>, LedgerError> {
        let sql = "SELECT seq, snapshots.body FROM snapshots JOIN entries USING (seq, hash) WHERE fold_version = ?1";
        Ok(self.connection.query_row(sql, [fold_version], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
    }

    /// Writes a consistent copy to a new file; half a copy is removed.
    pub fn backup_to(&self, path: &Path) -> Result<(), LedgerError> {
        let is_new = !path.exists();
        let copied = self.copy_to(path);
        if copied.is_err() && is_new {
            // The error that is returned says more than one of this.
            let _ = std::fs::remove_file(path);
        }
        copied
    }

    fn copy_to(&self, path: &Path) -> Result<(), LedgerError> {
        let mut copy = Connection::open(path)?;
        let backup = rusqlite::backup::Backup::new(&self.connection, &mut copy)?;
        // In one step: what another connection writes in between would make it begin again, for ever on a busy ledger.
        Ok(backup.run_to_completion(i32::MAX, Duration::from_millis(10), None)?)
    }
}

/// Refuses to write after events that this program cannot read.
fn check_known(connection: &Connection) -> Result<(), LedgerError> {
    let mut statement = connection.prepare("SELECT DISTINCT kind, body_version FROM entries")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (kind, version): (String, u32) = (row.get(0)?, row.get(1)?);
        if version != BODY_VERSION || !Event::KINDS.contains(&kind.as_str()) {
            return Err(
                UnknownEvent { kind, version, reason: "it was written by a newer program; upgrade this one".into() }.into()
            );
        }
    }
    Ok(())
}

fn subject_seq(connection: &Connection, subject: &str) -> Result<u64, LedgerError> {
    let sql = "SELECT coalesce(max(subject_seq), 0) FROM entries WHERE subject = ?1";
    Ok(connection.query_row(sql, [subject], |row| row.get(0))?)
}

/// Adds an entry at the end. It stays only if the caller's transaction commits.
fn insert(connection: &Connection, writer_epoch: u64, new: NewEntry) -> Result<Entry, LedgerError> {
    let newest: Option<(u64, u64, Vec<u8>)> = connection
        .query_row("SELECT seq, writer_epoch, hash FROM entries ORDER BY seq DESC LIMIT 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
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
    let previous_hash =
        previous.try_into().map(Digest).map_err(|_| LedgerError::Corrupt(format!("entry {seq} has no whole hash")))?;
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
    connection.execute(
        "INSERT INTO entries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
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
        ],
    )?;
    // Read back before it is committed: what this program cannot read must never be in the log.
    Ok(row.into_entry(hash)?)
}

/// The state: the newest snapshot and all entries after it.
pub fn fold(ledger: &Ledger) -> Result<State, LedgerError> {
    let snapshot = ledger.snapshot(FOLD_VERSION)?;
    let kept = snapshot.and_then(|(seq, body)| serde_json::from_slice::<State>(&body).ok().filter(|state| state.seq == seq));
    let mut state = kept.unwrap_or_default();
    // Entry by entry: the event of a large tree takes megabytes.
    chain::rows(&ledger.connection, state.seq, i64::MAX as usize, |row, hash| {
        state.apply(&row.into_entry(hash)?);
        Ok(())
    })?;
    Ok(state)
}

#[cfg(test)]
mod tests;
