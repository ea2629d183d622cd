//! The rows of several parts as tensors, for a caller who sent rows together that the model
//! answered differently.

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;
use domain::{Code, Datatype, Problem};

use super::Answer;
use super::column::{AnswerColumn, validity};
use super::part::Part;
use crate::payload::push_null;
use crate::tensor::{Tensor, byte_elements, push_byte_element};

/// The most cells (columns times rows) that are made up of parts with different columns.
const CELLS_MAX: usize = 1 << 22;

/// A column in the parts that have it, by the place of each among the pieces.
type Found<'p> = Vec<(usize, &'p AnswerColumn)>;

impl Answer {
    /// Answers to rows that were asked for one after the other, as one answer to all of them.
    pub fn joined(answers: impl IntoIterator<Item = Answer>) -> Answer {
        let mut whole = Answer { rows: 0, parts: vec![], failures: vec![] };
        for Answer { rows, parts, failures } in answers {
            let behind = |range: Range<usize>| whole.rows + range.start..whole.rows + range.end;
            whole.parts.extend(
                parts
                    .into_iter()
                    .map(|part| Part { rows: behind(part.rows), columns: part.columns }),
            );
            whole
                .failures
                .extend(failures.into_iter().map(|(range, problem)| (behind(range), problem)));
            whole.rows += rows;
        }
        whole
    }
}

/// Tensors of all pieces, one behind the other: rows of parts, by each one's own count.
pub(super) fn tensors(pieces: &[(&Part, Range<usize>)]) -> Result<Vec<Tensor>, Problem> {
    let rows: usize = pieces.iter().map(|(_, range)| range.len()).sum();
    let mut names: Vec<&str> = vec![];
    let mut by_name: HashMap<&str, Found> = HashMap::new();
    for (at, (part, _)) in pieces.iter().enumerate() {
        for column in &part.columns {
            let found = by_name.entry(&column.name).or_insert_with(|| {
                names.push(&column.name);
                vec![]
            });
            found.push((at, column));
        }
    }
    if names.len().saturating_mul(rows) > CELLS_MAX {
        let text =
            format!("{rows} rows have {} columns among them, too many for tensors", names.len());
        return Err(Problem::new(Code::BadOutput, text)
            .help("send fewer rows in a request, or ask in simple JSON"));
    }
    let mut tensors = Vec::with_capacity(names.len());
    for name in names {
        let found = by_name.get(name).map(Vec::as_slice).unwrap_or_default();
        match alike(found, pieces) {
            Some(typed) => tensors.extend(typed_column(name, found, typed, pieces, rows)),
            None => tensors.push(json_column(name, found, pieces, rows)),
        }
    }
    Ok(tensors)
}

/// The first of the columns that are not null throughout, if all of these have the same type and
/// shape.
fn alike<'p>(
    found: &[(usize, &'p AnswerColumn)],
    pieces: &[(&Part, Range<usize>)],
) -> Option<&'p AnswerColumn> {
    let mut typed = found
        .iter()
        .filter(|(at, column)| !column.is_null(pieces[*at].1.clone()))
        .map(|(_, column)| *column);
    let first = typed.next()?;
    typed
        .all(|column| column.datatype == first.datatype && column.shape == first.shape)
        .then_some(first)
}

fn typed_column(
    name: &str,
    found: &[(usize, &AnswerColumn)],
    typed: &AnswerColumn,
    pieces: &[(&Part, Range<usize>)],
    rows: usize,
) -> Vec<Tensor> {
    let (mut data, mut valid) = (vec![], Vec::with_capacity(rows));
    let mut found = found.iter().peekable();
    for (at, (_, range)) in pieces.iter().enumerate() {
        match found.next_if(|(place, _)| *place == at) {
            Some((_, column)) if !column.is_null(range.clone()) => {
                data.extend_from_slice(&column.slice(range.clone()));
                match &column.valid {
                    Some(own) => valid.extend_from_slice(&own[range.clone()]),
                    None => valid.resize(valid.len() + range.len(), 1),
                }
            }
            _ => {
                range.clone().for_each(|_| push_null(typed.datatype, &typed.shape, &mut data));
                valid.resize(valid.len() + range.len(), 0);
            }
        }
    }
    let shape = std::iter::once(rows).chain(typed.shape.iter().copied()).collect();
    let has_nulls = valid.contains(&0) || typed.valid.is_some();
    let tensor =
        Tensor { name: name.into(), datatype: typed.datatype, shape, data: Bytes::from(data) };
    let valid =
        (has_nulls && typed.datatype != Datatype::Json).then(|| validity(name, Bytes::from(valid)));
    [Some(tensor), valid].into_iter().flatten().collect()
}

fn json_column(
    name: &str,
    found: &[(usize, &AnswerColumn)],
    pieces: &[(&Part, Range<usize>)],
    rows: usize,
) -> Tensor {
    let (mut data, mut text) = (vec![], vec![]);
    let mut found = found.iter().peekable();
    for (at, (_, range)) in pieces.iter().enumerate() {
        let column = found.next_if(|(place, _)| *place == at);
        for row in range.clone() {
            text.clear();
            match column {
                Some((_, column)) => column.write_row(row, &mut text),
                None => text.extend_from_slice(b"null"),
            }
            push_byte_element(&mut data, &text);
        }
    }
    Tensor {
        name: name.into(),
        datatype: Datatype::Json,
        shape: vec![rows],
        data: Bytes::from(data),
    }
}

impl AnswerColumn {
    /// Whether none of these rows has a value.
    fn is_null(&self, range: Range<usize>) -> bool {
        let is_json = self.datatype == Datatype::Json && self.shape.is_empty();
        is_json
            && byte_elements(&self.data[self.byte_range(range)]).all(|element| element == b"null")
    }
}
