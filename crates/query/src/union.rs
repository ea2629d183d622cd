//! The columns of the table `records`: those of all its files, by name. Files of different versions
//! have different inputs and outputs; where one has two types, there is one that holds both.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use records::columns::fixed;

use crate::known::KnownFile;
use crate::names::other_name;

/// The columns of the table.
#[derive(Clone, Debug)]
pub struct Columns {
    /// Those that are in files.
    pub stored: SchemaRef,
    /// These, and after them those that are another name of one: `city` for `in.city`.
    pub all: SchemaRef,
    /// Of the latter, in their order, which of `stored` each is.
    pub other_names: Vec<usize>,
}

impl Columns {
    /// Of some files.
    pub fn of(files: &[Arc<KnownFile>]) -> Columns {
        let mut fields: Vec<FieldRef> = fixed();
        let mut places: HashMap<String, usize> = HashMap::new();
        for (place, field) in fields.iter().enumerate() {
            places.insert(field.name().clone(), place);
        }
        let fixed_count = fields.len();
        let mut seen: HashSet<*const Schema> = HashSet::new();
        for file in files {
            if !seen.insert(Arc::as_ptr(&file.schema)) {
                continue;
            }
            for field in file.schema.fields() {
                let datatype = readable(field.data_type());
                match places.get(field.name()) {
                    Some(place) if *place < fixed_count => {}
                    Some(place) => {
                        let common = common(fields[*place].data_type(), &datatype);
                        if common != *fields[*place].data_type() {
                            fields[*place] = Arc::new(Field::new(field.name(), common, true));
                        }
                    }
                    None => {
                        places.insert(field.name().clone(), fields.len());
                        fields.push(Arc::new(Field::new(field.name(), datatype, true)));
                    }
                }
            }
        }
        let stored = Arc::new(Schema::new(fields.clone()));
        let other_names = other_names(&fields, &places);
        for place in &other_names {
            let field = &fields[*place];
            let name = other_name(field.name()).unwrap_or_default();
            fields.push(Arc::new(Field::new(name, field.data_type().clone(), true)));
        }
        Columns { stored, all: Arc::new(Schema::new(fields)), other_names }
    }

    /// Which of `stored` a column of `all` is.
    pub fn stored_place(&self, place: usize) -> usize {
        match place.checked_sub(self.stored.fields().len()) {
            None => place,
            Some(other) => self.other_names.get(other).copied().unwrap_or_default(),
        }
    }
}

fn other_names(fields: &[FieldRef], places: &HashMap<String, usize>) -> Vec<usize> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for name in fields.iter().filter_map(|field| other_name(field.name())) {
        *counts.entry(name).or_default() += 1;
    }
    let is_other = |field: &FieldRef| {
        other_name(field.name()).is_some_and(|name| {
            counts.get(name) == Some(&1) && !places.contains_key(name) && !name.contains(':')
        })
    };
    (0..fields.len()).filter(|place| is_other(&fields[*place])).collect()
}

/// As it is computed with: few functions know 16 bits.
fn readable(datatype: &DataType) -> DataType {
    match datatype {
        DataType::Float16 => DataType::Float32,
        DataType::List(item) => DataType::new_list(readable(item.data_type()), true),
        other => other.clone(),
    }
}

/// The type of what is of one type here and of another there.
fn common(one: &DataType, other: &DataType) -> DataType {
    use DataType::{Binary, Float64, List, Utf8};
    if one == other {
        return one.clone();
    }
    match (one, other) {
        (Binary, Utf8) | (Utf8, Binary) => Binary,
        (List(one), List(other)) => {
            DataType::new_list(common(one.data_type(), other.data_type()), true)
        }
        _ if one.is_integer() && other.is_integer() => common_integer(one, other),
        _ if one.is_numeric() && other.is_numeric() => Float64,
        _ => Utf8,
    }
}

fn common_integer(one: &DataType, other: &DataType) -> DataType {
    let width = |datatype: &DataType| datatype.primitive_width().unwrap_or(8);
    let wider = width(one).max(width(other));
    match (one.is_signed_integer(), other.is_signed_integer()) {
        (true, true) => integer(wider),
        (false, false) => {
            if width(one) > width(other) {
                one.clone()
            } else {
                other.clone()
            }
        }
        (is_signed, _) => {
            let unsigned = if is_signed { width(other) } else { width(one) };
            match unsigned {
                8 => DataType::Float64,
                unsigned => integer(wider.max(2 * unsigned)),
            }
        }
    }
}

fn integer(width: usize) -> DataType {
    match width {
        1 => DataType::Int8,
        2 => DataType::Int16,
        4 => DataType::Int32,
        _ => DataType::Int64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DataType::*;

    #[test]
    fn two_types_have_one_that_holds_both() {
        for (one, other, expected) in [
            (Int8, Int64, Int64),
            (Int32, UInt8, Int32),
            (Int32, UInt32, Int64),
            (UInt8, UInt16, UInt16),
            (UInt64, Int64, Float64),
            (Float32, Int64, Float64),
            (Boolean, Int64, Utf8),
            (Utf8, Binary, Binary),
            (Utf8, Float64, Utf8),
            (
                DataType::new_list(Float32, true),
                DataType::new_list(Int8, true),
                DataType::new_list(Float64, true),
            ),
            (DataType::new_list(Float32, true), Float32, Utf8),
        ] {
            assert_eq!(common(&one, &other), expected, "{one} {other}");
            assert_eq!(common(&other, &one), expected, "{other} {one}");
        }
    }
}
