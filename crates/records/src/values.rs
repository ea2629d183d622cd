//! One column of values on its way into a Parquet file.

use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, ListArray, PrimitiveArray, StringArray,
};
use arrow_buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, FieldRef};
use domain::Datatype;
use half::{bf16, f16};
use protocol::tensor::byte_elements;

/// The elements of some rows, as they come.
pub struct Values {
    datatype: Datatype,
    /// Whether each row has one element; else each has a list.
    is_scalar: bool,
    /// Of bytes: whether all are text.
    is_text: bool,
    /// Of fixed size: in memory as Arrow has them; texts: one after the other.
    data: MutableBuffer,
    /// The end of each text.
    text_ends: Vec<i32>,
    /// The end of each row, in elements.
    row_ends: Vec<i32>,
    valid: Vec<bool>,
    /// Of each row, where it is a list.
    shapes: Vec<u32>,
    shape_ends: Vec<i32>,
    count: usize,
}

/// Elements of one row, borrowed from a record.
pub struct RowValues<'a> {
    /// The shape of the row.
    pub shape: &'a [usize],
    /// Its bytes.
    pub data: &'a [u8],
}

impl Values {
    /// No rows yet. Of bytes it must be known whether all that come are text.
    pub fn new(datatype: Datatype, is_scalar: bool, is_text: bool) -> Values {
        Values {
            datatype,
            is_scalar,
            is_text,
            data: MutableBuffer::new(0),
            text_ends: vec![0],
            row_ends: vec![0],
            valid: vec![],
            shapes: vec![],
            shape_ends: vec![0],
            count: 0,
        }
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.valid.len()
    }

    /// A row without a value.
    pub fn push_null(&mut self) {
        if self.is_scalar {
            self.push_zero();
        }
        self.end_row(false, &[]);
    }

    /// Nulls until there are so many rows.
    pub fn fill_to(&mut self, rows: usize) {
        (self.rows()..rows).for_each(|_| self.push_null());
    }

    /// A row with a value that [`Values::fits`].
    pub fn push(&mut self, row: &RowValues<'_>) {
        match self.datatype.size() {
            Some(size) => {
                for element in row.data.chunks_exact(size) {
                    self.push_element(element);
                }
            }
            None => byte_elements(row.data).for_each(|element| self.push_element(element)),
        }
        self.end_row(true, row.shape);
    }

    fn push_zero(&mut self) {
        self.push_element(&[0; 8][..self.datatype.size().unwrap_or(0)]);
    }

    fn push_element(&mut self, element: &[u8]) {
        self.count += 1;
        match (self.datatype, element) {
            (Datatype::Fp16, &[low, high]) => {
                let number = f16::from_le_bytes([low, high]).to_f32();
                self.data.extend_from_slice(&number.to_le_bytes());
            }
            (Datatype::Bf16, &[low, high]) => {
                let number = bf16::from_le_bytes([low, high]).to_f32();
                self.data.extend_from_slice(&number.to_le_bytes());
            }
            _ => self.data.extend_from_slice(element),
        }
        if self.datatype.size().is_none() {
            self.text_ends.push(self.data.len() as i32);
        }
    }

    fn end_row(&mut self, valid: bool, shape: &[usize]) {
        self.valid.push(valid);
        if self.is_scalar {
            return;
        }
        self.row_ends.push(self.count as i32);
        self.shapes.extend(shape.iter().map(|dimension| *dimension as u32));
        self.shape_ends.push(self.shapes.len() as i32);
    }

    /// The Arrow type of a column.
    pub fn array_type(datatype: Datatype, is_scalar: bool, is_text: bool) -> DataType {
        Values::new(datatype, is_scalar, is_text).finish().0.data_type().clone()
    }

    /// The Arrow type of the shapes of its rows.
    pub fn shapes_type() -> DataType {
        DataType::List(item(DataType::UInt32))
    }

