//! A segment becomes Parquet: one file for each lane and hour that it has records of.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use arrow_array::types::{TimestampMicrosecondType, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{ArrayRef, BooleanArray, Float64Array, PrimitiveArray, RecordBatch, StringArray};
use arrow_schema::{Field, Schema as ArrowSchema};
use domain::{Datatype, Digest};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use protocol::record::{Definition, Kept, RecordIn, ValuesIn};
use protocol::tensor::{byte_elements, elements};

use crate::catalogue::{HOUR_MS, Sealed};
use crate::keys::keys_of;
use crate::segment::{Kind, frames, ring_of};
use crate::values::{RowValues, Values};
use crate::{FileColumn, Gap, RecordFile, columns};

/// Rows of a row group: a question for one record reads one of them.
const GROUP_ROWS_MAX: usize = 65_536;

/// A record of a segment.
struct Weighted<'a> {
    weight: f64,
    record: RecordIn<'a>,
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
    let mut groups: BTreeMap<(u64, u64), Vec<Weighted>> = BTreeMap::new();
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
                let read = frame.body.split_first_chunk().and_then(|(weight, record)| {
                    Some((f64::from_le_bytes(*weight), RecordIn::read(record).ok()?))
                });
                let Some((weight, record)) = read else {
                    unread += 1;
                    continue;
                };
                let hour_ms = time_ms(&record.head.id) / HOUR_MS * HOUR_MS;
                groups
                    .entry((record.head.lane, hour_ms))
                    .or_default()
                    .push(Weighted { weight, record });
            }
        }
    }
    sealed.ring = ring_of(bytes).zip(last);
    let mut contents = vec![];
    for ((lane, hour_ms), mut records) in groups {
        let Some(definition) = definitions.get(&lane) else {
            unread += records.len() as u64;
            continue;
        };
        records.sort_by_key(|kept| kept.record.head.id);
        let (content, file) = parquet_of(name, lane, hour_ms, definition, &records)?;
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
    records: &[Weighted],
) -> io::Result<(Vec<u8>, RecordFile)> {
    let batch = batch_of(definition, records)?;
    let keys = batch.column_by_name("key").map_or(0, |keys| keys.len() - keys.null_count());
    let mut content = vec![];
    let properties = writer_properties(keys)?;
    let mut writer = ArrowWriter::try_new(&mut content, batch.schema(), Some(properties))
        .map_err(io::Error::other)?;
    writer.write(&batch).map_err(io::Error::other)?;
    writer.close().map_err(io::Error::other)?;
    let placement = &definition.placement;
    let id =
        |kept: Option<&Weighted>| kept.map(|it| id_text(&it.record.head.id)).unwrap_or_default();
    let schema = batch.schema();
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
        first_id: id(records.first()),
        last_id: id(records.last()),
        rows: batch.num_rows() as u64,
        requests: records.len() as u64,
        bytes: content.len() as u64,
        digest: Digest::of(&content),
        columns: columns.collect(),
    };
    Ok((content, file))
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

/// The Parquet rows of a record: each row whose values are there, else one for all of them.
fn rows_of(record: &RecordIn<'_>) -> usize {
    match record.head.kept {
        Kept::Whole => (record.head.rows as usize).max(1),
        _ => 1,
    }
}

fn batch_of(definition: &Definition, records: &[Weighted]) -> io::Result<RecordBatch> {
    let mut columns = fixed_columns(definition, records);
    let mut fields = columns::fixed();
    let inputs = &definition.schema.inputs;
    let mut values: Vec<(String, Values)> = vec![];
    for column in inputs {
        let is_scalar = column.shape.as_ref().is_some_and(Vec::is_empty);
        let name = format!("{}{}", columns::INPUT, column.name);
        values.push((name, Values::new(column.datatype, is_scalar)));
    }
    let mut at = 0;
    for Weighted { record, .. } in records {
        let rows = record.head.rows as usize;
        for (index, input) in record.inputs.iter().enumerate().take(inputs.len()) {
            let (shape, datatype) = (input.shape.as_slice(), inputs[index].datatype);
            push_rows(&mut values[index].1, datatype, shape, input.data, input.valid, rows);
        }
        for output in &record.outputs {
            push_output(&mut values, inputs.len(), definition, output, record, at);
        }
        at += rows_of(record);
        values.iter_mut().for_each(|(_, values)| values.fill_to(at));
    }
    for (name, values) in values {
        let (column, shapes) = values.finish();
        fields.push(Arc::new(Field::new(&name, column.data_type().clone(), true)));
        columns.push(column);
        if let Some(shapes) = shapes {
            let name = format!("{name}:shape");
            fields.push(Arc::new(Field::new(name, shapes.data_type().clone(), true)));
            columns.push(shapes);
        }
    }
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns).map_err(io::Error::other)
}

