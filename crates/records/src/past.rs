//! Requests as their records have them, found by their ids or as the last ones: so that they can be
//! asked again. They are read from the files themselves, with the types that each has.

mod compare;
mod outputs;
mod payload;
mod redacted;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{UInt16Type, UInt32Type};
use arrow_array::{Array, RecordBatch};
use bytes::Bytes;
use domain::{EnvironmentName, ModelKey, VersionNumber};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReaderBuilder, RowSelection};
use tokio::runtime::Handle;

pub use compare::{Compared, Difference};
pub use outputs::{OutputPair, compared};

use crate::catalogue::HOUR_MS;
use crate::{Keeper, RecordFile};

/// Rows of one request that are read at most: more are not asked again.
pub const ROWS_MAX: usize = 4_096;
/// Rows of all requests that are read at once; more are refused.
const ALL_ROWS_MAX: usize = 262_144;
/// Memory that all requests which are read at once may take, in bytes; more are refused.
const ALL_BYTES_MAX: usize = 256 << 20;
/// The columns by which rows are chosen.
const CHOSEN_BY: [&str; 4] = ["id", "row", "status", "copy"];
/// With which a request was answered.
const OK: u16 = 200;

/// Which requests.
#[derive(Clone, Debug)]
pub enum Sought {
    /// Those with these ids.
    Ids(HashSet<String>),
    /// The last that were answered, so many.
    Last(usize),
}

/// One request as its record has it.
#[derive(Clone, Debug)]
pub struct PastRequest {
    /// Its id.
    pub id: String,
    /// Where it was asked.
    pub environment: EnvironmentName,
    /// What answered.
    pub version: VersionNumber,
    /// Of the variables that it had then.
    pub revision: u32,
    /// Its rows, as it was asked.
    pub rows: usize,
    /// Rows of the batch that carried it.
    pub batch_rows: usize,
    /// Its first row there.
    pub batch_offset: usize,
    /// How it ended.
    pub status: u16,
    /// Why, if it failed.
    pub code: String,
    /// What the caller called it.
    pub key: Option<String>,
    /// Whether it was a copy for a shadow.
    pub is_copy: bool,
    /// What became of its values: `whole`, `none`, `large`, `dropped`.
    pub payload: String,
    /// The rows that are there.
    kept: Vec<(Arc<RecordBatch>, usize)>,
}

/// Finds requests of a model.
pub struct Finding<'a> {
    /// Who keeps them.
    pub keeper: &'a Keeper,
    /// Which model.
    pub model: &'a ModelKey,
    /// Reads files.
    pub runtime: &'a Handle,
    /// Whether records of an environment, and of a version there, are looked at.
    pub is_asked: &'a dyn Fn(&EnvironmentName, VersionNumber) -> bool,
}

