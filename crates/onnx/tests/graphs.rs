//! Graphs of all kinds through ONNX Runtime itself.

mod support;

use bytes::Bytes;
use domain::{Code, Column, Datatype};
use protocol::Tensor;
use protocol::oip::RequestedOutput;
use support::*;

#[test]
fn rows_run_together_and_a_row_of_one_is_a_scalar() {
    let graph = load("affine.onnx");
    assert_eq!(graph.schema().to_string(), "predict(x: FP32[3]) -> y: FP32");
    assert!(graph.schema().batches);
    let rows = [1., 2., 3., 0., 0., 0., 4., 5., 6.];
    let outputs = graph.infer(0, &request(vec![floats("x", &[3, 3], &rows)])).unwrap();
    assert_eq!((outputs[0].name.as_str(), outputs[0].shape.as_slice()), ("y", &[3][..]));
    assert_eq!(read_floats(&outputs[0]), [321.5, 0.5, 654.5]);
}

#[test]
fn every_element_type_passes_through() {
    let graph = load("types.onnx");
    let types = [
        ("bool", Datatype::Bool),
        ("u8", Datatype::Uint8),
        ("u16", Datatype::Uint16),
        ("u32", Datatype::Uint32),
        ("u64", Datatype::Uint64),
        ("i8", Datatype::Int8),
        ("i16", Datatype::Int16),
        ("i32", Datatype::Int32),
        ("i64", Datatype::Int64),
        ("f16", Datatype::Fp16),
        ("bf16", Datatype::Bf16),
        ("f32", Datatype::Fp32),
        ("f64", Datatype::Fp64),
    ];
    for (at, (name, datatype)) in types.iter().enumerate() {
        let column = Column { shape: Some(vec![2]), ..Column::scalar(name, *datatype) };
        assert_eq!(graph.schema().inputs[at], column);
    }
    let rows = 3;
    let mut inputs: Vec<Tensor> = vec![];
    for (name, datatype) in types {
        // 1 where a larger byte has no meaning, and a largest value elsewhere.
        let byte = if datatype == Datatype::Bool { 1 } else { 0x7b };
        inputs.push(tensor(
            name,
            datatype,
            &[rows, 2],
            vec![byte; rows * 2 * datatype.size().unwrap()],
        ));
    }
    inputs.push(texts("text", &[rows, 2], &["", "Zürich", "a", "b", "c", "\u{1f600}"]));
    let sent = inputs.clone();
    let outputs = graph.infer(0, &request(inputs)).unwrap();
    assert_eq!(outputs.len(), sent.len());
    for (sent, got) in sent.iter().zip(outputs) {
        assert_eq!(got.name, format!("{}_out", sent.name));
        assert_eq!(
            (got.datatype, got.shape, got.data),
            (sent.datatype, sent.shape.clone(), sent.data.clone()),
            "{}",
            sent.name
        );
    }
}

#[test]
fn unaligned_bytes_are_copied_and_aligned_ones_are_not_needed() {
    let graph = load("affine.onnx");
    let values: Vec<u8> = [1f32, 2., 3.].iter().flat_map(|value| value.to_le_bytes()).collect();
    for shift in 0..5 {
        let body: Bytes =
            std::iter::repeat_n(0, shift).chain(values.iter().copied()).collect::<Vec<u8>>().into();
        let x = Tensor {
            name: "x".into(),
            datatype: Datatype::Fp32,
            shape: vec![1, 3],
            data: body.slice(shift..),
        };
        assert_eq!(read_floats(&graph.infer(0, &request(vec![x])).unwrap()[0]), [321.5]);
    }
}

