//! Reads requests off a connection into buffers that are used again. A large body lands where its
//! first binary tensor is aligned, so that a runtime can use it in place.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;

use bytes::{BufMut, Bytes, BytesMut};

/// The longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The longest body, in bytes.
pub const BODY_BYTES_MAX: usize = 1 << 30;
/// The most header fields of a request.
const HEADERS_MAX: usize = 64;
/// A body up to this size is read behind its head and used there; tensors in it may have to be
/// copied to be aligned.
const SMALL_BYTES_MAX: usize = 16 * 1024;
/// Where the first binary tensor of a large body lies: a cache line.
const ALIGNMENT: usize = 64;
/// A buffer above this size is given back to the system after its request, in bytes.
const KEEP_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A request as it came.
pub struct Request {
    /// Such as `GET`.
    pub method: Method,
    /// With what follows `?`.
    pub path: String,
    /// The value of `Inference-Header-Content-Length`.
    pub header_bytes: Option<usize>,
    /// All of it.
    pub body: Bytes,
    /// Whether the connection ends with its answer.
    pub closes: bool,
}

/// What we tell apart.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Method {
    /// Reads.
    Get,
    /// Infers.
    Post,
    /// Anything else.
    Other,
}

/// Why no request came.
#[derive(Debug)]
pub enum Refusal {
    /// The connection ended, between requests or in the middle of one.
    Closed,
    /// What came cannot be served: the HTTP status and a sentence. The connection must be closed.
    Bad(u16, String),
}

impl From<io::Error> for Refusal {
    fn from(_: io::Error) -> Refusal {
        Refusal::Closed
    }
}

struct Head {
    method: Method,
    path: String,
    length: usize,
    header_bytes: Option<usize>,
    closes: bool,
    expects_continue: bool,
    bytes: usize,
}

/// The reading side of a connection.
pub struct Reader {
    /// Heads, small bodies, and what came behind them.
    buffer: BytesMut,
    /// Large bodies.
    large: BytesMut,
}

impl Reader {
    /// With empty buffers.
    pub fn new() -> Reader {
        Reader { buffer: BytesMut::with_capacity(4 * 1024), large: BytesMut::new() }
    }

    /// Waits for the first byte of a request, for as long as it takes; `false` if the connection
    /// ends instead.
    pub fn wait(&mut self, stream: &UnixStream) -> bool {
        while self.buffer.is_empty() {
            match self.fill(stream, SMALL_BYTES_MAX) {
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) => {}
                Err(_) => return false,
                Ok(()) => {}
            }
        }
        true
    }

    /// Reads one request, whose bytes must not stall for longer than the stream's timeout.
    /// `on_continue` is called where the peer waits for a go-ahead before it sends the body.
    pub fn request(
        &mut self,
        stream: &UnixStream,
        on_continue: impl FnOnce() -> io::Result<()>,
    ) -> Result<Request, Refusal> {
        let head = loop {
            if let Some(head) = parse(&self.buffer)? {
                break head;
            }
            if self.buffer.len() > HEAD_BYTES_MAX {
                return Err(Refusal::Bad(
                    431,
                    format!("the head of the request is over {HEAD_BYTES_MAX} bytes"),
                ));
            }
            self.fill(stream, SMALL_BYTES_MAX)?;
        };
        let _ = self.buffer.split_to(head.bytes);
        if head.expects_continue && self.buffer.len() < head.length {
            on_continue()?;
        }
        let body = self.body(stream, head.length, head.header_bytes)?;
        Ok(Request {
            method: head.method,
            path: head.path,
            header_bytes: head.header_bytes,
            body,
            closes: head.closes,
        })
    }

    fn body(
        &mut self,
        stream: &UnixStream,
        length: usize,
        header_bytes: Option<usize>,
    ) -> io::Result<Bytes> {
        if length <= SMALL_BYTES_MAX.max(self.buffer.len()) {
            while self.buffer.len() < length {
                self.fill(stream, length - self.buffer.len())?;
            }
            return Ok(self.buffer.split_to(length).freeze());
        }
        if self.large.capacity() > KEEP_BYTES_MAX {
            self.large = BytesMut::new();
        }
        // Takes the memory of the last body back if nobody holds a piece of it any more.
        self.large.reserve(length + ALIGNMENT);
        let tensors_at = self.large.as_ptr() as usize + header_bytes.unwrap_or(0).min(length);
        let padding = tensors_at.next_multiple_of(ALIGNMENT) - tensors_at;
        self.large.put_bytes(0, padding);
        self.large.extend_from_slice(&self.buffer.split());
        while self.large.len() < padding + length {
            let missing = padding + length - self.large.len();
            receive(stream, &mut self.large, missing)?;
        }
        Ok(self.large.split().freeze().slice(padding..))
    }

    fn fill(&mut self, stream: &UnixStream, room: usize) -> io::Result<()> {
        self.buffer.reserve(room);
        let room = self.buffer.capacity() - self.buffer.len();
        receive(stream, &mut self.buffer, room)
    }
}

