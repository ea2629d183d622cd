//! What is answered. It is data: numbers have names and units, and what to do next is a value, so
//! that a page can draw it and a command can say it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::chart::Chart;
use super::input::{EventKind, SeriesKind};
use super::metric::Metric;

/// What became of a question.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It changed, and causes account for some of it; or one unknown does.
    Explained,
    /// Nothing beyond noise.
    Nothing,
    /// There is too little before the change to compare with.
    TooLittle,
}

/// A stretch of time, in milliseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Span {
    /// The first.
    pub from_ms: u64,
    /// The end.
    pub to_ms: u64,
}

/// What a number is counted in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Milliseconds.
    Milliseconds,
    /// Of all: 0 to 1.
    Share,
    /// So many.
    Count,
    /// So many a second.
    PerSecond,
    /// Bytes.
    Bytes,
}

/// The metric in one of the two stretches of time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Level {
    /// When.
    pub span: Span,
    /// What is compared, and of what; as in `measure` of the answer.
    pub share: f64,
    /// Of latency: the 50th percentile, in milliseconds.
    pub p50_ms: Option<f64>,
    /// Of latency: the 99th percentile, in milliseconds.
    pub p99_ms: Option<f64>,
    /// Requests, by weight.
    pub requests: f64,
    /// How many records it rests on, as if all weighed the same.
    pub records: f64,
}

/// What a cause is.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    /// A version is slower, or worse, than the others or than what came before it.
    Version,
    /// A version fails.
    FailingVersion,
    /// One replica is unlike the others of its version.
    Replica,
    /// A caller's requests changed, or there are more of them.
    Caller,
    /// An input column is distributed differently.
    Column,
    /// Rows with one value of a column fare worse, and are no more than before.
    Slice,
    /// Processors were short.
    Cpu,
    /// Replicas started, again and again.
    ColdStarts,
    /// There are fewer replicas.
    Replicas,
    /// A variable, a secret, a limit, packages or the machine.
    Configuration,
    /// All versions and replicas became slower, processors were not short, and nothing was changed:
    /// something that the model calls, or the data.
    Dependency,
    /// There are more requests, or larger ones.
    Load,
    /// Requests wait.
    Queue,
    /// The truth became another for the same inputs and outputs.
    Concept,
    /// None of these.
    Unknown,
}

/// What a cause, or what was ruled out, is called.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Reference {
    /// Of a version, replica, caller or column; empty if there is only one of its kind.
    pub name: String,
    /// Of a column, its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// How the event is found in the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// What it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub happened: Option<EventKind>,
}

/// One number before and after.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// What of: `share`, `p99`, `rest`, `traffic`, `without`, `mix`, `rate`, `requests`, or a series.
    pub name: String,
    /// Counted in.
    pub unit: Unit,
    /// Before; absent if there was none.
    pub before: Option<f64>,
    /// After.
    pub after: f64,
    /// How many records it rests on, if on any.
    pub records: Option<f64>,
}

/// What a person should do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum Next {
    /// Release this version again.
    RollBack {
        /// That had the traffic before.
        to: String,
    },
    /// Look at what it wrote, and replace it.
    LookAtReplica {
        /// Its name.
        replica: String,
    },
    /// Talk to whoever calls, or limit it.
    LookAtCaller {
        /// Its name.
        caller: String,
    },
    /// Look at where its values come from.
    LookAtColumn {
        /// Its name.
        column: String,
    },
    /// Look at the change, and take it back.
    TakeBack {
        /// The event.
        event: String,
    },
    /// Allow more replicas.
    MoreReplicas,
    /// Give it more processors, or find out who took them.
    MoreProcessors,
    /// Keep more replicas ready, and see why they end.
    KeepReplicasReady,
    /// Look at what the model calls.
    LookAtDependencies,
    /// Train again with recent truth.
    TrainAgain,
    /// Look at the records themselves.
    LookAtRecords,
}

/// What accounts for a part of the change.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    /// What it is.
    pub kind: CauseKind,
    /// Which.
    pub reference: Reference,
    /// Of the change, 0 to 1. Shares of causes that follow from none sum up to 1 at most.
    pub share: f64,
    /// When it began, with 95% confidence.
    pub interval: Span,
    /// How rare as much is when nothing happened: the share of quiet moments at which this question
    /// had an answer as large.
    pub p: f64,
    /// The share that it is measured by, in words, as that of the answer: what changed beside it has
    /// another.
    pub measure: String,
    /// Numbers that show it.
    pub evidence: Vec<Evidence>,
    /// The number of the cause, from 1, without which it would not be.
    pub follows_from: Option<usize>,
    /// What to do.
    pub next: Next,
    /// Its requests beside the others, over time; absent if it is no group of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chart: Option<Chart>,
}

/// Why something is no cause.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "because")]
pub enum WhyNot {
    /// It accounts for too little: of the change, 0 to 1.
    TooSmall {
        /// Of the change.
        share: f64,
    },
    /// As much is seen when nothing happens.
    LikeNoise {
        /// The share of quiet moments with as much.
        p: f64,
    },
    /// The change is in the same requests as a cause.
    SameRequests {
        /// The number of the cause, from 1.
        cause: usize,
    },
    /// It was there before the change, and all was well.
    WellBefore {
        /// For so long, in milliseconds.
        for_ms: u64,
        /// The metric in that time.
        share: f64,
    },
    /// It did not move.
    DidNotMove {
        /// What it is now, relative to before.
        times: f64,
    },
    /// A cause accounts for it already.
    Accounted {
        /// The number of the cause, from 1.
        cause: usize,
    },
}

/// What is no cause.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RuledOut {
    /// As what it was looked at.
    pub kind: CauseKind,
    /// Which.
    pub reference: Reference,
    /// Of a series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<SeriesKind>,
    /// Why not.
    pub why: WhyNot,
}

/// The smallest change that would have been seen.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Visible {
    /// What share was looked at, as in `measure` of the answer.
    pub measure: String,
    /// From this share …
    pub from: f64,
    /// … to this one …
    pub to: f64,
    /// … for so long.
    pub for_ms: u64,
}

/// What there is to say.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    /// What became of the question.
    pub outcome: Outcome,
    /// The number that was looked at.
    pub metric: Metric,
    /// The share that causes are measured by, in words: `slower than 64.0 ms`.
    pub measure: String,
    /// When it changed, most likely, in milliseconds since 1970.
    pub changed_at: Option<u64>,
    /// When it changed, with 95% confidence.
    pub interval: Option<Span>,
    /// How rare such a change is when nothing changes; absent if an alarm said so.
    pub p: Option<f64>,
    /// Before.
    pub before: Option<Level>,
    /// After.
    pub after: Option<Level>,
    /// The greatest first; what follows from one stands after it.
    pub causes: Vec<Cause>,
    /// Of what was looked at.
    pub ruled_out: Vec<RuledOut>,
    /// Always there if there was enough to look at.
    pub smallest_visible: Option<Visible>,
    /// Moments before the change with which it was compared.
    pub quiet_points: usize,
    /// The share that is looked at, over time; absent if nothing changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chart: Option<Chart>,
}
