//! Calls a worker directly with simple JSON rows, past the gateway: for test cases and for the
//! benchmark of a candidate.

use std::time::Duration;

use domain::route::{Address, WorkerProtocol};
use domain::{Code, Problem, Schema};
use protocol::worker_wire::{WorkerRequest, decode, encode};
use protocol::{Answer, Payload, WorkerFault};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::client::{Connection, ConnectionError, Form, RawAnswer};
use crate::refusal::{problem_of, problem_of_event};

/// The longest stream that is read to its end, in bytes.
const STREAM_BYTES_MAX: usize = 64 << 20;

/// Calls one replica.
pub struct Caller {
    address: Address,
    path: String,
    protocol: WorkerProtocol,
    schema: Schema,
    connection: Option<Connection>,
}

/// Where a worker takes requests.
pub fn infer_path(model: &str, protocol: &WorkerProtocol) -> String {
    match protocol {
        WorkerProtocol::Plain(path) => path.clone(),
        _ => format!("/v2/models/{model}/infer"),
    }
}

impl Caller {
    /// For the worker at this address.
    pub fn new(address: Address, model: &str, protocol: WorkerProtocol, schema: Schema) -> Caller {
        Caller { address, path: infer_path(model, &protocol), protocol, schema, connection: None }
    }

    /// The columns of what it calls.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Encodes rows once, to be sent often.
    pub fn prepare(&self, rows: &[Value]) -> Result<(Payload, WorkerRequest), Problem> {
        let body = json!({ "rows": rows }).to_string();
        let (payload, _) = protocol::simple::decode(body.as_bytes(), &self.schema)?;
        let request = encode(&self.protocol, &[&payload], &Map::new(), &[], &self.schema)?;
        Ok((payload, request))
    }

    /// One answer row for each row; a model that streams gives the array of its items, and must end
    /// within the same limit. Rows that must be alone are asked for one after the other.
    pub async fn predict(
        &mut self,
        rows: &[Value],
        timeout: Duration,
    ) -> Result<Vec<Value>, Problem> {
        let at_once = if self.schema.is_row_by_row() { 1 } else { rows.len().max(1) };
        let mut answers = vec![];
        for rows in rows.chunks(at_once) {
            answers.extend(self.predict_at_once(rows, timeout).await?);
        }
        Ok(answers)
    }

    /// One answer row for each row of a payload. Rows that must be alone are asked for one after the
    /// other.
    pub async fn predict_payload(
        &mut self,
        payload: &Payload,
        timeout: Duration,
    ) -> Result<Vec<Value>, Problem> {
        let schema = self.schema.clone();
        if !schema.is_row_by_row() {
            return self.predict_whole(payload, timeout).await;
        }
        let mut answers = vec![];
        for row in payload.each_row(&schema) {
            answers.extend(self.predict_whole(&row, timeout).await?);
        }
        Ok(answers)
    }

    async fn predict_whole(
        &mut self,
        payload: &Payload,
        timeout: Duration,
    ) -> Result<Vec<Value>, Problem> {
        let request = encode(&self.protocol, &[payload], &Map::new(), &[], &self.schema)?;
        let answer = self.send(&request, timeout).await?;
        self.rows(answer, payload.rows)
    }

    async fn predict_at_once(
        &mut self,
        rows: &[Value],
        timeout: Duration,
    ) -> Result<Vec<Value>, Problem> {
        let begin = Instant::now();
        let (payload, request) = self.prepare(rows)?;
        let answer = self.send(&request, timeout).await?;
        if !answer.streams {
            return self.rows(answer, payload.rows);
        }
        match self.stream(begin + timeout, None).await? {
            Stream { has_ended: true, text } => Ok(vec![Value::Array(items(&text))]),
            _ => Err(Problem::new(Code::PredictTimeout, format!("the stream did not end within {} ms", timeout.as_millis()))
                .help("raise [model] predict_ms_max in decalog.toml, or test with a row whose stream is short")),
        }
    }

    /// Whether one row is answered at all. Of a stream the beginning is enough: it is read for
    /// `enough` after its first piece.
    pub async fn ask(
        &mut self,
        row: &Value,
        timeout: Duration,
        enough: Duration,
    ) -> Result<(), Problem> {
        let begin = Instant::now();
        let (payload, request) = self.prepare(std::slice::from_ref(row))?;
        let answer = self.send(&request, timeout).await?;
        if !answer.streams {
            return self.rows(answer, payload.rows).map(|_| ());
        }
        let stream = self.stream(begin + timeout, Some(enough)).await?;
        if stream.has_ended || !stream.text.is_empty() { Ok(()) } else { Err(too_slow(timeout)) }
    }

