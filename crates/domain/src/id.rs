//! Names and identifiers, each a type of its own, parsed once at the edge.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::problem::excerpt;

/// The longest name of a project, model or environment, in characters.
pub const NAME_CHARS_MAX: usize = 63;

/// What such a name matches.
const NAME_PATTERN: &str = "^[a-z0-9][a-z0-9._-]{0,62}$";

/// A name that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not `[a-z0-9]([a-z0-9-_.]*)` or too long.
    #[error(
        "`{0}` is no {1} name: use 1 to 63 of a-z, 0-9, '-', '_', '.', beginning with a letter or a digit"
    )]
    Form(String, &'static str),
    /// An environment that would read as a version or a digest.
    #[error("an environment cannot be called `{0}`: that reads as a version or a digest")]
    LooksLikeVersion(String),
}

fn form(text: &str, what: &'static str) -> NameError {
    NameError::Form(excerpt(text).into_owned(), what)
}

fn check_name(text: &str, what: &'static str) -> Result<(), NameError> {
    let letters = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fits = !text.is_empty()
        && text.len() <= NAME_CHARS_MAX
        && letters(text.as_bytes()[0])
        && text.bytes().all(|c| letters(c) || matches!(c, b'-' | b'_' | b'.'));
    if fits { Ok(()) } else { Err(form(text, what)) }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(extend("pattern" = NAME_PATTERN))]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str { &self.0 }
        }
        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> { $type::try_from(text.to_string()) }
        }
        impl From<$type> for String {
            fn from(name: $type) -> String { name.0 }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
    };
}

name!(
    /// A namespace of models.
    ProjectName, "project");
name!(
    /// A name that traffic goes to.
    ModelName, "model");
name!(
    /// A stage with its own routes, configuration and secrets.
    EnvironmentName, "environment");
name!(
    /// What a key that a project trusts is called.
    KeyName, "key");

impl TryFrom<String> for ProjectName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        check_name(&text, "project").map(|()| ProjectName(text))
    }
}

impl TryFrom<String> for ModelName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        check_name(&text, "model").map(|()| ModelName(text))
    }
}

impl TryFrom<String> for EnvironmentName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        check_name(&text, "environment")?;
        let is_version = text
            .strip_prefix('v')
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|c| c.is_ascii_digit()));
        let is_digest = text.len() >= 12 && text.bytes().all(|c| c.is_ascii_hexdigit());
        if is_version || is_digest {
            Err(NameError::LooksLikeVersion(text))
        } else {
            Ok(EnvironmentName(text))
        }
    }
}

impl TryFrom<String> for KeyName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        check_name(&text, "key").map(|()| KeyName(text))
    }
}

impl Default for ProjectName {
    fn default() -> Self {
        ProjectName("default".into())
    }
}

impl Default for EnvironmentName {
    fn default() -> Self {
        EnvironmentName("production".into())
    }
}

/// A model within its project: `default/churn`. The subject of its events.
#[derive(
    Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend(
    "pattern" = "^[a-z0-9][a-z0-9._-]{0,62}/[a-z0-9][a-z0-9._-]{0,62}$",
    "examples" = ["default/churn"],
))]
pub struct ModelKey {
    /// Its project.
    pub project: ProjectName,
    /// Its name.
    pub model: ModelName,
}

impl fmt::Display for ModelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.model)
    }
}

impl From<ModelKey> for String {
    fn from(key: ModelKey) -> String {
        key.to_string()
    }
}

impl FromStr for ModelKey {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (project, model) = text.split_once('/').ok_or_else(|| form(text, "project/model"))?;
        Ok(ModelKey { project: project.parse()?, model: model.parse()? })
    }
}

impl TryFrom<String> for ModelKey {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

/// The number of a version within its model, written `v3`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct VersionNumber(pub u32);

impl fmt::Display for VersionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl fmt::Debug for VersionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl FromStr for VersionNumber {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let digits = text
            .strip_prefix('v')
            .filter(|d| !d.is_empty() && d.bytes().all(|c| c.is_ascii_digit()));
        let number = digits.and_then(|d| d.parse().ok()).filter(|n| *n > 0);
        number.map(VersionNumber).ok_or_else(|| form(text, "version"))
    }
}

/// A version in an environment under one configuration revision, written
/// `default/churn@production/v3.r0`. Queues, replicas, parents, leases and metrics are keyed by it,
/// so that what ran under the same name and number with other content is never taken for it.
#[derive(
    Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema,
)]
pub struct Placement {
    /// The model and its project.
    pub model: ModelKey,
    /// Where it runs.
    pub environment: EnvironmentName,
    /// What runs.
    pub version: VersionNumber,
    /// The version's identity; absent in what was written before placements had one, and of a
    /// version that is gone.
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub digest: Digest,
    /// The revision of the environment's variables and secrets that it was started with.
    pub revision: u32,
}

fn is_unknown(digest: &Digest) -> bool {
    *digest == Digest::ZERO
}

impl Placement {
    /// Whether both are the same version in the same environment, under whatever variables. One
    /// whose digest is not known is taken at its number.
    pub fn is_same_version(&self, other: &Placement) -> bool {
        (&self.model, &self.environment, self.version)
            == (&other.model, &other.environment, other.version)
            && (self.digest == other.digest
                || is_unknown(&self.digest)
                || is_unknown(&other.digest))
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}/{}.r{}", self.model, self.environment, self.version, self.revision)
    }
}

/// One attempt to take a version live: the sequence number of the event that started it.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct DeploymentId(pub u64);

/// One running copy of a placement; unique for the life of a data directory.
#[derive(
    Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct ReplicaId(pub String);

impl ReplicaId {
    /// The `count`-th that a writer of the ledger starts: no id is used twice in the life of a data
    /// directory.
    pub fn of(writer_epoch: u64, count: u64) -> ReplicaId {
        ReplicaId(format!("r{writer_epoch}-{count}"))
    }

    /// Larger for those that were started later.
    pub fn order(&self) -> (u64, u64) {
        let parts = self.0.strip_prefix('r').and_then(|parts| parts.split_once('-'));
        let number = |text: &str| text.parse().unwrap_or(0);
        parts.map_or((0, 0), |(epoch, count)| (number(epoch), number(count)))
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["churn", "a", "0day", "my-model_2.1"] {
            assert!(good.parse::<ModelName>().is_ok(), "{good}");
        }
        for bad in ["", "Churn", "-x", "a/b", "a@b", "..", &"x".repeat(64)] {
            assert!(bad.parse::<ModelName>().is_err(), "{bad}");
        }
        assert!("v12".parse::<EnvironmentName>().is_err());
        assert!("0123456789ab".parse::<EnvironmentName>().is_err());
        assert!("vienna".parse::<EnvironmentName>().is_ok());
        assert_eq!("v12".parse::<VersionNumber>().unwrap(), VersionNumber(12));
        assert!("v0".parse::<VersionNumber>().is_err());
    }
}
