//! The protocols that callers speak. Each is a file: how a request is read, what it asks, how it is
//! answered and refused. What happens between asking and answering is the same for all of them, and
//! knows none.

pub mod oip_rest;
pub mod simple;

use bytes::Bytes;
use domain::Problem;
use http::{HeaderMap, Response};
use protocol::simple::Form;

use crate::ask::{Ask, Reply};
use crate::body::Body;
use crate::heavy::Cost;
use crate::lane::Lane;

/// A request in one of the protocols, read but not yet held against a model's schema. As a request
/// may be routed again, it can be sent to one placement after another.
pub trait Wire: Sized + Send + 'static {
    /// Its flag in what records keep of traces.
    const TRACED: u8 = 0;

    /// What of the headers tells how to read the body.
    type Head: Send + 'static;

    /// Looks at the headers.
    fn head(headers: &HeaderMap) -> Result<Self::Head, Problem>;

    /// How much work it is to read such a body.
    fn read_cost(head: &Self::Head, body: &Bytes) -> Cost;

    /// Reads a body.
    fn read(head: Self::Head, body: Bytes) -> Result<Self, Problem>;

    /// How much work it is to ask it.
    fn ask_cost(&self) -> Cost;

    /// What it asks of a placement; fails if it does not fit its schema.
    fn ask(&self, lane: &Lane) -> Result<Ask, Problem>;

    /// How much work it is to write the answer.
    fn write_cost(&self, reply: &Reply) -> Cost;

    /// Writes the answer of the placement that got the request.
    fn write(&self, reply: Reply, form: Form, lane: &Lane) -> Response<Body>;

    /// Writes an error in the protocol's own form.
    fn refuse(problem: &Problem) -> Response<Body>;
}

/// Decodes `%2F` and its like, once.
pub fn percent_decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_string());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}