#[test]
fn a_fixed_dimension_of_one_runs_row_by_row() {
    let graph = load("single.onnx");
    assert_eq!(
        graph.schema().to_string(),
        "predict(x: FP32[2,3], name: BYTES) -> y: FP32[2], echo: BYTES"
    );
    assert!(graph.schema().batches);
    let values: Vec<f32> = (0..18).map(|value| value as f32).collect();
    let inputs = vec![floats("x", &[3, 2, 3], &values), texts("name", &[3], &["a", "bcd", ""])];
    let outputs = graph.infer(0, &request(inputs)).unwrap();
    assert_eq!(outputs[0].shape, [3, 2]);
    assert_eq!(read_floats(&outputs[0]), [3., 12., 21., 30., 39., 48.]);
    assert_eq!(
        (outputs[1].shape.as_slice(), read_texts(&outputs[1])),
        (&[3][..], vec!["a".into(), "bcd".into(), String::new()])
    );
}

#[test]
fn without_rows_a_request_is_taken_whole() {
    let graph = load("threshold.onnx");
    assert_eq!(
        graph.schema().to_string(),
        "predict(x: FP32[-1,2], limit: FP32) -> above: BOOL[-1,2]"
    );
    assert!(!graph.schema().batches);
    let inputs = vec![floats("x", &[2, 2], &[1., 5., 3., 0.]), floats("limit", &[], &[2.])];
    let outputs = graph.infer(0, &request(inputs)).unwrap();
    assert_eq!(
        (outputs[0].shape.as_slice(), &outputs[0].data[..]),
        (&[2, 2][..], &[0, 1, 1, 0][..])
    );

    let graph = load("findings.onnx");
    assert!(!graph.schema().batches);
    let outputs = graph.infer(0, &request(vec![floats("image", &[1, 3], &[0., 7., 9.])])).unwrap();
    assert_eq!(outputs[0].shape, [2, 2]);
    let nothing = graph.infer(0, &request(vec![floats("image", &[1, 3], &[0., 0., 0.])])).unwrap();
    assert_eq!((nothing[0].shape.as_slice(), nothing[0].data.len()), (&[0, 2][..], 0));
}

#[test]
fn an_open_number_of_dimensions_takes_anything() {
    let graph = load("shapeless.onnx");
    assert_eq!((graph.schema().inputs[0].shape.clone(), graph.schema().batches), (None, true));
    for shape in [&[2usize][..], &[2, 1], &[1, 2, 1]] {
        let outputs = graph.infer(0, &request(vec![floats("x", shape, &[1., -2.])])).unwrap();
        assert_eq!((outputs[0].shape.as_slice(), read_floats(&outputs[0])), (shape, vec![-1., 2.]));
    }
}

#[test]
fn maps_become_objects() {
    let graph = load("classifier.onnx");
    assert_eq!(
        graph.schema().to_string(),
        "predict(x: FP32[4]) -> output_label: BYTES, output_probability: json"
    );
    let rows = [5.1, 3.5, 1.4, 0.2, 6.3, 3.3, 6.0, 2.5];
    let outputs = graph.infer(0, &request(vec![floats("x", &[2, 4], &rows)])).unwrap();
    assert_eq!(read_texts(&outputs[0]), ["setosa", "virginica"]);
    assert_eq!((outputs[1].datatype, outputs[1].shape.as_slice()), (Datatype::Json, &[2][..]));
    let first: serde_json::Value = serde_json::from_str(&read_texts(&outputs[1])[0]).unwrap();
    assert!((first["setosa"].as_f64().unwrap() - 0.98165685).abs() < 1e-6, "{first}");
    assert_eq!(
        first.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["setosa", "versicolor", "virginica"]
    );
}

#[test]
fn columns_of_mixed_types() {
    let graph = load("columns.onnx");
    assert_eq!(
        graph.schema().to_string(),
        "predict(city: BYTES, age: FP32) -> label: INT64, probabilities: FP32[2]"
    );
    for shape in [&[2usize][..], &[2, 1]] {
        let inputs =
            vec![texts("city", shape, &["Utrecht", "Delft"]), floats("age", shape, &[20., 30.])];
        let outputs = graph.infer(0, &request(inputs)).unwrap();
        assert!((read_floats(&outputs[1])[0] - 0.79355156).abs() < 1e-5);
    }
}

