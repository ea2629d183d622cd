//! The values of an Arrow column as what is compared: numbers, texts and vectors.

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, OffsetSizeTrait};
use arrow_schema::DataType;

use super::Values;

/// Of any column.
pub(super) fn values_of(array: &ArrayRef) -> Values {
    use DataType::*;
    match array.data_type() {
        Boolean => Values::Numbers(
            array
                .as_boolean()
                .iter()
                .map(|value| value.map(|is| f64::from(u8::from(is))))
                .collect(),
        ),
        Int8 => numbers::<Int8Type>(array, f64::from),
        Int16 => numbers::<Int16Type>(array, f64::from),
        Int32 => numbers::<Int32Type>(array, f64::from),
        Int64 => numbers::<Int64Type>(array, |value| value as f64),
        UInt8 => numbers::<UInt8Type>(array, f64::from),
        UInt16 => numbers::<UInt16Type>(array, f64::from),
        UInt32 => numbers::<UInt32Type>(array, f64::from),
        UInt64 => numbers::<UInt64Type>(array, |value| value as f64),
        Float16 => numbers::<Float16Type>(array, |value| value.to_f64()),
        Float32 => numbers::<Float32Type>(array, f64::from),
        Float64 => numbers::<Float64Type>(array, |value| value),
        Decimal32(_, scale) => decimals::<Decimal32Type>(array, *scale),
        Decimal64(_, scale) => decimals::<Decimal64Type>(array, *scale),
        Decimal128(_, scale) => decimals::<Decimal128Type>(array, *scale),
        Decimal256(_, scale) => decimals::<Decimal256Type>(array, *scale),
        Utf8 => Values::Texts(
            array.as_string::<i32>().iter().map(|text| text.map(String::from)).collect(),
        ),
        LargeUtf8 => Values::Texts(
            array.as_string::<i64>().iter().map(|text| text.map(String::from)).collect(),
        ),
        Utf8View => Values::Texts(
            array.as_string_view().iter().map(|text| text.map(String::from)).collect(),
        ),
        Null => Values::Numbers(vec![None; array.len()]),
        Dictionary(..) => dictionary(array),
        List(_) => list::<i32>(array),
        LargeList(_) => list::<i64>(array),
        FixedSizeList(..) => {
            let lists = array.as_fixed_size_list();
            vectors(
                array,
                (0..lists.len()).map(|row| lists.is_valid(row).then(|| lists.value(row))),
            )
        }
        _ => other(array),
    }
}

fn other(array: &ArrayRef) -> Values {
    let kind: String = array.data_type().to_string().chars().take(80).collect();
    Values::Others(array.len(), kind)
}

fn numbers<T: ArrowPrimitiveType>(array: &ArrayRef, number: impl Fn(T::Native) -> f64) -> Values {
    let values = array.as_primitive::<T>().iter();
    Values::Numbers(values.map(|value| value.map(&number)).collect())
}

fn decimals<T: ArrowPrimitiveType>(array: &ArrayRef, scale: i8) -> Values
where
    T::Native: ToString,
{
    // By way of the text, a decimal is the float that its digits are read as.
    let exponent = -i32::from(scale);
    numbers_of(array.as_primitive::<T>().iter().map(|value| {
        value.and_then(|value| format!("{}e{exponent}", value.to_string()).parse().ok())
    }))
}

fn numbers_of(values: impl Iterator<Item = Option<f64>>) -> Values {
    Values::Numbers(values.collect())
}

fn dictionary(array: &ArrayRef) -> Values {
    let dictionary = array.as_any_dictionary();
    if dictionary.values().is_empty() {
        return Values::Texts(vec![None; array.len()]);
    }
    let keys = dictionary.normalized_keys();
    let places = (0..array.len()).map(|row| array.is_valid(row).then(|| keys[row]));
    match values_of(dictionary.values()) {
        Values::Numbers(all) => numbers_of(places.map(|place| all.get(place?).copied().flatten())),
        Values::Texts(all) => Values::Texts(places.map(|place| all.get(place?)?.clone()).collect()),
        Values::Vectors(_) | Values::Others(..) => other(array),
    }
}

fn list<O: OffsetSizeTrait>(array: &ArrayRef) -> Values {
    let lists = array.as_list::<O>();
    vectors(array, (0..lists.len()).map(|row| lists.is_valid(row).then(|| lists.value(row))))
}

/// Of lists of numbers; a missing element is no number.
fn vectors(array: &ArrayRef, rows: impl Iterator<Item = Option<ArrayRef>>) -> Values {
    let mut all = vec![];
    for row in rows {
        match row.as_ref().map(values_of) {
            None => all.push(None),
            Some(Values::Numbers(numbers)) => {
                all.push(Some(
                    numbers.into_iter().map(|number| number.unwrap_or(f64::NAN)).collect(),
                ));
            }
            // Lists of lists: a matrix is the vector of its rows.
            Some(Values::Vectors(rows)) => {
                all.push(Some(rows.into_iter().flatten().flatten().collect()));
            }
            Some(Values::Texts(_) | Values::Others(..)) => return other(array),
        }
    }
    Values::Vectors(all)
}
