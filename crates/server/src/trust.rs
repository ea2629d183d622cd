//! Keys that projects trust: whose signatures of models count.

use axum::Json;
use axum::extract::State;
use domain::{EnvironmentName, KeyName, TrustedKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::extract::{Body, By, Path};
use crate::path::{ProjectPath, TrustedKeyPath};
use crate::{Api, ApiError};

/// The keys that a project trusts.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TrustedKeys {
    /// In the order of their ids.
    pub keys: Vec<TrustedKey>,
    /// The environments that take only versions which one of them signed.
    pub signed: Vec<EnvironmentName>,
}

/// A key to trust.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRequest {
    /// The public key, as PEM: an ECDSA key of P-256, P-384 or P-521.
    pem: String,
    /// What to call it. A key that is trusted already gets this name.
    name: KeyName,
}

pub async fn list(
    State(api): State<Api>,
    Path(path): Path<ProjectPath>,
) -> Result<Json<TrustedKeys>, ApiError> {
    let (keys, signed) = api.control.trusted(&path.project);
    Ok(Json(TrustedKeys { keys, signed }))
}

pub async fn add(
    State(api): State<Api>,
    Path(path): Path<ProjectPath>,
    By(caller): By,
    Body(key): Body<KeyRequest>,
) -> Result<Json<TrustedKey>, ApiError> {
    Ok(Json(api.control.trust(&caller, path.project, key.name, &key.pem).await?))
}

pub async fn remove(
    State(api): State<Api>,
    Path(path): Path<TrustedKeyPath>,
    By(caller): By,
) -> Result<Json<TrustedKey>, ApiError> {
    Ok(Json(api.control.distrust(&caller, path.of.project, path.id).await?))
}
