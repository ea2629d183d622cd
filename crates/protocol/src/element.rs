//! One element between JSON and little-endian bytes: the rules of each datatype in one place.

use bytes::Bytes;
use domain::{Column, Datatype};
use half::{bf16, f16};

use crate::encoded::{push_decoded, write_bytes};
use crate::tensor::push_byte_element;

/// The largest integer up to which every whole number is a float.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// A JSON scalar, borrowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// `true`, `false`
    Bool(bool),
    /// A negative whole number.
    Signed(i64),
    /// A whole number of at least 0.
    Unsigned(u64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(&'a str),
    /// Bytes, in base64.
    Base64(&'a str),
    /// Bytes, which JSON has no scalar for.
    Bytes(&'a [u8]),
}

/// Appends the scalar as one element; `false` if it is not a value of the datatype. Whole floats
/// count as integers up to 2^53, integers count as floats; text is never taken for a number, and a
/// number beyond the range of a float never becomes an infinity.
pub fn push(datatype: Datatype, scalar: Scalar<'_>, data: &mut Vec<u8>) -> bool {
    use Datatype::*;
    match datatype {
        Bool => match scalar {
            Scalar::Bool(value) => data.push(value as u8),
            _ => return false,
        },
        Int8 | Int16 | Int32 | Int64 | Uint8 | Uint16 | Uint32 | Uint64 => {
            let Some(value) = whole(scalar) else { return false };
            return push_integer(datatype, value, data);
        }
        Fp16 | Fp32 | Fp64 | Bf16 => {
            let value = match scalar {
                Scalar::Float(value) => value,
                Scalar::Signed(value) => value as f64,
                Scalar::Unsigned(value) => value as f64,
                _ => return false,
            };
            match datatype {
                Fp64 => data.extend_from_slice(&value.to_le_bytes()),
                Fp32 if is_within(value, (value as f32).into()) => {
                    data.extend_from_slice(&(value as f32).to_le_bytes())
                }
                Fp16 if is_within(value, f16::from_f64(value).into()) => {
                    data.extend_from_slice(&f16::from_f64(value).to_le_bytes())
                }
                Bf16 if is_within(value, bf16::from_f64(value).into()) => {
                    data.extend_from_slice(&bf16::from_f64(value).to_le_bytes())
                }
                _ => return false,
            }
        }
        Bytes => match scalar {
            Scalar::Text(text) => push_byte_element(data, text.as_bytes()),
            Scalar::Bytes(bytes) => push_byte_element(data, bytes),
            Scalar::Base64(text) => return push_decoded(text, data),
            _ => return false,
        },
        Timestamp => match scalar {
            Scalar::Text(text) if is_timestamp(text.as_bytes()) => {
                push_byte_element(data, text.as_bytes())
            }
            _ => return false,
        },
        Json => return false,
    }
    true
}

/// A scalar as a column takes it: `true` and `false` are numbers where it does not tell which of
/// the two it was trained on.
pub fn taken<'a>(column: &Column, scalar: Scalar<'a>) -> Scalar<'a> {
    match scalar {
        Scalar::Bool(truth) if column.booleans => Scalar::Unsigned(truth.into()),
        other => other,
    }
}

/// Elements of BOOL as a column of another datatype [takes](taken) them; `None` if it does not.
pub fn taken_truths(column: &Column, truths: &[u8]) -> Option<Bytes> {
    let mut data = vec![];
    let taken =
        |truth: &u8| push(column.datatype, taken(column, Scalar::Bool(*truth != 0)), &mut data);
    truths.iter().all(taken).then(|| Bytes::from(data))
}

/// Whether a number is still one when it is rounded to a smaller type, and not an infinity.
fn is_within(value: f64, rounded: f64) -> bool {
    rounded.is_finite() || !value.is_finite()
}

fn whole(scalar: Scalar<'_>) -> Option<i128> {
    match scalar {
        Scalar::Signed(value) => Some(value.into()),
        Scalar::Unsigned(value) => Some(value.into()),
        Scalar::Float(value) if value.fract() == 0.0 && value.abs() <= EXACT_MAX => {
            Some(value as i128)
        }
        _ => None,
    }
}

fn push_integer(datatype: Datatype, value: i128, data: &mut Vec<u8>) -> bool {
    macro_rules! push {
        ($type:ty) => {
            match <$type>::try_from(value) {
                Ok(value) => data.extend_from_slice(&value.to_le_bytes()),
                Err(_) => return false,
            }
        };
    }
    match datatype {
        Datatype::Int8 => push!(i8),
        Datatype::Int16 => push!(i16),
        Datatype::Int32 => push!(i32),
        Datatype::Int64 => push!(i64),
        Datatype::Uint8 => push!(u8),
        Datatype::Uint16 => push!(u16),
        Datatype::Uint32 => push!(u32),
        Datatype::Uint64 => push!(u64),
        _ => return false,
    }
    true
}

/// Whether the text has the form of RFC 3339: `2026-11-23T08:00:00Z`, with a fraction or an offset
/// if need be.
pub fn is_timestamp(text: &[u8]) -> bool {
    let digits = |range: std::ops::Range<usize>| {
        text.get(range).is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    let mark = |at: usize, allowed: &[u8]| text.get(at).is_some_and(|c| allowed.contains(c));
    let date = digits(0..4)
        && mark(4, b"-")
        && digits(5..7)
        && mark(7, b"-")
        && digits(8..10)
        && mark(10, b"Tt ");
    let time =
        digits(11..13) && mark(13, b":") && digits(14..16) && mark(16, b":") && digits(17..19);
    if !date || !time {
        return false;
    }
    let mut at = 19;
    if mark(at, b".") {
        at += 1;
        let start = at;
        while text.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        if at == start {
            return false;
        }
    }
    let zulu = mark(at, b"Zz") && text.len() == at + 1;
    let offset = mark(at, b"+-")
        && digits(at + 1..at + 3)
        && mark(at + 3, b":")
        && digits(at + 4..at + 6)
        && text.len() == at + 6;
    zulu || offset
}

/// Writes one element of a fixed size as JSON; a float that is not finite becomes `null`.
/// The slice has the datatype's size; a shorter one writes `null`.
pub fn write_json(datatype: Datatype, bytes: &[u8], out: &mut Vec<u8>) {
    use Datatype::*;
    macro_rules! integer {
        ($type:ty) => {
            match bytes.try_into() {
                Ok(raw) => out.extend_from_slice(
                    itoa::Buffer::new().format(<$type>::from_le_bytes(raw)).as_bytes(),
                ),
                Err(_) => out.extend_from_slice(b"null"),
            }
        };
    }
    macro_rules! float {
        ($type:ty, $into:ty) => {
            match bytes.try_into() {
                Ok(raw) => write_float::<$into>(<$type>::from_le_bytes(raw).into(), out),
                Err(_) => out.extend_from_slice(b"null"),
            }
        };
    }
    match datatype {
        Bool => out.extend_from_slice(if bytes == [0] { b"false" } else { b"true" }),
        Int8 => integer!(i8),
        Int16 => integer!(i16),
        Int32 => integer!(i32),
        Int64 => integer!(i64),
        Uint8 => integer!(u8),
        Uint16 => integer!(u16),
        Uint32 => integer!(u32),
        Uint64 => integer!(u64),
        Fp16 => float!(f16, f32),
        Bf16 => float!(bf16, f32),
        Fp32 => float!(f32, f32),
        Fp64 => float!(f64, f64),
        Json => write_raw_json(bytes, out),
        Bytes | Timestamp => write_bytes(bytes, out),
    }
}

/// One element of a fixed size as a number; a bool is 0 or 1.
pub fn number(datatype: Datatype, bytes: &[u8]) -> f64 {
    use Datatype::*;
    macro_rules! number {
        ($type:ty) => {
            bytes.try_into().map_or(f64::NAN, |raw| <$type>::from_le_bytes(raw) as f64)
        };
    }
    match datatype {
        Int8 => number!(i8),
        Int16 => number!(i16),
        Int32 => number!(i32),
        Int64 => number!(i64),
        Bool | Uint8 => number!(u8),
        Uint16 => number!(u16),
        Uint32 => number!(u32),
        Uint64 => number!(u64),
        Fp16 => bytes.try_into().map_or(f64::NAN, |raw| f16::from_le_bytes(raw).to_f64()),
        Bf16 => bytes.try_into().map_or(f64::NAN, |raw| bf16::from_le_bytes(raw).to_f64()),
        Fp32 => number!(f32),
        Fp64 => number!(f64),
        Json | Bytes | Timestamp => f64::NAN,
    }
}

/// Whether two numbers are the same within a tolerance, absolute or relative, whichever is larger.
/// Two that are no numbers are the same, and so are two infinities of one sign.
pub fn is_close(a: f64, b: f64, tolerance: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance.max(tolerance * a.abs())
}

fn write_float<T: serde::Serialize>(value: T, out: &mut Vec<u8>) {
    // serde_json writes the shortest form that reads back as the same number, and `null` for what
    // is not finite.
    let _ = serde_json::to_writer(out, &value);
}

/// Writes a JSON element as it is, if it is one.
fn write_raw_json(bytes: &[u8], out: &mut Vec<u8>) {
    match serde_json::from_slice::<&serde_json::value::RawValue>(bytes) {
        Ok(raw) => out.extend_from_slice(raw.get().as_bytes()),
        Err(_) => write_bytes(bytes, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_value() {
        let mut data = vec![];
        assert!(push(Datatype::Int64, Scalar::Unsigned(9_007_199_254_740_993), &mut data));
        let mut out = vec![];
        write_json(Datatype::Int64, &data, &mut out);
        assert_eq!(out, b"9007199254740993");
        assert!(push(Datatype::Int64, Scalar::Float(42.0), &mut vec![]));
        assert!(!push(Datatype::Int64, Scalar::Float(42.5), &mut vec![]));
        assert!(!push(Datatype::Uint8, Scalar::Unsigned(256), &mut vec![]));
        assert!(!push(Datatype::Int64, Scalar::Text("42"), &mut vec![]));
        assert!(!push(Datatype::Bool, Scalar::Unsigned(1), &mut vec![]));
    }

    #[test]
    fn a_number_beyond_a_smaller_float_is_refused() {
        for (datatype, last, beyond) in [
            (Datatype::Fp16, 65_504.0, 65_520.0),
            (Datatype::Bf16, 3.38e38, 3.4e38),
            (Datatype::Fp32, 3.4e38, 3.5e38),
        ] {
            for sign in [1.0, -1.0] {
                assert!(push(datatype, Scalar::Float(sign * last), &mut vec![]), "{datatype}");
                assert!(!push(datatype, Scalar::Float(sign * beyond), &mut vec![]), "{datatype}");
            }
            assert!(
                !push(datatype, Scalar::Unsigned(u64::MAX), &mut vec![])
                    == (datatype == Datatype::Fp16)
            );
        }
        assert!(push(Datatype::Fp64, Scalar::Float(1e308), &mut vec![]));
    }

    #[test]
    fn what_is_not_finite_is_null() {
        let mut out = vec![];
        write_json(Datatype::Fp64, &f64::NAN.to_le_bytes(), &mut out);
        write_json(Datatype::Fp32, &f32::INFINITY.to_le_bytes(), &mut out);
        write_json(Datatype::Fp32, &0.1f32.to_le_bytes(), &mut out);
        assert_eq!(out, b"nullnull0.1");
    }

    #[test]
    fn timestamps() {
        for good in
            ["2026-11-23T08:00:00Z", "2026-11-23t08:00:00.125+01:00", "2026-11-23 08:00:00Z"]
        {
            assert!(is_timestamp(good.as_bytes()), "{good}");
        }
        for bad in [
            "2026-11-23",
            "2026-11-23T08:00:00",
            "yesterday",
            "2026-11-23T08:00:00.Z",
            "2026-11-23T08:00:00Zz",
        ] {
            assert!(!is_timestamp(bad.as_bytes()), "{bad}");
        }
    }
}
