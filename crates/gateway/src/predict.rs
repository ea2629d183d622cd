//! The common part of all inference requests: route, decode, queue, wait; and simple JSON.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::Problem;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use protocol::simple::{self, Form};
use protocol::{Answer, Payload};
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::Gateway;
use crate::body::Body;
use crate::queue::Refused;
use crate::reply::{self, Outcome, Timing};
use crate::route::{Lane, Snapshot};
use crate::shadow::Copy;
use crate::waiting::Waiting;

/// How often a request is routed again because its placement ended while it waited.
const MOVES_MAX: usize = 8;
/// The header that sets a request's deadline, in milliseconds from its arrival.
const TIMEOUT: &str = "decalog-timeout-ms";
/// The largest deadline: a day.
const TIMEOUT_MS_MAX: u64 = 86_400_000;

/// The most rows that room is reserved for before their answer is written.
const ROWS_RESERVED_MAX: usize = 1024;

/// What a request asks of a model.
pub struct Ask {
    /// The rows.
    pub payload: Payload,
    /// Passed on to the model.
    pub parameters: Map<String, Value>,
    /// The outputs wanted; empty means all.
    pub outputs: Vec<String>,
}

/// A request that was answered.
pub struct Done {
    /// By what.
    pub lane: Arc<Lane>,
    /// Rows of this request.
    pub rows: usize,
    /// When it was queued.
    pub queued_at: Instant,
    /// When it ran.
    pub timing: Timing,
    /// With what.
    pub reply: Reply,
}

/// The two forms of an answer.
pub enum Reply {
    /// The whole batch's, and where this request's rows begin.
    Rows(Arc<Answer>, usize),
    /// Pieces that follow.
    Pieces(Body),
}

/// A request that failed, and where, if it got that far.
pub struct Failed {
    /// Why.
    pub problem: Problem,
    /// What it was routed to.
    pub lane: Option<Arc<Lane>>,
    /// Its rows, if they were read.
    pub rows: usize,
}

impl Gateway {
    /// Routes, decodes, queues and waits, by the newest routes or by those that the caller has pinned. `decode` reads the
    /// request for the schema of the placement that it got to.
    pub(crate) async fn ask(
        &self,
        pinned: Option<&Snapshot>,
        reference: &str,
        headers: &HeaderMap,
        arrived_at: Instant,
        mut decode: impl FnMut(&Lane) -> Result<Ask, Problem>,
    ) -> Result<Done, Failed> {
        let fail = |problem, lane: Option<&Arc<Lane>>, rows| Failed { problem, lane: lane.cloned(), rows };
        for _ in 0..MOVES_MAX {
            let target = match pinned {
                Some(snapshot) => snapshot.route(reference),
                None => self.snapshot.load().route(reference),
            };
            let target = target.map_err(|problem| fail(problem, None, 0))?;
            let lane = target.answers(headers).clone();
            let deadline = deadline(headers, arrived_at, &lane).map_err(|problem| fail(problem, Some(&lane), 0))?;
            let ask = decode(&lane).map_err(|problem| fail(problem, Some(&lane), 0))?;
            let rows = ask.payload.rows;
            if lane.schema.streams && rows != 1 {
                let problem = Problem::new("streams", format!("a model that streams takes one row at a time, got {rows}"));
                return Err(fail(problem, Some(&lane), rows));
            }
            if !lane.schema.batches && rows != 1 {
                let problem = Problem::new("one_row", format!("this model takes one row at a time, got {rows}"));
                let problem = problem.help("send one request per row: its tensors have no dimension for a batch");
                return Err(fail(problem, Some(&lane), rows));
            }
            if lane.schema.alone && rows != 1 {
                let problem = Problem::new("one_row", format!("this model takes one row at a time, got {rows}"));
                let problem = problem.help("send one request per row: beside others, a row gets another answer than by itself");
                return Err(fail(problem, Some(&lane), rows));
            }
            let copy = target.copies_to(headers).and_then(|split| Copy::of(&ask, split, &target));
            let (sender, receiver) = oneshot::channel();
            let mut waiting = Waiting::new(ask.payload, deadline, sender);
            (waiting.parameters, waiting.outputs) = (ask.parameters, ask.outputs);
            let queued_at = waiting.queued_at;
            waiting.present = Some(lane.load.enter(queued_at, rows));
            let place = match lane.queue.submit(waiting) {
                Ok(place) => place,
                Err(Refused::Full(problem)) => return Err(fail(problem, Some(&lane), rows)),
                Err(Refused::Closed) => continue,
            };
            if place.is_deserted {
                lane.wake(&self.shared);
            }
            let outcome = match tokio::time::timeout_at(deadline.into(), receiver).await {
                Ok(outcome) => outcome.unwrap_or(Outcome::Moved),
                Err(_) if place.leave() => Outcome::Problem(waited(&lane, queued_at)),
                Err(_) => Outcome::Problem(
                    Problem::new("deadline", "the deadline passed while the model ran")
                        .help("allow more time with Decalog-Timeout-Ms or [model] deadline_ms"),
                ),
            };
            drop(place);
            let (reply, timing) = match outcome {
                Outcome::Answer { answer, first_row, timing } => (Reply::Rows(answer, first_row), timing),
                Outcome::Stream(pieces, timing) => (Reply::Pieces(Body::Pieces(pieces)), timing),
                Outcome::Problem(problem) => return Err(fail(problem, Some(&lane), rows)),
                Outcome::Moved => continue,
            };
            if let Some(copy) = copy {
                copy.send(&reply, &self.shared, &self.runtime);
            }
            return Ok(Done { lane, rows, queued_at, timing, reply });
        }
        Err(fail(Problem::new("no_capacity", "the model's placement changes too often").help("try again"), None, 0))
    }
}

