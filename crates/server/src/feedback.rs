//! What turned out to be true of predictions: taken in bulk or one by one, and how good models were
//! by it.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use ::records::truth::{Added, Form, Line, Naming, Subject, TruthError, TruthRow, Truths, read};
use axum::Json;
use axum::extract::{FromRequest, Request, State};
use domain::problem::excerpt;
use domain::recording::Recording;
use domain::{Code, EnvironmentName, ModelKey, Problem, Schema};
use futures_util::StreamExt;
use monitor::quality::{Quality, QualityReport, Step};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::describe::{Input, Operation};
use crate::error::{bad_request, failed};
use crate::extract::{By, Name, Path, Query};
use crate::path::ModelPath;
use crate::scrape::Recent;
use crate::{Api, ApiError, aside};

/// The most bytes of one request with feedback.
pub const FEEDBACK_BYTES_MAX: u64 = 256 << 20;
/// So many requests with feedback are taken at a time: each is a file until it is read.
pub const FEEDBACKS_MAX: usize = 8;
/// So many rows are stored at once.
const ROWS_AT_ONCE: usize = 5_000;
/// So many bytes of a body are in memory before they are written.
const PIECE_BYTES: usize = 1 << 20;
/// Refused lines that a report shows.
const REFUSALS_MAX: usize = 20;
/// Records of this time may not be in files yet, in milliseconds.
const FRESH_MS: u64 = 7_200_000;
/// The time of a report, if nothing is said, in milliseconds.
const SINCE_MS: u64 = 30 * 86_400_000;

/// What is true, and how good predictions were by it.
#[derive(Clone)]
pub struct Truth {
    /// What turned out to be true.
    pub truths: Arc<Truths>,
    /// The sums by which predictions are judged.
    pub quality: Arc<Quality>,
    /// How good models were when it was last looked for a scrape.
    pub(crate) recent: Arc<Recent>,
    turns: Arc<Semaphore>,
}

impl Truth {
    /// With nobody sending anything yet.
    pub fn new(truths: Arc<Truths>, quality: Arc<Quality>) -> Truth {
        let turns = Arc::new(Semaphore::new(FEEDBACKS_MAX));
        Truth { truths, quality, recent: Arc::default(), turns }
    }
}

/// How feedback names its columns.
#[derive(Deserialize, JsonSchema)]
pub struct FeedbackQuery {
    /// The column that has the values of a key and is its name: with `customer`, a value of 42 is the
    /// truth of the key `customer=42`. Without it, the column `key` has whole keys.
    key: Option<String>,
    /// The column that has the truth; by default the one of the manifest, `truth`, or one that is
    /// called like an output.
    truth: Option<String>,
}

/// What became of feedback.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct FeedbackReport {
    /// Rows that say something new, corrections among them. They are on the disk.
    pub accepted: u64,
    /// Rows that say something else than was known.
    pub corrected: u64,
    /// Rows that say what was known.
    pub repeated: u64,
    /// Lines without a truth: it is not known yet.
    pub empty: u64,
    /// Rows whose request has no record in this model's hour; they are kept all the same.
    pub unknown: u64,
    /// Lines that cannot be understood.
    pub refused: u64,
    /// The first of them.
    pub refusals: Vec<FeedbackRefusal>,
}

/// A line that cannot be understood.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FeedbackRefusal {
    /// Its number in the file, or its place in the list, from 1.
    pub line: u64,
    /// Why.
    pub error: String,
}

/// Feedback that has arrived whole, in a file without a name.
pub struct Sent {
    form: Form,
    file: File,
    /// Held until it is stored.
    turn: OwnedSemaphorePermit,
}

impl Input for Sent {
    fn describe(operation: &mut Operation) {
        let row = json!({ "type": "object", "description": "`id` (and `row`) or `key`, `truth`, and `at`" });
        let rows = json!({ "anyOf": [row, { "type": "array", "items": row }] });
        let text = json!({ "type": "string", "description": "The same columns" });
        for form in [Form::Json, Form::JsonLines, Form::Csv, Form::Parquet] {
            let schema = if form == Form::Json { rows.clone() } else { text.clone() };
            operation.body.insert(form.content_type().into(), json!({ "schema": schema }));
        }
        operation.codes.extend([
            Code::BadRequest,
            Code::BodyTimeout,
            Code::BodyTooLarge,
            Code::ServerBusy,
        ]);
    }
}