#[test]
fn large_answers_keep_their_bytes() {
    let graph = load("spread.onnx");
    let outputs = graph.infer(0, &request(vec![floats("x", &[3], &[0., 1., 2.])])).unwrap();
    // Another run must not reach memory that is still held.
    let _ = graph.infer(0, &request(vec![floats("x", &[3], &[7., 7., 7.])])).unwrap();
    assert_eq!(outputs[0].shape, [3, 4096]);
    let values = read_floats(&outputs[0]);
    assert!(
        values[..4096].iter().all(|value| *value == 1.)
            && values[8192..].iter().all(|value| *value == 3.)
    );
}

#[test]
fn only_requested_outputs_are_read() {
    let graph = load("classifier.onnx");
    let mut one = request(vec![floats("x", &[1, 4], &[5.1, 3.5, 1.4, 0.2])]);
    one.outputs = vec![RequestedOutput { name: "output_label".into(), binary: None }];
    assert_eq!(graph.infer(0, &one).unwrap().len(), 1);
    one.outputs[0].name = "label".into();
    let problem = graph.infer(0, &one).unwrap_err();
    assert_eq!(
        problem.to_string(),
        "the model has no output `label`\nhelp: it has output_label, output_probability"
    );
}

#[test]
fn wrong_inputs_are_named() {
    let graph = load("affine.onnx");
    let refuse = |inputs: Vec<Tensor>| {
        let problem = graph.infer(0, &request(inputs)).unwrap_err();
        assert_eq!(problem.code, Code::BadRequest);
        problem.message
    };
    assert_eq!(refuse(vec![]), "the input `x` is missing: expected FP32");
    assert_eq!(refuse(vec![floats("z", &[1], &[1.])]), "the graph has no input `z`");
    assert_eq!(
        refuse(vec![tensor("x", Datatype::Fp64, &[1, 3], [0; 24])]),
        "`x` must be FP32, got FP64"
    );
    let shape = refuse(vec![floats("x", &[2, 2], &[0.; 4])]);
    assert_eq!(shape, "`x` has the shape [2, 2], but the graph takes [-1, 3]");
    assert_eq!(
        refuse(vec![floats("x", &[], &[0.])]),
        "`x` has the shape [], but the graph takes [-1, 3]"
    );

    let graph = load("columns.onnx");
    let inputs = vec![texts("city", &[2], &["Utrecht", "Delft"]), floats("age", &[1], &[20.])];
    let problem = graph.infer(0, &request(inputs)).unwrap_err();
    assert_eq!(problem.message, "`city` has the shape [2], but `age` has [1]: rows differ");
    let inputs = vec![
        tensor("city", Datatype::Bytes, &[1], [1, 0, 0, 0, 0xff]),
        floats("age", &[1], &[20.]),
    ];
    assert!(graph.infer(0, &request(inputs)).unwrap_err().message.contains("not UTF-8"));
    let inputs = vec![texts("city", &[1], &["a\0b"]), floats("age", &[1], &[20.])];
    assert!(graph.infer(0, &request(inputs)).unwrap_err().message.contains("zero byte"));
}

#[test]
fn several_at_a_time() {
    let graph = load_with(&file("affine.onnx"), 4, None).unwrap();
    std::thread::scope(|scope| {
        for slot in 0..4 {
            let graph = &graph;
            scope.spawn(move || {
                for value in 0..200 {
                    let outputs = graph
                        .infer(slot, &request(vec![floats("x", &[1, 3], &[value as f32, 0., 0.])]))
                        .unwrap();
                    assert_eq!(read_floats(&outputs[0]), [value as f32 + 0.5]);
                }
            });
        }
    });
}

