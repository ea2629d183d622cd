//! Predictions as records have them, joined with what turned out to be true of them.

use std::collections::HashSet;
use std::io;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, UInt16Type, UInt32Type};
use arrow_array::{Array, RecordBatch};
use bytes::Bytes;
use domain::ModelKey;
use domain::outcome::Outcome;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::runtime::Handle;

use crate::columns::OUTPUT;
use crate::outcomes::{Outcomes, element_of};
use crate::seal::time_ms;
use crate::truth::{Found, Truths, of_prediction};
use crate::{Keeper, RecordFile};

/// Rows that are in memory at a time, beside the file.
const ROWS_AT_A_TIME: usize = 8_192;
/// Of the answer that a caller got.
const OK: u16 = 200;

/// A prediction, and its truth if it is known.
#[derive(Clone, PartialEq, Debug)]
pub struct Joined<'a> {
    /// When it was made, in milliseconds since 1970.
    pub time_ms: u64,
    /// What the caller called it.
    pub key: Option<&'a str>,
    /// How many predictions it stands for.
    pub weight: f64,
    /// What was predicted.
    pub predicted: Outcome,
    /// What is true.
    pub truth: Option<Found>,
}

/// What predictions are joined with.
pub struct Joining<'a> {
    /// Who has the records.
    pub keeper: &'a Keeper,
    /// Where the store does its work; not the thread that asks.
    pub runtime: &'a Handle,
    /// What turned out to be true.
    pub truths: &'a Truths,
}

/// The columns that are read besides the output.
const READ: [&str; 6] = ["id", "row", "status", "key", "copy", "weight"];

impl Joining<'_> {
    /// Hands over each prediction of a file that a caller got and that has a value of this output;
    /// copies for shadows are left out. Truth that came more than `truth_ms_max` milliseconds after
    /// its prediction counts if it names the request, and not if it names a key.
    pub fn file(
        &self,
        file: &RecordFile,
        output: &str,
        truth_ms_max: u64,
        take: &mut dyn FnMut(Joined<'_>),
    ) -> io::Result<()> {
        let column = format!("{OUTPUT}{}", element_of(output).0);
        if !file.columns.iter().any(|known| known.name == column) {
            return Ok(());
        }
        let content = self.runtime.block_on(self.keeper.area().get(&file.path));
        let truth = Truth { truths: self.truths, model: &file.model, output, truth_ms_max };
        for batch in batches(content.map_err(io::Error::other)?, &column)? {
            truth.join(&batch?, &mut |_, joined| take(joined))?;
        }
        Ok(())
    }
}

/// What predictions of a model are joined with, however they were read.
pub struct Truth<'a> {
    /// What turned out to be true.
    pub truths: &'a Truths,
    /// Of which model.
    pub model: &'a ModelKey,
    /// The output that is compared: `leave`, or `probability[1]` for an element of a list.
    pub output: &'a str,
    /// Truth of a key that came later than this after its prediction, in milliseconds, does not
    /// count.
    pub truth_ms_max: u64,
}

impl Truth<'_> {
    /// Hands over each prediction of a batch that a caller got and that has a value of the output,
    /// with its row there; copies for shadows are left out. The batch has the columns `id`, `row`,
    /// `status`, `key`, `copy`, `weight` and that of the output.
    pub fn join(
        &self,
        batch: &RecordBatch,
        take: &mut dyn FnMut(usize, Joined<'_>),
    ) -> io::Result<()> {
        let column = |name: &str| {
            let missing = || io::Error::other(format!("records have no column {name}"));
            batch.column_by_name(name).ok_or_else(missing)
        };
        let (ids, keys) = (column("id")?.as_string::<i32>(), column("key")?.as_string::<i32>());
        let rows = column("row")?.as_primitive::<UInt32Type>();
        let statuses = column("status")?.as_primitive::<UInt16Type>();
        let copies = column("copy")?.as_boolean();
        let weights = column("weight")?.as_primitive::<Float64Type>();
        let (name, element) = element_of(self.output);
        let outcomes = Outcomes::new(column(&format!("{OUTPUT}{name}"))?);
        let outcomes = outcomes.map_err(io::Error::other)?;
        let count = batch.num_rows();
        let Some((first, last)) = ids.iter().flatten().fold(None, span) else { return Ok(()) };
        let by_id = self.truths.of_requests(self.model, &id_of(first), &id_of(last));
        let by_id = by_id.map_err(io::Error::other)?;
        let key_of = |row: usize| keys.is_valid(row).then(|| keys.value(row));
        let known: HashSet<&str> =
            match self.truths.has_keys(self.model).map_err(io::Error::other)? {
                true => (0..count).filter_map(key_of).collect(),
                false => HashSet::new(),
            };
        let by_key =
            self.truths.of_keys(self.model, known.into_iter()).map_err(io::Error::other)?;
        for row in 0..count {
            if statuses.value(row) != OK || copies.value(row) {
                continue;
            }
            let value = match element {
                Some(at) => outcomes.element(row, at),
                None => outcomes.get(row),
            };
            let Some(Ok(predicted)) = value else { continue };
            let id = id_of(ids.value(row));
            let (time_ms, key) = (time_ms(&id), key_of(row));
            let said = key.and_then(|key| by_key.get(key));
            let truth = by_id
                .get(&(id, rows.value(row)))
                .cloned()
                .or_else(|| said.and_then(|said| of_prediction(said, time_ms, self.truth_ms_max)));
            take(row, Joined { time_ms, key, weight: weights.value(row), predicted, truth });
        }
        Ok(())
    }
}

/// The least and the greatest of some ids; texts sort as their times.
fn span<'a>(known: Option<(&'a str, &'a str)>, id: &'a str) -> Option<(&'a str, &'a str)> {
    Some(known.map_or((id, id), |(first, last)| (first.min(id), last.max(id))))
}

fn batches(
    content: Bytes,
    output: &str,
) -> io::Result<impl Iterator<Item = io::Result<RecordBatch>> + use<>> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(content).map_err(io::Error::other)?;
    let names = builder.schema().fields().iter().map(|field| field.name().as_str());
    let wanted = names.enumerate().filter(|(_, name)| READ.contains(name) || *name == output);
    let wanted: Vec<usize> = wanted.map(|(at, _)| at).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
    let reader = builder.with_projection(mask).with_batch_size(ROWS_AT_A_TIME).build();
    let reader = reader.map_err(io::Error::other)?;
    Ok(reader.map(|batch| batch.map_err(io::Error::other)))
}

/// Zeros for a text that is no id.
fn id_of(text: &str) -> [u8; 16] {
    let mut id = [0; 16];
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
    let _ = hex::decode_to_slice(&digits, &mut id);
    id
}
