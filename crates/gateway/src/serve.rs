//! Listens: HTTP/1.1 and HTTP/2 on one port. Inference is answered here; everything else goes to the control plane,
//! on its own runtime, so that slow work there costs no request its latency.

use std::convert::Infallible;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use domain::Problem;
use http::{HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt;

use crate::body::Body;
use crate::endpoints::endpoint;
use crate::{Gateway, admit, reply};

/// Connections open at the same time; others wait to be accepted.
const CONNECTIONS_MAX: usize = 16_384;
/// A request's head must arrive within it.
const HEAD_MS_MAX: u64 = 30_000;
/// Requests open at the same time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 256;
/// Before the time of a hand-over is up, idle connections are closed, in milliseconds.
const IDLE_MARGIN_MS: u64 = 1_000;
/// After an error of accept, as when descriptors run out.
const ACCEPT_PAUSE_MS: u64 = 50;

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
    /// Another process has the listening socket: connections end after their next answer, so that none is closed while a
    /// request is on its way, and idle ones when the time is up.
    Replaced,
}

impl Gateway {
    /// Serves until it is told to stop, then finishes what is in flight.
    pub async fn serve(
        self: &Arc<Gateway>,
        listener: TcpListener,
        serve: Serve,
        stopping: watch::Receiver<Stop>,
    ) -> std::io::Result<()> {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let serve = Arc::new(serve);
        let mut told = stopping.clone();
        loop {
            let accepted = tokio::select! {
                accepted = accept(&listener, &connections) => accepted,
                _ = told.wait_for(|stop| *stop != Stop::No) => break,
            };
            let Some((stream, permit)) = accepted else { continue };
            let connection = Connection { gateway: self.clone(), serve: serve.clone(), stopping: stopping.clone() };
            tokio::spawn(async move {
                connection.run(stream).await;
                drop(permit);
            });
        }
        drop(listener);
        let all = connections.acquire_many(CONNECTIONS_MAX as u32);
        let _ = tokio::time::timeout(Duration::from_millis(serve.drain_ms_max), all).await;
        Ok(())
    }
}

async fn accept(
    listener: &tokio::net::TcpListener,
    connections: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = connections.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            let _ = stream.set_nodelay(true);
            Some((stream, permit))
        }
        Err(error) => {
            tracing::warn!("accept failed: {error}");
            tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            None
        }
    }
}

struct Connection {
    gateway: Arc<Gateway>,
    serve: Arc<Serve>,
    stopping: watch::Receiver<Stop>,
}

impl Connection {
    async fn run(self, stream: TcpStream) {
        let (gateway, serve, stopping) = (self.gateway.clone(), self.serve.clone(), self.stopping.clone());
        let is_h2 = Arc::new(AtomicBool::new(false));
        let seen_h2 = is_h2.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (gateway, serve, stopping) = (gateway.clone(), serve.clone(), stopping.clone());
            let is_h1 = request.version() != Version::HTTP_2;
            if !is_h1 {
                seen_h2.store(true, Ordering::Relaxed);
            }
            async move {
                let mut response = gateway.respond(request, &serve).await;
                if is_h1 && *stopping.borrow() == Stop::Replaced {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response)
            }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_millis(HEAD_MS_MAX));
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX);
        let mut stopping = self.stopping.clone();
        let drain_ms_max = self.serve.drain_ms_max;
        let stop = async move {
            let stop = stopping.wait_for(|stop| *stop != Stop::No).await.map(|stop| *stop);
            if matches!(stop, Ok(Stop::Replaced)) && !is_h2.load(Ordering::Relaxed) {
                // A quiet connection may have a request on its way at this moment: it gets its answer first.
                tokio::time::sleep(Duration::from_millis(drain_ms_max.saturating_sub(IDLE_MARGIN_MS))).await;
            }
        };
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = stop => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::debug!("connection ended: {error}");
        }
    }
}

impl Gateway {
    async fn respond(self: Arc<Gateway>, request: Request<Incoming>, serve: &Serve) -> Response<Body> {
        if let Err(problem) = admit::check_host(&self.config.hosts, request.uri(), request.headers()) {
            return reply::problem(&problem);
        }
        match endpoint(request.uri().path()) {
            Some(endpoint) => self.infer(endpoint, request).await,
            None => control(request, serve).await,
        }
    }
}

async fn control(request: Request<Incoming>, serve: &Serve) -> Response<Body> {
    let router = serve.control.clone();
    let answered = serve.control_runtime.spawn(async move { router.oneshot(request.map(axum::body::Body::new)).await });
    match answered.await {
        Ok(Ok(response)) => response.map(Body::Control),
        Ok(Err(never)) => match never {},
        Err(error) => {
            tracing::error!("a control request failed: {error}");
            reply::problem(&Problem::new("internal", "the control plane failed on this request").help("see the server's log"))
        }
    }
}
