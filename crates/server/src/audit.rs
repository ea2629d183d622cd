//! What somebody outside checks: checkpoints and proofs, and all entries as they are stored, for a
//! store of logs elsewhere.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use domain::{Digest, Problem};
use ledger::{ExportedEntry, KeptCheckpoint};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::describe::{Operation, Output};
use crate::error::bad_request;
use crate::extract::{FromPath, Path, Query, Segments};
use crate::{Api, ApiError, ocsf};

/// Checkpoints of one page.
const CHECKPOINTS_MAX: usize = 1_000;
/// Of lines of JSON.
const LINES_TYPE: &str = "application/x-ndjson";

/// An entry of the ledger.
#[derive(JsonSchema)]
pub struct EntryPath {
    /// Its number, from 1.
    seq: u64,
}

impl FromPath for EntryPath {
    fn from_path(segments: &Segments) -> Result<EntryPath, ApiError> {
        Ok(EntryPath { seq: segments.name("seq")? })
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct CheckpointsQuery {
    /// Only those after this number; all if unsaid.
    #[serde(default)]
    after: u64,
}

/// A part of the checkpoints.
#[derive(Serialize, JsonSchema)]
pub struct CheckpointsPage {
    /// In order.
    checkpoints: Vec<CheckpointListed>,
    /// Whether there may be more after the last number.
    more: bool,
}

/// A checkpoint that was signed and kept.
#[derive(Serialize, JsonSchema)]
pub struct CheckpointListed {
    /// Its place among all of this ledger, from 1.
    number: u64,
    /// When it was signed, in milliseconds since 1970.
    at_ms: u64,
    /// Over how many entries.
    size: u64,
    /// The signed note (C2SP tlog-checkpoint).
    note: String,
}

impl From<KeptCheckpoint> for CheckpointListed {
    fn from(kept: KeptCheckpoint) -> CheckpointListed {
        let KeptCheckpoint { number, at_ms, size, text: note } = kept;
        CheckpointListed { number, at_ms, size, note }
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct ConsistencyQuery {
    /// The number of entries of the earlier checkpoint.
    from: u64,
    /// The number of entries of the later one.
    to: u64,
}

/// That a ledger is an earlier one with entries added (RFC 6962, section 2.1.2).
#[derive(Serialize, JsonSchema)]
pub struct Consistency {
    /// The entries of the earlier one.
    from: u64,
    /// The entries of the later one.
    to: u64,
    /// The hashes that lead from one root to the other.
    proof: Vec<Digest>,
}

/// In which form entries are exported.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Format {
    /// As they are stored, with all that their hashes are over.
    #[default]
    Jsonl,
    /// As events of the Open Cybersecurity Schema Framework, class API Activity.
    Ocsf,
}

#[derive(Deserialize, JsonSchema)]
pub struct ExportQuery {
    /// Only entries after this number: the last one that was written down elsewhere.
    #[serde(default)]
    after: u64,
    /// Only entries of this time or later, as 2026-11-01T00:00:00Z (RFC 3339).
    since: Option<String>,
    /// Each entry as a line of `jsonl` or `ocsf`.
    #[serde(default)]
    format: Format,
}

/// Entries, a line each.
pub struct Lines(Body);

impl IntoResponse for Lines {
    fn into_response(self) -> Response {
        ([(http::header::CONTENT_TYPE, LINES_TYPE)], self.0).into_response()
    }
}

impl Output for Lines {
    fn describe(operation: &mut Operation) {
        operation.answers(
            LINES_TYPE,
            "A line of JSON for each entry, in order, up to the last one of this moment",
        );
    }
}

pub async fn checkpoint(State(api): State<Api>) -> Result<String, ApiError> {
    Ok(api.control.checkpoint().await?.text)
}

pub async fn checkpoints(
    State(api): State<Api>,
    Query(query): Query<CheckpointsQuery>,
) -> Result<Json<CheckpointsPage>, ApiError> {
    let kept = api.control.checkpoints(query.after, CHECKPOINTS_MAX).await?;
    let more = kept.len() == CHECKPOINTS_MAX;
    let checkpoints = kept.into_iter().map(CheckpointListed::from).collect();
    Ok(Json(CheckpointsPage { checkpoints, more }))
}

pub async fn proof(
    State(api): State<Api>,
    Path(path): Path<EntryPath>,
) -> Result<String, ApiError> {
    Ok(api.control.receipt(path.seq).await?.to_string())
}

pub async fn consistency(
    State(api): State<Api>,
    Query(query): Query<ConsistencyQuery>,
) -> Result<Json<Consistency>, ApiError> {
    let ConsistencyQuery { from, to } = query;
    let proof = api.control.consistency(from, to).await?;
    Ok(Json(Consistency { from, to, proof }))
}

pub async fn key(State(api): State<Api>) -> Result<String, ApiError> {
    Ok(format!("{}\n", api.control.verifier_key().await?))
}

pub async fn export(
    State(api): State<Api>,
    Query(query): Query<ExportQuery>,
) -> Result<Lines, ApiError> {
    let since = query.since.as_deref().map(str::parse::<jiff::Timestamp>).transpose();
    let since = since.map_err(|error| bad_request(format!("since: {error}")))?;
    let since_ms = since.map_or(0, |since| u64::try_from(since.as_millisecond()).unwrap_or(0));
    let (end, _) = api.control.head().await?;
    let exporting = Exporting { api, after: query.after, end, since_ms, format: query.format };
    let pages = futures_util::stream::unfold(exporting, |mut exporting| async move {
        let page = exporting.next().await.transpose()?;
        Some((page, exporting))
    });
    Ok(Lines(Body::from_stream(pages)))
}

struct Exporting {
    api: Api,
    after: u64,
    /// The last entry when this began: what comes later is for the next export.
    end: u64,
    since_ms: u64,
    format: Format,
}

impl Exporting {
    /// The lines of some entries; `None` if there are no more.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        while self.after < self.end {
            let page = self.api.control.export(self.after).await?;
            let Some(last) = page.last() else { return Ok(None) };
            self.after = last.seq;
            let mut lines = vec![];
            for entry in page.iter().filter(|entry| self.takes(entry)) {
                match self.format {
                    Format::Jsonl => lines.extend(entry.to_line()),
                    Format::Ocsf => lines.extend(ocsf::line(entry)),
                }
                lines.push(b'\n');
            }
            if !lines.is_empty() {
                return Ok(Some(lines.into()));
            }
        }
        Ok(None)
    }

    fn takes(&self, entry: &ExportedEntry) -> bool {
        entry.at_ms >= self.since_ms && entry.seq <= self.end
    }
}
