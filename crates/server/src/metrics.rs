//! What columns and requests were like, by version and minute, hour or day.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use domain::alarm::Target;
use domain::{Code, EnvironmentName, LatencyHistogram, Placement, Problem, VersionNumber};
use monitor::columns::Direction;
use monitor::history::{HistoryError, Level, Reader, RequestsRow, Row, Selection};
use monitor::sketch::ColumnSketch;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::bad_request;
use crate::extract::{Name, Path, Query};
use crate::path::ModelPath;
use crate::{Api, ApiError};

/// Rows of columns, and of requests, in one answer.
const METRICS_ROWS_MAX: usize = 4_096;
/// Frequent values of one row.
const TOP_MAX: usize = 5;
/// Of so long a time, minutes are shown if nothing else is asked for, in milliseconds; …
const MINUTES_MS_MAX: u64 = 3 * 3_600_000;
/// … of so long a one, hours.
const HOURS_MS_MAX: u64 = 4 * DAY_MS;
const DAY_MS: u64 = 86_400_000;

#[derive(Deserialize, JsonSchema)]
pub struct MetricsQuery {
    /// Where; anywhere if unsaid.
    #[schemars(with = "Option<EnvironmentName>")]
    environment: Option<Name<EnvironmentName>>,
    /// As `v3`; all if unsaid.
    #[schemars(with = "Option<String>")]
    version: Option<Name<VersionNumber>>,
    /// The column of this name, input or output.
    column: Option<String>,
    /// With `requests`, nothing of columns; both if unsaid.
    only: Option<Only>,
    /// From the minute, hour or day with this time on, in milliseconds since 1970; a day ago if
    /// unsaid.
    from_ms: Option<u64>,
    /// Until before this time; now if unsaid.
    to_ms: Option<u64>,
    /// By what.
    by: Option<By>,
}

/// A part of what is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Only {
    /// Of requests.
    Requests,
}

/// What one row is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// A minute; they are kept for two days.
    Minute,
    /// An hour; they are kept for 60 days.
    Hour,
    /// A day; they are kept for 400 days.
    Day,
    /// All of the time that is asked for.
    All,
}

/// What was found.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MetricsView {
    /// What one row is of.
    pub by: By,
    /// By version, column and time.
    pub columns: Vec<ColumnMetrics>,
    /// By version and time.
    pub requests: Vec<RequestMetrics>,
    /// Whether there is more: ask for a shorter time, or one column.
    pub is_cut: bool,
}

/// What the values of a column were.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ColumnMetrics {
    /// As `v3`.
    pub version: String,
    /// Where.
    pub environment: EnvironmentName,
    /// `in` or `out`.
    pub direction: String,
    /// The column's name.
    pub column: String,
    /// `bool`, `integer`, `float`, `text` or `tensor`.
    pub kind: String,
    /// The beginning, in milliseconds since 1970.
    pub start_ms: u64,
    /// Rows.
    pub count: u64,
    /// Rows without a value.
    pub missing: u64,
    /// Values that are no finite number.
    pub non_finite: u64,
    /// Of numbers; of the lengths of texts, of the norms of tensors, the share of `true`.
    pub mean: Option<f64>,
    /// The number that 5% of them do not exceed, within 1.4% of the ranks.
    pub p5: Option<f64>,
    /// The median.
    pub p50: Option<f64>,
    /// The number that 95% of them do not exceed.
    pub p95: Option<f64>,
    /// The least.
    pub min: Option<f64>,
    /// The greatest.
    pub max: Option<f64>,
    /// About how many different values.
    pub distinct: Option<u64>,
    /// The most frequent values.
    pub top: Vec<Frequent>,
}

/// A frequent value.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Frequent {
    /// As text.
    pub value: String,
    /// It was there at least so often.
    pub count: u64,
}