    /// The column, and the shapes of its rows if they are lists.
    pub fn finish(self) -> (ArrayRef, Option<ArrayRef>) {
        let valid = self.valid.iter().any(|valid| !valid).then(|| NullBuffer::from(self.valid));
        let element_nulls = if self.is_scalar { valid.clone() } else { None };
        let data = Buffer::from(self.data);
        let array: ArrayRef = match self.datatype {
            Datatype::Bool => {
                let bits = BooleanBuffer::from_iter(data.iter().map(|byte| *byte != 0));
                Arc::new(BooleanArray::new(bits, element_nulls))
            }
            Datatype::Int8 => numbers::<Int8Type>(data, element_nulls),
            Datatype::Int16 => numbers::<Int16Type>(data, element_nulls),
            Datatype::Int32 => numbers::<Int32Type>(data, element_nulls),
            Datatype::Int64 => numbers::<Int64Type>(data, element_nulls),
            Datatype::Uint8 => numbers::<UInt8Type>(data, element_nulls),
            Datatype::Uint16 => numbers::<UInt16Type>(data, element_nulls),
            Datatype::Uint32 => numbers::<UInt32Type>(data, element_nulls),
            Datatype::Uint64 => numbers::<UInt64Type>(data, element_nulls),
            Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 => {
                numbers::<Float32Type>(data, element_nulls)
            }
            Datatype::Fp64 => numbers::<Float64Type>(data, element_nulls),
            Datatype::Bytes | Datatype::Timestamp | Datatype::Json => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(self.text_ends));
                match self.is_text {
                    true => Arc::new(StringArray::new(offsets, data, element_nulls)),
                    false => Arc::new(BinaryArray::new(offsets, data, element_nulls)),
                }
            }
        };
        if self.is_scalar {
            return (array, None);
        }
        let shapes: ArrayRef =
            Arc::new(PrimitiveArray::<UInt32Type>::from_iter_values(self.shapes));
        let shapes = list(shapes, self.shape_ends, valid.clone());
        (list(array, self.row_ends, valid), Some(shapes))
    }
}

fn numbers<T: ArrowPrimitiveType>(data: Buffer, nulls: Option<NullBuffer>) -> ArrayRef {
    let values = ScalarBuffer::<T::Native>::from(data);
    Arc::new(PrimitiveArray::<T>::new(values, nulls))
}

fn list(elements: ArrayRef, ends: Vec<i32>, nulls: Option<NullBuffer>) -> ArrayRef {
    let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
    Arc::new(ListArray::new(item(elements.data_type().clone()), offsets, elements, nulls))
}

/// What a list is of.
fn item(datatype: DataType) -> FieldRef {
    Arc::new(Field::new("item", datatype, false))
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;

    use super::*;

    fn push(values: &mut Values, shape: &[usize], data: &[u8]) {
        values.push(&RowValues { shape, data });
    }

    #[test]
    fn numbers_texts_and_tensors_are_what_they_were() {
        let mut ages = Values::new(Datatype::Int64, true, true);
        push(&mut ages, &[], &i64::MIN.to_le_bytes());
        ages.push_null();
        push(&mut ages, &[], &i64::MAX.to_le_bytes());
        let (ages, shapes) = ages.finish();
        let ages = ages.as_primitive::<Int64Type>();
        assert_eq!((ages.value(0), ages.is_null(1), ages.value(2)), (i64::MIN, true, i64::MAX));
        assert!(shapes.is_none());

        let mut cities = Values::new(Datatype::Bytes, true, true);
        push(&mut cities, &[], b"\x05\0\0\0Delft");
        cities.fill_to(3);
        let cities = cities.finish().0;
        assert_eq!(cities.as_string::<i32>().value(0), "Delft");
        assert_eq!(cities.null_count(), 2);

        let mut raw = Values::new(Datatype::Bytes, true, false);
        push(&mut raw, &[], b"\x02\0\0\0\xff\0");
        assert_eq!(raw.finish().0.as_binary::<i32>().value(0), b"\xff\0");

        let mut images = Values::new(Datatype::Fp16, false, true);
        let one = f16::from_f32(1.5).to_le_bytes();
        push(&mut images, &[2, 1], &[one, one].concat());
        images.push_null();
        push(&mut images, &[0, 4], &[]);
        let (images, shapes) = images.finish();
        let images = images.as_list::<i32>();
        assert_eq!(images.value(0).as_primitive::<Float32Type>().values(), &[1.5, 1.5]);
        assert!(images.is_null(1) && images.value(2).is_empty());
        let shapes = shapes.unwrap();
        let shape = shapes.as_list::<i32>().value(2);
        assert_eq!(shape.as_primitive::<UInt32Type>().values(), &[0, 4]);
    }
}
