//! The file of a history: its tables, and what makes hours of minutes and days of hours.
//!
//! What is due (an hour of which a minute has changed) is read from the minutes until it is made of
//! them. What is taken out of a level, for its age or for lack of room, goes into the *base* of the
//! level above: an hour is its base and the minutes that are still there. So whatever comes late is
//! counted once.

use std::path::Path;
use std::time::Duration;

use rusqlite::types::ToSql;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};

use super::body::{Body, merged};
use super::level::Level;

/// How long a statement waits for another process that writes, in milliseconds.
const BUSY_MS_MAX: u64 = 5_000;
/// Of the tables; a file with a newer one is left alone.
pub(super) const VERSION: u32 = 1;
/// What a row takes beside its body, in bytes, about.
const ROW_BYTES: i64 = 80;

/// The writer of what was made of a lower level.
const WHOLE: i64 = 0;
/// The writer of what a lower level had before it was taken out there.
const BASE: i64 = -1;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS series (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    project TEXT NOT NULL, model TEXT NOT NULL, environment TEXT NOT NULL,
    version INTEGER NOT NULL, digest TEXT NOT NULL, revision INTEGER NOT NULL,
    direction INTEGER NOT NULL, name TEXT NOT NULL, kind INTEGER NOT NULL,
    UNIQUE (project, model, environment, version, digest, revision, direction, name, kind)
) STRICT;
CREATE TABLE IF NOT EXISTS parts (
    level INTEGER NOT NULL, series INTEGER NOT NULL, start_ms INTEGER NOT NULL,
    writer INTEGER NOT NULL, sequence INTEGER NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS parts_of ON parts (level, series, start_ms, writer, sequence);
CREATE INDEX IF NOT EXISTS parts_at ON parts (level, start_ms, series);
CREATE TABLE IF NOT EXISTS due (
    level INTEGER NOT NULL, start_ms INTEGER NOT NULL, series INTEGER NOT NULL,
    PRIMARY KEY (level, start_ms, series)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS due_of ON due (series, level, start_ms);
CREATE TABLE IF NOT EXISTS numbers (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS taken (writer INTEGER PRIMARY KEY, sequence INTEGER NOT NULL) STRICT;
";

/// Rows of one series that belong together: one is there once for each.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub level: Level,
    pub series: Series,
    pub start_ms: i64,
    pub writer: i64,
    pub sequence: i64,
}

/// A series, and what its bodies are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Series {
    pub id: i64,
    pub kind: i64,
}

/// Whether an error says that the file is none of ours, or damaged.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Opens the file, or makes it.
pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_millis(BUSY_MS_MAX))?;
    // After a power loss, the last seconds may be missing.
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")?;
    connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
    Ok(connection)
}

/// The version of its tables; 0 if it has none.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Makes the tables that are not there.
pub(super) fn make(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(TABLES)?;
    connection.pragma_update(None, "user_version", VERSION)
}

/// What is in a file. Whoever changes something holds a transaction.
pub(super) struct Store<'c>(pub &'c Connection);

