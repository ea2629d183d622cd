//! What the tensors of an answer are, given what the schema says of them.

use domain::Datatype;
use domain::schema::Column;
use serde_json::value::RawValue;

use crate::cells::{Allowance, CellsBuilder};
use crate::columns::{ColumnIndex, Named};
use crate::fault::WorkerFault;
use crate::limits::{VALUE_SHOWN_CHARS_MAX, cut, shown_name};
use crate::payload::{expected, shape_fits};
use crate::tensor::{Tensor, byte_elements};

/// What the name of a tensor ends with that says which rows of another are there.
const VALID: &str = ":valid";

/// Whether a tensor has the form of one that says which rows of another are there.
pub(super) fn is_validity(tensor: &Tensor) -> bool {
    tensor.datatype == Datatype::Bool && tensor.shape.len() == 1 && tensor.name.ends_with(VALID)
}

/// The column that each of them is about, if there is one.
pub(super) fn owners(
    validities: Vec<Tensor>,
    columns: &[impl Named],
) -> Vec<(Tensor, Option<usize>)> {
    let index = ColumnIndex::new(columns);
    let owner = |tensor: &Tensor| index.find(tensor.name.strip_suffix(VALID)?, usize::MAX);
    validities
        .into_iter()
        .map(|tensor| (owner(&tensor), tensor))
        .map(|(owner, tensor)| (tensor, owner))
        .collect()
}

/// What a tensor is, given what the schema says of it. A number may be of another numeric datatype
/// than declared, and the answer says which; rows that found no common form may come as JSON, each
/// of which must fit. A row of the shape `[1]` is a scalar where one is declared.
pub(super) fn as_declared(
    column: &Column,
    tensor: &Tensor,
    shape: &mut Vec<usize>,
) -> Result<Datatype, WorkerFault> {
    let name = shown_name(&column.name);
    let is_number = |datatype: Datatype| datatype.size().is_some() && datatype != Datatype::Bool;
    if tensor.datatype == Datatype::Json && column.datatype != Datatype::Json {
        return match byte_elements(&tensor.data).find(|element| !json_fits(column, element)) {
            None => Ok(Datatype::Json),
            Some(element) => {
                let got = cut(&String::from_utf8_lossy(element), VALUE_SHOWN_CHARS_MAX);
                Err(WorkerFault::output(format!(
                    "the output `{name}` must be {}, got {got}",
                    expected(column)
                )))
            }
        };
    }
    let same = column.datatype.wire_name() == tensor.datatype.wire_name();
    let both_numbers = is_number(column.datatype) && is_number(tensor.datatype);
    if !same && !both_numbers {
        let text =
            format!("the output `{name}` must be {}, got {}", column.datatype, tensor.datatype);
        return Err(WorkerFault::output(text));
    }
    if column.shape.as_deref() == Some(&[]) && *shape == [1] {
        shape.clear();
    }
    if !shape_fits(column, shape) {
        let wanted = column.shape.as_deref().unwrap_or_default();
        let text = format!(
            "the rows of the output `{name}` must have the shape {wanted:?}, got {shape:?}"
        );
        return Err(WorkerFault::output(text));
    }
    Ok(if same { column.datatype } else { tensor.datatype })
}

/// Whether a row that came as JSON is a value of the column, or missing.
fn json_fits(column: &Column, element: &[u8]) -> bool {
    let Ok(raw) = serde_json::from_slice::<&RawValue>(element) else { return false };
    let allowance = Allowance::new(element.len());
    raw.get() == "null" || CellsBuilder::new(column, 1, &allowance).push_raw(raw)
}
