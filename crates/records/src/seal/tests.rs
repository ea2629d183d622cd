//! What is only known of the last record of a segment holds for the first.

use std::collections::BTreeSet;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, UInt32Type};
use bytes::Bytes;
use domain::{Datatype, Placement, Schema, VersionNumber};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use protocol::Tensor;
use protocol::payload::Cells;
use protocol::record::{Kept, RecordHead, RecordOut};

use super::*;
use crate::segment::Segment;

/// More than two pieces.
const RECORDS: usize = 2 * PIECE_RECORDS_MAX + 100;

fn definition() -> Definition {
    let schema: Schema = serde_json::from_value(serde_json::json!({
        "inputs": [{ "name": "city", "datatype": "BYTES", "shape": [] }],
        "outputs": [],
        "batches": true,
    }))
    .unwrap();
    let placement = Placement {
        model: "default/churn".parse().unwrap(),
        environment: "production".parse().unwrap(),
        version: VersionNumber(4),
        digest: Digest::of(b"4"),
        revision: 0,
    };
    Definition { placement, schema, key: None }
}

fn id(n: usize) -> [u8; 16] {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&(n as u64).to_be_bytes());
    id
}

fn tensor(name: &str, datatype: Datatype, shape: &[usize], data: impl AsRef<[u8]>) -> Tensor {
    let data = Bytes::copy_from_slice(data.as_ref());
    Tensor { name: name.into(), datatype, shape: shape.to_vec(), data }
}

/// A segment in which a record has the city and the outputs that `of` says.
fn segment(of: impl Fn(usize) -> (Vec<u8>, Vec<Tensor>)) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let mut segment = Segment::create(directory.path().join("a"), 7).unwrap();
    let (lane, text) = definition().named();
    segment.push(Kind::Definition, 0, [&lane.to_le_bytes(), text.as_bytes()]);
    // Last come first.
    for n in (0..RECORDS).rev() {
        let (city, outputs) = of(n);
        let mut cities = vec![];
        protocol::tensor::push_byte_element(&mut cities, &city);
        let inputs = [Cells { shape: vec![], data: Bytes::from(cities), valid: None }];
        let head = RecordHead { id: id(n), lane, rows: 1, kept: Kept::Whole, ..Default::default() };
        let (inputs, outputs) = (&inputs, &outputs[..]);
        let record = RecordOut { head, inputs, outputs, traced: Default::default() };
        let mut bytes = vec![0; record.size()];
        record.write(&mut bytes);
        segment.push(Kind::Record, n as u64, [&1.0f64.to_le_bytes(), &bytes]);
    }
    segment.write().unwrap();
    std::fs::read(segment.path()).unwrap()
}

fn sealed(bytes: &[u8]) -> (RecordFile, Vec<RecordBatch>) {
    let parts = seal("a", bytes, 0).unwrap();
    assert_eq!(parts.sealed.files.len(), 1);
    assert!(parts.sealed.gaps.is_empty());
    let content = Bytes::from(parts.contents[0].clone());
    let reader = ParquetRecordBatchReaderBuilder::try_new(content).unwrap();
    let rows = reader.with_batch_size(RECORDS).build().unwrap().map(Result::unwrap).collect();
    (parts.sealed.files[0].clone(), rows)
}

#[test]
fn many_records_become_one_file_in_their_order() {
    let bytes = segment(|n| {
        let score = (n as f64).to_le_bytes();
        (format!("c{n}").into_bytes(), vec![tensor("score", Datatype::Fp64, &[1], score)])
    });
    let (file, rows) = sealed(&bytes);
    assert_eq!((file.rows, file.requests), (RECORDS as u64, RECORDS as u64));
    assert_eq!((file.first_id, file.last_id), (id_text(&id(0)), id_text(&id(RECORDS - 1))));
    let [rows] = &rows[..] else { panic!("one batch was asked for") };
    let scores = rows["out.score"].as_primitive::<Float64Type>();
    assert!(scores.values().iter().enumerate().all(|(n, score)| *score == n as f64));
    let cities = rows["in.city"].as_string::<i32>();
    assert!((0..RECORDS).all(|n| cities.value(n) == format!("c{n}")));
}

#[test]
fn no_two_columns_have_one_name() {
    let kinds: [(Datatype, &[usize]); 4] = [
        (Datatype::Fp64, &[1]),
        (Datatype::Int64, &[1]),
        (Datatype::Fp64, &[1, 2]),
        (Datatype::Int64, &[1, 2]),
    ];
    // As they come, and the other way round.
    for turned in [false, true] {
        let bytes = segment(|n| {
            let at = if turned { 3 - n % 4 } else { n % 4 };
            let (datatype, shape) = kinds[at];
            let bytes = 8 * shape.iter().product::<usize>();
            (b"Delft".to_vec(), vec![tensor("score", datatype, shape, vec![0; bytes])])
        });
        let (file, rows) = sealed(&bytes);
        let names: BTreeSet<&str> = file.columns.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names.len(), file.columns.len(), "{names:?}");
        let of_output = |name: &&&str| name.starts_with("out.score") && !name.ends_with(":shape");
        let kept = |name: &&str| RECORDS - rows[0][*name].null_count();
        assert_eq!(names.iter().filter(of_output).map(kept).sum::<usize>(), RECORDS);
    }
}

#[test]
fn a_late_record_may_bring_bytes_shapes_types_and_columns() {
    let last = RECORDS - 1;
    let half = PIECE_RECORDS_MAX + 7;
    let bytes = segment(|n| {
        let city = if n == last { b"\xff\xfe".to_vec() } else { b"Delft".to_vec() };
        let shape: &[usize] = if n == last { &[1, 1, 2] } else { &[1, 2] };
        let mut outputs = vec![tensor("image", Datatype::Fp64, shape, [0; 16])];
        match n < half {
            true => outputs.push(tensor("score", Datatype::Fp64, &[1], 0.5f64.to_le_bytes())),
            false => outputs.push(tensor("score", Datatype::Int64, &[1], 3i64.to_le_bytes())),
        }
        if n == last {
            outputs.push(tensor("why", Datatype::Bytes, &[1], b"\x02\0\0\0no"));
        }
        (city, outputs)
    });
    let (_, rows) = sealed(&bytes);
    let [rows] = &rows[..] else { panic!("one batch was asked for") };
    let cities = rows["in.city"].as_binary::<i32>();
    assert_eq!((cities.value(0), cities.value(last)), (&b"Delft"[..], &b"\xff\xfe"[..]));
    let shapes = rows["out.image:shape"].as_list::<i32>();
    assert_eq!(shapes.value(0).as_primitive::<UInt32Type>().values(), &[2]);
    assert_eq!(shapes.value(last).as_primitive::<UInt32Type>().values(), &[1, 2]);
    assert_eq!(rows["out.score"].null_count(), RECORDS - half);
    assert_eq!(rows["out.score:INT64"].null_count(), half);
    assert_eq!(rows["out.why"].as_string::<i32>().value(last), "no");
    assert_eq!(rows["out.why"].null_count(), last);
}
