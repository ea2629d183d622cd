//! A segment becomes Parquet: one file for each lane and hour that it has records of. Memory is
//! bounded: a segment is mapped, and its records become rows by and by.

mod layout;

use std::collections::{BTreeMap, HashMap};
use std::io;

use domain::Digest;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use protocol::record::{Definition, RecordIn};

use crate::catalogue::{HOUR_MS, Sealed};
use crate::segment::{Kind, frames, ring_of};
use crate::{FileColumn, Gap, RecordFile};
use layout::Layout;

/// Rows of a row group: a question for one record reads one of them.
const GROUP_ROWS_MAX: usize = 65_536;
/// So many records are made rows of at once, …
const PIECE_RECORDS_MAX: usize = 4_096;
/// … unless they have more bytes than these.
const PIECE_BYTES_MAX: usize = 1 << 20;

/// A record of a segment.
struct Weighted<'a> {
    weight: f64,
    record: RecordIn<'a>,
}

/// Where a record of a segment is.
struct Entry<'a> {
    id: [u8; 16],
    weight: f64,
    record: &'a [u8],
}

impl<'a> Entry<'a> {
    /// `None` for what is no record.
    fn of(body: &'a [u8]) -> Option<(Entry<'a>, u64)> {
        let (weight, record) = body.split_first_chunk()?;
        let head = RecordIn::read(record).ok()?.head;
        Some((Entry { id: head.id, weight: f64::from_le_bytes(*weight), record }, head.lane))
    }

    fn read(&self) -> io::Result<Weighted<'a>> {
        let record = RecordIn::read(self.record).map_err(io::Error::other)?;
        Ok(Weighted { weight: self.weight, record })
    }
}

/// What a segment becomes: the files with their content, and what the catalogue is to know.
pub struct Parts {
    /// Each file of `sealed`, in the same order.
    pub contents: Vec<Vec<u8>>,
    /// For the catalogue.
    pub sealed: Sealed,
}

/// When a record's request was answered, in milliseconds since 1970.
pub fn time_ms(id: &[u8; 16]) -> u64 {
    id[..6].iter().fold(0, |time, byte| time << 8 | u64::from(*byte))
}

/// An id as text.
pub fn id_text(id: &[u8; 16]) -> String {
    let digits = hex::encode(id);
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    parts.join("-")
}

/// Makes the files of a segment. `name` is unique to the segment: doing it again gives the same
/// names.
pub fn seal(name: &str, bytes: &[u8], now_ms: u64) -> io::Result<Parts> {
    let mut definitions: HashMap<u64, Definition> = HashMap::new();
    let mut groups: BTreeMap<(u64, u64), Vec<Entry>> = BTreeMap::new();
    let mut sealed = Sealed::default();
    let (mut last, mut unread) = (None, 0u64);
    for frame in frames(bytes) {
        match frame.kind {
            Kind::Definition => {
                let Some((lane, text)) = frame.body.split_first_chunk() else { continue };
                if let Ok(definition) = serde_json::from_slice(text) {
                    definitions.insert(u64::from_le_bytes(*lane), definition);
                }
            }
            Kind::Gap => sealed.gaps.extend(serde_json::from_slice::<Gap>(frame.body)),
            Kind::Record => {
                last = last.max(Some(frame.position));
                let Some((entry, lane)) = Entry::of(frame.body) else {
                    unread += 1;
                    continue;
                };
                let hour_ms = time_ms(&entry.id) / HOUR_MS * HOUR_MS;
                groups.entry((lane, hour_ms)).or_default().push(entry);
            }
        }
    }
    sealed.ring = ring_of(bytes).zip(last);
    let mut contents = vec![];
    for ((lane, hour_ms), mut entries) in groups {
        let Some(definition) = definitions.get(&lane) else {
            unread += entries.len() as u64;
            continue;
        };
        entries.sort_by_key(|entry| entry.id);
        let (content, file) = parquet_of(name, lane, hour_ms, definition, &entries)?;
        contents.push(content);
        sealed.files.push(file);
    }
    if unread > 0 {
        sealed.gaps.push(Gap {
            at_ms: now_ms,
            records: unread,
            values: 0,
            reason: "the segment is damaged".into(),
        });
    }
    Ok(Parts { contents, sealed })
}

fn parquet_of(
    name: &str,
    lane: u64,
    hour_ms: u64,
    definition: &Definition,
    entries: &[Entry],
) -> io::Result<(Vec<u8>, RecordFile)> {
    let mut layout = Layout::new(definition);
    for entry in entries {
        layout.see(&entry.read()?.record);
    }
    let schema = layout.schema();
    let mut content = vec![];
    let properties = writer_properties(layout.keys())?;
    let mut writer = ArrowWriter::try_new(&mut content, schema.clone(), Some(properties))
        .map_err(io::Error::other)?;
    let mut rows = 0;
    for piece in pieces(entries) {
        let records = piece.iter().map(Entry::read).collect::<io::Result<Vec<_>>>()?;
        let batch = layout.batch(&schema, &records)?;
        rows += batch.num_rows() as u64;
        writer.write(&batch).map_err(io::Error::other)?;
    }
    writer.close().map_err(io::Error::other)?;
    let placement = &definition.placement;
    let id = |entry: Option<&Entry>| entry.map(|entry| id_text(&entry.id)).unwrap_or_default();
    let columns = schema.fields().iter().map(|field| FileColumn {
        name: field.name().clone(),
        datatype: field.data_type().to_string(),
    });
    let file = RecordFile {
        path: format!(
            "{}/{}/{}/{}/{hour_ms}/{name}-{lane:016x}.parquet",
            placement.model.project,
            placement.model.model,
            placement.environment,
            placement.version
        ),
        model: placement.model.clone(),
        environment: placement.environment.clone(),
        version: placement.version,
        hour_ms,
        first_id: id(entries.first()),
        last_id: id(entries.last()),
        rows,
        requests: entries.len() as u64,
        bytes: content.len() as u64,
        digest: Digest::of(&content),
        columns: columns.collect(),
    };
    Ok((content, file))
}

/// As many records at a time as are made rows of at once; one at least.
fn pieces<'e, 'a>(mut entries: &'e [Entry<'a>]) -> impl Iterator<Item = &'e [Entry<'a>]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            bytes += entry.record.len();
            bytes <= PIECE_BYTES_MAX
        };
        let count = entries.iter().take(PIECE_RECORDS_MAX).take_while(fits).count().max(1);
        let (piece, rest) = entries.split_at_checked(count)?;
        entries = rest;
        Some(piece)
    })
}

/// How files are written that have so many keys.
pub fn writer_properties(keys: usize) -> io::Result<WriterProperties> {
    let level = ZstdLevel::try_new(1).map_err(io::Error::other)?;
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(GROUP_ROWS_MAX))
        .set_statistics_enabled(EnabledStatistics::Page);
    if keys > 0 {
        properties = properties
            .set_column_bloom_filter_enabled("key".into(), true)
            .set_column_bloom_filter_max_ndv("key".into(), keys.min(GROUP_ROWS_MAX) as u64);
    }
    Ok(properties.build())
}

#[cfg(test)]
mod tests;
