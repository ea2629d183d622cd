//! Reads the head of an answer, and the lines between its chunks. A worker's bytes are input like
//! any other: what has two meanings is refused, as the rest of it would be taken for the answer to
//! somebody else.

use super::{ANSWER_BYTES_MAX, ConnectionError};

/// The longest head of an answer, in bytes.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The most header fields of an answer.
const HEADERS_MAX: usize = 64;
/// The longest line that tells the size of a chunk, in bytes.
pub const CHUNK_LINE_BYTES_MAX: usize = 1024;

/// How the body of an answer ends.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Length {
    Known(usize),
    Chunked,
    UntilClosed,
}

/// What the head of an answer says.
#[derive(Debug)]
pub struct Head {
    pub status: u16,
    pub length: Length,
    pub header_bytes: Option<usize>,
    pub event_stream: bool,
    pub closes: bool,
    /// Of the head itself.
    pub bytes: usize,
}

impl Head {
    /// Whether the real answer is still to come, as after `100 Continue`.
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }
}

fn bad(text: impl Into<String>) -> ConnectionError {
    ConnectionError::Protocol(text.into())
}

/// Fails if an answer is longer than it may be.
pub fn check_length(length: usize) -> Result<(), ConnectionError> {
    if length > ANSWER_BYTES_MAX {
        return Err(bad(format!("it has {length} bytes; at most {ANSWER_BYTES_MAX} are allowed")));
    }
    Ok(())
}

/// Reads a head; `None` if it is not all there.
pub fn parse_head(bytes: &[u8]) -> Result<Option<Head>, ConnectionError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(bytes).map_err(|error| bad(error.to_string()))?;
    let httparse::Status::Complete(length) = parsed else {
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(bad(format!("its head is over {HEAD_BYTES_MAX} bytes")));
        }
        return Ok(None);
    };
    let mut head = Head {
        status: response.code.unwrap_or(0),
        length: Length::UntilClosed,
        header_bytes: None,
        event_stream: false,
        closes: response.version == Some(0),
        bytes: length,
    };
    let (mut content_length, mut is_chunked) = (None, false);
    for header in response.headers.iter() {
        let name = header.name;
        if name.eq_ignore_ascii_case("content-length") {
            once(&mut content_length, header)?;
        } else if name.eq_ignore_ascii_case(protocol::oip::HEADER_LENGTH) {
            once(&mut head.header_bytes, header)?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if is_chunked || !header.value.eq_ignore_ascii_case(b"chunked") {
                return Err(bad("its Transfer-Encoding is not just chunked"));
            }
            is_chunked = true;
        } else if name.eq_ignore_ascii_case("content-type") {
            head.event_stream = header.value.to_ascii_lowercase().starts_with(b"text/event-stream");
        } else if name.eq_ignore_ascii_case("connection") {
            let mut options = header.value.split(|byte| *byte == b',');
            head.closes |= options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"));
        }
    }
    head.length = match (content_length, is_chunked) {
        (Some(_), true) => return Err(bad("it has a Content-Length and is chunked")),
        _ if head.is_interim() || matches!(head.status, 204 | 304) => Length::Known(0),
        (None, true) if head.closes && response.version == Some(0) => {
            return Err(bad("it is chunked in HTTP/1.0"));
        }
        (None, true) => Length::Chunked,
        (Some(length), false) => Length::Known(length),
        (None, false) => Length::UntilClosed,
    };
    if let Length::Known(length) = head.length {
        check_length(length)?;
    }
    match head.status {
        101 => Err(bad("it changes the protocol")),
        ..=99 | 600.. => Err(bad(format!("its status is {}", head.status))),
        _ => Ok(Some(head)),
    }
}

