//! Evaluations: one version is asked, off the traffic, whether or not it was ever live, and all that
//! it answers is given back. Whoever compares versions asks each of them the same.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::records::past::PastRequest;
use ::records::truth::{Truths, id_of, of_prediction};
use axum::Json;
use axum::extract::State;
use control::{Control, Payload, Replayer, Turn};
use domain::manifest::{Redact, TruthSection};
use domain::outcome::Outcome;
use domain::{Action, Caller, Code, EnvironmentName, ModelKey, Object, Placement, Problem, Schema};
use serde_json::{Map, Value};

use super::evaluated::{EvaluateReport, EvaluateRequest, EvaluatedError, EvaluatedRow};
use super::run::{payload_of, redacted};
use super::{Asked, ReplayRequest, find, keeper_of, missing, read};
use crate::error::{bad_name, bad_request, failed};
use crate::extract::{Body, By, Path, Patience};
use crate::path::ModelPath;
use crate::{Api, ApiError, aside};

/// The most recorded requests of one evaluation.
pub const EVALUATED_MAX: usize = 5_000;
/// The most rows that one brings.
pub const EVALUATED_ROWS_MAX: usize = 20_000;
/// How long it asks, in milliseconds; starting the version is not part of it.
const EVALUATE_MS_MAX: u64 = 60_000;
/// Replicas that are started, if they end over what they are asked.
const REPLICAS_MAX: u32 = 5;

/// Asks a version.
pub async fn evaluate(
    State(api): State<Api>,
    Path(path): Path<ModelPath>,
    By(caller): By,
    patience: Patience,
    Body(request): Body<EvaluateRequest>,
) -> Result<Json<EvaluateReport>, ApiError> {
    let key = path.key();
    permit(&api, &caller, &key, &request.environment, request.rows.is_empty())?;
    let turn = api.control.replay_turn(&key)?;
    patience.while_waiting(answer(&api, &turn, &key, request)).await.map(Json)
}

/// Whoever may see a model and ask it; of recorded requests also read what others asked.
pub fn permit(
    api: &Api,
    caller: &Caller,
    key: &ModelKey,
    environment: &EnvironmentName,
    of_records: bool,
) -> Result<(), ApiError> {
    let object = Object::ModelIn(key.clone(), environment.clone());
    let records = of_records.then_some(Action::Records);
    for action in [Action::Predict, Action::Read].into_iter().chain(records) {
        api.control.permit(caller, action, &object)?;
    }
    Ok(())
}

/// What is asked, once it was found.
enum Sought {
    Requests { found: Vec<PastRequest>, missing: Vec<String>, truths: Vec<Vec<Option<Outcome>>> },
    Rows(Vec<Map<String, Value>>),
}

/// What a version answers, asked in a turn of its model's.
pub async fn answer(
    api: &Api,
    turn: &Turn,
    key: &ModelKey,
    request: EvaluateRequest,
) -> Result<EvaluateReport, ApiError> {
    let begin = Instant::now();
    let EvaluateRequest { version, environment, ids, last, rows } = request;
    let number = version.parse().map_err(bad_name)?;
    let is_of_records = !ids.is_empty() || last.is_some();
    if is_of_records != rows.is_empty() {
        return Err(bad_request("say what is asked: `ids`, how many of the `last`, or `rows`"));
    }
    if rows.len() > EVALUATED_ROWS_MAX {
        return Err(bad_request(format!("at most {EVALUATED_ROWS_MAX} rows are asked at a time")));
    }
    let asked = match is_of_records {
        true => {
            let of =
                ReplayRequest { ids, last, environment: environment.clone(), ..Default::default() };
            Some(read(key.clone(), of, EVALUATED_MAX)?)
        }
        false => None,
    };
    let state = api.control.state();
    let model = state.model(key)?;
    let version = model.versions.get(&number).cloned().ok_or_else(|| {
        let text = format!("`{}` has no version {number}, or not any more", key.model);
        Problem::new(Code::NoSuchVersion, text)
    })?;
    let placement = state.placement(key, &environment, number);
    let truth = state.configuration(&placement).truth;
    let redacted = redacted(model, &environment);
    let sought = match asked {
        Some(asked) => recorded(api, asked, &truth).await?,
        None => Sought::Rows(rows),
    };
    let mut asking = Asking {
        control: &api.control,
        turn,
        placement,
        replayer: None,
        replicas: 0,
        calls: 0,
        spent: Duration::ZERO,
    };
    let schema = asking.ready().await?.schema().clone();
    if schema.streams {
        let text = format!("{number} answers in streams, which cannot be compared");
        return Err(Problem::new(Code::Streams, text).into());
    }
    let start_ms = begin.elapsed().as_millis() as u64;
    let (mut ignored, mut without) = (vec![], vec![]);
    let rows = match sought {
        Sought::Rows(mut rows) => {
            ignored = leave_out(&mut rows, &schema);
            let batch = &version.pushed.manifest.batch;
            let is_alone = schema.is_row_by_row() || !batch.mix;
            let size = if is_alone { 1 } else { (batch.rows_max as usize).max(1) };
            asking.rows(&rows.into_iter().map(Value::Object).collect::<Vec<_>>(), size).await
        }
        Sought::Requests { found, missing, truths } => {
            without = missing;
            asking.requests(&found, &truths, &schema, &redacted).await
        }
    };
    Ok(EvaluateReport {
        project: key.project.clone(),
        model: key.model.clone(),
        environment,
        version: number.to_string(),
        digest: version.pushed.digest,
        schema,
        truth,
        ignored,
        missing: without,
        start_ms,
        elapsed_ms: begin.elapsed().as_millis() as u64,
        rows,
    })
}

