//! Rows of one batch that a model answered differently.

use bytes::Bytes;
use domain::{Code, Datatype};

use super::*;
use crate::tensor::byte_elements;
use crate::worker_wire::decode_answer;

fn schema() -> Schema {
    Schema { batches: true, ..Schema::default() }
}

fn answer(json: &str, blobs: &[u8], rows: usize) -> Result<Answer, WorkerFault> {
    let body = [json.as_bytes(), blobs].concat();
    decode_answer(Bytes::from(body), Some(json.len()), rows, &schema())
}

fn differing() -> Answer {
    let a = |rows: usize| {
        format!(
            r#"{{"name":"a","datatype":"INT64","shape":[{rows}],"parameters":{{"binary_data_size":{}}}}}"#,
            rows * 8
        )
    };
    let b = r#"{"name":"b","datatype":"FP64","shape":[1,2],"data":[1.5,2]}"#;
    let null = r#"{"name":"a","datatype":"BYTES","shape":[1],"parameters":{"content_type":"json"},"data":["null"]}"#;
    let problem = r#"{"code":"bad_input","error":"no"}"#;
    let json = format!(
        r#"{{"parts":[{{"rows":2,"outputs":[{}]}},{{"rows":1,"problem":{problem}}},{{"rows":1,"outputs":[{},{b}]}},{{"rows":1,"outputs":[{null}]}}]}}"#,
        a(2),
        a(1)
    );
    let blobs: Vec<u8> = [1i64, 2, 3].iter().flat_map(|value| value.to_le_bytes()).collect();
    answer(&json, &blobs, 5).unwrap()
}

