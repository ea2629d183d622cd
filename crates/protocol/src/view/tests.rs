//! What columns look like row by row, and that no bytes bring a reader down.

use testing::Corpus;

use super::*;
use crate::tensor::push_byte_element;

fn view<'a>(datatype: Datatype, shape: &'a [usize], data: &'a [u8], rows: usize) -> ColumnView<'a> {
    ColumnView { name: "x", datatype, shape, data, valid: None, rows }
}

fn numbers<T: Copy, const N: usize>(of: [T; N], bytes: impl Fn(T) -> Vec<u8>) -> Vec<u8> {
    of.into_iter().flat_map(bytes).collect()
}

#[test]
fn numbers_of_every_size_are_read() {
    let data = numbers([i64::MIN, 0, 7], |n| n.to_le_bytes().to_vec());
    let read: Vec<Value> = view(Datatype::Int64, &[], &data, 3).values().collect();
    assert_eq!(read, [Value::Number(i64::MIN as f64), Value::Number(0.0), Value::Number(7.0)]);
    let data = numbers([f32::NAN, f32::NEG_INFINITY, 0.5], |n| n.to_le_bytes().to_vec());
    let read: Vec<Value> = view(Datatype::Fp32, &[], &data, 3).values().collect();
    assert!(matches!(read[0], Value::Number(number) if number.is_nan()));
    assert_eq!(read[1..], [Value::Number(f64::NEG_INFINITY), Value::Number(0.5)]);
    let read: Vec<Value> = view(Datatype::Bool, &[], &[1, 0], 2).values().collect();
    assert_eq!(read, [Value::Bool(true), Value::Bool(false)]);
}

#[test]
fn what_is_missing_has_a_place_in_the_data() {
    let mut data = vec![];
    for text in ["Utrecht", "", "Delft"] {
        push_byte_element(&mut data, text.as_bytes());
    }
    let column = ColumnView { valid: Some(&[1, 0, 1]), ..view(Datatype::Bytes, &[], &data, 3) };
    let read: Vec<Value> = column.values().collect();
    assert_eq!(read, [Value::Text(b"Utrecht"), Value::Missing, Value::Text(b"Delft")]);
}

#[test]
fn a_row_with_a_shape_is_its_elements() {
    let data = numbers([3.0f64, 4.0, 6.0, 8.0], |n| n.to_le_bytes().to_vec());
    let norms = view(Datatype::Fp64, &[2], &data, 2).values().map(|value| match value {
        Value::Tensor(elements) => {
            (elements.count(), elements.numbers().map(|n| n * n).sum::<f64>())
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(norms.collect::<Vec<_>>(), [(2, 25.0), (2, 100.0)]);
    let mut data = vec![];
    for text in ["a", "bc", "", "d"] {
        push_byte_element(&mut data, text.as_bytes());
    }
    let texts = view(Datatype::Bytes, &[2], &data, 2).values().map(|value| match value {
        Value::Tensor(elements) => elements.texts().collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    });
    assert_eq!(texts.collect::<Vec<_>>(), [[&b"a"[..], b"bc"], [b"", b"d"]]);
    let empty = view(Datatype::Fp32, &[0], &[], 3);
    assert_eq!(empty.values().count(), 3);
}

#[test]
fn damaged_columns_end_early() {
    assert_eq!(view(Datatype::Fp64, &[], &[0; 20], 3).values().count(), 2);
    assert_eq!(view(Datatype::Bytes, &[], &[9, 0, 0, 0, 1], 1).values().count(), 0);
    assert_eq!(view(Datatype::Bytes, &[], &[0xff; 9], 1).values().count(), 0);
    let short = ColumnView { valid: Some(&[1]), ..view(Datatype::Int8, &[], &[1, 2], 2) };
    assert_eq!(short.values().count(), 1);
    assert_eq!(view(Datatype::Fp64, &[usize::MAX, 2], &[0; 16], 1).values().count(), 0);
    let endless = view(Datatype::Fp64, &[0], &[], usize::MAX);
    assert_eq!(endless.values().count(), EMPTY_PLACES_MAX);
}

#[test]
fn whatever_the_bytes_are_reading_them_ends() {
    let mut texts = vec![];
    for text in ["", "Utrecht", "\u{0}"] {
        push_byte_element(&mut texts, text.as_bytes());
    }
    let inputs = vec![texts, vec![0; 64], f64::NAN.to_le_bytes().repeat(4)];
    Corpus::of("a column", inputs).check(|input| {
        let at = input.first().map_or(0, |byte| usize::from(*byte));
        let valid = input.get(at..);
        for datatype in Datatype::ALL {
            for shape in [&[][..], &[0], &[2], &[3, at]] {
                let column = view(datatype, shape, input, input.len());
                for value in column.values().chain(ColumnView { valid, ..column }.values()) {
                    if let Value::Tensor(elements) = value {
                        let read = elements.numbers().count() + elements.texts().count();
                        assert_eq!(read, elements.count());
                    }
                }
            }
        }
    });
}
