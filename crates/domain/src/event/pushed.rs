//! What a version is made of, as the event that made it says.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::VersionNumber;
use crate::manifest::{Manifest, Runtime};
use crate::provenance::Provenance;
use crate::tree::Tree;
use crate::trust::Signature;

/// A version that came into being.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct VersionPushed {
    /// Its number.
    pub version: VersionNumber,
    /// Its identity: over tree, manifest and lock.
    pub digest: Digest,
    /// Its files.
    pub tree: Tree,
    /// As written; what was absent is absent here too.
    pub manifest: Manifest,
    /// As written or inferred.
    pub runtime: Runtime,
    /// What holds the model: `model.py`, `model.onnx`, …; absent for a command.
    pub file: Option<String>,
    /// The packages that it runs with; `None` if it needs none of Decalog's making.
    pub lock: Option<Lock>,
    /// Where it comes from.
    pub provenance: Provenance,
    /// Who signed it, and whether that counted; absent if nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

/// The exact packages of an environment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Lock {
    /// Of the lock's text, which is an artifact.
    pub digest: Digest,
    /// Of what it was resolved from: requirement files, Python version, index.
    pub inputs: Digest,
    /// The interpreter, as `3.11`.
    pub python: String,
    /// `name==version`, sorted.
    pub packages: Vec<String>,
}