fn simple(answer: &Answer, range: Range<usize>, one: bool) -> String {
    let mut out = vec![];
    answer.write_simple(range, one, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn each_row_has_its_own_keys() {
    let answer = differing();
    assert_eq!(simple(&answer, 1..2, true), r#"{"a":2}"#);
    assert_eq!(simple(&answer, 3..4, true), r#"{"a":3,"b":[1.5,2.0]}"#);
    assert_eq!(simple(&answer, 0..2, false), r#"{"rows":[{"a":1},{"a":2}]}"#);
    assert_eq!(simple(&answer, 3..5, false), r#"{"rows":[{"a":3,"b":[1.5,2.0]},{"a":null}]}"#);
}

#[test]
fn a_row_that_failed_fails_its_request_alone() {
    let answer = differing();
    assert_eq!(answer.failure(0..2), None);
    assert_eq!(answer.failure(3..5), None);
    assert_eq!(answer.failure(2..3).unwrap().code, Code::BadInput);
    assert_eq!(answer.failure(0..5).unwrap().message, "no");
}

#[test]
fn answers_to_single_rows_join() {
    let long = r#"{"outputs":[{"name":"b","datatype":"FP64","shape":[1,2],"data":[1,2]}]}"#;
    let short = r#"{"outputs":[{"name":"b","datatype":"FP64","shape":[1,1],"data":[3]}]}"#;
    let joined =
        |answers: &[&str]| Answer::joined(answers.iter().map(|json| answer(json, &[], 1).unwrap()));
    let alike = joined(&[long, long, long]);
    assert_eq!(
        simple(&alike, 0..3, false),
        r#"{"rows":[{"b":[1.0,2.0]},{"b":[1.0,2.0]},{"b":[1.0,2.0]}]}"#
    );
    let tensors = alike.to_tensors(0..3).unwrap();
    assert_eq!(
        (tensors.len(), tensors[0].datatype, &tensors[0].shape[..]),
        (1, Datatype::Fp64, &[3, 2][..])
    );
    let tensors = joined(&[long, short]).to_tensors(0..2).unwrap();
    assert_eq!(
        (tensors.len(), tensors[0].datatype, &tensors[0].shape[..]),
        (1, Datatype::Json, &[2][..])
    );
    tensors[0].check().unwrap();
    assert_eq!(Answer::joined([differing(), differing()]).failure(6..10).unwrap().message, "no");
    assert_eq!(Answer::joined([differing(), differing()]).failure(5..7), None);
}

#[test]
fn rows_that_differ_become_tensors_together() {
    let tensors = differing().to_tensors(3..5).unwrap();
    let names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names, ["a", "a:valid", "b", "b:valid"]);
    assert_eq!(
        (tensors[0].datatype, &tensors[0].shape[..], &tensors[1].data[..]),
        (Datatype::Int64, &[2][..], &[1, 0][..])
    );
    assert_eq!((&tensors[2].shape[..], &tensors[3].data[..]), (&[2, 2][..], &[1, 0][..]));
    tensors.iter().for_each(|tensor| tensor.check().unwrap());
    assert_eq!(differing().to_tensors(0..2).unwrap().len(), 1);

    let part = |datatype: &str, data: &str| {
        format!(
            r#"{{"rows":1,"outputs":[{{"name":"a","datatype":"{datatype}","shape":[1],"data":[{data}]}}]}}"#
        )
    };
    let json =
        format!(r#"{{"parts":[{},{}]}}"#, part("INT64", "9007199254740993"), part("FP64", "0.5"));
    let tensors = answer(&json, &[], 2).unwrap().to_tensors(0..2).unwrap();
    assert_eq!(
        byte_elements(&tensors[0].data).collect::<Vec<_>>(),
        [&b"9007199254740993"[..], b"0.5"]
    );
}

#[test]
fn answers_are_compared_row_by_row() {
    let (answer, other) = (differing(), differing());
    assert!(answer.agrees(3..5, &other, 3..5, 0.0));
    assert!(!answer.agrees(3..5, &other, 0..2, 0.0));
    assert!(answer.agrees(0..2, &other, 0..2, 0.0));
}

#[test]
fn columns_without_end_are_not_made_into_tensors() {
    let part = |at: usize| {
        format!(
            r#"{{"rows":1,"outputs":[{{"name":"k{at}","datatype":"BOOL","shape":[1],"data":[true]}}]}}"#
        )
    };
    let json = format!(r#"{{"parts":[{}]}}"#, (0..4_000).map(part).collect::<Vec<_>>().join(","));
    let answer = answer(&json, &[], 4_000).unwrap();
    assert_eq!(answer.to_tensors(0..4_000).unwrap_err().code, Code::BadOutput);
    assert_eq!(answer.to_tensors(0..40).unwrap().len(), 80);
    assert_eq!(simple(&answer, 3_999..4_000, true), r#"{"k3999":true}"#);
}

#[test]
fn parts_must_be_the_rows_of_the_batch() {
    let part =
        |rows: u64| format!(r#"{{"rows":{rows},"problem":{{"code":"bad_input","error":"no"}}}}"#);
    for wrong in [vec![1, 0], vec![1], vec![1, 2], vec![u64::MAX, 1], vec![]] {
        let json = format!(
            r#"{{"parts":[{}]}}"#,
            wrong.iter().map(|rows| part(*rows)).collect::<Vec<_>>().join(",")
        );
        assert_eq!(answer(&json, &[], 2).unwrap_err().code(), &Code::BadOutput, "{wrong:?}");
    }
    assert!(answer(&format!(r#"{{"parts":[{},{}]}}"#, part(1), part(1)), &[], 2).is_ok());
}

#[test]
fn answers_are_compared_bit_by_bit() {
    use domain::Distance;
    let of = |values: &[f64]| {
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let (name, shape) = ("y".to_string(), vec![values.len()]);
        let tensor = Tensor { name, datatype: Datatype::Fp64, shape, data: Bytes::from(data) };
        Answer::from_tensors(vec![tensor], values.len(), &schema()).unwrap()
    };
    let (one, other) = (of(&[0.3, 1.0, f64::NAN]), of(&[1.0, 0.1 + 0.2, f64::NAN]));
    assert_eq!(one.distance(1, &other, 0), Distance::Same);
    assert_eq!(one.distance(0, &other, 1), Distance::Near(1));
    assert_eq!(one.distance(0, &other, 0), Distance::Far);
    assert_eq!(one.distance(2, &other, 2), Distance::Same);
    let mixed = differing();
    assert_eq!(mixed.distance(0, &mixed, 0), Distance::Same);
    assert_eq!(mixed.distance(0, &mixed, 2), Distance::Far, "it failed");
    assert_eq!(mixed.distance(0, &mixed, 3), Distance::Far, "it has other columns");
    let whole = Tensor {
        name: "y".into(),
        datatype: Datatype::Int64,
        shape: vec![1],
        data: Bytes::from(1i64.to_le_bytes().to_vec()),
    };
    let whole = Answer::from_tensors(vec![whole], 1, &schema()).unwrap();
    assert_eq!(whole.distance(0, &other, 0), Distance::Same);
    assert_eq!(whole.distance(0, &other, 1), Distance::Far);
}
