//! From the tensors of a request to values of ONNX Runtime: in place where the bytes are aligned,
//! else copied.

use std::fmt::Debug;

use domain::Code;
use domain::{Datatype, Problem};
use half::{bf16, f16};
use ort::session::SessionInputValue;
use ort::value::{PrimitiveTensorElementType, Shape, Tensor, TensorRef};
use protocol::tensor::byte_elements;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, TryFromBytes};

use crate::signature::{Input, Rows};

fn bad_request(message: String) -> Problem {
    Problem::new(Code::BadRequest, message)
}

/// The dimensions in which the graph takes a tensor of a request that has this shape. The graph and
/// the schema may disagree on dimensions of 1: a scalar for each row may be declared as `(rows,
/// 1)`.
pub fn dimensions_for(input: &Input, shape: &[usize], rows: Rows) -> Result<Vec<i64>, Problem> {
    let given: Vec<i64> =
        shape.iter().map(|dimension| i64::try_from(*dimension).unwrap_or(i64::MAX)).collect();
    let Some(declared) = &input.dimensions else { return Ok(given) };
    let fits = |declared: &[i64], given: &[i64]| {
        declared.len() == given.len()
            && declared.iter().zip(given).all(|(wanted, got)| *wanted < 0 || wanted == got)
    };
    let refuse = || {
        let text =
            format!("`{}` has the shape {given:?}, but the graph takes {declared:?}", input.name);
        bad_request(text).help("-1 is any number")
    };
    if rows == Rows::Whole {
        return if fits(declared, &given) { Ok(given) } else { Err(refuse()) };
    }
    let (Some((_, row)), Some((_, declared_row))) = (given.split_first(), declared.split_first())
    else {
        return Err(refuse());
    };
    let row = match (declared_row, row) {
        (declared, row) if fits(declared, row) => row.to_vec(),
        ([1], []) => vec![1],
        ([-1], []) => vec![1],
        ([], [1]) => vec![],
        _ => return Err(refuse()),
    };
    let leading = if rows == Rows::OneByOne { 1 } else { given[0] };
    Ok([leading].into_iter().chain(row).collect())
}

/// A value over `data`, which has as many elements as the dimensions say.
pub fn value<'a>(
    input: &Input,
    dimensions: &[i64],
    data: &'a [u8],
) -> Result<SessionInputValue<'a>, Problem> {
    let made = match input.datatype {
        Datatype::Bool => booleans(dimensions, data),
        Datatype::Uint8 => numbers::<u8>(dimensions, data),
        Datatype::Uint16 => numbers::<u16>(dimensions, data),
        Datatype::Uint32 => numbers::<u32>(dimensions, data),
        Datatype::Uint64 => numbers::<u64>(dimensions, data),
        Datatype::Int8 => numbers::<i8>(dimensions, data),
        Datatype::Int16 => numbers::<i16>(dimensions, data),
        Datatype::Int32 => numbers::<i32>(dimensions, data),
        Datatype::Int64 => numbers::<i64>(dimensions, data),
        Datatype::Fp16 => numbers::<f16>(dimensions, data),
        Datatype::Bf16 => numbers::<bf16>(dimensions, data),
        Datatype::Fp32 => numbers::<f32>(dimensions, data),
        Datatype::Fp64 => numbers::<f64>(dimensions, data),
        Datatype::Bytes | Datatype::Timestamp | Datatype::Json => {
            return texts(input, dimensions, data);
        }
    };
    made.map_err(|error| {
        bad_request(format!("`{}` is not accepted by ONNX Runtime: {error}", input.name))
    })
}

fn shape_of(dimensions: &[i64]) -> Shape {
    Shape::new(dimensions.iter().copied())
}

fn numbers<'a, T>(dimensions: &[i64], data: &'a [u8]) -> ort::Result<SessionInputValue<'a>>
where
    T: PrimitiveTensorElementType + Debug + Clone + FromBytes + IntoBytes + Immutable + 'static,
    [T]: KnownLayout<PointerMetadata = usize>,
{
    if let Ok(elements) = <[T]>::ref_from_bytes(data) {
        return Ok(TensorRef::from_array_view((shape_of(dimensions), elements))?.into());
    }
    let mut elements = vec![T::new_zeroed(); data.len() / size_of::<T>()];
    let whole = elements.len() * size_of::<T>();
    elements.as_mut_slice().as_mut_bytes().copy_from_slice(&data[..whole]);
    Ok(Tensor::from_array((shape_of(dimensions), elements))?.into())
}

fn booleans<'a>(dimensions: &[i64], data: &'a [u8]) -> ort::Result<SessionInputValue<'a>> {
    let elements = <[bool]>::try_ref_from_bytes(data)
        .map_err(|_| ort::Error::new("a byte is neither 0 nor 1"))?;
    Ok(TensorRef::from_array_view((shape_of(dimensions), elements))?.into())
}

fn texts<'a>(
    input: &Input,
    dimensions: &[i64],
    data: &[u8],
) -> Result<SessionInputValue<'a>, Problem> {
    let texts = byte_elements(data)
        .map(|text| String::from_utf8(text.to_vec()))
        .collect::<Result<Vec<String>, _>>();
    let texts = texts.map_err(|_| {
        bad_request(format!("`{}` has an element that is not UTF-8 text", input.name))
    })?;
    if texts.iter().any(|text| text.contains('\0')) {
        return Err(bad_request(format!(
            "`{}` has an element with a zero byte, which ONNX Runtime cannot take",
            input.name
        )));
    }
    let tensor = Tensor::from_string_array((shape_of(dimensions), texts.as_slice()));
    tensor.map(Into::into).map_err(|error| {
        bad_request(format!("`{}` is not accepted by ONNX Runtime: {error}", input.name))
    })
}
