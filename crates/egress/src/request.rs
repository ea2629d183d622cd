//! Requests to the proxy: what they ask for, and how they are written for the server.

use domain::problem::excerpt;

use crate::body::Body;
use crate::destination::{Destination, port};
use crate::headers::{Headers, write_framing};

/// What a request asks for.
#[derive(Debug)]
pub struct Request {
    /// Where to.
    pub destination: Destination,
    /// What is done there.
    pub kind: Asked,
}

/// What is asked of a destination.
#[derive(Debug)]
pub enum Asked {
    /// A connection that carries whatever.
    Tunnel,
    /// One request.
    Forward(Message),
}

/// A request, as the server is told it.
#[derive(Debug)]
pub struct Message {
    /// Up to the empty line.
    pub head: Vec<u8>,
    /// What follows the head.
    pub body: Body,
    /// Whether the answer has a head only.
    pub is_head: bool,
    /// The minor version of HTTP/1.
    pub version: u8,
}

/// Reads the head of a request.
///
/// # Errors
///
/// Why it cannot be forwarded, in a sentence without its end.
pub fn parse(head: &[u8], fields_max: usize) -> Result<Request, String> {
    let mut fields = vec![httparse::EMPTY_HEADER; fields_max];
    let mut parsed = httparse::Request::new(&mut fields);
    let status = parsed.parse(head).map_err(|error| match error {
        httparse::Error::TooManyHeaders => format!("it has more than {fields_max} fields"),
        error => format!("it is not HTTP/1: {error}"),
    })?;
    let (method, target, version) = match (status, parsed.method, parsed.path, parsed.version) {
        (httparse::Status::Complete(length), Some(method), Some(target), Some(version))
            if length == head.len() =>
        {
            (method, target, version)
        }
        _ => return Err("its head does not end where it should".into()),
    };
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("what it asks for has characters that are not ASCII".into());
    }
    let headers = Headers::new(parsed.headers);
    if headers.all("host").count() > 1 {
        return Err("it has several `Host`".into());
    }
    let body = headers.body(version)?;
    if method == "CONNECT" {
        return match body {
            None | Some(Body::Length(0)) => {
                Ok(Request { destination: target.parse()?, kind: Asked::Tunnel })
            }
            _ => Err("a CONNECT has no body".into()),
        };
    }
    let body = body.unwrap_or(Body::None);
    let (destination, authority, path) = absolute(method, target)?;
    let mut head =
        format!("{method} {path} HTTP/1.{version}\r\nHost: {authority}\r\n").into_bytes();
    headers.write_end_to_end(&["host"], &mut head)?;
    head.extend_from_slice(format!("Via: 1.{version} decalog\r\n").as_bytes());
    write_framing(body, &mut head);
    let message = Message { head, body, is_head: method == "HEAD", version };
    Ok(Request { destination, kind: Asked::Forward(message) })
}

/// Host and port, the same as the server is told them, and what is asked there.
fn absolute(method: &str, target: &str) -> Result<(Destination, String, String), String> {
    let shown = excerpt(target);
    let scheme = target.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://"));
    if scheme.is_none() {
        return Err(match target.get(..8) {
            Some(start) if start.eq_ignore_ascii_case("https://") => {
                format!("`{shown}` is asked for in the open; a TLS client sends CONNECT")
            }
            _ => format!("`{shown}` is no URL that begins with `http://`"),
        });
    }
    let rest = &target[7..];
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.contains('@') {
        return Err("its URL has a user; send that as `Authorization`".into());
    }
    if path.contains('#') {
        return Err("its URL has a fragment".into());
    }
    let bracket = authority.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match authority[bracket..].rfind(':') {
        Some(at) => {
            let (host, after) = authority.split_at(bracket + at);
            (host, port(&after[1..])?)
        }
        None => (authority, 80),
    };
    let destination = Destination { host: host.parse()?, port };
    let authority = match port {
        80 => destination.host.to_string(),
        _ => destination.to_string(),
    };
    let path = match path {
        "" if method == "OPTIONS" => "*".to_string(),
        path if path.starts_with('/') => path.to_string(),
        path => format!("/{path}"),
    };
    Ok((destination, authority, path))
}

#[cfg(test)]
mod tests;
