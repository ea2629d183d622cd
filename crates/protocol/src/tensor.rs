//! A named tensor as it travels: little-endian, row-major, with its leading dimension.

use bytes::Bytes;
use domain::Code;
use domain::Datatype;

use crate::fault::Flaw;
use crate::limits::{DIMENSIONS_MAX, ELEMENTS_MAX, EMPTY_PLACES_MAX, shown_name};

/// One input or output of an inference.
#[derive(Clone, PartialEq, Debug)]
pub struct Tensor {
    /// The column's name.
    pub name: String,
    /// Of its elements; timestamps and JSON travel as BYTES.
    pub datatype: Datatype,
    /// With the leading dimension, the rows.
    pub shape: Vec<usize>,
    /// Little-endian and row-major; elements of BYTES carry a length of 4 bytes, little-endian,
    /// before them.
    pub data: Bytes,
}

/// The number of elements of a shape; `None` if the shape is beyond what a tensor may have. A
/// dimension of 0 does not hide how large the others are: whoever writes the tensor as JSON goes
/// through them.
pub fn elements(shape: &[usize]) -> Option<usize> {
    if shape.len() > DIMENSIONS_MAX {
        return None;
    }
    let places = shape
        .iter()
        .try_fold(1usize, |product, dimension| product.checked_mul((*dimension).max(1)))?;
    if shape.contains(&0) {
        (places <= EMPTY_PLACES_MAX).then_some(0)
    } else {
        (places <= ELEMENTS_MAX).then_some(places)
    }
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
    pub fn check(&self) -> Result<(), Flaw> {
        let name = || shown_name(&self.name);
        let count = elements(&self.shape).ok_or_else(|| too_large(&self.name, &self.shape))?;
        let disagree = |got: String| {
            Flaw::new(
                Code::ShapeMismatch,
                format!("`{}` has the shape {:?}, but {got}", name(), self.shape),
            )
            .help("the product of the shape must be the number of elements")
        };
        match self.datatype.size() {
            Some(size) => {
                let bytes = count.saturating_mul(size);
                if bytes != self.data.len() {
                    let text = format!(
                        "its data has {} bytes where {} {} take {bytes}",
                        self.data.len(),
                        count,
                        self.datatype
                    );
                    return Err(disagree(text));
                }
                if self.datatype == Datatype::Bool && self.data.iter().any(|byte| *byte > 1) {
                    return Err(Flaw::new(
                        Code::BadValue,
                        format!("`{}` is BOOL, but a byte is neither 0 nor 1", name()),
                    ));
                }
            }
            None => {
                let (mut found, mut used) = (0, 0);
                for element in byte_elements(&self.data) {
                    found += 1;
                    used += 4 + element.len();
                }
                if found != count || used != self.data.len() {
                    return Err(disagree(format!(
                        "its data has {found} whole elements in {} bytes",
                        self.data.len()
                    )));
                }
            }
        }
        Ok(())
    }
}

/// The refusal of a shape.
pub(crate) fn too_large(name: &str, shape: &[usize]) -> Flaw {
    let (name, dimensions) = (shown_name(name), shape.len());
    if dimensions > DIMENSIONS_MAX {
        return Flaw::new(
            Code::BadShape,
            format!("`{name}` has {dimensions} dimensions; at most {DIMENSIONS_MAX} are allowed"),
        );
    }
    Flaw::new(Code::BadShape, format!("the shape {shape:?} of `{name}` is too large"))
        .help("at most 2^31 elements are allowed; where a dimension is 0, the product of the others may be at most 2^20")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dimension_of_zero_hides_nothing() {
        assert_eq!(elements(&[2, 3]), Some(6));
        assert_eq!(elements(&[]), Some(1));
        assert_eq!(elements(&[1000, 0, 3]), Some(0));
        for shape in [
            &[1 << 62, 0][..],
            &[1, 1 << 40, 0],
            &[0, 1 << 21],
            &[1 << 40],
            &[1 << 62, 8],
            &[1; 17],
        ] {
            assert_eq!(elements(shape), None, "{shape:?}");
        }
    }
}
