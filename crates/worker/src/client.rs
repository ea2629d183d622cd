//! One connection to a worker: HTTP/1.1 on a Unix socket, one request at a time.

use std::io;

use bytes::{Bytes, BytesMut};
use domain::route::Address;
use protocol::worker_wire::WorkerRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

mod head;

use head::{Head, Length, check_length, parse_chunk_line, parse_head, parse_trailers};

/// Requests up to this size are sent in one piece, copied together; larger ones as they lie in
/// memory.
const COPY_BYTES_MAX: usize = 64 * 1024;
/// The longest answer, in bytes.
pub const ANSWER_BYTES_MAX: usize = 1 << 30;
/// Asked of the kernel, which may grant less.
const SOCKET_BUFFER_BYTES: usize = 1 << 20;
/// What is reserved for an announced body before it comes, in bytes; a longer one gets room as it
/// comes.
const RESERVED_BYTES_MAX: usize = 16 << 20;
/// The most interim answers, such as `100 Continue`, before the real one.
const INTERIM_MAX: usize = 8;
/// The most pieces that one system call sends.
const PIECES_MAX: usize = 64;

/// Why a connection is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// It was closed, or never opened. The worker may have died.
    #[error("the worker closed the connection: {0}")]
    Closed(io::Error),
    /// This process lacks descriptors or memory, or the worker's backlog is full: nothing is known
    /// of the worker.
    #[error("no connection to the worker could be opened here: {0}")]
    Local(io::Error),
    /// What came is not HTTP, or beyond a limit.
    #[error("the worker's answer is not understood: {0}")]
    Protocol(String),
}

impl From<io::Error> for ConnectionError {
    fn from(error: io::Error) -> ConnectionError {
        use nix::errno::Errno::{self, EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM};
        let errno = error.raw_os_error().map(Errno::from_raw);
        let is_local = matches!(errno, Some(EMFILE | ENFILE | ENOMEM | ENOBUFS | EAGAIN));
        if is_local { ConnectionError::Local(error) } else { ConnectionError::Closed(error) }
    }
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

/// Whether the answer that is expected comes in one piece or as a stream of events; the other is
/// the worker's mistake.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Form {
    /// At once.
    Whole,
    /// In pieces, if all goes well.
    Events,
}

/// An open connection.
pub struct Connection {
    stream: UnixStream,
    incoming: BytesMut,
    outgoing: Vec<u8>,
    /// Whether nothing more may be asked over it.
    closes: bool,
    /// Whether nothing has been asked over it yet.
    is_new: bool,
}

impl Connection {
    /// Connects to a worker.
    pub async fn connect(address: &Address) -> io::Result<Connection> {
        let Address::Unix(socket) = address;
        let stream = UnixStream::connect(socket).await?;
        let reference = socket2::SockRef::from(&stream);
        // Best effort: without large buffers it works as well, only slower.
        let _ = reference.set_send_buffer_size(SOCKET_BUFFER_BYTES);
        let _ = reference.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
        Ok(Connection::over(stream))
    }

    /// Over a stream that is open.
    pub fn over(stream: UnixStream) -> Connection {
        Connection {
            stream,
            incoming: BytesMut::with_capacity(16 * 1024),
            outgoing: Vec::with_capacity(4 * 1024),
            closes: false,
            is_new: true,
        }
    }