/// A number that may be said twice only if it is the same.
fn once(said: &mut Option<usize>, header: &httparse::Header) -> Result<(), ConnectionError> {
    let text = std::str::from_utf8(header.value).ok().map(str::trim);
    let text =
        text.filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = text
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| bad(format!("its {} is no number", header.name)))?;
    match said.replace(number) {
        Some(other) if other != number => {
            Err(bad(format!("it has two of {}: {other} and {number}", header.name)))
        }
        _ => Ok(()),
    }
}

/// The length of the line before a chunk, and the size that it tells; `None` if it is not all
/// there.
pub fn parse_chunk_line(bytes: &[u8]) -> Result<Option<(usize, usize)>, ConnectionError> {
    match httparse::parse_chunk_size(bytes) {
        Ok(httparse::Status::Complete((line, size))) => {
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            check_length(size).map(|()| Some((line, size)))
        }
        Ok(httparse::Status::Partial) if bytes.len() <= CHUNK_LINE_BYTES_MAX => Ok(None),
        _ => Err(bad("its chunks are malformed")),
    }
}

/// The length of the trailers, with the empty line that ends them; `None` if they are not all
/// there.
pub fn parse_trailers(bytes: &[u8]) -> Result<Option<usize>, ConnectionError> {
    if bytes.starts_with(b"\r\n") {
        return Ok(Some(2));
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    match httparse::parse_headers(bytes, &mut headers) {
        Ok(httparse::Status::Complete((length, _))) => Ok(Some(length)),
        Ok(httparse::Status::Partial) if bytes.len() <= HEAD_BYTES_MAX => Ok(None),
        _ => Err(bad("its trailers are malformed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &str) -> Result<Head, ConnectionError> {
        parse_head(format!("HTTP/1.1 {}\r\n\r\n", lines.replace('\n', "\r\n")).as_bytes())
            .map(|head| head.unwrap())
    }

    #[test]
    fn a_body_has_one_length() {
        assert_eq!(head("200 OK\nContent-Length: 7").unwrap().length, Length::Known(7));
        assert_eq!(
            head("200 OK\nContent-Length: 7\nContent-Length: 7").unwrap().length,
            Length::Known(7)
        );
        assert_eq!(head("200 OK\nTransfer-Encoding: Chunked").unwrap().length, Length::Chunked);
        assert_eq!(head("200 OK").unwrap().length, Length::UntilClosed);
        for status in ["204 No", "304 Not", "100 Continue", "103 Early"] {
            assert_eq!(head(status).unwrap().length, Length::Known(0), "{status}");
        }
        for bad in [
            "200 OK\nContent-Length: 7\nContent-Length: 8",
            "200 OK\nContent-Length: 7\nTransfer-Encoding: chunked",
            "200 OK\nTransfer-Encoding: gzip, chunked",
            "200 OK\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked",
            "200 OK\nContent-Length: +7",
            "200 OK\nContent-Length: 7, 7",
            "200 OK\nContent-Length: -1",
            "200 OK\nContent-Length: 18446744073709551616",
            "200 OK\nContent-Length: 1073741825",
            "200 OK\nInference-Header-Content-Length: x",
            "101 Switching",
            "999 What",
        ] {
            assert!(head(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_never_ends_is_not_waited_for() {
        assert!(parse_head(&[b'a'; HEAD_BYTES_MAX + 1]).is_err());
        let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "a".repeat(HEAD_BYTES_MAX));
        assert!(parse_head(endless.as_bytes()).is_err());
        assert!(
            parse_chunk_line(format!("5;{}", "a".repeat(CHUNK_LINE_BYTES_MAX)).as_bytes()).is_err()
        );
        assert!(parse_chunk_line(b"ffffffffffffffff\r\n").is_err());
        assert_eq!(parse_chunk_line(b"5;x=y\r\nhello").unwrap(), Some((7, 5)));
        assert_eq!(parse_trailers(b"a: b\r\n\r\nHTTP").unwrap(), Some(8));
        assert!(parse_trailers(format!("a: {}", "b".repeat(HEAD_BYTES_MAX)).as_bytes()).is_err());
    }
}
