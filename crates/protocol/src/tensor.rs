//! A named tensor as it travels: little-endian, row-major, with its leading dimension.

use bytes::Bytes;
use domain::{Datatype, Problem};

/// One input or output of an inference.
#[derive(Clone, PartialEq, Debug)]
pub struct Tensor {
    /// The column's name.
    pub name: String,
    /// Of its elements; timestamps and JSON travel as BYTES.
    pub datatype: Datatype,
    /// With the leading dimension, the rows.
    pub shape: Vec<usize>,
    /// Little-endian and row-major; elements of BYTES carry a length of 4 bytes, little-endian, before them.
    pub data: Bytes,
}

/// The number of elements of a shape; `None` if it does not fit in memory.
pub fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |product, dimension| product.checked_mul(*dimension)).filter(|n| *n <= isize::MAX as usize)
}

/// The elements of a BYTES tensor, in order; ends early if a length is wrong.
pub fn byte_elements(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let (element, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        rest = tail;
        Some(element)
    })
}

/// Appends one element of BYTES.
pub fn push_byte_element(data: &mut Vec<u8>, element: &[u8]) {
    data.extend_from_slice(&(element.len() as u32).to_le_bytes());
    data.extend_from_slice(element);
}

impl Tensor {
    /// Checks that data and shape agree, and that the elements are what the datatype says.
    pub fn check(&self) -> Result<(), Problem> {
        let count = elements(&self.shape)
            .ok_or_else(|| Problem::new("bad_shape", format!("the shape {:?} of `{}` is too large", self.shape, self.name)))?;
        let disagree = |got: String| {
            Problem::new("shape_mismatch", format!("`{}` has the shape {:?}, but {got}", self.name, self.shape))
                .help("the product of the shape must be the number of elements")
        };
        match self.datatype.size() {
            Some(size) => {
                let bytes = count.saturating_mul(size);
                if bytes != self.data.len() {
                    let text = format!("its data has {} bytes where {} {} take {bytes}", self.data.len(), count, self.datatype);
                    return Err(disagree(text));
                }
                if self.datatype == Datatype::Bool && self.data.iter().any(|byte| *byte > 1) {
                    return Err(Problem::new("bad_value", format!("`{}` is BOOL, but a byte is neither 0 nor 1", self.name)));
                }
            }
            None => {
                let (mut found, mut used) = (0, 0);
                for element in byte_elements(&self.data) {
                    found += 1;
                    used += 4 + element.len();
                }
                if found != count || used != self.data.len() {
                    return Err(disagree(format!("its data has {found} whole elements in {} bytes", self.data.len())));
                }
            }
        }
        Ok(())
    }
}
