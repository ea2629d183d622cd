//! A server's side of TLS: how it is set up, and the handshake of one connection.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use domain::{CertificateNames, Digest, Problem};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::facts::Facts;
use crate::keeper::{Certificates, Keeper};
use crate::pair::certificates;
use crate::{problem, provider};

/// What is spoken inside: HTTP/2 if the caller can.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// How a server speaks TLS.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What it shows.
    pub certificates: Certificates,
    /// PEM: authorities whose certificates callers may show. Nobody has to show one.
    pub client_ca: Option<PathBuf>,
}

/// A server's side of TLS.
pub struct Tls {
    acceptor: TlsAcceptor,
    keeper: Keeper,
}

/// A connection whose handshake is done.
pub struct Accepted<S> {
    /// Its bytes, in clear on this side.
    pub stream: TlsStream<S>,
    /// What the certificate that the caller showed says of him.
    pub names: Option<Arc<CertificateNames>>,
}

impl Tls {
    /// Reads or makes what is shown.
    pub fn open(settings: Settings, now_ms: u64) -> Result<Tls, Problem> {
        let keeper = Keeper::open(settings.certificates, now_ms)?;
        let failed = |error: rustls::Error| problem(format!("TLS cannot be set up: {error}"));
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(failed)?;
        let builder = match &settings.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let wrong = |text: String| problem(format!("{}: {text}", path.display()));
                let pem = fs::read(path).map_err(|error| wrong(error.to_string()))?;
                let mut roots = RootCertStore::empty();
                for certificate in certificates(&pem).map_err(|cause| wrong(cause.to_string()))? {
                    roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
                        .allow_unauthenticated()
                        .build()
                        .map_err(|error| wrong(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_cert_resolver(keeper.current());
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        Ok(Tls { acceptor: Arc::new(config).into(), keeper })
    }

    /// The handshake of a connection.
    pub fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> impl Future<Output = io::Result<Accepted<S>>> + use<S> {
        let accepting = self.acceptor.accept(stream);
        async move {
            let stream = accepting.await?;
            let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let facts = shown.map(Facts::read).transpose().map_err(io::Error::other)?;
            Ok(Accepted { stream, names: facts.map(|facts| Arc::new(facts.names)) })
        }
    }

    /// Renews the certificate if it is time, or takes what has changed: to be called each second,
    /// where files may be read.
    pub fn look(&self, now_ms: u64) {
        self.keeper.look(now_ms);
    }

    /// By which callers know the server's own authority, if it has one.
    pub fn authority(&self) -> Option<Digest> {
        self.keeper.authority()
    }

    /// Names of hosts in the certificate that was there first.
    pub fn names(&self) -> &[String] {
        self.keeper.names()
    }
}
