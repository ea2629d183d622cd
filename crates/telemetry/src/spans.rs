//! The spans of a request: its own as a server, with where its time went as children.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use protocol::trace::{SAMPLED, Traced, part_of, trace_of_batch};
use url::Url;

use crate::seen::Seen;

/// It is known whether the parent is in another process, …
const HAS_IS_REMOTE: u32 = 0x100;
/// … and it is.
const IS_REMOTE: u32 = 0x200;
/// Which part of a request waiting in the queue is; its id follows from it.
const QUEUE: u64 = 1;
/// Which part being at the worker is.
const COMPUTE: u64 = 2;

/// The flags of a span whose parent is in this process.
pub const LOCAL: u32 = SAMPLED as u32 | HAS_IS_REMOTE;

/// Where the server is, for the attributes of its spans.
#[derive(Clone, Debug, Default)]
pub struct Place {
    scheme: String,
    address: String,
    port: Option<u16>,
}

impl Place {
    /// By the address that callers use.
    pub fn of(url: &str) -> Place {
        let Ok(url) = Url::parse(url) else { return Place::default() };
        Place {
            scheme: url.scheme().into(),
            address: url.host_str().unwrap_or_default().into(),
            port: url.port_or_known_default(),
        }
    }
}

/// A text.
pub fn text(key: &str, value: impl Into<String>) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.into())) };
    KeyValue { key: key.into(), value: Some(value), ..KeyValue::default() }
}

/// A whole number.
pub fn number(key: &str, value: i64) -> KeyValue {
    let value = AnyValue { value: Some(Value::IntValue(value)) };
    KeyValue { key: key.into(), value: Some(value), ..KeyValue::default() }
}

/// What answered, as attributes.
pub fn placement(seen: &Seen) -> Vec<KeyValue> {
    let placement = &seen.definition.placement;
    let mut attributes = vec![
        text("decalog.project", placement.model.project.to_string()),
        text("decalog.model", placement.model.model.to_string()),
        text("decalog.environment", placement.environment.to_string()),
        text("decalog.version", placement.version.to_string()),
    ];
    if !seen.replica.is_empty() {
        attributes.push(text("decalog.replica", &*seen.replica));
    }
    attributes
}

/// How a failure is told: by the meaning of its code, as what callers are told may quote values.
pub fn status(seen: &Seen) -> Option<Status> {
    let message = seen.code.as_ref().map(|code| code.meaning().into()).unwrap_or_default();
    seen.has_failed().then_some(Status { code: StatusCode::Error as i32, message })
}

/// A link to the span of a request.
pub fn link_to(seen: &Seen) -> Link {
    Link {
        trace_id: seen.trace.into(),
        span_id: seen.traced.span.into(),
        flags: LOCAL,
        ..Link::default()
    }
}

/// The trace and the parent of a request's batch: its time at the worker, or none if the batch is
/// shared.
pub fn home_of_batch(seen: &Seen) -> ([u8; 16], Vec<u8>) {
    let Traced { span, batch, .. } = seen.traced;
    match seen.traced.has(Traced::SHARED) {
        true => (trace_of_batch(batch), vec![]),
        false => (seen.trace, part_of(span, COMPUTE).into()),
    }
}

/// The spans of a request, without that of its batch.
pub fn spans_of(seen: &Seen, place: &Place) -> Vec<Span> {
    let mut spans = vec![own(seen, place)];
    if seen.has_run() {
        let (sent, answered) = seen.run_ns();
        let queued = sent.saturating_sub(u64::from(seen.queue_us) * 1_000).max(seen.begin_ns());
        spans.push(part(seen, "queue", QUEUE, (queued, sent)));
        let mut compute = part(seen, "compute", COMPUTE, (sent, answered));
        compute.status = status(seen);
        if seen.traced.has(Traced::SHARED) {
            let (trace, _) = home_of_batch(seen);
            compute.links.push(Link {
                trace_id: trace.into(),
                span_id: seen.traced.batch.into(),
                flags: LOCAL,
                ..Link::default()
            });
        }
        spans.push(compute);
    }
    spans
}

