//! A value as text: what keys are made of, and what stands behind a disguised value, so that a
//! number and the text of it are the same.

use std::borrow::Cow;

use domain::Datatype;
use half::{bf16, f16};

/// The text of one element as a record has it. Numbers are as short as can be: `42` of an integer
/// and of a float; texts are as they are.
pub fn element_text(datatype: Datatype, element: &[u8]) -> Cow<'_, [u8]> {
    macro_rules! number {
        ($type:ty) => {
            element.try_into().ok().map(|raw| <$type>::from_le_bytes(raw).to_string())
        };
    }
    let text = match datatype {
        Datatype::Bool => Some((element != [0]).to_string()),
        Datatype::Uint8 => number!(u8),
        Datatype::Uint16 => number!(u16),
        Datatype::Uint32 => number!(u32),
        Datatype::Uint64 => number!(u64),
        Datatype::Int8 => number!(i8),
        Datatype::Int16 => number!(i16),
        Datatype::Int32 => number!(i32),
        Datatype::Int64 => number!(i64),
        Datatype::Fp16 => number!(f16),
        Datatype::Bf16 => number!(bf16),
        Datatype::Fp32 => number!(f32),
        Datatype::Fp64 => number!(f64),
        Datatype::Bytes | Datatype::Timestamp | Datatype::Json => None,
    };
    text.map_or(Cow::Borrowed(element), |text| Cow::Owned(text.into_bytes()))
}

/// The bytes of each of some rows, one after the other, where each has `per_row` elements; the last
/// ones are cut short if the data ends early.
pub fn row_bytes(
    datatype: Datatype,
    per_row: usize,
    rows: usize,
    data: &[u8],
) -> impl Iterator<Item = &[u8]> {
    let mut rest = data;
    (0..rows).map(move |_| {
        let bytes = match datatype.size() {
            Some(size) => per_row.saturating_mul(size),
            None => {
                let elements = crate::tensor::byte_elements(rest).take(per_row);
                elements.map(|element| 4 + element.len()).sum()
            }
        };
        let (own, tail) = rest.split_at(bytes.min(rest.len()));
        rest = tail;
        own
    })
}

/// The text of a row's only element, out of [`row_bytes`].
pub fn scalar_text(datatype: Datatype, row: &[u8]) -> Option<Cow<'_, [u8]>> {
    match datatype.size() {
        Some(size) => (row.len() == size).then(|| element_text(datatype, row)),
        None => crate::tensor::byte_elements(row).next().map(Cow::Borrowed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_its_text_are_the_same() {
        let text = |datatype, bytes: &[u8]| {
            String::from_utf8(element_text(datatype, bytes).into_owned()).unwrap()
        };
        assert_eq!(text(Datatype::Int64, &42_i64.to_le_bytes()), "42");
        assert_eq!(text(Datatype::Uint8, &[42]), "42");
        assert_eq!(text(Datatype::Int8, &[0xff]), "-1");
        assert_eq!(text(Datatype::Fp64, &42_f64.to_le_bytes()), "42");
        assert_eq!(text(Datatype::Fp32, &0.1_f32.to_le_bytes()), "0.1");
        assert_eq!(text(Datatype::Fp16, &f16::from_f32(1.5).to_le_bytes()), "1.5");
        assert_eq!(text(Datatype::Bytes, b"42"), "42");
        assert_eq!(text(Datatype::Bool, &[1]), "true");
        assert_eq!(text(Datatype::Int64, b"42"), "42", "what is no number stays as it is");
    }

    #[test]
    fn rows_are_cut_where_they_end_and_damage_is_survived() {
        let data = [1_u16, 2, 3, 4].map(u16::to_le_bytes).concat();
        let rows: Vec<&[u8]> = row_bytes(Datatype::Uint16, 2, 2, &data).collect();
        assert_eq!(rows, [&data[..4], &data[4..]]);
        let mut texts = vec![];
        for text in ["Delft", "", "Ede"] {
            crate::tensor::push_byte_element(&mut texts, text.as_bytes());
        }
        let rows: Vec<_> = row_bytes(Datatype::Bytes, 1, 4, &texts)
            .map(|row| scalar_text(Datatype::Bytes, row).map(|text| text.into_owned()))
            .collect();
        let wanted = [Some(b"Delft".to_vec()), Some(vec![]), Some(b"Ede".to_vec()), None];
        assert_eq!(rows, wanted);
        assert_eq!(scalar_text(Datatype::Int64, &[1, 2]), None);
    }
}
