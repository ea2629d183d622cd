//! Trust: the keys whose signatures of models count in a project, and what the signature of a version
//! said. Reading and checking signatures is the business of the crate `signing`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::KeyName;

/// The file of a model directory that holds its signature.
pub const SIGNATURE_FILE: &str = "model.sig";
/// So many keys a project may trust.
pub const TRUSTED_KEYS_MAX: usize = 64;

/// A curve of keys that sign with ECDSA, each with the hash that goes with it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Curve {
    /// NIST P-256, with SHA-256.
    P256,
    /// NIST P-384, with SHA-384.
    P384,
    /// NIST P-521, with SHA-512.
    P521,
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Curve::P256 => "ECDSA P-256",
            Curve::P384 => "ECDSA P-384",
            Curve::P521 => "ECDSA P-521",
        })
    }
}

/// A public key whose signatures count.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TrustedKey {
    /// The SHA-256 of its PEM text, by which signatures name it.
    pub id: Digest,
    /// Whose it is, as people call it.
    pub name: KeyName,
    /// Of what kind it is.
    pub curve: Curve,
    /// The key itself, as PEM.
    pub pem: String,
}

impl fmt::Display for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.id.short())
    }
}

/// What the signature of a version said when it was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Signature {
    /// The key that it names; absent if it names none that Decalog can check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
    /// What the key was called by the project, which trusted it; absent if it did not. Only then was
    /// the signature checked, and right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_as: Option<KeyName>,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.key, &self.trusted_as) {
            (Some(key), Some(name)) => write!(f, "signed by {name} ({})", key.short()),
            (Some(key), None) => write!(f, "signed by {}, which is not trusted", key.short()),
            _ => f.write_str("signed by nobody who can be trusted"),
        }
    }
}
