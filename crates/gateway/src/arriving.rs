//! Bodies on their way to the control plane, and the rest of those that nobody reads: a caller that
//! still sends must see the answer, and not a broken connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
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
const REST_BYTES_MAX: usize = 64 * 1024;
/// … and in milliseconds.
const REST_MS_MAX: u64 = 1_000;

/// Takes what a caller still sends of a body that nobody reads, if it is not much.
pub async fn discard(mut incoming: Incoming) {
    let rest = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = incoming.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > REST_BYTES_MAX {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_millis(REST_MS_MAX), rest).await;
}

/// A request's body on its way to the control plane: an error once it pauses for too long or is too
/// slow all in all.
pub struct Arriving {
    /// Until it is dropped.
    incoming: Option<Incoming>,
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
        incoming: Incoming,
        ticket: Arc<Ticket>,
        turn: Arc<Turn>,
        config: &GatewayConfig,
    ) -> Arriving {
        if incoming.is_end_stream() {
            ticket.waits_for(Wait::Answer);
        }
        let stall = Duration::from_millis(config.body_stall_ms_max);
        let (begin, timer) = (Instant::now(), Box::pin(tokio::time::sleep(stall)));
        Arriving {
            incoming: Some(incoming),
            ticket,
            turn,
            stall,
            begin,
            allowed_ms: config.body_ms_max,
            timer,
        }
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
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
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
        self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let Some(incoming) = self.incoming.take().filter(|it| !it.is_end_stream()) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(discard(incoming));
        }
    }
}
