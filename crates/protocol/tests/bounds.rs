//! No number, name or nesting that somebody sends makes a decoder take more memory than four times
//! what was sent, beside a fixed sum.

use bytes::Bytes;
use domain::route::WorkerProtocol;
use domain::{Code, Column, Datatype, Schema};
use protocol::limits::{FILLED_BYTES_MAX, ROWS_MAX};
use protocol::{Payload, oip, simple, worker_wire};
use testing::measured;

const MIB: usize = 1 << 20;
/// Of the long bodies below.
const LONG: usize = 4 * MIB;

fn column(name: &str, datatype: Datatype, shape: Option<Vec<i64>>) -> Column {
    Column { shape, ..Column::scalar(name, datatype) }
}

fn schema(inputs: Vec<Column>) -> Schema {
    Schema { inputs, batches: true, ..Schema::default() }
}

/// Any column of a request, and an optional one.
fn wide() -> Schema {
    let optional = Column { nullable: true, ..column("income", Datatype::Fp64, Some(vec![])) };
    let image =
        Column { nullable: true, ..column("image", Datatype::Fp32, Some(vec![224, 224, 3])) };
    schema(vec![
        column("x", Datatype::Fp64, None),
        column("json", Datatype::Json, Some(vec![])),
        optional,
        image,
    ])
}

/// The code of the refusal of a body in the Open Inference Protocol, `ok` if there is none, and the
/// memory it took.
fn infer(body: &str, schema: &Schema) -> (String, usize) {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let (result, peak) = measured(|| {
        let request = oip::decode_request(body, None)?;
        let payload = Payload::from_tensors(request.inputs, schema)?;
        Ok::<_, domain::Problem>((payload.to_tensors(schema).len(), payload))
    });
    (result.map_or_else(|problem| problem.code.to_string(), |_| "ok".into()), peak)
}

fn predict(body: &str, schema: &Schema) -> (String, usize) {
    let (result, peak) = measured(|| simple::decode(body.as_bytes(), schema));
    (
        result.map_or_else(
            |problem| {
                assert!(problem.to_string().len() < 20_000, "{problem}");
                problem.code.to_string()
            },
            |_| "ok".into(),
        ),
        peak,
    )
}

#[test]
fn a_dimension_that_somebody_names_is_bounded() {
    let x = schema(vec![
        column("x", Datatype::Fp32, Some(vec![-1])),
        Column { nullable: true, ..Column::scalar("o", Datatype::Fp64) },
    ]);
    let tensor = |shape: &str| {
        format!(
            r#"{{"inputs": [{{"name": "x", "shape": {shape}, "datatype": "FP32", "data": []}}]}}"#
        )
    };
    let ones = |count: usize| format!("{:?}", vec![1; count]);
    for (shape, code) in [
        ("[4611686018427387904, 0]", "bad_shape"),
        ("[0, 4611686018427387904]", "bad_shape"),
        ("[18446744073709551615, 18446744073709551615]", "bad_shape"),
        ("[1048577, 0]", "bad_shape"),
        ("[4611686018427387904]", "bad_shape"),
        (&ones(17), "bad_shape"),
        (&ones(65), "bad_shape"),
        (&ones(100_000), "bad_json"),
        ("[0, 3]", "no_rows"),
        ("[2000000000, 1]", "shape_mismatch"),
    ] {
        let (found, peak) = infer(&tensor(shape), &x);
        assert_eq!(found, code, "{}", &shape[..shape.len().min(60)]);
        assert!(peak < MIB, "{peak} bytes for {}", &shape[..shape.len().min(60)]);
    }
    let (found, peak) = infer(&tensor(&format!("[{ROWS_MAX}, 0]")), &x);
    assert!(found == "ok" && peak < 32 * MIB, "{found} {peak}");
}

