//! Variables and secrets.

use axum::Json;
use axum::extract::State;
use control::{Variable, VariableValue};
use domain::{ModelKey, ModelName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::extract::{Body, By, Name, Path, Query};
use crate::path::{EnvironmentPath, VariablePath};
use crate::{Api, ApiError};

#[derive(Deserialize, JsonSchema)]
pub struct Of {
    /// The model whose own variables are meant; those of the whole project if unsaid.
    #[schemars(with = "Option<ModelName>")]
    model: Option<Name<ModelName>>,
}

/// What a variable becomes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VariableSetting {
    /// At most 32 KiB of text without NUL.
    value: String,
    /// Whether it is kept encrypted and never shown.
    #[serde(default)]
    secret: bool,
    /// Whether `value` only says where the value is in the operator's vault:
    /// `vault:kv/data/churn#password`. It is read when a replica starts.
    #[serde(default)]
    reference: bool,
    /// The model whose own it is; of the whole project if unsaid.
    #[serde(default)]
    model: Option<ModelName>,
    /// Whether it is for a model that comes later; else that must be there.
    #[serde(default)]
    ahead: bool,
}

/// The variables of an environment.
#[derive(Serialize, JsonSchema)]
pub struct Variables {
    /// By name.
    variables: Vec<Variable>,
}

/// A variable that has the requested value.
#[derive(Serialize, JsonSchema)]
pub struct VariableSet {
    /// Its name.
    set: String,
    /// Whether it had another before.
    changed: bool,
}

/// A variable that is gone.
#[derive(Serialize, JsonSchema)]
pub struct VariableRemoved {
    /// Its name.
    removed: String,
}

fn model(of: Of) -> Result<Option<ModelName>, ApiError> {
    of.model.map(Name::get).transpose()
}

pub async fn list(
    State(api): State<Api>,
    Path(path): Path<EnvironmentPath>,
    Query(of): Query<Of>,
) -> Result<Json<Variables>, ApiError> {
    let variables = api.control.variables(&path.project, &path.environment, model(of)?).await?;
    Ok(Json(Variables { variables }))
}

/// Refuses a name that is none of a model: most often somebody has mistyped it.
fn known(api: &Api, key: &ModelKey) -> Result<(), ApiError> {
    api.control.state().model(key).map(drop).map_err(|mut problem| {
        problem.help += "; for one that comes later: decalog env set … --ahead";
        problem.into()
    })
}

pub async fn set(
    State(api): State<Api>,
    Path(path): Path<VariablePath>,
    By(caller): By,
    Body(setting): Body<VariableSetting>,
) -> Result<Json<VariableSet>, ApiError> {
    let VariablePath { of: EnvironmentPath { project, environment }, name } = path;
    let VariableSetting { value, secret, reference, model, ahead } = setting;
    if let Some(model) = model.as_ref().filter(|_| !ahead) {
        let key = ModelKey { project: project.clone(), model: model.clone() };
        known(&api, &key)?;
    }
    let value = match (reference, secret) {
        (true, _) => VariableValue::Reference(value),
        (false, true) => VariableValue::Secret(value),
        (false, false) => VariableValue::Plain(value),
    };
    let changed =
        api.control.set_variable(&caller, &project, &environment, model, &name, value).await?;
    Ok(Json(VariableSet { set: name, changed }))
}

pub async fn remove(
    State(api): State<Api>,
    Path(path): Path<VariablePath>,
    Query(of): Query<Of>,
    By(caller): By,
) -> Result<Json<VariableRemoved>, ApiError> {
    let VariablePath { of: EnvironmentPath { project, environment }, name } = path;
    api.control.remove_variable(&caller, &project, &environment, model(of)?, &name).await?;
    Ok(Json(VariableRemoved { removed: name }))
}
