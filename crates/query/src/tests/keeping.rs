//! A store with files of records, as the keeper makes them.

use std::sync::Arc;

use artifacts::{Area, Store};
use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    UInt16Array, UInt32Array, UInt64Array,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};
use domain::{Digest, ModelKey, Problem, Reference};
use futures_util::StreamExt;
use records::{Catalogue, FileColumn, RecordFile, Sealed};
use tempfile::TempDir;

use crate::{Ask, Format, Limits, Queries, RecordsAsk, Seen, Source};

/// An hour, in milliseconds.
pub const HOUR_MS: u64 = 3_600_000;
/// The first hour of all.
pub const BEGIN_MS: u64 = 1_790_000_000_000 / HOUR_MS * HOUR_MS;

/// Records, and whoever answers queries about them.
pub struct Keeping {
    pub directory: TempDir,
    pub catalogue: Arc<Catalogue>,
    pub area: Area,
    pub queries: Queries,
}

/// One file to be made.
pub struct Made<'a> {
    pub model: &'a str,
    pub version: u32,
    pub hour: u64,
    pub rows: usize,
    /// Names and values of inputs and outputs.
    pub columns: Vec<(&'a str, ArrayRef)>,
}

/// The id of a request of some millisecond.
pub fn id_of(ms: u64, count: u64) -> String {
    let time = format!("{ms:012x}");
    format!("{}-{}-7000-8000-{count:012x}", &time[..8], &time[8..])
}

impl Keeping {
    pub fn new(limits: Limits) -> Keeping {
        let directory = tempfile::tempdir().unwrap();
        let blobs = directory.path().join("artifacts");
        std::fs::create_dir_all(&blobs).unwrap();
        let url = format!("file://{}", blobs.display());
        let store = Store::open(&url, &directory.path().join("uploads")).unwrap();
        let catalogue = Catalogue::open(&directory.path().join("catalogue.sqlite")).unwrap();
        let (catalogue, area) = (Arc::new(catalogue), store.area("records"));
        let queries = Queries::new(Limits { flush_ms_min: 0, ..limits });
        let source =
            Source { catalogue: catalogue.clone(), area: area.clone(), flush: Arc::new(|| {}) };
        queries.read_from(source);
        Keeping { directory, catalogue, area, queries }
    }

