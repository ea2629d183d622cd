//! How far two values are from each other, bit by bit.

use domain::{Datatype, Distance};
use half::{bf16, f16};
use serde_json::Value;

use crate::tensor::byte_elements;

/// As far as rounding sets numbers apart, relative to the larger one or to 1: half of the digits of
/// an FP32, which is what most models compute in whatever their answers are written as.
const ROUNDING: f64 = 3.5e-4;
/// The same of FP16 and BF16.
const ROUNDING_OF_HALF: f64 = 3.2e-2;
const ROUNDING_OF_BF16: f64 = 8.9e-2;

/// How far two rows of a column of this datatype are from each other: their elements as in a
/// [`Tensor`](crate::Tensor), in the same shape.
pub fn distance(datatype: Datatype, one: &[u8], other: &[u8]) -> Distance {
    if one == other {
        return Distance::Same;
    }
    if one.len() != other.len() && datatype.size().is_some() {
        return Distance::Far;
    }
    match datatype {
        Datatype::Fp64 => of_floats(one, other, |raw| Float {
            value: f64::from_le_bytes(raw),
            place: place(i64::from_le_bytes(raw), i64::MIN),
            rounding: ROUNDING,
        }),
        Datatype::Fp32 => of_floats(one, other, |raw| Float {
            value: f32::from_le_bytes(raw).into(),
            place: place(i32::from_le_bytes(raw).into(), i32::MIN.into()),
            rounding: ROUNDING,
        }),
        Datatype::Fp16 => of_floats(one, other, |raw| Float {
            value: f16::from_le_bytes(raw).into(),
            place: place(i16::from_le_bytes(raw).into(), i16::MIN.into()),
            rounding: ROUNDING_OF_HALF,
        }),
        Datatype::Bf16 => of_floats(one, other, |raw| Float {
            value: bf16::from_le_bytes(raw).into(),
            place: place(i16::from_le_bytes(raw).into(), i16::MIN.into()),
            rounding: ROUNDING_OF_BF16,
        }),
        Datatype::Json => of_json(one, other),
        _ => Distance::Far,
    }
}

/// A float, and its place among all of its type.
struct Float {
    value: f64,
    place: i64,
    rounding: f64,
}

/// Bits as a signed number, so that floats that follow each other have numbers that do: those below
/// zero are counted from `least` on.
fn place(bits: i64, least: i64) -> i64 {
    if bits < 0 { least.wrapping_sub(bits) } else { bits }
}

impl Float {
    fn distance(&self, other: &Float) -> Distance {
        if self.value.is_nan() && other.value.is_nan() {
            return Distance::Same;
        }
        let apart = (self.value - other.value).abs();
        let most = self.rounding * self.value.abs().max(other.value.abs()).max(1.0);
        match apart <= most && most.is_finite() {
            // Zeros of different signs have one place.
            true => Distance::Near(self.place.abs_diff(other.place).max(1)),
            false => Distance::Far,
        }
    }
}

fn of_floats<const N: usize>(
    one: &[u8],
    other: &[u8],
    float: impl Fn([u8; N]) -> Float,
) -> Distance {
    let (one, other) = (one.as_chunks::<N>().0, other.as_chunks::<N>().0);
    let apart = one.iter().zip(other).filter(|(one, other)| one != other);
    apart.map(|(one, other)| float(*one).distance(&float(*other))).max().unwrap_or(Distance::Same)
}

fn of_json(one: &[u8], other: &[u8]) -> Distance {
    let values = |data| -> Vec<Option<Value>> {
        byte_elements(data).map(|element| serde_json::from_slice(element).ok()).collect()
    };
    let (one, other) = (values(one), values(other));
    if one.len() != other.len() {
        return Distance::Far;
    }
    let distances = one.iter().zip(&other).map(|pair| match pair {
        (Some(one), Some(other)) => of_values(one, other),
        _ => Distance::Far,
    });
    distances.max().unwrap_or(Distance::Same)
}

