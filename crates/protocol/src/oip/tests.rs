//! Requests and responses in JSON and binary, as data.

use super::*;
use crate::{Answer, Payload, Tensor};
use bytes::Bytes;
use domain::{Code, Datatype, Problem};
use serde_json::Map;

fn request(json: &str, blobs: &[u8]) -> Result<InferRequest, Problem> {
    let mut body = json.as_bytes().to_vec();
    body.extend_from_slice(blobs);
    decode_request(Bytes::from(body), (!blobs.is_empty()).then_some(json.len()))
}

#[test]
fn json_flat_or_nested() {
    for data in ["[1, 2, 3, 4]", "[[1, 2], [3, 4]]"] {
        let json = format!(
            r#"{{"id": "7", "inputs": [{{"name": "x", "shape": [2, 2], "datatype": "INT32", "data": {data}}}]}}"#
        );
        let read = request(&json, b"").unwrap();
        assert_eq!(read.id.as_deref(), Some("7"));
        assert_eq!(read.inputs[0].data[..], [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0]);
    }
}

#[test]
fn every_datatype_goes_through_json_and_binary() {
    for datatype in
        Datatype::ALL.into_iter().filter(|d| !matches!(d, Datatype::Timestamp | Datatype::Json))
    {
        let (value, text) = match datatype {
            Datatype::Bool => (Value::Bool(true), "true"),
            Datatype::Bytes => (Value::from("héllo"), "\"héllo\""),
            Datatype::Fp16 | Datatype::Fp32 | Datatype::Fp64 | Datatype::Bf16 => {
                (Value::from(1.5), "1.5")
            }
            _ => (Value::from(100), "100"),
        };
        let mut blob = vec![];
        assert!(crate::payload::push_value(datatype, &value, &mut blob));
        let json = format!(
            r#"{{"inputs": [{{"name": "x", "shape": [1], "datatype": "{datatype}", "parameters": {{"binary_data_size": {}}}}}]}}"#,
            blob.len()
        );
        let binary = request(&json, &blob).unwrap();
        if datatype != Datatype::Bf16 {
            let json = format!(
                r#"{{"inputs": [{{"name": "x", "shape": [1], "datatype": "{datatype}", "data": [{text}]}}]}}"#
            );
            assert_eq!(request(&json, b"").unwrap().inputs, binary.inputs, "{datatype}");
        }
        let response = InferResponse {
            model_name: "m".into(),
            outputs: binary.inputs,
            ..InferResponse::default()
        };
        let (header_bytes, body) = response.encode(&[], true);
        assert_eq!(&body[header_bytes.unwrap()..], blob, "{datatype}");
        let (header_bytes, body) = response.encode(&[], false);
        if datatype != Datatype::Bf16 {
            assert_eq!(header_bytes, None);
            let read: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(read["outputs"][0]["data"][0], value, "{datatype}");
        }
    }
}

