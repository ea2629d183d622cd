//! What columns and requests were like, kept in a file: minutes for days, hours for months, days
//! for a year. It survives restarts, takes late parts of minutes, and is bounded in bytes.
//!
//! One thread writes, and nobody waits for it: what cannot be written is counted and dropped. Any
//! number of threads read through a [`Reader`].

mod body;
mod level;
mod read;
mod store;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::Placement;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use crate::columns::{Direction, Sealed};
use crate::requests::SealedRequests;
use body::{REQUESTS, number_of};
pub use level::Level;
pub use read::{Apart, Read, Reader, RequestsRow, Row, Selection, SeriesRow};
use store::{Part, Series, Store};

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// Series whose numbers are remembered at most; beyond it they are looked up again.
const SERIES_MAX: usize = 20_000;
/// What one call of [`History::tick`] makes or takes out at most, in hours or days of a series.
const STEPS_MAX: usize = 256;
/// A minute that has begun so long ago gets no more rows, in milliseconds: only then may it be taken
/// out for lack of room.
const SETTLED_MS: u64 = 3 * 60_000;
/// The file may exceed its bound by so much until it is tidied up, in bytes. Beyond it nothing is
/// written.
const HEADROOM_BYTES: u64 = 64 << 20;

/// Bytes of the file that are in use at most, unless the limits say otherwise.
pub const METRICS_BYTES_MAX: u64 = 1 << 30;

/// How much is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HistoryLimits {
    /// For how long minutes are kept, in milliseconds.
    pub minutes_ms: u64,
    /// For how long hours are kept, in milliseconds.
    pub hours_ms: u64,
    /// For how long days are kept, in milliseconds.
    pub days_ms: u64,
    /// Bytes of the file that are in use. Beyond them the oldest minutes go first, then the oldest
    /// hours, then days; but minutes keep half of the room, and hours three eighths.
    pub bytes_max: u64,
    /// So long after its end an hour or a day is made, in milliseconds.
    pub grace_ms: u64,
}

impl Default for HistoryLimits {
    fn default() -> HistoryLimits {
        HistoryLimits {
            minutes_ms: 48 * HOUR_MS,
            hours_ms: 60 * DAY_MS,
            days_ms: 400 * DAY_MS,
            bytes_max: METRICS_BYTES_MAX,
            grace_ms: 5 * 60_000,
        }
    }
}

/// What was not kept since the start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NotKept {
    /// Minutes of columns or requests that could not be written, as on a full disk.
    pub unwritten: u64,
    /// Those that are further in the past than days are kept, or more than a day in the future.
    pub out_of_time: u64,
    /// Those that came again after they were taken out.
    pub repeated: u64,
    /// Days of series that went before their time, for lack of room.
    pub days: u64,
    /// Why something failed last.
    pub error: Option<String>,
}

/// Why there is no history.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file was written by a newer Decalog.
    #[error("has the version {0}, and this Decalog reads up to {VERSION}: use the newer one", VERSION = store::VERSION)]
    Newer(u32),
    /// It cannot be opened, read or written.
    #[error(transparent)]
    Store(#[from] rusqlite::Error),
}

/// The one that writes; each process that does has its own.
pub struct History {
    connection: Connection,
    path: PathBuf,
    limits: HistoryLimits,
    /// The number of this process among those that have written: of its columns, and one more of
    /// its requests.
    writer: i64,
    series: HashMap<Key, i64>,
    not_kept: NotKept,
}

/// What a series is of.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    placement: Arc<Placement>,
    direction: Option<Direction>,
    name: Arc<str>,
    kind: i64,
}

/// A minute to be written.
struct Minute {
    key: Key,
    minute_ms: u64,
    sequence: u64,
    body: Vec<u8>,
}

impl History {
    /// Opens the file, or makes it. One that is damaged is begun anew: why is the second value then.
    pub fn open(
        path: &Path,
        limits: HistoryLimits,
    ) -> Result<(History, Option<String>), HistoryError> {
        match History::open_existing(path, limits) {
            Err(HistoryError::Store(error)) if store::is_damage(&error) => {
                for end in ["", "-wal", "-shm"] {
                    let mut file = path.as_os_str().to_owned();
                    file.push(end);
                    let _ = std::fs::remove_file(file);
                }
                let why = format!("{} cannot be read ({error}) and is begun anew", path.display());
                Ok((History::open_existing(path, limits)?, Some(why)))
            }
            opened => opened.map(|history| (history, None)),
        }
    }

