//! Drift: how the values of a model compare with what is usual.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use control::now_ms;
use domain::alarm::Target;
use domain::{Code, EnvironmentName, Problem, VersionNumber};
use monitor::columns::Direction;
use monitor::drift::ModelDrift;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::extract::{Name, Path, Query};
use crate::path::ModelPath;
use crate::{Api, ApiError, aside};

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
    let target = Target { model, environment };
    let mut status = api.drift.status(&target).ok_or(nothing)?;
    let Some(reader) = api.history.clone() else { return Ok(Json(status)) };
    let compared = aside(move || {
        // Without them there is less to be seen, and no error.
        let sketches =
            crate::metrics::last_day(&reader, &target, VersionNumber(status.version), now_ms());
        for series in &mut status.series {
            let of = |(direction, column, _): &&(_, Arc<str>, _)| {
                Direction::as_str(*direction) == series.direction && **column == *series.column
            };
            if let Some((.., sketch)) = sketches.iter().find(of) {
                series.compare(sketch);
            }
        }
        status
    });
    Ok(Json(compared.await?))
}
