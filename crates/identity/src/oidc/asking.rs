//! Asks an issuer over HTTP: JSON of bounded length within a bounded time, from the URL that is
//! named and no other.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::Agent;
use ureq::http::{Response, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider};
use url::Url;

use super::OidcError;
use crate::{is_unknown_server, provider, system_authorities};

/// How long connecting may take, in milliseconds.
const CONNECT_MS_MAX: u64 = 2_000;
/// How long one request may take with its answer, in milliseconds.
const REQUEST_MS_MAX: u64 = 5_000;
/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 256 << 10;

/// Asks over HTTP.
#[derive(Clone)]
pub struct Asking(Agent);

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asking")
    }
}

/// An answer: its status and what it holds.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    /// What it holds, as JSON.
    pub fn json<T: DeserializeOwned>(&self, issuer: &str, what: &str) -> Result<T, OidcError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            // The error itself may repeat what was sent.
            let place = format!("line {}, column {}", error.line(), error.column());
            wrong(issuer, format!("{what} is not the JSON that it should be ({place})"))
        })
    }
}

/// Says that an answer cannot be used.
pub fn wrong(issuer: &str, why: impl Into<String>) -> OidcError {
    OidcError::Answer { issuer: issuer.into(), why: why.into() }
}

impl Asking {
    /// Trusts the authorities of this machine and those in a file, in PEM, read once.
    pub fn new(roots: Option<&Path>) -> Result<Asking, OidcError> {
        let mut trusted: Vec<Certificate<'static>> =
            system_authorities().iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        if let Some(file) = roots {
            trusted.extend(certificates(file)?);
        }
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(provider())
            .root_certs(RootCerts::new_with_certs(&trusted))
            .build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_connect(Some(Duration::from_millis(CONNECT_MS_MAX)))
            .timeout_global(Some(Duration::from_millis(REQUEST_MS_MAX)))
            .tls_config(tls);
        Ok(Asking(config.build().into()))
    }

    /// Reads a document; with a bearer token, as whom that is for.
    pub fn get(&self, issuer: &str, url: &Url, bearer: Option<&str>) -> Result<Answer, OidcError> {
        let mut request = self.0.get(url.as_str()).header(header::ACCEPT, "application/json");
        if let Some(token) = bearer {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        whole(issuer, request.call())
    }

    /// Sends a form; with what it is authorized by.
    pub fn post(
        &self,
        issuer: &str,
        url: &Url,
        authorization: Option<&str>,
        form: &[(&str, &str)],
    ) -> Result<Answer, OidcError> {
        let mut request = self.0.post(url.as_str()).header(header::ACCEPT, "application/json");
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        whole(issuer, request.send_form(form.iter().copied()))
    }
}

fn whole(
    issuer: &str,
    sent: Result<Response<ureq::Body>, ureq::Error>,
) -> Result<Answer, OidcError> {
    let failed = |error: ureq::Error| match error {
        ureq::Error::BodyExceedsLimit(_) => {
            wrong(issuer, format!("it is longer than {ANSWER_BYTES_MAX} bytes"))
        }
        ureq::Error::Io(error) if is_unknown_server(&error) => {
            OidcError::Untrusted { issuer: issuer.into(), why: error.to_string() }
        }
        error => OidcError::Unreachable { issuer: issuer.into(), why: error.to_string() },
    };
    let mut response = sent.map_err(failed)?;
    let status = response.status().as_u16();
    if (300..400).contains(&status) {
        return Err(wrong(issuer, format!("it sends elsewhere ({status})")));
    }
    let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
    Ok(Answer { status, body: body.map_err(failed)? })
}

fn certificates(file: &Path) -> Result<Vec<Certificate<'static>>, OidcError> {
    let unusable = |why: String| OidcError::Roots { file: file.display().to_string(), why };
    let text = std::fs::read(file).map_err(|error| unusable(error.to_string()))?;
    let mut found = vec![];
    for item in ureq::tls::parse_pem(&text) {
        if let PemItem::Certificate(root) = item.map_err(|error| unusable(error.to_string()))? {
            found.push(root);
        }
    }
    if found.is_empty() {
        return Err(unusable("there is none in it".into()));
    }
    Ok(found)
}