    /// Makes a file; its requests are a millisecond apart.
    pub async fn make(&self, made: Made<'_>) {
        let rows = made.rows;
        let begin_ms = BEGIN_MS + made.hour * HOUR_MS;
        let step = (HOUR_MS / rows.max(1) as u64).max(1);
        let times: Vec<u64> = (0..rows as u64).map(|row| begin_ms + row * step).collect();
        let ids: Vec<String> =
            times.iter().enumerate().map(|(row, time)| id_of(*time, row as u64)).collect();
        let key = key_of(made.model);
        let texts = |text: &str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows)))
        };
        let numbers = |number: u32| -> ArrayRef { Arc::new(UInt32Array::from(vec![number; rows])) };
        let fixed: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(&ids)),
            numbers(0),
            numbers(1),
            Arc::new(
                TimestampMicrosecondArray::from_iter_values(
                    times.iter().map(|time| *time as i64 * 1_000),
                )
                .with_timezone("UTC"),
            ),
            texts(key.project.as_str()),
            texts(key.model.as_str()),
            texts("production"),
            texts(&format!("v{}", made.version)),
            texts("0"),
            numbers(0),
            Arc::new(UInt64Array::from(vec![1; rows])),
            texts(made.model),
            texts("r1"),
            texts("local"),
            Arc::new(StringArray::from_iter_values((0..rows).map(|row| format!("customer={row}")))),
            numbers(1_000),
            numbers(10),
            numbers(900),
            numbers(1),
            numbers(0),
            Arc::new(UInt16Array::from_iter_values(
                (0..rows).map(|row| if row % 10 == 9 { 500 } else { 200 }),
            )),
            Arc::new(StringArray::new_null(rows)),
            Arc::new(StringArray::new_null(rows)),
            Arc::new(StringArray::new_null(rows)),
            Arc::new(BooleanArray::from(vec![false; rows])),
            Arc::new(Float64Array::from(vec![1.0; rows])),
            texts("whole"),
        ];
        let mut fields = records::columns::fixed();
        let own = made
            .columns
            .iter()
            .map(|(name, column)| Arc::new(Field::new(*name, column.data_type().clone(), true)));
        fields.extend(own);
        let schema = Arc::new(Schema::new(fields));
        let columns = fixed.into_iter().chain(made.columns.into_iter().map(|(_, column)| column));
        let batch = RecordBatch::try_new(schema.clone(), columns.collect()).unwrap();
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(65_536))
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_column_bloom_filter_enabled("key".into(), true)
            .build();
        let mut writer = ArrowWriter::try_new(vec![], schema.clone(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        let content = writer.into_inner().unwrap();
        let path = format!("{}/v{}/{}.parquet", made.model, made.version, made.hour);
        let file = RecordFile {
            path: path.clone(),
            model: key,
            environment: "production".parse().unwrap(),
            version: format!("v{}", made.version).parse().unwrap(),
            hour_ms: begin_ms,
            first_id: ids.first().cloned().unwrap_or_default(),
            last_id: ids.last().cloned().unwrap_or_default(),
            rows: rows as u64,
            requests: rows as u64,
            bytes: content.len() as u64,
            digest: Digest::of(&content),
            columns: schema
                .fields()
                .iter()
                .map(|field| FileColumn {
                    name: field.name().clone(),
                    datatype: field.data_type().to_string(),
                })
                .collect(),
        };
        self.area.put(&path, content.into()).await.unwrap();
        self.catalogue.seal(&Sealed { files: vec![file], ..Sealed::default() }).unwrap();
    }

    /// The path of a file on the disk.
    pub fn path(&self, made: &str) -> std::path::PathBuf {
        self.directory.path().join("artifacts/records").join(made)
    }

    pub async fn ask(&self, ask: Ask, format: Format, seen: Seen) -> Result<Vec<u8>, Problem> {
        let mut answer = self.queries.run(ask, format, seen).await?;
        let mut bytes = vec![];
        while let Some(piece) = answer.body.next().await {
            match piece {
                Ok(piece) => bytes.extend_from_slice(&piece),
                Err(error) => {
                    return Err(Problem::new(domain::Code::Interrupted, error.to_string()));
                }
            }
        }
        Ok(bytes)
    }

    /// The rows that somebody who sees all gets, as lines of CSV.
    pub async fn csv(&self, sql: &str) -> Result<String, Problem> {
        let bytes = self.ask(Ask::Sql(sql.into()), Format::Csv, everything()).await?;
        Ok(String::from_utf8(bytes).unwrap())
    }

    pub async fn records(&self, ask: RecordsAsk) -> Result<String, Problem> {
        let bytes = self.ask(Ask::Records(ask), Format::Jsonl, everything()).await?;
        Ok(String::from_utf8(bytes).unwrap())
    }
}

fn key_of(model: &str) -> ModelKey {
    model.parse::<Reference>().unwrap().model
}

/// Sees all records.
pub fn everything() -> Seen {
    Arc::new(|_, _| true)
}

/// For a model, without any condition.
pub fn all_of(model: &str) -> RecordsAsk {
    RecordsAsk {
        model: key_of(model),
        since_ms: None,
        until_ms: None,
        condition: None,
        key: None,
        trace: None,
        id: None,
        rows_max: 1_000,
    }
}

/// A column of texts.
pub fn texts(values: impl IntoIterator<Item = &'static str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

/// A column of a type.
pub fn typed(datatype: &DataType, rows: usize) -> ArrayRef {
    let numbers: ArrayRef =
        Arc::new(UInt32Array::from_iter_values((0..rows as u32).map(|row| row % 100)));
    datafusion::arrow::compute::cast(&numbers, datatype).unwrap()
}
