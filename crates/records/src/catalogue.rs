//! The catalogue: which Parquet files there are, what lanes' numbers stand for, and what was lost.
//! One SQLite file; a query plans by it alone, without asking the store what it has.

use std::path::Path;

use domain::ModelKey;
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::{Deserialize, Serialize};

use crate::RecordFile;

mod erasures;

pub use erasures::{Erased, Sought, Stage, Swap};

/// Requests whose records, or whose values, are missing.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Gap {
    /// Noticed at this time, in milliseconds since 1970; they are missing from shortly before.
    pub at_ms: u64,
    /// Requests without a record.
    pub records: u64,
    /// Records without values.
    pub values: u64,
    /// Why.
    pub reason: String,
}

/// An hour of a model that there are files of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hour {
    /// Its begin, in milliseconds since 1970.
    pub hour_ms: u64,
    /// How many files.
    pub files: u64,
    /// How many bytes they have.
    pub bytes: u64,
}

/// Which files there are.
pub struct Catalogue {
    connection: Mutex<Connection>,
}

/// How long a writer waits for another process that writes, in milliseconds.
const BUSY_MS_MAX: u64 = 5_000;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS files (
        path TEXT PRIMARY KEY, project TEXT NOT NULL, model TEXT NOT NULL,
        hour_ms INTEGER NOT NULL, bytes INTEGER NOT NULL, body TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS files_of ON files (project, model, hour_ms);
    CREATE INDEX IF NOT EXISTS files_at ON files (hour_ms);
    CREATE TABLE IF NOT EXISTS definitions (lane INTEGER PRIMARY KEY, body TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS gaps (at_ms INTEGER NOT NULL, body TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS rings (name INTEGER PRIMARY KEY, position INTEGER NOT NULL);
";

/// What one segment became.
#[derive(Debug, Default)]
pub struct Sealed {
    /// Its Parquet files.
    pub files: Vec<RecordFile>,
    /// What it says is missing.
    pub gaps: Vec<Gap>,
    /// The ring that its frames are from, and the last position there.
    pub ring: Option<(u64, u64)>,
}

fn body<T: serde::de::DeserializeOwned>(row: &Row<'_>) -> rusqlite::Result<Option<T>> {
    let text: String = row.get(0)?;
    Ok(serde_json::from_str(&text).ok())
}

fn insert_file(transaction: &Transaction<'_>, file: &RecordFile) -> rusqlite::Result<()> {
    let text = serde_json::to_string(file).unwrap_or_default();
    let values = params![
        file.path,
        file.model.project.as_str(),
        file.model.model.as_str(),
        file.hour_ms as i64,
        file.bytes as i64,
        text
    ];
    let sql = "INSERT OR REPLACE INTO files VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    transaction.execute(sql, values).map(drop)
}

fn insert_gap(transaction: &Transaction<'_>, gap: &Gap) -> rusqlite::Result<()> {
    let text = serde_json::to_string(gap).unwrap_or_default();
    let sql = "INSERT INTO gaps VALUES (?1, ?2)";
    transaction.execute(sql, params![gap.at_ms as i64, text]).map(drop)
}

impl Catalogue {
    /// Opens the file, or makes it.
    pub fn open(path: &Path) -> rusqlite::Result<Catalogue> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS_MAX))?;
        let pragmas =
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON;";
        connection.execute_batch(pragmas)?;
        connection.execute_batch(TABLES)?;
        connection.execute_batch(erasures::TABLES)?;
        Ok(Catalogue { connection: Mutex::new(connection) })
    }

    /// Keeps what a lane's number stands for.
    pub fn define(&self, lane: u64, definition: &str) -> rusqlite::Result<()> {
        let connection = self.connection.lock();
        let sql = "INSERT OR IGNORE INTO definitions (lane, body) VALUES (?1, ?2)";
        connection.execute(sql, params![lane as i64, definition]).map(drop)
    }

    /// What a lane's number stands for.
    pub fn definition(&self, lane: u64) -> rusqlite::Result<Option<String>> {
        let connection = self.connection.lock();
        let sql = "SELECT body FROM definitions WHERE lane = ?1";
        connection.query_row(sql, [lane as i64], |row| row.get(0)).optional()
    }

    /// Takes in what a segment became, all or nothing; doing it again changes nothing.
    pub fn seal(&self, sealed: &Sealed) -> rusqlite::Result<()> {
        let mut connection = self.connection.lock();
        let transaction = connection.transaction()?;
        for file in &sealed.files {
            insert_file(&transaction, file)?;
        }
        for gap in &sealed.gaps {
            insert_gap(&transaction, gap)?;
        }
        if let Some((name, position)) = sealed.ring {
            transaction.execute(
                "INSERT INTO rings VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE \
                 SET position = max(position, excluded.position)",
                params![name as i64, position as i64],
            )?;
        }
        transaction.commit()
    }

    /// The last position of a ring that is in a file.
    pub fn position(&self, ring: u64) -> rusqlite::Result<Option<u64>> {
        let connection = self.connection.lock();
        let sql = "SELECT position FROM rings WHERE name = ?1";
        let position: Option<i64> =
            connection.query_row(sql, [ring as i64], |row| row.get(0)).optional()?;
        Ok(position.map(|position| position as u64))
    }

    /// All files of hours that touch a time, oldest first. Times are in milliseconds since 1970.
    pub fn files(&self, from_ms: u64, to_ms: u64) -> rusqlite::Result<Vec<RecordFile>> {
        let connection = self.connection.lock();
        let sql = "SELECT body FROM files WHERE hour_ms > ?1 AND hour_ms <= ?2 ORDER BY hour_ms";
        let mut statement = connection.prepare_cached(sql)?;
        let to_ms = i64::try_from(to_ms).unwrap_or(i64::MAX);
        let from_ms = i64::try_from(from_ms).unwrap_or(i64::MAX) - HOUR_MS as i64;
        let rows = statement.query_map([from_ms, to_ms], body)?;
        rows.filter_map(Result::transpose).collect()
    }

    /// Which hours a model has files of, oldest first.
    pub fn hours_of(&self, model: &ModelKey) -> rusqlite::Result<Vec<Hour>> {
        let connection = self.connection.lock();
        let sql = "SELECT hour_ms, count(*), sum(bytes) FROM files \
                   WHERE project = ?1 AND model = ?2 GROUP BY hour_ms ORDER BY hour_ms";
        let mut statement = connection.prepare_cached(sql)?;
        let names = [model.project.as_str(), model.model.as_str()];
        let hours = statement.query_map(names, |row| {
            let (hour_ms, files, bytes): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(Hour { hour_ms: hour_ms as u64, files: files as u64, bytes: bytes as u64 })
        })?;
        hours.collect()
    }

    /// The files of an hour of a model, whose begin is in milliseconds since 1970.
    pub fn files_of(&self, model: &ModelKey, hour_ms: u64) -> rusqlite::Result<Vec<RecordFile>> {
        let connection = self.connection.lock();
        let sql = "SELECT body FROM files WHERE project = ?1 AND model = ?2 AND hour_ms = ?3 \
                   ORDER BY path";
        let mut statement = connection.prepare_cached(sql)?;
        let names = params![model.project.as_str(), model.model.as_str(), hour_ms as i64];
        let rows = statement.query_map(names, body)?;
        rows.filter_map(Result::transpose).collect()
    }

    /// The paths of all files, oldest hour first.
    pub fn paths(&self) -> rusqlite::Result<Vec<String>> {
        let connection = self.connection.lock();
        let sql = "SELECT path FROM files ORDER BY hour_ms, path";
        let mut statement = connection.prepare_cached(sql)?;
        statement.query_map([], |row| row.get(0))?.collect()
    }

    /// One file.
    pub fn file(&self, path: &str) -> rusqlite::Result<Option<RecordFile>> {
        let connection = self.connection.lock();
        let mut statement = connection.prepare_cached("SELECT body FROM files WHERE path = ?1")?;
        Ok(statement.query_row([path], body).optional()?.flatten())
    }

    /// What is missing since a time, in milliseconds since 1970.
    pub fn gaps(&self, from_ms: u64) -> rusqlite::Result<Vec<Gap>> {
        let connection = self.connection.lock();
        let mut statement =
            connection.prepare_cached("SELECT body FROM gaps WHERE at_ms >= ?1 ORDER BY at_ms")?;
        let rows = statement.query_map([from_ms as i64], body)?;
        rows.filter_map(Result::transpose).collect()
    }

    /// The oldest files: all of hours before a time, and as many more as are over a size.
    pub fn too_old(&self, before_ms: u64, bytes_max: u64) -> rusqlite::Result<Vec<String>> {
        let connection = self.connection.lock();
        let mut statement = connection
            .prepare_cached("SELECT path, hour_ms, bytes FROM files ORDER BY hour_ms DESC")?;
        let rows = statement.query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        })?;
        let (mut kept, mut old) = (0u64, vec![]);
        for row in rows {
            let (path, hour_ms, bytes) = row?;
            kept = kept.saturating_add(bytes as u64);
            if (hour_ms as u64).saturating_add(HOUR_MS) <= before_ms || kept > bytes_max {
                old.push(path);
            }
        }
        old.reverse();
        Ok(old)
    }

    /// Forgets a file that was removed from the store.
    pub fn forget(&self, path: &str) -> rusqlite::Result<()> {
        self.connection.lock().execute("DELETE FROM files WHERE path = ?1", [path]).map(drop)
    }
}

/// Files are by hour.
pub(crate) const HOUR_MS: u64 = 3_600_000;
