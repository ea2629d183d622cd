//! What came of an evaluation.

use domain::manifest::TruthSection;
use domain::outcome::Outcome;
use domain::{Code, Digest, EnvironmentName, ModelName, Problem, ProjectName, Schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::path::VersionText;

/// What one version is asked: rows, or requests that are on record.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvaluateRequest {
    /// Which version, as `v3`.
    #[schemars(with = "VersionText")]
    pub version: String,
    /// With whose variables it runs, and where the requests were asked; `production` if unsaid.
    #[serde(default)]
    pub environment: EnvironmentName,
    /// Ids of recorded requests, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// … or the last that were answered, so many, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<usize>,
    /// … or rows as the model takes them; columns that it does not have are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<Map<String, Value>>,
}

/// Why a row has no answer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EvaluatedError {
    /// Of which kind it is.
    pub code: Code,
    /// In a sentence.
    pub error: String,
}

/// What a version answered to one row.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EvaluatedRow {
    /// Of a recorded request: its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Which row of the request, or of those that were sent, from 0.
    pub row: usize,
    /// What was answered; absent if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Map<String, Value>>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<EvaluatedError>,
    /// Rows of one call have the same number; it is absent if the row was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<usize>,
    /// How long its call took, in milliseconds.
    pub ms: f64,
    /// What turned out to be true of a recorded request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truth: Option<Outcome>,
}

/// What a version answered.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EvaluateReport {
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
    /// How the environment's predictions are compared with their truth.
    pub truth: TruthSection,
    /// Columns of the rows that it does not have.
    pub ignored: Vec<String>,
    /// Ids of which there is no record here.
    pub missing: Vec<String>,
    /// How long it took until it could be asked, in milliseconds.
    pub start_ms: u64,
    /// How long all of it took, in milliseconds.
    pub elapsed_ms: u64,
    /// Each row; those of recorded requests in the order of their ids.
    pub rows: Vec<EvaluatedRow>,
}

/// By which a row of one answer is found in another.
pub type RowKey = (Option<String>, usize);

/// Which row it is.
pub fn key_of(row: &EvaluatedRow) -> RowKey {
    (row.id.clone(), row.row)
}

/// Whether a version cannot be asked, whenever it is tried: nothing of the server is short.
pub fn is_own_fault(problem: &Problem) -> bool {
    matches!(
        problem.code,
        Code::BuildFailed
            | Code::LockFailed
            | Code::MissingPackages
            | Code::NoPython
            | Code::LoadFailed
            | Code::NoSchema
            | Code::BadSchema
            | Code::Streams
            | Code::LostContent
            | Code::WorkerDied
            | Code::NoSuchVersion
    )
}
