//! Serves one connection: HTTP/1.1 or HTTP/2, whatever its bytes come by, until it ends.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use futures_util::FutureExt;
use http::{HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::sync::watch;

use crate::body::Body;
use crate::connections::{Link, Open};
use crate::peer::{Peer, Proxies};
use crate::stall::{Reader, Stalling, Stream, Streams};
use crate::{Gateway, reply};

/// Requests open at the same time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 256;
/// How often an HTTP/2 peer gets a ping, in milliseconds, …
const PING_MS: u64 = 20_000;
/// … and must answer within this.
const PONG_MS_MAX: u64 = 20_000;
/// Before the time of a hand-over is up, idle connections are closed, in milliseconds.
const IDLE_MARGIN_MS: u64 = 1_000;

/// How to serve.
pub struct Serve {
    /// Answers what is not inference.
    pub control: Router,
    /// Where it runs.
    pub control_runtime: tokio::runtime::Handle,
    /// Requests that still run when the server stops have this long, in milliseconds.
    pub drain_ms_max: u64,
}

/// Why serving ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// It does not.
    No,
    /// The server stops: idle connections are closed at once.
    Shutdown,
    /// Another process has the listening socket: connections end after their next answer, so that
    /// none is closed while a request is on its way, and idle ones when the time is up.
    Replaced,
}

/// What serves one connection after another.
#[derive(Clone)]
pub struct Serving {
    /// Whose connections they are.
    pub gateway: Arc<Gateway>,
    /// How to serve them.
    pub serve: Arc<Serve>,
    /// Whether that ends.
    pub stopping: watch::Receiver<Stop>,
}

impl Serving {
    /// One request. A panic, which is a mistake of ours, costs this request and no other.
    async fn respond(
        &self,
        request: Request<Incoming>,
        link: &Arc<Link>,
        peer: &Arc<Peer>,
    ) -> Response<Body> {
        let is_h1 = request.version() != Version::HTTP_2;
        let answered =
            AssertUnwindSafe(self.gateway.clone().respond(request, &self.serve, link.ask(), peer))
                .catch_unwind()
                .await;
        let mut response = answered.unwrap_or_else(|_| reply::problem(&reply::panicked()));
        if is_h1 && *self.stopping.borrow() == Stop::Replaced {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if !is_h1 {
            response.body_mut().read_by(Reader::current());
        }
        response
    }

    /// See [`crate::GatewayConfig::handshake_ms_max`].
    pub fn handshake_ms_max(&self) -> u64 {
        self.gateway.config.handshake_ms_max
    }

    /// One connection, until it ends. If it is a proxy's, each request may be of somebody else.
    pub async fn run(
        self,
        stream: impl Stream,
        peer: Arc<Peer>,
        proxies: Option<Proxies>,
        open: Open,
    ) {
        let is_h2 = Arc::new(AtomicBool::new(false));
        let (serving, link, seen_h2) = (self.clone(), open.link.clone(), is_h2.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            let (serving, link) = (serving.clone(), link.clone());
            let peer = match (&proxies, &*peer) {
                (Some(proxies), Peer::Tcp { ip, .. }) => Arc::new(proxies.read(*ip, &mut request)),
                _ => peer.clone(),
            };
            if request.version() == Version::HTTP_2 {
                seen_h2.store(true, Ordering::Relaxed);
            }
            async move { Ok::<_, Infallible>(serving.respond(request, &link, &peer).await) }
        });
        let stall = Duration::from_millis(self.gateway.config.write_stall_ms_max);
        let mut builder = auto::Builder::new(Streams { limit: stall });
        // Slow heads and idle connections are swept: no timer for each request.
        builder.http1().timer(TokioTimer::new()).header_read_timeout(None);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .keep_alive_interval(Duration::from_millis(PING_MS))
            .keep_alive_timeout(Duration::from_millis(PONG_MS_MAX));
        let mut stopping = self.stopping.clone();
        let drain_ms_max = self.serve.drain_ms_max;
        let stop = async move {
            let stop = stopping.wait_for(|stop| *stop != Stop::No).await.map(|stop| *stop);
            if matches!(stop, Ok(Stop::Replaced)) && !is_h2.load(Ordering::Relaxed) {
                // A quiet connection may have a request on its way at this moment: it gets its
                // answer first.
                tokio::time::sleep(Duration::from_millis(
                    drain_ms_max.saturating_sub(IDLE_MARGIN_MS),
                ))
                .await;
            }
        };
        let mut connection = pin!(builder.serve_connection(
            TokioIo::new(Stalling::new(stream, stall, open.link.clone())),
            service
        ));
        let result = tokio::select! {
            biased;
            result = connection.as_mut() => result,
            () = stop => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::debug!("connection ended: {error}");
        }
        drop(open);
    }
}
