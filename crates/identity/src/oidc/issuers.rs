//! Tokens that platforms give to the jobs they run, to be exchanged for one of this server
//! (RFC 8693).

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use super::OidcError;
use super::address::Issuer;
use super::asking::Asking;
use super::source::Source;
use super::token::{self, Expected};

/// The most issuers that are known at a time; one more and all are asked anew.
const ISSUERS_MAX: usize = 256;

/// What a job's token says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobClaims {
    /// Whose it is.
    pub issuer: String,
    /// Its claims that are texts, numbers or booleans, as text; those of a Kubernetes token below
    /// `kubernetes.io` are not.
    pub claims: BTreeMap<String, String>,
    /// Its own id, if it has one (`jti`).
    pub id: Option<String>,
    /// Until when it is good, in seconds since 1970.
    pub expires_s: u64,
}

/// Those whose tokens jobs bring along, and their keys.
pub struct Issuers {
    asking: Asking,
    sources: Mutex<HashMap<String, Arc<Source>>>,
}

impl Issuers {
    /// Trusts the authorities of this machine and those in a file, in PEM, read once.
    pub fn new(roots: Option<PathBuf>) -> Result<Issuers, OidcError> {
        Ok(Issuers { asking: Asking::new(roots.as_deref())?, sources: Mutex::default() })
    }

    /// Whose a token says that it is. Nothing proves it: it is for finding out which issuer to name
    /// to [`Issuers::verify`], among those that the operator trusts.
    pub fn issuer_of(token: &str) -> Result<String, OidcError> {
        token::issuer_of(token)
    }

    /// What a token says, if it is of this issuer, for this audience, and good now (in seconds
    /// since 1970). The issuer must be one that the operator trusts: it is asked for its keys.
    pub fn verify(
        &self,
        token: &str,
        issuer: &str,
        audience: &str,
        now_s: u64,
    ) -> Result<JobClaims, OidcError> {
        let source = self.source(issuer)?;
        let claims = token::verify(token, &source, &Expected { audience, now_s })?;
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(is_true) => Some(is_true.to_string()),
            _ => None,
        };
        Ok(JobClaims {
            issuer: issuer.into(),
            id: claims.get("jti").and_then(text),
            expires_s: token::expires_s(&claims)?,
            claims: claims
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), text(value)?)))
                .collect(),
        })
    }

    fn source(&self, issuer: &str) -> Result<Arc<Source>, OidcError> {
        let mut sources = self.sources.lock();
        if let Some(source) = sources.get(issuer) {
            return Ok(source.clone());
        }
        let source = Arc::new(Source::new(Issuer::parse(issuer)?, self.asking.clone()));
        if sources.len() >= ISSUERS_MAX {
            sources.clear();
        }
        sources.insert(issuer.into(), source.clone());
        Ok(source)
    }
}
