//! From the ring to Parquet, also over the end of a process.

use std::collections::BTreeSet;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use bytes::Bytes;
use domain::{Datatype, Digest, Placement, Schema};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use protocol::Tensor;
use protocol::payload::Cells;
use protocol::record::{Kept, RecordOut};

use super::*;

mod erasing;

fn definition() -> Definition {
    let schema: Schema = serde_json::from_value(serde_json::json!({
        "inputs": [
            { "name": "age", "datatype": "INT64", "shape": [] },
            { "name": "city", "datatype": "BYTES", "shape": [], "nullable": true },
        ],
        "outputs": [{ "name": "leave", "datatype": "FP64", "shape": [] }],
        "batches": true,
    }))
    .unwrap();
    let placement = Placement {
        model: "default/churn".parse().unwrap(),
        environment: "production".parse().unwrap(),
        version: domain::VersionNumber(4),
        digest: Digest::of(b"4"),
        revision: 0,
    };
    Definition { placement, schema, key: None }
}

struct Place {
    directory: tempfile::TempDir,
    memory: File,
    runtime: tokio::runtime::Runtime,
}

impl Place {
    fn new() -> Place {
        let memory = tempfile::tempfile().unwrap();
        memory.set_len(Ring::file_bytes(1 << 20)).unwrap();
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        Place { directory: tempfile::tempdir().unwrap(), memory, runtime }
    }

    fn start(&self, sample_per_s: f64) -> Arc<Keeper> {
        let root = self.directory.path();
        let url = format!("file:{}", root.join("store").display());
        let store = Store::open(&url, &root.join("uploads")).unwrap();
        let config = KeeperConfig {
            directory: root.join("records"),
            sample_per_s,
            keep_ms: u64::MAX,
            keep_bytes_max: u64::MAX,
        };
        let handle = self.runtime.handle().clone();
        Keeper::start(config, &self.memory, &[], &store, handle, Box::new(|_, _, _, _| {})).unwrap()
    }

    /// All rows of all files.
    fn rows(&self, keeper: &Keeper) -> Vec<RecordBatch> {
        keeper.flush();
        let files = keeper.files(0, u64::MAX).unwrap();
        let read = |file: RecordFile| {
            let content = self.runtime.block_on(keeper.area().get(&file.path)).unwrap();
            assert_eq!(Digest::of(&content), file.digest);
            let reader = ParquetRecordBatchReaderBuilder::try_new(content).unwrap();
            reader.build().unwrap().map(Result::unwrap).collect::<Vec<_>>()
        };
        files.into_iter().flat_map(read).collect()
    }

    fn ids(&self, keeper: &Keeper) -> Vec<String> {
        let ids = |batch: &RecordBatch| {
            let column = batch.column_by_name("id").unwrap().as_string::<i32>().clone();
            column.iter().map(|id| id.unwrap().to_string()).collect::<Vec<_>>()
        };
        self.rows(keeper).iter().flat_map(ids).collect()
    }
}

fn id(n: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..6].copy_from_slice(&1_700_000_000_000u64.to_be_bytes()[2..]);
    id[8..].copy_from_slice(&n.to_be_bytes());
    id
}

fn put(keeper: &Keeper, n: u64, rows: u32) -> bool {
    put_as(keeper, id(n), rows, "", &definition())
}

fn put_as(keeper: &Keeper, id: [u8; 16], rows: u32, key: &str, of: &Definition) -> bool {
    let (lane, text) = of.named();
    keeper.define(lane, &text);
    let ages: Vec<u8> = (0..i64::from(rows)).flat_map(|row| (row + 40).to_le_bytes()).collect();
    let mut cities = vec![];
    (0..rows).for_each(|_| protocol::tensor::push_byte_element(&mut cities, b"Delft"));
    let valid = (0..rows).map(|row| u8::from(row != 1)).collect::<Vec<_>>();
    let inputs = [
        Cells { shape: vec![], data: Bytes::from(ages), valid: None },
        Cells { shape: vec![], data: Bytes::from(cities), valid: Some(Bytes::from(valid)) },
    ];
    let leave = Tensor {
        name: "leave".into(),
        datatype: Datatype::Fp64,
        shape: vec![rows as usize],
        data: Bytes::from(0.25f64.to_le_bytes().repeat(rows as usize)),
    };
    let head =
        RecordHead { id, lane, status: 200, rows, kept: Kept::Whole, key, ..Default::default() };
    let record = RecordOut { head, inputs: &inputs, outputs: &[leave], traced: Default::default() };
    keeper.put(record.size(), true, &mut |out| record.write(out))
}

