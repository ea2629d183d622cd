//! Decoders of what strangers send: any bytes give an answer or a problem, and never a panic or a
//! large allocation. `cargo bolero test` drives the same targets by coverage for as long as one
//! likes.

use bolero::{TypeGenerator, check};
use bytes::Bytes;
use domain::route::WorkerProtocol;
use domain::{Column, Datatype, Schema};
use protocol::{Payload, oip, simple, worker_wire};

const ITERATIONS: usize = 20_000;

fn schema() -> Schema {
    let mut city = Column::scalar("city", Datatype::Bytes);
    city.categories = vec!["Utrecht".into(), "Delft".into()];
    let mut income = Column::scalar("income", Datatype::Fp64);
    income.nullable = true;
    let array = Column { shape: Some(vec![2, -1]), ..Column::scalar("x", Datatype::Fp32) };
    let free = Column { shape: None, nullable: true, ..Column::scalar("free", Datatype::Int8) };
    let json = Column { nullable: true, ..Column::scalar("json", Datatype::Json) };
    let at = Column { nullable: true, ..Column::scalar("at", Datatype::Timestamp) };
    Schema { inputs: vec![city, income, array, free, json, at], batches: true, ..Schema::default() }
}

const SIMPLE: &[&str] = &[
    r#"{"city": "Delft", "income": 1.5, "x": [[1, 2], [3, 4]], "free": [1], "json": {"a": null}, "at": "2026-11-23T08:00:00Z"}"#,
    r#"{"rows": [{"city": "Delft", "x": [[1], [3]]}, {"city": "Utrecht", "income": null, "x": [[5], [6]]}]}"#,
    r#"{"rows": [], "rows": [{}]}"#,
];
const OPEN: &[&str] = &[
    r#"{"id": "a", "inputs": [{"name": "city", "shape": [1], "datatype": "BYTES", "data": ["Delft"]}, {"name": "x", "shape": [1, 2, 1], "datatype": "FP32", "parameters": {"binary_data_size": 8}}], "outputs": [{"name": "y", "parameters": {"binary_data": true}}], "parameters": {"binary_data_output": true}}"#,
    r#"{"inputs": [{"name": "city", "shape": [18446744073709551615, 2], "datatype": "BYTES", "data": [[["a"]]]}]}"#,
];

/// How a valid text is spoilt: bytes put in, taken out or replaced.
#[derive(Clone, Debug, TypeGenerator)]
enum Edit {
    Replace(u16, u8),
    Insert(u16, u8),
    Remove(u16, u8),
    Repeat(u16, u8),
}

#[derive(Clone, Debug, TypeGenerator)]
struct Spoilt {
    seed: u8,
    edits: Vec<Edit>,
    tail: Vec<u8>,
}

impl Spoilt {
    fn bytes(&self, seeds: &[&str]) -> Vec<u8> {
        let mut bytes = seeds[self.seed as usize % seeds.len()].as_bytes().to_vec();
        for edit in &self.edits {
            let place = |at: u16, length: usize| if length == 0 { 0 } else { at as usize % length };
            match *edit {
                Edit::Replace(at, byte) if !bytes.is_empty() => {
                    let at = place(at, bytes.len());
                    bytes[at] = byte;
                }
                Edit::Insert(at, byte) => bytes.insert(place(at, bytes.len() + 1), byte),
                Edit::Remove(at, count) => {
                    let at = place(at, bytes.len());
                    let end = (at + count as usize % 8).min(bytes.len());
                    bytes.drain(at..end);
                }
                Edit::Repeat(at, count) => {
                    let at = place(at, bytes.len());
                    let end = (at + count as usize).min(bytes.len());
                    let part = bytes[at..end].to_vec();
                    bytes.extend_from_slice(&part);
                }
                Edit::Replace(..) => {}
            }
        }
        bytes.extend_from_slice(&self.tail);
        bytes
    }
}

fn run_open(bytes: &[u8], header_bytes: Option<usize>) {
    if let Ok(request) = oip::decode_request(Bytes::copy_from_slice(bytes), header_bytes)
        && let Ok(payload) = Payload::from_tensors(request.inputs, &schema())
    {
        let sent = worker_wire::encode_batch(&[&payload], &request.parameters, &[], &schema());
        let mut body = sent.json.clone();
        sent.blobs.iter().for_each(|blob| body.extend_from_slice(blob));
        oip::decode_request(Bytes::from(body), Some(sent.json.len()))
            .expect("what we send can be read");
    }
}

#[test]
fn simple_json() {
    check!().with_iterations(ITERATIONS).with_type::<Spoilt>().for_each(|spoilt| {
        let bytes = spoilt.bytes(SIMPLE);
        if let Ok((payload, _)) = simple::decode(&bytes, &schema()) {
            assert!(payload.rows > 0);
            worker_wire::encode(
                &WorkerProtocol::Plain("/".into()),
                &[&payload],
                &Default::default(),
                &[],
                &schema(),
            )
            .expect("what was read can be sent");
        }
    });
}

#[test]
fn open_inference() {
    check!().with_iterations(ITERATIONS).with_type::<(Spoilt, Option<u16>)>().for_each(
        |(spoilt, header_bytes)| {
            let bytes = spoilt.bytes(OPEN);
            run_open(&bytes, header_bytes.map(usize::from));
            run_open(&bytes, Some(bytes.len().saturating_sub(spoilt.tail.len())));
        },
    );
}

#[test]
fn any_bytes() {
    check!().with_iterations(ITERATIONS).for_each(|bytes: &[u8]| {
        let _ = simple::decode(bytes, &schema());
        run_open(bytes, None);
        for protocol in [WorkerProtocol::Binary, WorkerProtocol::Plain("/".into())] {
            let _ = worker_wire::decode(
                &protocol,
                Bytes::copy_from_slice(bytes),
                Some(bytes.len() / 2),
                1,
                &[],
                &schema(),
            );
        }
    });
}
