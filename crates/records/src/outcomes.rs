//! A column as values that can be compared.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType};
use domain::outcome::{Outcome, OutcomeError};
use serde_json::Value;

/// A column in one of the types that values have.
pub enum Outcomes {
    /// Of `Boolean`.
    Bools(ArrayRef),
    /// Of `Int64`.
    Integers(ArrayRef),
    /// Of `Float64`.
    Numbers(ArrayRef),
    /// Of `Utf8`.
    Texts(ArrayRef),
    /// Lists, and their elements.
    Lists(ArrayRef, Box<Outcomes>),
}

impl Outcomes {
    /// Reads a column of whatever type.
    pub fn new(column: &ArrayRef) -> Result<Outcomes, ArrowError> {
        use DataType::*;
        Ok(match column.data_type() {
            Boolean => Outcomes::Bools(column.clone()),
            Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 => {
                Outcomes::Integers(cast(column, &Int64)?)
            }
            UInt64 | Float16 | Float32 | Float64 | Decimal128(..) | Decimal256(..) => {
                Outcomes::Numbers(cast(column, &Float64)?)
            }
            List(_) => {
                let elements = Outcomes::new(column.as_list::<i32>().values())?;
                Outcomes::Lists(column.clone(), Box::new(elements))
            }
            _ => Outcomes::Texts(cast(column, &Utf8)?),
        })
    }

    fn array(&self) -> &ArrayRef {
        match self {
            Outcomes::Bools(array)
            | Outcomes::Integers(array)
            | Outcomes::Numbers(array)
            | Outcomes::Texts(array)
            | Outcomes::Lists(array, _) => array,
        }
    }

    /// The value of a row as JSON, lists as lists; `None` where there is none, or it is no finite
    /// number.
    pub fn json(&self, row: usize) -> Option<Value> {
        match self {
            Outcomes::Lists(array, elements) if array.is_valid(row) => {
                let ends = array.as_list::<i32>().value_offsets();
                let rows = ends[row] as usize..ends[row + 1] as usize;
                Some(rows.map(|at| elements.json(at).unwrap_or(Value::Null)).collect())
            }
            Outcomes::Lists(..) => None,
            Outcomes::Texts(array) if array.is_valid(row) => {
                Some(Value::from(array.as_string::<i32>().value(row)))
            }
            _ => serde_json::to_value(self.get(row)?.ok()?).ok(),
        }
    }

    /// One element of a row's list, if it has one.
    pub fn element(&self, row: usize, at: usize) -> Option<Result<Outcome, OutcomeError>> {
        let Outcomes::Lists(array, elements) = self else { return None };
        let ends = array.as_list::<i32>().value_offsets();
        let (start, end) = (ends[row] as usize, ends[row + 1] as usize);
        elements.get(Some(start + at).filter(|at| *at < end)?)
    }

    /// The value of a row, if it has one; NaN is none. A list of one is that one; of several numbers,
    /// such as the probabilities of classes, it is the place of the greatest.
    pub fn get(&self, row: usize) -> Option<Result<Outcome, OutcomeError>> {
        if self.array().is_null(row) {
            return None;
        }
        Some(match self {
            Outcomes::Bools(array) => Ok(Outcome::Bool(array.as_boolean().value(row))),
            Outcomes::Integers(array) => {
                Ok(Outcome::Integer(array.as_primitive::<Int64Type>().value(row)))
            }
            Outcomes::Numbers(array) => match array.as_primitive::<Float64Type>().value(row) {
                number if number.is_nan() => return None,
                number => Outcome::finite(number),
            },
            Outcomes::Texts(array) => {
                Ok(Outcome::Text(array.as_string::<i32>().value(row).to_string()))
            }
            Outcomes::Lists(array, elements) => {
                let ends = array.as_list::<i32>().value_offsets();
                let (start, end) = (ends[row] as usize, ends[row + 1] as usize);
                if end - start == 1 {
                    return elements.get(start);
                }
                let number = |at: usize| elements.get(at)?.ok()?.number();
                let greatest = (start..end).filter_map(|at| Some((at, number(at)?)));
                let (at, _) = greatest.reduce(|a, b| if b.1 > a.1 { b } else { a })?;
                Ok(Outcome::Integer((at - start) as i64))
            }
        })
    }
}

/// An output as it is compared: as `leave`, or `probability[1]` for one element of a list.
pub fn element_of(output: &str) -> (&str, Option<usize>) {
    let split = output.strip_suffix(']').and_then(|text| text.rsplit_once('['));
    match split.map(|(name, at)| (name, at.parse())) {
        Some((name, Ok(at))) => (name, Some(at)),
        _ => (output, None),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::Float32Type;
    use arrow_array::{Float64Array, ListArray, StringArray};

    use super::*;

    #[test]
    fn probabilities_of_classes_are_the_likeliest_class() {
        let lists: ListArray = ListArray::from_iter_primitive::<Float32Type, _, _>([
            Some(vec![Some(0.2), Some(0.7), Some(0.1)]),
            None,
            Some(vec![Some(0.5)]),
            Some(vec![]),
        ]);
        let column: ArrayRef = Arc::new(lists);
        let outcomes = Outcomes::new(&column).unwrap();
        assert_eq!(outcomes.get(0), Some(Ok(Outcome::Integer(1))));
        assert_eq!(outcomes.get(1), None);
        assert_eq!(outcomes.get(2), Some(Ok(Outcome::Number(0.5))));
        assert_eq!(outcomes.get(3), None);
        let second = outcomes.element(0, 1).unwrap().unwrap().number().unwrap();
        assert!((second - 0.7).abs() < 1e-6);
        assert_eq!((outcomes.element(0, 3), outcomes.element(3, 0)), (None, None));
        assert_eq!(element_of("probability[1]"), ("probability", Some(1)));
        assert_eq!(element_of("a[x]"), ("a[x]", None));
    }

    #[test]
    fn what_is_no_number_is_nothing() {
        let numbers: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN, f64::INFINITY, 2.5]));
        let outcomes = Outcomes::new(&numbers).unwrap();
        assert_eq!(outcomes.get(0), None);
        assert_eq!(outcomes.get(1), Some(Err(OutcomeError::Infinite)));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["cat"]));
        let outcomes = Outcomes::new(&texts).unwrap();
        assert_eq!(outcomes.get(0), Some(Ok(Outcome::Text("cat".into()))));
    }
}
