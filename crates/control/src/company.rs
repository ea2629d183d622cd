//! Whether a model gives a row the same answer beside other rows as by itself: found out before
//! callers could share a batch. A sum over all rows may have, by chance, as many values as there
//! are rows.

use std::time::Duration;

use domain::state::Version;
use domain::{ModelKey, Problem, Schema};
use engine::{ReplicaState, ReplicaStatus};
use serde_json::Value;
use worker::Caller;

use crate::{Control, case};

/// Rows that are asked for by themselves, and beside each other.
const ROWS: usize = 3;

impl Control {
    /// Whether the rows of a version must be asked for alone, judged by the rows of its cases, else
    /// by made-up ones. Functions that take one row cannot tell, and a manifest that says `mix =
    /// false` has answered the question.
    pub(crate) async fn must_be_alone(
        &self,
        key: &ModelKey,
        version: &Version,
        schema: &Schema,
        status: &ReplicaStatus,
    ) -> bool {
        let manifest = &version.pushed.manifest;
        let is_asked = schema.batches
            && !schema.streams
            && manifest.batch.mix
            && engine::runtime::of(version.pushed.runtime).is_asked_in_company();
        let ReplicaState::Ready { info, .. } = &status.state else { return false };
        if !is_asked {
            return false;
        }
        let tolerance = manifest.tests.tolerance;
        // What is wrong with the cases is said where they are run.
        let cases = case::read(&self.store, &version.pushed.tree, tolerance).await;
        let cases = cases.unwrap_or_default();
        let mut rows: Vec<Value> =
            cases.iter().flat_map(|case| case.rows.iter().cloned()).take(ROWS).collect();
        for place in rows.len()..ROWS {
            rows.push(match rows.first() {
                Some(first) if !cases.is_empty() => first.clone(),
                _ => varied_row(schema, &worker::synthetic_row(schema), place),
            });
        }
        let mut caller = Caller::new(
            status.address.clone(),
            key.model.as_str(),
            info.protocol.clone(),
            schema.clone(),
        );
        let limit = Duration::from_millis(manifest.predict_ms_max());
        let differs = differs(&mut caller, &rows, tolerance, limit).await;
        if let Some(what) = &differs {
            tracing::info!(
                "{key} {} runs its rows one by one: beside others they are answered differently: {what}",
                version.pushed.version
            );
        }
        differs.is_some()
    }
}

/// Asks for rows by themselves, twice for the first, then for two and for three at once. Says what
/// differs.
async fn differs(
    caller: &mut Caller,
    rows: &[Value],
    tolerance: f64,
    limit: Duration,
) -> Option<String> {
    let mut alone = vec![];
    for row in rows.iter().chain(rows.first()) {
        // A row that it does not take tells nothing.
        alone
            .push(caller.predict(std::slice::from_ref(row), limit).await.ok()?.into_iter().next()?);
    }
    let again = alone.pop()?;
    let mut together = vec![];
    for count in 2..=rows.len() {
        together.push(caller.predict(&rows[..count], limit).await);
    }
    difference(&alone, &again, &together, tolerance)
}

/// What differs between the answers to rows by themselves and those to several at once, two and
/// more in order. `again` is the second answer to the first row: where that differs from the first,
/// a model that draws its answers is judged by their number only.
fn difference(
    alone: &[Value],
    again: &Value,
    together: &[Result<Vec<Value>, Problem>],
    tolerance: f64,
) -> Option<String> {
    let is_drawn =
        alone.first().is_some_and(|first| case::difference(first, again, tolerance).is_some());
    for (answers, count) in together.iter().zip(2..) {
        match answers {
            Err(problem) => return Some(format!("{count} rows at once fail: {}", problem.message)),
            Ok(answers) if answers.len() != count => {
                return Some(format!("{count} rows get {} answers", answers.len()));
            }
            Ok(_) if is_drawn => {}
            Ok(answers) => {
                let mut pairs = alone.iter().zip(answers).enumerate();
                let found = pairs.find_map(|(row, (own, beside))| {
                    Some((row, case::difference(own, beside, tolerance)?))
                });
                if let Some((row, difference)) = found {
                    return Some(format!("row {row} of {count}: {difference}"));
                }
            }
        }
    }
    None
}

/// A row with other numbers for each place, so that rows can be told apart.
pub(crate) fn varied_row(schema: &Schema, row: &Value, place: usize) -> Value {
    let mut row = row.clone();
    for column in &schema.inputs {
        let Some(value) = row.get_mut(&column.name) else { continue };
        match column.categories.get(place % column.categories.len().max(1)) {
            Some(category) if column.shape.as_deref() == Some(&[]) => *value = category.clone(),
            Some(_) => {}
            None => vary(value, place),
        }
    }
    row
}

fn vary(value: &mut Value, place: usize) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| vary(value, place)),
        Value::Number(number) => {
            if let Some(whole) = number.as_i64() {
                *value = Value::from(whole.saturating_add(place as i64));
            } else if let Some(float) = number.as_f64() {
                *value = Value::from(float + 0.25 * place as f64);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{Column, Datatype};
    use serde_json::json;

    fn y(value: f64) -> Value {
        json!({ "y": value })
    }

    #[test]
    fn company_that_changes_an_answer_is_seen() {
        let alone = [y(1.0), y(2.0), y(3.0)];
        let together =
            |answers: &[f64]| Ok(answers.iter().map(|value| y(*value)).collect::<Vec<_>>());
        let find = |two, three| difference(&alone, &alone[0], &[two, three], 0.001);
        assert_eq!(find(together(&[1.0, 2.0]), together(&[1.0, 2.0005, 3.0])), None);
        // A sum over the rows that has as many values as there are rows only once.
        assert!(
            find(together(&[1.0, 2.0]), together(&[6.0, 6.0, 6.0]))
                .is_some_and(|text| text.starts_with("row 0 of 3"))
        );
        assert!(find(together(&[1.0]), together(&[1.0, 2.0, 3.0])).is_some());
        assert!(
            find(Err(Problem::new(domain::Code::BadOutput, "1 row")), together(&[1.0, 2.0, 3.0]))
                .is_some()
        );
    }

    #[test]
    fn a_model_that_draws_its_answers_is_judged_by_their_number() {
        let alone = [y(1.0), y(2.0), y(3.0)];
        let drawn: Vec<Result<Vec<Value>, Problem>> =
            vec![Ok(vec![y(7.0), y(8.0)]), Ok(vec![y(9.0), y(1.0), y(4.0)])];
        assert_eq!(difference(&alone, &y(5.0), &drawn, 0.001), None);
        let short = vec![Ok(vec![y(7.0)])];
        assert!(difference(&alone, &y(5.0), &short, 0.001).is_some());
    }

    #[test]
    fn made_up_rows_can_be_told_apart() {
        let mut city = Column::scalar("city", Datatype::Bytes);
        city.categories = vec!["Utrecht".into(), "Delft".into()];
        let list = Column { shape: Some(vec![2]), ..Column::scalar("x", Datatype::Fp32) };
        let schema = Schema {
            inputs: vec![city, list, Column::scalar("n", Datatype::Int8)],
            batches: true,
            ..Schema::default()
        };
        let made_up = worker::synthetic_row(&schema);
        assert_eq!(
            varied_row(&schema, &made_up, 1),
            json!({ "city": "Delft", "x": [0.75, 0.75], "n": 2 })
        );
        assert_ne!(varied_row(&schema, &made_up, 2), varied_row(&schema, &made_up, 0));
    }
}
