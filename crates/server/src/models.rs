//! Models: show, push, deploy, remove, logs.

use axum::Json;
use axum::extract::State;
use control::Push;
use control::view::ModelView;
use domain::manifest::Configuration;
use domain::reference::Selector;
use domain::release::Plan;
use domain::{Code, DeploymentId, Digest, EnvironmentName, ModelKey, Reference, VersionNumber};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::bad_name;
use crate::extract::{Body, By, Name, Path, Query};
use crate::path::{ModelPath, VersionPath, VersionText};
use crate::{Api, ApiError};

pub use crate::listing::list;

/// Lines of a log if the caller does not say.
const LINES: usize = 200;
/// The most lines of a log that one answer has.
const LINES_MAX: usize = 100_000;

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

#[derive(Deserialize, JsonSchema)]
pub struct LogsQuery {
    /// Of which version, as `v3`; of what is live if unsaid, or of the newest if nothing is.
    #[schemars(with = "Option<VersionText>")]
    version: Option<Name<VersionNumber>>,
    /// How many lines; 200 if unsaid, and at most 100,000.
    lines: Option<usize>,
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

pub async fn logs(
    State(api): State<Api>,
    Path(path): Path<ModelPath>,
    Query(query): Query<LogsQuery>,
) -> Result<String, ApiError> {
    let key = path.key();
    let mut reference = Reference::live(key.clone());
    if let Some(version) = query.version {
        reference.selector = Some(Selector::Number(version.get()?));
    }
    let state = api.control.state();
    let version = match state.resolve(&reference) {
        Ok(version) => version,
        // Nothing is live: the newest version's log tells why.
        Err(problem) if problem.code == Code::NotLive => {
            let newest =
                state.models.get(&key).and_then(|model| model.versions.keys().next_back().copied());
            newest.ok_or(problem)?
        }
        Err(problem) => return Err(problem.into()),
    };
    let lines = query.lines.unwrap_or(LINES).min(LINES_MAX);
    Ok(api.control.engine().log(&key, version, lines).await)
}
