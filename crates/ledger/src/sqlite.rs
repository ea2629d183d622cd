//! The store in an SQLite file: a table of entries, one of the hashes of their tree and one of
//! checkpoints, in WAL mode with `synchronous=FULL`, so that
//! what is committed is on disk. Also how an SQLite file is opened, copied and thrown away, for the
//! files that are kept beside a ledger.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use domain::Digest;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, ffi,
    params,
};

use crate::log::{Append, Each, Entries, Found, KeptCheckpoint, Log, Newest, Range};
use crate::{LedgerError, Row};

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
CREATE TABLE IF NOT EXISTS proof (
    position INTEGER PRIMARY KEY,
    hash BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS checkpoints (
    number INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    size INTEGER NOT NULL,
    note TEXT NOT NULL
) STRICT;";

/// The index that gives all kinds without reading all entries.
const INDEX: &str = "CREATE INDEX IF NOT EXISTS entries_kind ON entries (kind, body_version);";

/// The columns that [`stored`] reads, in its order.
const COLUMNS: &str = "seq, at, actor, subject, subject_seq, writer_epoch, kind, body_version, body, previous_hash, hash";

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
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                LedgerError::Busy(error.into())
            }
            _ => LedgerError::Store(error.into()),
        }
    }
}

/// An open file.
pub struct Sqlite {
    connection: Connection,
}

impl Sqlite {
    /// Opens or makes a file to write it.
    pub fn open(path: &Path) -> Result<Sqlite, LedgerError> {
        Ok(Sqlite { connection: open(path, "FULL")? })
    }

    /// Opens a file to read it, beside a running writer or without one.
    pub fn open_read_only(path: &Path) -> Result<Sqlite, LedgerError> {
        Ok(Sqlite { connection: open_read_only(path)? })
    }
}

impl Log for Sqlite {
    fn entries(&self) -> &dyn Entries {
        &self.connection
    }

    fn begin(&mut self) -> Result<Box<dyn Append + '_>, LedgerError> {
        Ok(Box::new(self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?))
    }

    fn copy_to(&self, path: &Path) -> Result<(), LedgerError> {
        copy_to(&self.connection, path)
    }
}

