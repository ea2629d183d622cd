//! How good models were: the sums of each hour of predictions, whenever their truth comes, in one
//! SQLite file. Whoever reads records hands in rows; this says which hours it should read again.

mod cohort;
mod hour;
mod keys;
mod learnt;
mod losses;
mod report;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use domain::{EnvironmentName, ModelKey};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, params};

pub use cohort::{HOUR_MS, HourOf, QualityCohort};
pub use hour::{HourRow, HourSums};
pub use keys::Keys;
pub use learnt::{CALIBRATION_ROWS_MIN, Learnt, choose_output};
pub use losses::{Losses, USUAL_DAYS};
pub use report::{QualityReport, QualityUndecided, QualityWindow, Step, cohort_of};

/// Hours that are kept of all models together, about 10 KB each.
pub const HOURS_MAX: u64 = 100_000;
/// How long they are kept, in days.
pub const DAYS_MAX: u64 = 400;
const DAY_MS: u64 = 86_400_000;
/// How long a writer waits for another that writes, in milliseconds.
const BUSY_MS_MAX: u64 = 5_000;
/// An hour that has less than this share of the predictions that it had is one whose records are
/// being removed: it stays as it was.
const SHRUNK: f64 = 0.9;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS hours (
        project TEXT NOT NULL, model TEXT NOT NULL, hour_ms INTEGER NOT NULL,
        files INTEGER NOT NULL, bytes INTEGER NOT NULL, basis TEXT NOT NULL, keys BLOB NOT NULL,
        PRIMARY KEY (project, model, hour_ms)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS hours_at ON hours (hour_ms);
    CREATE TABLE IF NOT EXISTS cohorts (
        project TEXT NOT NULL, model TEXT NOT NULL, hour_ms INTEGER NOT NULL,
        environment TEXT NOT NULL, version INTEGER NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (project, model, hour_ms, environment, version)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS learnt (
        project TEXT NOT NULL, model TEXT NOT NULL, environment TEXT NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (project, model, environment)
    ) STRICT, WITHOUT ROWID;
";

/// What an hour was computed from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Source {
    /// Files of records.
    pub files: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// How they were compared: [`Learnt::basis`] of all environments.
    pub basis: String,
}

/// The sums of all hours.
pub struct Quality {
    connection: Mutex<Connection>,
}

impl Quality {
    /// Opens the file, or makes it.
    pub fn open(path: &Path) -> rusqlite::Result<Quality> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS_MAX))?;
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")?;
        connection.execute_batch(TABLES)?;
        Ok(Quality { connection: Mutex::new(connection) })
    }

    /// What each hour of a model was computed from, by its begin.
    pub fn sources(&self, model: &ModelKey) -> rusqlite::Result<HashMap<u64, Source>> {
        let connection = self.connection.lock();
        let sql = "SELECT hour_ms, files, bytes, basis FROM hours \
                   WHERE project = ?1 AND model = ?2";
        let mut statement = connection.prepare_cached(sql)?;
        let names = [model.project.as_str(), model.model.as_str()];
        let rows = statement.query_map(names, |row| {
            let (hour_ms, files, bytes): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let basis = row.get(3)?;
            Ok((hour_ms as u64, Source { files: files as u64, bytes: bytes as u64, basis }))
        })?;
        rows.collect()
    }

    /// Models that something was learnt of, by name; at most so many.
    pub fn models(&self, limit: usize) -> rusqlite::Result<Vec<ModelKey>> {
        let connection = self.connection.lock();
        let sql = "SELECT DISTINCT project, model FROM learnt ORDER BY project, model LIMIT ?1";
        let mut statement = connection.prepare_cached(sql)?;
        let names = statement
            .query_map([limit as i64], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<Vec<(String, String)>>>()?;
        let model = |(project, model): (String, String)| {
            Some(ModelKey { project: project.parse().ok()?, model: model.parse().ok()? })
        };
        Ok(names.into_iter().filter_map(model).collect())
    }

    /// The hours of a model that may have predictions of one of these keys, each made before a time
    /// and not more than `truth_ms_max` milliseconds before it.
    pub fn hours_with(
        &self,
        model: &ModelKey,
        keys: &[(&str, u64)],
        truth_ms_max: u64,
    ) -> rusqlite::Result<Vec<u64>> {
        let (Some(first), Some(last)) = (
            keys.iter().map(|(_, until_ms)| *until_ms).min(),
            keys.iter().map(|(_, until_ms)| *until_ms).max(),
        ) else {
            return Ok(vec![]);
        };
        let from_ms = first.saturating_sub(truth_ms_max).saturating_sub(HOUR_MS);
        let connection = self.connection.lock();
        let sql = "SELECT hour_ms, keys FROM hours \
                   WHERE project = ?1 AND model = ?2 AND hour_ms BETWEEN ?3 AND ?4";
        let mut statement = connection.prepare_cached(sql)?;
        let names = params![
            model.project.as_str(),
            model.model.as_str(),
            from_ms as i64,
            i64::try_from(last).unwrap_or(i64::MAX)
        ];
        let rows = statement.query_map(names, |row| {
            Ok((row.get::<_, i64>(0)? as u64, Keys::from(row.get::<_, Vec<u8>>(1)?)))
        })?;
        let mut hours = vec![];
        for row in rows {
            let (hour_ms, known) = row?;
            if keys.iter().any(|(key, until_ms)| hour_ms <= *until_ms && known.may_have(key)) {
                hours.push(hour_ms);
            }
        }
        Ok(hours)
    }

    /// What was learnt of a model's values, by environment.
    pub fn learnt(&self, model: &ModelKey) -> rusqlite::Result<BTreeMap<EnvironmentName, Learnt>> {
        let connection = self.connection.lock();
        let sql = "SELECT environment, body FROM learnt WHERE project = ?1 AND model = ?2";
        let mut statement = connection.prepare_cached(sql)?;
        let names = [model.project.as_str(), model.model.as_str()];
        let rows = statement.query_map(names, |row| Ok((row.get(0)?, row.get(1)?)))?;
        let rows = rows.collect::<Result<Vec<(String, String)>, _>>()?;
        let read = |(name, body): (String, String)| {
            Some((name.parse().ok()?, serde_json::from_str(&body).ok()?))
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }

    /// Keeps what was learnt.
    pub fn keep_learnt(
        &self,
        model: &ModelKey,
        learnt: &BTreeMap<EnvironmentName, Learnt>,
    ) -> rusqlite::Result<()> {
        let mut connection = self.connection.lock();
        let transaction = connection.transaction()?;
        for (environment, learnt) in learnt {
            let body = serde_json::to_string(learnt).unwrap_or_default();
            transaction.execute(
                "INSERT OR REPLACE INTO learnt VALUES (?1, ?2, ?3, ?4)",
                params![model.project.as_str(), model.model.as_str(), environment.as_str(), body],
            )?;
        }
        transaction.commit()
    }

    /// Keeps an hour in place of what it was. One that lost predictions, because their records are
    /// being removed, stays as it was; `false` then.
    pub fn keep_hour(
        &self,
        model: &ModelKey,
        source: &Source,
        hour: &HourSums,
    ) -> rusqlite::Result<bool> {
        let mut connection = self.connection.lock();
        let transaction = connection.transaction()?;
        let names = (model.project.as_str(), model.model.as_str(), hour.hour_ms as i64);
        let known: Vec<HourOf> = cohorts(&transaction, model, hour.hour_ms, hour.hour_ms)?;
        let before: u64 = known.iter().map(|cohort| cohort.sums.cohort.predictions).sum();
        let now: u64 = hour.cohorts.iter().map(|cohort| cohort.sums.cohort.predictions).sum();
        let has_shrunk = (now as f64) < before as f64 * SHRUNK;
        transaction.execute(
            "INSERT INTO hours VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET \
             files = excluded.files, bytes = excluded.bytes, basis = excluded.basis, \
             keys = iif(?8, keys, excluded.keys)",
            params![
                names.0,
                names.1,
                names.2,
                source.files as i64,
                source.bytes as i64,
                source.basis,
                hour.keys.as_bytes(),
                has_shrunk
            ],
        )?;
        if !has_shrunk {
            let sql = "DELETE FROM cohorts WHERE project = ?1 AND model = ?2 AND hour_ms = ?3";
            transaction.execute(sql, names)?;
            for cohort in &hour.cohorts {
                let body = serde_json::to_string(cohort).unwrap_or_default();
                transaction.execute(
                    "INSERT INTO cohorts VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![
                        names.0,
                        names.1,
                        names.2,
                        cohort.environment.as_str(),
                        cohort.version.0 as i64,
                        body
                    ],
                )?;
            }
        }
        transaction.commit()?;
        Ok(!has_shrunk)
    }

    /// The cohorts of a model whose hours begin from one time to another, oldest first; times are in
    /// milliseconds since 1970.
    pub fn cohorts(
        &self,
        model: &ModelKey,
        from_ms: u64,
        to_ms: u64,
    ) -> rusqlite::Result<Vec<HourOf>> {
        cohorts(&self.connection.lock(), model, from_ms, to_ms)
    }

    /// Removes hours that are too old or too many.
    pub fn retain(&self, now_ms: u64) -> rusqlite::Result<()> {
        let connection = self.connection.lock();
        let sql = "SELECT hour_ms FROM hours ORDER BY hour_ms DESC LIMIT 1 OFFSET ?1";
        let over: Option<i64> =
            connection.query_row(sql, [HOURS_MAX as i64], |row| row.get(0)).optional()?;
        let before_ms = now_ms.saturating_sub(DAYS_MAX * DAY_MS) as i64;
        let before_ms = before_ms.max(over.unwrap_or(0));
        connection.execute("DELETE FROM hours WHERE hour_ms < ?1", [before_ms])?;
        connection.execute("DELETE FROM cohorts WHERE hour_ms < ?1", [before_ms]).map(drop)
    }

    /// Forgets a model that was removed.
    pub fn forget(&self, model: &ModelKey) -> rusqlite::Result<()> {
        let connection = self.connection.lock();
        for table in ["hours", "cohorts", "learnt"] {
            let sql = format!("DELETE FROM {table} WHERE project = ?1 AND model = ?2");
            connection.execute(&sql, [model.project.as_str(), model.model.as_str()])?;
        }
        Ok(())
    }
}

fn cohorts(
    connection: &Connection,
    model: &ModelKey,
    from_ms: u64,
    to_ms: u64,
) -> rusqlite::Result<Vec<HourOf>> {
    let sql = "SELECT body FROM cohorts WHERE project = ?1 AND model = ?2 \
               AND hour_ms BETWEEN ?3 AND ?4 ORDER BY hour_ms, environment, version";
    let mut statement = connection.prepare_cached(sql)?;
    let to_ms = i64::try_from(to_ms).unwrap_or(i64::MAX);
    let names = params![model.project.as_str(), model.model.as_str(), from_ms as i64, to_ms];
    let rows = statement.query_map(names, |row| row.get::<_, String>(0))?;
    rows.filter_map(|row| row.map(|body| serde_json::from_str(&body).ok()).transpose()).collect()
}
