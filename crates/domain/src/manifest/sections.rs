//! The sections of a manifest with their keys and defaults; `[release]` has a file of its own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::runtime::Runtime;
use crate::id::ModelName;
use crate::schema::ColumnChange;

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

/// `[schema]`: what is said of columns on top of what the model tells, by their names.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SchemaSection {
    /// Of input columns; those that it does not name are as the model tells.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<ColumnChange>,
    /// Of output columns; those that it does not name are as the model tells.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<ColumnChange>,
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