    fn open_existing(path: &Path, limits: HistoryLimits) -> Result<History, HistoryError> {
        let connection = store::open(path)?;
        let version = store::version(&connection)?;
        if version > store::VERSION {
            return Err(HistoryError::Newer(version));
        }
        let page_bytes: u64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let pages_max = (limits.bytes_max + HEADROOM_BYTES) / page_bytes.max(512);
        connection.pragma_update(None, "max_page_count", pages_max)?;
        store::make(&connection)?;
        let writer = Store(&connection).add_to("writer", 2)?;
        let (series, not_kept) = (HashMap::new(), NotKept::default());
        Ok(History { connection, path: path.to_owned(), limits, writer, series, not_kept })
    }

    /// Reads from other threads.
    pub fn reader(&self) -> Reader {
        Reader::new(&self.path)
    }

    /// Keeps minutes of columns, or what they have so far: a part of a minute takes the place of the
    /// same part. They are all of one [`crate::columns::Columns`].
    pub fn write(&mut self, sealed: &[Sealed], now_ms: u64) {
        let minutes = sealed.iter().map(|sealed| Minute {
            key: Key {
                placement: sealed.placement.clone(),
                direction: Some(sealed.direction),
                name: sealed.column.clone(),
                kind: number_of(sealed.sketch.kind()),
            },
            minute_ms: sealed.minute_ms,
            sequence: sealed.sequence,
            body: sealed.sketch.encode(),
        });
        self.write_all(minutes, self.writer, now_ms);
    }

    /// Keeps minutes of requests in the same way; all of one [`crate::requests::RequestMinutes`].
    pub fn write_requests(&mut self, sealed: &[SealedRequests], now_ms: u64) {
        let minutes = sealed.iter().map(|sealed| Minute {
            key: Key {
                placement: sealed.placement.clone(),
                direction: None,
                name: "".into(),
                kind: REQUESTS,
            },
            minute_ms: sealed.minute_ms,
            sequence: sealed.sequence,
            body: sealed.requests.encode(),
        });
        self.write_all(minutes, self.writer + 1, now_ms);
    }

    /// All of them in one transaction, or none.
    fn write_all(
        &mut self,
        minutes: impl ExactSizeIterator<Item = Minute>,
        writer: i64,
        now_ms: u64,
    ) {
        if minutes.len() == 0 {
            return;
        }
        let count = minutes.len() as u64;
        let History { connection, series, limits, not_kept, .. } = self;
        if series.len() > SERIES_MAX {
            series.clear();
        }
        let kept = write_minutes(connection, series, minutes, writer, (now_ms, *limits));
        match kept {
            Ok((out_of_time, repeated)) => {
                not_kept.out_of_time += out_of_time;
                not_kept.repeated += repeated;
            }
            Err(error) => {
                // Series that were made in the transaction are gone with it.
                series.clear();
                not_kept.unwritten += count;
                not_kept.error = Some(error.to_string());
            }
        }
    }

    /// Makes hours and days that are over, and takes out what is too old or too much; call it once a
    /// second. Gives whether there is more to do.
    pub fn tick(&mut self, now_ms: u64) -> bool {
        self.tidy(now_ms).unwrap_or_else(|error| {
            self.not_kept.error = Some(error.to_string());
            false
        })
    }

    fn tidy(&mut self, now_ms: u64) -> rusqlite::Result<bool> {
        let limits = self.limits;
        let mut left = STEPS_MAX;
        for level in [Level::Hour, Level::Day] {
            let before_ms = before(now_ms, level.length_ms() + limits.grace_ms) + 1;
            let due = Store(&self.connection).due(level, before_ms, left)?;
            left -= due.len();
            self.each(&due, |store, series, start| store.make_whole(level, series, start))?;
        }
        for (level, kept_ms) in [(Level::Minute, limits.minutes_ms), (Level::Hour, limits.hours_ms)]
        {
            // Of an hour or day that is not over, nothing is taken out for its age.
            let above = level.above().unwrap_or(level);
            let before_ms = above.start_of(before(now_ms, kept_ms));
            while left > 0 {
                match self.take_out(level, before_ms, left)? {
                    0 => break,
                    taken => left -= taken,
                }
            }
        }
        self.remove_days(before(now_ms, limits.days_ms))?;
        while left > 0 && Store(&self.connection).used_bytes()? > limits.bytes_max {
            match self.make_room(before(now_ms, SETTLED_MS), left)? {
                0 => break,
                taken => left -= taken,
            }
        }
        Ok(left == 0)
    }

    /// Does something to several hours or days, in one transaction.
    fn each(
        &mut self,
        all: &[(Series, i64)],
        work: impl Fn(&Store<'_>, Series, i64) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        if all.is_empty() {
            return Ok(());
        }
        let transaction = begin(&mut self.connection)?;
        let store = Store(&transaction);
        all.iter().try_for_each(|(series, start)| work(&store, *series, *start))?;
        transaction.commit()
    }