impl FromRequest<Api> for Sent {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Sent, ApiError> {
        let turns = truth_of(api)?.turns.clone();
        let turn = turns.try_acquire_owned().map_err(|_| {
            let text = format!("{FEEDBACKS_MAX} others are sending feedback");
            Problem::new(Code::ServerBusy, text).help("send it again in a second")
        })?;
        let kind = request.headers().get(http::header::CONTENT_TYPE);
        let kind = kind.map_or(Ok(""), |value| value.to_str()).unwrap_or("?");
        let form = Form::of_content_type(kind).ok_or_else(|| {
            let text = format!("feedback cannot be read as {}", excerpt(kind));
            let help = "send application/json, application/x-ndjson, text/csv or \
                        application/vnd.apache.parquet";
            Problem::new(Code::BadRequest, text).help(help)
        })?;
        let directory = api.data.records();
        let mut file = aside(move || tempfile::tempfile_in(directory)).await?.map_err(disk)?;
        let mut pieces = request.into_body().into_data_stream();
        let (mut waiting, mut bytes) = (Vec::with_capacity(PIECE_BYTES), 0u64);
        loop {
            let piece = pieces.next().await.transpose().map_err(bad_request)?;
            let is_last = piece.is_none();
            if let Some(piece) = piece {
                bytes += piece.len() as u64;
                if bytes > FEEDBACK_BYTES_MAX {
                    let text = format!("feedback has at most {FEEDBACK_BYTES_MAX} bytes at a time");
                    return Err(Problem::new(Code::BodyTooLarge, text)
                        .help("send it in parts")
                        .into());
                }
                waiting.extend_from_slice(&piece);
            }
            if waiting.len() >= PIECE_BYTES || is_last {
                let piece = std::mem::take(&mut waiting);
                let written = aside(move || file.write_all(&piece).map(|()| file)).await?;
                file = written.map_err(disk)?;
            }
            if is_last {
                return Ok(Sent { form, file, turn });
            }
        }
    }
}

fn disk(error: std::io::Error) -> ApiError {
    match error.kind() {
        std::io::ErrorKind::StorageFull => {
            Problem::new(Code::NoSpace, "the disk of the server is full").into()
        }
        std::io::ErrorKind::ReadOnlyFilesystem => {
            Problem::new(Code::ReadOnly, "the data directory cannot be written").into()
        }
        _ => failed(error),
    }
}

pub(crate) fn truth_of(api: &Api) -> Result<&Truth, Problem> {
    api.truth.as_ref().ok_or_else(|| {
        Problem::new(
            Code::NoRecords,
            "this server keeps no records that truth could be joined with",
        )
        .help("decalog up --records-per-s 1000")
    })
}

/// Takes what turned out to be true of a model's predictions.
pub async fn take(
    State(api): State<Api>,
    Path(path): Path<ModelPath>,
    Query(query): Query<FeedbackQuery>,
    By(caller): By,
    sent: Sent,
) -> Result<Json<FeedbackReport>, ApiError> {
    let (truth, model) = (truth_of(&api)?.clone(), path.key());
    let naming = naming(&api, &model, query)?;
    let recorded = recorded_keys(&api, &model)?;
    let said_by = caller.principal.to_string();
    let report = aside(move || -> Result<FeedbackReport, Problem> {
        let hours = match &api.records {
            Some(keeper) => keeper.hours_of(&model).map_err(|error| failed(error).0)?,
            None => vec![],
        };
        let mut taking = Taking {
            truths: &truth.truths,
            model: &model,
            recorded,
            said_by: &said_by,
            now_ms: naming.now_ms,
            hours: hours.into_iter().map(|hour| hour.hour_ms).collect(),
            rows: vec![],
            report: FeedbackReport::default(),
        };
        let mut failure = None;
        let Sent { form, file, turn } = sent;
        read(form, file, &naming, &mut |number, line| {
            let taken = taking.take(number, line);
            taken.map_err(|problem| failure = Some(problem)).is_ok()
        });
        drop(turn);
        match failure.map_or_else(|| taking.store(), Err) {
            Ok(()) => taking.end(),
            Err(problem) => {
                let taken = taking.report.accepted + taking.report.repeated;
                let kept = format!(
                    "{taken} rows before it are stored: sending them again changes nothing"
                );
                Err(problem.details([kept]))
            }
        }
    });
    Ok(Json(report.await??))
}

/// How columns may be called.
fn naming(api: &Api, model: &ModelKey, query: FeedbackQuery) -> Result<Naming, Problem> {
    let state = api.control.state();
    let known = state.model(model)?;
    let sections = known.configurations.values().map(|configuration| &configuration.truth);
    let pushed = known.versions.values().map(|version| &version.pushed.manifest.truth);
    let configured = sections.chain(pushed).filter_map(|section| section.column.clone());
    let schemas = known.versions.values().filter_map(|version| version.schema.as_ref());
    let outputs = schemas.flat_map(|schema| &schema.outputs).map(|column| column.name.clone());
    let mut truth = vec![];
    let all = configured.chain(["truth".to_string()]).chain(outputs);
    for name in query.truth.map_or_else(|| all.collect(), |named| vec![named]) {
        if !truth.contains(&name) {
            truth.push(name);
        }
    }
    Ok(Naming { truth, key: query.key, now_ms: control::now_ms() })
}

