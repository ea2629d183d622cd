//! What a request ends with, and how it is written: status, body, headers, one mapping of errors to
//! HTTP.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use domain::code::Retry;
use domain::{Code, Problem};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::Body as _;
use protocol::{Answer, Payload};

use crate::body::Body;
use crate::stream::Pieces;

/// How a request in the queue ended.
pub enum RequestOutcome {
    /// With rows of a batch's answer.
    Answer {
        /// Of the whole batch.
        answer: Arc<Answer>,
        /// The first of this request's rows.
        first_row: usize,
        /// About how many bytes of the worker's answer are this request's.
        bytes: usize,
        /// When and with whom it ran.
        timing: Timing,
        /// What it asked, for its record.
        payload: Payload,
    },
    /// With pieces that follow.
    Stream(Pieces, Timing, Payload),
    /// With an error, what it asked, and when it ran, if it did.
    Problem(Problem, Payload, Option<Timing>),
    /// Its placement ended before it ran: it is routed again.
    Moved,
}

/// When a batch ran.
#[derive(Clone)]
pub struct Timing {
    /// When it was sent.
    pub sent_at: Instant,
    /// When its answer, or the first piece of it, had come.
    pub answered_at: Instant,
    /// Rows of the whole batch.
    pub batch_rows: u32,
    /// What ran it.
    pub replica: Arc<str>,
    /// Its span.
    pub span: BatchSpan,
}

/// The span of a batch; zeros if nobody traces.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BatchSpan {
    /// Its id.
    pub span: [u8; 8],
    /// Whether it carries several requests.
    pub is_shared: bool,
}

/// The request's id, in answers and logs.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("decalog-request-id");
/// The version that answered.
pub const VERSION: HeaderName = HeaderName::from_static("decalog-version");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// What bodies of requests may be compressed with.
const UNDERSTOOD: HeaderValue = HeaderValue::from_static("gzip, deflate, zstd");

/// How to prove who one is.
pub const CHALLENGE: &str = "Bearer realm=\"decalog\"";

/// The HTTP status of a problem.
pub fn status_of(code: &Code) -> StatusCode {
    StatusCode::from_u16(code.http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// A JSON body.
pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The answer that a problem becomes.
pub fn problem(problem: &Problem) -> Response<Body> {
    let status = status_of(&problem.code);
    let mut response = json(status, serde_json::to_vec(problem).unwrap_or_default());
    let headers = response.headers_mut();
    if let Some(seconds) = problem.retry_after_s {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    } else if problem.code.retry() == Retry::Soon {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if problem.code == Code::Unauthenticated {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
    }
    if problem.code == Code::UnsupportedEncoding {
        headers.insert(header::ACCEPT_ENCODING, UNDERSTOOD);
    }
    response
}

/// The answer to HEAD: what that to GET would say of itself.
pub fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(parts, Body::from(Bytes::new()))
}

/// What a panic of ours becomes. Its message is in the server's log.
pub fn panicked() -> Problem {
    Problem::new(Code::Internal, "the server failed on this request; others go on")
        .help("see the server's log, and report it")
}

/// Adds `Server-Timing`, in milliseconds.
pub fn server_timing(headers: &mut HeaderMap, queue_us: u32, worker_us: u32, total_us: u32) {
    let mut text = Vec::with_capacity(64);
    for (name, us) in
        [("queue;dur=", queue_us), (", worker;dur=", worker_us), (", total;dur=", total_us)]
    {
        text.extend_from_slice(name.as_bytes());
        let mut digits = itoa::Buffer::new();
        text.extend_from_slice(digits.format(us / 1_000).as_bytes());
        text.push(b'.');
        let rest = us % 1_000;
        text.extend_from_slice(&[
            b'0' + (rest / 100) as u8,
            b'0' + (rest / 10 % 10) as u8,
            b'0' + (rest % 10) as u8,
        ]);
    }
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(text)) {
        headers.insert(SERVER_TIMING, value);
    }
}
