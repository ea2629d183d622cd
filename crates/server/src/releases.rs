//! Releases: what holds, ends or reverses one, and how it is.

use axum::Json;
use axum::extract::State;
use control::view::ReleaseView;
use domain::release::Plan;
use domain::{DeploymentId, EnvironmentName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::extract::{Body, By, Name, Path, Query};
use crate::path::{Action, ActionPath, ModelPath, VersionText};
use crate::{Api, ApiError};

/// A request for a promotion.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromotionRequest {
    /// Where the version is live.
    pub from: EnvironmentName,
    /// Where it is to be.
    pub to: EnvironmentName,
    /// How the traffic moves; at once if unsaid.
    #[serde(default)]
    pub plan: Plan,
}

/// Which environment's release is meant.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InEnvironment {
    /// `production` if unsaid.
    #[serde(default)]
    pub environment: EnvironmentName,
}

/// A version that is to be live, and the attempt that takes it there.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Promoted {
    /// The attempt.
    pub deployment: DeploymentId,
    /// As `v3`.
    #[schemars(with = "VersionText")]
    pub version: String,
}

/// What is live after a rollback, and the attempt that takes it there.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RolledBack {
    /// The attempt; `null` if a release was ended, as what was live still is.
    pub deployment: Option<DeploymentId>,
    /// As `v3`.
    #[schemars(with = "VersionText")]
    pub version: String,
}

#[derive(Deserialize, JsonSchema)]
pub struct StatusQuery {
    /// Where; `production` if unsaid.
    #[schemars(with = "Option<EnvironmentName>")]
    environment: Option<Name<EnvironmentName>>,
}

pub async fn status(
    State(api): State<Api>,
    Path(path): Path<ModelPath>,
    Query(query): Query<StatusQuery>,
) -> Result<Json<ReleaseView>, ApiError> {
    let environment = query.environment.map(Name::get).transpose()?.unwrap_or_default();
    Ok(Json(api.control.release_status(&path.key(), &environment)?))
}

pub async fn act(
    State(api): State<Api>,
    Path(path): Path<ActionPath>,
    By(caller): By,
    Body(request): Body<InEnvironment>,
) -> Result<Json<ReleaseView>, ApiError> {
    let (key, environment) = (path.model.key(), request.environment);
    match path.action {
        Action::Pause => api.control.pause(&caller, &key, &environment, true).await?,
        Action::Resume => api.control.pause(&caller, &key, &environment, false).await?,
        Action::Abort => api.control.abort(&caller, &key, &environment, "aborted").await?,
    }
    Ok(Json(api.control.release_status(&key, &environment)?))
}

pub async fn promote(
    State(api): State<Api>,
    Path(path): Path<ModelPath>,
    By(caller): By,
    Body(request): Body<PromotionRequest>,
) -> Result<Json<Promoted>, ApiError> {
    let PromotionRequest { from, to, plan } = request;
    let (id, version) = api.control.promote(&caller, &path.key(), from, to, plan).await?;
    Ok(Json(Promoted { deployment: id, version: version.to_string() }))
}

pub async fn rollback(
    State(api): State<Api>,
    Path(path): Path<ModelPath>,
    By(caller): By,
    Body(request): Body<InEnvironment>,
) -> Result<Json<RolledBack>, ApiError> {
    let (version, id) = api.control.rollback(&caller, &path.key(), request.environment).await?;
    Ok(Json(RolledBack { deployment: id, version: version.to_string() }))
}
