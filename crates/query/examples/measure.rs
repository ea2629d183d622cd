//! How long questions take among many records: makes files of them in a temporary directory, and
//! asks. `cargo run --release -p query --example measure -- 100 100000` makes 10⁷ records, in a
//! hundred hours.

use std::sync::Arc;
use std::time::Instant;

use artifacts::Store;
use datafusion::arrow::array::{ArrayRef, Float64Array, RecordBatch, new_null_array};
use datafusion::arrow::array::{BooleanArray, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::array::{UInt16Array, UInt32Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};
use domain::{Digest, Reference};
use futures_util::StreamExt;
use policy::why::{Names, Observed, Question, WINDOW_BUCKETS, explain};
use query::{Ask, CellsAsk, Format, Limits, Queries, RecordsAsk, Source};
use records::{Catalogue, FileColumn, RecordFile, Sealed};

const HOUR_MS: u64 = 3_600_000;
const BEGIN_MS: u64 = 497_222 * HOUR_MS;
/// Each question is asked so often.
const TIMES: usize = 20;
/// … but for why something changed.
const TIMES_OF_WHY: usize = 5;

const REPLICAS: u64 = 4;
const CALLERS: u64 = 8;

type Failed = Box<dyn std::error::Error>;

fn id_of(ms: u64, count: u64) -> String {
    let time = format!("{ms:012x}");
    // As random ids are: not to be compressed.
    let random = count.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    format!("{}-{}-7000-8000-{random:012x}", &time[..8], &time[8..])
}

/// Like chance, and the same each time.
fn random(row: u64) -> u64 {
    row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
}

fn file(hour: u64, rows: u64) -> Result<(RecordFile, Vec<u8>), Failed> {
    let begin_ms = BEGIN_MS + hour * HOUR_MS;
    let time = |row: u64| begin_ms + row * HOUR_MS / rows;
    let ids: Vec<String> = (0..rows).map(|row| id_of(time(row), hour * rows + row)).collect();
    let mut fields: Vec<Arc<Field>> = records::columns::fixed();
    fields.push(Arc::new(Field::new("in.age", DataType::Int64, true)));
    fields.push(Arc::new(Field::new("in.city", DataType::Utf8, true)));
    fields.push(Arc::new(Field::new("out.leave", DataType::Float64, true)));
    let columns: Result<Vec<ArrayRef>, Failed> = fields
        .iter()
        .map(|field| {
            let made: ArrayRef = match field.name().as_str() {
                "id" => Arc::new(StringArray::from_iter_values(&ids)),
                "time" => Arc::new(
                    TimestampMicrosecondArray::from_iter_values(
                        (0..rows).map(|row| time(row) as i64 * 1_000),
                    )
                    .with_timezone("UTC"),
                ),
                "row" => Arc::new(UInt32Array::from(vec![0; ids.len()])),
                "rows" => Arc::new(UInt32Array::from(vec![1; ids.len()])),
                "status" => Arc::new(UInt16Array::from(vec![200; ids.len()])),
                "copy" => Arc::new(BooleanArray::from(vec![false; ids.len()])),
                "weight" => Arc::new(Float64Array::from(vec![1.0; ids.len()])),
                "model" => Arc::new(StringArray::from(vec!["churn"; ids.len()])),
                "version" => Arc::new(StringArray::from(vec!["v1"; ids.len()])),
                // What most models have: one version at a time, some replicas and callers.
                "revision" => Arc::new(UInt32Array::from(vec![1; ids.len()])),
                "replica" => Arc::new(StringArray::from_iter_values(
                    (0..rows).map(|row| format!("r1-{}", random(row) % REPLICAS)),
                )),
                "principal" => Arc::new(StringArray::from_iter_values(
                    (0..rows).map(|row| format!("service:{}", random(row) / 7 % CALLERS)),
                )),
                "key" => Arc::new(StringArray::from_iter_values(
                    (0..rows).map(|row| format!("customer={}", hour * rows + row)),
                )),
                "in.city" => Arc::new(StringArray::from_iter_values(
                    (0..rows).map(|row| ["Delft", "Utrecht", "Leiden"][row as usize % 3]),
                )),
                "out.leave" => Arc::new(Float64Array::from_iter_values(
                    (0..rows).map(|row| (row * 7_919 % 10_007) as f64 / 10_007.0),
                )),
                _ if field.is_nullable() && field.name() != "in.age" => {
                    new_null_array(field.data_type(), ids.len())
                }
                _ => {
                    // Times in microseconds among them, as they are: some are much longer.
                    let numbers =
                        (0..rows).map(|row| 300 + 1_000_000 / (1 + random(row) % 997) as u32);
                    cast(&UInt32Array::from_iter_values(numbers), field.data_type())?
                }
            };
            Ok(made)
        })
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), columns?)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(65_536))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_column_bloom_filter_enabled("key".into(), true)
        .build();
    let mut writer = ArrowWriter::try_new(vec![], schema.clone(), Some(properties))?;
    writer.write(&batch)?;
    let content = writer.into_inner()?;
    let columns = schema.fields().iter().map(|field| FileColumn {
        name: field.name().clone(),
        datatype: field.data_type().to_string(),
    });
    let file = RecordFile {
        path: format!("churn/{hour}.parquet"),
        model: "churn".parse::<Reference>()?.model,
        environment: "production".parse()?,
        version: "v1".parse()?,
        hour_ms: begin_ms,
        first_id: ids.first().cloned().unwrap_or_default(),
        last_id: ids.last().cloned().unwrap_or_default(),
        rows,
        requests: rows,
        bytes: content.len() as u64,
        digest: Digest::of(&content),
        columns: columns.collect(),
    };
    Ok((file, content))
}