    fn take_out(&mut self, level: Level, before_ms: i64, left: usize) -> rusqlite::Result<usize> {
        let oldest = Store(&self.connection).oldest(level, before_ms, left)?;
        self.each(&oldest, |store, series, start| store.take_out(level, series, start, before_ms))?;
        Ok(oldest.len())
    }

    fn remove_days(&mut self, before_ms: i64) -> rusqlite::Result<u64> {
        let first = Store(&self.connection).first(Level::Day)?;
        if first.is_none_or(|first| first >= before_ms) {
            return Ok(0);
        }
        self.series.clear();
        let transaction = begin(&mut self.connection)?;
        let rows = Store(&transaction).remove_days(before_ms)?;
        transaction.commit().map(|()| rows)
    }

    /// Takes the oldest out of the level that exceeds its share of the room.
    fn make_room(&mut self, settled_ms: i64, left: usize) -> rusqlite::Result<usize> {
        let store = Store(&self.connection);
        let bytes = |level| store.level_bytes(level);
        let (minutes, hours, days) =
            (bytes(Level::Minute)?, bytes(Level::Hour)?, bytes(Level::Day)?);
        let sum = minutes + hours + days;
        if minutes > sum / 2 {
            return self.take_out(Level::Minute, settled_ms, left);
        }
        if hours > sum / 8 * 3 {
            let settled_ms = Level::Hour.start_of(settled_ms);
            return self.take_out(Level::Hour, settled_ms, left);
        }
        let Some(first) = store.first(Level::Day)? else { return Ok(0) };
        let gone = self.remove_days(Level::Day.end_of(first))?;
        self.not_kept.days += gone;
        Ok(left.min(gone as usize))
    }

    /// What was not kept since the start.
    pub fn not_kept(&self) -> &NotKept {
        &self.not_kept
    }
}

fn begin(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

fn before(now_ms: u64, age_ms: u64) -> i64 {
    i64::try_from(now_ms.saturating_sub(age_ms)).unwrap_or(i64::MAX)
}

/// Gives how many were out of time, and how many had been taken out already.
fn write_minutes(
    connection: &mut Connection,
    known: &mut HashMap<Key, i64>,
    minutes: impl Iterator<Item = Minute>,
    writer: i64,
    (now_ms, limits): (u64, HistoryLimits),
) -> rusqlite::Result<(u64, u64)> {
    let transaction = begin(connection)?;
    let store = Store(&transaction);
    let taken = store.taken(writer)?;
    let (mut out_of_time, mut repeated) = (0, 0);
    for Minute { key, minute_ms, sequence, body } in minutes {
        let (start_ms, sequence) = (minute_ms as i64, sequence as i64);
        if start_ms < before(now_ms, limits.days_ms) || minute_ms > now_ms + DAY_MS {
            out_of_time += 1;
            continue;
        }
        if taken.is_some_and(|taken| sequence <= taken) {
            repeated += 1;
            continue;
        }
        let kind = key.kind;
        let id = match known.get(&key) {
            Some(id) => *id,
            None => {
                let id = series_of(&transaction, &key)?;
                known.insert(key, id);
                id
            }
        };
        let series = Series { id, kind };
        store.put(Part { level: Level::Minute, series, start_ms, writer, sequence }, &body)?;
        store.mark(series, start_ms)?;
    }
    transaction.commit()?;
    Ok((out_of_time, repeated))
}

/// The number of a series; a new one if it has none.
fn series_of(connection: &Connection, key: &Key) -> rusqlite::Result<i64> {
    let Placement { model, environment, version, digest, revision } = key.placement.as_ref();
    let values = params![
        model.project.as_str(),
        model.model.as_str(),
        environment.as_str(),
        version.0,
        digest.to_string(),
        revision,
        key.direction.map_or(REQUESTS, |direction| direction as i64),
        &*key.name,
        key.kind
    ];
    let insert = "INSERT OR IGNORE INTO series \
        (project, model, environment, version, digest, revision, direction, name, kind) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    connection.prepare_cached(insert)?.execute(values)?;
    let select = "SELECT id FROM series WHERE project = ?1 AND model = ?2 AND environment = ?3 AND version = ?4 \
        AND digest = ?5 AND revision = ?6 AND direction = ?7 AND name = ?8 AND kind = ?9";
    connection.prepare_cached(select)?.query_row(values, |row| row.get(0))
}

#[cfg(test)]
mod tests;
