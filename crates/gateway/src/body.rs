//! Bodies: reads a request's within its limits; writes whole ones, streams, and those of the control plane.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use domain::Problem;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::mpsc;

use crate::admit::too_large;

/// The body of an answer.
pub enum Body {
    /// All there.
    Whole(Option<Bytes>),
    /// Pieces that come as a model yields them.
    Pieces(mpsc::Receiver<Result<Bytes, Infallible>>),
    /// Of the control plane.
    Control(axum::body::Body),
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Body {
        Body::Whole((!bytes.is_empty()).then_some(bytes))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.get_mut() {
            Body::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Body::Pieces(pieces) => {
                pieces.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data).map_err(|never| match never {})))
            }
            Body::Control(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Whole(bytes) => bytes.is_none(),
            Body::Pieces(_) => false,
            Body::Control(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Body::Pieces(_) => SizeHint::default(),
            Body::Control(body) => body.size_hint(),
        }
    }
}

/// Reads a request's whole body. Small ones arrive in one piece and are not copied.
pub async fn collect(mut incoming: Incoming, body_bytes_max: usize, body_ms_max: u64) -> Result<Bytes, Problem> {
    let announced = incoming.size_hint().exact();
    let read = async {
        let first = match incoming.frame().await {
            None => return Ok(Bytes::new()),
            Some(frame) => data(frame)?,
        };
        if incoming.is_end_stream() || announced == Some(first.len() as u64) {
            return if first.len() > body_bytes_max { Err(too_large(body_bytes_max)) } else { Ok(first) };
        }
        let mut body = BytesMut::with_capacity(announced.unwrap_or(0).min(body_bytes_max as u64) as usize);
        body.extend_from_slice(&first);
        while let Some(frame) = incoming.frame().await {
            body.extend_from_slice(&data(frame)?);
            if body.len() > body_bytes_max {
                return Err(too_large(body_bytes_max));
            }
        }
        Ok(body.freeze())
    };
    tokio::time::timeout(Duration::from_millis(body_ms_max), read).await.unwrap_or_else(|_| {
        Err(Problem::new("body_timeout", format!("the body did not arrive within {body_ms_max} ms"))
            .help("send it faster, or in smaller requests"))
    })
}

fn data(frame: Result<Frame<Bytes>, hyper::Error>) -> Result<Bytes, Problem> {
    let frame = frame.map_err(|error| Problem::new("bad_request", format!("the body stopped half-way: {error}")))?;
    Ok(frame.into_data().unwrap_or_default())
}