fn of_values(one: &Value, other: &Value) -> Distance {
    let all = |distances: &mut dyn Iterator<Item = Distance>| distances.max();
    match (one, other) {
        (Value::Number(one), Value::Number(other)) if one.is_f64() && other.is_f64() => {
            let bytes = |number: &serde_json::Number| number.as_f64().unwrap_or(0.0).to_le_bytes();
            distance(Datatype::Fp64, &bytes(one), &bytes(other))
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            all(&mut one.iter().zip(other).map(|(one, other)| of_values(one, other)))
                .unwrap_or(Distance::Same)
        }
        (Value::Object(one), Value::Object(other)) if one.len() == other.len() => {
            let fields = &mut one.iter().map(|(name, one)| match other.get(name) {
                Some(other) => of_values(one, other),
                None => Distance::Far,
            });
            all(fields).unwrap_or(Distance::Same)
        }
        (one, other) if one == other => Distance::Same,
        _ => Distance::Far,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(one: f64, other: f64) -> Distance {
        distance(Datatype::Fp64, &one.to_le_bytes(), &other.to_le_bytes())
    }

    #[test]
    fn floats_are_counted_apart() {
        assert_eq!(of(0.1, 0.1), Distance::Same);
        assert_eq!(of(0.1 + 0.2, 0.3), Distance::Near(1));
        assert_eq!(of(1.0, 1.0 + 5.0 * f64::EPSILON), Distance::Near(5));
        assert_eq!(of(-1.0, -1.0 - 5.0 * f64::EPSILON), Distance::Near(5));
        assert_eq!(of(0.0, -0.0), Distance::Near(1));
        assert_eq!(of(5e-324, -5e-324), Distance::Near(2));
        assert_eq!(of(1.0, 1.01), Distance::Far);
        assert_eq!(of(1e300, 2e300), Distance::Far);
        assert_eq!(of(f64::INFINITY, f64::INFINITY), Distance::Same);
        assert_eq!(of(f64::INFINITY, f64::MAX), Distance::Far);
        assert_eq!(of(f64::INFINITY, f64::NEG_INFINITY), Distance::Far);
        let other_nan = f64::from_bits(f64::NAN.to_bits() + 1);
        assert_eq!(of(f64::NAN, other_nan), Distance::Same);
        assert_eq!(of(f64::NAN, 1.0), Distance::Far);
        let floats = |values: [f32; 2]| values.map(f32::to_le_bytes).concat();
        let (one, other) = (floats([1.0, 2.0]), floats([1.0, 2.0000002]));
        assert_eq!(distance(Datatype::Fp32, &one, &other), Distance::Near(1));
        assert_eq!(distance(Datatype::Fp32, &one, &one[..4]), Distance::Far);
        let halves = [1.0, 1.001].map(|value| f16::from_f64(value).to_le_bytes());
        assert_eq!(distance(Datatype::Fp16, &halves[0], &halves[1]), Distance::Near(1));
    }

    #[test]
    fn what_is_no_float_is_the_same_or_not() {
        let number = |value: i64| value.to_le_bytes();
        assert_eq!(distance(Datatype::Int64, &number(3), &number(4)), Distance::Far);
        assert_eq!(distance(Datatype::Bytes, b"\x01\0\0\0a", b"\x02\0\0\0aa"), Distance::Far);
        let json = |text: &str| {
            let mut data = vec![];
            crate::tensor::push_byte_element(&mut data, text.as_bytes());
            data
        };
        let of = |one: &str, other: &str| distance(Datatype::Json, &json(one), &json(other));
        assert_eq!(of("{\"a\": [0.5]}", "{\"a\":[0.5]}"), Distance::Same);
        assert_eq!(of("{\"a\":0.3}", "{\"a\":0.30000000000000004}"), Distance::Near(1));
        assert_eq!(of("{\"a\":1}", "{\"b\":1}"), Distance::Far);
        assert_eq!(of("[1]", "[2]"), Distance::Far);
    }
}