impl Finding<'_> {
    /// The requests that there are, by their ids. Waits for files.
    pub fn find(&self, sought: &Sought) -> io::Result<Vec<PastRequest>> {
        match self.look(sought) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Err(error),
            // A file that was replaced meanwhile is not there any more; its successor is.
            Err(_) => self.look(sought),
            found => found,
        }
    }

    fn look(&self, sought: &Sought) -> io::Result<Vec<PastRequest>> {
        let mut found: BTreeMap<String, PastRequest> = BTreeMap::new();
        match sought {
            Sought::Ids(ids) => {
                let mut rows = 0;
                for file in self.files_of(ids)? {
                    let own = ids.iter().filter(|id| may_have(&file, id)).cloned().collect();
                    for request in self.read(&file, &Sought::Ids(own))? {
                        rows += request.kept.len();
                        // A copy has the id of the request that it is one of.
                        if !request.is_copy || !found.contains_key(&request.id) {
                            found.insert(request.id.clone(), request);
                        }
                    }
                    if rows > ALL_ROWS_MAX {
                        return Err(too_many());
                    }
                }
                Ok(found.into_values().collect())
            }
            Sought::Last(count) => self.last(*count),
        }
    }

    fn files_of(&self, ids: &HashSet<String>) -> io::Result<Vec<RecordFile>> {
        let hours: HashSet<u64> =
            ids.iter().filter_map(|id| time_ms(id)).map(|ms| ms / HOUR_MS * HOUR_MS).collect();
        let mut files = vec![];
        for hour_ms in hours {
            let of_hour = self.keeper.files_of(self.model, hour_ms)?;
            files.extend(of_hour.into_iter().filter(|file| {
                (self.is_asked)(&file.environment, file.version)
                    && ids.iter().any(|id| may_have(file, id))
            }));
        }
        Ok(files)
    }

    /// The newest files first, until no older one can have a later request.
    fn last(&self, count: usize) -> io::Result<Vec<PastRequest>> {
        let mut found: BTreeMap<String, PastRequest> = BTreeMap::new();
        let mut hours = self.keeper.hours_of(self.model)?;
        hours.sort_by_key(|hour| std::cmp::Reverse(hour.hour_ms));
        for hour in hours {
            let mut files = self.keeper.files_of(self.model, hour.hour_ms)?;
            files.retain(|file| (self.is_asked)(&file.environment, file.version));
            files.sort_by(|one, other| other.last_id.cmp(&one.last_id));
            for file in files {
                let least = found.keys().rev().nth(count.saturating_sub(1));
                if least.is_some_and(|least| file.last_id < *least) {
                    break;
                }
                for request in self.read(&file, &Sought::Last(count))? {
                    found.insert(request.id.clone(), request);
                }
                while found.len() > count {
                    found.pop_first();
                }
                if are_too_many(&found) {
                    return Err(too_many());
                }
            }
            if found.len() >= count {
                break;
            }
        }
        Ok(found.into_values().rev().collect())
    }

    fn read(&self, file: &RecordFile, sought: &Sought) -> io::Result<Vec<PastRequest>> {
        let content = self.runtime.block_on(self.keeper.area().get(&file.path));
        requests_of(content.map_err(io::Error::other)?, file, sought)
    }
}

/// Whether requests have too many rows, or keep too much of files in memory.
fn are_too_many(found: &BTreeMap<String, PastRequest>) -> bool {
    let (mut rows, mut bytes, mut seen) = (0, 0, HashSet::new());
    for request in found.values() {
        rows += request.kept.len();
        // Rows that lie beside each other share what they were read with.
        let batches = request.kept.first().into_iter().chain(request.kept.last());
        for (batch, _) in batches {
            if seen.insert(Arc::as_ptr(batch)) {
                bytes += batch.get_array_memory_size();
            }
        }
    }
    rows > ALL_ROWS_MAX || bytes > ALL_BYTES_MAX
}

