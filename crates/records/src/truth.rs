//! What turned out to be true of predictions, as it is sent later: by the id of a request and the row
//! there, or by a key. One SQLite file beside the records. What is acknowledged is on the disk.

mod fields;
mod found;
mod marks;
mod read;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::ModelKey;
use domain::outcome::{Outcome, OutcomesSeen};
use parking_lot::Mutex;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, params};

use crate::catalogue::HOUR_MS;
use crate::seal::time_ms;

pub use fields::{Line, Naming, id_of};
pub use found::{Found, KeyTruth, of_prediction};
pub use marks::{Dirty, DirtyKey};
pub use read::{Form, read};

/// The most truths that are kept, about 100 bytes each.
pub const TRUTHS_MAX: u64 = 20_000_000;
/// The longest key, in bytes: as that of a record.
pub const KEY_BYTES_MAX: usize = protocol::record::TEXT_BYTES_MAX;
/// How long a writer waits for another that writes, in milliseconds.
const BUSY_MS_MAX: u64 = 10_000;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS models (
        number INTEGER PRIMARY KEY, project TEXT NOT NULL, model TEXT NOT NULL,
        seen TEXT NOT NULL, UNIQUE (project, model)
    ) STRICT;
    CREATE TABLE IF NOT EXISTS requests (
        model INTEGER NOT NULL, id BLOB NOT NULL, row INTEGER NOT NULL, value ANY NOT NULL,
        at_ms INTEGER NOT NULL, said_by TEXT NOT NULL, corrected INTEGER NOT NULL,
        repeated INTEGER NOT NULL, PRIMARY KEY (model, id, row)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS keys (
        model INTEGER NOT NULL, key TEXT NOT NULL, is_dated INTEGER NOT NULL,
        from_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL, value ANY NOT NULL,
        said_by TEXT NOT NULL, corrected INTEGER NOT NULL, repeated INTEGER NOT NULL,
        PRIMARY KEY (model, key, is_dated, from_ms)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS keys_until ON keys (until_ms);
    CREATE TABLE IF NOT EXISTS dirty (
        model INTEGER NOT NULL, hour_ms INTEGER NOT NULL, mark INTEGER NOT NULL,
        PRIMARY KEY (model, hour_ms)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS dirty_keys (
        mark INTEGER PRIMARY KEY AUTOINCREMENT, model INTEGER NOT NULL, key TEXT NOT NULL,
        until_ms INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS marks (only INTEGER PRIMARY KEY, last INTEGER NOT NULL) STRICT;
    INSERT OR IGNORE INTO marks VALUES (0, 0);
";

/// Of which prediction something is true.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Subject {
    /// A row of a request.
    Request {
        /// Of the request: a UUIDv7.
        id: [u8; 16],
        /// From 0.
        row: u32,
    },
    /// All predictions of a key before it, as docs/quality.md says.
    Key(String),
}

impl Subject {
    /// The begin of the hour that it was predicted in, in milliseconds since 1970, if that is known.
    pub fn hour_ms(&self) -> Option<u64> {
        match self {
            Subject::Request { id, .. } => Some(time_ms(id) / HOUR_MS * HOUR_MS),
            Subject::Key(_) => None,
        }
    }
}

/// Something that turned out to be true.
#[derive(Clone, PartialEq, Debug)]
pub struct TruthRow {
    /// Of what.
    pub subject: Subject,
    /// What is true.
    pub truth: Outcome,
    /// When it became so, in milliseconds since 1970; by default when it comes.
    pub at_ms: Option<u64>,
}

/// What became of some rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Added {
    /// Those that say something new, corrections among them.
    pub accepted: u64,
    /// Those that say what was known.
    pub repeated: u64,
    /// Those that say something else than was known.
    pub corrected: u64,
}

/// Why nothing was added.
#[derive(Debug, thiserror::Error)]
pub enum TruthError {
    /// No room on the disk.
    #[error("the disk is full")]
    Full,
    /// No writing.
    #[error("the data directory cannot be written")]
    ReadOnly,
    /// No room by our own limit.
    #[error("there are {TRUTHS_MAX} truths: no more are kept")]
    Many,
    /// Another fault.
    #[error("the truth cannot be stored: {0}")]
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for TruthError {
    fn from(error: rusqlite::Error) -> TruthError {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => TruthError::Full,
            Some(ErrorCode::ReadOnly) => TruthError::ReadOnly,
            _ => TruthError::Sqlite(error),
        }
    }
}

/// All truths.
pub struct Truths {
    connection: Mutex<Connection>,
    count: AtomicU64,
    truths_max: u64,
}

fn stored(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Bool(truth) => Value::Blob(vec![u8::from(*truth)]),
        Outcome::Integer(whole) => Value::Integer(*whole),
        Outcome::Number(number) => Value::Real(*number),
        Outcome::Text(text) => Value::Text(text.clone()),
    }
}

fn outcome(value: ValueRef<'_>) -> Outcome {
    match value {
        ValueRef::Blob(bytes) => Outcome::Bool(bytes == [1]),
        ValueRef::Integer(whole) => Outcome::Integer(whole),
        ValueRef::Real(number) => Outcome::Number(number),
        ValueRef::Text(text) => Outcome::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Null => Outcome::Text(String::new()),
    }
}

impl Truths {
    /// Opens the file, or makes it.
    pub fn open(path: &Path) -> Result<Truths, TruthError> {
        Truths::with_limit(path, TRUTHS_MAX)
    }

    /// The same with another limit on their number.
    fn with_limit(path: &Path, truths_max: u64) -> Result<Truths, TruthError> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS_MAX))?;
        // What is erased is overwritten.
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;",
        )?;
        connection.execute_batch(TABLES)?;
        let truths = Truths { connection: Mutex::new(connection), count: 0.into(), truths_max };
        truths.recount()?;
        Ok(truths)
    }

    fn recount(&self) -> Result<(), TruthError> {
        let sql = "SELECT (SELECT count(*) FROM requests) + (SELECT count(*) FROM keys)";
        let count: i64 = self.connection.lock().query_row(sql, [], |row| row.get(0))?;
        self.count.store(count as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Adds rows, all or none; when it returns they are on the disk. `said_by` says who sent them.
    pub fn add(
        &self,
        model: &ModelKey,
        said_by: &str,
        rows: &[TruthRow],
        now_ms: u64,
    ) -> Result<Added, TruthError> {
        if self.count.load(Ordering::Relaxed) + rows.len() as u64 > self.truths_max {
            return Err(TruthError::Many);
        }
        let mut connection = self.connection.lock();
        let transaction = connection.transaction()?;
        let number = number_of(&transaction, model)?;
        let (mut added, mut new, mut seen) = (Added::default(), 0, OutcomesSeen::default());
        let mut hours = HashSet::new();
        for row in rows {
            let adding = Adding { transaction: &transaction, number, said_by, now_ms };
            let became = match &row.subject {
                Subject::Request { id, row: at } => adding.request(id, *at, row)?,
                Subject::Key(key) => adding.key(key, row)?,
            };
            match became {
                Became::New => new += 1,
                Became::Corrected => added.corrected += 1,
                Became::Repeated => {
                    added.repeated += 1;
                    continue;
                }
            }
            added.accepted += 1;
            seen.add(&row.truth);
            hours.extend(row.subject.hour_ms());
        }
        if seen.count() > 0 {
            see(&transaction, number, &seen)?;
        }
        marks::mark(&transaction, number, hours.into_iter())?;
        transaction.commit()?;
        self.count.fetch_add(new, Ordering::Relaxed);
        Ok(added)
    }

    /// What a model's truths look like.
    pub fn seen(&self, model: &ModelKey) -> Result<OutcomesSeen, TruthError> {
        let connection = self.connection.lock();
        let sql = "SELECT seen FROM models WHERE project = ?1 AND model = ?2";
        let mut statement = connection.prepare_cached(sql)?;
        let names = [model.project.as_str(), model.model.as_str()];
        let text: Option<String> = statement.query_row(names, |row| row.get(0)).optional()?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    /// The models that there is any truth of.
    pub fn models(&self) -> Result<Vec<ModelKey>, TruthError> {
        let connection = self.connection.lock();
        let mut statement =
            connection.prepare_cached("SELECT project, model FROM models ORDER BY number")?;
        let names = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let names = names.collect::<Result<Vec<(String, String)>, _>>()?;
        let key = |(project, model): (String, String)| {
            Some(ModelKey { project: project.parse().ok()?, model: model.parse().ok()? })
        };
        Ok(names.into_iter().filter_map(key).collect())
    }

    /// Removes what is true of predictions before a time, in milliseconds since 1970: their records
    /// are gone.
    pub fn retain(&self, before_ms: u64) -> Result<(), TruthError> {
        let mut first = [0; 16];
        first[..6].copy_from_slice(&before_ms.to_be_bytes()[2..]);
        let connection = self.connection.lock();
        connection.execute(
            "DELETE FROM requests WHERE id < ?1 AND model IN (SELECT number FROM models)",
            params![first],
        )?;
        connection.execute("DELETE FROM keys WHERE until_ms < ?1", [before_ms as i64])?;
        drop(connection);
        self.recount()
    }

    /// Erases all that is true of a key, of one model or of all of a project, and gives how many.
    /// Nothing of them is left in the file.
    pub fn erase(&self, project: &str, model: Option<&str>, key: &str) -> Result<u64, TruthError> {
        let connection = self.connection.lock();
        let mut erased = 0;
        for table in ["keys", "dirty_keys"] {
            let sql = format!(
                "DELETE FROM {table} WHERE key = ?1 AND model IN (SELECT number FROM models \
                 WHERE project = ?2 AND (?3 IS NULL OR model = ?3))"
            );
            let count = connection.execute(&sql, params![key, project, model])?;
            erased += if table == "keys" { count as u64 } else { 0 };
        }
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        self.count.fetch_sub(erased, Ordering::Relaxed);
        Ok(erased)
    }
}

/// The number of a model; it gets one if it has none.
fn number_of(transaction: &Transaction<'_>, model: &ModelKey) -> rusqlite::Result<i64> {
    let names = params![model.project.as_str(), model.model.as_str()];
    let known = found::number(transaction, model)?;
    if let Some(number) = known {
        return Ok(number);
    }
    let sql = "INSERT INTO models (project, model, seen) VALUES (?1, ?2, '')";
    transaction.execute(sql, names)?;
    Ok(transaction.last_insert_rowid())
}

fn see(transaction: &Transaction<'_>, number: i64, new: &OutcomesSeen) -> rusqlite::Result<()> {
    let sql = "SELECT seen FROM models WHERE number = ?1";
    let text: String = transaction.query_row(sql, [number], |row| row.get(0))?;
    let mut seen: OutcomesSeen = serde_json::from_str(&text).unwrap_or_default();
    seen.merge(new);
    let text = serde_json::to_string(&seen).unwrap_or_default();
    let sql = "UPDATE models SET seen = ?2 WHERE number = ?1";
    transaction.execute(sql, params![number, text]).map(drop)
}

/// What became of a row.
enum Became {
    New,
    Corrected,
    Repeated,
}

/// Rows on their way into the file.
struct Adding<'a> {
    transaction: &'a Transaction<'a>,
    number: i64,
    said_by: &'a str,
    now_ms: u64,
}

impl Adding<'_> {
    /// The last one wins; the time is that of the first, unless a later one says another.
    fn request(&self, id: &[u8; 16], row: u32, new: &TruthRow) -> rusqlite::Result<Became> {
        let value = stored(&new.truth);
        let sql = "SELECT value = ?4 AND typeof(value) = typeof(?4) FROM requests \
                   WHERE model = ?1 AND id = ?2 AND row = ?3";
        let mut select = self.transaction.prepare_cached(sql)?;
        let is_same: Option<bool> =
            select.query_row(params![self.number, id, row, value], |row| row.get(0)).optional()?;
        if is_same == Some(true) {
            let sql = "UPDATE requests SET repeated = repeated + 1 \
                       WHERE model = ?1 AND id = ?2 AND row = ?3";
            let mut update = self.transaction.prepare_cached(sql)?;
            update.execute(params![self.number, id, row])?;
            return Ok(Became::Repeated);
        }
        let sql = "INSERT INTO requests VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0) \
                   ON CONFLICT DO UPDATE SET value = excluded.value, said_by = excluded.said_by, \
                   at_ms = iif(?7, excluded.at_ms, at_ms), corrected = corrected + 1";
        let mut insert = self.transaction.prepare_cached(sql)?;
        let at_ms = new.at_ms.unwrap_or(self.now_ms) as i64;
        insert.execute(params![
            self.number,
            id,
            row,
            value,
            at_ms,
            self.said_by,
            new.at_ms.is_some()
        ])?;
        Ok(if is_same.is_some() { Became::Corrected } else { Became::New })
    }

    fn key(&self, key: &str, new: &TruthRow) -> rusqlite::Result<Became> {
        let became = match new.at_ms {
            Some(at_ms) => self.dated(key, &new.truth, at_ms)?,
            None => self.undated(key, &new.truth)?,
        };
        // What is repeated may hold for predictions that were made since.
        let until_ms = new.at_ms.unwrap_or(self.now_ms);
        if !matches!(became, Became::Repeated) || new.at_ms.is_none() {
            let sql = "INSERT INTO dirty_keys (model, key, until_ms) VALUES (?1, ?2, ?3)";
            let mut insert = self.transaction.prepare_cached(sql)?;
            insert.execute(params![self.number, key, until_ms as i64])?;
        }
        Ok(became)
    }

    /// One of the same time corrects it.
    fn dated(&self, key: &str, truth: &Outcome, at_ms: u64) -> rusqlite::Result<Became> {
        let (value, at_ms) = (stored(truth), at_ms as i64);
        let sql = "SELECT value = ?4 AND typeof(value) = typeof(?4) FROM keys \
                   WHERE model = ?1 AND key = ?2 AND is_dated = 1 AND from_ms = ?3";
        let mut select = self.transaction.prepare_cached(sql)?;
        let names = params![self.number, key, at_ms, value];
        let is_same: Option<bool> = select.query_row(names, |row| row.get(0)).optional()?;
        let sql = "INSERT INTO keys VALUES (?1, ?2, 1, ?3, ?3, ?4, ?5, 0, 0) \
                   ON CONFLICT DO UPDATE SET corrected = corrected + (?6 = 0), \
                   repeated = repeated + ?6, value = excluded.value, said_by = excluded.said_by";
        let mut insert = self.transaction.prepare_cached(sql)?;
        let repeated = i64::from(is_same == Some(true));
        insert.execute(params![self.number, key, at_ms, value, self.said_by, repeated])?;
        Ok(match is_same {
            Some(true) => Became::Repeated,
            Some(false) => Became::Corrected,
            None => Became::New,
        })
    }

    /// The same again holds longer; another is added, and wins.
    fn undated(&self, key: &str, truth: &Outcome) -> rusqlite::Result<Became> {
        let (value, now_ms) = (stored(truth), self.now_ms as i64);
        let sql = "SELECT from_ms, value = ?3 AND typeof(value) = typeof(?3) FROM keys \
                   WHERE model = ?1 AND key = ?2 AND is_dated = 0 ORDER BY from_ms DESC LIMIT 1";
        let mut select = self.transaction.prepare_cached(sql)?;
        let last: Option<(i64, bool)> = select
            .query_row(params![self.number, key, value], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if let Some((from_ms, true)) = last {
            let sql = "UPDATE keys SET until_ms = max(until_ms, ?4), repeated = repeated + 1 \
                       WHERE model = ?1 AND key = ?2 AND is_dated = 0 AND from_ms = ?3";
            let mut update = self.transaction.prepare_cached(sql)?;
            update.execute(params![self.number, key, from_ms, now_ms])?;
            return Ok(Became::Repeated);
        }
        // Of two in the same millisecond, or with the clock set back, the later one is after.
        let from_ms = last.map_or(now_ms, |(last_ms, _)| now_ms.max(last_ms + 1));
        let sql = "INSERT INTO keys VALUES (?1, ?2, 0, ?3, ?4, ?5, ?6, ?7, 0)";
        let mut insert = self.transaction.prepare_cached(sql)?;
        let corrected = i64::from(last.is_some());
        insert.execute(params![
            self.number,
            key,
            from_ms,
            now_ms.max(from_ms),
            value,
            self.said_by,
            corrected
        ])?;
        Ok(if last.is_some() { Became::Corrected } else { Became::New })
    }
}
