//! Proposals: changes of protected environments that wait for others to agree.

use axum::Json;
use axum::extract::State;
use control::{ProposalPage, ProposalView};
use domain::{Code, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::extract::{Body, By, Path, Query};
use crate::path::{EnvironmentPath, ProposalPath};
use crate::{Api, ApiError};

/// Proposals.
#[derive(Serialize, JsonSchema)]
pub struct Proposals {
    /// The newest first.
    proposals: Vec<ProposalView>,
    /// Whether there are more before the last of these.
    more: bool,
}

/// Proposals of one page.
const LIMIT_MAX: usize = 1_000;

#[derive(Deserialize, JsonSchema)]
pub struct ProposalsQuery {
    /// Only those with a lower number: that of the last of the page before.
    before: Option<u64>,
    /// The most of a page; 100 if unsaid, and at most 1,000.
    limit: Option<usize>,
    /// Only those that can still be approved.
    #[serde(default)]
    open: bool,
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
    /// How many people beside the one who proposes a change must agree; 0 for none. As it is if
    /// unsaid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    approvals: Option<u32>,
    /// Whether only versions go live that are signed by a key which the project trusts. As it is if
    /// unsaid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signed: Option<bool>,
}

/// How changes of an environment are protected from now on.
#[derive(Serialize, JsonSchema)]
pub struct EnvironmentProtected {
    /// How many people beside the one who proposes a change must agree, if that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    approvals: Option<u32>,
    /// Whether versions must be signed, if that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    signed: Option<bool>,
    /// Versions that are live there without the signature that is needed now: their replicas go on,
    /// and no new ones start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unsigned: Vec<String>,
}

pub async fn list(
    State(api): State<Api>,
    Query(query): Query<ProposalsQuery>,
    By(caller): By,
) -> Result<Json<Proposals>, ApiError> {
    let limit = query.limit.unwrap_or(100).clamp(1, LIMIT_MAX);
    let page = ProposalPage { before: query.before, is_open: query.open, limit };
    let (proposals, more) = api.control.proposals(&caller, page);
    Ok(Json(Proposals { proposals, more }))
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
) -> Result<Json<EnvironmentProtected>, ApiError> {
    let EnvironmentPath { project, environment } = path;
    let (control, of, to) = (&api.control, &project, &environment);
    let mut unsigned = vec![];
    match (protection.approvals, protection.signed) {
        (Some(approvals), None) => {
            control.protect(&caller, of.clone(), to.clone(), approvals).await?
        }
        (None, Some(signed)) => {
            control.require_signatures(&caller, of.clone(), to.clone(), signed).await?;
            unsigned = control.unsigned_in(of, to);
        }
        // Each may become a proposal of its own.
        _ => {
            let text = "one of `approvals` and `signed` is needed, and not both";
            return Err(Problem::new(Code::BadRequest, text)
                .help("send {\"approvals\": 1}, and {\"signed\": true} by itself")
                .into());
        }
    }
    let EnvironmentProtection { approvals, signed } = protection;
    Ok(Json(EnvironmentProtected { approvals, signed, unsigned }))
}
