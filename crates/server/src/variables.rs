//! Variables and secrets.

use axum::Json;
use axum::extract::State;
use control::VariableValue;
use domain::{EnvironmentName, ModelName, ProjectName};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::bad_name;
use crate::extract::{Body, Path, Query};
use crate::{Api, ApiError, actor};

#[derive(Deserialize)]
pub struct Of {
    model: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    value: String,
    #[serde(default)]
    secret: bool,
    #[serde(default)]
    model: Option<ModelName>,
}

fn names(project: &str, environment: &str) -> Result<(ProjectName, EnvironmentName), ApiError> {
    Ok((project.parse().map_err(bad_name)?, environment.parse().map_err(bad_name)?))
}

fn model(of: Of) -> Result<Option<ModelName>, ApiError> {
    of.model.map(|model| model.parse()).transpose().map_err(bad_name)
}

pub async fn list(
    State(api): State<Api>,
    Path((project, environment)): Path<(String, String)>,
    Query(of): Query<Of>,
) -> Result<Json<Value>, ApiError> {
    let (project, environment) = names(&project, &environment)?;
    Ok(Json(json!({ "variables": api.control.variables(&project, &environment, model(of)?) })))
}

pub async fn set(
    State(api): State<Api>,
    Path((project, environment, name)): Path<(String, String, String)>,
    headers: HeaderMap,
    Body(setting): Body<Setting>,
) -> Result<Json<Value>, ApiError> {
    let (project, environment) = names(&project, &environment)?;
    let Setting { value, secret, model } = setting;
    let value = if secret { VariableValue::Secret(value) } else { VariableValue::Plain(value) };
    let changed = api
        .control
        .set_variable(&actor(&headers), &project, &environment, model, &name, value)
        .await?;
    Ok(Json(json!({ "set": name, "changed": changed })))
}

pub async fn remove(
    State(api): State<Api>,
    Path((project, environment, name)): Path<(String, String, String)>,
    Query(of): Query<Of>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let (project, environment) = names(&project, &environment)?;
    api.control
        .remove_variable(&actor(&headers), &project, &environment, model(of)?, &name)
        .await?;
    Ok(Json(json!({ "removed": name })))
}
