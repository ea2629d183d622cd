//! One connection to a worker: HTTP/1.1 on a Unix socket, one request at a time.

use std::io;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use protocol::worker_wire::WorkerRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Requests up to this size are sent in one piece, copied together; larger ones as they lie in memory.
const COPY_BYTES_MAX: usize = 64 * 1024;
/// The longest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The longest answer, in bytes.
pub const ANSWER_BYTES_MAX: usize = 1 << 30;
/// Asked of the kernel, which may grant less.
const SOCKET_BUFFER_BYTES: usize = 1 << 20;
/// The most header fields of an answer.
const HEADERS_MAX: usize = 64;
/// The most pieces that one system call sends.
const PIECES_MAX: usize = 64;

/// Why a connection is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// It was closed, or never opened. The worker may have died.
    #[error("the worker closed the connection: {0}")]
    Closed(#[from] io::Error),
    /// What came is not HTTP, or beyond a limit.
    #[error("the worker's answer is not understood: {0}")]
    Protocol(String),
}

/// An answer as it came.
#[derive(Debug)]
pub struct RawAnswer {
    /// HTTP status.
    pub status: u16,
    /// The value of `Inference-Header-Content-Length`.
    pub header_bytes: Option<usize>,
    /// All of it; empty if it streams.
    pub body: Bytes,
    /// Whether pieces follow: call [`Connection::next_piece`].
    pub streams: bool,
}

/// How the body of an answer ends.
#[derive(Clone, Copy)]
enum Length {
    Known(usize),
    Chunked,
    UntilClosed,
}

/// What the head of an answer says.
struct Head {
    status: u16,
    length: Length,
    header_bytes: Option<usize>,
    event_stream: bool,
    closes: bool,
    /// Of the head itself.
    bytes: usize,
}

/// An open connection.
pub struct Connection {
    stream: UnixStream,
    incoming: BytesMut,
    outgoing: Vec<u8>,
    closes: bool,
}

impl Connection {
    /// Connects to a worker's socket.
    pub async fn connect(socket: &Path) -> io::Result<Connection> {
        let stream = UnixStream::connect(socket).await?;
        let reference = socket2::SockRef::from(&stream);
        // Best effort: without large buffers it works as well, only slower.
        let _ = reference.set_send_buffer_size(SOCKET_BUFFER_BYTES);
        let _ = reference.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
        Ok(Connection {
            stream,
            incoming: BytesMut::with_capacity(16 * 1024),
            outgoing: Vec::with_capacity(4 * 1024),
            closes: false,
        })
    }

