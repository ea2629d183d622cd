//! One request from its head to its answer: which endpoint, which headers, which record.

use std::time::Instant;

use domain::record::Record;
use domain::{Code, Problem};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::{Body as _, Incoming};

use crate::access::Who;
use crate::arriving::Upload;
use crate::ask::{Done, Failed, Reply};
use crate::body::{self, Body};
use crate::coding::{self, Coding};
use crate::connections::{Ticket, Wait};
use crate::keep::{Asked, Became, Ran, id_text};
use crate::memory::{Memory, SMALL_BYTES};
use crate::reply::{self, Timing};
use crate::watch::Standing;
use crate::wire::oip_rest::{self, OipRest};
use crate::wire::simple::Simple;
use crate::wire::{Wire, percent_decoded};
use crate::{Gateway, admit, micros};

/// What the data plane answers.
pub enum Endpoint {
    /// Simple JSON, by reference.
    Predict(String),
    /// The Open Inference Protocol.
    OpenInference(oip_rest::Path),
}

impl Endpoint {
    /// The model that it is about, if it is about one.
    pub fn reference(&self) -> Option<&str> {
        match self {
            Endpoint::Predict(reference) => Some(reference),
            Endpoint::OpenInference(path) => path.reference(),
        }
    }

    /// With what it may be called, as `Allow` says it.
    fn methods(&self) -> &'static str {
        match self {
            Endpoint::Predict(_) | Endpoint::OpenInference(oip_rest::Path::Infer(_)) => "POST",
            Endpoint::OpenInference(_) => "GET, HEAD",
        }
    }
}

/// Which endpoint a path is; `None` belongs to the control plane.
pub fn endpoint(path: &str) -> Option<Endpoint> {
    if let Some(reference) =
        path.strip_prefix("/v1/models/").and_then(|rest| rest.strip_suffix("/predict"))
    {
        return percent_decoded(reference).map(Endpoint::Predict);
    }
    if path == "/v2" || path.starts_with("/v2/") {
        oip_rest::parse_path(path).map(Endpoint::OpenInference)
    } else {
        None
    }
}

impl Gateway {
    /// Answers a request of the data plane.
    pub(crate) async fn infer(
        &self,
        endpoint: Endpoint,
        request: Request<Incoming>,
        ticket: &Ticket,
        who: Option<&Who>,
    ) -> Response<Body> {
        let arrived_at = Instant::now();
        let (parts, incoming) = request.into_parts();
        let upload = Upload::new(incoming, &parts.headers, &self.config);
        let (methods, is_head) = (endpoint.methods(), parts.method == Method::HEAD);
        let mut response = self.answer_at(endpoint, &parts, upload, arrived_at, ticket, who).await;
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        if is_head { reply::without_body(response) } else { response }
    }

    async fn answer_at(
        &self,
        endpoint: Endpoint,
        parts: &http::request::Parts,
        upload: Upload,
        arrived_at: Instant,
        ticket: &Ticket,
        who: Option<&Who>,
    ) -> Response<Body> {
        match endpoint {
            Endpoint::Predict(reference) => {
                self.answer::<Simple>(&reference, parts, upload, arrived_at, ticket, who).await
            }
            Endpoint::OpenInference(oip_rest::Path::Infer(reference)) => {
                self.answer::<OipRest>(&reference, parts, upload, arrived_at, ticket, who).await
            }
            Endpoint::OpenInference(_) if !matches!(parts.method, Method::GET | Method::HEAD) => {
                let refused = Err(wrong_method(parts, Method::GET).into());
                self.finish::<OipRest>(refused, arrived_at, Asked::default())
            }
            Endpoint::OpenInference(path) => {
                let may_see = path.reference().map_or(Ok(()), |of| self.door.may_ask(who, of));
                let described = may_see.and_then(|()| self.describe(&path));
                described.unwrap_or_else(|problem| OipRest::refuse(&problem))
            }
        }
    }

