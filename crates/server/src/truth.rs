//! What turned out to be true of one request.

use std::collections::BTreeMap;

use ::records::truth::{id_of, of_prediction};
use axum::Json;
use axum::extract::State;
use domain::outcome::Outcome;
use domain::{EnvironmentName, VersionNumber};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{bad_request, failed};
use crate::extract::{Name, Path, Query};
use crate::feedback::truth_of;
use crate::path::ModelPath;
use crate::{Api, ApiError, aside};

/// Of which request.
#[derive(Deserialize, JsonSchema)]
pub struct TruthQuery {
    /// Its id, as its answer has it in `Decalog-Request-Id`.
    id: String,
    /// Its key, as its record has it: what was said of the key may be true of it, too.
    key: Option<String>,
    /// Where it was answered, which says how long truth may take; `production` if unsaid.
    #[schemars(with = "Option<EnvironmentName>")]
    environment: Option<Name<EnvironmentName>>,
}

/// What turned out to be true.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct TruthKnown {
    /// By the id of the request, row by row; it comes before what was said of the key.
    pub rows: Vec<TruthOfRow>,
    /// By its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<TruthOfRow>,
}

/// What is true of a row.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TruthOfRow {
    /// Which one, from 0; absent where it is said of a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<u32>,
    /// What is true.
    pub truth: Outcome,
    /// When it became so, or came, in milliseconds since 1970.
    pub at_ms: u64,
}

/// What is known to be true of a request.
pub async fn of_request(
    State(api): State<Api>,
    Path(path): Path<ModelPath>,
    Query(query): Query<TruthQuery>,
) -> Result<Json<TruthKnown>, ApiError> {
    let (model, truth) = (path.key(), truth_of(&api)?.clone());
    let state = api.control.state();
    let known = state.model(&model)?;
    let environment = query.environment.map(Name::get).transpose()?.unwrap_or_default();
    let id = id_of(&query.id).map_err(bad_request)?;
    // An environment's configuration is that of whatever is live there.
    let live = known.live.get(&environment).map_or(VersionNumber(0), |live| live.version);
    let section = state.configuration(&state.placement(&model, &environment, live)).truth;
    let found = aside(move || {
        let by_row: BTreeMap<u32, _> = truth
            .truths
            .of_requests(&model, &id, &id)?
            .into_iter()
            .map(|((_, row), found)| (row, found))
            .collect();
        let rows = by_row.into_iter().map(|(row, found)| TruthOfRow {
            row: Some(row),
            truth: found.truth,
            at_ms: found.at_ms,
        });
        let said = truth.truths.of_keys(&model, query.key.as_deref().into_iter())?;
        let said = said.into_values().next().unwrap_or_default();
        let time_ms = ::records::time_ms(&id);
        let of_key = of_prediction(&said, time_ms, section.truth_ms_max());
        let key =
            of_key.map(|found| TruthOfRow { row: None, truth: found.truth, at_ms: found.at_ms });
        Ok::<_, ::records::truth::TruthError>(TruthKnown { rows: rows.collect(), key })
    });
    Ok(Json(found.await?.map_err(failed)?))
}
