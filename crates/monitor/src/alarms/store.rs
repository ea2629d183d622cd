//! The file of alarms: what is remembered of each, every change in its order, silences, how far each
//! receiver was told, and the counts of objectives. What happens together is one transaction.

use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::ModelKey;
use domain::alarm::{AlarmChange, AlarmKey, AlarmStep, Silence};
use domain::{AlertReceiver, Digest};
use policy::alarm::{Alarms, Kept};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};

use super::{Change, ReceiverStatus};

/// So many changes are kept, …
pub const CHANGES_MAX: u64 = 100_000;
/// … for so long, in milliseconds.
pub const CHANGES_MS_MAX: u64 = 90 * 86_400_000;
/// How long a statement waits for another process's, in milliseconds.
const BUSY_MS_MAX: u64 = 2_000;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS alarms (key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    step TEXT NOT NULL,
    model TEXT NOT NULL,
    severity INTEGER NOT NULL,
    silenced INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS silences (body TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS receivers (
    name TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    delivered INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0,
    told_ms INTEGER,
    failing_since_ms INTEGER,
    error TEXT
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS objectives (key TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS log (id TEXT NOT NULL) STRICT;
";

/// The open file.
pub struct Store {
    connection: Connection,
    /// Of this file: the numbers of another one begin anew.
    log_id: String,
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn text(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

fn change(row: &Row<'_>) -> rusqlite::Result<Option<Change>> {
    let (seq, at_ms, body): (i64, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    // What a newer program wrote is passed over.
    let change = serde_json::from_str::<AlarmChange>(&body).ok();
    Ok(change.map(|change| Change { seq: unsigned(seq), at_ms: unsigned(at_ms), change }))
}

fn step(step: AlarmStep) -> &'static str {
    match step {
        AlarmStep::Opened => "opened",
        AlarmStep::Updated => "updated",
        AlarmStep::Resolved => "resolved",
        AlarmStep::Unsilenced => "unsilenced",
    }
}

/// Whether the file itself is at fault, and not the disk below it.
pub fn is_broken(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

impl Store {
    /// Opens or makes the file.
    pub fn open(path: &Path) -> rusqlite::Result<Store> {
        Store::of(Connection::open(path)?)
    }

    /// One that is forgotten with this process.
    pub fn in_memory() -> rusqlite::Result<Store> {
        Store::of(Connection::open_in_memory()?)
    }

    /// Sets a broken file aside and makes another.
    pub fn anew(path: &Path) -> rusqlite::Result<Store> {
        for suffix in ["", "-wal", "-shm"] {
            let with = |more: &str| {
                let mut name = path.as_os_str().to_owned();
                name.push(more);
                PathBuf::from(name)
            };
            let (file, aside) = (with(suffix), with(&format!(".broken{suffix}")));
            if file.exists() && std::fs::rename(&file, aside).is_err() {
                let _ = std::fs::remove_file(&file);
            }
        }
        Store::open(path)
    }

    fn of(connection: Connection) -> rusqlite::Result<Store> {
        connection.busy_timeout(Duration::from_millis(BUSY_MS_MAX))?;
        // What is committed is on the disk, also after a power loss: alarms are few.
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")?;
        connection.execute_batch(TABLES)?;
        let known = connection.query_row("SELECT id FROM log", [], |row| row.get(0)).optional()?;
        let log_id = match known {
            Some(known) => known,
            None => {
                let at = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                let at = format!("{:?} {}", at.unwrap_or_default(), std::process::id());
                let id = Digest::of(at.as_bytes()).to_string();
                connection.execute("INSERT INTO log VALUES (?1)", [&id])?;
                id
            }
        };
        Ok(Store { connection, log_id })
    }

    /// So many rows were written, by all statements.
    #[cfg(test)]
    pub fn total_changes(&self) -> i64 {
        let sql = "SELECT total_changes()";
        self.connection.query_row(sql, [], |row| row.get(0)).unwrap_or(-1)
    }

    /// Of this file, and of no other.
    pub fn log_id(&self) -> &str {
        &self.log_id
    }

    /// All that is remembered of alarms.
    pub fn alarms(&self) -> rusqlite::Result<Alarms> {
        let bodies = |sql: &str| -> rusqlite::Result<Vec<String>> {
            self.connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
        };
        let (kept, silences) =
            (bodies("SELECT body FROM alarms")?, bodies("SELECT body FROM silences")?);
        let kept = kept.iter().filter_map(|body| serde_json::from_str::<Kept>(body).ok());
        let silences =
            silences.iter().filter_map(|body| serde_json::from_str::<Silence>(body).ok());
        Ok(Alarms::restored(kept, silences.collect()))
    }

    /// Writes changes, and what is remembered of these alarms from now on.
    pub fn write<'a>(
        &mut self,
        changes: impl Iterator<Item = &'a (u64, AlarmChange)>,
        keys: impl Iterator<Item = &'a AlarmKey>,
        alarms: &Alarms,
        now_ms: u64,
    ) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        for (at_ms, change) in changes {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO changes (at_ms, step, model, severity, silenced, body) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            insert.execute(params![
                signed(*at_ms),
                step(change.change),
                change.alarm.key.model().map(ModelKey::to_string).unwrap_or_default(),
                change.alarm.finding.severity as i64,
                change.silenced,
                text(change)?,
            ])?;
        }
        for key in keys {
            let (kept, name) = (alarms.kept(key), text(key)?);
            match kept.is_empty(now_ms) {
                true => transaction
                    .prepare_cached("DELETE FROM alarms WHERE key = ?1")?
                    .execute([name])?,
                false => transaction
                    .prepare_cached("INSERT OR REPLACE INTO alarms VALUES (?1, ?2)")?
                    .execute(params![name, text(&kept)?])?,
            };
        }
        transaction.commit()
    }

    /// Writes all silences.
    pub fn write_silences<'a>(
        &mut self,
        silences: impl Iterator<Item = &'a Silence>,
    ) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        transaction.execute("DELETE FROM silences", [])?;
        for silence in silences {
            transaction.execute("INSERT INTO silences VALUES (?1)", [text(silence)?])?;
        }
        transaction.commit()
    }

    /// The number of the last change.
    pub fn last(&self) -> rusqlite::Result<u64> {
        let sql = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'changes'";
        self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).map(unsigned)
    }

    /// Changes after one, in their order.
    pub fn changes(&self, after: u64, limit: usize) -> rusqlite::Result<Vec<Change>> {
        let sql = "SELECT seq, at_ms, body FROM changes WHERE seq > ?1 ORDER BY seq LIMIT ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(params![signed(after), signed(limit as u64)], change)?;
        rows.filter_map(Result::transpose).collect()
    }

    /// The ends of alarms before a change, the newest first.
    pub fn resolved(&self, before: u64, limit: usize) -> rusqlite::Result<Vec<Change>> {
        let sql = "SELECT seq, at_ms, body FROM changes WHERE seq < ?1 AND step = 'resolved' \
                   ORDER BY seq DESC LIMIT ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(params![signed(before), signed(limit as u64)], change)?;
        rows.filter_map(Result::transpose).collect()
    }

    /// Drops what is too old or too much, updates first. What a receiver has not been told of the
    /// rest is counted as lost to it.
    pub fn prune(&mut self, now_ms: u64) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        let old = signed(now_ms.saturating_sub(CHANGES_MS_MAX));
        let rows = |of: &rusqlite::Transaction<'_>| -> rusqlite::Result<i64> {
            of.query_row("SELECT count(*) FROM changes", [], |row| row.get(0))
        };
        let over = rows(&transaction)? - signed(CHANGES_MAX);
        if over > 0 {
            let sql = "DELETE FROM changes WHERE seq IN \
                       (SELECT seq FROM changes WHERE step = 'updated' ORDER BY seq LIMIT ?1)";
            transaction.execute(sql, [over])?;
        }
        let over = (rows(&transaction)? - signed(CHANGES_MAX)).max(0);
        let sql = "SELECT coalesce(max(seq), 0) FROM (SELECT seq FROM changes WHERE at_ms < ?1 \
                   UNION ALL SELECT seq FROM (SELECT seq FROM changes ORDER BY seq LIMIT ?2))";
        let cut: i64 = transaction.query_row(sql, [old, over], |row| row.get(0))?;
        let sql = "UPDATE receivers SET lost = lost + (SELECT count(*) FROM changes \
                   WHERE seq > receivers.seq AND seq <= ?1 AND silenced = 0 AND step != 'updated'), \
                   seq = ?1 WHERE seq < ?1";
        transaction.execute(sql, [cut])?;
        transaction.execute("DELETE FROM changes WHERE seq <= ?1", [cut])?;
        transaction.commit()
    }

    /// Changes have numbers after this one: those of a file before are not used again.
    pub fn number_after(&self, seq: u64) -> rusqlite::Result<()> {
        let sql = "INSERT INTO sqlite_sequence (name, seq) VALUES ('changes', ?1)";
        self.connection.execute(sql, [signed(seq)]).map(drop)
    }

    /// Somebody is told what comes after a number, if they were not told of anything before.
    pub fn begin(&self, receiver: &str, after: u64) -> rusqlite::Result<()> {
        let sql = "INSERT OR IGNORE INTO receivers (name, seq) VALUES (?1, ?2)";
        self.connection.execute(sql, params![receiver, signed(after)]).map(drop)
    }

    /// Somebody is told no more.
    pub fn end(&self, receiver: &str) -> rusqlite::Result<()> {
        self.connection.execute("DELETE FROM receivers WHERE name = ?1", [receiver]).map(drop)
    }

    /// How far somebody was told; `None` if they do not belong to it.
    pub fn told(&self, receiver: &str) -> rusqlite::Result<Option<u64>> {
        let sql = "SELECT seq FROM receivers WHERE name = ?1";
        let seq = self.connection.prepare_cached(sql)?.query_row([receiver], |row| row.get(0));
        Ok(seq.optional()?.map(unsigned))
    }

    /// Somebody was told up to here: of so many changes, while so many were lost to them.
    pub fn advance(
        &self,
        receiver: &str,
        seq: u64,
        (told, lost): (u64, u64),
        now_ms: u64,
    ) -> rusqlite::Result<()> {
        let sql = "UPDATE receivers SET seq = max(seq, ?2), delivered = delivered + ?3, \
                   lost = lost + ?4, \
                   told_ms = CASE WHEN ?3 > 0 THEN ?5 ELSE told_ms END, \
                   failing_since_ms = CASE WHEN ?3 > 0 THEN NULL ELSE failing_since_ms END, \
                   error = CASE WHEN ?3 > 0 THEN NULL ELSE error END WHERE name = ?1";
        let values = params![receiver, signed(seq), signed(told), signed(lost), signed(now_ms)];
        self.connection.prepare_cached(sql)?.execute(values).map(drop)
    }

    /// Somebody could not be told, or can again.
    pub fn note(&self, receiver: &str, error: Option<&str>, now_ms: u64) -> rusqlite::Result<()> {
        let sql = "UPDATE receivers SET error = ?2, failing_since_ms = CASE WHEN ?2 IS NULL \
                   THEN NULL ELSE coalesce(failing_since_ms, ?3) END WHERE name = ?1";
        self.connection
            .prepare_cached(sql)?
            .execute(params![receiver, error, signed(now_ms)])
            .map(drop)
    }

    /// How it stands with somebody.
    pub fn status(&self, receiver: &AlertReceiver) -> rusqlite::Result<ReceiverStatus> {
        let sql = "SELECT seq, delivered, lost, told_ms, failing_since_ms, error \
                   FROM receivers WHERE name = ?1";
        let found =
            self.connection.prepare_cached(sql)?.query_row([receiver.name.as_str()], |row| {
                let optional = |at: usize| row.get::<_, Option<i64>>(at).map(|it| it.map(unsigned));
                let status = ReceiverStatus {
                    waiting: 0,
                    delivered: unsigned(row.get(1)?),
                    lost: unsigned(row.get(2)?),
                    told_ms: optional(3)?,
                    failing_since_ms: optional(4)?,
                    error: row.get(5)?,
                };
                Ok((row.get::<_, i64>(0)?, status))
            });
        let Some((seq, status)) = found.optional()? else { return Ok(ReceiverStatus::default()) };
        let sql = "SELECT count(*) FROM changes WHERE seq > ?1 AND silenced = 0 \
                   AND severity >= ?2 AND (?3 IS NULL OR model = ?3)";
        let model = receiver.model.as_ref().map(ToString::to_string);
        let values = params![seq, receiver.severity as i64, model];
        let waiting = self.connection.prepare_cached(sql)?.query_row(values, |row| row.get(0))?;
        Ok(ReceiverStatus { waiting: unsigned(waiting), ..status })
    }

    /// The counts of objectives, by key.
    pub fn objectives(&self) -> rusqlite::Result<Vec<(String, Vec<u8>)>> {
        let mut statement = self.connection.prepare("SELECT key, body FROM objectives")?;
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    }

    /// Keeps counts of objectives, and drops others.
    pub fn write_objectives(
        &mut self,
        kept: &[(String, Vec<u8>)],
        dropped: &[String],
    ) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        for (key, body) in kept {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO objectives VALUES (?1, ?2)")?
                .execute(params![key, body])?;
        }
        for key in dropped {
            transaction.execute("DELETE FROM objectives WHERE key = ?1", [key])?;
        }
        transaction.commit()
    }
}