/// What requests were like.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RequestMetrics {
    /// As `v3`.
    pub version: String,
    /// Where.
    pub environment: EnvironmentName,
    /// The beginning, in milliseconds since 1970.
    pub start_ms: u64,
    /// How many.
    pub count: u64,
    /// Rows of those that were answered.
    pub rows: u64,
    /// Those that failed by the model's or the server's fault.
    pub failed: u64,
    /// Those that were not answered, by code.
    pub errors: BTreeMap<String, u64>,
    /// Their latency in the mean, in milliseconds, …
    #[serde(default)]
    pub mean_ms: Option<f64>,
    /// … of those that a worker got, the part of it that they waited, in the mean, …
    #[serde(default)]
    pub queue_ms: Option<f64>,
    /// … and the part that they were in the worker.
    #[serde(default)]
    pub worker_ms: Option<f64>,
    /// The latency that half of them did not exceed, in milliseconds.
    pub p50_ms: Option<f64>,
    /// That 90% of them did not exceed.
    #[serde(default)]
    pub p90_ms: Option<f64>,
    /// That 99% of them did not exceed.
    pub p99_ms: Option<f64>,
}

impl By {
    fn of_time(length_ms: u64) -> By {
        if length_ms <= MINUTES_MS_MAX {
            By::Minute
        } else if length_ms <= HOURS_MS_MAX {
            By::Hour
        } else {
            By::Day
        }
    }

    /// What is read; all of a time is made of what is short enough for its ends.
    fn level(self, length_ms: u64) -> Level {
        match self {
            By::Minute => Level::Minute,
            By::Hour => Level::Hour,
            By::Day => Level::Day,
            By::All => By::of_time(length_ms).level(length_ms),
        }
    }
}

pub async fn read(
    State(api): State<Api>,
    Path(path): Path<ModelPath>,
    Query(query): Query<MetricsQuery>,
) -> Result<Json<MetricsView>, ApiError> {
    let model = path.key();
    api.control.state().model(&model)?;
    let Some(reader) = api.history.clone() else {
        let problem = Problem::new(Code::NoRecords, "no history of metrics is kept");
        return Err(problem.help("see the log of decalog up").into());
    };
    let now_ms = control::now_ms();
    let to_ms = query.to_ms.unwrap_or(now_ms + 1);
    let from_ms = query.from_ms.unwrap_or(to_ms.saturating_sub(DAY_MS));
    if from_ms >= to_ms {
        return Err(bad_request("from_ms must be before to_ms".to_string()));
    }
    let only = query.only;
    let by = query.by.unwrap_or_else(|| By::of_time(to_ms - from_ms));
    let level = by.level(to_ms - from_ms);
    let selection = Selection {
        environment: query.environment.map(Name::get).transpose()?,
        version: query.version.map(Name::get).transpose()?,
        column: query.column,
        ..Selection::of(&model, level, from_ms, to_ms)
    };
    let found = tokio::task::spawn_blocking(move || view(&reader, &selection, by, only)).await;
    let unread = |error: String| {
        Problem::new(Code::Store, format!("the history of metrics cannot be read: {error}"))
    };
    let view = found.map_err(|error| unread(error.to_string()))?;
    Ok(Json(view.map_err(|error| unread(error.to_string()))?))
}

/// Rows until now, and the one that others are added to.
#[derive(Default)]
struct Gathered {
    rows: Vec<ColumnMetrics>,
    last: Option<Row>,
}

impl Gathered {
    /// Takes in a row; adds it to the last one if it is of the same column, and all are one.
    fn take(&mut self, row: Row, by: By) {
        let is_same = |last: &Row| {
            by == By::All
                && last.direction == row.direction
                && last.column == row.column
                && last.placement.is_same_version(&row.placement)
        };
        if let Some(last) = self.last.as_mut().filter(|last| is_same(last))
            && last.sketch.merge(&row.sketch).is_ok()
        {
            return;
        }
        self.finish();
        self.last = Some(row);
    }

    fn finish(&mut self) {
        self.rows.extend(self.last.take().map(|row| of_column(&row)));
    }
}

