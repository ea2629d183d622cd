//! A version is asked its test cases, off the traffic and without being deployed.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use control::{Tested, Tried};
use domain::{
    Code, Digest, EnvironmentName, ModelKey, ModelName, Problem, ProjectName, Schema, VersionNumber,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::evaluate::permit;
use crate::error::bad_name;
use crate::extract::{Body, By, Path, Patience};
use crate::path::{ModelPath, VersionText};
use crate::{Api, ApiError};

/// Which version is tested.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestRequest {
    /// As `v3`.
    #[schemars(with = "VersionText")]
    pub version: String,
    /// With whose variables it runs; `production` if unsaid.
    #[serde(default)]
    pub environment: EnvironmentName,
}

/// Why a case has no answer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TestFailure {
    /// Of which kind it is.
    pub code: Code,
    /// In a sentence.
    pub error: String,
    /// More of it, such as the lines of a traceback.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// Which row of the case fails by itself, too, from 0; absent if none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<usize>,
}

/// What a version made of a case.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TestedCase {
    /// Its file, as `tests/young.json`.
    pub name: String,
    /// What was asked.
    pub rows: Vec<Value>,
    /// What was expected of each row.
    pub expected: Vec<Value>,
    /// What each row got; absent if the call failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<Vec<Value>>,
    /// Where that is not what was expected, a line each.
    pub differences: Vec<String>,
    /// Why there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<TestFailure>,
    /// How long the call took, in milliseconds.
    pub ms: f64,
}

/// What a version without cases made of a row that fits its columns.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TestedRow {
    /// What was asked.
    pub row: Value,
    /// What it got; absent if the call failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
    /// Why there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<TestFailure>,
}

/// What a version made of its cases.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TestReport {
    /// The model's project.
    pub project: ProjectName,
    /// The model.
    pub model: ModelName,
    /// With whose variables it ran.
    pub environment: EnvironmentName,
    /// As `v3`.
    pub version: String,
    /// Its identity.
    pub digest: Digest,
    /// Its columns.
    pub schema: Schema,
    /// Cases that it has. If fewer were asked, it did not answer any more.
    pub count: usize,
    /// Those that were asked, by name.
    pub cases: Vec<TestedCase>,
    /// What was asked of a version that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_up: Option<TestedRow>,
    /// How long it took until it could be asked, in milliseconds.
    pub start_ms: u64,
    /// How long all of it took, in milliseconds.
    pub elapsed_ms: u64,
}

impl TestFailure {
    fn of(problem: Problem, row: Option<usize>) -> TestFailure {
        let Problem { code, message, details, .. } = problem;
        TestFailure { code, error: message, details, row }
    }
}

impl TestedCase {
    fn of(tried: Tried) -> TestedCase {
        let Tried { case, answers, differences, elapsed } = tried;
        let (answers, failure) = match answers {
            Ok(answers) => (Some(answers), None),
            Err(failed) => (None, Some(TestFailure::of(failed.problem, failed.row))),
        };
        let (name, rows, expected) = (case.name, case.rows, case.expected);
        let ms = elapsed.as_secs_f64() * 1_000.0;
        TestedCase { name, rows, expected, answers, differences, failure, ms }
    }

    /// Whether the answers are what was expected.
    pub fn passes(&self) -> bool {
        self.failure.is_none() && self.differences.is_empty()
    }
}

impl TestReport {
    /// Whether nothing failed.
    pub fn passes(&self) -> bool {
        let answered = self.made_up.as_ref().is_none_or(|of| of.failure.is_none());
        answered && self.cases.len() == self.count && self.cases.iter().all(TestedCase::passes)
    }
}

/// Tests a version.
pub async fn test(
    State(api): State<Api>,
    Path(path): Path<ModelPath>,
    By(caller): By,
    patience: Patience,
    Body(request): Body<TestRequest>,
) -> Result<Json<TestReport>, ApiError> {
    let key = path.key();
    permit(&api, &caller, &key, &request.environment, false)?;
    let turn = api.control.replay_turn(&key)?;
    patience.while_waiting(run(&api, &turn, key, request)).await.map(Json)
}

async fn run(
    api: &Api,
    turn: &control::Turn,
    key: ModelKey,
    request: TestRequest,
) -> Result<TestReport, ApiError> {
    let begin = Instant::now();
    let TestRequest { version, environment } = request;
    let number: VersionNumber = version.parse().map_err(bad_name)?;
    let state = api.control.state();
    let known = state.model(&key)?.versions.get(&number).cloned().ok_or_else(|| {
        let text = format!("`{}` has no version {number}, or not any more", key.model);
        Problem::new(Code::NoSuchVersion, text)
    })?;
    let placement = state.placement(&key, &environment, number);
    let Tested { schema, cases, tried, made_up, start } =
        api.control.test_version(turn, &placement).await?;
    let made_up = made_up.map(|(row, answered)| match answered {
        Ok(answer) => TestedRow { row, answer: Some(answer), failure: None },
        Err(problem) => {
            TestedRow { row, answer: None, failure: Some(TestFailure::of(problem, None)) }
        }
    });
    Ok(TestReport {
        project: key.project,
        model: key.model,
        environment,
        version: number.to_string(),
        digest: known.pushed.digest,
        schema,
        count: cases,
        cases: tried.into_iter().map(TestedCase::of).collect(),
        made_up,
        start_ms: start.as_millis() as u64,
        elapsed_ms: begin.elapsed().as_millis() as u64,
    })
}