/// Appends what has come, at least one byte and at most `limit`, into memory that is already
/// reserved.
fn receive(stream: &UnixStream, buffer: &mut BytesMut, limit: usize) -> io::Result<()> {
    let room = buffer.chunk_mut();
    let limit = limit.min(room.len());
    // SAFETY: uninitialised memory is only written to, by the kernel.
    let room = unsafe { &mut room.as_uninit_slice_mut()[..limit] };
    loop {
        match socket2::SockRef::from(stream).recv(room) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                // SAFETY: the kernel has written `count` bytes there.
                unsafe { buffer.advance_mut(count) };
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads and drops at most `limit` bytes that the peer has already sent, so that closing does not
/// destroy the answer.
pub fn drain(mut stream: &UnixStream, limit: usize) {
    let mut sink = [0; 4096];
    let mut left = limit;
    let _ = stream.set_nonblocking(true);
    while left > 0 {
        match stream.read(&mut sink) {
            Ok(count) if count > 0 => left = left.saturating_sub(count),
            _ => break,
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Option<Head>, Refusal> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request
        .parse(bytes)
        .map_err(|error| Refusal::Bad(400, format!("the request is not HTTP/1.1: {error}")))?;
    let httparse::Status::Complete(length) = parsed else { return Ok(None) };
    let method = match request.method {
        Some("GET") => Method::Get,
        Some("POST") => Method::Post,
        _ => Method::Other,
    };
    let mut head = Head {
        method,
        path: request.path.unwrap_or_default().to_string(),
        length: 0,
        header_bytes: None,
        closes: request.version == Some(0),
        expects_continue: false,
        bytes: length,
    };
    let mut has_length = false;
    for header in request.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let length = number(header)?;
            if has_length && length != head.length {
                return Err(Refusal::Bad(400, "the request has two lengths".into()));
            }
            (head.length, has_length) = (length, true);
        } else if header.name.eq_ignore_ascii_case(protocol::oip::HEADER_LENGTH) {
            head.header_bytes = Some(number(header)?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(Refusal::Bad(411, "the body must come with a Content-Length".into()));
        } else if header.name.eq_ignore_ascii_case("connection") {
            head.closes |= header.value.eq_ignore_ascii_case(b"close");
        } else if header.name.eq_ignore_ascii_case("expect") {
            head.expects_continue = header.value.eq_ignore_ascii_case(b"100-continue");
        }
    }
    if head.length > BODY_BYTES_MAX {
        return Err(Refusal::Bad(
            413,
            format!("the body has {} bytes; at most {BODY_BYTES_MAX} are allowed", head.length),
        ));
    }
    Ok(Some(head))
}

fn number(header: &httparse::Header) -> Result<usize, Refusal> {
    let text = std::str::from_utf8(header.value)
        .ok()
        .map(str::trim)
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| Refusal::Bad(400, format!("{} is not a number", header.name)))
}

#[cfg(test)]
mod tests;
