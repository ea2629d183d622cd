//! Erasure by key: of each file that has rows of it, what is left becomes a new file. The catalogue
//! swaps the two before the old one goes, so that whatever interrupts it, either all of a file is
//! there or all that is to be left of it.

use std::fs::File;
use std::io::{self, Read};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use artifacts::{Area, ArtifactError};
use bytes::Bytes;
use domain::{Digest, ModelName, ProjectName, Pseudonyms};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReaderBuilder, RowSelection, RowSelector};
use parquet::arrow::{ArrowWriter, ProjectionMask};

use crate::catalogue::{Catalogue, Erased, Sought, Stage, Swap};
use crate::columns::{INPUT, OUTPUT};
use crate::seal::writer_properties;
use crate::{Gap, RecordFile};

/// The longest key, in bytes: records have no longer ones.
pub const KEY_BYTES_MAX: usize = protocol::record::TEXT_BYTES_MAX;
/// Rows that are looked at together.
const BATCH_ROWS: usize = 8_192;
/// What a server that was replaced had on its way is in files by then, in milliseconds: they are
/// swept once more.
pub const SETTLE_MS: u64 = 180_000;
/// … and they are of segments that were begun at most so long before, in milliseconds.
const ON_ITS_WAY_MS_MAX: u64 = 600_000;
/// The reason of the gaps that erasures leave.
pub const REASON: &str = "erased by key";

/// What is to be erased.
pub struct Erasure<'e> {
    /// Where.
    pub project: ProjectName,
    /// Of this model only.
    pub model: Option<ModelName>,
    /// As callers name it: `customer=42`. Rows go that have this key, and those whose input or
    /// output `customer` is 42.
    pub key: &'e str,
    /// By what values of the project are disguised, if some ever were.
    pub pseudonyms: Option<&'e Pseudonyms>,
    /// Who wants it, to be given back.
    pub by: String,
    /// What stands for the key in the ledger.
    pub mark: String,
}

impl Erasure<'_> {
    /// What the catalogue is to know of it.
    pub fn begun(&self, now_ms: u64) -> io::Result<Erased> {
        let mut salt = [0; 32];
        File::open("/dev/urandom")?.read_exact(&mut salt)?;
        let macs = Pseudonyms::new(salt);
        let all = |texts: Vec<String>| texts.iter().map(|text| macs.of(text.as_bytes())).collect();
        let (names, values) = match self.key.split_once('=') {
            None => (vec![], vec![]),
            Some((name, value)) => {
                let disguised = self.pseudonyms.map(|pseudonyms| pseudonyms.of(value.as_bytes()));
                (vec![name.into()], disguised.into_iter().chain([value.into()]).collect())
            }
        };
        let sought = Sought {
            salt: hex::encode(salt),
            keys: all(domain::recording::key_forms(self.key, self.pseudonyms)),
            names: all(names),
            values: all(values),
        };
        Ok(Erased {
            id: 0,
            project: self.project.clone(),
            model: self.model.clone(),
            until_ms: now_ms,
            by: self.by.clone(),
            mark: self.mark.clone(),
            records: 0,
            rows: 0,
            files: 0,
            unread: 0,
            sought,
        })
    }
}

/// Finds what is to be erased.
struct Finder<'f> {
    macs: Pseudonyms,
    sought: &'f Sought,
    until_ms: u64,
}

