//! The numbers that can be asked about.

use std::fmt;

use domain::alarm::AlarmKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What changed, or is asked about.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The share of requests that fail.
    Errors,
    /// How long requests take.
    Latency,
    /// The mean loss by the truth.
    Accuracy,
    /// How outputs and inputs are distributed.
    Drift,
}

impl Metric {
    /// All, in the order in which they matter.
    pub const ALL: [Metric; 4] = [Metric::Errors, Metric::Latency, Metric::Accuracy, Metric::Drift];

    /// What an alarm is about; `None` of those that no requests account for.
    pub fn of_alarm(kind: AlarmKind) -> Option<Metric> {
        use AlarmKind::*;
        match kind {
            Latency | TailLatency | SloLatency | QueueGrowth => Some(Metric::Latency),
            Errors | CrashLoop | SloAvailability => Some(Metric::Errors),
            Quality | EstimatedQuality => Some(Metric::Accuracy),
            Inputs | Outputs | Missing | Unseen | OutOfRange | Slices => Some(Metric::Drift),
            Disk | RecordsLost | SloRecords | Rule => None,
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Metric::Errors => "errors",
            Metric::Latency => "latency",
            Metric::Accuracy => "accuracy",
            Metric::Drift => "drift",
        })
    }
}
