//! Answers each request with its own body: what HTTP alone costs. It must do nothing more.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

/// Of a longer body only [`HEAD_BYTES`] come back: the answer to a large tensor is small.
const ECHO_BYTES_MAX: usize = 4_096;
/// Four float32.
const HEAD_BYTES: usize = 16;

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    let answer = if body.len() > ECHO_BYTES_MAX { body.slice(..HEAD_BYTES) } else { body };
    let mut response = Response::new(Full::new(answer));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args().nth(1).ok_or("usage: hyper-echo PORT")?.parse()?;
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let connection =
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service_fn(echo));
            // A connection that breaks off concerns only its peer.
            let _: Result<(), hyper::Error> = connection.await;
        });
    }
}
