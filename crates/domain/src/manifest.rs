//! `decalog.toml`: everything in it is optional, and what is absent is inferred or has a default.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Hasher};
use crate::problem::excerpt;
use crate::rule::RULES_MAX;
use crate::scale::{IDLE_S_MAX, REPLICAS_MAX};
use crate::schema::ColumnChange;

mod alarms;
mod data;
mod records;
mod release;
mod runtime;
mod sections;
mod truth;

pub use alarms::AlarmsSection;
pub use data::{DataSection, Names, PROFILE_FILE, check_name};
pub use records::{REDACTED_MAX, RecordsSection, Redact};
pub use release::{ReleaseSection, Strategy};
pub use runtime::Runtime;
pub use sections::{
    BatchSection, GatesSection, ModelSection, ResourcesSection, ScaleSection, SchemaSection,
    TestsSection,
};
pub use truth::{THRESHOLD, TRUTH_DAYS, TRUTH_DAYS_MAX, TruthSection};

/// The manifest's file name in a model directory.
pub const MANIFEST_FILE: &str = "decalog.toml";

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
    /// What it was trained with, and what later values are compared with.
    #[serde(skip_serializing_if = "DataSection::is_empty")]
    pub data: DataSection,
    /// How cases under `tests/` are compared.
    pub tests: TestsSection,
    /// What a version must reach before it takes traffic.
    pub gates: GatesSection,
    /// How many replicas.
    pub scale: ScaleSection,
    /// How traffic moves to a new version.
    pub release: ReleaseSection,
    /// What the truth that comes later is compared with.
    #[serde(skip_serializing_if = "TruthSection::is_unsaid")]
    pub truth: TruthSection,
    /// Variables of the model's process.
    pub env: BTreeMap<String, String>,
    /// Rules of one's own.
    #[serde(skip_serializing_if = "AlarmsSection::is_empty")]
    pub alarms: AlarmsSection,
    /// What is kept of requests.
    #[serde(skip_serializing_if = "RecordsSection::is_empty")]
    pub records: RecordsSection,
}

/// The sections that belong to an environment instead of a version: each deploy sets them anew.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Configuration {
    /// How many replicas.
    pub scale: ScaleSection,
    /// How traffic moves to a new version.
    pub release: ReleaseSection,
    /// What the truth that comes later is compared with.
    #[serde(skip_serializing_if = "TruthSection::is_unsaid")]
    pub truth: TruthSection,
    /// Variables of the model's process.
    pub env: BTreeMap<String, String>,
    /// Rules of one's own.
    #[serde(skip_serializing_if = "AlarmsSection::is_empty")]
    pub alarms: AlarmsSection,
    /// What is kept of requests.
    #[serde(skip_serializing_if = "RecordsSection::is_empty")]
    pub records: RecordsSection,
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
        if let Err((key, problem)) = self.data.check() {
            return refuse(key, &problem);
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
            self.schema.inputs.iter().chain(&self.schema.outputs).try_for_each(ColumnChange::check)
        {
            return refuse("schema", &problem);
        }
        self.truth.validate()?;
        if self.alarms.rules.len() > RULES_MAX {
            return refuse("alarms.rules", &format!("are more than {RULES_MAX}"));
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
        self.records.check().or_else(|(key, problem)| refuse(key, &problem))
    }

    /// The sections that belong to the environment that it is deployed to.
    pub fn configuration(&self) -> Configuration {
        Configuration {
            scale: self.scale.clone(),
            release: self.release.clone(),
            truth: self.truth.clone(),
            env: self.env.clone(),
            alarms: self.alarms.clone(),
            records: self.records.clone(),
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