/// What the columns of a version were like in the last day; nothing if it cannot be read.
pub fn last_day(
    reader: &Reader,
    target: &Target,
    version: VersionNumber,
    now_ms: u64,
) -> Vec<(Direction, Arc<str>, ColumnSketch)> {
    let level = By::All.level(DAY_MS);
    let selection = Selection {
        environment: Some(target.environment.clone()),
        version: Some(version),
        ..Selection::of(&target.model, level, now_ms.saturating_sub(DAY_MS), now_ms + 1)
    };
    let mut found: Vec<(Direction, Arc<str>, ColumnSketch)> = vec![];
    let read = reader.scan(&selection, |row| {
        // Rows of a column follow each other.
        match found.last_mut() {
            Some((direction, column, sketch))
                if *direction == row.direction && *column == row.column =>
            {
                let _ = sketch.merge(&row.sketch);
            }
            _ => found.push((row.direction, row.column, row.sketch)),
        }
        match found.len() {
            ..=METRICS_ROWS_MAX => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    });
    read.map(|_| found).unwrap_or_default()
}

fn view(
    reader: &Reader,
    selection: &Selection,
    by: By,
    only: Option<Only>,
) -> Result<MetricsView, HistoryError> {
    let mut gathered = Gathered::default();
    let mut take = |row| {
        if gathered.rows.len() >= METRICS_ROWS_MAX {
            return ControlFlow::Break(());
        }
        gathered.take(row, by);
        ControlFlow::Continue(())
    };
    let is_all = match only {
        Some(Only::Requests) => true,
        None => reader.scan(selection, &mut take)?,
    };
    gathered.finish();
    let requests = match selection.column {
        // Asked for a column, nobody wants to know of requests.
        Some(_) => None,
        None => Some(reader.read_requests(selection)?),
    };
    let is_cut = !is_all || requests.as_ref().is_some_and(|requests| requests.is_cut);
    let requests = requests.map(|read| read.rows).unwrap_or_default();
    Ok(MetricsView { by, columns: gathered.rows, requests: of_requests(requests, by), is_cut })
}

/// Requests to each version in each environment from a time on.
pub fn requests_since(
    reader: &Reader,
    model: &domain::ModelKey,
    from_ms: u64,
    now_ms: u64,
) -> Result<Vec<RequestMetrics>, HistoryError> {
    let to_ms = now_ms + 1;
    let level = By::All.level(to_ms.saturating_sub(from_ms));
    let read = reader.read_requests(&Selection::of(model, level, from_ms, to_ms))?;
    Ok(of_requests(read.rows, By::All))
}

fn of_column(Row { placement, direction, column, start_ms, sketch, .. }: &Row) -> ColumnMetrics {
    let (version, environment) = named(placement);
    let numbers = sketch.numbers();
    let quantile = |share| ColumnSketch::quantile(sketch, share);
    let top = sketch.top(TOP_MAX).into_iter();
    ColumnMetrics {
        version,
        environment,
        direction: Direction::as_str(*direction).into(),
        column: column.to_string(),
        kind: sketch.kind().to_string(),
        start_ms: *start_ms,
        count: sketch.rows(),
        missing: sketch.missing(),
        non_finite: sketch.non_finite(),
        mean: numbers.mean(),
        p5: quantile(0.05),
        p50: quantile(0.5),
        p95: quantile(0.95),
        min: numbers.min(),
        max: numbers.max(),
        distinct: sketch.distinct(),
        top: top.map(|top| Frequent { value: top.value, count: top.count_min }).collect(),
    }
}

fn named(placement: &Arc<Placement>) -> (String, EnvironmentName) {
    (placement.version.to_string(), placement.environment.clone())
}

fn of_requests(rows: Vec<RequestsRow>, by: By) -> Vec<RequestMetrics> {
    let mut all: Vec<RequestsRow> = vec![];
    for row in rows {
        match all.last_mut() {
            Some(last) if by == By::All && last.placement.is_same_version(&row.placement) => {
                last.requests.merge(&row.requests);
            }
            _ => all.push(row),
        }
    }
    let of = |RequestsRow { placement, start_ms, requests, .. }: RequestsRow| {
        let (version, environment) = named(&placement);
        RequestMetrics {
            version,
            environment,
            start_ms,
            count: requests.requests,
            rows: requests.rows,
            failed: requests.failed,
            mean_ms: mean_ms(&requests.latency),
            queue_ms: mean_ms(&requests.queue),
            worker_ms: mean_ms(&requests.worker),
            p50_ms: requests.latency.quantile_ms(0.5),
            p90_ms: requests.latency.quantile_ms(0.9),
            p99_ms: requests.latency.quantile_ms(0.99),
            errors: requests.errors,
        }
    };
    all.into_iter().map(of).collect()
}

fn mean_ms(latency: &LatencyHistogram) -> Option<f64> {
    let count = latency.count();
    (count > 0).then(|| latency.sum_ms() / count as f64)
}
