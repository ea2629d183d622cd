//! Tokens: list, make, rotate, revoke.

use axum::Json;
use axum::extract::State;
use control::token::{NewToken, TokenRequest, TokenView};
use domain::TokenId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::extract::{Body, By, Path};
use crate::path::TokenPath;
use crate::{Api, ApiError};

/// Tokens.
#[derive(Serialize, JsonSchema)]
pub struct Tokens {
    /// The newest first.
    tokens: Vec<TokenView>,
}

/// How a token is rotated.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// For how long the text of before stays valid, in milliseconds; not at all if unsaid.
    #[serde(default)]
    overlap_ms: u64,
}

/// A token that is not valid any more.
#[derive(Serialize, JsonSchema)]
pub struct TokenRevoked {
    /// Which.
    revoked: TokenId,
}

/// Whether predictions need a token.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokensNeeded {
    /// `true`: wherever they come from; `false`: only those from beyond this machine.
    required: bool,
}

pub async fn list(State(api): State<Api>, By(caller): By) -> Result<Json<Tokens>, ApiError> {
    Ok(Json(Tokens { tokens: api.control.tokens(&caller) }))
}

pub async fn create(
    State(api): State<Api>,
    By(caller): By,
    Body(request): Body<TokenRequest>,
) -> Result<Json<NewToken>, ApiError> {
    Ok(Json(api.control.create_token(&caller, request).await?))
}

pub async fn rotate(
    State(api): State<Api>,
    Path(path): Path<TokenPath>,
    By(caller): By,
    Body(rotation): Body<Rotation>,
) -> Result<Json<NewToken>, ApiError> {
    Ok(Json(api.control.rotate_token(&caller, path.id, rotation.overlap_ms).await?))
}

pub async fn revoke(
    State(api): State<Api>,
    Path(path): Path<TokenPath>,
    By(caller): By,
) -> Result<Json<TokenRevoked>, ApiError> {
    api.control.revoke_token(&caller, path.id).await?;
    Ok(Json(TokenRevoked { revoked: path.id }))
}

pub async fn require(
    State(api): State<Api>,
    By(caller): By,
    Body(needed): Body<TokensNeeded>,
) -> Result<Json<TokensNeeded>, ApiError> {
    api.control.require_tokens(&caller, needed.required).await?;
    Ok(Json(needed))
}
