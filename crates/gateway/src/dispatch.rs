//! Slots: each carries one batch at a time to its replica, over its own connection, and hands out
//! the answers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use domain::Problem;
use domain::route::{Observation, ReplicaRoute, WorkerProtocol};
use futures_util::FutureExt;
use protocol::trace::TraceContext;
use protocol::worker_wire::{self, WorkerRequest};
use protocol::{Answer, Payload};
use serde_json::{Map, Value};
use worker::{Connection, ConnectionError, Form, RawAnswer};

use crate::Shared;
use crate::batch::Batch;
use crate::heavy::{Cost, Heavy};
use crate::lane::Lane;
use crate::queue::{Next, SlotKind};
use crate::replica::Replica;
use crate::reply::{self, BatchSpan, RequestOutcome, Timing};
use crate::trace::passed_on;
use crate::waiting::Waiting;

mod failure;
mod pieces;

use failure::{BatchFailure, fail};

/// While descriptors are short, a connection to a worker is tried so often, …
const LOCAL_TRIES: u32 = 5;
/// … with such a pause, in milliseconds; quiet connections of callers are closed for it.
const LOCAL_PAUSE_MS: u64 = 20;

/// Starts the slots of a replica.
pub fn start(
    lane: &Arc<Lane>,
    replica: Arc<Replica>,
    route: &ReplicaRoute,
    shared: &Arc<Shared>,
    heavy: &Heavy,
) {
    let primary = route.concurrency.max(1) as usize;
    let kinds = std::iter::repeat_n(SlotKind::Primary, primary);
    // One call at a time is what makes sending ahead worthwhile: with more, the replica overlaps
    // them itself.
    let ahead =
        (route.prefetch && primary == 1 && lane.queue.limits.mix).then_some(SlotKind::Prefetch);
    for (index, kind) in kinds.chain(ahead).enumerate() {
        replica.slots.fetch_add(1, Ordering::Relaxed);
        lane.queue.slot_started();
        let slot = Slot {
            lane: lane.clone(),
            replica: replica.clone(),
            shared: shared.clone(),
            heavy: heavy.clone(),
            kind,
            index,
            connection: None,
            running: Running::default(),
        };
        heavy.runtime().spawn(slot.run());
    }
}

struct Slot {
    lane: Arc<Lane>,
    replica: Arc<Replica>,
    shared: Arc<Shared>,
    heavy: Heavy,
    kind: SlotKind,
    index: usize,
    connection: Option<Connection>,
    running: Running,
}

/// The batch that a slot runs.
#[derive(Default)]
struct Running {
    span: BatchSpan,
    /// What its worker is told of it.
    trace: Option<TraceContext>,
    /// When it was first sent.
    sent_at: Option<Instant>,
}

