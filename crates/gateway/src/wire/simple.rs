//! Simple JSON: a row, rows or columns in, the same out; pieces of a model that streams as
//! server-sent events.

use bytes::Bytes;
use domain::{Code, Problem};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use protocol::simple::{self, Form};
use serde_json::Map;

use crate::ask::{Ask, Reply, Rows};
use crate::body::Body;
use crate::heavy::Cost;
use crate::lane::Lane;
use crate::reply;
use crate::stream::Pieces;
use crate::wire::Wire;

/// A body, which means nothing without a schema.
pub struct Simple(pub Bytes);

impl Wire for Simple {
    type Head = ();

    fn head(_: &HeaderMap) -> Result<(), Problem> {
        Ok(())
    }

    fn read_cost(_: &(), _: &Bytes) -> Cost {
        Cost::Text(0)
    }

    fn read(_: (), body: Bytes) -> Result<Simple, Problem> {
        Ok(Simple(body))
    }

    fn ask_cost(&self) -> Cost {
        Cost::Text(self.0.len())
    }

    fn ask(&self, lane: &Lane) -> Result<Ask, Problem> {
        let (payload, form) = simple::decode(&self.0, &lane.schema).map_err(|mut problem| {
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
