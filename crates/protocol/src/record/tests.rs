//! What is written is read, and nothing else.

use bytes::Bytes;

use super::*;

fn sample() -> Vec<u8> {
    let cells = Cells { shape: vec![2], data: Bytes::from(vec![1; 16]), valid: None };
    let missing = Cells {
        shape: vec![],
        data: Bytes::from_static(b"\x05\0\0\0Delft\0\0\0\0"),
        valid: Some(Bytes::from_static(&[1, 0])),
    };
    let answer = Tensor {
        name: "leave".into(),
        datatype: Datatype::Fp64,
        shape: vec![2],
        data: Bytes::from(vec![7; 16]),
    };
    let head = RecordHead {
        id: [9; 16],
        lane: 77,
        epoch: 3,
        trace: [4; 16],
        status: 200,
        kept: Kept::Whole,
        rows: 2,
        total_us: 1_234,
        reference: "churn",
        error: &"é".repeat(TEXT_BYTES_MAX),
        key: "customer=42",
        ..RecordHead::default()
    };
    let traced = Traced { span: [5; 8], sent_us: 99, ..Traced::default() };
    let out = RecordOut { head, inputs: &[cells, missing], outputs: &[answer], traced };
    let mut bytes = vec![0; out.size()];
    out.write(&mut bytes);
    bytes
}

#[test]
fn what_is_written_is_read() {
    let bytes = sample();
    let record = RecordIn::read(&bytes).unwrap();
    assert_eq!((record.head.lane, record.head.rows, record.head.total_us), (77, 2, 1_234));
    assert_eq!((record.head.reference, record.head.key), ("churn", "customer=42"));
    assert_eq!(record.head.error.len(), TEXT_BYTES_MAX, "long texts are cut");
    assert_eq!(record.inputs[1].valid, Some([1, 0].as_slice()));
    let leave = &record.outputs[0];
    assert_eq!((leave.name, leave.datatype, leave.data.len()), ("leave", Some(Datatype::Fp64), 16));
    assert_eq!(RecordHead::read(&bytes).unwrap(), record.head);
}

#[test]
fn records_of_before_and_of_later_are_read() {
    let bytes = sample();
    let record = RecordIn::read(&bytes).unwrap();
    assert_eq!((record.traced.span, record.traced.sent_us), ([5; 8], 99));
    let before = RecordIn::read(&bytes[..bytes.len() - Traced::BYTES]).unwrap();
    assert_eq!(before, RecordIn { traced: Traced::default(), ..record.clone() });
    let later = [&bytes[..], &[1, 2, 3]].concat();
    assert_eq!(RecordIn::read(&later).unwrap(), record);
}

#[test]
fn whatever_the_bytes_are_they_are_read_or_refused() {
    let bytes = sample();
    let before = bytes.len() - Traced::BYTES;
    for end in (0..bytes.len()).filter(|end| *end != before) {
        assert!(RecordIn::read(&bytes[..end]).is_err(), "cut at {end}");
    }
    testing::Corpus::of("records", vec![bytes]).check(|bytes| {
        let _ = RecordIn::read(bytes);
    });
}
