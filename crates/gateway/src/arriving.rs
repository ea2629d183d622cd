//! Bodies on their way to the control plane, and the rest of those that nobody reads: a caller that
//! still sends must see the answer, and not a broken connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use crate::GatewayConfig;
use crate::connections::{Ticket, Wait};
use crate::turns::Turn;

/// After the first [`GatewayConfig::body_ms_max`], a body for the control plane must have come at
/// this rate: uploads may be long, but not for ever.
const CONTROL_BYTES_PER_MS_MIN: u64 = 16;
/// The longest rest of a body that is taken although nobody reads it, in bytes, …
const REST_BYTES_MAX: u64 = 1 << 30;
/// … of whoever did not get in, in bytes, …
const REST_OF_STRANGERS_BYTES_MAX: u64 = 16 << 20;
/// … the longest that this may take, in milliseconds, …
const REST_MS_MAX: u64 = 30_000;
/// … and that it may pause, in milliseconds.
const REST_PAUSE_MS_MAX: u64 = 5_000;

/// The body of a request. What of it nobody has read when this is dropped is taken and thrown away,
/// within limits, while the answer is on its way: most programs read no answer before they have sent
/// all, and would tell of a broken connection instead of what the answer says.
pub struct Upload {
    /// Until it is dropped.
    incoming: Option<Incoming>,
    /// Whether the caller waits for leave to send it: it will not, if it is refused.
    waits_for_leave: bool,
    rest_bytes_max: u64,
    pause: Duration,
}

impl Upload {
    /// Of a request with these headers.
    pub fn new(incoming: Incoming, headers: &HeaderMap, config: &GatewayConfig) -> Upload {
        let pause_ms = config.body_stall_ms_max.min(REST_PAUSE_MS_MAX);
        Upload {
            incoming: Some(incoming),
            waits_for_leave: headers.contains_key(header::EXPECT),
            rest_bytes_max: REST_BYTES_MAX,
            pause: Duration::from_millis(pause_ms),
        }
    }

    /// Of whoever is not let in, and may not keep this server busy.
    pub fn of_stranger(self) -> Upload {
        let mut upload = self;
        upload.rest_bytes_max = REST_OF_STRANGERS_BYTES_MAX;
        upload
    }

    /// What is still to come.
    pub fn incoming(&mut self) -> Option<&mut Incoming> {
        self.incoming.as_mut()
    }

    /// It was read to its end.
    pub fn read(mut self) {
        self.incoming = None;
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let rest = self.incoming.take().filter(|it| !it.is_end_stream() && !self.waits_for_leave);
        let Some(rest) = rest else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(discard(rest, self.rest_bytes_max, self.pause));
        }
    }
}

/// Takes what a caller still sends of a body that nobody reads.
async fn discard(mut incoming: Incoming, bytes_max: u64, pause: Duration) {
    let end = Instant::now() + Duration::from_millis(REST_MS_MAX);
    let mut bytes = 0;
    while bytes <= bytes_max {
        let next = tokio::time::timeout_at((Instant::now() + pause).min(end), incoming.frame());
        let Ok(Some(Ok(frame))) = next.await else { return };
        bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
    }
}

/// A request's body on its way to the control plane: an error once it pauses for too long or is too
/// slow all in all.
pub struct Arriving {
    upload: Upload,
    ticket: Arc<Ticket>,
    turn: Arc<Turn>,
    stall: Duration,
    begin: Instant,
    /// Milliseconds that all of it may take, so far.
    allowed_ms: u64,
    timer: Pin<Box<Sleep>>,
}

impl Arriving {
    /// Once it is all there, the request waits for its answer.
    pub fn new(
        mut upload: Upload,
        ticket: Arc<Ticket>,
        turn: Arc<Turn>,
        config: &GatewayConfig,
    ) -> Arriving {
        if upload.incoming().is_none_or(|incoming| incoming.is_end_stream()) {
            ticket.waits_for(Wait::Answer);
        }
        let stall = Duration::from_millis(config.body_stall_ms_max);
        let (begin, timer) = (Instant::now(), Box::pin(tokio::time::sleep(stall)));
        Arriving { upload, ticket, turn, stall, begin, allowed_ms: config.body_ms_max, timer }
    }
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let this = self.get_mut();
        let Some(incoming) = this.upload.incoming() else { return Poll::Ready(None) };
        let Poll::Ready(frame) = Pin::new(&mut *incoming).poll_frame(context) else {
            this.turn.give();
            ready!(this.timer.as_mut().poll(context));
            return Poll::Ready(Some(Err("the body came too slowly".into())));
        };
        if this.turn.take().is_err() {
            return Poll::Ready(Some(Err("the server is busy".into())));
        }
        if let Some(Ok(frame)) = &frame {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            this.allowed_ms += bytes as u64 / CONTROL_BYTES_PER_MS_MIN;
            let end = this.begin + Duration::from_millis(this.allowed_ms);
            this.timer.as_mut().reset(end.min(Instant::now() + this.stall));
            this.ticket.touch();
        }
        if frame.is_none() || incoming.is_end_stream() {
            this.ticket.waits_for(Wait::Answer);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.upload.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.upload.incoming.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}