#[test]
fn rows_are_found_as_they_were_asked_and_answered() {
    let place = Place::new();
    let keeper = place.start(1e9);
    assert!(put(&keeper, 1, 3));
    let rows = place.rows(&keeper);
    assert_eq!(rows.len(), 1);
    let of = |name: &str| rows[0].column_by_name(name).unwrap().clone();
    assert_eq!(of("in.age").as_primitive::<Int64Type>().values(), &[40, 41, 42]);
    assert_eq!(of("out.leave").as_primitive::<Float64Type>().values(), &[0.25; 3]);
    let cities = of("in.city");
    assert_eq!(cities.as_string::<i32>().iter().collect::<Vec<_>>()[1..], [None, Some("Delft")]);
    assert_eq!(of("version").as_string::<i32>().value(0), "v4");
    assert!(of("key").as_string::<i32>().iter().all(|key| key.is_none()));
    keeper.end();
}

#[test]
fn what_an_earlier_process_left_is_found_once() {
    let place = Place::new();
    let mut wanted = BTreeSet::new();
    for round in 0..5u64 {
        // The last one is never ended: its threads may write on, as those of a process in the
        // middle of being killed.
        let keeper = place.start(1e9);
        for n in 0..200 {
            assert!(put(&keeper, round * 1_000 + n, 1));
            wanted.insert(crate::seal::id_text(&id(round * 1_000 + n)));
        }
        if round % 2 == 0 {
            keeper.flush();
        }
        keeper.end();
        // In the ring after the end of whoever reads it.
        for n in 500..520 {
            assert!(put(&keeper, round * 1_000 + n, 1));
            wanted.insert(crate::seal::id_text(&id(round * 1_000 + n)));
        }
    }
    let keeper = place.start(1e9);
    let ids = place.ids(&keeper);
    assert_eq!(ids.len(), wanted.len(), "none twice");
    assert_eq!(ids.into_iter().collect::<BTreeSet<_>>(), wanted);
    assert!(keeper.gaps(0).unwrap().is_empty());
    keeper.end();
}

#[test]
fn what_found_no_room_is_a_gap() {
    let place = Place::new();
    let keeper = place.start(1e9);
    keeper.end();
    let mut kept = 0u64;
    let mut refused = 0u64;
    for n in 0..20_000 {
        match put(&keeper, n, 1) {
            true => kept += 1,
            false => refused += 1,
        }
    }
    assert!(refused > 0);
    let keeper = place.start(1e9);
    assert_eq!(place.ids(&keeper).len() as u64, kept);
    let gaps = keeper.gaps(0).unwrap();
    assert_eq!(gaps.iter().map(|gap| gap.values).sum::<u64>(), refused);
    let counts = keeper.counts();
    assert_eq!((counts.kept, counts.without_values, counts.lost), (kept, refused, 0));
    keeper.end();
}

#[test]
fn old_files_go_first() {
    let place = Place::new();
    let keeper = place.start(1e9);
    put(&keeper, 1, 1);
    keeper.flush();
    let files = keeper.files(0, u64::MAX).unwrap();
    assert_eq!(files.len(), 1);
    let all = |before, bytes| keeper.catalogue.too_old(before, bytes).unwrap().len();
    assert_eq!(all(0, u64::MAX), 0);
    assert_eq!(all(u64::MAX, u64::MAX), 1);
    assert_eq!(all(0, files[0].bytes - 1), 1);
    keeper.end();
}