impl Append for Transaction<'_> {
    fn entries(&self) -> &dyn Entries {
        &**self
    }

    fn lay_out(&self) -> Result<(), LedgerError> {
        self.execute_batch(SCHEMA)?;
        Ok(self.execute_batch(INDEX)?)
    }

    fn insert(&self, row: &Row, hash: Digest) -> Result<(), LedgerError> {
        let sql = "INSERT INTO entries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
        self.prepare_cached(sql)?.execute(params![
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
        Ok(())
    }

    fn put_node(&self, position: u64, hash: Digest) -> Result<(), LedgerError> {
        let sql = "INSERT INTO proof VALUES (?1, ?2)";
        self.prepare_cached(sql)?.execute(params![position, hash.0.as_slice()])?;
        Ok(())
    }

    fn drop_nodes(&self) -> Result<(), LedgerError> {
        Ok(self.execute_batch("DELETE FROM proof")?)
    }

    fn put_checkpoint(&self, at_ms: u64, size: u64, text: &str) -> Result<u64, LedgerError> {
        let sql = "INSERT INTO checkpoints (at, size, note) VALUES (?1, ?2, ?3)";
        self.execute(sql, params![at_ms, size, text])?;
        Ok(u64::try_from(self.last_insert_rowid()).unwrap_or_default())
    }

    fn commit(self: Box<Self>) -> Result<(), LedgerError> {
        Ok(Transaction::commit(*self)?)
    }
}

impl Entries for Connection {
    fn has_any(&self) -> Result<bool, LedgerError> {
        // A process that is killed at the wrong moment leaves a file without its tables.
        let any = "SELECT EXISTS (SELECT 1 FROM entries)";
        Ok(has_table(self, "entries")? && self.query_row(any, [], |row| row.get(0))?)
    }

    fn newest(&self) -> Result<Option<Newest>, LedgerError> {
        let newest: Option<(u64, u64, Vec<u8>)> = self
            .prepare_cached(
                "SELECT seq, writer_epoch, hash FROM entries ORDER BY seq DESC LIMIT 1",
            )?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let Some((seq, writer_epoch, hash)) = newest else { return Ok(None) };
        let hash = hash
            .try_into()
            .map(Digest)
            .map_err(|_| LedgerError::Corrupt(format!("entry {seq} has no whole hash")))?;
        Ok(Some(Newest { seq, writer_epoch, hash }))
    }

    fn hash_of(&self, seq: u64) -> Result<Option<Digest>, LedgerError> {
        let hash: Option<Vec<u8>> = self
            .query_row("SELECT hash FROM entries WHERE seq = ?1", [seq], |row| row.get(0))
            .optional()?;
        Ok(hash.and_then(|hash| hash.try_into().ok()).map(Digest))
    }

    fn count_of(&self, subject: &str) -> Result<u64, LedgerError> {
        let sql = "SELECT coalesce(max(subject_seq), 0) FROM entries WHERE subject = ?1";
        Ok(self.prepare_cached(sql)?.query_row([subject], |row| row.get(0))?)
    }

    fn seq_of(&self, subject: &str, subject_seq: u64) -> Result<Option<u64>, LedgerError> {
        let sql = "SELECT seq FROM entries WHERE subject = ?1 AND subject_seq = ?2";
        let mut statement = self.prepare_cached(sql)?;
        Ok(statement.query_row(params![subject, subject_seq], |row| row.get(0)).optional()?)
    }

    fn next_kind(&self, kind: &str, shape: u32) -> Result<Option<(String, u32)>, LedgerError> {
        // Two statements: a comparison of both columns at once would walk through all entries of a
        // kind.
        let newer = "SELECT kind, body_version FROM entries WHERE kind = ?1 AND body_version > ?2 ORDER BY body_version LIMIT 1";
        let next = "SELECT kind, body_version FROM entries WHERE kind > ?1 ORDER BY kind, body_version LIMIT 1";
        let read = |row: &rusqlite::Row| Ok((row.get(0)?, row.get(1)?));
        let found = self.prepare_cached(newer)?.query_row(params![kind, shape], read).optional()?;
        match found {
            Some(found) => Ok(Some(found)),
            None => Ok(self.prepare_cached(next)?.query_row([kind], read).optional()?),
        }
    }

    fn nodes(&self) -> Result<u64, LedgerError> {
        // Earlier programs kept none.
        if !has_table(self, "proof")? {
            return Ok(0);
        }
        let sql = "SELECT coalesce(max(position) + 1, 0) FROM proof";
        Ok(self.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    fn node(&self, position: u64) -> Result<Option<Digest>, LedgerError> {
        let sql = "SELECT hash FROM proof WHERE position = ?1";
        let hash: Option<Vec<u8>> =
            self.prepare_cached(sql)?.query_row([position], |row| row.get(0)).optional()?;
        Ok(hash.and_then(|hash| hash.try_into().ok()).map(Digest))
    }

    fn checkpoints(&self, after: u64, rows_max: usize) -> Result<Vec<KeptCheckpoint>, LedgerError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let rows_max = i64::try_from(rows_max).unwrap_or(i64::MAX);
        checkpoints(self, "WHERE number > ?1 ORDER BY number LIMIT ?2", params![after, rows_max])
    }

    fn newest_checkpoint(&self) -> Result<Option<KeptCheckpoint>, LedgerError> {
        Ok(checkpoints(self, "ORDER BY number DESC LIMIT 1", params![])?.pop())
    }

    fn read(&self, range: Range, each: Each) -> Result<(), LedgerError> {
        let place = match range.subject {
            None => "?1 IS NULL AND seq > ?2 ORDER BY seq",
            Some(_) => "subject = ?1 AND subject_seq > ?2 ORDER BY subject_seq",
        };
        let sql = format!("SELECT {COLUMNS} FROM entries WHERE {place} LIMIT ?3");
        let mut statement = self.prepare_cached(&sql)?;
        // SQLite has signed numbers only; no entry has a larger one.
        let after = i64::try_from(range.after).unwrap_or(i64::MAX);
        let rows_max = i64::try_from(range.rows_max).unwrap_or(i64::MAX);
        let mut rows = statement.query(params![range.subject, after, rows_max])?;
        while let Some(row) = rows.next()? {
            let is_wanted = range.takes(row.get_ref(6)?.as_str().unwrap_or_default());
            let stored = is_wanted.then(|| stored(row)).transpose()?;
            if each(Found { seq: row.get(0)?, stored })? == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }
}

fn has_table(connection: &Connection, name: &str) -> Result<bool, LedgerError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1)";
    Ok(connection.prepare_cached(sql)?.query_row([name], |row| row.get(0))?)
}

fn checkpoints(
    connection: &Connection,
    which: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<KeptCheckpoint>, LedgerError> {
    // Earlier programs kept none.
    if !has_table(connection, "checkpoints")? {
        return Ok(vec![]);
    }
    let sql = format!("SELECT number, at, size, note FROM checkpoints {which}");
    let mut statement = connection.prepare_cached(&sql)?;
    let kept = statement.query_map(parameters, |row| {
        let (number, at_ms) = (row.get(0)?, row.get(1)?);
        Ok(KeptCheckpoint { number, at_ms, size: row.get(2)?, text: row.get(3)? })
    })?;
    Ok(kept.collect::<Result<_, _>>()?)
}

/// A stored row, and its own hash.
fn stored(row: &rusqlite::Row) -> Result<(Row, Digest), LedgerError> {
    let seq: u64 = row.get(0)?;
    let digest = |bytes: Vec<u8>| {
        bytes
            .try_into()
            .map(Digest)
            .map_err(|_| LedgerError::Corrupt(format!("entry {seq} has a hash of a wrong length")))
    };
    let read = Row {
        seq,
        at_ms: row.get(1)?,
        actor: row.get(2)?,
        subject: row.get(3)?,
        subject_seq: row.get(4)?,
        writer_epoch: row.get(5)?,
        kind: row.get(6)?,
        body_version: row.get(7)?,
        body: row.get(8)?,
        previous_hash: digest(row.get(9)?)?,
    };
    Ok((read, digest(row.get(10)?)?))
}

/// Opens or makes a database in WAL mode. `synchronous` says what a commit waits for: `FULL` for the
/// disk; with `NORMAL`, a power loss may take the last seconds.
pub fn open(path: &Path, synchronous: &str) -> Result<Connection, LedgerError> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_millis(BUSY_MS_MAX))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    Ok(connection)
}

/// Opens a database to read it.
pub fn open_read_only(path: &Path) -> Result<Connection, LedgerError> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(Duration::from_millis(BUSY_MS_MAX))?;
    Ok(connection)
}

/// Writes a consistent copy of a database to a new file; half a copy is removed.
pub fn copy_to(from: &Connection, path: &Path) -> Result<(), LedgerError> {
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

/// Whether an error comes from what is in a file, so that it stays until the file is made again. The
/// others pass: the file is locked, the disk is full, or this process lacks rights or descriptors.
pub fn is_about_content(error: &LedgerError) -> bool {
    let LedgerError::Store(error) = error else {
        return matches!(error, LedgerError::Corrupt(_));
    };
    let error = error.downcast_ref::<rusqlite::Error>();
    !matches!(
        error.and_then(rusqlite::Error::sqlite_error_code),
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::OutOfMemory)
    )
}

/// Throws away a database that can be made again.
pub fn remove(path: &Path) {
    for end in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(end);
        let _ = std::fs::remove_file(file);
    }
}

#[cfg(test)]
mod tests;
