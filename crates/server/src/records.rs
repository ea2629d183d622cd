//! Records of requests: those of one model, and SQL over all that the caller may read.

use std::sync::Arc;

use axum::body::Body as Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::near::no_such_model;
use domain::problem::excerpt;
use domain::{Action, Caller, Object};
use http::header;
use jiff::{SpanRelativeTo, Timestamp, civil, tz};
use query::{Answer, Ask, RecordsAsk, Seen};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::describe::{Operation, Output};
use crate::error::bad_request;
use crate::extract::{Body, By, Path, Patience, Query};
use crate::path::ModelPath;
use crate::{Api, ApiError};

/// Rows if the caller does not say.
const ROWS: usize = 100;

/// In which form rows are given.
#[derive(Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Format {
    /// An array of objects.
    #[default]
    Json,
    /// An object in a line for each row.
    Jsonl,
    /// With a line of names first; lists are texts.
    Csv,
    /// A file of Apache Parquet.
    Parquet,
}

impl From<Format> for query::Format {
    fn from(format: Format) -> query::Format {
        match format {
            Format::Json => query::Format::Json,
            Format::Jsonl => query::Format::Jsonl,
            Format::Csv => query::Format::Csv,
            Format::Parquet => query::Format::Parquet,
        }
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct RecordsQuery {
    /// Answered since then: 2026-11-01T00:00:00Z (RFC 3339), a date, or so long ago: 90s, 1h, 30d.
    since: Option<String>,
    /// Answered before then; written as `since`.
    until: Option<String>,
    /// An SQL expression: only rows for which it is true.
    #[serde(rename = "where")]
    condition: Option<String>,
    /// What the caller sent as `Decalog-Key`.
    key: Option<String>,
    /// The W3C trace id that requests belong to: 32 hexadecimal digits.
    trace: Option<String>,
    /// The id of a request, or how it begins.
    id: Option<String>,
    /// The most rows, newest first; 100 if unsaid.
    limit: Option<usize>,
    /// `json` if unsaid.
    #[serde(default)]
    format: Format,
}

/// A question in SQL.
#[derive(Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqlRequest {
    /// One `select` over the tables `records` and `gaps`.
    pub sql: String,
    /// `json` if unsaid.
    #[serde(default)]
    pub format: Format,
}

/// Rows in some format.
pub struct Rows(Answer);

impl IntoResponse for Rows {
    fn into_response(self) -> Response {
        let Answer { content_type, body } = self.0;
        ([(header::CONTENT_TYPE, content_type)], Bytes::from_stream(body)).into_response()
    }
}

impl Output for Rows {
    fn describe(operation: &mut Operation) {
        for (format, says) in [
            (query::Format::Json, "An array with an object for each row"),
            (query::Format::Jsonl, "A line of JSON for each row"),
            (query::Format::Csv, "A line for each row, after one with the names"),
            (query::Format::Parquet, "A file of Apache Parquet"),
        ] {
            operation.answers(format.content_type(), says);
        }
    }
}

pub async fn list(
    State(api): State<Api>,
    Path(path): Path<ModelPath>,
    Query(query): Query<RecordsQuery>,
    By(caller): By,
    patience: Patience,
) -> Result<Rows, ApiError> {
    let model = path.key();
    if !api.control.state().models.contains_key(&model) {
        return Err(no_such_model(&model, None).into());
    }
    let now_ms = control::now_ms();
    let time = |name: &str, text: &Option<String>| {
        text.as_deref().map(|text| time_ms(name, text, now_ms)).transpose()
    };
    let ask = RecordsAsk {
        model,
        since_ms: time("since", &query.since)?,
        until_ms: time("until", &query.until)?,
        condition: query.condition,
        key: query.key,
        trace: query.trace.map(|trace| trace.to_lowercase()),
        id: query.id.map(|id| id.to_lowercase()),
        rows_max: query.limit.unwrap_or(ROWS),
    };
    answer(&api, caller, patience, Ask::Records(ask), query.format).await
}

pub async fn sql(
    State(api): State<Api>,
    By(caller): By,
    patience: Patience,
    Body(request): Body<SqlRequest>,
) -> Result<Rows, ApiError> {
    answer(&api, caller, patience, Ask::Sql(request.sql), request.format).await
}

async fn answer(
    api: &Api,
    caller: Caller,
    patience: Patience,
    ask: Ask,
    format: Format,
) -> Result<Rows, ApiError> {
    let control = api.control.clone();
    let seen: Seen = Arc::new(move |model, environment| {
        let object = Object::ModelIn(model.clone(), environment.clone());
        control.permit(&caller, Action::Records, &object).is_ok()
    });
    patience.while_waiting(api.queries.run(ask, format.into(), seen)).await.map(Rows)
}

/// A time, or how long ago it is, in milliseconds since 1970.
pub(crate) fn time_ms(name: &str, text: &str, now_ms: u64) -> Result<u64, ApiError> {
    let wrong = || {
        let text = excerpt(text);
        bad_request(format!("{name}: `{text}` is no time: write 2026-11-01T00:00:00Z or 1h"))
    };
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(u64::try_from(time.as_millisecond()).unwrap_or(0));
    }
    if let Ok(date) = text.parse::<civil::Date>() {
        let midnight = date.to_zoned(tz::TimeZone::UTC).map_err(|_| wrong())?;
        return Ok(u64::try_from(midnight.timestamp().as_millisecond()).unwrap_or(0));
    }
    let ago: jiff::Span = text.parse().map_err(|_| wrong())?;
    let ago = ago.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    let ago_ms = u64::try_from(ago.as_millis()).map_err(|_| wrong())?;
    Ok(now_ms.saturating_sub(ago_ms))
}
