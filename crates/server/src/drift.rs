//! Drift: how the values of a model compare with what is usual.

use axum::Json;
use axum::extract::State;
use domain::alarm::Target;
use domain::{Code, EnvironmentName, Problem};
use monitor::drift::ModelDrift;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::extract::{Name, Path, Query};
use crate::path::ModelPath;
use crate::{Api, ApiError};

#[derive(Deserialize, JsonSchema)]
pub struct DriftQuery {
    /// Where; `production` if unsaid.
    #[schemars(with = "Option<EnvironmentName>")]
    environment: Option<Name<EnvironmentName>>,
}

pub async fn status(
    State(api): State<Api>,
    Path(path): Path<ModelPath>,
    Query(query): Query<DriftQuery>,
) -> Result<Json<ModelDrift>, ApiError> {
    let environment = query.environment.map(Name::get).transpose()?.unwrap_or_default();
    let model = path.key();
    api.control.state().model(&model)?;
    let nothing = Problem::new(
        Code::NothingWatched,
        format!("no values of {model} were seen in {environment} yet"),
    )
    .help("send it requests; if it has some, the server keeps no records: decalog up --records-per-s 1000");
    let status = api.drift.status(&Target { model, environment });
    Ok(Json(status.ok_or(nothing)?))
}
