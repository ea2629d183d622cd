//! The common part of all inference requests: route, decode, queue, wait; and simple JSON.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::record::Record;
use domain::{Code, Problem};
use http::{HeaderMap, HeaderValue, Response, header};
use protocol::limits::ROW_BY_ROW_MAX;
use protocol::oip::InferRequest;
use protocol::simple::{self, Form};
use protocol::{Answer, Payload};
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::body::Body;
use crate::heavy::Cost;
use crate::memory::Memory;
use crate::queue::Refused;
use crate::reply::{self, Outcome, Timing};
use crate::route::{Lane, Snapshot};
use crate::shadow::Copy;
use crate::stream::Pieces;
use crate::waiting::Waiting;
use crate::{Gateway, Shared, micros, oip};

/// How often a request is routed again because its placement ended while it waited.
const MOVES_MAX: usize = 8;
/// The header that sets a request's deadline, in milliseconds from its arrival.
const TIMEOUT: &str = "decalog-timeout-ms";
/// The largest deadline: a day.
const TIMEOUT_MS_MAX: u64 = 86_400_000;

/// A request's body, in one of the two forms; it is read against the schema of the placement that it gets to.
pub enum Question {
    /// Simple JSON.
    Simple(Bytes),
    /// The Open Inference Protocol.
    OpenInference(InferRequest),
}

impl Question {
    fn read(&self, lane: &Lane) -> Result<Ask, Problem> {
        match self {
            Question::Simple(body) => read_simple(body, lane),
            Question::OpenInference(request) => oip::ask(request, lane),
        }
    }

    fn cost(&self) -> Cost {
        match self {
            Question::Simple(body) => Cost::Text(body.len()),
            Question::OpenInference(request) => oip::cost(request),
        }
    }
}

/// What a request asks of a model.
pub struct Ask {
    /// The rows.
    pub payload: Payload,
    /// Passed on to the model.
    pub parameters: Map<String, Value>,
    /// The outputs wanted; empty means all.
    pub outputs: Vec<String>,
    /// The form of simple JSON that the answer takes as well.
    pub form: Form,
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
    /// What was asked.
    pub question: Question,
    /// The form of simple JSON that it was asked in.
    pub form: Form,
}

/// The two forms of an answer.
pub enum Reply {
    /// Rows of a batch's answer.
    Rows(Rows),
    /// Pieces that follow.
    Pieces(Pieces),
    /// It has been written already.
    Written,
}

/// One request's part of a batch's answer.
#[derive(Clone)]
pub struct Rows {
    /// Of the whole batch.
    pub answer: Arc<Answer>,
    /// The first of this request's rows.
    pub first: usize,
    /// How many are this request's.
    pub count: usize,
    /// About how many bytes of the worker's answer they are.
    pub bytes: usize,
}