#[test]
fn the_manifest_refines_columns() {
    let refined = |section: &str| {
        load_with(&file("columns.onnx"), 1, Some(section)).map(|graph| graph.schema().to_string())
    };
    let cities = r#"{"inputs": [{"name": "city", "datatype": "BYTES", "shape": [], "categories": ["Utrecht", "Delft"]}]}"#;
    assert_eq!(
        refined(cities).unwrap(),
        "predict(city: one of 2, age: FP32) -> label: INT64, probabilities: FP32[2]"
    );
    let message = |section: &str| refined(section).unwrap_err().message;
    assert_eq!(
        message(r#"{"inputs": [{"name": "town", "datatype": "BYTES"}]}"#),
        "[schema] inputs has `town`, but the graph has city, age"
    );
    assert_eq!(
        message(r#"{"inputs": [{"name": "age", "datatype": "INT64"}]}"#),
        "[schema] says that `age` is INT64, but in the graph it is FP32"
    );
    assert!(
        message(r#"{"inputs": [{"name": "age", "datatype": "FP32", "nullable": true}]}"#)
            .contains("nullable")
    );
    assert!(message("{").contains("cannot be read"));
}

#[test]
fn graphs_that_do_not_load_say_why() {
    let directory = tempfile::tempdir().unwrap();
    let refuse = |name: &str, content: Option<&[u8]>| {
        let path = directory.path().join(name);
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        load_with(&path, 1, None)
            .err()
            .unwrap()
            .to_string()
            .replace(&directory.path().display().to_string(), "DIR")
    };
    assert_eq!(
        refuse("none.onnx", None),
        "there is no file DIR/none.onnx\nhelp: there is no *.onnx file next to it"
    );
    assert_eq!(refuse("empty.onnx", Some(b"")), "DIR/empty.onnx is empty");
    assert_eq!(
        refuse("model.onnx", None),
        "there is no file DIR/model.onnx\nhelp: files next to it: empty.onnx"
    );
    let pointer =
        refuse("lfs.onnx", Some(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"));
    assert!(pointer.contains("git lfs pull"), "{pointer}");
    let noise = refuse("noise.onnx", Some(b"these are no protocol buffers at all"));
    assert!(noise.starts_with("DIR/noise.onnx is not an ONNX graph, or is damaged"), "{noise}");
    let whole = std::fs::read(file("types.onnx")).unwrap();
    let half = refuse("half.onnx", Some(&whole[..whole.len() / 2]));
    assert!(half.starts_with("DIR/half.onnx is not an ONNX graph, or is damaged"), "{half}");
    let custom = load_with(&file("custom.onnx"), 1, None).err().unwrap().to_string();
    assert!(
        custom.contains("com.example:Guess")
            && custom.contains("custom operators are not supported"),
        "{custom}"
    );
}

#[test]
fn the_example_keeps_its_cases() {
    let example =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/digits-onnx");
    let graph = load_with(&example.join("model.onnx"), 1, None).unwrap();
    assert_eq!(
        graph.schema().to_string(),
        "predict(image: FP32[1,8,8]) -> digit: INT64, probability: FP32[10]"
    );
    for digit in 0..10i64 {
        let text =
            std::fs::read_to_string(example.join(format!("tests/digit-{digit}.json"))).unwrap();
        let case: serde_json::Value = serde_json::from_str(&text).unwrap();
        let lines = case["input"]["image"][0].as_array().unwrap().iter();
        let pixels: Vec<f32> = lines
            .flat_map(|line| line.as_array().unwrap())
            .map(|x| x.as_f64().unwrap() as f32)
            .collect();
        let outputs =
            graph.infer(0, &request(vec![floats("image", &[1, 1, 8, 8], &pixels)])).unwrap();
        assert_eq!(outputs[0].data[..], case["expected"]["digit"].as_i64().unwrap().to_le_bytes());
        let expected = case["expected"]["probability"]
            .as_array()
            .unwrap()
            .iter()
            .map(|x| x.as_f64().unwrap() as f32);
        assert!(
            read_floats(&outputs[1])
                .iter()
                .zip(expected)
                .all(|(got, wanted)| (got - wanted).abs() < 1e-4)
        );
    }
}
