//! Answers of servers: their heads, as the model is told them.

use crate::body::Body;
use crate::headers::{Headers, write_framing};

/// The head of an answer.
#[derive(Debug)]
pub struct Response {
    /// As the model is told it.
    pub head: Vec<u8>,
    /// What follows.
    pub body: Body,
    /// Whether another head follows: 100 to 199.
    pub is_interim: bool,
}

/// Reads the head of an answer.
///
/// # Errors
///
/// Why it cannot be passed on, in a sentence without its end.
pub fn parse(
    head: &[u8],
    fields_max: usize,
    is_head: bool,
    version: u8,
) -> Result<Response, String> {
    let mut fields = vec![httparse::EMPTY_HEADER; fields_max];
    let mut parsed = httparse::Response::new(&mut fields);
    let status = parsed.parse(head).map_err(|error| format!("it is not HTTP/1: {error}"))?;
    let is_whole = status == httparse::Status::Complete(head.len());
    let (true, Some(code), Some(answered)) = (is_whole, parsed.code, parsed.version) else {
        return Err("its head does not end where it should".into());
    };
    if code == 101 {
        return Err("it changes to another protocol, which nobody asked for".into());
    }
    let headers = Headers::new(parsed.headers);
    let said = headers.body(answered)?;
    if said == Some(Body::Chunked) && version == 0 {
        return Err("it comes in chunks, which a request of HTTP/1.0 cannot take".into());
    }
    let is_interim = code < 200;
    let bodiless = is_interim || is_head || matches!(code, 204 | 304);
    let reason = parsed.reason.unwrap_or_default();
    let mut head = format!("HTTP/1.{version} {code} {reason}\r\n").into_bytes();
    headers.write_end_to_end(&[], &mut head)?;
    if is_interim {
        head.extend_from_slice(b"\r\n");
    } else {
        // Of what is not sent, the length may be told.
        let told = said.filter(|_| code != 204).unwrap_or(Body::UntilEnd);
        write_framing(told, &mut head);
    }
    let body = if bodiless { Body::None } else { said.unwrap_or(Body::UntilEnd) };
    Ok(Response { head, body, is_interim })
}
