//! What was found out about a candidate before it got traffic.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of the row that a candidate without cases gets, made up after its schema.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MadeUpRow {
    /// The model answered it.
    Answered,
    /// The model says that this is no input for it; why.
    Refused(String),
    /// It was not sent, and why.
    Skipped(String),
}

/// A short benchmark of one replica.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Measurement {
    /// Median, in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile, in milliseconds.
    pub p99_ms: f64,
    /// Resident memory afterwards, in MiB.
    pub memory_mb: f64,
    /// Requests measured.
    pub requests: u32,
}
