//! Releases: what holds, ends or reverses one, and how it is.

use axum::Json;
use axum::extract::State;
use control::view::ReleaseView;
use domain::EnvironmentName;
use domain::release::Plan;
use http::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::error::{bad_name, no_such_action};
use crate::extract::{Body, Path, Query};
use crate::models::key;
use crate::{Api, ApiError, actor};

/// What a promotion is asked with.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromotionAsked {
    /// Where the version is live.
    pub from: EnvironmentName,
    /// Where it is to be.
    pub to: EnvironmentName,
    /// How the traffic moves; at once if unsaid.
    #[serde(default)]
    pub plan: Plan,
}

/// Which environment's release is meant.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InEnvironment {
    /// `production` if unsaid.
    #[serde(default)]
    pub environment: EnvironmentName,
}

#[derive(Deserialize)]
pub struct StatusQuery {
    environment: Option<String>,
}

pub async fn status(
    State(api): State<Api>,
    Path((project, model)): Path<(String, String)>,
    Query(query): Query<StatusQuery>,
) -> Result<Json<ReleaseView>, ApiError> {
    let environment = query
        .environment
        .map(|name| name.parse())
        .transpose()
        .map_err(bad_name)?
        .unwrap_or_default();
    Ok(Json(api.control.release_status(&key(&project, &model)?, &environment)?))
}

pub async fn act(
    State(api): State<Api>,
    Path((project, model, action)): Path<(String, String, String)>,
    headers: HeaderMap,
    Body(asked): Body<InEnvironment>,
) -> Result<Json<ReleaseView>, ApiError> {
    let (key, actor, environment) = (key(&project, &model)?, actor(&headers), asked.environment);
    match action.as_str() {
        "pause" | "resume" => {
            api.control.pause(&actor, &key, &environment, action == "pause").await?
        }
        "abort" => api.control.abort(&actor, &key, &environment, "aborted").await.map(|_| ())?,
        _ => return Err(no_such_action(&action)),
    }
    Ok(Json(api.control.release_status(&key, &environment)?))
}

pub async fn promote(
    State(api): State<Api>,
    Path((project, model)): Path<(String, String)>,
    headers: HeaderMap,
    Body(asked): Body<PromotionAsked>,
) -> Result<Json<serde_json::Value>, ApiError> {
    let PromotionAsked { from, to, plan } = asked;
    let (id, version) =
        api.control.promote(&actor(&headers), &key(&project, &model)?, from, to, plan).await?;
    Ok(Json(serde_json::json!({ "deployment": id, "version": version.to_string() })))
}

pub async fn rollback(
    State(api): State<Api>,
    Path((project, model)): Path<(String, String)>,
    headers: HeaderMap,
    Body(asked): Body<InEnvironment>,
) -> Result<Json<serde_json::Value>, ApiError> {
    let (version, id) =
        api.control.rollback(&actor(&headers), &key(&project, &model)?, asked.environment).await?;
    Ok(Json(serde_json::json!({ "deployment": id, "version": version.to_string() })))
}
