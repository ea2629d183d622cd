//! The keys of secrets.

use axum::Json;
use axum::extract::State;
use control::{Keys, Rotation};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::extract::{Body, By};
use crate::{Api, ApiError};

/// How keys are rotated.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotationRequest {
    /// Whether keys that wrap nothing any more are kept.
    #[serde(default)]
    keep_old: bool,
}

pub async fn list(State(api): State<Api>) -> Result<Json<Keys>, ApiError> {
    Ok(Json(api.control.keys().await?))
}

pub async fn rotation(State(api): State<Api>) -> Json<Option<Rotation>> {
    Json(api.control.rotation())
}

pub async fn rotate(
    State(api): State<Api>,
    By(caller): By,
    Body(request): Body<RotationRequest>,
) -> Result<Json<Rotation>, ApiError> {
    Ok(Json(api.control.rotate_keys(&caller, request.keep_old).await?))
}