async fn ask(queries: &Queries, ask: Ask) -> Result<usize, Failed> {
    let answer = queries.run(ask, Format::Csv, Arc::new(|_, _| true)).await;
    let mut answer = answer.map_err(|problem| problem.message)?;
    let mut lines = 0;
    while let Some(piece) = answer.body.next().await {
        lines += piece?.iter().filter(|byte| **byte == b'\n').count();
    }
    Ok(lines - 1)
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let mut numbers = std::env::args().skip(1).filter_map(|text| text.parse::<u64>().ok());
    let (files, rows) = (numbers.next().unwrap_or(10), numbers.next().unwrap_or(100_000));
    let directory = tempfile::tempdir()?;
    let blobs = directory.path().join("artifacts");
    std::fs::create_dir_all(&blobs)?;
    let store = Store::open(&format!("file://{}", blobs.display()), directory.path())?;
    let catalogue = Arc::new(Catalogue::open(&directory.path().join("catalogue.sqlite"))?);
    let area = store.area("records");
    let (mut bytes, begun) = (0, Instant::now());
    for hour in 0..files {
        let (file, content) = file(hour, rows)?;
        bytes += file.bytes;
        area.put(&file.path, content.into()).await?;
        catalogue.seal(&Sealed { files: vec![file], ..Sealed::default() })?;
    }
    println!("{} records, {} MB, made in {:.1?}", files * rows, bytes >> 20, begun.elapsed());
    let queries = Queries::new(Limits { flush_ms_min: 0, ..Limits::default() });
    queries.read_from(Source { catalogue, area, flush: Arc::new(|| {}) });
    let (hour, row) = (files / 2, rows / 3);
    let id = id_of(BEGIN_MS + hour * HOUR_MS + row * HOUR_MS / rows, hour * rows + row);
    let all = RecordsAsk {
        model: "churn".parse::<Reference>()?.model,
        since_ms: None,
        until_ms: None,
        condition: None,
        key: None,
        trace: None,
        id: None,
        rows_max: 20,
    };
    let key = Some(format!("customer={}", hour * rows + row));
    for (name, question) in [
        ("one by id", Ask::Records(RecordsAsk { id: Some(id.clone()), ..all.clone() })),
        ("one by id, in SQL", Ask::Sql(format!("select * from records where id = '{id}'"))),
        ("one by key", Ask::Records(RecordsAsk { key, ..all.clone() })),
        ("the newest 20", Ask::Records(all)),
        ("count of all", Ask::Sql("select count(*) from records".into())),
        (
            "mean of all by city",
            Ask::Sql("select city, avg(leave) from records group by city".into()),
        ),
    ] {
        let mut took = vec![];
        let mut lines = 0;
        for _ in 0..TIMES {
            let begun = Instant::now();
            lines = ask(&queries, question.clone()).await?;
            took.push(begun.elapsed());
        }
        let first = took[0];
        took.sort();
        println!(
            "{name}: {lines} rows, first {first:.1?}, median {:.1?}, slowest {:.1?}",
            took[TIMES / 2],
            took[TIMES - 1]
        );
    }
    for (name, bucket_ms) in [("why, over two hours", 5_000), ("why, over a day", 60_000)] {
        why(&queries, name, BEGIN_MS + files * HOUR_MS, bucket_ms).await?;
    }
    Ok(())
}

/// Sums up the last buckets, and asks what changed.
async fn why(queries: &Queries, name: &str, end_ms: u64, bucket_ms: u64) -> Result<(), Failed> {
    let mut took = vec![];
    let mut records = 0;
    for _ in 0..TIMES_OF_WHY {
        let begun = Instant::now();
        let start_ms = end_ms - WINDOW_BUCKETS as u64 * bucket_ms;
        let ask = CellsAsk {
            model: "churn".parse::<Reference>()?.model,
            environment: "production".parse()?,
            start_ms,
            bucket_ms,
            buckets: WINDOW_BUCKETS,
            truth: None,
        };
        let cells = queries.cells(ask, Arc::new(|_, _| true)).await;
        let cells = cells.map_err(|problem| problem.message)?;
        let counted = begun.elapsed();
        records = cells.records;
        let observed = Observed {
            start_ms,
            buckets: WINDOW_BUCKETS,
            names: Names { sizes: cells.sizes, outputs: cells.outputs, ..Names::default() },
            cells: cells.cells,
            columns: cells.columns,
            ..Observed::default()
        };
        let answer = explain(&Question::default(), &observed);
        took.push((begun.elapsed(), counted, answer.outcome));
    }
    took.sort_by_key(|(all, ..)| *all);
    let (all, counted, outcome) = &took[took.len() / 2];
    println!(
        "{name}: {records} records, median {all:.1?}, of which {counted:.1?} to sum up ({outcome:?})"
    );
    Ok(())
}
