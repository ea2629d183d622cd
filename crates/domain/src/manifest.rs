//! `decalog.toml`: everything in it is optional, and what is absent is inferred or has a default.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Hasher};
use crate::guard::Guard;
use crate::id::ModelName;
use crate::problem::excerpt;
use crate::release::Plan;
use crate::scale::{IDLE_S_MAX, REPLICAS_MAX};
use crate::schema::Column;

/// The manifest's file name in a model directory.
pub const MANIFEST_FILE: &str = "decalog.toml";

/// What runs a version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// Functions or a class in `model.py`, or a joblib file of a scikit-learn model.
    Python,
    /// An ONNX graph.
    Onnx,
    /// Any program that serves the Open Inference Protocol or plain JSON.
    Command,
}

impl Runtime {
    /// All of them.
    pub const ALL: [Runtime; 3] = [Runtime::Python, Runtime::Onnx, Runtime::Command];

    /// As a manifest names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Runtime::Python => "python",
            Runtime::Onnx => "onnx",
            Runtime::Command => "command",
        }
    }

    /// Whether it cannot do without `[model] command`.
    fn needs_command(self) -> bool {
        matches!(self, Runtime::Command)
    }
}

impl std::fmt::Display for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The whole file.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Manifest {
    /// What it is and how it runs.
    pub model: ModelSection,
    /// Columns that the code does not tell.
    pub schema: SchemaSection,
    /// How requests are batched and queued.
    pub batch: BatchSection,
    /// What a replica may use.
    pub resources: ResourcesSection,
    /// How cases under `tests/` are compared.
    pub tests: TestsSection,
    /// What a version must reach before it takes traffic.
    pub gates: GatesSection,
    /// How many replicas.
    pub scale: ScaleSection,
    /// How traffic moves to a new version.
    pub release: ReleaseSection,
    /// Variables of the model's process.
    pub env: BTreeMap<String, String>,
}

/// `[model]`
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSection {
    /// Default: the directory's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<ModelName>,
    /// One line for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Default: by what lies in the directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
    /// The file that holds the model; default `model.py`, or the only `*.onnx` or `*.joblib`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// For runtime `command`: program and arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// For runtime `command`: where the program takes plain JSON; absent if it speaks the Open
    /// Inference Protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The deadline of a request that names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// A prediction that takes longer is ended, with its replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predict_ms_max: Option<u64>,
    /// A replica that is not ready by then has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_ms_max: Option<u64>,
}

/// `[schema]`: overrides by column name.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SchemaSection {
    /// The input columns; replaces those that the code tells.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Column>,
    /// The output columns; replaces those that the code tells.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Column>,
}

/// `[batch]`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BatchSection {
    /// The most rows that one call of the model gets.
    pub rows_max: u32,
    /// `false` where rows of a model influence each other: then a batch is one request.
    pub mix: bool,
    /// The most rows that wait; a request beyond it is refused with 429.
    pub queue_rows_max: u32,
}

impl Default for BatchSection {
    fn default() -> Self {
        BatchSection { rows_max: 64, mix: true, queue_rows_max: 4_096 }
    }
}

/// `[resources]`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResourcesSection {
    /// Batches in flight at one replica. Above 1 the model is called from several threads.
    pub concurrency: u32,
    /// Threads that numeric libraries may use in one replica; 0 leaves it to them.
    pub threads: u32,
    /// A replica above it is ended and restarted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mb_max: Option<u64>,
    /// Processor time that one replica may use, in cores, as 0.5; it is slowed down, not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_max: Option<f64>,
    /// Not supported yet; named here so that it is refused with a reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub gpu: Option<toml::Value>,
}

impl Default for ResourcesSection {
    fn default() -> Self {
        ResourcesSection {
            concurrency: 1,
            threads: 1,
            memory_mb_max: None,
            cpu_max: None,
            gpu: None,
        }
    }
}

/// `[tests]`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TestsSection {
    /// By how much a number may differ where a case does not say: absolute, or relative to the
    /// expected value, whichever is larger.
    pub tolerance: f64,
}

impl Default for TestsSection {
    fn default() -> Self {
        TestsSection { tolerance: 1e-6 }
    }
}

/// `[gates]`
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GatesSection {
    /// Of the short benchmark on a candidate replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_ms_max: Option<f64>,
    /// Memory of the candidate replica and of the parent that it was forked from together, after
    /// the benchmark, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mb_max: Option<f64>,
}

