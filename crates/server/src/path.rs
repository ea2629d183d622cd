//! What the paths of endpoints name.

use std::str::FromStr;

use domain::{
    Digest, EnvironmentName, ModelKey, ModelName, ProjectName, ReceiverName, TokenId, VersionNumber,
};
use schemars::JsonSchema;

use crate::ApiError;
use crate::error::no_such_action;
use crate::extract::{FromPath, Segments};

/// A version as it is written: `v` and its number.
#[derive(JsonSchema)]
#[schemars(inline, transparent, extend("pattern" = "^v[0-9]+$", "examples" = ["v3"]))]
pub struct VersionText(#[expect(dead_code, reason = "it only describes")] String);

/// The name of an upload.
#[derive(JsonSchema)]
#[schemars(inline, transparent, extend("pattern" = "^[A-Za-z0-9-]{0,64}$"))]
pub struct UploadText(#[expect(dead_code, reason = "it only describes")] String);

/// A model.
#[derive(JsonSchema)]
pub struct ModelPath {
    /// Its project.
    project: ProjectName,
    /// Its name.
    model: ModelName,
}

impl ModelPath {
    /// The model and its project.
    pub fn key(self) -> ModelKey {
        ModelKey { project: self.project, model: self.model }
    }
}

impl FromPath for ModelPath {
    fn from_path(segments: &Segments) -> Result<ModelPath, ApiError> {
        Ok(ModelPath { project: segments.name("project")?, model: segments.name("model")? })
    }
}

/// A version of a model.
#[derive(JsonSchema)]
pub struct VersionPath {
    #[schemars(flatten)]
    pub model: ModelPath,
    /// Its number.
    #[schemars(with = "VersionText")]
    pub version: VersionNumber,
}

impl FromPath for VersionPath {
    fn from_path(segments: &Segments) -> Result<VersionPath, ApiError> {
        let model = ModelPath::from_path(segments)?;
        Ok(VersionPath { model, version: segments.name("version")? })
    }
}

/// What can be done with a release.
#[derive(Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(inline, rename_all = "snake_case")]
pub enum Action {
    /// It stays where it is.
    Pause,
    /// It goes on.
    Resume,
    /// It ends, and all traffic goes where it went before.
    Abort,
}

impl FromStr for Action {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Action, ApiError> {
        match text {
            "pause" => Ok(Action::Pause),
            "resume" => Ok(Action::Resume),
            "abort" => Ok(Action::Abort),
            _ => Err(no_such_action(text)),
        }
    }
}

/// Something to do with a model's release.
#[derive(JsonSchema)]
pub struct ActionPath {
    #[schemars(flatten)]
    pub model: ModelPath,
    /// What.
    pub action: Action,
}

impl FromPath for ActionPath {
    fn from_path(segments: &Segments) -> Result<ActionPath, ApiError> {
        let model = ModelPath::from_path(segments)?;
        Ok(ActionPath { model, action: segments.text("action").parse()? })
    }
}

/// An environment of a project.
#[derive(JsonSchema)]
pub struct EnvironmentPath {
    /// The project.
    pub project: ProjectName,
    /// The environment.
    pub environment: EnvironmentName,
}

impl FromPath for EnvironmentPath {
    fn from_path(segments: &Segments) -> Result<EnvironmentPath, ApiError> {
        let project = segments.name("project")?;
        Ok(EnvironmentPath { project, environment: segments.name("environment")? })
    }
}

/// A project.
#[derive(JsonSchema)]
pub struct ProjectPath {
    /// The project.
    pub project: ProjectName,
}

impl FromPath for ProjectPath {
    fn from_path(segments: &Segments) -> Result<ProjectPath, ApiError> {
        Ok(ProjectPath { project: segments.name("project")? })
    }
}

/// A key that a project trusts.
#[derive(JsonSchema)]
pub struct TrustedKeyPath {
    #[schemars(flatten)]
    pub of: ProjectPath,
    /// The SHA-256 of the key's PEM text.
    pub id: Digest,
}

impl FromPath for TrustedKeyPath {
    fn from_path(segments: &Segments) -> Result<TrustedKeyPath, ApiError> {
        let of = ProjectPath::from_path(segments)?;
        Ok(TrustedKeyPath { of, id: segments.name("id")? })
    }
}

/// A variable of an environment.
#[derive(JsonSchema)]
pub struct VariablePath {
    #[schemars(flatten)]
    pub of: EnvironmentPath,
    /// The variable: letters, digits and `_`; names that begin with `DECALOG_` are Decalog's own.
    pub name: String,
}

impl FromPath for VariablePath {
    fn from_path(segments: &Segments) -> Result<VariablePath, ApiError> {
        let of = EnvironmentPath::from_path(segments)?;
        Ok(VariablePath { of, name: segments.text("name").into() })
    }
}

/// Somebody.
#[derive(JsonSchema)]
pub struct NamePath {
    /// Their name, or their id as in `person:1f0c9a2b33d4e5f6`.
    pub name: String,
}

impl FromPath for NamePath {
    fn from_path(segments: &Segments) -> Result<NamePath, ApiError> {
        Ok(NamePath { name: segments.text("name").into() })
    }
}

/// A receiver of alarms.
#[derive(JsonSchema)]
pub struct ReceiverPath {
    /// Its name.
    pub name: ReceiverName,
}

impl FromPath for ReceiverPath {
    fn from_path(segments: &Segments) -> Result<ReceiverPath, ApiError> {
        Ok(ReceiverPath { name: segments.name("name")? })
    }
}

/// A token.
#[derive(JsonSchema)]
pub struct TokenPath {
    /// Its id.
    pub id: TokenId,
}

impl FromPath for TokenPath {
    fn from_path(segments: &Segments) -> Result<TokenPath, ApiError> {
        Ok(TokenPath { id: segments.name("id")? })
    }
}

/// A proposal.
#[derive(JsonSchema)]
pub struct ProposalPath {
    /// Its number.
    pub id: u64,
}

impl FromPath for ProposalPath {
    fn from_path(segments: &Segments) -> Result<ProposalPath, ApiError> {
        Ok(ProposalPath { id: segments.name("id")? })
    }
}

/// A blob.
#[derive(JsonSchema)]
pub struct BlobPath {
    /// Of its content.
    pub digest: Digest,
}

impl FromPath for BlobPath {
    fn from_path(segments: &Segments) -> Result<BlobPath, ApiError> {
        Ok(BlobPath { digest: segments.name("digest")? })
    }
}
