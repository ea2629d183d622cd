//! A row is read, sent and answered in company as it is by itself.

use bytes::Bytes;
use domain::{Column, Datatype, Schema};
use proptest::prelude::*;
use protocol::oip::InferResponse;
use protocol::{Payload, oip, simple, worker_wire};
use serde_json::{Map, Value, json};

fn schema() -> Schema {
    let nullable = |name: &str, datatype, shape| Column {
        nullable: true,
        shape,
        ..Column::scalar(name, datatype)
    };
    let inputs = vec![
        nullable("number", Datatype::Fp64, Some(vec![])),
        nullable("list", Datatype::Fp32, Some(vec![-1])),
        nullable("any", Datatype::Int64, None),
        Column { default: Some("x".into()), ..Column::scalar("text", Datatype::Bytes) },
        nullable("json", Datatype::Json, Some(vec![])),
    ];
    Schema { outputs: inputs.clone(), inputs, batches: true, ..Schema::default() }
}

/// A value, `null`, or nothing.
fn maybe(value: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Option<Value>> {
    prop_oneof![2 => Just(None), 2 => Just(Some(Value::Null)), 5 => value.prop_map(Some)].boxed()
}

fn row() -> impl Strategy<Value = Value> {
    let list = prop::collection::vec(0..4i32, 0..3).prop_map(|list| json!(list));
    let any = prop_oneof![
        3 => Just(json!([[], []])),
        3 => Just(json!([[1, 2]])),
        1 => Just(json!([])),
        1 => (0..9i32).prop_map(|number| json!(number)),
    ];
    let text = prop_oneof![2 => Just(None), 3 => "[a-c]{0,3}".prop_map(|text| Some(json!(text)))];
    let object = prop_oneof![Just(json!({ "a": [1, null] })), Just(json!("b")), Just(json!(1.5))];
    (
        maybe((0..9i32).prop_map(|number| json!(number))),
        maybe(list),
        maybe(any),
        text,
        maybe(object),
    )
        .prop_map(|(number, list, any, text, object)| {
            let columns = [
                ("number", number),
                ("list", list),
                ("any", any),
                ("text", text),
                ("json", object),
            ];
            Value::Object(
                columns
                    .into_iter()
                    .filter_map(|(name, value)| Some((name.to_string(), value?)))
                    .collect(),
            )
        })
}

fn decode(rows: &[Value]) -> Result<Payload, String> {
    let body = json!({ "rows": rows }).to_string();
    simple::decode(body.as_bytes(), &schema())
        .map(|(payload, _)| payload)
        .map_err(|problem| problem.to_string())
}

/// What a worker that gives its inputs back answers to each row of a batch.
fn echoed(payloads: &[&Payload]) -> Vec<String> {
    let sent = worker_wire::encode_batch(payloads, &Map::new(), &[], &schema());
    let body = [vec![sent.json.clone()], sent.blobs.iter().map(|blob| blob.to_vec()).collect()]
        .concat()
        .concat();
    let read = oip::decode_request(Bytes::from(body), Some(sent.json.len()))
        .expect("what is sent can be read");
    let response =
        InferResponse { model_name: "m".into(), outputs: read.inputs, ..InferResponse::default() };
    let (header_bytes, body) = response.encode(&[], true);
    let rows = payloads.iter().map(|payload| payload.rows).sum();
    let answer = worker_wire::decode_answer(body, header_bytes, rows, &schema())
        .expect("what is given back is an answer");
    let write = |row: usize| {
        let mut out = vec![];
        answer.write_simple(row..row + 1, true, &mut out);
        String::from_utf8(out).expect("an answer is text")
    };
    (0..rows).map(write).collect()
}

/// The shape of a value, if it has one of its own.
fn shape(value: Option<&Value>) -> Option<Vec<usize>> {
    match value {
        None | Some(Value::Null) => None,
        Some(Value::Array(list)) => Some(
            std::iter::once(list.len()).chain(shape(list.first()).unwrap_or_default()).collect(),
        ),
        Some(_) => Some(vec![]),
    }
}

/// Whether all rows that have a value have it in one shape.
fn one_shape(rows: &[Value], name: &str) -> bool {
    let mut shapes = rows.iter().filter_map(|row| shape(row.get(name)));
    let first = shapes.next();
    shapes.all(|shape| Some(shape) == first)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_row_is_read_and_answered_alike_alone_and_in_company(rows in prop::collection::vec(row(), 1..6)) {
        let alone: Vec<Payload> = rows.iter().map(|row| decode(std::slice::from_ref(row)).expect("each row fits")).collect();
        let answers: Vec<String> = alone.iter().flat_map(|payload| echoed(&[payload])).collect();
        match decode(&rows) {
            Ok(together) => {
                prop_assert!(one_shape(&rows, "list") && one_shape(&rows, "any"));
                prop_assert_eq!(echoed(&[&together]), answers.clone());
                // As the gateway takes one request apart.
                let schema = schema();
                let one_by_one: Vec<String> = together.each_row(&schema).flat_map(|row| echoed(&[&row])).collect();
                prop_assert_eq!(one_by_one, answers.clone());
            }
            Err(text) => {
                prop_assert!(!one_shape(&rows, "list") || !one_shape(&rows, "any"), "{}", text);
                prop_assert!(text.contains("where row") || text.contains("than in row"), "{}", text);
            }
        }
        // As the gateway puts requests together.
        for first in &alone {
            let agreeing: Vec<usize> = (0..alone.len()).filter(|at| alone[*at].shapes_agree(first)).collect();
            let batch: Vec<&Payload> = agreeing.iter().map(|at| &alone[*at]).collect();
            let own: Vec<String> = agreeing.iter().map(|at| answers[*at].clone()).collect();
            prop_assert_eq!(echoed(&batch), own);
        }
    }
}