    /// Whether the worker has closed it since the last answer, or is about to.
    pub fn is_stale(&self) -> bool {
        let mut byte = [0; 1];
        self.closes || !matches!(self.stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Asks for `path` and waits for the answer.
    pub async fn get(&mut self, path: &str) -> Result<RawAnswer, ConnectionError> {
        self.outgoing.clear();
        self.outgoing.extend_from_slice(format!("GET {path} HTTP/1.1\r\nHost: worker\r\n\r\n").as_bytes());
        self.stream.write_all(&self.outgoing).await?;
        self.answer().await
    }

    /// Posts a request to `path` and waits for the answer, or for the head of a stream.
    pub async fn post(&mut self, path: &str, request: &WorkerRequest) -> Result<RawAnswer, ConnectionError> {
        self.send(path, request).await?;
        self.answer().await
    }

    async fn send(&mut self, path: &str, request: &WorkerRequest) -> Result<(), ConnectionError> {
        let blob_bytes: usize = request.blobs.iter().map(Bytes::len).sum();
        let out = &mut self.outgoing;
        out.clear();
        out.extend_from_slice(b"POST ");
        out.extend_from_slice(path.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\nHost: worker\r\nContent-Type: ");
        if request.blobs.is_empty() {
            out.extend_from_slice(b"application/json");
        } else {
            out.extend_from_slice(b"application/octet-stream\r\nInference-Header-Content-Length: ");
            out.extend_from_slice(request.json.len().to_string().as_bytes());
        }
        out.extend_from_slice(b"\r\nContent-Length: ");
        out.extend_from_slice((request.json.len() + blob_bytes).to_string().as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(&request.json);
        if blob_bytes <= COPY_BYTES_MAX {
            request.blobs.iter().for_each(|blob| out.extend_from_slice(blob));
            self.stream.write_all(out).await?;
            return Ok(());
        }
        let mut pieces: Vec<Bytes> = Vec::with_capacity(request.blobs.len() + 1);
        pieces.push(Bytes::copy_from_slice(out));
        pieces.extend(request.blobs.iter().cloned());
        self.send_pieces(pieces).await
    }

    async fn send_pieces(&mut self, mut pieces: Vec<Bytes>) -> Result<(), ConnectionError> {
        let mut first = 0;
        while first < pieces.len() {
            let slices: Vec<io::IoSlice> = pieces[first..].iter().take(PIECES_MAX).map(|piece| io::IoSlice::new(piece)).collect();
            let mut sent = self.stream.write_vectored(&slices).await?;
            if sent == 0 && slices.iter().any(|slice| !slice.is_empty()) {
                return Err(io::Error::from(io::ErrorKind::WriteZero).into());
            }
            while first < pieces.len() && sent >= pieces[first].len() {
                sent -= pieces[first].len();
                first += 1;
            }
            if sent > 0 {
                let _ = pieces[first].split_to(sent);
            }
        }
        Ok(())
    }

    async fn answer(&mut self) -> Result<RawAnswer, ConnectionError> {
        let head = loop {
            if let Some(head) = parse_head(&self.incoming)? {
                break head;
            }
            if self.incoming.len() > HEAD_BYTES_MAX {
                return Err(ConnectionError::Protocol(format!("its head is over {HEAD_BYTES_MAX} bytes")));
            }
            self.fill(4 * 1024).await?;
        };
        let _ = self.incoming.split_to(head.bytes);
        self.closes |= head.closes;
        let mut answer = RawAnswer { status: head.status, header_bytes: head.header_bytes, body: Bytes::new(), streams: false };
        match head.length {
            Length::Known(length) => answer.body = self.exactly(length).await?,
            Length::Chunked if head.event_stream && head.status == 200 => answer.streams = true,
            Length::Chunked => {
                let mut body = BytesMut::new();
                while let Some(piece) = self.next_piece().await? {
                    body.extend_from_slice(&piece);
                    check_length(body.len())?;
                }
                answer.body = body.freeze();
            }
            Length::UntilClosed => {
                self.closes = true;
                while self.stream.read_buf(&mut self.incoming).await? > 0 {
                    check_length(self.incoming.len())?;
                }
                answer.body = self.incoming.split().freeze();
            }
        }
        Ok(answer)
    }

    /// The next piece of an answer that streams; `None` at its end.
    pub async fn next_piece(&mut self) -> Result<Option<Bytes>, ConnectionError> {
        let (size_line, size) = loop {
            match httparse::parse_chunk_size(&self.incoming) {
                Ok(httparse::Status::Complete((line, size))) => break (line, size as usize),
                Ok(httparse::Status::Partial) => self.fill(4 * 1024).await?,
                Err(_) => return Err(ConnectionError::Protocol("its chunks are malformed".into())),
            }
        };
        check_length(size)?;
        let _ = self.incoming.split_to(size_line);
        let piece = self.exactly(size).await?;
        // The last chunk may carry trailers; ours never do, and others are not worth waiting for.
        let _ = self.exactly(2).await?;
        Ok((size > 0).then_some(piece))
    }

    async fn exactly(&mut self, length: usize) -> Result<Bytes, ConnectionError> {
        check_length(length)?;
        while self.incoming.len() < length {
            self.fill(length - self.incoming.len()).await?;
        }
        Ok(self.incoming.split_to(length).freeze())
    }

    async fn fill(&mut self, room: usize) -> Result<(), ConnectionError> {
        self.incoming.reserve(room.max(4 * 1024));
        match self.stream.read_buf(&mut self.incoming).await? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            _ => Ok(()),
        }
    }
}

fn check_length(length: usize) -> Result<(), ConnectionError> {
    if length > ANSWER_BYTES_MAX {
        return Err(ConnectionError::Protocol(format!("it has {length} bytes; at most {ANSWER_BYTES_MAX} are allowed")));
    }
    Ok(())
}

fn parse_head(bytes: &[u8]) -> Result<Option<Head>, ConnectionError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(bytes).map_err(|error| ConnectionError::Protocol(error.to_string()))?;
    let httparse::Status::Complete(length) = parsed else { return Ok(None) };
    let status = response.code.unwrap_or(0);
    let mut head = Head {
        status,
        length: if status == 204 { Length::Known(0) } else { Length::UntilClosed },
        header_bytes: None,
        event_stream: false,
        closes: response.version == Some(0),
        bytes: length,
    };
    let number = |value: &[u8]| std::str::from_utf8(value).ok().and_then(|text| text.trim().parse::<usize>().ok());
    for header in response.headers.iter() {
        let name = header.name;
        if name.eq_ignore_ascii_case("content-length") {
            let length =
                number(header.value).ok_or_else(|| ConnectionError::Protocol("its Content-Length is no number".into()))?;
            head.length = Length::Known(length);
        } else if name.eq_ignore_ascii_case(protocol::oip::HEADER_LENGTH) {
            head.header_bytes = number(header.value);
        } else if name.eq_ignore_ascii_case("transfer-encoding") && header.value.eq_ignore_ascii_case(b"chunked") {
            head.length = Length::Chunked;
        } else if name.eq_ignore_ascii_case("content-type") {
            head.event_stream = header.value.starts_with(b"text/event-stream");
        } else if name.eq_ignore_ascii_case("connection") {
            head.closes |= header.value.eq_ignore_ascii_case(b"close");
        }
    }
    Ok(Some(head))
}
