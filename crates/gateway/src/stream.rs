//! An answer that a model yields piece by piece, on its way from the worker to the reader: bounded
//! in pieces and bytes, so that the model waits for a slow reader, and recorded at its end.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use domain::record::Record;
use domain::{Code, Problem};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::micros;

/// Pieces of a stream that wait for a slow reader; then the model waits.
const PIECES_MAX: usize = 16;
/// Bytes of them; a single longer piece waits alone.
const PIECES_BYTES_MAX: usize = 1 << 20;
/// How a model's own error begins, in the middle of its stream.
const ERROR_EVENT: &[u8] = b"event: error\n";

/// Takes pieces from the worker.
pub struct PieceSender {
    sender: mpsc::Sender<Piece>,
    room: Arc<Semaphore>,
}

struct Piece {
    bytes: Bytes,
    /// The code of the error that it tells.
    code: Option<Code>,
    _room: OwnedSemaphorePermit,
}

/// Gives pieces to the reader.
pub struct Pieces {
    receiver: mpsc::Receiver<Piece>,
    end: End,
    /// Since when the reader waits for the next.
    awaited_at: Option<Instant>,
    record: Option<Box<(Record, Recorded)>>,
}

/// What is done with a record at the end of a stream.
pub type Recorded = Box<dyn FnOnce(Record) + Send + Sync>;

/// How far a stream has come.
enum End {
    Open,
    Whole,
    Failed(Code),
}

/// Both ends of a stream.
pub fn pieces() -> (PieceSender, Pieces) {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let room = Arc::new(Semaphore::new(PIECES_BYTES_MAX));
    (
        PieceSender { sender, room },
        Pieces { receiver, end: End::Open, awaited_at: None, record: None },
    )
}

impl PieceSender {
    /// Hands on what the worker sent; `false` if the reader has gone.
    pub async fn send(&self, bytes: Bytes) -> bool {
        let code = bytes.starts_with(ERROR_EVENT).then_some(Code::ModelRaised);
        self.push(bytes, code).await
    }

    /// Ends the stream by an event that tells what went wrong.
    pub async fn fail(&self, problem: &Problem) {
        let text = serde_json::to_string(problem).unwrap_or_default();
        let event = Bytes::from(format!("event: error\ndata: {text}\n\n"));
        self.push(event, Some(problem.code.clone())).await;
    }

    async fn push(&self, bytes: Bytes, code: Option<Code>) -> bool {
        let needed = bytes.len().clamp(1, PIECES_BYTES_MAX) as u32;
        let room = tokio::select! {
            room = self.room.clone().acquire_many_owned(needed) => room,
            () = self.closed() => return false,
        };
        let Ok(room) = room else { return false };
        self.sender.send(Piece { bytes, code, _room: room }).await.is_ok()
    }

    /// Waits until the reader has gone.
    pub async fn closed(&self) {
        self.sender.closed().await;
    }
}

impl Pieces {
    /// Hands on this record at the end, with what became of the stream.
    pub fn record(&mut self, record: Record, recorded: Recorded) {
        self.record = Some(Box::new((record, recorded)));
    }

    /// The next piece.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let piece = match self.receiver.poll_recv(context) {
            Poll::Pending => {
                self.awaited_at.get_or_insert_with(Instant::now);
                return Poll::Pending;
            }
            Poll::Ready(piece) => piece,
        };
        self.awaited_at = None;
        match (&piece, &self.end) {
            (None, End::Open) => self.end = End::Whole,
            (Some(Piece { code: Some(code), .. }), _) => self.end = End::Failed(code.clone()),
            _ => {}
        }
        Poll::Ready(piece.map(|piece| piece.bytes))
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        let Some(recorded) = self.record.take() else { return };
        let (mut record, recorded) = *recorded;
        match &self.end {
            End::Whole => {}
            End::Failed(code) => {
                record.status = code.http();
                record.code = code.label();
            }
            End::Open => {
                // The model's part is how long the reader waited for it, not how long the reader
                // took.
                let waited_us = self.awaited_at.map_or(0, |at| micros(at.elapsed()));
                record.abandon(record.total_us.max(waited_us));
            }
        }
        recorded(record);
    }
}