    /// What the model answers to payloads as one batch, whatever the schema says of batches. A row
    /// that failed fails all.
    pub async fn answer(
        &mut self,
        payloads: &[&Payload],
        timeout: Duration,
    ) -> Result<Answer, Problem> {
        let rows = payloads.iter().map(|payload| payload.rows).sum();
        let request = encode(&self.protocol, payloads, &Map::new(), &[], &self.schema)?;
        let answer = self.send(&request, timeout).await?;
        let answer =
            decode(&self.protocol, answer.body, answer.header_bytes, rows, &[], &self.schema)?;
        match answer.failure(0..rows) {
            Some(problem) => Err(problem.clone()),
            None => Ok(answer),
        }
    }

    fn rows(&self, answer: RawAnswer, rows: usize) -> Result<Vec<Value>, Problem> {
        let answer =
            decode(&self.protocol, answer.body, answer.header_bytes, rows, &[], &self.schema)?;
        if let Some(problem) = answer.failure(0..rows) {
            return Err(problem.clone());
        }
        let mut text = vec![];
        answer.write_simple(0..rows, false, &mut text);
        let value: Value = serde_json::from_slice(&text).unwrap_or_default();
        Ok(value["rows"].as_array().cloned().unwrap_or_default())
    }

    /// Sends a prepared request and waits for the answer, which is 200.
    pub async fn send(
        &mut self,
        request: &WorkerRequest,
        timeout: Duration,
    ) -> Result<RawAnswer, Problem> {
        let died = |error: ConnectionError| match error {
            ConnectionError::Local(error) => {
                Problem::new(Code::ServerBusy, format!("the worker could not be asked: {error}"))
                    .help("raise the limit of open files (ulimit -n), or try again")
            }
            ConnectionError::Closed(error) => Problem::new(
                Code::WorkerDied,
                format!("the worker ended while it predicted: {error}"),
            )
            .help("see its log: decalog logs"),
            ConnectionError::Protocol(text) => {
                WorkerFault::malformed(format!("the worker's answer is not understood: {text}"))
                    .into()
            }
        };
        let form = if self.schema.streams { Form::Events } else { Form::Whole };
        let mut connection =
            match self.connection.take().filter(|connection| !connection.is_stale()) {
                Some(connection) => connection,
                None => {
                    Connection::connect(&self.address).await.map_err(|error| died(error.into()))?
                }
            };
        let sent = tokio::time::timeout(timeout, connection.post(&self.path, request, form)).await;
        let answer = sent.map_err(|_| too_slow(timeout))?.map_err(died)?;
        self.connection = Some(connection);
        if answer.status != 200 { Err(problem_of(&answer)) } else { Ok(answer) }
    }

    /// Reads a stream until its end, until `end`, or, where there is an `enough`, for so long after
    /// its first piece.
    async fn stream(
        &mut self,
        mut end: Instant,
        mut enough: Option<Duration>,
    ) -> Result<Stream, Problem> {
        let broken =
            || Problem::new(Code::WorkerDied, "the worker ended in the middle of its answer");
        let mut connection = self.connection.take().ok_or_else(broken)?;
        let mut bytes = vec![];
        let mut has_ended = false;
        while bytes.len() < STREAM_BYTES_MAX {
            let Ok(piece) = tokio::time::timeout_at(end, connection.next_piece()).await else {
                break;
            };
            let Some(piece) = piece.map_err(|_| broken())? else {
                has_ended = true;
                break;
            };
            bytes.extend_from_slice(&piece);
            if let Some(enough) = enough.take() {
                end = end.min(Instant::now() + enough);
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((_, error)) = text.split_once("event: error\ndata: ") {
            let line = error.lines().next().unwrap_or_default();
            return Err(problem_of_event(line));
        }
        Ok(Stream { has_ended, text })
    }
}

/// What was read of a stream.
struct Stream {
    has_ended: bool,
    text: String,
}

fn items(text: &str) -> Vec<Value> {
    let items = text.lines().filter_map(|line| line.strip_prefix("data: "));
    items.filter_map(|item| serde_json::from_str(item).ok()).collect()
}

fn too_slow(timeout: Duration) -> Problem {
    Problem::new(
        Code::PredictTimeout,
        format!("the prediction took longer than {} ms", timeout.as_millis()),
    )
    .help("raise [model] predict_ms_max in decalog.toml, or make the model faster")
}

#[cfg(test)]
mod tests;