impl Slot {
    async fn run(mut self) {
        loop {
            let next = self.lane.queue.next(self.kind, || self.replica.using()).await;
            let Next::Batch(batch) = next else { break };
            let rows = batch.rows;
            self.replica.in_flight.fetch_add(1, Ordering::Relaxed);
            self.runs(batch.requests.len());
            let streams = self.lane.schema.streams;
            let running =
                async { if streams { self.stream(batch).await } else { self.batch(batch).await } };
            // A panic costs the requests of this batch, which hear of it by their dropped replies,
            // and no slot.
            let ran = AssertUnwindSafe(running).catch_unwind().await;
            let service = ran.unwrap_or_else(|_| {
                self.connection = None;
                None
            });
            self.replica.in_flight.fetch_sub(1, Ordering::Relaxed);
            self.runs(0);
            if let Some((linger, rows)) = self.lane.queue.finished(self.kind, rows, service) {
                self.lane.queue.linger(linger, rows).await;
            }
        }
        self.connection = None;
        self.lane.queue.slot_ended();
        if self.replica.slots.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.lane.forget(&self.replica);
            self.shared.observe(Observation::Returned { replica: self.replica.id.clone() }).await;
        }
    }

    fn runs(&self, requests: usize) {
        let Some(running) = self.replica.running.get(self.index) else { return };
        if requests > 0 {
            running
                .since_us
                .store(self.replica.begin.elapsed().as_micros() as u64, Ordering::Relaxed);
        }
        running.requests.store(requests as u32, Ordering::Release);
    }

    /// A batch of these requests runs from now on.
    fn begin(&mut self, requests: &[Waiting]) {
        let (span, trace) = match self.shared.tracing.get() {
            Some(tracing) => tracing.batch(requests),
            None => (BatchSpan::default(), passed_on(requests)),
        };
        self.running = Running { span, trace, sent_at: None };
    }

    /// A request of the batch is sent now.
    fn sent(&mut self, request: &mut WorkerRequest) -> Instant {
        request.trace = self.running.trace;
        let now = Instant::now();
        self.running.sent_at.get_or_insert(now);
        now
    }

    /// When the batch ran that has just failed; `None` if it was not sent.
    fn ran(&self, rows: usize) -> Option<Timing> {
        Some(self.timing(self.running.sent_at?, rows as u32))
    }

    /// Puts payloads together for the worker, in the form of a request. The payloads stay here,
    /// whatever happens.
    async fn encode(&self, payloads: &[&Payload], of: &Waiting) -> Result<WorkerRequest, Problem> {
        let encode = |payloads: &[&Payload],
                      parameters: &Map<String, Value>,
                      outputs: &[String],
                      lane: &Lane,
                      replica: &Replica| {
            worker_wire::encode(&replica.protocol, payloads, parameters, outputs, &lane.schema)
        };
        let text_bytes = match self.replica.protocol {
            WorkerProtocol::Binary => 0,
            _ => payloads.iter().map(|payload| payload.size()).sum(),
        };
        if Cost::Text(text_bytes).is_light() {
            let encode =
                || encode(payloads, &of.parameters, &of.outputs, &self.lane, &self.replica);
            return catch_unwind(AssertUnwindSafe(encode))
                .unwrap_or_else(|_| Err(reply::panicked()));
        }
        let (lane, replica) = (self.lane.clone(), self.replica.clone());
        let (payloads, parameters, outputs) = (
            payloads.iter().copied().cloned().collect::<Vec<_>>(),
            of.parameters.clone(),
            of.outputs.clone(),
        );
        let encode = move || {
            encode(&payloads.iter().collect::<Vec<_>>(), &parameters, &outputs, &lane, &replica)
        };
        self.heavy.run(Cost::Text(text_bytes), encode).await.and_then(|request| request)
    }

    /// Reads the worker's answer to so many rows of a request.
    async fn decode(&self, raw: RawAnswer, rows: usize, of: &Waiting) -> Result<Answer, Problem> {
        let (lane, replica) = (self.lane.clone(), self.replica.clone());
        let outputs = of.outputs.clone();
        let cost = Cost::Text(raw.body.len() - self.numbers(&raw));
        let decode = move || match raw.status {
            200 => worker_wire::decode(
                &replica.protocol,
                raw.body,
                raw.header_bytes,
                rows,
                &outputs,
                &lane.schema,
            )
            .map_err(Problem::from),
            _ => Err(worker::refusal::problem_of(&raw)),
        };
        self.heavy.run(cost, decode).await.and_then(|answer| answer)
    }

    /// The bytes of an answer that are taken as they are: tensors of numbers behind the JSON.
    fn numbers(&self, raw: &RawAnswer) -> usize {
        let has_texts =
            self.lane.schema.outputs.iter().any(|column| column.datatype.size().is_none());
        match raw.header_bytes {
            Some(header_bytes) if !has_texts && !self.lane.schema.outputs.is_empty() => {
                raw.body.len().saturating_sub(header_bytes)
            }
            _ => 0,
        }
    }

    /// Runs one batch. Gives its service time if the model answered.
    async fn batch(&mut self, batch: Batch) -> Option<Duration> {
        self.begin(&batch.requests);
        let answered = match batch.requests.as_slice() {
            [one] if one.payload.rows > 1 && self.lane.schema.is_row_by_row() => {
                self.row_by_row(one).await
            }
            requests => {
                let payloads: Vec<&Payload> =
                    requests.iter().map(|waiting| &waiting.payload).collect();
                self.answer(&payloads, batch.rows, &requests[0]).await
            }
        };
        let Answered { answer, bytes, timing } = match answered {
            Ok(answered) => answered,
            Err(failure) => {
                self.failed(batch, failure).await;
                return None;
            }
        };
        let (answer, bytes_per_row) = (Arc::new(answer), bytes / batch.rows.max(1));
        let mut first_row = 0;
        for waiting in batch.requests {
            let rows = waiting.payload.rows;
            let (answer, bytes) = (answer.clone(), bytes_per_row * rows);
            match answer.failure(first_row..first_row + rows) {
                Some(problem) => fail(waiting, problem.clone(), Some(timing.clone())),
                None => {
                    let _ = waiting.reply.send(RequestOutcome::Answer {
                        answer,
                        first_row,
                        bytes,
                        timing: timing.clone(),
                        payload: waiting.payload,
                    });
                }
            }
            first_row += rows;
        }
        Some(timing.answered_at - timing.sent_at)
    }

    /// The worker's answer to payloads that it gets at once, in the form of a request.
    async fn answer(
        &mut self,
        payloads: &[&Payload],
        rows: usize,
        of: &Waiting,
    ) -> Result<Answered, BatchFailure> {
        let mut request = self.encode(payloads, of).await.map_err(BatchFailure::Answer)?;
        let sent_at = self.sent(&mut request);
        let raw = self.post(&request).await?;
        let timing = self.timing(sent_at, rows as u32);
        let bytes = raw.body.len();
        let answer = self.decode(raw, rows, of).await.map_err(BatchFailure::Answer)?;
        Ok(Answered { answer, bytes, timing })
    }

    /// When a batch ran that has just been answered.
    fn timing(&self, sent_at: Instant, batch_rows: u32) -> Timing {
        let replica = self.replica.name.clone();
        let span = self.running.span;
        Timing { sent_at, answered_at: Instant::now(), batch_rows, replica, span }
    }

    /// The answers to the rows of a request, sent one after the other, as one; the first row
    /// that fails fails the request. Ends with the row that runs when the caller has gone or its
    /// deadline has passed.
    async fn row_by_row(&mut self, waiting: &Waiting) -> Result<Answered, BatchFailure> {
        let (lane, rows, sent_at) = (self.lane.clone(), waiting.payload.rows, Instant::now());
        let mut answers = Vec::with_capacity(rows);
        let mut bytes = 0;
        for (row, payload) in waiting.payload.each_row(&lane.schema).enumerate() {
            if waiting.reply.is_closed() {
                return Err(BatchFailure::Left);
            }
            let answered = self
                .answer(&[&payload], 1, waiting)
                .await
                .map_err(|failure| failure.of_row(row, rows))?;
            if let Some(problem) = answered.answer.failure(0..1) {
                return Err(BatchFailure::Answer(problem.clone()).of_row(row, rows));
            }
            bytes += answered.bytes;
            answers.push(answered.answer);
        }
        let timing = self.timing(sent_at, 1);
        Ok(Answered { answer: Answer::joined(answers), bytes, timing })
    }

    async fn post(&mut self, request: &WorkerRequest) -> Result<RawAnswer, BatchFailure> {
        let limit = Duration::from_millis(self.lane.predict_ms_max);
        let sent = async {
            let mut connection =
                match self.connection.take().filter(|connection| !connection.is_stale()) {
                    Some(connection) => connection,
                    None => self.connect().await?,
                };
            let form = if self.lane.schema.streams { Form::Events } else { Form::Whole };
            let answer = connection.post(&self.replica.infer_path, request, form).await?;
            Ok((connection, answer))
        };
        match tokio::time::timeout(limit, sent).await {
            Ok(Ok((connection, answer))) => {
                self.connection = Some(connection);
                Ok(answer)
            }
            Ok(Err(error)) => Err(BatchFailure::Connection(error)),
            Err(_) => Err(BatchFailure::Timeout),
        }
    }

    /// A connection to the worker. If descriptors are short here, callers that are quiet give
    /// theirs.
    async fn connect(&self) -> Result<Connection, ConnectionError> {
        let mut tries = 0;
        loop {
            match Connection::connect(&self.replica.address).await.map_err(ConnectionError::from) {
                Err(ConnectionError::Local(_)) if tries < LOCAL_TRIES => tries += 1,
                other => return other,
            }
            self.shared.relieve();
            tokio::time::sleep(Duration::from_millis(LOCAL_PAUSE_MS)).await;
        }
    }
}

/// What a worker answered to some rows.
struct Answered {
    answer: Answer,
    /// Of the worker's answer.
    bytes: usize,
    timing: Timing,
}

#[cfg(test)]
mod tests;