    async fn answer<W: Wire>(
        &self,
        reference: &str,
        parts: &http::request::Parts,
        upload: Upload,
        arrived_at: Instant,
        ticket: &Ticket,
        who: Option<&Who>,
    ) -> Response<Body> {
        let principal = who.map(Who::recorded).unwrap_or_default();
        let mut asked = Asked::new(reference, principal, &parts.headers);
        if let Some(tracing) = self.shared.tracing.get() {
            asked = asked.traced_by(tracing, W::TRACED);
        }
        let result = self.answered::<W>(&asked, parts, upload, arrived_at, ticket, who).await;
        self.finish::<W>(result, arrived_at, asked)
    }

    async fn answered<W: Wire>(
        &self,
        asked: &Asked,
        parts: &http::request::Parts,
        upload: Upload,
        arrived_at: Instant,
        ticket: &Ticket,
        who: Option<&Who>,
    ) -> Result<(Done, Response<Body>), Failed> {
        if parts.method != Method::POST {
            return Err(wrong_method(parts, Method::POST).into());
        }
        let reference = &asked.reference;
        self.door.may_ask(who, reference)?;
        let (body, memory) = self.body(reference, parts, upload, ticket).await?;
        // The body may have been long on its way.
        who.map_or(Ok(()), |who| self.door.recheck(who))?;
        let head = W::head(&parts.headers)?;
        let question =
            self.heavy.run(W::read_cost(&head, &body), move || W::read(head, body)).await??;
        let (question, done, reply) =
            self.ask(&parts.headers, arrived_at, question, Some(memory), who, asked).await?;
        let (form, lane) = (done.form, done.lane.clone());
        let packing = match &reply {
            Reply::Rows(rows) if rows.bytes >= coding::LOOKED_AT_BYTES_MIN => {
                Coding::accepted(&parts.headers)
            }
            _ => None,
        };
        let cost = coding::packing_cost(question.write_cost(&reply), packing);
        let write = move || {
            let mut response = question.write(reply, form, &lane);
            if let Some(coding) = packing {
                coding::pack_answer(&mut response, coding);
            }
            response
        };
        let response = self.heavy.run(cost, write).await;
        let fail = |problem| Failed {
            problem,
            lane: Some(done.lane.clone()),
            rows: done.rows,
            inputs: Default::default(),
            ran: None,
        };
        let mut response = response.map_err(fail)?;
        if response.body_mut().pieces().is_some() {
            response.extensions_mut().insert(Standing::Model(reference.clone()));
        }
        Ok((done, response))
    }

    async fn body(
        &self,
        reference: &str,
        parts: &http::request::Parts,
        mut upload: Upload,
        ticket: &Ticket,
    ) -> Result<(bytes::Bytes, Memory), Problem> {
        admit::check_length(&parts.headers, self.config.body_bytes_max)?;
        let coding = Coding::of(&parts.headers)?;
        let announced = upload.incoming().and_then(|incoming| incoming.size_hint().exact());
        let is_small = announced.is_some_and(|announced| announced <= SMALL_BYTES as u64);
        // Which model a large one is for is checked before it is read; what is compressed may be
        // one.
        let target = match is_small && coding.is_none() {
            true => None,
            false => Some(self.snapshot.load().route(reference)?),
        };
        let mut memory =
            Memory::new(&self.shared.memory, target.as_ref().map(|target| &target.lane.memory));
        let body = body::collect(&mut upload, &self.config, ticket, &mut memory).await?;
        upload.read();
        ticket.waits_for(Wait::Answer);
        match coding {
            Some(coding) if !body.is_empty() => {
                coding::unpack(&self.heavy, coding, body, memory, self.config.body_bytes_max).await
            }
            _ => Ok((body, memory)),
        }
    }