impl Finder<'_> {
    fn of(erased: &Erased) -> Option<Finder<'_>> {
        let mut salt = [0; 32];
        hex::decode_to_slice(&erased.sought.salt, &mut salt).ok()?;
        let macs = Pseudonyms::new(salt);
        Some(Finder { macs, sought: &erased.sought, until_ms: erased.until_ms })
    }

    fn is_one(&self, of: &[String], text: &[u8]) -> bool {
        !of.is_empty() && of.contains(&self.macs.of(text))
    }

    /// Whether values of a column can be what is looked for.
    fn names(&self, column: &str) -> bool {
        let name = column.strip_prefix(INPUT).or_else(|| column.strip_prefix(OUTPUT));
        let is_named = |name: &str| self.is_one(&self.sought.names, name.as_bytes());
        // A second type of a column has it behind its name.
        name.is_some_and(|name| {
            is_named(name) || name.rsplit_once(':').is_some_and(|(name, _)| is_named(name))
        })
    }

    /// Which rows of a batch are to go.
    fn found(&self, batch: &RecordBatch) -> Vec<bool> {
        let mut found = vec![false; batch.num_rows()];
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            let of = match field.name().as_str() {
                "id" => continue,
                "key" => &self.sought.keys,
                _ => &self.sought.values,
            };
            for (row, found) in found.iter_mut().enumerate() {
                *found |= column.is_valid(row)
                    && text_of(column.as_ref(), row).is_some_and(|text| self.is_one(of, &text));
            }
        }
        if let Some(ids) = batch.column_by_name("id").and_then(|ids| ids.as_string_opt::<i32>()) {
            for (row, found) in found.iter_mut().enumerate() {
                *found &= ids_time_ms(ids.value(row)) <= self.until_ms;
            }
        }
        found
    }
}

/// When a request was answered, by its id.
fn ids_time_ms(id: &str) -> u64 {
    let digits: String = id.chars().filter(|digit| *digit != '-').take(12).collect();
    u64::from_str_radix(&digits, 16).unwrap_or(0)
}

/// The text of a value, as keys have it; `None` for what has none.
fn text_of(column: &dyn Array, row: usize) -> Option<Vec<u8>> {
    macro_rules! number {
        ($type:ty) => {
            column.as_primitive::<$type>().value(row).to_string().into_bytes()
        };
    }
    Some(match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        DataType::Binary => column.as_binary::<i32>().value(row).into(),
        DataType::Boolean => column.as_boolean().value(row).to_string().into_bytes(),
        DataType::Int8 => number!(Int8Type),
        DataType::Int16 => number!(Int16Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::UInt8 => number!(UInt8Type),
        DataType::UInt16 => number!(UInt16Type),
        DataType::UInt32 => number!(UInt32Type),
        DataType::UInt64 => number!(UInt64Type),
        DataType::Float32 => number!(Float32Type),
        DataType::Float64 => number!(Float64Type),
        _ => return None,
    })
}

/// What is left of a file.
#[derive(Default)]
struct Left {
    /// `None` if no row is.
    content: Option<Vec<u8>>,
    rows: u64,
    requests: u64,
    first_id: String,
    last_id: String,
    /// Rows that are gone, …
    rows_gone: u64,
    /// … requests of which some are, …
    touched: u64,
    /// … and requests of which all are.
    gone: u64,
}

/// Counts requests: their rows follow each other.
#[derive(Default)]
struct Tally {
    left: Left,
    last: String,
    stays: bool,
    goes: bool,
}

impl Tally {
    fn row(&mut self, id: &str, goes: bool) {
        if id != self.last {
            self.end();
            self.last = id.into();
        }
        if goes {
            self.goes = true;
            self.left.rows_gone += 1;
            return;
        }
        self.stays = true;
        self.left.rows += 1;
        if self.left.first_id.is_empty() {
            self.left.first_id = id.into();
        }
        if self.left.last_id != id {
            self.left.last_id = id.into();
        }
    }

    fn end(&mut self) {
        self.left.requests += u64::from(self.stays);
        self.left.touched += u64::from(self.goes);
        self.left.gone += u64::from(self.goes && !self.stays);
        (self.stays, self.goes) = (false, false);
    }
}

fn builder(content: &Bytes) -> io::Result<ParquetRecordBatchReaderBuilder<Bytes>> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(content.clone());
    Ok(builder.map_err(io::Error::other)?.with_batch_size(BATCH_ROWS))
}