/// Takes out what the version has no columns for; the names of that.
fn leave_out(rows: &mut [Map<String, Value>], schema: &Schema) -> Vec<String> {
    let known: HashSet<&str> = schema.inputs.iter().map(|column| column.name.as_str()).collect();
    let mut ignored = BTreeSet::new();
    for row in rows {
        row.retain(|name, _| {
            let is_known = known.contains(name.as_str());
            if !is_known && !ignored.contains(name) {
                ignored.insert(name.clone());
            }
            is_known
        });
    }
    ignored.into_iter().collect()
}

/// Recorded requests, in the order of their ids, with what is true of their rows.
async fn recorded(api: &Api, asked: Asked, section: &TruthSection) -> Result<Sought, ApiError> {
    let (mut found, asked) = find(keeper_of(api)?, asked).await?;
    found.sort_by(|one, other| one.id.cmp(&other.id));
    let missing = missing(&asked.sought, &found);
    let Some(truth) = &api.truth else {
        let truths = found.iter().map(|request| vec![None; request.rows]).collect();
        return Ok(Sought::Requests { found, missing, truths });
    };
    let (truths, truth_ms_max) = (truth.truths.clone(), section.truth_ms_max());
    let joined = aside(move || {
        let has_keys = truths.has_keys(&asked.key)?;
        let of_each = |request: &PastRequest| {
            of_request(&truths, &asked.key, request, has_keys, truth_ms_max)
        };
        let known: Result<Vec<_>, ::records::truth::TruthError> =
            found.iter().map(of_each).collect();
        known.map(|known| (found, known))
    });
    let (found, truths) = joined.await?.map_err(failed)?;
    Ok(Sought::Requests { found, missing, truths })
}

/// What is true of each row of a request: by its id, else by its key.
fn of_request(
    truths: &Truths,
    key: &ModelKey,
    request: &PastRequest,
    has_keys: bool,
    truth_ms_max: u64,
) -> Result<Vec<Option<Outcome>>, ::records::truth::TruthError> {
    let mut known = vec![None; request.rows];
    let Ok(id) = id_of(&request.id) else { return Ok(known) };
    if let Some(of_key) = request.key.as_deref().filter(|_| has_keys) {
        let said = truths.of_keys(key, std::iter::once(of_key))?;
        let said = said.into_values().next().unwrap_or_default();
        let found = of_prediction(&said, ::records::time_ms(&id), truth_ms_max);
        known.fill(found.map(|found| found.truth));
    }
    for ((_, row), found) in truths.of_requests(key, &id, &id)? {
        if let Some(place) = known.get_mut(row as usize) {
            *place = Some(found.truth);
        }
    }
    Ok(known)
}

/// Asks a version on a replica that nobody else asks.
struct Asking<'a> {
    control: &'a Arc<Control>,
    turn: &'a Turn,
    placement: Placement,
    replayer: Option<Replayer>,
    /// Replicas that were started.
    replicas: u32,
    /// Calls that were made.
    calls: usize,
    /// How long they took together.
    spent: Duration,
}