/// The sections that belong to an environment instead of a version: each deploy sets them anew.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Configuration {
    /// How many replicas.
    pub scale: ScaleSection,
    /// How traffic moves to a new version.
    pub release: ReleaseSection,
    /// Variables of the model's process.
    pub env: BTreeMap<String, String>,
}

/// `[scale]`
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScaleSection {
    /// Replicas that always run; default 0: after `idle_s` without requests none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<u32>,
    /// The most replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// Requests in flight that one replica should have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_concurrency: Option<f64>,
    /// The latency to keep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slo_ms: Option<f64>,
    /// How long without requests before replicas stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_s: Option<u64>,
}

/// `[release]`: the plan of a deploy that says nothing else.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReleaseSection {
    /// Default: `instant`, or what the other keys imply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Shares of the traffic one after the other, in percent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub canary: Vec<u8>,
    /// The share of requests whose copies go to the new version first, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<u8>,
    /// The least time of a step, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_s: Option<u64>,
    /// What the new version must keep to, as in `"errors<1%"`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<Guard>,
    /// The header whose value decides which version a caller gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sticky: Option<String>,
}

/// How traffic moves from one version to the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// All at once, when the new version is ready.
    Instant,
    /// A growing share.
    Canary,
    /// Copies only, until somebody releases or aborts.
    Shadow,
}

/// The steps of a canary if none are named, in percent.
const CANARY: [u8; 3] = [5, 25, 50];
/// The share of a shadow if none is named, in percent.
const SHADOW: u8 = 20;

impl ReleaseSection {
    /// The plan that this section asks for.
    pub fn plan(&self) -> Plan {
        let mut plan = Plan {
            canary: self.canary.clone(),
            shadow: self.shadow,
            every_ms: self.every_s.map(|s| s.saturating_mul(1_000)),
            guards: self.guards.clone(),
            sticky: self.sticky.clone(),
            ..Plan::default()
        };
        match self.strategy {
            Some(Strategy::Instant) => plan = Plan::default(),
            Some(Strategy::Canary) if plan.canary.is_empty() => plan.canary = CANARY.to_vec(),
            Some(Strategy::Shadow) if plan.shadow.is_none() => plan.shadow = Some(SHADOW),
            _ => {}
        }
        plan
    }
}

/// A manifest that cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ManifestError {
    /// Not TOML, an unknown key, a wrong type. The text carries line and column.
    #[error("decalog.toml cannot be read: {0}")]
    Parse(String),
    /// A value out of its range.
    #[error("decalog.toml: {key} {problem}")]
    Value {
        /// `section.key`
        key: &'static str,
        /// What is wrong and what to write.
        problem: String,
    },
}