    fn finish<W: Wire>(
        &self,
        result: Result<(Done, Response<Body>), Failed>,
        arrived_at: Instant,
        asked: Asked,
    ) -> Response<Body> {
        let (shared, id, epoch) = (&self.shared, self.shared.ids.next(), self.epoch());
        let text = id_text(&id);
        let total_us = micros(arrived_at.elapsed());
        let mut record = Record::new(None, 0, total_us);
        (record.id, record.trace) = (id, asked.trace_id());
        let mut response = match result {
            Ok((done, mut response)) => {
                record.placement = Some(done.lane.placement.clone());
                record.rows = done.rows as u32;
                record.batch_rows = done.timing.batch_rows;
                (record.queue_us, record.worker_us) = parts(done.queued_at, &done.timing);
                record.status = response.status().as_u16();
                let ran = ran(arrived_at, &done.timing);
                let headers = response.headers_mut();
                headers.insert(reply::VERSION, done.lane.version_header.clone());
                reply::server_timing(headers, record.queue_us, record.worker_us, total_us);
                let (replica, inputs) = (done.timing.replica, done.inputs);
                match response.body_mut().pieces() {
                    // What becomes of a stream is known at its end.
                    Some(pieces) => {
                        let (shared, lane) = (shared.clone(), done.lane);
                        let recorded = move |record: Record| {
                            let (lane, replica) = (Some(lane.as_ref()), replica.as_ref());
                            let became =
                                Became { lane, replica, inputs, epoch, ran, ..Became::default() };
                            shared.keep(id, &asked, &record, &became);
                            shared.record(record);
                        };
                        pieces.record(record, Box::new(recorded));
                    }
                    None => {
                        let became = Became {
                            lane: Some(&done.lane),
                            replica: &replica,
                            inputs,
                            rows: done.outputs.as_ref(),
                            problem: None,
                            epoch,
                            ran,
                        };
                        shared.keep(id, &asked, &record, &became);
                        shared.record(record);
                    }
                }
                response
            }
            Err(failed) => {
                let id_text = std::str::from_utf8(&text).unwrap_or_default();
                let code = &failed.problem.code;
                tracing::debug!(request = id_text, %code, "request failed: {}", failed.said());
                let mut response = W::refuse(&failed.problem);
                record.status = response.status().as_u16();
                record.code = failed.problem.code.label();
                record.rows = failed.rows as u32;
                if let Some(lane) = &failed.lane {
                    response.headers_mut().insert(reply::VERSION, lane.version_header.clone());
                    record.placement = Some(lane.placement.clone());
                }
                let mut became = Became {
                    lane: failed.lane.as_deref(),
                    inputs: failed.inputs,
                    problem: Some(&failed.problem),
                    epoch,
                    ..Became::default()
                };
                // Metrics have the parts of the time of those that were answered only.
                let mut kept = record.clone();
                if let Some((queued_at, timing)) = &failed.ran {
                    (kept.queue_us, kept.worker_us) = parts(*queued_at, timing);
                    kept.batch_rows = timing.batch_rows;
                    (became.replica, became.ran) = (&timing.replica, ran(arrived_at, timing));
                }
                shared.keep(id, &asked, &kept, &became);
                shared.record(record);
                response
            }
        };
        if let Ok(value) = HeaderValue::from_bytes(&text) {
            response.headers_mut().insert(reply::REQUEST_ID, value);
        }
        response.body_mut().count(&shared.memory);
        response
    }
}

/// How long a request waited and ran, in microseconds.
fn parts(queued_at: Instant, timing: &Timing) -> (u32, u32) {
    let Timing { sent_at, answered_at, .. } = timing;
    let queue = sent_at.saturating_duration_since(queued_at);
    (micros(queue), micros(answered_at.saturating_duration_since(*sent_at)))
}

/// When it ran, from its first byte.
fn ran(arrived_at: Instant, timing: &Timing) -> Ran {
    let sent_us = micros(timing.sent_at.saturating_duration_since(arrived_at));
    Ran { sent_us, batch: timing.span }
}

fn wrong_method(parts: &http::request::Parts, expected: Method) -> Problem {
    let text = format!("{} is not for {}: use {expected}", parts.method, parts.uri.path());
    Problem::new(Code::MethodNotAllowed, text)
}
