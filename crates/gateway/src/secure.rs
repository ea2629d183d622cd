//! Connections over TLS: what the gateway must be told to speak it, and what a caller is told who
//! does not. The protocol itself is no work of the gateway.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use domain::{CertificateNames, Code, Problem};
use tokio::net::TcpStream;

use crate::connections::Open;
use crate::peer::Peer;
use crate::serving::Serving;
use crate::shed::{Refusal, Shedding};
use crate::stall::Stream;

/// The first byte of every connection over TLS: a record of its handshake.
const HANDSHAKE: u8 = 22;

/// A handshake on its way.
pub type Securing = Pin<Box<dyn Future<Output = io::Result<Secured>> + Send>>;

/// Turns connections over TCP into encrypted ones.
pub trait Secure: Send + Sync {
    /// Does the handshake of a connection.
    fn secure(&self, stream: TcpStream) -> Securing;
}

/// A connection whose handshake is done.
pub struct Secured {
    /// Its bytes, in clear on this side.
    pub stream: Box<dyn Stream>,
    /// What the certificate that the peer showed says of it; it was verified.
    pub certificate: Option<Arc<CertificateNames>>,
}

/// The answer to plain HTTP.
pub fn refusal() -> Refusal {
    let text = "this address speaks only TLS";
    Refusal::new(&Problem::new(Code::PlainText, text).help("use https:// instead of http://"))
}

/// One connection that should speak TLS, until it ends. Until the handshake is done it is as quiet
/// as one that says nothing.
pub async fn run(
    serving: Serving,
    secure: Arc<dyn Secure>,
    stream: TcpStream,
    ip: IpAddr,
    open: Open,
    shedding: Arc<Shedding>,
) {
    let limit = Duration::from_millis(serving.handshake_ms_max());
    let begun = async {
        let mut first = [0];
        let is_tls = stream.peek(&mut first).await? == 0 || first[0] == HANDSHAKE;
        if !is_tls {
            shedding.refuse(stream, &refusal());
            return Ok(None);
        }
        secure.secure(stream).await.map(Some)
    };
    let secured = match tokio::time::timeout(limit, begun).await {
        Ok(Ok(Some(secured))) => secured,
        Ok(Ok(None)) => return,
        Ok(Err(error)) => return tracing::debug!("a handshake with {ip} failed: {error}"),
        Err(_) => return tracing::debug!("a handshake with {ip} took too long"),
    };
    let certificate = secured.certificate;
    let peer = Peer::Tcp { ip, encrypted: true, certificate, proxy: None };
    serving.run(secured.stream, Arc::new(peer), None, open).await;
}