/// What is left of a file; `None` if all is.
fn rest_of(content: &Bytes, finder: &Finder<'_>) -> io::Result<Option<Left>> {
    let scan = builder(content)?;
    let fields = scan.schema().fields().clone();
    let looked_at = fields.iter().enumerate().filter(|(_, field)| {
        let name = field.name().as_str();
        name == "id" || name == "key" || finder.names(name)
    });
    let roots: Vec<usize> = looked_at.map(|(at, _)| at).collect();
    let mask = ProjectionMask::roots(scan.parquet_schema(), roots);
    let (mut tally, mut selectors, mut keys) = (Tally::default(), vec![], 0);
    for batch in scan.with_projection(mask).build().map_err(io::Error::other)? {
        let batch = batch.map_err(io::Error::other)?;
        let ids = batch.column_by_name("id").and_then(|ids| ids.as_string_opt::<i32>());
        let ids = ids.ok_or_else(|| io::Error::other("the file has no ids"))?;
        let key = batch.column_by_name("key");
        for (row, goes) in finder.found(&batch).into_iter().enumerate() {
            tally.row(ids.value(row), goes);
            keys += usize::from(!goes && key.is_some_and(|key| key.is_valid(row)));
            selectors.push(RowSelector { row_count: 1, skip: goes });
        }
    }
    tally.end();
    let mut left = tally.left;
    if left.rows_gone == 0 {
        return Ok(None);
    }
    if left.rows > 0 {
        let rest = builder(content)?.with_row_selection(RowSelection::from(selectors));
        let (schema, mut out) = (rest.schema().clone(), vec![]);
        let mut writer = ArrowWriter::try_new(&mut out, schema, Some(writer_properties(keys)?))
            .map_err(io::Error::other)?;
        for batch in rest.build().map_err(io::Error::other)? {
            writer.write(&batch.map_err(io::Error::other)?).map_err(io::Error::other)?;
        }
        writer.close().map_err(io::Error::other)?;
        left.content = Some(out);
    }
    Ok(Some(left))
}

/// The name of what is left of a file: it says by which erasure, and not by which before.
fn path_of_rest(path: &str, id: u64) -> String {
    let stem = path.strip_suffix(".parquet").unwrap_or(path);
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let first = stem.rsplit_once("-e").filter(|(_, number)| is_number(number));
    format!("{}-e{id}.parquet", first.map_or(stem, |(first, _)| first))
}

/// When the segment of a file was begun, in milliseconds since 1970, if its name says so.
fn begun_ms(path: &str) -> Option<u64> {
    path.rsplit('/').next()?.split('-').next()?.parse().ok()
}

/// Goes through files and erases.
pub struct Eraser<'e> {
    /// Where the files are.
    pub area: &'e Area,
    /// What knows of them.
    pub catalogue: &'e Catalogue,
    /// Where the store does its work.
    pub runtime: &'e tokio::runtime::Handle,
}

