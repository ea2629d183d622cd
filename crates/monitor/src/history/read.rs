//! Reading a history from any thread: rows by minute, hour or day, bounded in number.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use domain::{Digest, EnvironmentName, ModelKey, ModelName, Placement, ProjectName, VersionNumber};
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, params};

use super::body::{Body, kind_of, merged};
use super::level::Level;
use super::store::{Series, Store};
use crate::columns::Direction;
use crate::requests::Requests;
use crate::sketch::{ColumnSketch, Kind};

/// Rows that one call of [`Reader::read`] gives at most; they take up to 26 KiB of memory each.
pub const READ_ROWS_MAX: usize = 4_096;
/// Rows that one call of [`Reader::scan`] shows at most.
pub const SCAN_ROWS_MAX: usize = 100_000;
/// Series that one call reads at most.
pub const SERIES_MAX: usize = 20_000;
/// Connections that are kept open between calls.
const CONNECTIONS_MAX: usize = 4;
/// How long a reader waits for a writer that begins the file anew, in milliseconds.
const BUSY_MS_MAX: u64 = 2_000;

/// What is read as one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Apart {
    /// Each placement is told apart.
    Placements,
    /// Each version in each environment, whatever its variables were.
    #[default]
    Versions,
    /// Each environment; its versions are added up.
    Environments,
}

/// What is to be read; what is `None` may be anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selection {
    /// Of this project.
    pub project: Option<ProjectName>,
    /// Of this model.
    pub model: Option<ModelName>,
    /// In this environment.
    pub environment: Option<EnvironmentName>,
    /// Of this version.
    pub version: Option<VersionNumber>,
    /// Inputs or outputs.
    pub direction: Option<Direction>,
    /// The column of this name.
    pub column: Option<String>,
    /// From the minute, hour or day with this time on, in milliseconds since 1970.
    pub from_ms: u64,
    /// Until before this time.
    pub to_ms: u64,
    /// By minute, hour or day.
    pub level: Level,
    /// What is told apart.
    pub apart: Apart,
    /// Rows at most; [`READ_ROWS_MAX`] if it is more.
    pub rows_max: usize,
}

impl Selection {
    /// All columns of a model, by version.
    pub fn of(model: &ModelKey, level: Level, from_ms: u64, to_ms: u64) -> Selection {
        Selection {
            project: Some(model.project.clone()),
            model: Some(model.model.clone()),
            environment: None,
            version: None,
            direction: None,
            column: None,
            from_ms,
            to_ms,
            level,
            apart: Apart::default(),
            rows_max: READ_ROWS_MAX,
        }
    }

    fn takes(&self, row: &SeriesRow) -> bool {
        let Placement { model, environment, version, .. } = row.placement.as_ref();
        fn is<T: PartialEq>(wanted: &Option<T>, found: &T) -> bool {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        }
        is(&self.project, &model.project)
            && is(&self.model, &model.model)
            && is(&self.environment, environment)
            && is(&self.version, version)
            && self.direction.is_none_or(|wanted| row.direction == Some(wanted))
            && self.column.as_ref().is_none_or(|wanted| **wanted == *row.column)
    }
}

/// A column of which something is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeriesRow {
    /// Whose.
    pub placement: Arc<Placement>,
    /// Input or output; `None` of requests.
    pub direction: Option<Direction>,
    /// The column's name; empty of requests.
    pub column: Arc<str>,
    /// What its values are; `None` of requests.
    pub kind: Option<Kind>,
    series: Series,
}

/// A column in a minute, hour or day.
#[derive(Clone, Debug)]
pub struct Row {
    /// Whose: the latest of those that are read as one.
    pub placement: Arc<Placement>,
    /// Input or output.
    pub direction: Direction,
    /// The column's name.
    pub column: Arc<str>,
    /// The beginning, in milliseconds since 1970.
    pub start_ms: u64,
    /// Of what length.
    pub level: Level,
    /// What its values were.
    pub sketch: ColumnSketch,
}

