//! How long questions take among many records: makes files of them in a temporary directory, and
//! asks. `cargo run --release -p query --example measure -- 100 100000` makes 10⁷ records, in a
//! hundred hours.

use std::sync::Arc;
use std::time::Instant;

use artifacts::Store;
use datafusion::arrow::array::{ArrayRef, Float64Array, RecordBatch, new_null_array};
use datafusion::arrow::array::{StringArray, TimestampMicrosecondArray, UInt32Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};
use domain::{Digest, Reference};
use futures_util::StreamExt;
use query::{Ask, Format, Limits, Queries, RecordsAsk, Source};
use records::{Catalogue, FileColumn, RecordFile, Sealed};

const HOUR_MS: u64 = 3_600_000;
const BEGIN_MS: u64 = 497_222 * HOUR_MS;
/// Each question is asked so often.
const TIMES: usize = 20;

type Failed = Box<dyn std::error::Error>;

fn id_of(ms: u64, count: u64) -> String {
    let time = format!("{ms:012x}");
    // As random ids are: not to be compressed.
    let random = count.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    format!("{}-{}-7000-8000-{random:012x}", &time[..8], &time[8..])
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
                "model" => Arc::new(StringArray::from(vec!["churn"; ids.len()])),
                "version" => Arc::new(StringArray::from(vec!["v1"; ids.len()])),
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
                    let numbers = (0..rows).map(|row| (row * 31 % 997) as u32);
                    cast(&UInt32Array::from_iter_values(numbers), field.data_type()).or_else(
                        |_| {
                            cast(
                                &UInt32Array::from_iter_values(vec![1; ids.len()]),
                                &DataType::Boolean,
                            )
                        },
                    )?
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
    Ok(())
}