/// What one call asks: rows at once, or a recorded request.
enum Ask<'a> {
    Rows(&'a [Value]),
    Request(&'a Payload),
}

/// What came of one call: an answer for each row, and how long it took, in milliseconds.
type Called = (Result<Vec<Value>, Problem>, f64);

impl Asking<'_> {
    /// The replica; one is started unless it is there.
    async fn ready(&mut self) -> Result<&mut Replayer, Problem> {
        if self.replayer.is_none() {
            if self.replicas >= REPLICAS_MAX {
                let text = format!("{REPLICAS_MAX} replicas have ended over what they were asked");
                return Err(Problem::new(Code::WorkerDied, text));
            }
            self.replicas += 1;
            self.replayer = Some(self.control.replayer(self.turn, &self.placement).await?);
        }
        let gone = || Problem::new(Code::WorkerDied, "the replica is gone");
        self.replayer.as_mut().ok_or_else(gone)
    }

    /// Asks all rows, so many at a time.
    async fn rows(&mut self, rows: &[Value], size: usize) -> Vec<EvaluatedRow> {
        let mut answered = vec![];
        for (at, batch) in rows.chunks(size).enumerate() {
            let first = at * size;
            match self.call(Ask::Rows(batch)).await {
                (Err(problem), _) if batch.len() > 1 && self.is_left().is_ok() => {
                    // One that fails does no harm to the others.
                    tracing::debug!("a batch of an evaluation failed: {}", problem.message);
                    for (place, row) in batch.iter().enumerate() {
                        let called = self.call(Ask::Rows(std::slice::from_ref(row))).await;
                        answered.extend(self.told(called, None, first + place, 1));
                    }
                }
                called => answered.extend(self.told(called, None, first, batch.len())),
            }
        }
        answered
    }

    /// Asks recorded requests, each by itself.
    async fn requests(
        &mut self,
        found: &[PastRequest],
        truths: &[Vec<Option<Outcome>>],
        schema: &Schema,
        redacted: &[(String, Redact)],
    ) -> Vec<EvaluatedRow> {
        let mut answered = vec![];
        for (request, truths) in found.iter().zip(truths) {
            let called = match payload_of(request, schema, redacted) {
                Ok(payload) => self.call(Ask::Request(&payload)).await,
                Err(why) => (Err(Problem::new(Code::NoRecords, why)), 0.0),
            };
            let rows = self.told(called, Some(&request.id), 0, request.rows);
            answered.extend(
                rows.into_iter()
                    .zip(truths)
                    .map(|(row, truth)| EvaluatedRow { truth: truth.clone(), ..row }),
            );
        }
        answered
    }

    /// Whether there is time left.
    fn is_left(&self) -> Result<(), Problem> {
        match self.spent < Duration::from_millis(EVALUATE_MS_MAX) {
            true => Ok(()),
            false => {
                let text = format!("the evaluation's {} s are over", EVALUATE_MS_MAX / 1_000);
                Err(Problem::new(Code::Deadline, text).help("ask for less"))
            }
        }
    }

    async fn call(&mut self, asked: Ask<'_>) -> Called {
        if let Err(problem) = self.is_left() {
            return (Err(problem), 0.0);
        }
        let replayer = match self.ready().await {
            Ok(replayer) => replayer,
            Err(problem) => return (Err(problem), 0.0),
        };
        let begin = Instant::now();
        let result = match asked {
            Ask::Rows(rows) => replayer.predict(rows).await,
            Ask::Request(payload) => replayer.predict_payload(payload).await,
        };
        self.took(begin, result)
    }

    fn took(&mut self, begin: Instant, result: Result<Vec<Value>, Problem>) -> Called {
        let took = begin.elapsed();
        self.spent += took;
        self.calls += 1;
        if result.as_ref().is_err_and(|problem| problem.code == Code::WorkerDied) {
            self.replayer = None;
        }
        (result, took.as_secs_f64() * 1e3)
    }

    /// What a call says of its rows, the first of which has this number.
    fn told(
        &self,
        (result, ms): Called,
        id: Option<&str>,
        first: usize,
        count: usize,
    ) -> Vec<EvaluatedRow> {
        let was_asked = ms > 0.0;
        let row = |place: usize| {
            let (outputs, error) = match &result {
                Ok(answers) => match answers.get(place) {
                    Some(Value::Object(outputs)) => (Some(outputs.clone()), None),
                    _ => (None, Some(Problem::new(Code::BadOutput, "a row has no answer"))),
                },
                Err(problem) => (None, Some(problem.clone())),
            };
            EvaluatedRow {
                id: id.map(String::from),
                row: first + place,
                outputs,
                error: error.map(|problem| EvaluatedError {
                    error: sentence(&problem),
                    code: problem.code,
                }),
                call: was_asked.then_some(self.calls),
                ms,
                truth: None,
            }
        };
        (0..count).map(row).collect()
    }
}

/// What a problem says, with its first detail.
fn sentence(problem: &Problem) -> String {
    match problem.details.first() {
        Some(first) => format!("{}: {first}", problem.message),
        None => problem.message.clone(),
    }
}