#[test]
fn what_rows_leave_out_is_bounded() {
    let (found, peak) = predict(
        &format!(r#"{{"rows": [{}]}}"#, vec![r#"{"x":1,"json":1}"#; 1_000].join(",")),
        &wide(),
    );
    assert_eq!(found, "bad_shape");
    assert!(peak < 2 * FILLED_BYTES_MAX + MIB, "{peak}");
    let x = r#"{"inputs": [{"name": "x", "shape": [1048576, 0], "datatype": "FP64", "data": []}]}"#;
    let mut optional = wide();
    optional.inputs.retain(|column| column.name != "json");
    let (found, peak) = infer(x, &optional);
    assert!(found == "bad_shape" && peak < FILLED_BYTES_MAX, "{found} {peak}");
    let mut vast = column("vast", Datatype::Fp64, Some(vec![1 << 62, 1 << 62]));
    vast.nullable = true;
    for body in ["{}", r#"{"vast": null}"#, r#"{"rows": [{}, {}]}"#] {
        assert_eq!(predict(body, &schema(vec![vast.clone()])).0, "bad_shape", "{body}");
    }
    let _ = simple::synthetic_row(&schema(vec![vast]));
}

#[test]
fn memory_is_bounded_by_the_body() {
    let long = |text: &str| text.repeat(LONG / text.len());
    let name = long("A");
    let bodies = [
        ("numbers", format!(r#"{{"x": [{}1], "json": 1}}"#, long("1,")), "ok"),
        (
            "numbers that do not fit",
            format!(r#"{{"x": [{}"a"], "json": 1}}"#, long("1,")),
            "schema_mismatch",
        ),
        ("a long name", format!(r#"{{"{name}": 1}}"#), "schema_mismatch"),
        ("a long text", format!(r#"{{"x": "{name}", "json": 1}}"#), "schema_mismatch"),
        ("an escaped text", format!(r#"{{"x": "{}", "json": 1}}"#, long("\\n")), "schema_mismatch"),
        (
            "many names",
            format!(
                r#"{{{}"x": 1}}"#,
                (0..LONG / 12).map(|at| format!(r#""{at}":1,"#)).collect::<String>()
            ),
            "schema_mismatch",
        ),
        ("many rows", format!(r#"{{"rows": [{}{{}}]}}"#, long("{},")), "schema_mismatch"),
        ("empty arrays", format!(r#"{{"x": [{}[]], "json": 1}}"#, long("[],")), "ok"),
        ("nested", format!(r#"{{"x": {}, "json": 1}}"#, long("[")), "bad_json"),
        (
            "nested JSON",
            format!(r#"{{"x": 1, "json": {}{}}}"#, "[".repeat(LONG / 2), "]".repeat(LONG / 2)),
            "schema_mismatch",
        ),
        ("JSON", format!(r#"{{"x": 1, "json": [{}0]}}"#, long("0,")), "ok"),
        ("a list", format!("[{}0]", long("0,")), "bad_form"),
        ("no JSON", name.clone(), "bad_json"),
        ("one key often", format!(r#"{{{}"x": 1}}"#, long(r#""x":1,"#)), "schema_mismatch"),
    ];
    for (what, body, code) in &bodies {
        let (found, peak) = predict(body, &wide());
        assert_eq!(found, *code, "{what}");
        assert!(peak <= 4 * body.len() + MIB, "{what}: {peak} bytes for {}", body.len());
    }
}

#[test]
fn memory_is_bounded_by_bytes_and_forms() {
    let bytes = schema(vec![
        Column { nullable: true, ..Column::scalar("b", Datatype::Bytes) },
        Column { nullable: true, ..column("l", Datatype::Bytes, Some(vec![-1])) },
        Column { nullable: true, ..column("x", Datatype::Fp64, Some(vec![-1])) },
    ]);
    let long = |text: &str| text.repeat(LONG / text.len());
    for (what, body, code) in [
        ("base64", format!(r#"{{"b": {{"b64": "{}"}}}}"#, long("AAAA")), "ok"),
        ("no base64", format!(r#"{{"b": {{"b64": "{}?"}}}}"#, long("AAAA")), "schema_mismatch"),
        ("short bytes", format!(r#"{{"l": [{}""]}}"#, long(r#"{"b64":""},"#)), "ok"),
        ("keys", format!(r#"{{"b": {{{}"b64": ""}}}}"#, long(r#""b64":"","#)), "schema_mismatch"),
    ] {
        let (found, peak) = predict(&body, &bytes);
        assert_eq!(found, code, "{what}");
        assert!(peak <= 4 * body.len() + MIB, "{what}: {peak} bytes for {}", body.len());
    }
    let part = |name: &str, content: &str| {
        format!("--X\r\nContent-Disposition: form-data; name={name}\r\n\r\n{content}\r\n")
    };
    for (what, body, code) in [
        ("a part", part("b", &long("A")) + "--X--", "ok"),
        ("a list", part("x", &format!("[{}1]", long("1,"))) + "--X--", "ok"),
        ("no list", part("x", &format!("[{}a]", long("1,"))) + "--X--", "schema_mismatch"),
        ("parts", long(&part("l", "")) + "--X--", "bad_request"),
        ("boundaries", long("\r\n--X"), "bad_request"),
        ("a head", part(&long("A"), "") + "--X--", "bad_request"),
    ] {
        let (result, peak) = measured(|| simple::decode_form(body.as_bytes(), "X", &bytes));
        let found = result.map_or_else(|problem| problem.code.to_string(), |_| "ok".into());
        assert_eq!(found, code, "{what}");
        assert!(peak <= 4 * body.len() + MIB, "{what}: {peak} bytes for {}", body.len());
    }
}

#[test]
fn truths_for_a_column_of_numbers_take_what_a_request_may_fill() {
    let flags = Column { booleans: true, ..column("x", Datatype::Fp64, Some(vec![-1])) };
    let infer = |count: usize| {
        let x = format!(
            r#"{{"name": "x", "shape": [1, {count}], "datatype": "BOOL", "parameters": {{"binary_data_size": {count}}}}}"#
        );
        let json = format!(r#"{{"inputs": [{x}]}}"#);
        let body = [json.as_bytes(), &vec![1; count]].concat();
        let request = oip::decode_request(Bytes::from(body), Some(json.len())).unwrap();
        measured(|| Payload::from_tensors(request.inputs, &schema(vec![flags.clone()])))
    };
    let (read, _) = infer(2);
    assert_eq!(read.unwrap().columns[0].data.as_ref(), [1f64.to_le_bytes(); 2].concat());
    let (read, peak) = infer(FILLED_BYTES_MAX / 8 + 1);
    assert!(read.unwrap_err().details[0].contains("send it as that"));
    assert!(peak < MIB, "{peak}");
}

#[test]
fn memory_is_bounded_by_the_body_in_the_open_protocol() {
    let long = |text: &str| text.repeat(LONG / text.len());
    let tensor = |name: &str, count: usize, data: &str| {
        format!(
            r#"{{"name": "{name}", "shape": [1, {count}], "datatype": "FP64", "data": [{data}]}}"#
        )
    };
    let x = tensor("x", 1, "1");
    let numbers = long("1,");
    let bodies = [
        (
            "numbers",
            format!(r#"{{"inputs": [{}]}}"#, tensor("x", LONG / 2 + 1, &format!("{numbers}1"))),
            "schema_mismatch",
        ),
        (
            "more than the shape",
            format!(r#"{{"inputs": [{}]}}"#, tensor("x", 3, &format!("{numbers}1"))),
            "bad_value",
        ),
        (
            "a long name",
            format!(r#"{{"inputs": [{}]}}"#, tensor(&long("A"), 1, "1")),
            "bad_request",
        ),
        ("a long id", format!(r#"{{"id": "{}", "inputs": [{x}]}}"#, long("A")), "bad_request"),
        (
            "parameters",
            format!(r#"{{"parameters": {{"a": [{numbers}1]}}, "inputs": [{x}]}}"#),
            "bad_request",
        ),
        (
            "nested parameters",
            format!(
                r#"{{"parameters": {}{}, "inputs": [{x}]}}"#,
                r#"{"a":"#.repeat(1_000),
                format!("1{}", "}".repeat(1_000))
            ),
            "bad_json",
        ),
        (
            "many tensors",
            format!(r#"{{"inputs": [{}{x}]}}"#, format!("{x},").repeat(20_000)),
            "bad_json",
        ),
        (
            "one tensor often",
            format!(r#"{{"inputs": [{}{x}]}}"#, format!("{x},").repeat(10_000)),
            "schema_mismatch",
        ),
        (
            "outputs",
            format!(
                r#"{{"inputs": [{x}], "outputs": [{}]}}"#,
                vec![r#"{"name":"y"}"#; 300].join(",")
            ),
            "bad_request",
        ),
        (
            "many outputs",
            format!(
                r#"{{"inputs": [{x}], "outputs": [{}]}}"#,
                vec![r#"{"name":"y"}"#; 30_000].join(",")
            ),
            "bad_json",
        ),
        ("a list for a text", format!(r#"{{"inputs": "{}"}}"#, long("A")), "bad_json"),
        (
            "a wrong text",
            format!(r#"{{"inputs": [{}]}}"#, tensor("x", 1, &format!("\"{}\"", long("A")))),
            "bad_value",
        ),
        (
            "deep data",
            format!(
                r#"{{"inputs": [{}]}}"#,
                tensor("x", 1, &format!("{}1{}", "[".repeat(1_000), "]".repeat(1_000)))
            ),
            "bad_value",
        ),
        (
            "a long datatype",
            format!(r#"{{"inputs": [{}]}}"#, x.replace("FP64", &long("F"))),
            "bad_request",
        ),
    ];
    for (what, body, code) in &bodies {
        let (found, peak) = infer(body, &schema(vec![column("x", Datatype::Fp64, Some(vec![2]))]));
        assert_eq!(found, *code, "{what}");
        assert!(peak <= 4 * body.len() + MIB, "{what}: {peak} bytes for {}", body.len());
    }
}

#[test]
fn a_workers_answer_is_bounded_too() {
    let declared = Schema {
        outputs: vec![column("y", Datatype::Fp32, None)],
        ..schema(vec![Column::scalar("x", Datatype::Fp64)])
    };
    let free = schema(vec![Column::scalar("x", Datatype::Fp64)]);
    let output = |shape: &str, data: &str| {
        format!(
            r#"{{"outputs": [{{"name": "y", "shape": {shape}, "datatype": "FP32", "data": {data}}}]}}"#
        )
    };
    let plain = WorkerProtocol::Plain("/".into());
    let row = |at: usize| format!(r#"{{"a{at}": 1}}"#);
    let rows = |count: usize| {
        format!(r#"{{"rows": [{}]}}"#, (0..count).map(row).collect::<Vec<_>>().join(","))
    };
    let cases = [
        (
            "rows of nothing",
            output("[1, 1099511627776, 0]", "[]"),
            &WorkerProtocol::Json,
            1,
            &declared,
        ),
        (
            "65 dimensions",
            output(&format!("{:?}", [1; 65]), "[1]"),
            &WorkerProtocol::Json,
            1,
            &declared,
        ),
        (
            "more values",
            output("[1]", &format!("[{}1]", "1,".repeat(LONG / 2))),
            &WorkerProtocol::Json,
            1,
            &declared,
        ),
        ("null", output("[1]", "[null]"), &WorkerProtocol::Json, 1, &declared),
        (
            "two outputs of one name",
            format!(
                r#"{{"outputs": [{0}, {0}]}}"#,
                r#"{"name": "y", "shape": [1], "datatype": "FP32", "data": [1]}"#
            ),
            &WorkerProtocol::Json,
            1,
            &declared,
        ),
        ("a missing output", r#"{"outputs": []}"#.into(), &WorkerProtocol::Json, 1, &declared),
        (
            "another type",
            output("[1]", "[1]").replace("FP32", "BOOL").replace("[1]}", "[true]}"),
            &WorkerProtocol::Json,
            1,
            &declared,
        ),
        ("another key in each row", rows(70_000), &plain, 70_000, &free),
        (
            "nested",
            format!(r#"{{"rows": [{{"y": {}{}}}]}}"#, "[".repeat(LONG / 2), "]".repeat(LONG / 2)),
            &plain,
            1,
            &free,
        ),
        ("more rows", format!(r#"{{"rows": [{}{{}}]}}"#, "{},".repeat(LONG / 3)), &plain, 1, &free),
        ("no rows", "{}".into(), &plain, 1, &free),
        ("a row of null", r#"{"rows": [{"y": null}]}"#.into(), &plain, 1, &declared),
        ("no JSON", "x".into(), &plain, 1, &declared),
    ];
    for (what, body, protocol, rows, schema) in cases {
        let bytes = Bytes::copy_from_slice(body.as_bytes());
        let (result, peak) =
            measured(|| worker_wire::decode(protocol, bytes, None, rows, &[], schema));
        let fault = result.map(|_| ()).expect_err(what);
        assert!([Code::BadOutput, Code::BadWorker].contains(fault.code()), "{what}: {fault}");
        assert!(
            peak <= 4 * body.len() + 2 * FILLED_BYTES_MAX,
            "{what}: {peak} bytes for {}",
            body.len()
        );
    }
}
