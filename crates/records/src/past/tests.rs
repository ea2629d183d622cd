//! What was asked comes back as it was: types, shapes, bits and what was missing.

use std::collections::HashSet;

use bytes::Bytes;
use domain::manifest::Redact;
use domain::{Column, Datatype, Digest, Distance, Placement, Schema, VersionNumber};
use half::{bf16, f16};
use protocol::payload::Cells;
use protocol::record::{Definition, Kept, RecordHead, RecordOut};
use protocol::tensor::push_byte_element;
use protocol::{Payload, Tensor};

use super::*;
use crate::seal::seal;
use crate::segment::{Kind, Segment};

fn schema() -> Schema {
    serde_json::from_value(serde_json::json!({
        "inputs": [
            { "name": "x", "datatype": "FP64", "shape": [] },
            { "name": "small", "datatype": "INT8", "shape": [] },
            { "name": "large", "datatype": "UINT64", "shape": [] },
            { "name": "yes", "datatype": "BOOL", "shape": [] },
            { "name": "city", "datatype": "BYTES", "shape": [], "nullable": true },
            { "name": "raw", "datatype": "BYTES", "shape": [] },
            { "name": "half", "datatype": "FP16", "shape": [-1] },
            { "name": "brain", "datatype": "BF16", "shape": [2, -1] },
            { "name": "income", "datatype": "FP32", "shape": [], "nullable": true },
            { "name": "any", "datatype": "json", "shape": [] },
            { "name": "at", "datatype": "timestamp", "shape": [] },
            { "name": "grid", "datatype": "INT32" },
            { "name": "words", "datatype": "BYTES", "shape": [2] },
        ],
        "outputs": [{ "name": "y", "datatype": "FP64", "shape": [] }],
        "batches": true,
    }))
    .unwrap()
}

fn texts(texts: &[&[u8]]) -> Bytes {
    let mut data = vec![];
    texts.iter().for_each(|text| push_byte_element(&mut data, text));
    Bytes::from(data)
}

fn cells(shape: &[usize], data: impl AsRef<[u8]>) -> Cells {
    Cells { shape: shape.to_vec(), data: Bytes::copy_from_slice(data.as_ref()), valid: None }
}

/// Two rows.
fn payload() -> Payload {
    let nan = f64::from_bits(0x7ff8_0000_0000_0123);
    let halves = [0.1, -0.0, 65504.0, f64::NAN].map(|value| f16::from_f64(value).to_le_bytes());
    let brains = [0.1, 2.0, 3.0, 4.0].map(|value| bf16::from_f64(value).to_le_bytes());
    let valid = |bytes: [u8; 2]| Some(Bytes::copy_from_slice(&bytes));
    Payload {
        rows: 2,
        columns: vec![
            cells(&[], [nan.to_le_bytes(), (-0.0f64).to_le_bytes()].concat()),
            cells(&[], [0x80, 0x7f]),
            cells(&[], [u64::MAX.to_le_bytes(), ((1u64 << 53) + 1).to_le_bytes()].concat()),
            cells(&[], [1, 0]),
            Cells { valid: valid([0, 1]), ..cells(&[], texts(&[b"", "Höör".as_bytes()])) },
            cells(&[], texts(&[b"\xff\0", b""])),
            cells(&[2], halves.concat()),
            cells(&[2, 1], brains.concat()),
            Cells {
                valid: valid([1, 0]),
                ..cells(&[], [1e-45f32.to_le_bytes(), 0f32.to_le_bytes()].concat())
            },
            cells(&[], texts(&[b"{\"b\": [1, null], \"a\": 1.50}", b"null"])),
            cells(&[], texts(&[b"2026-11-23T08:00:00Z", b"2026-11-23 08:00:00.125+01:00"])),
            cells(&[1, 0, 3], []),
            cells(&[2], texts(&[b"a", b"", b"b", b"c"])),
        ],
    }
}

fn tensor(name: &str, datatype: Datatype, shape: &[usize], data: impl AsRef<[u8]>) -> Tensor {
    let data = Bytes::copy_from_slice(data.as_ref());
    Tensor { name: name.into(), datatype, shape: shape.to_vec(), data }
}

fn answer() -> Vec<Tensor> {
    vec![
        tensor("y", Datatype::Fp64, &[2], [0.3f64.to_le_bytes(), f64::NAN.to_le_bytes()].concat()),
        tensor("classes", Datatype::Bytes, &[2, 1], texts(&[b"a", b"b"])),
        tensor("maybe", Datatype::Int32, &[2], [7i32.to_le_bytes(), 0i32.to_le_bytes()].concat()),
        tensor("maybe:valid", Datatype::Bool, &[2], [1, 0]),
    ]
}

