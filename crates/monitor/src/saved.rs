//! What detectors know, kept in a file over restarts. It can be lost: then what is usual is learned
//! anew.

use std::path::Path;

use rusqlite::{Connection, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use domain::alarm::Target;

/// How long a lock of another process is waited for, in milliseconds.
const BUSY_MS_MAX: u64 = 2_000;
/// A part of a model's state that is larger is not kept, in bytes.
const BODY_BYTES_MAX: usize = 64 << 20;
/// Of another version, everything is begun anew.
const VERSION: i64 = 1;

/// The file.
pub struct Saved {
    connection: Connection,
}

/// A part of what is known of a model, as bytes.
pub struct Part {
    target: String,
    body: Vec<u8>,
}

impl Part {
    /// Of this.
    pub fn of(target: &Target, body: &impl Serialize) -> Part {
        let target = serde_json::to_string(target).unwrap_or_default();
        Part { target, body: serde_json::to_vec(body).unwrap_or_default() }
    }
}

impl Saved {
    /// Opens or makes it. One that cannot be read is begun anew.
    pub fn open(path: &Path) -> Result<Saved, rusqlite::Error> {
        let open = || -> Result<Saved, rusqlite::Error> {
            let connection = Connection::open(path)?;
            connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS_MAX))?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            let version: i64 =
                connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            if version != VERSION {
                connection.execute_batch("DROP TABLE IF EXISTS parts")?;
                connection.pragma_update(None, "user_version", VERSION)?;
            }
            connection.execute_batch(
                "CREATE TABLE IF NOT EXISTS parts (kind TEXT NOT NULL, target TEXT NOT NULL,
                 body BLOB NOT NULL, PRIMARY KEY (kind, target)) WITHOUT ROWID",
            )?;
            Ok(Saved { connection })
        };
        open().or_else(|_| {
            let _ = std::fs::remove_file(path);
            open()
        })
    }

    /// All parts of a kind that can be read.
    pub fn load<T: DeserializeOwned>(&self, kind: &str) -> Vec<(Target, T)> {
        let load = || -> Result<Vec<(Target, T)>, rusqlite::Error> {
            let mut query =
                self.connection.prepare("SELECT target, body FROM parts WHERE kind = ?1")?;
            let rows = query.query_map([kind], |row| {
                let (target, body): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
                Ok(serde_json::from_str(&target).ok().zip(serde_json::from_slice(&body).ok()))
            })?;
            rows.filter_map(Result::transpose).collect()
        };
        load().unwrap_or_default()
    }

    /// Keeps parts of a kind, in one transaction.
    pub fn save(&mut self, kind: &str, parts: &[Part]) -> Result<(), rusqlite::Error> {
        let parts = parts.iter().filter(|part| part.body.len() <= BODY_BYTES_MAX);
        let transaction = self.connection.transaction()?;
        for Part { target, body } in parts {
            transaction.execute(
                "INSERT INTO parts VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET body = excluded.body",
                params![kind, target, body],
            )?;
        }
        transaction.commit()
    }

    /// Forgets models that are no more.
    pub fn retain(&mut self, exists: impl Fn(&Target) -> bool) -> Result<(), rusqlite::Error> {
        let known: Vec<String> = {
            let mut query = self.connection.prepare("SELECT DISTINCT target FROM parts")?;
            query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?
        };
        let gone = known.iter().filter(|text| {
            serde_json::from_str::<Target>(text).map_or(true, |target| !exists(&target))
        });
        for target in gone {
            self.connection.execute("DELETE FROM parts WHERE target = ?1", [target])?;
        }
        Ok(())
    }
}
