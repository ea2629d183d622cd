//! From values of ONNX Runtime to the tensors of an answer. Large ones are not copied.

use std::fmt::Display;
use std::ops::Range;

use bytes::Bytes;
use domain::{Code, Datatype, Problem};
use half::{bf16, f16};
use ort::value::{DynMapValueType, DynValue, TensorElementType, ValueType};
use protocol::tensor::{Tensor, push_byte_element};
use serde_json::{Map, Value};
use zerocopy::IntoBytes;

use crate::signature::{Kind, Output, datatype_of};

/// An output up to this size is copied; a larger one stays where it lies until it is sent, in
/// bytes.
const COPY_BYTES_MAX: usize = 4 * 1024;

fn bad_output(name: &str, error: impl Display) -> Problem {
    Problem::new(Code::BadOutput, format!("the output `{name}` cannot be read: {error}"))
}

/// The tensor of one output of a run, with its dimensions as they came. `borrowed` is the memory of
/// the inputs, which an output may share.
pub fn tensor(
    output: &Output,
    value: DynValue,
    borrowed: &[Range<usize>],
) -> Result<Tensor, Problem> {
    if output.kind == Kind::Maps {
        return maps(&output.name, &value);
    }
    let bad = |error: &dyn Display| bad_output(&output.name, error);
    let (element, shape) = match value.dtype() {
        ValueType::Tensor { ty, shape, .. } => {
            (*ty, shape.iter().map(|dimension| (*dimension).max(0) as usize).collect::<Vec<_>>())
        }
        other => return Err(bad(&format!("it is {other}, not a tensor"))),
    };
    let datatype =
        datatype_of(element).ok_or_else(|| bad(&format!("its elements are {element}")))?;
    let data = if datatype == Datatype::Bytes {
        let (_, texts) = value.try_extract_strings().map_err(|error| bad(&error))?;
        let mut data = Vec::with_capacity(texts.iter().map(|text| 4 + text.len()).sum());
        texts.iter().for_each(|text| push_byte_element(&mut data, text.as_bytes()));
        Bytes::from(data)
    } else {
        let bytes = bytes_of(&value, element).map_err(|error| bad(&error))?;
        let lies = bytes.as_ptr() as usize..bytes.as_ptr() as usize + bytes.len();
        let shared = borrowed.iter().any(|range| range.start < lies.end && lies.start < range.end);
        if bytes.len() <= COPY_BYTES_MAX || shared {
            Bytes::copy_from_slice(bytes)
        } else {
            Bytes::from_owner(Held { value, element })
        }
    };
    Ok(Tensor { name: output.name.clone(), datatype, shape, data })
}

/// A value whose memory is the data of an answer.
struct Held {
    value: DynValue,
    element: TensorElementType,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        // It has been read this way before, so that it does not fail.
        bytes_of(&self.value, self.element).unwrap_or_default()
    }
}

fn bytes_of(value: &DynValue, element: TensorElementType) -> ort::Result<&[u8]> {
    Ok(match element {
        TensorElementType::Bool => value.try_extract_tensor::<bool>()?.1.as_bytes(),
        TensorElementType::Uint8 => value.try_extract_tensor::<u8>()?.1,
        TensorElementType::Uint16 => value.try_extract_tensor::<u16>()?.1.as_bytes(),
        TensorElementType::Uint32 => value.try_extract_tensor::<u32>()?.1.as_bytes(),
        TensorElementType::Uint64 => value.try_extract_tensor::<u64>()?.1.as_bytes(),
        TensorElementType::Int8 => value.try_extract_tensor::<i8>()?.1.as_bytes(),
        TensorElementType::Int16 => value.try_extract_tensor::<i16>()?.1.as_bytes(),
        TensorElementType::Int32 => value.try_extract_tensor::<i32>()?.1.as_bytes(),
        TensorElementType::Int64 => value.try_extract_tensor::<i64>()?.1.as_bytes(),
        TensorElementType::Float16 => value.try_extract_tensor::<f16>()?.1.as_bytes(),
        TensorElementType::Bfloat16 => value.try_extract_tensor::<bf16>()?.1.as_bytes(),
        TensorElementType::Float32 => value.try_extract_tensor::<f32>()?.1.as_bytes(),
        TensorElementType::Float64 => value.try_extract_tensor::<f64>()?.1.as_bytes(),
        other => return Err(ort::Error::new(format!("its elements are {other}"))),
    })
}

/// A sequence of maps as JSON objects, one for each row, in the order of their keys.
fn maps(name: &str, value: &DynValue) -> Result<Tensor, Problem> {
    let bad = |error: ort::Error| bad_output(name, error);
    let rows = value.try_extract_sequence::<DynMapValueType>().map_err(bad)?;
    let mut data = vec![];
    for row in &rows {
        let object = match row.dtype() {
            ValueType::Map {
                key: TensorElementType::String,
                value: TensorElementType::Float32,
            } => row.try_extract_key_values::<String, f32>().map(|pairs| object(pairs, float32)),
            ValueType::Map {
                key: TensorElementType::String,
                value: TensorElementType::Float64,
            } => {
                row.try_extract_key_values::<String, f64>().map(|pairs| object(pairs, Value::from))
            }
            ValueType::Map { key: TensorElementType::String, .. } => {
                row.try_extract_key_values::<String, i64>().map(|pairs| object(pairs, Value::from))
            }
            ValueType::Map { value: TensorElementType::Float32, .. } => {
                row.try_extract_key_values::<i64, f32>().map(|pairs| object(pairs, float32))
            }
            ValueType::Map { value: TensorElementType::Float64, .. } => {
                row.try_extract_key_values::<i64, f64>().map(|pairs| object(pairs, Value::from))
            }
            _ => row.try_extract_key_values::<i64, i64>().map(|pairs| object(pairs, Value::from)),
        };
        push_byte_element(&mut data, object.map_err(bad)?.to_string().as_bytes());
    }
    Ok(Tensor {
        name: name.into(),
        datatype: Datatype::Json,
        shape: vec![rows.len()],
        data: data.into(),
    })
}

fn object<K: Display, V>(pairs: Vec<(K, V)>, number: impl Fn(V) -> Value) -> Value {
    Value::Object(
        pairs
            .into_iter()
            .map(|(key, value)| (key.to_string(), number(value)))
            .collect::<Map<_, _>>(),
    )
}

/// The shortest digits that give the same FP32, not those of its FP64 neighbour.
fn float32(value: f32) -> Value {
    value.to_string().parse::<f64>().map(Value::from).unwrap_or(Value::Null)
}