impl Eraser<'_> {
    /// Goes on with all that is to be gone on with.
    pub fn resume(&self, now_ms: u64) -> io::Result<()> {
        for erased in self.at(Stage::Begun)? {
            self.sweep(erased)?;
        }
        for erased in self.at(Stage::Swept)? {
            if now_ms.saturating_sub(erased.until_ms) >= SETTLE_MS {
                let since_ms = erased.until_ms.saturating_sub(ON_ITS_WAY_MS_MAX);
                let mut erased = self.erase(erased, since_ms)?;
                erased.sought = Sought::default();
                self.catalogue.advance(&erased, Stage::Done).map_err(io::Error::other)?;
                self.catalogue.checkpoint().map_err(io::Error::other)?;
            }
        }
        self.remove_replaced()
    }

    fn at(&self, stage: Stage) -> io::Result<Vec<Erased>> {
        self.catalogue.erasures_at(stage).map_err(io::Error::other)
    }

    /// Erases one that has begun. It may have been swept meanwhile by [`Eraser::resume`], which does
    /// not wait for what is on its way to files: then it is swept again.
    pub fn sweep_one(&self, id: u64) -> io::Result<Erased> {
        let known = self.at(Stage::Begun)?.into_iter().chain(self.at(Stage::Swept)?);
        let begun = known.into_iter().find(|erased| erased.id == id);
        let begun = begun.ok_or_else(|| io::Error::other("the erasure is not known any more"))?;
        self.sweep(begun)
    }

    fn sweep(&self, erased: Erased) -> io::Result<Erased> {
        let erased = self.erase(erased, 0)?;
        self.catalogue.advance(&erased, Stage::Swept).map_err(io::Error::other)?;
        // What takes the place of files is on the disk before they go.
        self.catalogue.checkpoint().map_err(io::Error::other)?;
        self.remove_replaced()?;
        Ok(erased)
    }

    /// Of segments that were begun since a time.
    fn erase(&self, mut erased: Erased, since_ms: u64) -> io::Result<Erased> {
        let files = self.catalogue.files(0, u64::MAX).map_err(io::Error::other)?;
        erased.unread = 0;
        for file in files {
            let is_of = file.model.project == erased.project
                && erased.model.as_ref().is_none_or(|model| file.model.model == *model)
                && begun_ms(&file.path).is_none_or(|begun_ms| begun_ms >= since_ms);
            if is_of && let Err(error) = self.erase_from(&file, &mut erased) {
                if error.kind() == io::ErrorKind::InvalidData {
                    tracing::warn!("{} is not erased from: {error}", file.path);
                    erased.unread += 1;
                    continue;
                }
                return Err(error);
            }
        }
        Ok(erased)
    }

    fn erase_from(&self, file: &RecordFile, erased: &mut Erased) -> io::Result<()> {
        let content = match self.runtime.block_on(self.area.get(&file.path)) {
            Ok(content) => content,
            // It was too old meanwhile.
            Err(ArtifactError::Store(object_store::Error::NotFound { .. })) => return Ok(()),
            Err(error) => return Err(io::Error::other(error)),
        };
        let damaged = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_string());
        let finder = Finder::of(erased).ok_or_else(|| damaged("its salt is damaged"))?;
        let left = rest_of(&content, &finder).map_err(|error| damaged(&error.to_string()))?;
        let Some(left) = left else { return Ok(()) };
        let new = left.content.as_ref().map(|content| RecordFile {
            path: path_of_rest(&file.path, erased.id),
            first_id: left.first_id.clone(),
            last_id: left.last_id.clone(),
            rows: left.rows,
            requests: left.requests,
            bytes: content.len() as u64,
            digest: Digest::of(content),
            ..file.clone()
        });
        if let Some((new, content)) = new.as_ref().zip(left.content) {
            let put = self.area.put(&new.path, content.into());
            self.runtime.block_on(put).map_err(io::Error::other)?;
        }
        let counted = Erased {
            records: erased.records + left.touched,
            rows: erased.rows + left.rows_gone,
            files: erased.files + 1,
            ..erased.clone()
        };
        let gap = Gap { at_ms: file.hour_ms, records: left.gone, values: 0, reason: REASON.into() };
        let swap = Swap { old: file, new: new.as_ref() };
        if self.catalogue.swap(&swap, &counted, &gap).map_err(io::Error::other)? {
            *erased = counted;
        }
        Ok(())
    }

    fn remove_replaced(&self) -> io::Result<()> {
        for path in self.catalogue.replaced().map_err(io::Error::other)? {
            self.runtime.block_on(self.area.remove(&path)).map_err(io::Error::other)?;
            self.catalogue.forget_replaced(&path).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_file_has_a_name_that_does_not_grow() {
        assert_eq!(path_of_rest("a/17-3-0-00ff.parquet", 7), "a/17-3-0-00ff-e7.parquet");
        assert_eq!(path_of_rest("a/17-3-0-00ff-e7.parquet", 12), "a/17-3-0-00ff-e12.parquet");
        assert_eq!(path_of_rest("a/17-3-0-ee7.parquet", 1), "a/17-3-0-ee7-e1.parquet");
        assert_eq!(path_of_rest("a-e/x.parquet", 1), "a-e/x-e1.parquet");
        assert_eq!(begun_ms("a-1/1700000000000-3-0-00ff-e7.parquet"), Some(1_700_000_000_000));
        assert_eq!(begun_ms("1-2/of-a-day.parquet"), None);
    }

    #[test]
    fn an_id_says_when() {
        assert_eq!(ids_time_ms("018bcfe5-6800-7000-8000-000000000001"), 1_700_000_000_000);
        assert_eq!(ids_time_ms("nonsense"), 0);
        assert_eq!(ids_time_ms(""), 0);
    }
}
