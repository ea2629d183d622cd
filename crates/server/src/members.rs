//! Members: who has which role, who the caller is, and what they may.

use axum::Json;
use axum::extract::State;
use control::member::{Member, MemberKind, MemberRequest};
use control::{Verdict, WhoAmI};
use domain::{Action, Object, Reach};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::extract::{Body, By, Name, Path, Query};
use crate::path::NamePath;
use crate::{Api, ApiError};

#[derive(Deserialize, JsonSchema)]
pub struct CanQuery {
    /// Who: a name; the caller if unsaid.
    who: Option<String>,
    /// What, as in `release`.
    #[schemars(with = "Action")]
    action: Name<Action>,
    /// With what: `*`, `PROJECT/*`, `PROJECT/*@ENVIRONMENT`, or a model with or without an
    /// environment.
    #[schemars(with = "Object")]
    object: Name<Object>,
}

#[derive(Deserialize, JsonSchema)]
pub struct RemoveQuery {
    /// The place of the role that is taken away; all of them, and all tokens, if unsaid.
    #[serde(rename = "in")]
    #[schemars(with = "Option<Reach>")]
    reach: Option<Name<Reach>>,
    /// What they are: it must be said of a name that is somebody's and a group's as well.
    kind: Option<MemberKind>,
}

/// Everybody.
#[derive(Serialize, JsonSchema)]
pub struct Members {
    /// By name.
    members: Vec<Member>,
}

/// Somebody who has a role less.
#[derive(Serialize, JsonSchema)]
pub struct MemberRemoved {
    /// Their name.
    removed: String,
    /// Tokens of others that they made and that end with them: rotate those that are still needed.
    tokens_ended: Vec<domain::TokenId>,
}

/// Somebody whose name is gone.
#[derive(Serialize, JsonSchema)]
pub struct PersonErased {
    /// As entries of the ledger go on to name them.
    erased: domain::Principal,
}

pub async fn who_am_i(State(api): State<Api>, By(caller): By) -> Result<Json<WhoAmI>, ApiError> {
    Ok(Json(api.control.who_am_i(&caller)))
}

pub async fn can(
    State(api): State<Api>,
    Query(query): Query<CanQuery>,
    By(caller): By,
) -> Result<Json<Verdict>, ApiError> {
    let (action, object) = (query.action.get()?, query.object.get()?);
    Ok(Json(api.control.can(&caller, query.who.as_deref(), action, &object)?))
}

pub async fn list(State(api): State<Api>, By(caller): By) -> Result<Json<Members>, ApiError> {
    Ok(Json(Members { members: api.control.members(&caller) }))
}

pub async fn add(
    State(api): State<Api>,
    By(caller): By,
    Body(request): Body<MemberRequest>,
) -> Result<Json<Member>, ApiError> {
    Ok(Json(api.control.add_member(&caller, request).await?))
}

pub async fn remove(
    State(api): State<Api>,
    Path(path): Path<NamePath>,
    Query(query): Query<RemoveQuery>,
    By(caller): By,
) -> Result<Json<MemberRemoved>, ApiError> {
    let reach = query.reach.map(Name::get).transpose()?;
    let tokens_ended = api.control.remove_member(&caller, &path.name, query.kind, reach).await?;
    Ok(Json(MemberRemoved { removed: path.name, tokens_ended }))
}

pub async fn erase(
    State(api): State<Api>,
    Path(path): Path<NamePath>,
    By(caller): By,
) -> Result<Json<PersonErased>, ApiError> {
    Ok(Json(PersonErased { erased: api.control.erase_person(&caller, &path.name).await? }))
}