impl Manifest {
    /// Parses and validates the text of a `decalog.toml`.
    pub fn parse(text: &str) -> Result<Manifest, ManifestError> {
        let manifest: Manifest =
            toml::from_str(text).map_err(|error| ManifestError::Parse(error.to_string()))?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// Checks what the types cannot: ranges, and what is not supported yet.
    pub fn validate(&self) -> Result<(), ManifestError> {
        let refuse =
            |key, problem: &str| Err(ManifestError::Value { key, problem: problem.to_string() });
        if self.resources.gpu.is_some() {
            return refuse(
                "resources.gpu",
                "is not supported yet: Decalog runs models on the CPU; remove the line",
            );
        }
        if !(1..=4_096).contains(&self.batch.rows_max) {
            return refuse("batch.rows_max", "must be from 1 to 4096");
        }
        if !(1..=1_000_000).contains(&self.batch.queue_rows_max) {
            return refuse("batch.queue_rows_max", "must be from 1 to 1000000");
        }
        if !(1..=64).contains(&self.resources.concurrency) {
            return refuse("resources.concurrency", "must be from 1 to 64");
        }
        if self.resources.threads > 1_024 {
            return refuse(
                "resources.threads",
                "must be from 0 (as many as the library likes) to 1024",
            );
        }
        if self.resources.cpu_max.is_some_and(|cores| !(0.05..=1_024.0).contains(&cores)) {
            return refuse("resources.cpu_max", "must be a number of cores from 0.05 to 1024");
        }
        if self.resources.memory_mb_max == Some(0) {
            return refuse(
                "resources.memory_mb_max",
                "must be at least 1; leave it out for no limit",
            );
        }
        if !(self.tests.tolerance >= 0.0 && self.tests.tolerance.is_finite()) {
            return refuse("tests.tolerance", "must be a number of at least 0");
        }
        for (key, value) in [
            ("model.deadline_ms", self.model.deadline_ms),
            ("model.predict_ms_max", self.model.predict_ms_max),
            ("model.start_ms_max", self.model.start_ms_max),
        ] {
            if value.is_some_and(|ms| !(1..=86_400_000).contains(&ms)) {
                return refuse(key, "must be from 1 to 86400000 (a day)");
            }
        }
        if self.model.path.as_ref().is_some_and(|path| !path.starts_with('/')) {
            return refuse("model.path", "must begin with a slash, as in \"/predict\"");
        }
        if self.model.file.as_ref().is_some_and(|file| !crate::tree::path_is_safe(file)) {
            return refuse("model.file", "must be a path within the model directory");
        }
        if self.model.runtime.is_some_and(Runtime::needs_command) && self.model.command.is_empty() {
            return refuse(
                "model.command",
                "is missing: runtime \"command\" needs command = [\"program\", \"argument\"]",
            );
        }
        for (key, value) in [("scale.min", self.scale.min), ("scale.max", self.scale.max)] {
            if value.is_some_and(|replicas| replicas > REPLICAS_MAX) {
                return refuse(
                    key,
                    &format!(
                        "must be at most {REPLICAS_MAX}: more replicas do not run on one machine"
                    ),
                );
            }
        }
        if self.scale.idle_s.is_some_and(|seconds| seconds > IDLE_S_MAX) {
            return refuse(
                "scale.idle_s",
                &format!(
                    "must be at most {IDLE_S_MAX} (a year); scale.min = 1 keeps a replica for good"
                ),
            );
        }
        if self.scale.min.unwrap_or(0) > self.scale.max.unwrap_or(u32::MAX) {
            return refuse("scale.min", "is above scale.max");
        }
        if let Err(error) = self.release.plan().validate() {
            return refuse("release", &format!("cannot be carried out: {error}"));
        }
        for (key, value) in [
            ("scale.target_concurrency", self.scale.target_concurrency),
            ("scale.slo_ms", self.scale.slo_ms),
        ] {
            if value.is_some_and(|value| !(value > 0.0 && value.is_finite())) {
                return refuse(key, "must be a number above 0");
            }
        }
        if let Err(problem) =
            self.schema.inputs.iter().chain(&self.schema.outputs).try_for_each(Column::check)
        {
            return refuse("schema", &problem);
        }
        if self.scale.max == Some(0) {
            return refuse("scale.max", "must be at least 1");
        }
        if let Some(name) = self.env.keys().find(|name| !variable_name_is_valid(name)) {
            let name = excerpt(name);
            return refuse(
                "env",
                &format!("has `{name}`, which is not a name for a variable: use A-Z, 0-9 and _"),
            );
        }
        Ok(())
    }

    /// The sections that belong to the environment that it is deployed to.
    pub fn configuration(&self) -> Configuration {
        Configuration {
            scale: self.scale.clone(),
            release: self.release.clone(),
            env: self.env.clone(),
        }
    }

    /// Over the sections that affect what the model answers or how it runs; the others can change
    /// without a new version.
    pub fn model_digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        let mut model = self.model.clone();
        (model.name, model.description) = (None, None);
        for section in [
            serde_json::to_vec(&model),
            serde_json::to_vec(&self.schema),
            serde_json::to_vec(&self.batch),
            serde_json::to_vec(&self.resources),
        ] {
            hasher.field(&section.unwrap_or_default());
        }
        hasher.finish()
    }

    /// The deadline of a request that names none, in milliseconds.
    pub fn deadline_ms(&self) -> u64 {
        self.model.deadline_ms.unwrap_or(30_000)
    }

    /// The longest a prediction may take, in milliseconds.
    pub fn predict_ms_max(&self) -> u64 {
        self.model.predict_ms_max.unwrap_or(60_000)
    }

    /// The longest a replica may take to become ready, in milliseconds.
    pub fn start_ms_max(&self) -> u64 {
        self.model.start_ms_max.unwrap_or(180_000)
    }
}

/// Whether a process can have a variable of this name; Decalog's own are not for models to set.
pub fn variable_name_is_valid(name: &str) -> bool {
    let starts = name.bytes().next().is_some_and(|c| c.is_ascii_alphabetic() || c == b'_');
    starts
        && name.len() <= 128
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
        && !name.starts_with("DECALOG_")
}

#[cfg(test)]
mod tests;
