//! Predictions as records have them, joined with what turned out to be true of them.

use std::collections::HashSet;
use std::io;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, UInt16Type, UInt32Type};
use arrow_array::{Array, RecordBatch};
use bytes::Bytes;
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

/// Which values of a batch are predictions.
#[derive(Clone, Copy)]
struct Values<'a> {
    /// The column.
    output: &'a str,
    /// One element of its lists.
    element: Option<usize>,
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
        let (name, element) = element_of(output);
        let output = format!("{OUTPUT}{name}");
        if !file.columns.iter().any(|column| column.name == output) {
            return Ok(());
        }
        let content = self.runtime.block_on(self.keeper.area().get(&file.path));
        let has_keys = self.truths.has_keys(&file.model).map_err(io::Error::other)?;
        for batch in batches(content.map_err(io::Error::other)?, &output)? {
            let values = Values { output: &output, element };
            self.batch(file, &batch?, values, has_keys, truth_ms_max, take)?;
        }
        Ok(())
    }

    fn batch(
        &self,
        file: &RecordFile,
        batch: &RecordBatch,
        values: Values<'_>,
        has_keys: bool,
        truth_ms_max: u64,
        take: &mut dyn FnMut(Joined<'_>),
    ) -> io::Result<()> {
        let column = |name: &str| {
            let missing = || io::Error::other(format!("{} has no column {name}", file.path));
            batch.column_by_name(name).ok_or_else(missing)
        };
        let (ids, keys) = (column("id")?.as_string::<i32>(), column("key")?.as_string::<i32>());
        let rows = column("row")?.as_primitive::<UInt32Type>();
        let statuses = column("status")?.as_primitive::<UInt16Type>();
        let copies = column("copy")?.as_boolean();
        let weights = column("weight")?.as_primitive::<Float64Type>();
        let outcomes = Outcomes::new(column(values.output)?).map_err(io::Error::other)?;
        let count = batch.num_rows();
        if count == 0 {
            return Ok(());
        }
        let (first, last) = (id_of(ids.value(0)), id_of(ids.value(count - 1)));
        let by_id = self.truths.of_requests(&file.model, &first, &last);
        let by_id = by_id.map_err(io::Error::other)?;
        let key_of = |row: usize| keys.is_valid(row).then(|| keys.value(row));
        let known: HashSet<&str> = match has_keys {
            true => (0..count).filter_map(key_of).collect(),
            false => HashSet::new(),
        };
        let by_key = self.truths.of_keys(&file.model, known.into_iter());
        let by_key = by_key.map_err(io::Error::other)?;
        for row in 0..count {
            if statuses.value(row) != OK || copies.value(row) {
                continue;
            }
            let value = match values.element {
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
                .or_else(|| said.and_then(|said| of_prediction(said, time_ms, truth_ms_max)));
            take(Joined { time_ms, key, weight: weights.value(row), predicted, truth });
        }
        Ok(())
    }
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
