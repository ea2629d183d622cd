//! Where an issuer is, and what it may name: `https`, or `http` where both are this machine.

use domain::problem::excerpt;
use url::{Host, Url};

use super::OidcError;

/// The longest URL of an issuer or of what it names, in bytes.
const URL_BYTES_MAX: usize = 2_048;

/// Where the document about an issuer is, below its URL.
const DOCUMENT: &str = "/.well-known/openid-configuration";

/// The URL of an issuer, exactly as configured.
#[derive(Clone, Debug)]
pub struct Issuer {
    text: String,
    /// Whether it is this machine.
    is_here: bool,
}

impl Issuer {
    /// Refuses what may not be asked.
    pub fn parse(text: &str) -> Result<Issuer, OidcError> {
        let wrong = |why: String| OidcError::Issuer { issuer: excerpt(text).into(), why };
        let url = parse(text).map_err(wrong)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("it has a query or a fragment".into()));
        }
        let is_here = is_loopback(&url);
        if url.scheme() != "https" && !is_here {
            return Err(wrong("it is not https".into()));
        }
        Ok(Issuer { text: text.into(), is_here })
    }

    /// As configured.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where the document about it is.
    pub fn document(&self) -> String {
        format!("{}{DOCUMENT}", self.text.trim_end_matches('/'))
    }

    /// A URL that its document names as `what`.
    pub fn named(&self, what: &str, text: &str) -> Result<Url, OidcError> {
        let wrong = |why: String| OidcError::Answer {
            issuer: self.text.clone(),
            why: format!("its `{what}` `{}`: {why}", excerpt(text)),
        };
        let mut url = parse(text).map_err(wrong)?;
        if url.scheme() != "https" && !(self.is_here && is_loopback(&url)) {
            return Err(wrong("it is not https".into()));
        }
        url.set_fragment(None);
        Ok(url)
    }
}

fn parse(text: &str) -> Result<Url, String> {
    if text.len() > URL_BYTES_MAX {
        return Err(format!("it is longer than {URL_BYTES_MAX} bytes"));
    }
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    match url.scheme() {
        _ if !url.username().is_empty() || url.password().is_some() => {
            Err("it names a user".into())
        }
        "https" | "http" => Ok(url),
        other => Err(format!("it is {other}, not https")),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}
