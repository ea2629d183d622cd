//! A signed token (RFC 7519), and what must hold before anything in it is believed: its signature
//! by a key of its issuer, who it is of, who it is for, and when (RFC 8725).

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use domain::problem::excerpt;
use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::OidcError;
use super::keys::{Key, algorithm};
use super::source::{Known, Source};

/// The longest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 32 << 10;
/// How far clocks may differ, in seconds.
pub const LEEWAY_S: u64 = 60;

/// What a token says, by name.
pub type Claims = Map<String, Value>;

/// Who and when a token must be of.
pub struct Expected<'a> {
    /// Who it must be for.
    pub audience: &'a str,
    /// In seconds since 1970.
    pub now_s: u64,
}

/// What is read of a header. Where it offers a key itself (`jwk`, `jku`, `x5c`, `x5u`), nobody
/// looks.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

/// What is read of a token to find out whose it could be.
#[derive(Deserialize)]
struct Of {
    iss: String,
}

/// Whose a token says that it is, which nothing proves yet.
pub fn issuer_of(token: &str) -> Result<String, OidcError> {
    let [_, claims, _] = parts(token)?;
    let of: Of = json(claims, "it does not say its issuer")?;
    Ok(of.iss)
}

/// What a token of an issuer says, all of it proven.
pub fn verify(token: &str, source: &Source, expected: &Expected<'_>) -> Result<Claims, OidcError> {
    let [header, ..] = parts(token)?;
    let header: Header = json(header, "its header cannot be read")?;
    if header.crit.is_some() {
        return Err(OidcError::Malformed("it demands extensions that are not known here"));
    }
    // Tokens for another purpose say so, as `at+jwt`, `logout+jwt`.
    if header.typ.as_ref().is_some_and(|kind| kind.contains('+')) {
        return Err(OidcError::Malformed("it is of a kind that does not say who somebody is"));
    }
    let algorithm =
        algorithm(&header.alg).ok_or_else(|| OidcError::Algorithm(excerpt(&header.alg).into()))?;
    let known = source.known(expected.now_s)?;
    let claims = match signed(token, &known, &header, algorithm) {
        // It may be a key that is newer than what is known.
        Err(Unproven::Key) => {
            let newer = source.newer(&known, expected.now_s)?;
            match Arc::ptr_eq(&newer, &known) {
                true => Err(Unproven::Key),
                false => signed(token, &newer, &header, algorithm),
            }
        }
        other => other,
    };
    let issuer = source.issuer().as_str();
    let claims = claims.map_err(|unproven| match unproven {
        Unproven::Key => OidcError::Key { issuer: issuer.into() },
        Unproven::Signature => OidcError::Signature,
        Unproven::Claims => OidcError::Malformed("its claims cannot be read"),
    })?;
    if claims.get("iss").and_then(Value::as_str) != Some(issuer) {
        return Err(OidcError::TokenIssuer { issuer: issuer.into() });
    }
    is_for(&claims, expected.audience)?;
    is_current(&claims, expected.now_s)?;
    Ok(claims)
}

/// Header, claims and signature, still encoded.
fn parts(token: &str) -> Result<[&str; 3], OidcError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(OidcError::Malformed("it is too long"));
    }
    let mut parts = token.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(header), Some(claims), Some(signature), None) => Ok([header, claims, signature]),
        _ => Err(OidcError::Malformed("it has not three parts")),
    }
}

fn json<T: DeserializeOwned>(part: &str, why: &'static str) -> Result<T, OidcError> {
    let text = BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| OidcError::Malformed(why))?;
    serde_json::from_slice(&text).map_err(|_| OidcError::Malformed(why))
}

enum Unproven {
    Key,
    Signature,
    Claims,
}

/// What a token says that a key of its issuer signed.
fn signed(
    token: &str,
    known: &Known,
    header: &Header,
    algorithm: Algorithm,
) -> Result<Claims, Unproven> {
    let id = header.kid.as_deref();
    let key: &Key = known.keys.find(id, algorithm).ok_or(Unproven::Key)?;
    let mut signature_alone = Validation::new(algorithm);
    signature_alone.required_spec_claims.clear();
    signature_alone.validate_exp = false;
    signature_alone.validate_aud = false;
    use jsonwebtoken::errors::ErrorKind;
    match jsonwebtoken::decode::<Claims>(token, key.decoding(), &signature_alone) {
        Ok(token) => Ok(token.claims),
        Err(error) => Err(match error.kind() {
            // Without an id the key that is known may be the one before.
            ErrorKind::InvalidSignature if id.is_none() => Unproven::Key,
            ErrorKind::Json(_) | ErrorKind::Utf8(_) => Unproven::Claims,
            _ => Unproven::Signature,
        }),
    }
}

fn is_for(claims: &Claims, audience: &str) -> Result<(), OidcError> {
    let ours = |value: &Value| value.as_str() == Some(audience);
    let (is_ours, are_several) = match claims.get("aud") {
        Some(Value::Array(several)) => (several.iter().any(ours), several.len() > 1),
        Some(one) => (ours(one), false),
        None => (false, false),
    };
    if !is_ours {
        return Err(OidcError::Audience { audience: audience.into() });
    }
    match are_several && !claims.get("azp").is_some_and(ours) {
        true => Err(OidcError::Party { audience: audience.into() }),
        false => Ok(()),
    }
}

fn is_current(claims: &Claims, now_s: u64) -> Result<(), OidcError> {
    let expires_s = expires_s(claims)?;
    if expires_s.saturating_add(LEEWAY_S) <= now_s {
        return Err(OidcError::Expired { ago_s: now_s - expires_s });
    }
    for name in ["nbf", "iat"] {
        let from_s = time_s(claims, name)?.unwrap_or(0);
        if from_s > now_s.saturating_add(LEEWAY_S) {
            return Err(OidcError::NotYet { in_s: from_s - now_s });
        }
    }
    Ok(())
}

/// Until when a token is good, in seconds since 1970.
pub fn expires_s(claims: &Claims) -> Result<u64, OidcError> {
    time_s(claims, "exp")?.ok_or(OidcError::Malformed("it does not say when it expires"))
}

/// A time, in whole seconds since 1970. It may have been written with a fraction.
fn time_s(claims: &Claims, name: &str) -> Result<Option<u64>, OidcError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let whole = || value.as_f64().filter(|time_s| *time_s >= 0.0).map(|time_s| time_s as u64);
    match value.as_u64().or_else(whole) {
        Some(time_s) => Ok(Some(time_s)),
        None => Err(OidcError::Malformed("it has a time that is none")),
    }
}
