//! The rows of a recorded request, as they were asked: types, shapes and what was missing.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use bytes::Bytes;
use domain::{Column, Datatype, Schema};
use half::{bf16, f16};
use protocol::payload::push_null;
use protocol::tensor::push_byte_element;
use protocol::{Payload, Tensor};

use super::PastRequest;
use crate::columns::INPUT;

/// Why values cannot be given back as they were.
pub(super) type Reason = String;

/// The value of a row: its shape, and its elements as in a [`Tensor`].
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Value {
    pub shape: Vec<usize>,
    pub data: Vec<u8>,
}

impl PastRequest {
    /// The rows as a model with these columns takes them. Fails, in words, where a column is not
    /// recorded, or was recorded as another type.
    pub fn payload(&self, schema: &Schema) -> Result<Payload, String> {
        let mut tensors = vec![];
        for column in &schema.inputs {
            tensors.extend(self.input(column)?);
        }
        // All rows at once, also of a model that takes them one by one.
        let schema = Schema { batches: true, ..schema.clone() };
        Payload::from_tensors(tensors, &schema).map_err(|problem| {
            let details = problem.details.join("; ");
            format!(
                "its rows do not fit: {}",
                if details.is_empty() { problem.message } else { details }
            )
        })
    }

    /// A column and which rows of it are there; nothing for one that may be left out.
    fn input(&self, column: &Column) -> Result<Vec<Tensor>, Reason> {
        let name = format!("{INPUT}{}", column.name);
        let mut values = Vec::with_capacity(self.rows);
        for (batch, row) in &self.kept {
            match batch.column_by_name(&name) {
                Some(array) => values.push(value(batch, &name, array, *row, column.datatype)?),
                None if column.is_optional() => return Ok(vec![]),
                None => return Err(format!("`{}` is not in its record", column.name)),
            }
        }
        if !column.nullable && values.iter().any(Option::is_none) {
            return Err(format!("a value of `{}` is not in its record", column.name));
        }
        let shape = match values.iter().flatten().next() {
            Some(first) => first.shape.clone(),
            None => {
                let wanted = column.shape.iter().flatten();
                wanted.map(|dimension| usize::try_from(*dimension).unwrap_or(0)).collect()
            }
        };
        let (mut data, mut valid) = (vec![], vec![]);
        for value in &values {
            valid.push(u8::from(value.is_some()));
            match value {
                Some(value) if value.shape == shape => data.extend_from_slice(&value.data),
                Some(_) => return Err(format!("rows of `{}` have several shapes", column.name)),
                None => push_null(column.datatype, &shape, &mut data),
            }
        }
        let leading = || vec![values.len()];
        let mut tensors = vec![Tensor {
            name: column.name.clone(),
            datatype: column.datatype,
            shape: leading().into_iter().chain(shape).collect(),
            data: Bytes::from(data),
        }];
        if valid.contains(&0) {
            tensors.push(Tensor {
                name: format!("{}:valid", column.name),
                datatype: Datatype::Bool,
                shape: leading(),
                data: Bytes::from(valid),
            });
        }
        Ok(tensors)
    }
}

/// The value of a row of a column, as a datatype; `None` for a null.
pub(super) fn value(
    batch: &RecordBatch,
    name: &str,
    array: &ArrayRef,
    row: usize,
    datatype: Datatype,
) -> Result<Option<Value>, Reason> {
    if array.is_null(row) {
        return Ok(None);
    }
    let other_type = || {
        let (found, name) =
            (array.data_type(), name.split_once('.').map_or(name, |(_, name)| name));
        format!("`{name}` was recorded as {found}, and is {datatype}")
    };
    let mut data = vec![];
    let Some(list) = array.as_list_opt::<i32>() else {
        push(datatype, array, row, &mut data).ok_or_else(other_type)?;
        return Ok(Some(Value { shape: vec![], data }));
    };
    let elements = list.value(row);
    for at in 0..elements.len() {
        push(datatype, &elements, at, &mut data).ok_or_else(other_type)?;
    }
    if elements.is_empty() && !is_of(datatype, &elements) {
        return Err(other_type());
    }
    let shapes = batch.column_by_name(&format!("{name}:shape"));
    let shape = match shapes.and_then(|shapes| shapes.as_list_opt::<i32>()) {
        Some(shapes) => {
            let shape = shapes.value(row);
            let shape = shape.as_primitive_opt::<UInt32Type>().ok_or_else(other_type)?;
            shape.values().iter().map(|dimension| *dimension as usize).collect()
        }
        None => vec![elements.len()],
    };
    Ok(Some(Value { shape, data }))
}

/// Whether a column of elements is of a datatype.
fn is_of(datatype: Datatype, array: &ArrayRef) -> bool {
    let known = crate::values::Values::array_type(datatype, true, true);
    let raw = crate::values::Values::array_type(datatype, true, false);
    *array.data_type() == known || *array.data_type() == raw
}

/// Appends an element of an array as one of a datatype; `None` if it is of another type.
fn push(datatype: Datatype, array: &ArrayRef, at: usize, data: &mut Vec<u8>) -> Option<()> {
    fn number<T: ArrowPrimitiveType>(array: &ArrayRef, at: usize) -> Option<T::Native> {
        Some(array.as_primitive_opt::<T>()?.value(at))
    }
    macro_rules! push {
        ($type:ty) => {
            data.extend_from_slice(&number::<$type>(array, at)?.to_le_bytes())
        };
    }
    match datatype {
        Datatype::Bool => data.push(u8::from(array.as_boolean_opt()?.value(at))),
        Datatype::Int8 => push!(Int8Type),
        Datatype::Int16 => push!(Int16Type),
        Datatype::Int32 => push!(Int32Type),
        Datatype::Int64 => push!(Int64Type),
        Datatype::Uint8 => push!(UInt8Type),
        Datatype::Uint16 => push!(UInt16Type),
        Datatype::Uint32 => push!(UInt32Type),
        Datatype::Uint64 => push!(UInt64Type),
        Datatype::Fp32 => push!(Float32Type),
        Datatype::Fp64 => push!(Float64Type),
        // They are kept as the FP32 that they were made of no more than themselves.
        Datatype::Fp16 => {
            let value = f16::from_f32(number::<Float32Type>(array, at)?);
            data.extend_from_slice(&value.to_le_bytes())
        }
        Datatype::Bf16 => {
            let value = bf16::from_f32(number::<Float32Type>(array, at)?);
            data.extend_from_slice(&value.to_le_bytes())
        }
        Datatype::Bytes | Datatype::Timestamp | Datatype::Json => {
            match (array.as_string_opt::<i32>(), array.as_binary_opt::<i32>()) {
                (Some(texts), _) => push_byte_element(data, texts.value(at).as_bytes()),
                (None, Some(bytes)) => push_byte_element(data, bytes.value(at)),
                (None, None) => return None,
            }
        }
    }
    Some(())
}
