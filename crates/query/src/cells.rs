//! Requests of a model summed up in cells, as `policy::why` reads them. All requests are counted, or
//! where they are too many all that failed and some of the others, which count for those that are
//! left out; values of columns are those of a sample, drawn by the id, in bins that are made of it.

mod columns;
mod count;
mod fixed;
mod names;

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use domain::{EnvironmentName, ModelKey, VersionNumber};
use policy::truth::Comparison;
use policy::why::{Cell, Column};
use records::columns::{INPUT, OUTPUT};
use records::element_of;
use records::truth::Truths;

use crate::known::KnownFile;

pub(crate) use count::Counting;

/// From this status on a request failed, and is read in any case.
pub(crate) const FAILED_FROM: u16 = 400;
const HOUR_MS: u64 = 3_600_000;
/// Columns that are looked at.
const COLUMNS_MAX: usize = 64;
/// What is read besides columns of the model.
const FIXED: [&str; 16] = [
    "id",
    "row",
    "rows",
    "time",
    "version",
    "revision",
    "replica",
    "principal",
    "key",
    "total_us",
    "queue_us",
    "worker_us",
    "status",
    "code",
    "copy",
    "weight",
];

/// Which requests, and by what they are told apart.
#[derive(Clone)]
pub struct CellsAsk {
    /// Of this model …
    pub model: ModelKey,
    /// … in this environment.
    pub environment: EnvironmentName,
    /// The beginning of the first bucket, in milliseconds since 1970.
    pub start_ms: u64,
    /// The length of a bucket, in milliseconds.
    pub bucket_ms: u64,
    /// How many there are.
    pub buckets: usize,
    /// How wrong predictions were, if that is known.
    pub truth: Option<Judge>,
}

impl CellsAsk {
    /// The end of the last bucket, in milliseconds since 1970.
    pub fn end_ms(&self) -> u64 {
        self.start_ms.saturating_add(self.bucket_ms.saturating_mul(self.buckets as u64))
    }

    /// One in how many rows of these files is read, for them to be about so many at most.
    pub(crate) fn one_in(&self, files: &[Arc<KnownFile>], rows_max: u64) -> u64 {
        let within = |known: &Arc<KnownFile>| {
            let begin_ms = known.file.hour_ms;
            let from_ms = begin_ms.max(self.start_ms);
            let to_ms = begin_ms.saturating_add(HOUR_MS).min(self.end_ms());
            to_ms.saturating_sub(from_ms) as f64 / HOUR_MS as f64 * known.file.rows as f64
        };
        let rows: f64 = files.iter().map(within).sum();
        ((rows / rows_max.max(1) as f64).ceil() as u64).max(1)
    }
}

impl std::fmt::Debug for CellsAsk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CellsAsk")
            .field("model", &self.model)
            .field("environment", &self.environment)
            .field("start_ms", &self.start_ms)
            .finish_non_exhaustive()
    }
}

/// By what predictions are judged.
#[derive(Clone)]
pub struct Judge {
    /// What turned out to be true.
    pub truths: Arc<Truths>,
    /// How it is compared with predictions.
    pub comparison: Comparison,
}

/// What requests came to.
#[derive(Debug, Default)]
pub struct Cells {
    /// Which versions there are, by their number in keys, each with its revision.
    pub versions: Vec<(VersionNumber, u32)>,
    /// Which replicas.
    pub replicas: Vec<String>,
    /// Which callers, as principals.
    pub callers: Vec<String>,
    /// Which classes of requests by their rows.
    pub sizes: Vec<String>,
    /// Which bins of the output.
    pub outputs: Vec<String>,
    /// The output that bins are of.
    pub output: Option<String>,
    /// All requests.
    pub cells: Vec<Cell>,
    /// A sample of their rows by the values of each column.
    pub columns: Vec<Column>,
    /// By bucket: how many requests waited in the mean.
    pub waiting: Vec<f64>,
    /// Records that were read.
    pub records: u64,
    /// The share of rows that are in the sample.
    pub sampled: f64,
}

/// The columns of the table that are read for it, by name: those of every record, inputs that have
/// one value a row, and one output.
pub(crate) fn wanted(ask: &CellsAsk, stored: &SchemaRef) -> Vec<String> {
    let fields = stored.fields().iter();
    let inputs = fields
        .clone()
        .filter(|field| field.name().starts_with(INPUT) && columns::is_read(field.data_type()));
    let inputs = inputs.take(COLUMNS_MAX).map(|field| field.name().clone());
    let judged = ask
        .truth
        .as_ref()
        .map(|judge| format!("{OUTPUT}{}", element_of(&judge.comparison.output).0));
    let is_there = |name: &String| fields.clone().any(|field| field.name() == name);
    let judged = judged.filter(is_there);
    let output = output_of(ask, stored);
    let mut names: Vec<String> = FIXED.iter().map(|name| name.to_string()).collect();
    names.extend(inputs.chain(judged).chain(output));
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// The output whose distribution is looked at: that which truth is compared with, else the first
/// that has one value a row.
fn output_of(ask: &CellsAsk, stored: &SchemaRef) -> Option<String> {
    let is_read = |name: &str| {
        let field = stored.field_with_name(name).ok();
        field.is_some_and(|field| columns::is_read(field.data_type()))
    };
    let judged = ask.truth.as_ref().map(|judge| format!("{OUTPUT}{}", judge.comparison.output));
    judged.filter(|name| is_read(name)).or_else(|| {
        let mut fields = stored.fields().iter();
        let first = fields
            .find(|field| field.name().starts_with(OUTPUT) && columns::is_read(field.data_type()));
        first.map(|field| field.name().clone())
    })
}

/// A batch whose columns are found by their names.
pub(crate) fn named<'b>(
    batch: &'b RecordBatch,
    name: &str,
    datatype: &DataType,
) -> Result<&'b Arc<dyn datafusion::arrow::array::Array>, String> {
    match batch.column_by_name(name) {
        Some(column) if column.data_type() == datatype => Ok(column),
        Some(column) => Err(format!("{name} is {}, and not {datatype}", column.data_type())),
        None => Err(format!("records have no column {name}")),
    }
}
