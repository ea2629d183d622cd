//! What a model answers now, beside what its record says that it answered then.

use std::collections::BTreeSet;

use domain::{Datatype, Distance};
use protocol::element::write_json;
use protocol::tensor::{byte_elements, elements};
use protocol::{Tensor, exact};
use serde_json::Value as Json;

use super::PastRequest;
use super::payload::{Value, value};
use crate::columns::OUTPUT;

/// Elements of a list that a difference shows.
const SHOWN_MAX: usize = 8;
/// What the name of a tensor ends with that says which rows of another are there.
const VALID: &str = ":valid";

/// A value that is not what it was.
#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    /// The output.
    pub column: String,
    /// Of the request's rows, from 0.
    pub row: usize,
    /// How far.
    pub distance: Distance,
    /// As it was recorded; `null` if it was missing.
    pub before: Json,
    /// As it is now.
    pub after: Json,
}

/// All of an answer, compared.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Compared {
    /// What differs.
    pub differences: Vec<Difference>,
    /// Outputs that could not be compared, as their values are not recorded.
    pub left_out: BTreeSet<String>,
    /// How many outputs were compared.
    pub columns: usize,
}

impl Compared {
    /// The largest distance.
    pub fn distance(&self) -> Distance {
        self.differences.iter().map(|it| it.distance).max().unwrap_or(Distance::Same)
    }
}

/// A row of an output, as a record has it.
enum Recorded {
    /// No column has it.
    Nowhere,
    Null,
    Value(Value),
    /// As another type.
    Other(String),
}

impl PastRequest {
    /// Compares an answer to all rows of the request, as tensors with a leading dimension. Outputs
    /// for which `is_redacted` are left out.
    pub fn compare(&self, answer: &[Tensor], is_redacted: impl Fn(&str) -> bool) -> Compared {
        let mut compared = Compared::default();
        let names: Vec<&str> = answer.iter().map(|tensor| tensor.name.as_str()).collect();
        for tensor in answer {
            let of = tensor.name.strip_suffix(VALID);
            if of.is_some_and(|of| tensor.datatype == Datatype::Bool && names.contains(&of)) {
                continue;
            }
            if is_redacted(&tensor.name) {
                compared.left_out.insert(tensor.name.clone());
                continue;
            }
            let valid = answer.iter().find(|it| it.name.strip_suffix(VALID) == Some(&tensor.name));
            self.column(tensor, valid.map(|valid| &valid.data[..]), &mut compared);
        }
        for gone in self.outputs().filter(|name| !names.contains(&name.as_str())) {
            if is_redacted(&gone) {
                compared.left_out.insert(gone);
            } else if let Some(before) = self.any_value(&gone) {
                compared.differences.push(Difference {
                    column: gone,
                    row: 0,
                    distance: Distance::Far,
                    before,
                    after: Json::Null,
                });
            }
        }
        compared
    }

    fn column(&self, tensor: &Tensor, valid: Option<&[u8]>, compared: &mut Compared) {
        let (Some((_, shape)), datatype) = (tensor.shape.split_first(), tensor.datatype) else {
            return;
        };
        let rows: Vec<&[u8]> = protocol::record::row_bytes(
            datatype,
            elements(shape).unwrap_or(0),
            self.rows,
            &tensor.data,
        )
        .collect();
        let recorded: Vec<Recorded> =
            (0..self.kept.len()).map(|row| self.recorded(&tensor.name, datatype, row)).collect();
        if recorded.iter().all(|it| matches!(it, Recorded::Nowhere)) {
            compared.left_out.insert(tensor.name.clone());
            return;
        }
        compared.columns += 1;
        for (row, before) in recorded.iter().enumerate() {
            let is_there = valid.is_none_or(|valid| valid.get(row) != Some(&0));
            let now = rows.get(row).copied().filter(|_| is_there);
            let distance = match (before, now) {
                (Recorded::Null, None) => Distance::Same,
                (Recorded::Value(value), Some(now)) if value.shape == shape => {
                    exact::distance(datatype, &value.data, now)
                }
                _ => Distance::Far,
            };
            if distance != Distance::Same {
                compared.differences.push(Difference {
                    column: tensor.name.clone(),
                    row,
                    distance,
                    before: match before {
                        Recorded::Value(value) => shown(datatype, &value.shape, &value.data),
                        Recorded::Other(text) => Json::String(text.clone()),
                        Recorded::Null | Recorded::Nowhere => Json::Null,
                    },
                    after: now.map_or(Json::Null, |now| shown(datatype, shape, now)),
                });
            }
        }
    }

    /// Another type under the same name has a column of its own.
    fn recorded(&self, output: &str, datatype: Datatype, row: usize) -> Recorded {
        let Some((batch, at)) = self.kept.get(row) else { return Recorded::Nowhere };
        let name = format!("{OUTPUT}{output}");
        let mut found = Recorded::Nowhere;
        for name in [name.clone(), format!("{name}:{datatype}"), format!("{name}:{datatype}[]")] {
            let Some(array) = batch.column_by_name(&name) else { continue };
            match value(batch, &name, array, *at, datatype) {
                Ok(Some(value)) => return Recorded::Value(value),
                Ok(None) if matches!(found, Recorded::Nowhere) => found = Recorded::Null,
                Ok(None) => {}
                Err(reason) => found = Recorded::Other(reason),
            }
        }
        found
    }

    /// The outputs that its record has columns for.
    fn outputs(&self) -> impl Iterator<Item = String> {
        let batch = self.kept.first().map(|(batch, _)| batch.clone());
        let names = batch.map(|batch| batch.schema().fields().clone());
        let names: Vec<String> = names
            .iter()
            .flat_map(|fields| fields.iter())
            .filter_map(|field| field.name().strip_prefix(OUTPUT))
            .filter(|name| !name.contains(':'))
            .map(String::from)
            .collect();
        names.into_iter()
    }

    /// The text of a value that a column has in some row.
    fn any_value(&self, output: &str) -> Option<Json> {
        let name = format!("{OUTPUT}{output}");
        let has = self.kept.iter().any(|(batch, row)| {
            use arrow_array::Array;
            batch.column_by_name(&name).is_some_and(|array| array.is_valid(*row))
        });
        has.then(|| Json::String("a value".into()))
    }
}

/// A value as JSON; of a long list the beginning.
fn shown(datatype: Datatype, shape: &[usize], data: &[u8]) -> Json {
    let one = |element: &[u8]| {
        let mut text = vec![];
        write_json(datatype, element, &mut text);
        match serde_json::from_slice(&text) {
            // What is no finite number has no form in JSON.
            Ok(Json::Null) if datatype.size().is_some() => {
                Json::String(protocol::element::number(datatype, element).to_string())
            }
            Ok(value) => value,
            Err(_) => Json::Null,
        }
    };
    let mut shown: Vec<Json> = match datatype.size() {
        Some(size) => data.chunks_exact(size).take(SHOWN_MAX).map(one).collect(),
        None => byte_elements(data).take(SHOWN_MAX).map(one).collect(),
    };
    if shape.is_empty() {
        return shown.pop().unwrap_or(Json::Null);
    }
    if elements(shape).unwrap_or(0) > SHOWN_MAX {
        shown.push(Json::String("…".into()));
    }
    Json::Array(shown)
}
