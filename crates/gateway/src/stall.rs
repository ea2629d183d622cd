//! Cuts off readers that take nothing: a socket whose writes make no progress, and a stream of an
//! HTTP/2 connection whose peer gives it no more window while the connection itself lives.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::connections::Link;

/// A head and its body up to this size together are sent as one piece: that costs the kernel less
/// than two.
const JOINED_BYTES_MAX: usize = 1_024;

/// By what a connection's bytes come and go.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// A socket whose writes fail once they have made no progress for `limit`.
pub struct Stalling<S> {
    stream: S,
    limit: Duration,
    link: Arc<Link>,
    timer: Option<Pin<Box<Sleep>>>,
    waits: bool,
    /// Whether it waits for what was taken earlier to be sent, as a socket with a buffer of its own
    /// does.
    flushes: bool,
}

impl<S: Stream> Stalling<S> {
    /// Around an accepted socket.
    pub fn new(stream: S, limit: Duration, link: Arc<Link>) -> Stalling<S> {
        Stalling { stream, limit, link, timer: None, waits: false, flushes: false }
    }

    fn checked<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if std::mem::take(&mut self.waits) {
                self.link.writes(false);
            }
            return written;
        }
        let end = || Instant::now() + self.limit;
        let timer = match &mut self.timer {
            Some(timer) => {
                if !self.waits {
                    timer.as_mut().reset(end());
                }
                timer
            }
            None => self.timer.insert(Box::pin(tokio::time::sleep_until(end()))),
        };
        if !std::mem::replace(&mut self.waits, true) {
            self.link.writes(true);
        }
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the reader takes nothing")))
    }
}

impl<S: Stream> AsyncRead for Stalling<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: Stream> AsyncWrite for Stalling<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, buffer);
        self.checked(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        let written = if bytes <= JOINED_BYTES_MAX {
            let mut joined = [0; JOINED_BYTES_MAX];
            let mut at = 0;
            for buffer in buffers {
                joined[at..at + buffer.len()].copy_from_slice(buffer);
                at += buffer.len();
            }
            Pin::new(&mut self.stream).poll_write(context, &joined[..bytes])
        } else {
            Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
        };
        self.checked(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() && !std::mem::take(&mut self.flushes) {
            // A write may wait all the same.
            return flushed;
        }
        self.flushes |= flushed.is_pending() && !self.waits;
        self.checked(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

tokio::task_local! {
    static READER: Arc<Reader>;
}

/// Whether an answer waits for its reader, and since when.
pub struct Reader {
    begin: Instant,
    /// In milliseconds since `begin`, and one; 0 while it does not wait.
    waits_since_ms: AtomicU64,
}

impl Reader {
    /// Of the HTTP/2 stream that this task answers; `None` on HTTP/1.1, where the socket tells.
    pub fn current() -> Option<Arc<Reader>> {
        READER.try_with(Arc::clone).ok()
    }

    /// A piece is there for the reader.
    pub fn waits(&self) {
        self.waits_since_ms.store(self.begin.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
    }

    /// It is the reader who waits.
    pub fn is_awaited(&self) {
        self.waits_since_ms.store(0, Ordering::Relaxed);
    }

    /// When the limit is over, as it looks now.
    fn ends_at(&self, limit: Duration) -> Instant {
        match self.waits_since_ms.load(Ordering::Relaxed) {
            0 => Instant::now() + limit,
            since_ms => self.begin + Duration::from_millis(since_ms) + limit,
        }
    }
}

/// Runs each stream of an HTTP/2 connection as a task that ends when its reader takes nothing for
/// `limit`; only this stream is reset then.
#[derive(Clone)]
pub struct Streams {
    /// See [`crate::GatewayConfig::write_stall_ms_max`].
    pub limit: Duration,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        let reader = Arc::new(Reader { begin: Instant::now(), waits_since_ms: AtomicU64::new(0) });
        tokio::spawn(READER.scope(reader.clone(), watched(future, reader, self.limit)));
    }
}

async fn watched<F: Future>(future: F, reader: Arc<Reader>, limit: Duration) {
    let mut future = pin!(future);
    let mut timer = pin!(tokio::time::sleep(limit));
    loop {
        tokio::select! {
            biased;
            _ = &mut future => return,
            () = &mut timer => {
                let end = reader.ends_at(limit);
                if end <= Instant::now() {
                    tracing::debug!("a reader took nothing for {} ms: its stream is cut", limit.as_millis());
                    return;
                }
                timer.as_mut().reset(end);
            }
        }
    }
}