fn too_many() -> io::Error {
    let text = format!(
        "these requests have more than {ALL_ROWS_MAX} rows, or {} MiB, together",
        ALL_BYTES_MAX >> 20
    );
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// When a request was answered, in milliseconds since 1970; `None` for what is no id.
fn time_ms(id: &str) -> Option<u64> {
    let digits: String = id.chars().filter(char::is_ascii_hexdigit).take(12).collect();
    (digits.len() == 12).then(|| u64::from_str_radix(&digits, 16).ok())?
}

fn may_have(file: &RecordFile, id: &str) -> bool {
    file.first_id.as_str() <= id && id <= file.last_id.as_str()
}

/// The requests of a file that are sought, in the order of their ids.
fn requests_of(content: Bytes, file: &RecordFile, sought: &Sought) -> io::Result<Vec<PastRequest>> {
    let chosen = choose(&content, sought)?;
    let count: usize = chosen.iter().map(|range| range.len()).sum();
    if count == 0 {
        return Ok(vec![]);
    }
    let builder = ParquetRecordBatchReaderBuilder::try_new(content).map_err(io::Error::other)?;
    let whole = builder.metadata().file_metadata().num_rows().max(0) as usize;
    let ranges = chosen.into_iter();
    let selection = RowSelection::from_consecutive_ranges(ranges, whole);
    let reader = builder.with_row_selection(selection).with_batch_size(count).build();
    let mut requests: Vec<PastRequest> = vec![];
    for batch in reader.map_err(io::Error::other)? {
        let batch = Arc::new(batch.map_err(io::Error::other)?);
        take_in(&batch, file, &mut requests)?;
    }
    Ok(requests)
}

/// The rows of a file that are sought.
fn choose(content: &Bytes, sought: &Sought) -> io::Result<Vec<std::ops::Range<usize>>> {
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(content.clone()).map_err(io::Error::other)?;
    let names = builder.schema().fields().iter().map(|field| field.name().as_str());
    let wanted: Vec<usize> =
        names.enumerate().filter(|(_, name)| CHOSEN_BY.contains(name)).map(|(at, _)| at).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
    let reader = builder.with_projection(mask).build().map_err(io::Error::other)?;
    let mut ranges: Vec<std::ops::Range<usize>> = vec![];
    let (mut before, mut last_id) = (0, String::new());
    for batch in reader {
        let batch = batch.map_err(io::Error::other)?;
        let ids = column(&batch, "id")?.as_string::<i32>();
        let statuses = column(&batch, "status")?.as_primitive::<UInt16Type>();
        let copies = column(&batch, "copy")?.as_boolean();
        for row in 0..batch.num_rows() {
            let is_sought = match sought {
                Sought::Ids(wanted) => wanted.contains(ids.value(row)),
                Sought::Last(_) => statuses.value(row) == OK && !copies.value(row),
            };
            if !is_sought {
                continue;
            }
            let (at, id) = (before + row, ids.value(row));
            match ranges.last_mut().filter(|_| last_id == id) {
                Some(range) if range.end == at && range.len() < ROWS_MAX => range.end += 1,
                Some(_) => {}
                None => ranges.push(at..at + 1),
            }
            if last_id != id {
                last_id = id.to_string();
            }
        }
        before += batch.num_rows();
    }
    if let Sought::Last(count) = sought {
        ranges.drain(..ranges.len().saturating_sub(*count));
    }
    if ranges.iter().map(|range| range.len()).sum::<usize>() > ALL_ROWS_MAX {
        return Err(too_many());
    }
    Ok(ranges)
}

fn take_in(
    batch: &Arc<RecordBatch>,
    file: &RecordFile,
    requests: &mut Vec<PastRequest>,
) -> io::Result<()> {
    let ids = column(batch, "id")?.as_string::<i32>();
    let number = |name: &str| Ok::<_, io::Error>(column(batch, name)?.as_primitive::<UInt32Type>());
    let (rows, revisions) = (number("rows")?, number("revision")?);
    let (sizes, offsets) = (number("batch_rows")?, number("batch_offset")?);
    let statuses = column(batch, "status")?.as_primitive::<UInt16Type>();
    let copies = column(batch, "copy")?.as_boolean();
    let codes = column(batch, "code")?.as_string::<i32>();
    let keys = column(batch, "key")?.as_string::<i32>();
    let payloads = column(batch, "payload")?.as_string::<i32>();
    for row in 0..batch.num_rows() {
        let id = ids.value(row);
        if requests.last().is_none_or(|last| last.id != id) {
            requests.push(PastRequest {
                id: id.to_string(),
                environment: file.environment.clone(),
                version: file.version,
                revision: revisions.value(row),
                rows: rows.value(row) as usize,
                batch_rows: sizes.value(row) as usize,
                batch_offset: offsets.value(row) as usize,
                status: statuses.value(row),
                code: if codes.is_valid(row) { codes.value(row).into() } else { String::new() },
                key: keys.is_valid(row).then(|| keys.value(row).into()),
                is_copy: copies.value(row),
                payload: payloads.value(row).into(),
                kept: vec![],
            });
        }
        if let Some(request) = requests.last_mut() {
            request.kept.push((batch.clone(), row));
        }
    }
    Ok(())
}

fn column<'b>(batch: &'b RecordBatch, name: &str) -> io::Result<&'b dyn Array> {
    let missing = || io::Error::other(format!("a file of records has no column {name}"));
    batch.column_by_name(name).map(|array| &**array).ok_or_else(missing)
}

impl PastRequest {
    /// Why it cannot be asked again, whatever its columns are.
    pub fn why_not(&self) -> Option<String> {
        let text = |text: &str| Some(text.to_string());
        match self.payload.as_str() {
            _ if self.status != OK => Some(format!(
                "it was not answered: {} {}",
                self.status,
                if self.code.is_empty() { "without a code" } else { &self.code }
            )),
            "none" => text("its rows were not read, so its record has none"),
            "large" => text("its values are over 64 KiB, more than a record keeps"),
            "dropped" => text("its values were dropped: there was no room when it was recorded"),
            _ if self.rows > ROWS_MAX => Some(format!("it has more than {ROWS_MAX} rows")),
            _ if self.kept.len() < self.rows => Some(format!(
                "{} of its {} rows were erased",
                self.rows - self.kept.len(),
                self.rows
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
