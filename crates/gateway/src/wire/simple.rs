//! Simple JSON: a row or rows in, the same out; pieces of a model that streams as server-sent
//! events. One row may come as a form, or as the bytes of its one column.

use bytes::Bytes;
use domain::{Code, Problem, Schema};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use protocol::limits::shown_name;
use protocol::simple::{self, Form};
use protocol::{Payload, multipart};
use serde_json::Map;

use crate::ask::{Ask, Reply, Rows};
use crate::body::Body;
use crate::heavy::Cost;
use crate::lane::Lane;
use crate::reply;
use crate::stream::Pieces;
use crate::wire::Wire;

/// A body, which means nothing without a schema.
pub struct Simple {
    body: Bytes,
    kind: Kind,
}

/// What a body is.
#[derive(Debug, PartialEq)]
pub enum Kind {
    /// A row, or rows.
    Json,
    /// A row in the parts of a form, with what lies between them.
    Form(String),
    /// A row of bytes; may be JSON nevertheless, as some programs call every body a stream of octets.
    Octets,
    /// A row of bytes, of this content type.
    Bytes(String),
}

/// The content type that says nothing of what it is.
const OCTETS: &str = "application/octet-stream";
/// What programs call JSON. Without being told, `curl -d` says that it sends a form of this kind,
/// and browsers that they send plain text.
const TEXTS: [&str; 6] = [
    "",
    "application/json",
    "application/x-www-form-urlencoded",
    "application/x-ndjson",
    "application/jsonl",
    "application/json-seq",
];

impl Kind {
    /// By the header of a request.
    fn of(headers: &HeaderMap) -> Result<Kind, Problem> {
        let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(Kind::Json) };
        let value = value.to_str().map_err(|_| {
            Problem::new(Code::UnsupportedType, "Content-Type is not in ASCII")
                .help("send JSON, with Content-Type: application/json")
        })?;
        let essence = value.split(';').next().unwrap_or_default().trim();
        let is = |known: &str| essence.eq_ignore_ascii_case(known);
        let begins = |with: &str| {
            essence.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with))
        };
        if TEXTS.iter().any(|known| is(known)) || begins("text/") || multipart::is_json(value) {
            return Ok(Kind::Json);
        }
        if is(OCTETS) {
            return Ok(Kind::Octets);
        }
        if is("multipart/form-data") {
            return multipart::boundary(value).map(Kind::Form);
        }
        if begins("multipart/") {
            let text = format!("a body of {} cannot be read", shown_name(essence));
            return Err(Problem::new(Code::UnsupportedType, text)
                .help("send multipart/form-data with a part for each column, or JSON"));
        }
        Ok(Kind::Bytes(essence.to_string()))
    }
}

impl Simple {
    fn decode(&self, schema: &Schema) -> Result<(Payload, Form), Problem> {
        let row = |payload| (payload, Form::Row);
        match &self.kind {
            Kind::Json => simple::decode(&self.body, schema),
            Kind::Form(boundary) => simple::decode_form(&self.body, boundary, schema).map(row),
            Kind::Bytes(kind) => simple::decode_bytes(&self.body, kind, schema).map(row),
            Kind::Octets => match simple::decode_bytes(&self.body, OCTETS, schema) {
                Err(problem)
                    if problem.code == Code::UnsupportedType
                        && self.body.trim_ascii_start().starts_with(b"{") =>
                {
                    simple::decode(&self.body, schema)
                }
                read => read.map(row),
            },
        }
    }
}

impl Wire for Simple {
    type Head = Kind;

    fn head(headers: &HeaderMap) -> Result<Kind, Problem> {
        Kind::of(headers)
    }

    fn read_cost(_: &Kind, _: &Bytes) -> Cost {
        Cost::Text(0)
    }

    fn read(kind: Kind, body: Bytes) -> Result<Simple, Problem> {
        Ok(Simple { body, kind })
    }

    fn ask_cost(&self) -> Cost {
        match self.kind {
            Kind::Bytes(_) => Cost::Copy(self.body.len()),
            _ => Cost::Text(self.body.len()),
        }
    }

    fn ask(&self, lane: &Lane) -> Result<Ask, Problem> {
        let (payload, form) = self.decode(&lane.schema).map_err(|mut problem| {
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

    fn write_cost(&self, reply: &Reply) -> Cost {
        Cost::Text(if let Reply::Rows(rows) = reply { rows.bytes } else { 0 })
    }

    fn write(&self, reply: Reply, form: Form, _: &Lane) -> Response<Body> {
        match reply {
            Reply::Rows(rows) => reply::json(StatusCode::OK, written(&rows, form)),
            Reply::Pieces(pieces) => events(pieces),
        }
    }

    fn refuse(problem: &Problem) -> Response<Body> {
        reply::problem(problem)
    }
}

fn written(rows: &Rows, form: Form) -> Vec<u8> {
    let mut body = Vec::with_capacity(128 * rows.count.min(4_096));
    rows.answer.write_simple(rows.range(), form == Form::Row, &mut body);
    body
}

/// The head of an answer that streams.
fn events(pieces: Pieces) -> Response<Body> {
    let mut response = Response::new(Body::from(pieces));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_body_is_is_said_by_its_content_type() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(value).unwrap());
            Kind::of(&headers)
        };
        assert_eq!(Kind::of(&HeaderMap::new()), Ok(Kind::Json));
        for json in [
            "",
            "application/json; charset=utf-8",
            "APPLICATION/JSON",
            "application/vnd.api+json",
            "application/x-www-form-urlencoded",
            "text/plain;charset=UTF-8",
        ] {
            assert_eq!(of(json), Ok(Kind::Json), "{json}");
        }
        assert_eq!(of("image/PNG"), Ok(Kind::Bytes("image/PNG".into())));
        assert_eq!(of("audio/wav; codecs=1"), Ok(Kind::Bytes("audio/wav".into())));
        assert_eq!(of("Application/Octet-Stream"), Ok(Kind::Octets));
        assert_eq!(of("multipart/form-data; boundary=x"), Ok(Kind::Form("x".into())));
        assert_eq!(of("multipart/form-data").unwrap_err().code, Code::BadRequest);
        assert_eq!(of("multipart/mixed; boundary=x").unwrap_err().code, Code::UnsupportedType);
    }
}
