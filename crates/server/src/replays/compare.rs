//! Asks two versions what recorded requests asked, and compares what they answer.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use domain::{
    Code, EnvironmentName, ModelKey, ModelName, Problem, ProjectName, Schema, VersionNumber,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::compared::Compared;
use super::evaluate::{answer, permit};
use super::evaluated::{EvaluateReport, EvaluateRequest, is_own_fault};
use crate::error::bad_name;
use crate::extract::{Body, By, Path, Patience};
use crate::path::{ModelPath, VersionText};
use crate::{Api, ApiError, aside};

/// Which versions are compared, and by which requests.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompareRequest {
    /// The one before, as `v3`.
    #[schemars(with = "VersionText")]
    pub before: String,
    /// The one after, as `v4`.
    #[schemars(with = "VersionText")]
    pub after: String,
    /// With whose variables they run, and where the requests were asked; `production` if unsaid.
    #[serde(default)]
    pub environment: EnvironmentName,
    /// Ids of recorded requests, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// … or the last that were answered, so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<usize>,
}

/// What two versions answered to the same requests.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CompareReport {
    /// The model's project.
    pub project: ProjectName,
    /// The model.
    pub model: ModelName,
    /// With whose variables they ran.
    pub environment: EnvironmentName,
    /// As `v3`.
    pub before: String,
    /// As `v4`.
    pub after: String,
    /// Columns of the first, which are known now if they were not before.
    pub schema_before: Schema,
    /// Columns of the second.
    pub schema_after: Schema,
    /// How long all of it took, in milliseconds.
    pub elapsed_ms: u64,
    /// What differs.
    #[serde(flatten)]
    pub compared: Compared,
}

/// Asks both, one after the other.
pub async fn compare(
    State(api): State<Api>,
    Path(path): Path<ModelPath>,
    By(caller): By,
    patience: Patience,
    Body(request): Body<CompareRequest>,
) -> Result<Json<CompareReport>, ApiError> {
    let key = path.key();
    permit(&api, &caller, &key, &request.environment, true)?;
    patience.while_waiting(both(&api, key, request)).await.map(Json)
}

async fn both(
    api: &Api,
    key: ModelKey,
    request: CompareRequest,
) -> Result<CompareReport, ApiError> {
    let begin = Instant::now();
    let CompareRequest { before, after, environment, ids, last } = request;
    for version in [&before, &after] {
        version.parse::<VersionNumber>().map_err(bad_name)?;
    }
    let turn = api.control.replay_turn(&key)?;
    let ask = async |version: &str, ids: Vec<String>, last: Option<usize>| {
        let asked = EvaluateRequest {
            version: version.into(),
            environment: environment.clone(),
            ids,
            last,
            rows: vec![],
        };
        answer(api, &turn, &key, asked).await.map_err(|error| said_of(version, error))
    };
    let one = ask(&before, ids, last).await?;
    let mut ids: Vec<String> = one.rows.iter().filter_map(|row| row.id.clone()).collect();
    ids.dedup();
    if ids.is_empty() {
        let text = format!("there are no records of requests to {key} in {environment}");
        return Err(Problem::new(Code::NoRecords, text)
            .help("ask the model something first")
            .into());
    }
    let other = ask(&after, ids.clone(), None).await?;
    // A machine is not equally fast at all times.
    let again = ask(&before, ids, None).await?;
    let EvaluateReport { project, model, version, schema, .. } = one.clone();
    let (schema_after, after) = (other.schema.clone(), other.version.clone());
    let compared = aside(move || Compared::of(&one, &other, &again));
    Ok(CompareReport {
        project,
        model,
        environment,
        before: version,
        after,
        schema_before: schema,
        schema_after,
        elapsed_ms: begin.elapsed().as_millis() as u64,
        compared: compared.await?,
    })
}

/// Which of both it is that cannot be asked.
fn said_of(version: &str, ApiError(problem): ApiError) -> ApiError {
    if problem.code == Code::NoSuchVersion || !is_own_fault(&problem) {
        return problem.into();
    }
    let text = format!("{version} cannot be asked: {}", problem.message);
    Problem { message: text, ..problem }.into()
}