fn own(seen: &Seen, place: &Place) -> Span {
    let traced = &seen.traced;
    let (route, path) = match traced.has(Traced::OPEN_INFERENCE) {
        true => ("/v2/models/{model}/infer", format!("/v2/models/{}/infer", seen.reference)),
        false => ("/v1/models/{model}/predict", format!("/v1/models/{}/predict", seen.reference)),
    };
    let mut attributes = vec![
        text("http.request.method", "POST"),
        text("http.route", route),
        text("url.path", path),
        text("url.scheme", &*place.scheme),
        text("server.address", &*place.address),
    ];
    if let Some(port) = place.port {
        attributes.push(number("server.port", port.into()));
    }
    if seen.is_answered() {
        attributes.push(number("http.response.status_code", seen.status.into()));
    }
    if let Some(code) = &seen.code {
        attributes.push(text("error.type", code.label()));
    }
    attributes.extend(placement(seen));
    attributes.push(text("decalog.request.id", id_text(&seen.id)));
    attributes.push(number("decalog.rows", seen.rows.into()));
    let is_from_caller = traced.has(Traced::FROM_CALLER);
    Span {
        trace_id: seen.trace.into(),
        span_id: traced.span.into(),
        parent_span_id: if is_from_caller { traced.parent.into() } else { vec![] },
        flags: if is_from_caller { LOCAL | IS_REMOTE } else { LOCAL },
        name: format!("POST {route}"),
        kind: SpanKind::Server as i32,
        start_time_unix_nano: seen.begin_ns(),
        end_time_unix_nano: seen.end_ns(),
        attributes,
        status: status(seen),
        ..Span::default()
    }
}

fn part(seen: &Seen, name: &str, part: u64, (begin, end): (u64, u64)) -> Span {
    Span {
        trace_id: seen.trace.into(),
        span_id: part_of(seen.traced.span, part).into(),
        parent_span_id: seen.traced.span.into(),
        flags: LOCAL,
        name: name.into(),
        kind: SpanKind::Internal as i32,
        start_time_unix_nano: begin,
        end_time_unix_nano: end,
        ..Span::default()
    }
}

/// An id as callers see it.
fn id_text(id: &[u8; 16]) -> String {
    let digits = hex::encode(id);
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use domain::Code;

    use super::*;
    use crate::seen::sample;

    fn value<'s>(span: &'s Span, key: &str) -> Option<&'s Value> {
        let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
        found.value.as_ref()?.value.as_ref()
    }

    #[test]
    fn a_request_has_its_time_as_children() {
        let seen = sample();
        let spans = spans_of(&seen, &Place::of("https://ml.example.org:8010"));
        let [own, queue, compute] = &spans[..] else { panic!("{spans:?}") };
        assert_eq!(own.parent_span_id, [2; 8]);
        assert_eq!((own.flags, own.kind), (0x301, SpanKind::Server as i32));
        assert_eq!(own.end_time_unix_nano - own.start_time_unix_nano, 10_000_000);
        for child in [queue, compute] {
            assert_eq!((&child.parent_span_id, &child.trace_id), (&own.span_id, &own.trace_id));
            assert_eq!(child.flags, 0x101);
        }
        assert_eq!(queue.start_time_unix_nano, own.start_time_unix_nano + 1_000_000);
        assert_eq!(queue.end_time_unix_nano, compute.start_time_unix_nano);
        assert_eq!(compute.end_time_unix_nano, compute.start_time_unix_nano + 5_000_000);
        assert_eq!(value(own, "server.port"), Some(&Value::IntValue(8010)));
        assert_eq!(value(own, "http.response.status_code"), Some(&Value::IntValue(200)));
        let version = Value::StringValue("v3".into());
        assert_eq!(value(own, "decalog.version"), Some(&version));
        assert_eq!((&own.status, value(own, "error.type")), (&None, None));
    }

    #[test]
    fn a_failure_of_ours_is_an_error_and_one_of_the_callers_is_none() {
        let failed = |status, code: Code| Seen { status, code: Some(code), ..sample() };
        let ours = spans_of(&failed(500, Code::ModelRaised), &Place::default());
        assert!(ours.iter().filter(|span| span.name != "queue").all(|span| {
            span.status.as_ref().is_some_and(|status| {
                status.code == StatusCode::Error as i32 && !status.message.is_empty()
            })
        }));
        let theirs = spans_of(&failed(422, Code::BadInput), &Place::default());
        assert_eq!(theirs[0].status, None);
        assert!(value(&theirs[0], "error.type").is_some());
        let left = spans_of(&failed(499, Code::Abandoned), &Place::default());
        assert_eq!(value(&left[0], "http.response.status_code"), None);
    }

    #[test]
    fn what_did_not_run_has_no_children_and_what_begins_here_no_parent() {
        let traced = Traced { batch: [0; 8], flags: SAMPLED, ..sample().traced };
        let spans = spans_of(&Seen { traced, ..sample() }, &Place::default());
        let [own] = &spans[..] else { panic!("{spans:?}") };
        assert!(own.parent_span_id.is_empty());
        assert_eq!(own.flags, 0x101);
    }
}