    /// Whether it is of no use for another request: the worker has closed it or is about to, or has
    /// sent what nobody asked for, which would be taken for the next answer.
    pub fn is_stale(&self) -> bool {
        if self.closes || !self.incoming.is_empty() {
            return true;
        }
        !matches!(self.peek(), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// How many bytes there are to read; none where it is closed. The kernel is asked itself: what
    /// tokio knows of a socket is older.
    fn peek(&self) -> io::Result<usize> {
        socket2::SockRef::from(&self.stream).peek(&mut [std::mem::MaybeUninit::uninit(); 1])
    }

    /// Asks for `path` and waits for the answer.
    pub async fn get(&mut self, path: &str) -> Result<RawAnswer, ConnectionError> {
        self.outgoing.clear();
        self.outgoing
            .extend_from_slice(format!("GET {path} HTTP/1.1\r\nHost: worker\r\n\r\n").as_bytes());
        self.begin()?;
        self.stream.write_all(&self.outgoing).await?;
        self.answer(Form::Whole).await
    }

    /// Posts a request to `path` and waits for the answer, or for the head of a stream. Not over a
    /// connection that [is stale](Connection::is_stale).
    pub async fn post(
        &mut self,
        path: &str,
        request: &WorkerRequest,
        form: Form,
    ) -> Result<RawAnswer, ConnectionError> {
        self.begin()?;
        self.send(path, request).await?;
        self.answer(form).await
    }

    fn begin(&mut self) -> Result<(), ConnectionError> {
        if !std::mem::take(&mut self.is_new) {
            return Ok(());
        }
        match self.peek() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            // A process that ends has its socket for a moment longer than it takes what comes.
            Ok(0) => Err(ConnectionError::Closed(io::ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(error.into()),
            Ok(_) => Err(ConnectionError::Protocol("it came before anything was asked".into())),
        }
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
        if let Some(trace) = &request.trace {
            // The last of the head, where workers that know heads by their bytes look for it.
            out.extend_from_slice(b"\r\ntraceparent: ");
            out.extend_from_slice(&trace.header());
        }
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
            let slices: Vec<io::IoSlice> = pieces[first..]
                .iter()
                .take(PIECES_MAX)
                .map(|piece| io::IoSlice::new(piece))
                .collect();
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

    async fn answer(&mut self, form: Form) -> Result<RawAnswer, ConnectionError> {
        let head = self.head().await?;
        self.closes |= head.closes;
        let mut answer = RawAnswer {
            status: head.status,
            header_bytes: head.header_bytes,
            body: Bytes::new(),
            streams: false,
        };
        if head.status == 200 && head.event_stream != (form == Form::Events) {
            self.closes = true;
            let what = if head.event_stream {
                "it is a stream of events"
            } else {
                "it is no stream of events"
            };
            return Err(ConnectionError::Protocol(format!(
                "{what}, which is not what the schema says"
            )));
        }
        match head.length {
            Length::Known(length) => answer.body = self.exactly(length).await?,
            Length::Chunked if form == Form::Events && head.status == 200 => {
                answer.streams = true;
                return Ok(answer);
            }
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

    /// The head of the real answer, behind interim ones.
    async fn head(&mut self) -> Result<Head, ConnectionError> {
        let mut interim = 0;
        loop {
            match parse_head(&self.incoming)? {
                None => self.fill(4 * 1024).await?,
                Some(head) => {
                    let _ = self.incoming.split_to(head.bytes);
                    if !head.is_interim() {
                        return Ok(head);
                    }
                    interim += 1;
                    if interim > INTERIM_MAX {
                        return Err(ConnectionError::Protocol(format!(
                            "over {INTERIM_MAX} interim answers came before it"
                        )));
                    }
                }
            }
        }
    }

    /// The next piece of an answer that streams; `None` at its end.
    pub async fn next_piece(&mut self) -> Result<Option<Bytes>, ConnectionError> {
        let (line, size) = loop {
            match parse_chunk_line(&self.incoming)? {
                Some(found) => break found,
                None => self.fill(4 * 1024).await?,
            }
        };
        let _ = self.incoming.split_to(line);
        if size == 0 {
            let length = loop {
                match parse_trailers(&self.incoming)? {
                    Some(length) => break length,
                    None => self.fill(4 * 1024).await?,
                }
            };
            let _ = self.incoming.split_to(length);
            return Ok(None);
        }
        let piece = self.exactly(size).await?;
        if self.exactly(2).await?[..] != *b"\r\n" {
            return Err(ConnectionError::Protocol(
                "one of its chunks is longer than it says".into(),
            ));
        }
        Ok(Some(piece))
    }

    async fn exactly(&mut self, length: usize) -> Result<Bytes, ConnectionError> {
        check_length(length)?;
        while self.incoming.len() < length {
            let missing = length - self.incoming.len();
            self.fill(missing.min(self.incoming.len().max(RESERVED_BYTES_MAX))).await?;
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

#[cfg(test)]
mod tests;
