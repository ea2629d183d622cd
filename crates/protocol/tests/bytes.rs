//! Any bytes are the same bytes in every form that a request, a worker's part and an answer have.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use domain::route::WorkerProtocol;
use domain::{Column, Datatype, Schema};
use proptest::prelude::*;
use protocol::encoded::write_bytes;
use protocol::oip::InferResponse;
use protocol::{Payload, oip, simple, worker_wire};
use serde_json::{Map, Value, json};

fn schema() -> Schema {
    let inputs = vec![Column::scalar("x", Datatype::Bytes)];
    Schema { outputs: inputs.clone(), inputs, batches: true, ..Schema::default() }
}

/// Bytes of which many are text, or nearly.
fn element() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 0..40),
        3 => "\\PC{0,12}".prop_map(String::into_bytes),
        1 => ("\\PC{0,4}", 0..4usize).prop_map(|(text, cut)| {
            let bytes = text.into_bytes();
            bytes[..bytes.len().saturating_sub(cut)].to_vec()
        }),
        1 => Just(br#"{"b64": "aGk="}"#.to_vec()),
    ]
}

fn as_json(bytes: &[u8]) -> Value {
    let mut text = vec![];
    write_bytes(bytes, &mut text);
    serde_json::from_slice(&text).expect("what is written is JSON")
}

fn as_base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

fn in_json(rows: &[Value]) -> Payload {
    simple::decode(json!({ "rows": rows }).to_string().as_bytes(), &schema()).expect("fits").0
}

fn in_open_protocol(body: Vec<u8>, header_bytes: Option<usize>) -> Payload {
    let request = oip::decode_request(Bytes::from(body), header_bytes).expect("can be read");
    Payload::from_tensors(request.inputs, &schema()).expect("fits")
}

/// What a worker that gives its inputs back answers, in one of the forms that workers speak.
fn echoed(payload: &Payload, protocol: &WorkerProtocol) -> protocol::Answer {
    let sent =
        worker_wire::encode(protocol, &[payload], &Map::new(), &[], &schema()).expect("sent");
    let (body, header_bytes) = match protocol {
        WorkerProtocol::Plain(_) => (Bytes::from(sent.json), None),
        _ => {
            let length = sent.json.len();
            let body =
                [vec![sent.json], sent.blobs.iter().map(|it| it.to_vec()).collect()].concat();
            let read = oip::decode_request(Bytes::from(body.concat()), Some(length)).expect("read");
            let answer = InferResponse { outputs: read.inputs, ..InferResponse::default() };
            let (header_bytes, body) = answer.encode(&[], false);
            (body, header_bytes)
        }
    };
    worker_wire::decode(protocol, body, header_bytes, payload.rows, &[], &schema())
        .expect("answered")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_request_is_the_same_in_every_form(rows in prop::collection::vec(element(), 1..5)) {
        let wanted = in_json(&rows.iter().map(|row| json!({ "x": as_json(row) })).collect::<Vec<_>>());
        let encoded = rows.iter().map(|row| json!({ "x": { "b64": as_base64(row).trim_end_matches('=') } }));
        prop_assert_eq!(&in_json(&encoded.collect::<Vec<_>>()), &wanted);
        let data: Vec<u8> = rows.iter().flat_map(|row| [&(row.len() as u32).to_le_bytes()[..], row].concat()).collect();
        prop_assert_eq!(wanted.columns[0].data.as_ref(), data.as_slice());
        let tensor = |more: Value| {
            let mut tensor = json!({ "name": "x", "datatype": "BYTES", "shape": [rows.len()] });
            tensor.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            json!({ "inputs": [tensor] }).to_string().into_bytes()
        };
        let head = tensor(json!({ "parameters": { "binary_data_size": data.len() } }));
        let length = head.len();
        prop_assert_eq!(&in_open_protocol([head, data].concat(), Some(length)), &wanted);
        let texts: Vec<String> = rows.iter().map(|row| as_base64(row)).collect();
        let base64 = tensor(json!({ "parameters": { "content_type": "base64" }, "data": texts }));
        prop_assert_eq!(&in_open_protocol(base64, None), &wanted);
        for (at, one) in wanted.each_row(&schema()).enumerate() {
            let (row, schema) = (rows[at].as_slice(), schema());
            prop_assert_eq!(&simple::decode_bytes(row, "image/png", &schema).expect("fits"), &one);
            let head = b"--A b7\r\nContent-Disposition: form-data; name=x; filename=f\r\n\r\n";
            let form = [head, row, b"\r\n--A b7--"].concat();
            prop_assert_eq!(&simple::decode_form(&form, "A b7", &schema).expect("fits"), &one);
        }
    }

    #[test]
    fn an_answer_is_the_same_by_every_worker_and_in_every_form(rows in prop::collection::vec(element(), 1..5)) {
        let payload = in_json(&rows.iter().map(|row| json!({ "x": as_json(row) })).collect::<Vec<_>>());
        for protocol in [WorkerProtocol::Binary, WorkerProtocol::Json, WorkerProtocol::Plain("/".into())] {
            let answer = echoed(&payload, &protocol);
            let mut text = vec![];
            answer.write_simple(0..rows.len(), false, &mut text);
            prop_assert_eq!(&simple::decode(&text, &schema()).expect("fits").0, &payload);
            let outputs = answer.to_tensors(0..rows.len()).expect("tensors");
            let answer = InferResponse { outputs, ..InferResponse::default() };
            let (header_bytes, body) = answer.encode(&[], false);
            let is_text = rows.iter().all(|row| std::str::from_utf8(row).is_ok());
            prop_assert_eq!(header_bytes.is_none(), is_text);
            let again = worker_wire::decode_answer(body, header_bytes, rows.len(), &schema()).expect("read");
            prop_assert_eq!(&again.to_tensors(0..rows.len()).expect("tensors"), &answer.outputs);
        }
    }
}
