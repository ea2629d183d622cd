//! What the operator names beside the data directory: keys that are kept elsewhere, and a vault that
//! secrets may be read from.

use std::fmt;

use domain::{Code, Problem};
use vault::{Reference, TransitKey, Vault};

use super::elsewhere::{GivenKey, VaultKey};
use super::key::KeyProvider;
use super::seal::SecretKey;

/// Where a key comes from that wraps the keys of secrets.
#[derive(Clone)]
pub enum KeySource {
    /// Files of the data directory.
    Files,
    /// It was handed to this process.
    Given {
        /// As a user calls it.
        name: String,
        /// The key.
        key: SecretKey,
    },
    /// A vault wraps with it.
    Vault {
        /// The vault.
        vault: Vault,
        /// The key.
        key: TransitKey,
    },
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeySource::Files => f.write_str("file"),
            KeySource::Given { name, .. } => write!(f, "credential:{name}"),
            KeySource::Vault { vault, key } => write!(f, "transit:{}/{key}", vault.address()),
        }
    }
}

impl KeySource {
    /// What wraps with it; the files are there in any case.
    pub(super) fn provider(&self) -> Option<Box<dyn KeyProvider>> {
        match self.clone() {
            KeySource::Files => None,
            KeySource::Given { name, key } => Some(Box::new(GivenKey::new(name, key))),
            KeySource::Vault { vault, key } => Some(Box::new(VaultKey::new(vault, key))),
        }
    }
}

/// A vault that secrets may be read from, and where in it.
#[derive(Clone, Debug)]
pub struct References {
    /// The vault.
    pub vault: Vault,
    /// Only what is below one of these.
    pub prefixes: Vec<String>,
}

/// All that is named.
#[derive(Clone, Debug, Default)]
pub struct SecretSources {
    /// The first wraps, the others only unwrap; the files of the data directory are always there.
    pub keys: Vec<KeySource>,
    /// Without it no secret may be a reference.
    pub references: Option<References>,
}

impl SecretSources {
    /// The vault that a reference may be read from.
    pub fn vault_of(&self, reference: &str) -> Result<(&Vault, Reference), Problem> {
        let bad = |text: String| Problem::new(Code::BadVariable, text);
        let reference: Reference = reference
            .parse()
            .map_err(|error| bad(error).help("as vault:kv/data/churn#password"))?;
        let references = self.references.as_ref().ok_or_else(|| {
            bad("this server reads no secrets from a vault".into()).help(
                "whoever runs it can allow it: decalog up --vault-url URL --vault-path-prefix PATH",
            )
        })?;
        if !references.prefixes.iter().any(|prefix| reference.is_below(prefix)) {
            return Err(bad(format!("{reference} is not below what may be read from the vault"))
                .help(format!("it must be below {}", references.prefixes.join(" or "))));
        }
        Ok((&references.vault, reference))
    }
}