impl Store<'_> {
    /// Adds to a number of the file, and gives what it is then.
    pub fn add_to(&self, name: &str, value: i64) -> rusqlite::Result<i64> {
        let sql = "INSERT INTO numbers VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE \
                   SET value = value + excluded.value RETURNING value";
        self.0.prepare_cached(sql)?.query_row(params![name, value], |row| row.get(0))
    }

    /// Bytes that are in use in the file.
    pub fn used_bytes(&self) -> rusqlite::Result<u64> {
        let number = |name| self.0.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
        let pages = number("page_count")?.saturating_sub(number("freelist_count")?);
        Ok(pages * number("page_size")?)
    }

    /// Bytes of a level's rows, about.
    pub fn level_bytes(&self, level: Level) -> rusqlite::Result<u64> {
        let sql = "SELECT value FROM numbers WHERE name = ?1";
        let mut statement = self.0.prepare_cached(sql)?;
        let bytes: Option<i64> =
            statement.query_row([level.as_str()], |row| row.get(0)).optional()?;
        Ok(u64::try_from(bytes.unwrap_or(0)).unwrap_or(0))
    }

    /// Puts a part in the place of the same part that was there.
    pub fn put(&self, part: Part, body: &[u8]) -> rusqlite::Result<()> {
        let Part { level, series, start_ms, writer, sequence } = part;
        let of = params![level.number(), series.id, start_ms, writer, sequence];
        let old = "SELECT length(body) FROM parts \
                   WHERE level = ?1 AND series = ?2 AND start_ms = ?3 AND writer = ?4 AND sequence = ?5";
        let old: Option<i64> =
            self.0.prepare_cached(old)?.query_row(of, |row| row.get(0)).optional()?;
        self.0
            .prepare_cached("INSERT OR REPLACE INTO parts VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(params![level.number(), series.id, start_ms, writer, sequence, body])?;
        let more = body.len() as i64 - old.map_or(-ROW_BYTES, |old| old);
        self.add_to(level.as_str(), more).map(drop)
    }

    /// Removes all parts of a level from a time to another, of one series or of all.
    fn remove(
        &self,
        level: Level,
        series: Option<Series>,
        (from_ms, to_ms): (i64, i64),
        writers: &str,
    ) -> rusqlite::Result<u64> {
        let id = series.map_or(0, |series| series.id);
        let of = match series {
            Some(_) => "series = ?2",
            None => "0 = ?2",
        };
        let filter =
            format!("level = ?1 AND {of} AND start_ms >= ?3 AND start_ms < ?4 AND {writers}");
        let sums =
            format!("SELECT count(*), coalesce(sum(length(body)), 0) FROM parts WHERE {filter}");
        let values = params![level.number(), id, from_ms, to_ms];
        let (rows, bytes): (i64, i64) = self
            .0
            .prepare_cached(&sums)?
            .query_row(values, |row| Ok((row.get(0)?, row.get(1)?)))?;
        if rows > 0 {
            if let (None, Some(series)) = (level.below(), series) {
                self.remember(series, (from_ms, to_ms))?;
            }
            self.0.prepare_cached(&format!("DELETE FROM parts WHERE {filter}"))?.execute(values)?;
            self.add_to(level.as_str(), -(bytes + rows * ROW_BYTES))?;
        }
        Ok(rows as u64)
    }

    /// Whether something is to be made anew of the level below.
    fn is_due(&self, level: Level, series: Series, start_ms: i64) -> rusqlite::Result<bool> {
        let sql = "SELECT 1 FROM due WHERE level = ?1 AND start_ms = ?2 AND series = ?3";
        self.0.prepare_cached(sql)?.exists(params![level.number(), start_ms, series.id])
    }

    /// Marks the hour and the day of a minute as due.
    pub fn mark(&self, series: Series, start_ms: i64) -> rusqlite::Result<()> {
        let sql = "INSERT OR IGNORE INTO due VALUES (?1, ?2, ?3)";
        let mut statement = self.0.prepare_cached(sql)?;
        for level in [Level::Hour, Level::Day] {
            statement.execute(params![level.number(), level.start_of(start_ms), series.id])?;
        }
        Ok(())
    }

    /// What is no longer due, or never will be made.
    fn unmark(&self, level: Level, series: Series, start_ms: i64) -> rusqlite::Result<()> {
        let sql = "DELETE FROM due WHERE level = ?1 AND start_ms = ?2 AND series = ?3";
        let mut statement = self.0.prepare_cached(sql)?;
        statement.execute(params![level.number(), start_ms, series.id]).map(drop)
    }

    /// The oldest that are due and begin before a time: series and beginning.
    pub fn due(
        &self,
        level: Level,
        before_ms: i64,
        count_max: usize,
    ) -> rusqlite::Result<Vec<(Series, i64)>> {
        let sql = "SELECT due.series, series.kind, due.start_ms FROM due JOIN series ON series.id = due.series \
                   WHERE due.level = ?1 AND due.start_ms < ?2 ORDER BY due.start_ms, due.series LIMIT ?3";
        let mut statement = self.0.prepare_cached(sql)?;
        let rows = statement
            .query_map(params![level.number(), before_ms, count_max as i64], series_and_start)?;
        rows.collect()
    }

    /// The oldest that are stored of a level before a time: series, and the beginning of what they
    /// are a part of at the level above.
    pub fn oldest(
        &self,
        level: Level,
        before_ms: i64,
        count_max: usize,
    ) -> rusqlite::Result<Vec<(Series, i64)>> {
        let first = "SELECT start_ms FROM parts WHERE level = ?1 AND start_ms < ?2 \
                     ORDER BY start_ms LIMIT 1";
        let first: Option<i64> = self
            .0
            .prepare_cached(first)?
            .query_row(params![level.number(), before_ms], |row| row.get(0))
            .optional()?;
        let Some(first) = first else { return Ok(vec![]) };
        let above = level.above().unwrap_or(level);
        let (start_ms, end_ms) = (above.start_of(first), above.end_of(first).min(before_ms));
        let sql = "SELECT DISTINCT parts.series, series.kind, ?2 FROM parts JOIN series ON series.id = parts.series \
                   WHERE parts.level = ?1 AND parts.start_ms >= ?2 AND parts.start_ms < ?3 LIMIT ?4";
        let mut statement = self.0.prepare_cached(sql)?;
        let values = params![level.number(), start_ms, end_ms, count_max as i64];
        let rows = statement.query_map(values, series_and_start)?;
        rows.collect()
    }

    /// What stored parts are together; those that cannot be read are left out.
    fn stored(
        &self,
        level: Level,
        series: Series,
        (from_ms, to_ms): (i64, i64),
        writers: &str,
    ) -> rusqlite::Result<Option<Body>> {
        let sql = format!(
            "SELECT body FROM parts WHERE level = ?1 AND series = ?2 AND start_ms >= ?3 AND start_ms < ?4 \
             AND {writers} ORDER BY start_ms, writer, sequence"
        );
        let mut statement = self.0.prepare_cached(&sql)?;
        let mut rows = statement.query(params![level.number(), series.id, from_ms, to_ms])?;
        let mut all: Option<Body> = None;
        while let Some(row) = rows.next()? {
            let Ok(body) = Body::decode(series.kind, row.get_ref(0)?.as_blob()?) else { continue };
            match &mut all {
                Some(all) => all.merge(&body),
                None => all = Some(body),
            }
        }
        Ok(all)
    }

    /// All that is known of a series in one minute, hour or day, made from below if it is due.
    pub fn total(
        &self,
        level: Level,
        series: Series,
        start_ms: i64,
    ) -> rusqlite::Result<Option<Body>> {
        let this = (start_ms, start_ms + 1);
        let Some(below) = level.below() else {
            return self.stored(level, series, (start_ms, level.end_of(start_ms)), "true");
        };
        if !self.is_due(level, series, start_ms)?
            && let Some(whole) = self.stored(level, series, this, "writer = 0")?
        {
            return Ok(Some(whole));
        }
        let base = self.stored(level, series, this, "writer = -1")?;
        let time = (start_ms, level.end_of(start_ms));
        if below.below().is_none() {
            let minutes = self.stored(below, series, time, "true")?;
            return Ok(merged([base, minutes].into_iter().flatten()));
        }
        let starts = self.starts(below, series, time)?;
        let parts =
            starts.into_iter().filter_map(|start| self.total(below, series, start).transpose());
        let parts = parts.collect::<rusqlite::Result<Vec<Body>>>()?;
        Ok(merged(base.into_iter().chain(parts)))
    }

    /// When there is something of a series: beginnings, ascending.
    pub fn starts(
        &self,
        level: Level,
        series: Series,
        (from_ms, to_ms): (i64, i64),
    ) -> rusqlite::Result<Vec<i64>> {
        let sql = "SELECT start_ms FROM parts WHERE level = ?1 AND series = ?2 AND start_ms >= ?3 AND start_ms < ?4 \
                   UNION SELECT start_ms FROM due WHERE level = ?1 AND series = ?2 AND start_ms >= ?3 AND start_ms < ?4 \
                   ORDER BY 1";
        let mut statement = self.0.prepare_cached(sql)?;
        let values: [&dyn ToSql; 4] = [&level.number(), &series.id, &from_ms, &to_ms];
        let rows = statement.query_map(values, |row| row.get(0))?;
        rows.collect()
    }

    /// Makes an hour of its minutes, or a day of its hours.
    pub fn make_whole(&self, level: Level, series: Series, start_ms: i64) -> rusqlite::Result<()> {
        let Some(below) = level.below() else { return Ok(()) };
        let time = (start_ms, level.end_of(start_ms));
        if self.starts(below, series, time)?.is_empty() {
            self.remove(level, Some(series), (start_ms, start_ms + 1), "writer = 0")?;
        } else if let Some(total) = self.total(level, series, start_ms)? {
            let part = Part { level, series, start_ms, writer: WHOLE, sequence: 0 };
            self.put(part, &total.encode())?;
        }
        self.unmark(level, series, start_ms)
    }

    /// Takes what a series has at a level, before a time, out of one hour or day of the level above,
    /// and into its base. What is due there remains due.
    pub fn take_out(
        &self,
        level: Level,
        series: Series,
        start_ms: i64,
        before_ms: i64,
    ) -> rusqlite::Result<()> {
        let Some(above) = level.above() else { return Ok(()) };
        let end_ms = above.end_of(start_ms).min(before_ms);
        let starts = self.starts(level, series, (start_ms, end_ms))?;
        if starts.is_empty() {
            return Ok(());
        }
        let this = (start_ms, start_ms + 1);
        let is_all = end_ms == above.end_of(start_ms) && !self.is_due(above, series, start_ms)?;
        let whole = if is_all { self.bytes_of_whole(above, series, start_ms)? } else { None };
        // What is complete and known need not be added up again.
        let mut taken = vec![];
        if whole.is_none() {
            taken.extend(self.stored(above, series, this, "writer = -1")?);
            for start in &starts {
                taken.extend(self.total(level, series, *start)?);
            }
        }
        if let Some(below) = level.below() {
            for start in starts {
                self.remove(below, Some(series), (start, level.end_of(start)), "true")?;
                self.unmark(level, series, start)?;
            }
        }
        self.remove(level, Some(series), (start_ms, end_ms), "true")?;
        if let Some(body) = whole.or_else(|| merged(taken).map(|base| base.encode())) {
            let part = Part { level: above, series, start_ms, writer: BASE, sequence: 0 };
            self.put(part, &body)?;
        }
        if self.starts(level, series, (start_ms, above.end_of(start_ms)))?.is_empty() {
            self.remove(above, Some(series), this, "writer = 0")?;
        }
        Ok(())
    }

    fn bytes_of_whole(
        &self,
        level: Level,
        series: Series,
        start_ms: i64,
    ) -> rusqlite::Result<Option<Vec<u8>>> {
        let sql = "SELECT body FROM parts \
                   WHERE level = ?1 AND series = ?2 AND start_ms = ?3 AND writer = 0";
        let mut statement = self.0.prepare_cached(sql)?;
        let values = params![level.number(), series.id, start_ms];
        let body: Option<Vec<u8>> = statement.query_row(values, |row| row.get(0)).optional()?;
        Ok(body.filter(|body| Body::decode(series.kind, body).is_ok()))
    }

    /// Remembers of whom minutes are taken out, so that nobody writes them again.
    fn remember(&self, series: Series, (from_ms, to_ms): (i64, i64)) -> rusqlite::Result<()> {
        let sql = "INSERT INTO taken SELECT writer, max(sequence) FROM parts \
                   WHERE level = 0 AND series = ?1 AND start_ms >= ?2 AND start_ms < ?3 GROUP BY writer \
                   ON CONFLICT (writer) DO UPDATE SET sequence = max(sequence, excluded.sequence)";
        self.0.prepare_cached(sql)?.execute(params![series.id, from_ms, to_ms]).map(drop)
    }

    /// The last minute of a writer that was taken out.
    pub fn taken(&self, writer: i64) -> rusqlite::Result<Option<i64>> {
        let sql = "SELECT sequence FROM taken WHERE writer = ?1";
        self.0.prepare_cached(sql)?.query_row([writer], |row| row.get(0)).optional()
    }

    /// Removes days that begin before a time, and what hangs on them. Gives how many rows went.
    pub fn remove_days(&self, before_ms: i64) -> rusqlite::Result<u64> {
        let time = (i64::MIN, before_ms);
        self.0.execute("DELETE FROM due WHERE start_ms < ?1", [before_ms])?;
        for level in [Level::Minute, Level::Hour] {
            self.remove(level, None, time, "true")?;
        }
        let rows = self.remove(Level::Day, None, time, "true")?;
        if rows == 0 {
            return Ok(0);
        }
        let unused = "DELETE FROM series WHERE NOT EXISTS \
                      (SELECT 1 FROM parts WHERE parts.series = series.id AND level IN (0, 1, 2))";
        self.0.execute(unused, [])?;
        Ok(rows)
    }

    /// The beginning of the oldest that is stored of a level.
    pub fn first(&self, level: Level) -> rusqlite::Result<Option<i64>> {
        let sql = "SELECT min(start_ms) FROM parts WHERE level = ?1";
        self.0.prepare_cached(sql)?.query_row([level.number()], |row| row.get(0))
    }
}

fn series_and_start(row: &Row<'_>) -> rusqlite::Result<(Series, i64)> {
    Ok((Series { id: row.get(0)?, kind: row.get(1)? }, row.get(2)?))
}
