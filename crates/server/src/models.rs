//! Models: show, push, deploy, remove.

use axum::Json;
use axum::extract::State;
use control::Push;
use control::view::ModelView;
use domain::manifest::Configuration;
use domain::release::Plan;
use domain::{DeploymentId, Digest, EnvironmentName, ModelKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::bad_name;
use crate::extract::{Body, By, Path};
use crate::path::{ModelPath, VersionPath, VersionText};
use crate::{Api, ApiError};

pub use crate::listing::list;
pub use crate::logs::logs;

/// What a push gives.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Pushed {
    /// As `v3`.
    #[schemars(with = "VersionText")]
    pub version: String,
    /// Its identity.
    pub digest: Digest,
    /// Whether it was made now.
    pub new: bool,
}

/// A request for a deployment.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeploymentRequest {
    /// As `v3`.
    #[schemars(with = "VersionText")]
    pub version: String,
    /// `production` if absent.
    #[serde(default)]
    pub environment: EnvironmentName,
    /// How the traffic moves; at once if unsaid.
    #[serde(default)]
    pub plan: Plan,
    /// What the environment's configuration becomes; it stays if unsaid.
    #[serde(default)]
    pub configuration: Option<Configuration>,
}

/// The deployment that was started.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentStarted {
    /// The attempt: the number of the event that started it.
    pub deployment: DeploymentId,
}

/// A model that is gone.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ModelRemoved {
    /// The model.
    pub removed: ModelKey,
}

/// A version that is gone.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct VersionRemoved {
    /// The model.
    pub removed: ModelKey,
    /// As `v3`.
    #[schemars(with = "VersionText")]
    pub version: String,
}

pub async fn show(
    State(api): State<Api>,
    Path(path): Path<ModelPath>,
) -> Result<Json<ModelView>, ApiError> {
    Ok(Json(api.control.show(&path.key()).await?))
}

pub async fn remove(
    State(api): State<Api>,
    Path(path): Path<ModelPath>,
    By(caller): By,
) -> Result<Json<ModelRemoved>, ApiError> {
    let key = path.key();
    api.control.remove(&caller, &key).await?;
    Ok(Json(ModelRemoved { removed: key }))
}

pub async fn push(
    State(api): State<Api>,
    Path(path): Path<ModelPath>,
    By(caller): By,
    Body(push): Body<Push>,
) -> Result<Json<Pushed>, ApiError> {
    let (version, digest, new) = api.control.push(&caller, &path.key(), push).await?;
    Ok(Json(Pushed { version: version.to_string(), digest, new }))
}

pub async fn deploy(
    State(api): State<Api>,
    Path(path): Path<ModelPath>,
    By(caller): By,
    Body(request): Body<DeploymentRequest>,
) -> Result<Json<DeploymentStarted>, ApiError> {
    let version = request.version.parse().map_err(bad_name)?;
    let DeploymentRequest { environment, plan, configuration, .. } = request;
    let id =
        api.control.deploy(&caller, &path.key(), version, environment, plan, configuration).await?;
    Ok(Json(DeploymentStarted { deployment: id }))
}

pub async fn remove_version(
    State(api): State<Api>,
    Path(path): Path<VersionPath>,
    By(caller): By,
) -> Result<Json<VersionRemoved>, ApiError> {
    let (key, version) = (path.model.key(), path.version);
    api.control.remove_version(&caller, &key, version).await?;
    Ok(Json(VersionRemoved { removed: key, version: version.to_string() }))
}
