//! The keys that an issuer publishes (RFC 7517), and which of them a token may be signed by. What a
//! key is says by which algorithms it verifies: a token chooses among those, and never another
//! kind.

use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::OidcError;
use super::address::Issuer;
use super::asking::{Asking, wrong};
use super::metadata::Metadata;

/// The most keys that an issuer may publish.
const KEYS_MAX: usize = 64;

/// As it comes.
#[derive(Deserialize)]
struct Published {
    keys: Vec<Value>,
}

/// A key as it comes. Symmetric keys have none of these parameters and are never taken.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// A key that verifies signatures.
pub struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

impl Key {
    /// What verifies.
    pub fn decoding(&self) -> &DecodingKey {
        &self.key
    }

    /// None for what does not verify signatures, or not in a way that is known here.
    fn of(jwk: Jwk) -> Option<Key> {
        let verifies = jwk.key_ops.is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !verifies || jwk.purpose.is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        use Algorithm::*;
        let curve = jwk.crv.as_deref();
        let (algorithms, key) = match (jwk.kty.as_str(), curve) {
            ("RSA", None) => (
                vec![RS256, RS384, RS512, PS256, PS384, PS512],
                DecodingKey::from_rsa_components(&jwk.n?, &jwk.e?),
            ),
            ("EC", Some("P-256")) => {
                (vec![ES256], DecodingKey::from_ec_components(&jwk.x?, &jwk.y?))
            }
            ("EC", Some("P-384")) => {
                (vec![ES384], DecodingKey::from_ec_components(&jwk.x?, &jwk.y?))
            }
            ("OKP", Some("Ed25519")) => (vec![EdDSA], DecodingKey::from_ed_components(&jwk.x?)),
            _ => return None,
        };
        let algorithms = match jwk.alg.as_deref() {
            None => algorithms,
            Some(only) => algorithms.into_iter().filter(|one| only == name(*one)).collect(),
        };
        Some(Key { id: jwk.kid, algorithms, key: key.ok()? })
    }
}

/// An algorithm as a header has it; none for those that nothing here is verified by.
pub fn algorithm(name: &str) -> Option<Algorithm> {
    name.parse().ok().filter(|algorithm| !self::name(*algorithm).is_empty())
}

/// The name of an algorithm that a public key verifies by; empty for any other.
fn name(algorithm: Algorithm) -> &'static str {
    use Algorithm::*;
    match algorithm {
        RS256 => "RS256",
        RS384 => "RS384",
        RS512 => "RS512",
        PS256 => "PS256",
        PS384 => "PS384",
        PS512 => "PS512",
        ES256 => "ES256",
        ES384 => "ES384",
        EdDSA => "EdDSA",
        _ => "",
    }
}

/// What an issuer publishes.
pub struct Keys(Vec<Key>);

impl Keys {
    /// Asks the issuer. A key of a kind that is not known here is passed over.
    pub fn ask(asking: &Asking, issuer: &Issuer, at: &Metadata) -> Result<Keys, OidcError> {
        let answer = asking.get(issuer.as_str(), &at.keys, None)?;
        if answer.status != 200 {
            let why = format!("it answers {} at {}", answer.status, at.keys);
            return Err(wrong(issuer.as_str(), why));
        }
        let published: Published = answer.json(issuer.as_str(), "what it publishes as keys")?;
        let count = published.keys.len();
        if count > KEYS_MAX {
            let why = format!("it publishes {count} keys, and {KEYS_MAX} are the most");
            return Err(wrong(issuer.as_str(), why));
        }
        let known = published.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
        let keys: Vec<Key> = known.filter_map(Key::of).collect();
        if keys.is_empty() {
            return Err(wrong(issuer.as_str(), "it publishes no key that verifies signatures"));
        }
        Ok(Keys(keys))
    }

    /// The key that a header means: the one of that id, or the only one of its kind where the
    /// header names none.
    pub fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&Key> {
        let mut suitable = self.0.iter().filter(|key| key.algorithms.contains(&algorithm));
        match id {
            Some(id) => suitable.find(|key| key.id.as_deref() == Some(id)),
            None => suitable.next().filter(|_| suitable.next().is_none()),
        }
    }
}
