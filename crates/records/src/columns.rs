//! The columns of a file of records. A model's inputs are `in.NAME`, its outputs `out.NAME`: a
//! scalar by its own type, texts as Utf8 (Binary in a file with text that is not UTF-8), tensors as
//! lists of their elements in row-major order, with `in.NAME:shape` beside them.

use std::sync::Arc;

use arrow_schema::{DataType, Field, TimeUnit};

/// Before the name of an input.
pub const INPUT: &str = "in.";
/// Before the name of an output.
pub const OUTPUT: &str = "out.";

/// The columns that every file has, in their order, and whether they can be null:
///
/// - `id`: of the request, a UUIDv7 as text; texts sort as their times. `row` counts the request's
///   rows from 0, of which there are `rows`; one that failed before its rows were read has `row` 0
///   and `rows` 0.
/// - `time`: when it was answered.
/// - `reference`: what the caller asked for; `placement`: the model, environment, version, digest and
///   revision that answered, in columns of their own; `epoch`: of the route table.
/// - `principal`: who asked; `key`: what the truth is joined by.
/// - `total_us`, `queue_us`, `worker_us`: where its time went. `batch_rows`, `batch_offset`: the size of
///   the batch that carried it, and its first row there.
/// - `status`, `code`, `error`: how it ended, as the caller was told.
/// - `trace`: the W3C trace id, of the caller or begun here. `copy`: whether it was a copy for a shadow.
/// - `weight`: how many requests it stands for: 1 divided by the probability that it was kept.
/// - `payload`: `whole`; `none` where no rows were read; `large` or `dropped` where the values are
///   missing for want of room.
pub fn fixed() -> Vec<Arc<Field>> {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    let number = |name: &str| Field::new(name, DataType::UInt32, false);
    vec![
        text("id", false),
        number("row"),
        number("rows"),
        Field::new("time", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        text("project", false),
        text("model", false),
        text("environment", false),
        text("version", false),
        text("digest", false),
        number("revision"),
        Field::new("epoch", DataType::UInt64, false),
        text("reference", false),
        text("replica", true),
        text("principal", true),
        text("key", true),
        number("total_us"),
        number("queue_us"),
        number("worker_us"),
        number("batch_rows"),
        number("batch_offset"),
        Field::new("status", DataType::UInt16, false),
        text("code", true),
        text("error", true),
        text("trace", true),
        Field::new("copy", DataType::Boolean, false),
        Field::new("weight", DataType::Float64, false),
        text("payload", false),
    ]
    .into_iter()
    .map(Arc::new)
    .collect()
}