/// Adds an output of a record to its column: the first of this name that takes its type, or a new
/// one.
fn push_output(
    values: &mut Vec<(String, Values)>,
    inputs: usize,
    definition: &Definition,
    output: &ValuesIn<'_>,
    record: &RecordIn<'_>,
    before: usize,
) {
    if output.name.ends_with(":valid") {
        return;
    }
    let Some(mut datatype) = output.datatype else { return };
    let declared = definition.schema.outputs.iter().find(|column| column.name == output.name);
    if let Some(column) = declared.filter(|column| column.datatype.size() == datatype.size()) {
        datatype = column.datatype;
    }
    let rows = record.head.rows as usize;
    let shape = match output.shape.split_first() {
        Some((leading, shape)) if *leading == rows => shape,
        _ => return,
    };
    let name = format!("{}{}", columns::OUTPUT, output.name);
    let of_name = |known: &str| known == name || known.starts_with(&format!("{name}:"));
    let found = values[inputs..]
        .iter()
        .position(|(known, values)| of_name(known) && values.fits(datatype, shape));
    let at = found.map(|at| at + inputs).unwrap_or_else(|| {
        let is_scalar = match declared.and_then(|column| column.shape.as_ref()) {
            Some(declared) => declared.is_empty() && shape.is_empty(),
            None => shape.is_empty(),
        };
        let is_first = !values[inputs..].iter().any(|(known, _)| *known == name);
        // Another type under the same name has a column of its own.
        let name = if is_first { name.clone() } else { format!("{name}:{datatype}") };
        let mut column = Values::new(datatype, is_scalar);
        column.fill_to(before);
        values.push((name, column));
        values.len() - 1
    });
    let valid_name = format!("{}:valid", output.name);
    let valid = record.outputs.iter().find(|other| other.name == valid_name);
    let valid = output.valid.or(valid.map(|valid| valid.data));
    if values[at].1.rows() == before {
        push_rows(&mut values[at].1, datatype, shape, output.data, valid, rows);
    }
}

/// Adds the rows of a column of a record. What is missing of damaged bytes is null.
fn push_rows(
    values: &mut Values,
    datatype: Datatype,
    shape: &[usize],
    data: &[u8],
    valid: Option<&[u8]>,
    rows: usize,
) {
    let per_row = elements(shape).unwrap_or(0);
    let fits = values.fits(datatype, shape);
    let mut rest = data;
    for row in 0..rows {
        let bytes = match datatype.size() {
            Some(size) => per_row * size,
            None => byte_elements(rest).take(per_row).map(|element| 4 + element.len()).sum(),
        };
        let (own, tail) = rest.split_at(bytes.min(rest.len()));
        rest = tail;
        let is_valid = valid.is_none_or(|valid| valid.get(row).is_some_and(|byte| *byte != 0));
        match is_valid && fits && own.len() == bytes {
            true => values.push(&RowValues { shape, data: own }),
            false => values.push_null(),
        }
    }
}

/// The columns that every file has, in the order of [`columns::fixed`].
fn fixed_columns(definition: &Definition, records: &[Weighted]) -> Vec<ArrayRef> {
    let rows: Vec<(&Weighted, u32)> = records
        .iter()
        .flat_map(|kept| (0..rows_of(&kept.record) as u32).map(move |row| (kept, row)))
        .collect();
    let heads = || rows.iter().map(|(kept, _)| &kept.record.head);
    let keys: Vec<String> = records
        .iter()
        .flat_map(|kept| keys_of(definition, &kept.record, rows_of(&kept.record)))
        .collect();
    let placement = &definition.placement;
    let constant = |text: String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows.len())))
    };
    let text = |texts: Vec<&str>| -> ArrayRef { Arc::new(StringArray::from_iter_values(texts)) };
    let some = |texts: Vec<&str>| -> ArrayRef {
        let texts = texts.into_iter().map(|text| Some(text).filter(|text| !text.is_empty()));
        Arc::new(texts.collect::<StringArray>())
    };
    let number = |numbers: Vec<u32>| -> ArrayRef {
        Arc::new(PrimitiveArray::<UInt32Type>::from_iter_values(numbers))
    };
    let ids = heads().map(|head| id_text(&head.id));
    let times = heads().map(|head| time_ms(&head.id) as i64 * 1_000);
    let traces =
        heads().map(|head| Some(hex::encode(head.trace)).filter(|_| head.trace != [0; 16]));
    vec![
        Arc::new(StringArray::from_iter_values(ids)),
        number(rows.iter().map(|(_, row)| *row).collect()),
        number(heads().map(|head| head.rows).collect()),
        Arc::new(
            PrimitiveArray::<TimestampMicrosecondType>::from_iter_values(times)
                .with_timezone("UTC"),
        ),
        constant(placement.model.project.to_string()),
        constant(placement.model.model.to_string()),
        constant(placement.environment.to_string()),
        constant(placement.version.to_string()),
        constant(placement.digest.to_string()),
        number(rows.iter().map(|_| placement.revision).collect()),
        Arc::new(PrimitiveArray::<UInt64Type>::from_iter_values(heads().map(|head| head.epoch))),
        text(heads().map(|head| head.reference).collect()),
        some(heads().map(|head| head.replica).collect()),
        some(heads().map(|head| head.principal).collect()),
        some(keys.iter().map(String::as_str).collect()),
        number(heads().map(|head| head.total_us).collect()),
        number(heads().map(|head| head.queue_us).collect()),
        number(heads().map(|head| head.worker_us).collect()),
        number(heads().map(|head| head.batch_rows).collect()),
        number(heads().map(|head| head.batch_offset).collect()),
        Arc::new(PrimitiveArray::<UInt16Type>::from_iter_values(heads().map(|head| head.status))),
        some(heads().map(|head| head.code).collect()),
        some(heads().map(|head| head.error).collect()),
        Arc::new(traces.collect::<StringArray>()),
        Arc::new(BooleanArray::from(heads().map(|head| head.is_copy).collect::<Vec<_>>())),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|(kept, _)| kept.weight))),
        text(heads().map(|head| head.kept.name()).collect()),
    ]
}