/// How keys are kept in records, if not as they are named.
fn recorded_keys(api: &Api, model: &ModelKey) -> Result<Option<(Recording, Schema)>, Problem> {
    let state = api.control.state();
    let known = state.model(model)?;
    for (environment, live) in &known.live {
        let section =
            state.configuration(&state.placement(model, environment, live.version)).records;
        let version = known.versions.get(&live.version);
        if section.needs_key()
            && let Some(schema) = version.and_then(|version| version.schema.clone())
        {
            let pseudonyms = api.control.pseudonyms(&model.project)?;
            return Ok(Some((Recording { section, pseudonyms }, schema)));
        }
    }
    Ok(None)
}

/// Feedback on its way into the store.
struct Taking<'a> {
    truths: &'a Truths,
    model: &'a ModelKey,
    recorded: Option<(Recording, Schema)>,
    said_by: &'a str,
    now_ms: u64,
    /// Those that the model has records of.
    hours: HashSet<u64>,
    rows: Vec<TruthRow>,
    report: FeedbackReport,
}

impl Taking<'_> {
    fn take(&mut self, number: u64, line: Line) -> Result<(), Problem> {
        match line {
            Line::Empty => self.report.empty += 1,
            Line::Refused(error) => {
                self.report.refused += 1;
                if self.report.refusals.len() < REFUSALS_MAX {
                    let error = excerpt(&error).into_owned();
                    self.report.refusals.push(FeedbackRefusal { line: number, error });
                }
            }
            Line::Rows(mut rows) => {
                self.disguise(&mut rows);
                let is_unknown = |row: &&TruthRow| self.is_unknown(row);
                self.report.unknown += rows.iter().filter(is_unknown).count() as u64;
                self.rows.extend(rows);
                if self.rows.len() >= ROWS_AT_ONCE {
                    self.store()?;
                }
            }
        }
        Ok(())
    }

    /// Keys become what they are in records.
    fn disguise(&self, rows: &mut [TruthRow]) {
        let Some((recording, schema)) = &self.recorded else { return };
        for row in rows {
            if let Subject::Key(key) = &mut row.subject {
                *key = recording.key(schema, key).into_owned();
            }
        }
    }

    fn is_unknown(&self, row: &TruthRow) -> bool {
        let Subject::Request { .. } = &row.subject else { return false };
        row.subject.hour_ms().is_some_and(|hour_ms| {
            hour_ms + FRESH_MS < self.now_ms && !self.hours.contains(&hour_ms)
                || hour_ms > self.now_ms
        })
    }

    fn store(&mut self) -> Result<(), Problem> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let added = self.truths.add(self.model, self.said_by, &self.rows, self.now_ms);
        let Added { accepted, repeated, corrected } = added.map_err(problem)?;
        self.rows.clear();
        self.report.accepted += accepted;
        self.report.repeated += repeated;
        self.report.corrected += corrected;
        Ok(())
    }

    /// If nothing of it can be used, that is an error.
    fn end(self) -> Result<FeedbackReport, Problem> {
        let report = self.report;
        if report.refused == 0 || report.accepted + report.repeated + report.empty > 0 {
            return Ok(report);
        }
        let say = |refusal: FeedbackRefusal| format!("line {}: {}", refusal.line, refusal.error);
        Err(Problem::new(Code::BadFeedback, "none of the feedback can be used")
            .details(report.refusals.into_iter().map(say))
            .help("each row has `id` (and `row`) or `key`, and `truth`"))
    }
}

fn problem(error: TruthError) -> Problem {
    let code = match error {
        TruthError::Full | TruthError::Many => Code::NoSpace,
        TruthError::ReadOnly => Code::ReadOnly,
        TruthError::Sqlite(_) => Code::Failed,
    };
    let help = match error {
        TruthError::Many => {
            "decalog up --records-days keeps records, and their truth, for less time"
        }
        TruthError::Full => "free space on the disk of the server, and send it again",
        _ => "see the server's log",
    };
    Problem::new(code, error.to_string()).help(help)
}

/// Which time a report is of.
#[derive(Deserialize, JsonSchema)]
pub struct QualityQuery {
    /// Only one environment.
    #[schemars(with = "Option<EnvironmentName>")]
    environment: Option<Name<EnvironmentName>>,
    /// Predictions of the hours from this time on, in milliseconds since 1970; 30 days ago if unsaid.
    since_ms: Option<u64>,
    /// And before this time.
    until_ms: Option<u64>,
    /// How long a window is.
    #[serde(default)]
    step: Step,
}

/// How good a model's predictions were.
pub async fn quality(
    State(api): State<Api>,
    Path(path): Path<ModelPath>,
    Query(query): Query<QualityQuery>,
) -> Result<Json<QualityReport>, ApiError> {
    let (quality, model) = (truth_of(&api)?.quality.clone(), path.key());
    api.control.state().model(&model)?;
    let environment = query.environment.map(Name::get).transpose()?;
    let now_ms = control::now_ms();
    let from_ms = query.since_ms.unwrap_or_else(|| now_ms.saturating_sub(SINCE_MS));
    let time = (from_ms, query.until_ms.unwrap_or(u64::MAX));
    let work = move || quality.report(&model, environment.as_ref(), time, query.step, now_ms);
    Ok(Json(aside(work).await?.map_err(failed)?))
}
