//! What graphs mean, by their declarations alone.

use ort::value::{Shape, SymbolicDimensions};

use super::*;

fn value(ty: TensorElementType, dimensions: &[(i64, &str)]) -> ValueType {
    ValueType::Tensor {
        ty,
        shape: Shape::new(dimensions.iter().map(|(size, _)| *size)),
        dimension_symbols: SymbolicDimensions::new(
            dimensions.iter().map(|(_, name)| name.to_string()),
        ),
    }
}

fn float(dimensions: &[(i64, &str)]) -> ValueType {
    value(TensorElementType::Float32, dimensions)
}

fn sign(inputs: &[ValueType], outputs: &[ValueType]) -> Result<Signature, Problem> {
    let declare = |name: &'static str, values: &[ValueType]| -> Vec<(String, ValueType)> {
        values
            .iter()
            .enumerate()
            .map(|(at, value)| (format!("{name}{at}"), value.clone()))
            .collect()
    };
    let (inputs, outputs) = (declare("x", inputs), declare("y", outputs));
    let inputs: Vec<Declared> =
        inputs.iter().map(|(name, value)| Declared { name, value, has_shape: true }).collect();
    let outputs: Vec<Declared> =
        outputs.iter().map(|(name, value)| Declared { name, value, has_shape: true }).collect();
    Signature::new(&inputs, &outputs)
}

#[track_caller]
fn check(inputs: &[ValueType], outputs: &[ValueType], rows: Rows, reads: &str) {
    let signature = sign(inputs, outputs).unwrap();
    assert_eq!((signature.rows, signature.schema.to_string().as_str()), (rows, reads));
    assert_eq!(signature.schema.batches, rows != Rows::Whole);
}

const N: (i64, &str) = (-1, "");

#[test]
fn rows() {
    check(
        &[float(&[N, (3, "")])],
        &[float(&[N, (1, "")])],
        Rows::Together,
        "predict(x0: FP32[3]) -> y0: FP32",
    );
    // Exporters often note the batch that they traced with.
    check(
        &[float(&[N, (3, "")])],
        &[float(&[(1, ""), (5, "")])],
        Rows::Together,
        "predict(x0: FP32[3]) -> y0: FP32[5]",
    );
    // A sum over the rows has no row for each of them.
    check(
        &[float(&[N, (3, "")])],
        &[float(&[(3, "")])],
        Rows::Whole,
        "predict(x0: FP32[-1,3]) -> y0: FP32[3]",
    );
    check(
        &[float(&[(1, ""), (3, "")])],
        &[float(&[(1, ""), (5, "")])],
        Rows::OneByOne,
        "predict(x0: FP32[3]) -> y0: FP32[5]",
    );
    check(
        &[float(&[(1, ""), (3, "")])],
        &[float(&[N, (5, "")])],
        Rows::Whole,
        "predict(x0: FP32[1,3]) -> y0: FP32[-1,5]",
    );
    check(
        &[float(&[(8, ""), (1, "")])],
        &[float(&[(8, ""), (1, "")])],
        Rows::Whole,
        "predict(x0: FP32[8,1]) -> y0: FP32[8,1]",
    );
    check(
        &[float(&[N]), float(&[])],
        &[float(&[N])],
        Rows::Whole,
        "predict(x0: FP32[-1], x1: FP32) -> y0: FP32[-1]",
    );
}

#[test]
fn names_of_dimensions() {
    let input = |name: &'static str| float(&[(-1, name), (2, "")]);
    let two = "predict(x0: FP32[2], x1: FP32[2]) -> y0: FP32";
    check(&[input("batch"), input("batch")], &[float(&[N])], Rows::Together, two);
    check(&[input("batch"), input("")], &[float(&[N])], Rows::Together, two);
    check(&[input("unk__6"), input("unk__7")], &[float(&[N])], Rows::Together, two);
    let whole = "predict(x0: FP32[-1,2], x1: FP32[-1,2]) -> y0: FP32[-1]";
    check(&[input("nodes"), input("edges")], &[float(&[N])], Rows::Whole, whole);
}

#[test]
fn other_values() {
    let map = |key, value| ValueType::Sequence(Box::new(ValueType::Map { key, value }));
    let probabilities = map(TensorElementType::Int64, TensorElementType::Float32);
    let label = value(TensorElementType::Int64, &[N]);
    check(
        &[float(&[N])],
        &[label, probabilities.clone()],
        Rows::Together,
        "predict(x0: FP32) -> y0: INT64, y1: json",
    );
    let odd = ValueType::Sequence(Box::new(float(&[N])));
    let signature = sign(&[float(&[N])], &[odd.clone(), float(&[N])]).unwrap();
    assert_eq!(signature.outputs.iter().map(|output| output.at).collect::<Vec<_>>(), [1]);
    assert_eq!(signature.notes.len(), 1);
    assert!(sign(&[float(&[N])], &[odd]).unwrap_err().message.contains("no output"));
    assert!(sign(&[probabilities], &[float(&[N])]).unwrap_err().message.contains("x0"));
    assert!(sign(&[value(TensorElementType::Complex64, &[N])], &[float(&[N])]).is_err());
    assert!(sign(&[], &[float(&[N])]).unwrap_err().message.contains("no inputs"));
}
