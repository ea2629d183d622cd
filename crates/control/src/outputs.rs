//! The outputs of a version that does not tell them: as they are seen when it is asked. They are a
//! description, for clients that ask for outputs by name, and no promise.

use std::time::{Duration, Instant};

use domain::{Code, Column, Datatype, Event, Schema};
use serde_json::Value;
use worker::Tensor;

use crate::Control;
use crate::case::Case;
use crate::company::varied_row;
use crate::failure::StepFailure;
use crate::trial::Trial;

/// Rows that are asked for.
const ROWS: usize = 4;
/// After one that takes so long no other is asked for.
const SLOW: Duration = Duration::from_secs(1);

impl Control {
    /// Records which outputs a candidate gives, if nothing told them before. It has passed its
    /// cases by then; rows that it refuses tell nothing.
    pub(crate) async fn learn_outputs(
        &self,
        trial: Trial<'_>,
        cases: &[Case],
    ) -> Result<(), StepFailure> {
        let is_known = !trial.schema.outputs.is_empty() || trial.schema.streams;
        if is_known || (trial.deployment.plan.untested && cases.is_empty()) {
            return Ok(());
        }
        let mut seen: Option<Vec<Column>> = None;
        for row in rows(trial.schema, cases) {
            let begin = Instant::now();
            match asked(trial, &row).await {
                Ok(columns) => {
                    seen = Some(seen.map_or(columns.clone(), |seen| joined(seen, columns)))
                }
                Err(Code::WorkerDied) => break,
                Err(_) => {}
            }
            if begin.elapsed() > SLOW {
                break;
            }
        }
        let Some(outputs) = seen.filter(|seen| !seen.is_empty()) else { return Ok(()) };
        let fits = outputs.iter().all(|column| column.check().is_ok());
        if !fits {
            return Ok(());
        }
        let schema = Schema { outputs, learned: true, ..trial.schema.clone() };
        let event = Event::SchemaRecorded { version: trial.version.pushed.version, schema };
        self.step(trial.key, trial.deployment.id, event).await
    }
}

/// Rows of the cases, else made-up ones that differ.
fn rows(schema: &Schema, cases: &[Case]) -> Vec<Value> {
    let given: Vec<Value> =
        cases.iter().flat_map(|case| case.rows.iter().cloned()).take(ROWS).collect();
    if !given.is_empty() {
        return given;
    }
    let first = worker::synthetic_row(schema);
    (0..ROWS).map(|place| varied_row(schema, &first, place)).collect()
}

/// The outputs of one row.
async fn asked(trial: Trial<'_>, row: &Value) -> Result<Vec<Column>, Code> {
    let mut caller = trial.caller().map_err(|failure| failure.problem.code)?;
    let (payload, _) = caller.prepare(std::slice::from_ref(row)).map_err(|problem| problem.code)?;
    let answer = caller.answer(&[&payload], trial.limit()).await.map_err(|problem| problem.code)?;
    let tensors = answer.to_tensors(0..1).map_err(|problem| problem.code)?;
    Ok(columns(&tensors, trial.schema.batches))
}

/// The columns of an answer to one row.
fn columns(tensors: &[Tensor], has_rows: bool) -> Vec<Column> {
    let is_validity = |tensor: &&Tensor| {
        tensor.name.strip_suffix(":valid").is_some_and(|of| tensors.iter().any(|it| it.name == of))
    };
    let has_validity =
        |name: &str| tensors.iter().any(|tensor| tensor.name.strip_suffix(":valid") == Some(name));
    let column = |tensor: &Tensor| {
        let shape = tensor.shape.iter().skip(has_rows.into());
        Column {
            shape: Some(shape.map(|size| *size as i64).collect()),
            nullable: has_validity(&tensor.name) || is_null(tensor),
            ..Column::scalar(&tensor.name, tensor.datatype)
        }
    };
    tensors.iter().filter(|tensor| !is_validity(tensor)).map(column).collect()
}

/// Whether a tensor stands for one value that is missing.
fn is_null(tensor: &Tensor) -> bool {
    tensor.datatype == Datatype::Json && tensor.data.get(4..) == Some(b"null")
}

/// What holds of the columns of two answers. One that only one of them has may be missing.
fn joined(seen: Vec<Column>, more: Vec<Column>) -> Vec<Column> {
    let mut all: Vec<Column> = vec![];
    for column in &seen {
        all.push(match more.iter().find(|other| other.name == column.name) {
            Some(other) => both(column, other),
            None => Column { nullable: true, ..column.clone() },
        });
    }
    let is_new = |column: &&Column| !seen.iter().any(|known| known.name == column.name);
    all.extend(
        more.iter().filter(is_new).map(|column| Column { nullable: true, ..column.clone() }),
    );
    all
}

fn both(one: &Column, other: &Column) -> Column {
    let nullable = one.nullable || other.nullable;
    // A missing value has no datatype of its own.
    let was_null = |column: &Column| column.nullable && column.datatype == Datatype::Json;
    if one.datatype != other.datatype && (was_null(one) || was_null(other)) {
        let told = if was_null(one) { other } else { one };
        return Column { nullable: true, ..told.clone() };
    }
    let datatype = match (one.datatype, other.datatype) {
        (a, b) if a == b => a,
        (a, b) if is_number(a) && is_number(b) => Datatype::Fp64,
        _ => Datatype::Json,
    };
    let shape = match (&one.shape, &other.shape) {
        (Some(a), Some(b)) if a.len() == b.len() => {
            Some(a.iter().zip(b).map(|(a, b)| if a == b { *a } else { -1 }).collect())
        }
        _ => None,
    };
    Column { shape, nullable, ..Column::scalar(&one.name, datatype) }
}

fn is_number(datatype: Datatype) -> bool {
    datatype.size().is_some() && datatype != Datatype::Bool
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, datatype: Datatype, shape: &[usize], data: &[u8]) -> Tensor {
        Tensor { name: name.into(), datatype, shape: shape.to_vec(), data: data.to_vec().into() }
    }

    #[test]
    fn what_several_answers_have_in_common() {
        let one = columns(
            &[
                tensor("a", Datatype::Int64, &[1], &[0; 8]),
                tensor("b", Datatype::Fp32, &[1, 2], &[0; 8]),
                tensor("b:valid", Datatype::Bool, &[1], &[1]),
                tensor("c", Datatype::Json, &[1], b"\x04\0\0\0null"),
            ],
            true,
        );
        let shapes: Vec<_> = one.iter().map(|column| column.shape.clone().unwrap()).collect();
        assert_eq!(shapes, [vec![], vec![2], vec![]], "without the rows");
        assert!(!one[0].nullable && one[1].nullable && one[2].nullable);
        let two = columns(
            &[
                tensor("a", Datatype::Fp64, &[1], &[0; 8]),
                tensor("b", Datatype::Fp32, &[1, 3], &[0; 12]),
                tensor("c", Datatype::Bytes, &[1], b"\x01\0\0\0x"),
                tensor("d", Datatype::Bool, &[1], &[1]),
            ],
            true,
        );
        let told = joined(one, two);
        let brief: Vec<String> = told.iter().map(Column::to_string).collect();
        assert_eq!(brief, ["a: FP64", "b: FP32[-1]?", "c: BYTES?", "d: BOOL?"]);
    }
}
