//! Proposals: changes of protected environments that wait for others to agree.

use axum::Json;
use axum::extract::State;
use control::ProposalView;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::extract::{Body, By, Path};
use crate::path::{EnvironmentPath, ProposalPath};
use crate::{Api, ApiError};

/// Proposals.
#[derive(Serialize, JsonSchema)]
pub struct Proposals {
    /// The newest first.
    proposals: Vec<ProposalView>,
}

/// Why nothing comes of a proposal.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rejection {
    /// In at most 500 characters, which stay in the ledger.
    #[serde(default)]
    why: String,
}

/// How changes of an environment are protected.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentProtection {
    /// How many people beside the one who proposes a change must agree; 0 for none.
    approvals: u32,
}

pub async fn list(State(api): State<Api>, By(caller): By) -> Result<Json<Proposals>, ApiError> {
    Ok(Json(Proposals { proposals: api.control.proposals(&caller) }))
}

pub async fn show(
    State(api): State<Api>,
    Path(path): Path<ProposalPath>,
    By(caller): By,
) -> Result<Json<ProposalView>, ApiError> {
    Ok(Json(api.control.proposal(&caller, path.id)?))
}

pub async fn approve(
    State(api): State<Api>,
    Path(path): Path<ProposalPath>,
    By(caller): By,
) -> Result<Json<ProposalView>, ApiError> {
    Ok(Json(api.control.approve(&caller, path.id).await?))
}

pub async fn reject(
    State(api): State<Api>,
    Path(path): Path<ProposalPath>,
    By(caller): By,
    Body(rejection): Body<Rejection>,
) -> Result<Json<ProposalView>, ApiError> {
    Ok(Json(api.control.reject(&caller, path.id, &rejection.why).await?))
}

pub async fn protect(
    State(api): State<Api>,
    Path(path): Path<EnvironmentPath>,
    By(caller): By,
    Body(protection): Body<EnvironmentProtection>,
) -> Result<Json<EnvironmentProtection>, ApiError> {
    let EnvironmentPath { project, environment } = path;
    api.control.protect(&caller, project, environment, protection.approvals).await?;
    Ok(Json(protection))
}