fn waited(lane: &Lane, queued_at: Instant) -> Problem {
    let waited_ms = queued_at.elapsed().as_millis();
    let why = if lane.is_ready() { "all replicas stayed busy" } else { "no replica is ready" };
    Problem::new("no_capacity", format!("the request waited {waited_ms} ms until its deadline: {why}"))
        .help("try again, allow more time with Decalog-Timeout-Ms, or raise [scale] max")
}

fn deadline(headers: &HeaderMap, arrived_at: Instant, lane: &Lane) -> Result<Instant, Problem> {
    let timeout_ms = match headers.get(TIMEOUT) {
        None => lane.deadline_ms(),
        Some(value) => {
            let number = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
            number.filter(|ms| (1..=TIMEOUT_MS_MAX).contains(ms)).ok_or_else(|| {
                Problem::new("bad_timeout", format!("Decalog-Timeout-Ms is {value:?}"))
                    .help("send a whole number of milliseconds from 1 to 86400000")
            })?
        }
    };
    Ok(arrived_at + Duration::from_millis(timeout_ms))
}

/// Reads a body of simple JSON.
pub fn decode_simple(body: &Bytes, lane: &Lane) -> Result<(Ask, Form), Problem> {
    let (payload, form) = simple::decode(body, &lane.schema).map_err(|mut problem| {
        if problem.code == "schema_mismatch" {
            let (model, version) = (&lane.placement.model.model, lane.placement.version);
            let rows = if problem.message.contains("rows do") { "the rows do" } else { "the row does" };
            problem.message = format!("{rows} not fit {model} {version}");
            problem.help = format!("decalog show {model} --schema");
        }
        problem
    })?;
    Ok((Ask { payload, parameters: Map::new(), outputs: vec![] }, form))
}

/// Writes an answer in simple JSON, or as the pieces that the model yields.
pub fn respond_simple(reply: Reply, rows: usize, form: Form) -> Response<Body> {
    match reply {
        Reply::Rows(answer, first_row) => {
            let mut body = Vec::with_capacity(128 * rows.min(ROWS_RESERVED_MAX));
            answer.write_simple(first_row..first_row + rows, form == Form::Row, &mut body);
            reply::json(StatusCode::OK, body)
        }
        Reply::Pieces(body) => {
            let mut response = Response::new(body);
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            response
        }
    }
}
