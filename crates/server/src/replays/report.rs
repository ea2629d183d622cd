//! What came of a replay.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{EnvironmentName, ModelKey, ModelName, Probe, ProjectName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What came of one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplayOutcome {
    /// The answer is the same, bit for bit.
    Same,
    /// It is the same but for rounding, which the version's probe had found before.
    Near,
    /// It is another one, each of the times that it was asked.
    Different,
    /// It cannot be repeated.
    Cannot,
}

/// A value that is not what it was.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReplayedDifference {
    /// The output.
    pub column: String,
    /// Of the request's rows, from 0.
    pub row: usize,
    /// As it was recorded; of a long list the beginning.
    pub before: Value,
    /// As it is now.
    pub after: Value,
    /// By how many units in the last place; absent if that does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ulp: Option<u64>,
}

/// What came of one request.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Replayed {
    /// Its id.
    pub id: String,
    /// What answered it then, as `v3`; absent if there is no record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What was asked now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// What came of it.
    pub outcome: ReplayOutcome,
    /// By how many units in the last place it differs, where it is `near`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ulp: Option<u64>,
    /// Why it cannot be repeated, or fails now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How often it was asked.
    pub runs: u32,
    /// Its rows.
    pub rows: usize,
    /// Rows of the batch that it was in, …
    pub batch_rows: usize,
    /// … and its first row there.
    pub batch_offset: usize,
    /// What differs; the first few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<ReplayedDifference>,
    /// Outputs that were not compared, as their values are not in the record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

/// A version that was asked.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReplayedVersion {
    /// As `v3`.
    pub version: String,
    /// What it showed before it took traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    /// What is not as it was when the requests were answered, as far as that is known.
    pub changed: Vec<String>,
}

/// What came of a replay.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReplayReport {
    /// The model's project.
    pub project: ProjectName,
    /// The model.
    pub model: ModelName,
    /// Where the requests were asked.
    pub environment: EnvironmentName,
    /// Requests with the same answer, bit for bit.
    pub same: usize,
    /// Requests with the same answer but for rounding.
    pub near: usize,
    /// Requests with another answer.
    pub different: usize,
    /// Requests that cannot be repeated.
    pub cannot: usize,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
    /// The versions that were asked.
    pub versions: Vec<ReplayedVersion>,
    /// Each request, the newest first.
    pub results: Vec<Replayed>,
}

impl ReplayReport {
    /// Of what came of each request, by the version that was asked.
    pub(super) fn of(
        key: ModelKey,
        environment: EnvironmentName,
        (results, versions): (Vec<Replayed>, BTreeMap<u32, ReplayedVersion>),
        elapsed: Duration,
    ) -> ReplayReport {
        let count = |of: ReplayOutcome| results.iter().filter(|it| it.outcome == of).count();
        ReplayReport {
            same: count(ReplayOutcome::Same),
            near: count(ReplayOutcome::Near),
            different: count(ReplayOutcome::Different),
            cannot: count(ReplayOutcome::Cannot),
            project: key.project,
            model: key.model,
            environment,
            elapsed_ms: elapsed.as_millis() as u64,
            versions: versions.into_values().collect(),
            results,
        }
    }
}
