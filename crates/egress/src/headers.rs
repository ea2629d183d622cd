//! Fields of a head: which of them are for one connection only, and how they say where the body
//! ends.

use crate::body::Body;

/// The fields of a head, in their order.
#[derive(Clone, Debug, Default)]
pub struct Headers(Vec<(String, Vec<u8>)>);

/// For one connection only (RFC 9110, 7.6.1, and what clients say beside that). `Transfer-Encoding`
/// and `Content-Length` are written anew.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What `Connection` must not take away, since it decides what the message means.
const NOT_TAKEN: &[&str] = &["authorization", "content-length", "host", "transfer-encoding"];

impl Headers {
    /// Of a parsed head.
    pub fn new(fields: &[httparse::Header<'_>]) -> Headers {
        let own = |field: &httparse::Header<'_>| (field.name.to_string(), field.value.to_vec());
        Headers(fields.iter().map(own).collect())
    }

    /// The values of all fields of that name, which is in small letters.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let named = self.0.iter().filter(move |(own, _)| own.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_slice())
    }

    /// How long the body is, if the head says so.
    ///
    /// # Errors
    ///
    /// If it says so in two ways, or in one that can be read in two.
    pub fn body(&self, version: u8) -> Result<Option<Body>, String> {
        let lengths: Vec<&[u8]> = self.all("content-length").collect();
        let codings: Vec<&[u8]> = self.all("transfer-encoding").collect();
        match (lengths.as_slice(), codings.as_slice()) {
            ([], []) => Ok(None),
            ([length], []) => {
                let digits =
                    (1..=18).contains(&length.len()) && length.iter().all(u8::is_ascii_digit);
                let number = std::str::from_utf8(length).ok().filter(|_| digits);
                let number = number.and_then(|text| text.parse().ok());
                let number = number.ok_or("its `Content-Length` is no number")?;
                Ok(Some(Body::Length(number)))
            }
            ([], [coding]) if version == 1 && coding.eq_ignore_ascii_case(b"chunked") => {
                Ok(Some(Body::Chunked))
            }
            ([], _) => Err("its `Transfer-Encoding` is not just `chunked`".into()),
            (_, []) => Err("it has several `Content-Length`".into()),
            _ => Err("it has both `Content-Length` and `Transfer-Encoding`".into()),
        }
    }

    /// Writes those that are for the other end, without the ones named in `without`, in small
    /// letters.
    ///
    /// # Errors
    ///
    /// If `Connection` names what is for the other end.
    pub fn write_end_to_end(&self, without: &[&str], head: &mut Vec<u8>) -> Result<(), String> {
        let mut dropped: Vec<String> =
            HOP_BY_HOP.iter().chain(without).map(|name| name.to_string()).collect();
        for value in self.all("connection") {
            for name in value.split(|byte| *byte == b',') {
                let name = String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase();
                if NOT_TAKEN.contains(&name.as_str()) {
                    return Err(format!("its `Connection` names `{name}`"));
                }
                dropped.push(name);
            }
        }
        for (name, value) in &self.0 {
            if !dropped.contains(&name.to_ascii_lowercase()) {
                head.extend_from_slice(name.as_bytes());
                head.extend_from_slice(b": ");
                head.extend_from_slice(value);
                head.extend_from_slice(b"\r\n");
            }
        }
        Ok(())
    }
}

/// Writes the fields that say how the body is sent on, and the end of the head.
pub fn write_framing(body: Body, head: &mut Vec<u8>) {
    match body {
        Body::Length(bytes) => {
            head.extend_from_slice(format!("Content-Length: {bytes}\r\n").as_bytes());
        }
        Body::Chunked => head.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Body::None | Body::UntilEnd => {}
    }
    head.extend_from_slice(b"Connection: close\r\n\r\n");
}
