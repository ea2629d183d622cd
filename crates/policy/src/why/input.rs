//! What is known: requests in cells, series beside them, and what the ledger says happened.
//!
//! Everything is summed up before it comes here, so that a day of records is a table of cells. A
//! cell is one bucket of 5 s of one combination of version, replica, caller and size of batch.

use domain::alarm::AlarmKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::histogram::Histogram;
use super::metric::Metric;

/// How many buckets are looked at: two hours of 5 s.
pub const WINDOW_BUCKETS: usize = 1_440;
/// The most buckets that an input may have: a day. Later ones are left out.
pub const BUCKETS_MAX: usize = 17_280;
/// The most cells that are read, of requests and of each column; further ones are left out.
pub const CELLS_MAX: usize = 4_000_000;
/// In a [`Key`]: not known.
pub const NONE: u16 = u16::MAX;

/// What is asked.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Question {
    /// Which number; without it, that of an open alarm, or else whichever changed.
    pub metric: Option<Metric>,
    /// About when it changed, in milliseconds since 1970; without it, lately.
    pub at_ms: Option<u64>,
    /// Alarms of the model that are open. One that fits the metric is proof that it changed.
    pub alarms: Vec<OpenAlarm>,
    /// All randomness.
    pub seed: u64,
}

/// An alarm that is open.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct OpenAlarm {
    /// What it is about.
    pub kind: AlarmKind,
    /// When what it tells of began, in milliseconds since 1970.
    pub since_ms: u64,
}

/// All that is known of a model in an environment.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Observed {
    /// The beginning of bucket 0, in milliseconds since 1970.
    pub start_ms: u64,
    /// How many buckets of [`crate::drift::BUCKET_MS`] there are.
    pub buckets: usize,
    /// What the numbers of keys mean.
    pub names: Names,
    /// Requests. Several cells may have one key and bucket; they are added. Their `value` is not
    /// read.
    pub cells: Vec<Cell>,
    /// The same requests by the values of one column each.
    pub columns: Vec<Column>,
    /// What was measured beside the requests.
    pub series: Vec<Series>,
    /// What happened.
    pub events: Vec<Event>,
}

/// Names by their place in a list. A name that stands twice means two things.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Names {
    /// Of versions, as an event names them; a version under another configuration is another name.
    pub versions: Vec<String>,
    /// Of replicas.
    pub replicas: Vec<String>,
    /// Of callers.
    pub callers: Vec<String>,
    /// Of classes of batches by their rows, such as `1`, `2 to 3`, `4 to 7`.
    pub sizes: Vec<String>,
    /// Of bins of the output.
    pub outputs: Vec<String>,
}

/// Whose requests; each a place in [`Names`], or [`NONE`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Key {
    /// That answered.
    pub version: u16,
    /// That answered.
    pub replica: u16,
    /// Who asked.
    pub caller: u16,
    /// Rows of the batch.
    pub size: u16,
    /// Of a column, a place in [`Column::values`].
    pub value: u16,
}

impl Default for Key {
    fn default() -> Key {
        Key { version: NONE, replica: NONE, caller: NONE, size: NONE, value: NONE }
    }
}

/// Requests of a bucket that have the same key.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Cell {
    /// When, counted from [`Observed::start_ms`].
    pub bucket: u32,
    /// Whose.
    pub key: Key,
    /// What they came to.
    pub sums: Sums,
}

/// Sums over records, each by its weight: the number of requests that it stands for. Sums that are
/// no finite numbers, or negative, count as nothing.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Sums {
    /// Weights of all.
    pub requests: f64,
    /// Squares of the weights of all: with them one knows how many records it rests on.
    pub squares: f64,
    /// Weights of those that failed by fault of the model or of Decalog.
    pub errors: f64,
    /// Of these, those that found no place in the queue or were not done in time.
    pub overload: f64,
    /// Weights of those whose truth is known.
    pub truths: f64,
    /// Squares of these weights.
    pub truth_squares: f64,
    /// Weights of those whose truth is known, times their loss (0 to 1).
    pub loss: f64,
    /// From the first byte to the answer.
    pub total: Histogram,
    /// Waiting.
    pub queue: Histogram,
    /// At the worker.
    pub worker: Histogram,
    /// Weights by bin of the output, a place in [`Names::outputs`].
    pub outputs: Vec<(u16, f32)>,
}

/// Requests by the value of one input column. Their histograms may be left empty, and then the
/// column is not looked at for latency.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Column {
    /// As the schema names it.
    pub name: String,
    /// What its values are: a category, a range of numbers, or `missing`.
    pub values: Vec<String>,
    /// By bucket, version, caller and value.
    pub cells: Vec<Cell>,
}

/// What a series measures.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum SeriesKind {
    /// Requests that wait.
    QueueDepth,
    /// The share of time in which something waited for a processor, from 0 to 1.
    CpuPressure,
    /// The share of time in which the limit on processors held processes up, from 0 to 1.
    CpuThrottled,
    /// Replicas that are starting, or started in the bucket.
    Starting,
    /// Replicas that ended by themselves in the bucket.
    Restarts,
    /// Replicas that take requests.
    Replicas,
    /// Memory of replicas, in bytes.
    Memory,
}

/// One number by bucket.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Series {
    /// What it measures.
    pub kind: SeriesKind,
    /// By bucket; `None` is no data, and not zero.
    pub values: Vec<Option<f32>>,
}

/// What happened.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A release began to take traffic.
    ReleaseStarted,
    /// Its share of the traffic grew.
    ReleaseStep,
    /// It has all traffic.
    ReleaseFinished,
    /// Traffic went back to an earlier version.
    Rollback,
    /// A variable or a secret of the environment, or a limit, became another.
    Configuration,
    /// Packages or the machine became others.
    Environment,
    /// The number of replicas was changed.
    Scaled,
    /// A replica ended by itself.
    ReplicaFailed,
    /// A replica is ready.
    ReplicaStarted,
    /// What a name of callers stands for became another.
    Reference,
    /// A caller's token or limits became others.
    Token,
}

/// An entry of the ledger, or of telemetry.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What.
    pub kind: EventKind,
    /// To what: a name of a version, replica or caller as in [`Names`]; empty if to all.
    pub subject: String,
    /// By whom.
    pub actor: String,
    /// How it is found again, such as its number in the ledger.
    pub reference: String,
}
