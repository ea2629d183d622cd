//! The path of all inference requests: route, ask, queue, wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::record::Record;
use domain::{Code, Problem};
use http::HeaderMap;
use protocol::Payload;
use protocol::limits::ROW_BY_ROW_MAX;
use tokio::sync::oneshot;

use crate::access::Who;
use crate::ask::{Ask, Done, Failed, Reply, Rows};
use crate::keep::{Asked, Became};
use crate::lane::Lane;
use crate::memory::Memory;
use crate::queue::Refused;
use crate::reply::{self, RequestOutcome};
use crate::shadow::ShadowCopy;
use crate::waiting::Waiting;
use crate::wire::Wire;
use crate::{Gateway, micros};

/// How often a request is routed again because its placement ended while it waited.
const MOVES_MAX: usize = 8;
/// The header that sets a request's deadline, in milliseconds from its arrival.
const TIMEOUT: &str = "decalog-timeout-ms";
/// The largest deadline: a day.
const TIMEOUT_MS_MAX: u64 = 86_400_000;

impl Gateway {
    /// Routes, asks, queues and waits. Gives the question back with its answer.
    pub(crate) async fn ask<W: Wire>(
        &self,
        headers: &HeaderMap,
        arrived_at: Instant,
        mut question: W,
        mut memory: Option<Memory>,
        mut who: Option<&Who>,
        asked: &Asked,
    ) -> Result<(W, Done, Reply), Failed> {
        let fail = |problem, lane: Option<&Arc<Lane>>, rows| Failed {
            problem,
            lane: lane.cloned(),
            rows,
            inputs: Payload::default(),
            ran: None,
        };
        for _ in 0..MOVES_MAX {
            let target = self.snapshot.load().route(&asked.reference)?;
            let lane = target.answers(headers).clone();
            let deadline = deadline(headers, arrived_at, &lane)
                .map_err(|problem| fail(problem, Some(&lane), 0))?;
            let read = self
                .read(question, &lane)
                .await
                .map_err(|problem| fail(problem, Some(&lane), 0))?;
            question = read.0;
            let ask = read.1.map_err(|problem| fail(problem, Some(&lane), 0))?;
            let form = ask.form;
            let rows = ask.payload.rows;
            if lane.schema.streams && rows != 1 {
                let problem = Problem::new(
                    Code::Streams,
                    format!("a model that streams takes one row at a time, got {rows}"),
                );
                return Err(fail(problem, Some(&lane), rows));
            }
            if lane.schema.is_row_by_row() && rows > ROW_BY_ROW_MAX {
                let text = format!(
                    "this model is given its rows one by one, and {rows} are too many for one request"
                );
                let problem = Problem::new(Code::BadShape, text)
                    .help(format!("send at most {ROW_BY_ROW_MAX} rows in a request"));
                return Err(fail(problem, Some(&lane), rows));
            }
            // Once, however often it is routed again.
            self.door
                .take_rows(who.take(), rows)
                .await
                .map_err(|problem| fail(problem, Some(&lane), rows))?;
            let copy =
                target.copies_to(headers).and_then(|split| ShadowCopy::of(&ask, split, &target));
            let (sender, receiver) = oneshot::channel();
            let mut waiting = Waiting::new(ask.payload, deadline, sender);
            (waiting.parameters, waiting.outputs) = (ask.parameters, ask.outputs);
            waiting.trace = asked.trace();
            let queued_at = waiting.queued_at;
            // If it was queued before, what it took is free already.
            waiting.memory =
                memory.take().or_else(|| Some(Memory::anyway(&self.shared.memory, waiting.bytes)));
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
            let departure = Departure { gateway: self, lane: &lane, rows, arrived_at, asked };
            let outcome = match tokio::time::timeout_at(deadline.into(), receiver).await {
                // Whoever had it to answer failed on it.
                Ok(outcome) => outcome.unwrap_or_else(|_| lost(reply::panicked())),
                Err(_) if place.leave() => lost(waited(&lane, queued_at)),
                Err(_) => lost(
                    Problem::new(Code::Deadline, "the deadline passed while the model ran")
                        .help("allow more time with Decalog-Timeout-Ms or [model] deadline_ms"),
                ),
            };
            departure.none();
            drop(place);
            let (reply, timing, inputs) = match outcome {
                RequestOutcome::Answer { answer, first_row, bytes, timing, payload } => {
                    let rows = Rows { answer, first: first_row, count: rows, bytes };
                    (Reply::Rows(rows), timing, payload)
                }
                RequestOutcome::Stream(pieces, timing, payload) => {
                    (Reply::Pieces(pieces), timing, payload)
                }
                RequestOutcome::Problem(problem, inputs, timing) => {
                    let ran = timing.map(|timing| (queued_at, timing));
                    return Err(Failed { inputs, ran, ..fail(problem, Some(&lane), rows) });
                }
                RequestOutcome::Moved => continue,
            };
            if let Some(copy) = copy {
                copy.send(&reply, &self.shared, &self.heavy);
            }
            let outputs = match &reply {
                Reply::Rows(rows) if self.shared.recorder.get().is_some() => Some(rows.clone()),
                _ => None,
            };
            let done = Done { lane, rows, queued_at, timing, form, inputs, outputs };
            return Ok((question, done, reply));
        }
        Err(Problem::new(Code::NoCapacity, "the model's placement changes too often")
            .help("try again")
            .into())
    }

    /// Reads a request for the schema of a placement, and gives it back for another.
    async fn read<W: Wire>(
        &self,
        question: W,
        lane: &Arc<Lane>,
    ) -> Result<(W, Result<Ask, Problem>), Problem> {
        let (lane, cost) = (lane.clone(), question.ask_cost());
        let read = move || {
            let ask = question.ask(&lane);
            (question, ask)
        };
        self.heavy.run(cost, read).await
    }
}

/// Records a caller that hangs up while its request waits or runs: what it dropped is all that is
/// left of it.
struct Departure<'a> {
    gateway: &'a Gateway,
    lane: &'a Lane,
    rows: usize,
    arrived_at: Instant,
    asked: &'a Asked,
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
        let shared = &self.gateway.shared;
        (record.id, record.trace) = (shared.ids.next(), self.asked.trace_id());
        let epoch = self.gateway.epoch();
        let became = Became { lane: Some(self.lane), epoch, ..Became::default() };
        shared.keep(record.id, self.asked, &record, &became);
        shared.record(record);
    }
}

/// A problem of a request whose rows are elsewhere.
fn lost(problem: Problem) -> RequestOutcome {
    RequestOutcome::Problem(problem, Payload::default(), None)
}

fn waited(lane: &Lane, queued_at: Instant) -> Problem {
    let waited_ms = queued_at.elapsed().as_millis();
    let why = if lane.is_ready() { "all replicas stayed busy" } else { "no replica is ready" };
    Problem::new(
        Code::NoCapacity,
        format!("the request waited {waited_ms} ms until its deadline: {why}"),
    )
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