fn id(n: usize) -> [u8; 16] {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&(n as u64).to_be_bytes());
    id
}

/// A file with these requests.
fn file(of: &[(RecordHead<'_>, Payload, Vec<Tensor>)]) -> (RecordFile, Bytes) {
    let placement = Placement {
        model: "default/churn".parse().unwrap(),
        environment: "production".parse().unwrap(),
        version: VersionNumber(4),
        digest: Digest::of(b"4"),
        revision: 2,
    };
    let definition = Definition { placement, schema: schema(), key: None };
    let directory = tempfile::tempdir().unwrap();
    let mut segment = Segment::create(directory.path().join("a"), 7).unwrap();
    let (lane, text) = definition.named();
    segment.push(Kind::Definition, 0, [&lane.to_le_bytes(), text.as_bytes()]);
    for (n, (head, payload, outputs)) in of.iter().enumerate() {
        let head = RecordHead { id: id(n), lane, ..head.clone() };
        let whole = head.kept == Kept::Whole;
        let inputs = if whole { &payload.columns[..] } else { &[] };
        let outputs = if whole { &outputs[..] } else { &[] };
        let record = RecordOut { head, inputs, outputs, traced: Default::default() };
        let mut bytes = vec![0; record.size()];
        record.write(&mut bytes);
        segment.push(Kind::Record, n as u64, [&1.0f64.to_le_bytes(), &bytes]);
    }
    segment.write().unwrap();
    let parts = seal("a", &std::fs::read(segment.path()).unwrap(), 0).unwrap();
    (parts.sealed.files[0].clone(), Bytes::from(parts.contents[0].clone()))
}

fn head(status: u16, kept: Kept) -> RecordHead<'static> {
    RecordHead { status, kept, rows: 2, batch_rows: 8, batch_offset: 3, ..Default::default() }
}

fn all(of: &[(RecordHead<'_>, Payload, Vec<Tensor>)]) -> Vec<PastRequest> {
    let (file, content) = file(of);
    let ids = (0..of.len()).map(|n| crate::seal::id_text(&id(n))).collect();
    requests_of(content, &file, &Sought::Ids(ids)).unwrap()
}

#[test]
fn what_was_asked_comes_back_bit_by_bit() {
    let [request] = &all(&[(head(200, Kept::Whole), payload(), answer())])[..] else { panic!() };
    assert_eq!((request.rows, request.batch_rows, request.batch_offset), (2, 8, 3));
    assert_eq!((request.version, request.revision), (VersionNumber(4), 2));
    assert_eq!(request.why_not(), None);
    let rebuilt = request.payload(&schema()).unwrap();
    let names = schema().inputs;
    for ((column, was), is) in names.iter().zip(&payload().columns).zip(&rebuilt.columns) {
        assert_eq!(was, is, "{}", column.name);
    }
    assert_eq!(rebuilt, payload());
}

#[test]
fn an_answer_is_compared_with_the_recorded_one() {
    let [request] = &all(&[(head(200, Kept::Whole), payload(), answer())])[..] else { panic!() };
    let compared = request.compare(&answer(), |_| false);
    assert_eq!((compared.columns, &compared.differences[..]), (3, &[][..]));
    let mut other = answer();
    let next = f64::from_bits(0.3f64.to_bits() + 2);
    other[0].data = Bytes::from([next.to_le_bytes(), 1f64.to_le_bytes()].concat());
    let compared = request.compare(&other, |_| false);
    assert_eq!(compared.distance(), Distance::Far);
    let near = &compared.differences[0];
    assert_eq!((near.column.as_str(), near.row, near.distance), ("y", 0, Distance::Near(2)));
    assert_eq!((&near.before, &near.after), (&0.3.into(), &next.into()));
    assert_eq!(compared.differences[1].before, "NaN");
    // Others that are missing, or not; other shapes; other types; columns that come and go.
    let mut other = answer();
    other[3].data = Bytes::from_static(&[0, 1]);
    assert_eq!(request.compare(&other, |_| false).differences.len(), 2);
    let mut other = answer();
    other[1].shape = vec![2];
    assert_eq!(request.compare(&other, |_| false).distance(), Distance::Far);
    let mut other = answer();
    other[0].datatype = Datatype::Int64;
    assert_eq!(request.compare(&other, |_| false).distance(), Distance::Far);
    let without = &answer()[1..];
    let gone = request.compare(without, |_| false);
    assert_eq!((gone.differences[0].column.as_str(), gone.distance()), ("y", Distance::Far));
    assert_eq!(request.compare(without, |name| name == "y").distance(), Distance::Same);
    let mut more = answer();
    more.push(tensor("new", Datatype::Int8, &[2], [1, 2]));
    let compared = request.compare(&more, |_| false);
    assert!(compared.left_out.contains("new") && compared.differences.is_empty());
}

#[test]
fn an_integer_where_a_float_is_declared_is_recorded_as_what_it_is() {
    let whole =
        tensor("y", Datatype::Int64, &[2], [5i64.to_le_bytes(), 6i64.to_le_bytes()].concat());
    let [request] = &all(&[(head(200, Kept::Whole), payload(), vec![whole.clone()])])[..] else {
        panic!()
    };
    let compared = request.compare(&[whole], |_| false);
    assert_eq!((compared.columns, compared.distance()), (1, Distance::Same));
    let float =
        tensor("y", Datatype::Fp64, &[2], [5f64.to_le_bytes(), 6f64.to_le_bytes()].concat());
    assert_eq!(request.compare(&[float], |_| false).distance(), Distance::Far);
}

#[test]
fn what_cannot_be_asked_again_says_why() {
    let empty = || (Payload::default(), vec![]);
    let of = |status, kept| (head(status, kept), empty().0, empty().1);
    let found = all(&[
        of(200, Kept::Large),
        of(200, Kept::Dropped),
        of(400, Kept::None),
        (head(500, Kept::Whole), payload(), vec![]),
    ]);
    let why: Vec<String> = found.iter().map(|it| it.why_not().unwrap()).collect();
    assert!(why[0].contains("64 KiB") && why[1].contains("dropped"), "{why:?}");
    assert!(why[2].contains("400") && why[3].contains("500"), "{why:?}");
    let [request] = &all(&[(head(200, Kept::Whole), payload(), answer())])[..] else { panic!() };
    let mut part = request.clone();
    part.kept.pop();
    assert_eq!(part.why_not().unwrap(), "1 of its 2 rows were erased");
    // Other columns than a version takes.
    let mut other = schema();
    other.inputs[1].datatype = Datatype::Int16;
    assert!(request.payload(&other).unwrap_err().contains("`small` was recorded as Int8"));
    let mut other = schema();
    other.inputs.push(Column::scalar("new", Datatype::Fp64));
    assert!(request.payload(&other).unwrap_err().contains("`new` is not in its record"));
    other.inputs.last_mut().unwrap().default = Some(1.5.into());
    assert_eq!(request.payload(&other).unwrap().columns.last().unwrap().shape, [0usize; 0]);
    let mut other = schema();
    other.inputs[4].nullable = false;
    assert!(request.payload(&other).unwrap_err().contains("`city`"));
}

#[test]
fn what_is_redacted_is_known() {
    let digits = "0123456789abcdef0123456789abcdef".as_bytes();
    let mut disguised = payload();
    disguised.columns[5] = cells(&[], texts(&[digits, digits]));
    disguised.columns[4].valid = Some(Bytes::from_static(&[0, 0]));
    let found = all(&[
        (head(200, Kept::Whole), payload(), answer()),
        (head(200, Kept::Whole), disguised, answer()),
    ]);
    let inputs = schema().inputs;
    assert!(!found[0].is_redacted(&inputs[5], Redact::Hmac));
    assert!(found[1].is_redacted(&inputs[5], Redact::Hmac));
    assert!(!found[0].is_redacted(&inputs[4], Redact::Drop));
    assert!(found[1].is_redacted(&inputs[4], Redact::Drop));
    assert!(!found[1].is_redacted(&inputs[0], Redact::Drop));
}

#[test]
fn the_last_ones_are_those_that_were_answered() {
    let of = |status| (head(status, Kept::Whole), payload(), answer());
    let copy = (RecordHead { is_copy: true, ..head(200, Kept::Whole) }, payload(), answer());
    let (file, content) = file(&[of(200), of(200), of(500), of(200), copy]);
    let last = requests_of(content.clone(), &file, &Sought::Last(2)).unwrap();
    let ids: Vec<&str> = last.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids, [1, 3].map(|n| crate::seal::id_text(&id(n))));
    assert!(last.iter().all(|it| it.payload(&schema()).is_ok()));
    let one: HashSet<String> = [crate::seal::id_text(&id(4)), "x".into()].into();
    let found = requests_of(content, &file, &Sought::Ids(one)).unwrap();
    assert!(found.len() == 1 && found[0].is_copy);
}