#[test]
fn refusals() {
    let tensor = |rest: &str| format!(r#"{{"inputs": [{{"name": "x", {rest}}}]}}"#);
    let cases = [
        (tensor(r#""shape": [3], "datatype": "FP32", "data": [1, 2]"#), "shape_mismatch"),
        (tensor(r#""shape": [1], "datatype": "FP33", "data": [1]"#), "bad_request"),
        (tensor(r#""shape": [1], "datatype": "INT8", "data": [300]"#), "bad_value"),
        (tensor(r#""shape": [1], "datatype": "BF16", "data": [1]"#), "bad_request"),
        (tensor(r#""shape": [1], "datatype": "FP32""#), "bad_request"),
        (tensor(r#""shape": [-1], "datatype": "FP32", "data": []"#), "bad_json"),
        (
            tensor(r#""shape": [4611686018427387904, 8], "datatype": "FP32", "data": [1]"#),
            "bad_shape",
        ),
        (
            tensor(r#""shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}"#),
            "bad_request",
        ),
        ("{}".to_string(), "bad_json"),
        ("".to_string(), "bad_json"),
    ];
    for (json, code) in cases {
        assert_eq!(request(&json, b"").unwrap_err().code.as_str(), code, "{json}");
    }
    let long = tensor(r#""shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}"#);
    assert_eq!(request(&long, &[0; 5]).unwrap_err().code, Code::BadRequest);
    assert!(decode_request(Bytes::from_static(b"{}"), Some(3)).is_err());
}

fn schema() -> Schema {
    let inputs = vec![Column { shape: Some(vec![2]), ..Column::scalar("x", Datatype::Fp32) }, {
        let mut column = Column::scalar("n", Datatype::Int64);
        column.nullable = true;
        column
    }];
    Schema { inputs, batches: true, ..Schema::default() }
}

#[test]
fn a_batch_to_a_worker_and_back() {
    let bodies =
        [r#"{"x": [1, 2], "n": 7}"#, r#"{"rows": [{"x": [3, 4]}, {"x": [5, 6], "n": 9}]}"#];
    let payloads: Vec<Payload> = bodies
        .iter()
        .map(|body| crate::simple::decode(body.as_bytes(), &schema()).unwrap().0)
        .collect();
    let sent = crate::worker_wire::encode_batch(
        &payloads.iter().collect::<Vec<_>>(),
        &Map::new(),
        &[],
        &schema(),
    );
    let mut body = sent.json.clone();
    sent.blobs.iter().for_each(|blob| body.extend_from_slice(blob));
    let read = decode_request(Bytes::from(body), Some(sent.json.len())).unwrap();
    assert!(read.binary_output);
    assert_eq!(
        (read.inputs[0].shape.as_slice(), read.inputs[1].data.len()),
        (&[3usize, 2][..], 24)
    );
    assert_eq!(
        (read.inputs[2].name.as_str(), &read.inputs[2].data[..]),
        ("n:valid", &[1, 0, 1][..])
    );

    let response =
        InferResponse { model_name: "m".into(), outputs: read.inputs, ..InferResponse::default() };
    let (header_bytes, body) = response.encode(&[], true);
    let answer = crate::worker_wire::decode_answer(body, header_bytes, 3, &schema()).unwrap();
    let simple = |range: std::ops::Range<usize>, one: bool| {
        let mut out = vec![];
        answer.write_simple(range, one, &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(simple(0..1, true), r#"{"x":[1.0,2.0],"n":7}"#);
    assert_eq!(simple(1..3, false), r#"{"rows":[{"x":[3.0,4.0],"n":null},{"x":[5.0,6.0],"n":9}]}"#);
    assert_eq!(answer.to_tensors(1..3).unwrap()[0].data.len(), 16);
}

#[test]
fn answers_must_keep_their_rows() {
    let tensor = Tensor {
        name: "y".into(),
        datatype: Datatype::Fp32,
        shape: vec![2],
        data: Bytes::from(vec![0; 8]),
    };
    let problem = Problem::from(Answer::from_tensors(vec![tensor], 3, &schema()).unwrap_err());
    assert_eq!(
        (problem.code.as_str(), problem.message.as_str()),
        ("bad_output", "`y` has 2 rows for 3 rows of input")
    );
}

#[test]
fn requested_outputs() {
    let output = |name: &str| Tensor {
        name: name.into(),
        datatype: Datatype::Bool,
        shape: vec![1],
        data: Bytes::from_static(&[1]),
    };
    let mut response =
        InferResponse { outputs: vec![output("a"), output("b")], ..InferResponse::default() };
    let wanted = |name: &str| RequestedOutput { name: name.into(), binary: Some(true) };
    assert_eq!(response.clone().select(&[wanted("c")]).unwrap_err().code, Code::NoSuchOutput);
    response.select(&[wanted("b")]).unwrap();
    let (header_bytes, body) = response.encode(&[wanted("b")], false);
    assert_eq!(body.len(), header_bytes.unwrap() + 1);
}

#[test]
fn a_batch_in_json_and_in_plain_rows() {
    use domain::route::WorkerProtocol;
    let payload =
        crate::simple::decode(br#"{"rows": [{"x": [3, 4]}, {"x": [5, 6], "n": 9}]}"#, &schema())
            .unwrap()
            .0;
    let encode = |protocol| {
        crate::worker_wire::encode(&protocol, &[&payload, &payload], &Map::new(), &[], &schema())
            .unwrap()
    };
    let sent = encode(WorkerProtocol::Json);
    let read = decode_request(Bytes::from(sent.json), None).unwrap();
    assert_eq!((read.inputs[0].shape.as_slice(), read.inputs.len()), (&[4usize, 2][..], 3));

    let plain = WorkerProtocol::Plain("/predict".into());
    let sent: Value = serde_json::from_slice(&encode(plain.clone()).json).unwrap();
    assert_eq!(sent["rows"][3], json!({"x": [5.0, 6.0], "n": 9}));
    assert_eq!(sent["rows"][0], json!({"x": [3.0, 4.0], "n": null}));

    let decode = |body: &'static [u8], outputs: Vec<Column>| {
        let schema = Schema { outputs, ..schema() };
        crate::worker_wire::decode(&plain, Bytes::from_static(body), None, 2, &[], &schema).map(
            |answer| {
                let mut out = vec![];
                answer.write_simple(0..2, false, &mut out);
                String::from_utf8(out).unwrap()
            },
        )
    };
    let body = br#"{"rows": [{"y": 1.5}, {"y": 2}]}"#;
    assert_eq!(decode(body, vec![]).unwrap(), r#"{"rows":[{"y":1.5},{"y":2}]}"#);
    assert_eq!(
        decode(body, vec![Column::scalar("y", Datatype::Fp64)]).unwrap(),
        r#"{"rows":[{"y":1.5},{"y":2.0}]}"#
    );
    // Rows of a program keep their own keys, too.
    let body = br#"{"rows": [{"bob": 3}, {"dave": null, "z": 1}]}"#;
    assert_eq!(decode(body, vec![]).unwrap(), r#"{"rows":[{"bob":3},{"dave":null,"z":1}]}"#);
    assert_eq!(decode(br#"{"rows": [{"y": 1.5}]}"#, vec![]).unwrap_err().code(), &Code::BadOutput);
    assert_eq!(
        decode(br#"{"rows": [{"y": "a"}, {"y": 1}]}"#, vec![Column::scalar("y", Datatype::Fp64)])
            .unwrap_err()
            .code(),
        &Code::BadOutput
    );
}