impl Rows {
    /// Which of the batch's rows they are.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.first..self.first + self.count
    }

    /// As simple JSON.
    pub fn write_simple(&self, form: Form) -> Vec<u8> {
        let mut body = Vec::with_capacity(128 * self.count.min(4_096));
        self.answer.write_simple(self.range(), form == Form::Row, &mut body);
        body
    }
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
    /// Routes, decodes, queues and waits, by the newest routes or by those that the caller has pinned.
    pub(crate) async fn ask(
        &self,
        pinned: Option<&Snapshot>,
        reference: &str,
        headers: &HeaderMap,
        arrived_at: Instant,
        mut question: Question,
        mut memory: Option<Memory>,
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
            let read = self.read(question, &lane).await.map_err(|problem| fail(problem, Some(&lane), 0))?;
            question = read.0;
            let ask = read.1.map_err(|problem| fail(problem, Some(&lane), 0))?;
            let form = ask.form;
            let rows = ask.payload.rows;
            if lane.schema.streams && rows != 1 {
                let problem = Problem::new(Code::Streams, format!("a model that streams takes one row at a time, got {rows}"));
                return Err(fail(problem, Some(&lane), rows));
            }
            if lane.schema.is_row_by_row() && rows > ROW_BY_ROW_MAX {
                let text = format!("this model is given its rows one by one, and {rows} are too many for one request");
                let problem = Problem::new(Code::BadShape, text).help(format!("send at most {ROW_BY_ROW_MAX} rows in a request"));
                return Err(fail(problem, Some(&lane), rows));
            }
            let copy = target.copies_to(headers).and_then(|split| Copy::of(&ask, split, &target));
            let (sender, receiver) = oneshot::channel();
            let mut waiting = Waiting::new(ask.payload, deadline, sender);
            (waiting.parameters, waiting.outputs) = (ask.parameters, ask.outputs);
            let queued_at = waiting.queued_at;
            // If it was queued before, what it took is free already.
            waiting.memory = memory.take().or_else(|| Some(Memory::anyway(&self.shared.memory, waiting.bytes)));
            waiting.present = Some(lane.load.enter(queued_at, rows));
            let place = match lane.queue.submit(waiting) {
                Ok(place) => place,
                Err(Refused::Full(problem)) => return Err(fail(problem, Some(&lane), rows)),
                Err(Refused::Closed) => continue,
            };
            if place.is_deserted {
                lane.wake(&self.shared);
                if let Some(problem) = lane.failure() {
                    return Err(fail(problem, Some(&lane), rows));
                }
            }
            let departure = Departure { shared: &self.shared, lane: &lane, rows, arrived_at };
            let outcome = match tokio::time::timeout_at(deadline.into(), receiver).await {
                // Whoever had it to answer failed on it.
                Ok(outcome) => outcome.unwrap_or_else(|_| Outcome::Problem(reply::panicked())),
                Err(_) if place.leave() => Outcome::Problem(waited(&lane, queued_at)),
                Err(_) => Outcome::Problem(
                    Problem::new(Code::Deadline, "the deadline passed while the model ran")
                        .help("allow more time with Decalog-Timeout-Ms or [model] deadline_ms"),
                ),
            };
            departure.none();
            drop(place);
            let (reply, timing) = match outcome {
                Outcome::Answer { answer, first_row, bytes, timing } => {
                    (Reply::Rows(Rows { answer, first: first_row, count: rows, bytes }), timing)
                }
                Outcome::Stream(pieces, timing) => (Reply::Pieces(pieces), timing),
                Outcome::Problem(problem) => return Err(fail(problem, Some(&lane), rows)),
                Outcome::Moved => continue,
            };
            if let Some(copy) = copy {
                copy.send(&reply, &self.shared, &self.heavy);
            }
            return Ok(Done { lane, rows, queued_at, timing, reply, question, form });
        }
        Err(fail(Problem::new(Code::NoCapacity, "the model's placement changes too often").help("try again"), None, 0))
    }

    /// Reads a request for the schema of a placement, and gives it back for another.
    async fn read(&self, question: Question, lane: &Arc<Lane>) -> Result<(Question, Result<Ask, Problem>), Problem> {
        let (lane, cost) = (lane.clone(), question.cost());
        let read = move || {
            let ask = question.read(&lane);
            (question, ask)
        };
        self.heavy.run(cost, read).await
    }
}

/// Records a caller that hangs up while its request waits or runs: what it dropped is all that is left of it.
struct Departure<'a> {
    shared: &'a Shared,
    lane: &'a Lane,
    rows: usize,
    arrived_at: Instant,
}

impl Departure<'_> {
    /// The caller stayed.
    fn none(self) {
        std::mem::forget(self);
    }
}

impl Drop for Departure<'_> {
    fn drop(&mut self) {
        let mut record = Record::new(Some(self.lane.placement.clone()), self.rows, 0);
        record.abandon(micros(self.arrived_at.elapsed()));
        self.shared.record(record);
    }
}

fn waited(lane: &Lane, queued_at: Instant) -> Problem {
    let waited_ms = queued_at.elapsed().as_millis();
    let why = if lane.is_ready() { "all replicas stayed busy" } else { "no replica is ready" };
    Problem::new(Code::NoCapacity, format!("the request waited {waited_ms} ms until its deadline: {why}"))
        .help("try again, allow more time with Decalog-Timeout-Ms, or raise [scale] max")
}

fn deadline(headers: &HeaderMap, arrived_at: Instant, lane: &Lane) -> Result<Instant, Problem> {
    let timeout_ms = match headers.get(TIMEOUT) {
        None => lane.deadline_ms(),
        Some(value) => {
            let number = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
            number.filter(|ms| (1..=TIMEOUT_MS_MAX).contains(ms)).ok_or_else(|| {
                Problem::new(Code::BadTimeout, format!("Decalog-Timeout-Ms is {value:?}"))
                    .help("send a whole number of milliseconds from 1 to 86400000")
            })?
        }
    };
    Ok(arrived_at + Duration::from_millis(timeout_ms))
}

fn read_simple(body: &Bytes, lane: &Lane) -> Result<Ask, Problem> {
    let (payload, form) = simple::decode(body, &lane.schema).map_err(|mut problem| {
        if problem.code == Code::SchemaMismatch {
            let (model, version) = (&lane.placement.model.model, lane.placement.version);
            let rows = if problem.details.len() == 1 { "the row does" } else { "the rows do" };
            problem.message = format!("{rows} not fit {model} {version}");
            problem.help = format!("decalog show {model} --schema");
        }
        problem
    })?;
    Ok(Ask { payload, parameters: Map::new(), outputs: vec![], form })
}

/// The head of an answer that streams.
pub fn respond_pieces(pieces: Pieces) -> Response<Body> {
    let mut response = Response::new(Body::from(pieces));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
