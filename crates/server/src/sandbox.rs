//! What the walls of a model hold.

use axum::Json;
use axum::extract::State;
use domain::{Code, EnvironmentName, ModelName, Problem, ProjectName, VersionNumber};
use engine::WallsTried;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::bad_name;
use crate::extract::{Body, Path};
use crate::path::{ModelPath, VersionText};
use crate::{Api, ApiError};

/// Whose walls are tried.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SandboxRequest {
    /// As `v3`; the live one if unsaid.
    #[schemars(with = "Option<VersionText>")]
    #[serde(default)]
    pub version: Option<String>,
    /// Where it is live; `production` if unsaid.
    #[serde(default)]
    pub environment: EnvironmentName,
}

/// What a version's walls hold.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SandboxReport {
    /// The model's project.
    pub project: ProjectName,
    /// The model.
    pub model: ModelName,
    /// As `v3`.
    pub version: String,
    /// What was tried.
    #[serde(flatten)]
    pub tried: WallsTried,
}

/// Tries known attacks.
pub async fn test(
    State(api): State<Api>,
    Path(path): Path<ModelPath>,
    Body(request): Body<SandboxRequest>,
) -> Result<Json<SandboxReport>, ApiError> {
    let (key, state) = (path.key(), api.control.state());
    let model = state.model(&key)?;
    let number: VersionNumber = match &request.version {
        Some(version) => version.parse().map_err(bad_name)?,
        None => {
            let live = model.live.get(&request.environment).map(|live| live.version);
            live.ok_or_else(|| {
                let text = format!("`{}` is not live in {}", key.model, request.environment);
                Problem::new(Code::NotLive, text).help("name a version, as v3")
            })?
        }
    };
    let placement = state.placement(&key, &request.environment, number);
    let tried = api.control.try_walls(&placement).await?;
    let version = number.to_string();
    Ok(Json(SandboxReport { project: key.project, model: key.model, version, tried }))
}
