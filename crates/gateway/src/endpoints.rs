//! One request from its head to its answer: which endpoint, which headers, which record.

use std::time::Instant;

use domain::record::Record;
use domain::{Code, Problem};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};

use crate::body::{self, Body};
use crate::connections::{Ticket, Wait};
use crate::heavy::Cost;
use crate::memory::{Memory, SMALL_BYTES};
use crate::predict::{self, Done, Failed, Question, Reply};
use crate::reply;
use crate::{Gateway, admit, micros, oip};

/// What the data plane answers.
pub enum Endpoint {
    /// Simple JSON, by reference.
    Predict(String),
    /// The Open Inference Protocol.
    OpenInference(oip::Path),
}

/// Which endpoint a path is; `None` belongs to the control plane.
pub fn endpoint(path: &str) -> Option<Endpoint> {
    if let Some(reference) = path.strip_prefix("/v1/models/").and_then(|rest| rest.strip_suffix("/predict")) {
        return oip::decode(reference).map(Endpoint::Predict);
    }
    if path == "/v2" || path.starts_with("/v2/") { oip::parse_path(path).map(Endpoint::OpenInference) } else { None }
}

impl Gateway {
    /// Answers a request of the data plane.
    pub(crate) async fn infer(&self, endpoint: Endpoint, request: Request<Incoming>, ticket: &Ticket) -> Response<Body> {
        let arrived_at = Instant::now();
        let (parts, incoming) = request.into_parts();
        let wants_post = matches!(endpoint, Endpoint::Predict(_) | Endpoint::OpenInference(oip::Path::Infer(_)));
        let expected = if wants_post { Method::POST } else { Method::GET };
        let result = if parts.method != expected {
            let text = format!("{} is not for {}: use {expected}", parts.method, parts.uri.path());
            Err(refused(Problem::new(Code::MethodNotAllowed, text)))
        } else {
            match endpoint {
                Endpoint::Predict(reference) => self.simple(&reference, &parts, incoming, arrived_at, ticket).await,
                Endpoint::OpenInference(oip::Path::Infer(reference)) => {
                    self.open_inference(&reference, &parts, incoming, arrived_at, ticket).await
                }
                Endpoint::OpenInference(path) => {
                    return self.describe(&path).unwrap_or_else(|problem| reply::problem(&problem));
                }
            }
        };
        self.finish(result, arrived_at)
    }

    async fn simple(
        &self,
        reference: &str,
        parts: &http::request::Parts,
        incoming: Incoming,
        arrived_at: Instant,
        ticket: &Ticket,
    ) -> Result<(Done, Response<Body>), Failed> {
        let (body, memory) = self.body(reference, parts, incoming, ticket).await.map_err(refused)?;
        let asked = self.ask(None, reference, &parts.headers, arrived_at, Question::Simple(body), Some(memory));
        let mut done = asked.await?;
        let response = match done.reply {
            Reply::Pieces(pieces) => predict::respond_pieces(pieces),
            Reply::Rows(rows) => {
                let form = done.form;
                let body = self.heavy.run(Cost::Text(rows.bytes), move || rows.write_simple(form)).await;
                body.map_or_else(|problem| reply::problem(&problem), |body| reply::json(StatusCode::OK, body))
            }
            Reply::Written => return Err(refused(reply::panicked())),
        };
        done.reply = Reply::Written;
        Ok((done, response))
    }

    async fn open_inference(
        &self,
        reference: &str,
        parts: &http::request::Parts,
        incoming: Incoming,
        arrived_at: Instant,
        ticket: &Ticket,
    ) -> Result<(Done, Response<Body>), Failed> {
        let (body, memory) = self.body(reference, parts, incoming, ticket).await.map_err(refused)?;
        let header_bytes = oip::header_bytes(&parts.headers).map_err(refused)?;
        let cost = Cost::Text(header_bytes.unwrap_or(body.len()));
        let request = self.heavy.run(cost, move || protocol::oip::decode_request(body, header_bytes)).await;
        let question = Question::OpenInference(request.and_then(|request| request).map_err(refused)?);
        let done = self.ask(None, reference, &parts.headers, arrived_at, question, Some(memory)).await?;
        let cost = oip::answer_cost(&done);
        let written = self.heavy.run(cost, move || {
            let response = oip::respond(&done);
            (done, response)
        });
        written.await.map_err(refused)
    }

    async fn body(
        &self,
        reference: &str,
        parts: &http::request::Parts,
        incoming: Incoming,
        ticket: &Ticket,
    ) -> Result<(bytes::Bytes, Memory), Problem> {
        admit::check_length(&parts.headers, self.config.body_bytes_max)?;
        let is_small = incoming.size_hint().exact().is_some_and(|announced| announced <= SMALL_BYTES as u64);
        // For which model a large one is, is asked before it is read.
        let target = if is_small { None } else { Some(self.snapshot.load().route(reference)?) };
        let mut memory = Memory::new(&self.shared.memory, target.as_ref().map(|target| &target.lane.memory));
        let body = body::collect(incoming, &self.config, ticket, &mut memory).await?;
        ticket.waits_for(Wait::Answer);
        Ok((body, memory))
    }

    fn finish(&self, result: Result<(Done, Response<Body>), Failed>, arrived_at: Instant) -> Response<Body> {
        let id = self.request_ids.next();
        let total_us = micros(arrived_at.elapsed());
        let mut record = Record::new(None, 0, total_us);
        let mut response = match result {
            Ok((done, mut response)) => {
                record.placement = Some(done.lane.placement.clone());
                record.rows = done.rows as u32;
                record.batch_rows = done.timing.batch_rows;
                record.queue_us = micros(done.timing.sent_at.saturating_duration_since(done.queued_at));
                record.worker_us = micros(done.timing.answered_at.saturating_duration_since(done.timing.sent_at));
                let headers = response.headers_mut();
                headers.insert(reply::VERSION, done.lane.version_header.clone());
                reply::server_timing(headers, record.queue_us, record.worker_us, total_us);
                response
            }
            Err(failed) => {
                let id = std::str::from_utf8(&id).unwrap_or_default();
                tracing::debug!(request = id, code = %failed.problem.code, "request failed: {}", failed.problem.message);
                let mut response = reply::problem(&failed.problem);
                record.code = failed.problem.code.label();
                record.rows = failed.rows as u32;
                if let Some(lane) = failed.lane {
                    response.headers_mut().insert(reply::VERSION, lane.version_header.clone());
                    record.placement = Some(lane.placement.clone());
                }
                response
            }
        };
        record.status = response.status().as_u16();
        if let Ok(value) = HeaderValue::from_bytes(&id) {
            response.headers_mut().insert(reply::REQUEST_ID, value);
        }
        response.body_mut().count(&self.shared.memory);
        match response.body_mut().pieces() {
            // What becomes of a stream is known at its end.
            Some(pieces) => pieces.record(self.shared.clone(), record),
            None => self.shared.record(record),
        }
        response
    }
}

fn refused(problem: Problem) -> Failed {
    Failed { problem, lane: None, rows: 0 }
}
