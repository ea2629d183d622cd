//! One call of a receiver. No redirect is followed, nothing of the answer is told but its status, and
//! all of it has limits.

use std::sync::Arc;
use std::time::Duration;

use ureq::http::header;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

use super::message::Message;
use super::pace::retry_after_ms;

/// How long connecting may take, in milliseconds.
const CONNECT_MS_MAX: u64 = 5_000;
/// How long a whole call may take, in milliseconds.
const CALL_MS_MAX: u64 = 10_000;
/// As much of an answer is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// What came of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The receiver has it.
    Taken,
    /// It does not want this message.
    Refused(String),
    /// It takes nothing now.
    Failed {
        /// Why.
        why: String,
        /// When it asks to be asked again, in milliseconds.
        retry_after_ms: Option<u64>,
    },
}

/// Calls receivers.
pub struct Client {
    agent: ureq::Agent,
}

/// What calls over HTTP and TLS: it trusts these authorities, in DER, follows no redirect, uses no
/// proxy, and gives up after 10 seconds. A status is no error.
pub fn agent(authorities: &[Vec<u8>]) -> ureq::Agent {
    let roots: Vec<Certificate<'static>> =
        authorities.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    // Named here: where a program has two, none is the default.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::new_with_certs(&roots))
        .unversioned_rustls_crypto_provider(provider)
        .build();
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(concat!("decalog/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(Duration::from_millis(CONNECT_MS_MAX)))
        .timeout_global(Some(Duration::from_millis(CALL_MS_MAX)))
        .tls_config(tls);
    config.build().into()
}

impl Client {
    /// Trusts these authorities, in DER.
    pub fn new(authorities: &[Vec<u8>]) -> Client {
        Client { agent: agent(authorities) }
    }

    /// Sends a message.
    pub fn send(&self, target: &str, message: &Message, now_ms: u64) -> Outcome {
        let mut request = self.agent.post(target).content_type("application/json");
        for (name, value) in &message.headers {
            request = request.header(*name, value);
        }
        let mut response = match request.send(&message.body[..]) {
            Ok(response) => response,
            Err(error) => return Outcome::Failed { why: why(&error), retry_after_ms: None },
        };
        let status = response.status().as_u16();
        let asked = response.headers().get(header::RETRY_AFTER);
        let retry_after_ms =
            asked.and_then(|text| text.to_str().ok()).and_then(|text| retry_after_ms(text, now_ms));
        // Read, so that the connection serves again; what it says is nobody's business.
        let _ = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        match status {
            200..300 => Outcome::Taken,
            300..400 => Outcome::Failed {
                why: format!("it sends elsewhere ({status}), and redirects are not followed"),
                retry_after_ms,
            },
            400 | 413 | 422 => Outcome::Refused(format!("it refuses the message ({status})")),
            _ => Outcome::Failed { why: format!("it answered {status}"), retry_after_ms },
        }
    }
}

/// Why there was no answer; never with the address, which may hold a secret.
pub fn why(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => format!("it did not answer within {} s", CALL_MS_MAX / 1_000),
        ureq::Error::HostNotFound => "its host is not known".into(),
        ureq::Error::ConnectionFailed => "no connection to it".into(),
        ureq::Error::Io(error) => format!("no connection to it: {}", error.kind()),
        ureq::Error::Tls(why) => format!("TLS: {why}"),
        ureq::Error::Rustls(error) => format!("TLS: {error}"),
        _ => "its answer is not understood".into(),
    }
}