/// The requests of a minute, hour or day.
#[derive(Clone, Debug)]
pub struct RequestsRow {
    /// Whose: the latest of those that are read as one.
    pub placement: Arc<Placement>,
    /// The beginning, in milliseconds since 1970.
    pub start_ms: u64,
    /// Of what length.
    pub level: Level,
    /// What they were.
    pub requests: Requests,
}

/// Rows, by series and then by time.
#[derive(Clone, Debug)]
pub struct Read<T> {
    /// What was found.
    pub rows: Vec<T>,
    /// Whether there is more than was asked for.
    pub is_cut: bool,
}

/// Reads what a [`super::History`] writes, also one of another process. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Reader {
    /// Of a file that a history has made.
    pub fn new(path: &Path) -> Reader {
        Reader { path: path.to_owned(), idle: Arc::default() }
    }

    /// Columns in minutes, hours or days; all kinds of values of a column are told apart.
    pub fn read(&self, selection: &Selection) -> rusqlite::Result<Read<Row>> {
        let mut read = Read { rows: vec![], is_cut: false };
        let rows_max = selection.rows_max.min(READ_ROWS_MAX);
        self.scan(selection, |row| {
            read.is_cut = read.rows.len() >= rows_max;
            if read.is_cut {
                return ControlFlow::Break(());
            }
            read.rows.push(row);
            ControlFlow::Continue(())
        })?;
        Ok(read)
    }

    /// Shows rows one after the other, at most [`SCAN_ROWS_MAX`], in the memory of one; the
    /// selection's own bound on rows is not regarded. Gives whether that was all.
    pub fn scan(
        &self,
        selection: &Selection,
        mut show: impl FnMut(Row) -> ControlFlow<()>,
    ) -> rusqlite::Result<bool> {
        self.each(selection, false, |placement, of, start_ms, body| {
            let (Some(direction), Body::Column(sketch)) = (of.direction, body) else {
                return ControlFlow::Continue(());
            };
            let (column, level) = (of.column.clone(), selection.level);
            show(Row { placement, direction, column, start_ms, level, sketch: *sketch })
        })
    }

    /// Requests in minutes, hours or days; `direction` and `column` are not regarded.
    pub fn read_requests(&self, selection: &Selection) -> rusqlite::Result<Read<RequestsRow>> {
        let mut read = Read { rows: vec![], is_cut: false };
        let rows_max = selection.rows_max.min(READ_ROWS_MAX);
        let of_requests = Selection { direction: None, column: None, ..selection.clone() };
        self.each(&of_requests, true, |placement, _, start_ms, body| {
            read.is_cut = read.rows.len() >= rows_max;
            let Body::Requests(requests) = body else { return ControlFlow::Continue(()) };
            if read.is_cut {
                return ControlFlow::Break(());
            }
            let (requests, level) = (*requests, selection.level);
            read.rows.push(RequestsRow { placement, start_ms, level, requests });
            ControlFlow::Continue(())
        })?;
        Ok(read)
    }

    /// Of which columns something is kept, whatever the time.
    pub fn columns(&self, selection: &Selection) -> rusqlite::Result<Vec<SeriesRow>> {
        self.with(|store| {
            let mut rows = series(store, selection)?;
            rows.retain(|row| row.kind.is_some());
            Ok(rows)
        })
    }

    fn each(
        &self,
        selection: &Selection,
        is_of_requests: bool,
        mut show: impl FnMut(Arc<Placement>, &SeriesRow, u64, Body) -> ControlFlow<()>,
    ) -> rusqlite::Result<bool> {
        let time = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let from_ms = selection.level.start_of(time(selection.from_ms));
        let time = (from_ms, time(selection.to_ms));
        self.with(|store| {
            let mut groups: BTreeMap<_, Vec<SeriesRow>> = BTreeMap::new();
            for row in series(store, selection)? {
                if row.kind.is_none() == is_of_requests {
                    groups.entry(group(&row, selection.apart)).or_default().push(row);
                }
            }
            let mut shown = 0;
            for rows in groups.values() {
                let mut starts: BTreeMap<i64, Vec<&SeriesRow>> = BTreeMap::new();
                for row in rows {
                    for start in store.starts(selection.level, row.series, time)? {
                        starts.entry(start).or_default().push(row);
                    }
                }
                for (start, rows) in starts {
                    let bodies = rows.iter().filter_map(|row| {
                        store.total(selection.level, row.series, start).transpose()
                    });
                    let body = merged(bodies.collect::<rusqlite::Result<Vec<Body>>>()?);
                    // Series come in the order of their making.
                    let (Some(body), Some(last)) = (body, rows.last()) else { continue };
                    let start_ms = u64::try_from(start).unwrap_or(0);
                    shown += 1;
                    if shown > SCAN_ROWS_MAX
                        || show(last.placement.clone(), last, start_ms, body).is_break()
                    {
                        return Ok(false);
                    }
                }
            }
            Ok(true)
        })
    }

    /// All that `work` reads is of one moment.
    fn with<T>(&self, work: impl FnOnce(&Store<'_>) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let idle = self.idle.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => open(&self.path)?,
        };
        let transaction = connection.unchecked_transaction()?;
        let done = work(&Store(&transaction))?;
        transaction.finish()?;
        let mut idle = self.idle.lock();
        if idle.len() < CONNECTIONS_MAX {
            idle.push(connection);
        }
        Ok(done)
    }
}

