//! The document in which an issuer says what it is and where (OpenID Connect Discovery 1.0).

use domain::problem::excerpt;
use serde::Deserialize;
use url::Url;

use super::OidcError;
use super::address::Issuer;
use super::asking::{Asking, wrong};

/// As it comes; only `issuer` and `jwks_uri` are there for every issuer.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    userinfo_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// What an issuer says of itself.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// Where its keys are.
    pub keys: Url,
    /// Where browsers are sent; none with issuers that nobody logs in with.
    pub authorization: Option<Url>,
    /// Where a code is exchanged.
    pub token: Option<Url>,
    /// Where more about who logged in is asked.
    pub userinfo: Option<Url>,
    /// How a client may prove who it is; none if it does not say.
    pub client_authentication: Option<Vec<String>>,
    /// Whether it says `iss` when a browser comes back (RFC 9207).
    pub says_issuer: bool,
}

impl Metadata {
    /// Asks the issuer.
    pub fn ask(asking: &Asking, issuer: &Issuer) -> Result<Metadata, OidcError> {
        let url = issuer.document();
        let answer = asking.get(issuer.as_str(), &issuer.named("issuer", &url)?, None)?;
        if answer.status != 200 {
            let why = format!("it answers {} at {url}", answer.status);
            return Err(wrong(issuer.as_str(), why));
        }
        let document: Document = answer.json(issuer.as_str(), "its openid-configuration")?;
        if document.issuer != issuer.as_str() {
            return Err(OidcError::OtherIssuer {
                issuer: issuer.as_str().into(),
                itself: excerpt(&document.issuer).into(),
            });
        }
        let named = |what, url: Option<String>| url.map(|url| issuer.named(what, &url)).transpose();
        Ok(Metadata {
            keys: issuer.named("jwks_uri", &document.jwks_uri)?,
            authorization: named("authorization_endpoint", document.authorization_endpoint)?,
            token: named("token_endpoint", document.token_endpoint)?,
            userinfo: named("userinfo_endpoint", document.userinfo_endpoint)?,
            client_authentication: document.token_endpoint_auth_methods_supported,
            says_issuer: document.authorization_response_iss_parameter_supported,
        })
    }
}
