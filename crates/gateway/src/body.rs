//! Bodies: reads a request's within its limits; writes whole ones, streams, and those of the
//! control plane.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use domain::{Code, Problem};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::GatewayConfig;
use crate::admit::too_large;
use crate::arriving::Upload;
use crate::connections::{Ticket, Wait};
use crate::memory::{Budget, Hold, Memory, SMALL_BYTES};
use crate::stall::Reader;
use crate::stream::Pieces;
use crate::watch::Watch;

/// On HTTP/2 a whole answer is handed over in parts of this size, so that what a reader has not
/// asked for stays here and one that takes nothing is noticed.
const PART_BYTES: usize = 64 * 1024;

/// The body of an answer.
pub struct Body {
    kind: Kind,
    /// The connection's account of this request, until the answer is written.
    held: Held,
    /// Its bytes, if they are many.
    memory: Option<Hold>,
    /// Of an HTTP/2 stream.
    reader: Option<Arc<Reader>>,
    /// Over whoever is answered, if their right to it may end.
    watch: Option<Watch>,
}

enum Kind {
    /// All there.
    Whole(Bytes),
    /// Pieces that come as a model yields them.
    Pieces(Pieces),
    /// Of the control plane.
    Control(axum::body::Body),
}

enum Held {
    Nothing,
    Alone { _ticket: Ticket },
    Shared { _ticket: Arc<Ticket>, _stream: Option<OwnedSemaphorePermit> },
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Body {
        Body::new(Kind::Whole(bytes))
    }
}

impl From<Pieces> for Body {
    fn from(pieces: Pieces) -> Body {
        Body::new(Kind::Pieces(pieces))
    }
}

impl Body {
    fn new(kind: Kind) -> Body {
        Body { kind, held: Held::Nothing, memory: None, reader: None, watch: None }
    }

    /// What the control plane answers; what has no end has a place among those.
    pub fn control(
        body: axum::body::Body,
        ticket: Arc<Ticket>,
        stream: Option<OwnedSemaphorePermit>,
    ) -> Body {
        ticket.waits_for(if stream.is_none() { Wait::Answer } else { Wait::Follow });
        Body {
            held: Held::Shared { _ticket: ticket, _stream: stream },
            ..Body::new(Kind::Control(body))
        }
    }

    /// Holds the connection's account of this request until the answer is written.
    pub fn hold(&mut self, ticket: Ticket) {
        ticket.waits_for(if matches!(self.kind, Kind::Pieces(_)) {
            Wait::Stream
        } else {
            Wait::Answer
        });
        self.held = Held::Alone { _ticket: ticket };
    }

    /// Keeps whoever is answered in sight until the answer is written.
    pub fn watch(&mut self, watch: Option<Watch>) {
        self.watch = watch;
    }

    /// Counts a large whole answer until it is written.
    pub fn count(&mut self, budget: &Arc<Budget>) {
        if let Kind::Whole(bytes) = &self.kind
            && bytes.len() > SMALL_BYTES
        {
            self.memory = Some(Hold::anyway(budget, bytes.len()));
        }
    }

    /// Says that it goes to an HTTP/2 stream.
    pub fn read_by(&mut self, reader: Option<Arc<Reader>>) {
        if let Some(reader) = &reader {
            reader.waits();
        }
        self.reader = reader;
    }

    /// Its bytes, if they are all there.
    pub fn whole(&mut self) -> Option<&mut Bytes> {
        match &mut self.kind {
            Kind::Whole(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The pieces, if it streams.
    pub fn pieces(&mut self) -> Option<&mut Pieces> {
        match &mut self.kind {
            Kind::Pieces(pieces) => Some(pieces),
            _ => None,
        }
    }
}

impl Kind {
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        in_parts: bool,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self {
            Kind::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Whole(bytes) => {
                let part = if in_parts {
                    bytes.split_to(bytes.len().min(PART_BYTES))
                } else {
                    std::mem::take(bytes)
                };
                Poll::Ready(Some(Ok(Frame::data(part))))
            }
            Kind::Pieces(pieces) => {
                pieces.poll(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
            }
            Kind::Control(body) => Pin::new(body).poll_frame(context),
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let body = self.get_mut();
        if let (Some(watch), false) = (&mut body.watch, matches!(body.kind, Kind::Whole(_)))
            && let Poll::Ready(problem) = watch.poll(context)
        {
            return Poll::Ready(Some(Err(axum::Error::new(problem))));
        }
        let frame = body.kind.poll(context, body.reader.is_some());
        match &body.reader {
            Some(reader) if frame.is_pending() => reader.is_awaited(),
            Some(reader) => reader.waits(),
            None => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Whole(bytes) => bytes.is_empty(),
            Kind::Pieces(_) => false,
            Kind::Control(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Pieces(_) => SizeHint::default(),
            Kind::Control(body) => body.size_hint(),
        }
    }
}

/// Reads a request's whole body, for which memory is taken before it comes. Small ones arrive in
/// one piece and are not copied.
pub async fn collect(
    upload: &mut Upload,
    config: &GatewayConfig,
    ticket: &Ticket,
    memory: &mut Memory,
) -> Result<Bytes, Problem> {
    let Some(incoming) = upload.incoming() else { return Ok(Bytes::new()) };
    let began = Instant::now();
    let end = began + Duration::from_millis(config.body_ms_max);
    let announced = incoming.size_hint().exact();
    let mut held = announced.map_or(SMALL_BYTES, |announced| announced as usize);
    memory.grow(held)?;
    let Some(first) = next(incoming, config, began, end).await? else {
        return Ok(Bytes::new());
    };
    if incoming.is_end_stream() || announced == Some(first.len() as u64) {
        return if first.len() > config.body_bytes_max {
            Err(too_large(config.body_bytes_max))
        } else {
            Ok(first)
        };
    }
    let mut body =
        BytesMut::with_capacity(announced.unwrap_or(0).min(config.body_bytes_max as u64) as usize);
    body.extend_from_slice(&first);
    while let Some(more) = next(incoming, config, Instant::now(), end).await? {
        ticket.touch();
        if body.len() + more.len() > config.body_bytes_max {
            return Err(too_large(config.body_bytes_max));
        }
        if body.len() + more.len() > held {
            // It says nothing of its length: as much again.
            let step = held.max(more.len());
            memory.grow(step)?;
            held += step;
        }
        body.extend_from_slice(&more);
    }
    Ok(body.freeze())
}

async fn next(
    incoming: &mut Incoming,
    config: &GatewayConfig,
    now: Instant,
    end: Instant,
) -> Result<Option<Bytes>, Problem> {
    let stall = Duration::from_millis(config.body_stall_ms_max);
    let frame = match tokio::time::timeout_at((now + stall).min(end), incoming.frame()).await {
        Ok(None) => return Ok(None),
        Ok(Some(frame)) => frame.map_err(|error| {
            Problem::new(Code::BadRequest, format!("the body stopped half-way: {error}"))
        })?,
        Err(_) => {
            let (whole_ms, stall_ms) = (config.body_ms_max, config.body_stall_ms_max);
            let text = format!(
                "the body did not arrive within {whole_ms} ms, or paused for {stall_ms} ms"
            );
            return Err(Problem::new(Code::BodyTimeout, text)
                .help("send it faster, or in smaller requests"));
        }
    };
    Ok(Some(frame.into_data().unwrap_or_default()))
}