/// What is read as one has the same of these.
type Group = (ModelKey, EnvironmentName, VersionNumber, Digest, u32, i64, Arc<str>, Option<Kind>);

fn group(row: &SeriesRow, apart: Apart) -> Group {
    let Placement { model, environment, version, digest, revision } = row.placement.as_ref();
    let (version, digest, revision) = match apart {
        Apart::Placements => (*version, *digest, *revision),
        Apart::Versions => (*version, Digest::ZERO, 0),
        Apart::Environments => (VersionNumber(0), Digest::ZERO, 0),
    };
    let direction = row.direction.map_or(-1, |direction| direction as i64);
    let (model, environment) = (model.clone(), environment.clone());
    (model, environment, version, digest, revision, direction, row.column.clone(), row.kind)
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_millis(BUSY_MS_MAX))?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Those that are selected, in the order of their making; what a newer program wrote is left out.
fn series(store: &Store<'_>, selection: &Selection) -> rusqlite::Result<Vec<SeriesRow>> {
    let sql = "SELECT id, project, model, environment, version, digest, revision, direction, name, kind \
               FROM series WHERE (?1 IS NULL OR project = ?1) AND (?2 IS NULL OR model = ?2) ORDER BY id";
    let mut statement = store.0.prepare_cached(sql)?;
    let project = selection.project.as_ref().map(|project| project.as_str());
    let model = selection.model.as_ref().map(|model| model.as_str());
    let mut rows = statement.query(params![project, model])?;
    let mut found = vec![];
    let mut placements: BTreeMap<Stored, Arc<Placement>> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let key = (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?);
        let placement = match placements.get(&key) {
            Some(placement) => placement.clone(),
            None => {
                let Some(placement) = placement(&key).map(Arc::new) else { continue };
                placements.insert(key, placement.clone());
                placement
            }
        };
        let direction = match row.get::<_, i64>(7)? {
            0 => Some(Direction::In),
            1 => Some(Direction::Out),
            _ => None,
        };
        let (name, kind): (String, i64) = (row.get(8)?, row.get(9)?);
        let series = Series { id: row.get(0)?, kind };
        let row =
            SeriesRow { placement, direction, column: name.into(), kind: kind_of(kind), series };
        if selection.takes(&row) && row.kind.is_some() == row.direction.is_some() {
            found.push(row);
        }
        if found.len() >= SERIES_MAX {
            break;
        }
    }
    Ok(found)
}

/// A placement as it is stored.
type Stored = (String, String, String, u32, String, u32);

fn placement(
    (project, model, environment, version, digest, revision): &Stored,
) -> Option<Placement> {
    Some(Placement {
        model: ModelKey { project: project.parse().ok()?, model: model.parse().ok()? },
        environment: environment.parse().ok()?,
        version: VersionNumber(*version),
        digest: digest.parse().ok()?,
        revision: *revision,
    })
}
