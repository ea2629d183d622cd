//! Tests of a version that is not deployed by them: its cases are asked of a replica off the traffic.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::{Placement, Problem, Schema};
use serde_json::Value;

use crate::case::{self, Case, Tried};
use crate::replay::Turn;
use crate::{Control, Replayer};

/// What a version made of its cases.
pub struct Tested {
    /// Its columns.
    pub schema: Schema,
    /// How many cases it has.
    pub cases: usize,
    /// Those that were asked: all, unless the model no longer answered.
    pub tried: Vec<Tried>,
    /// Without a case, a row that was made up from the columns, and the answer.
    pub made_up: Option<(Value, Result<Value, Problem>)>,
    /// How long it took until it could be asked.
    pub start: Duration,
}

impl Control {
    /// Asks a version its cases, or a made-up row if it has none.
    pub async fn test_version(
        self: &Arc<Control>,
        turn: &Turn,
        placement: &Placement,
    ) -> Result<Tested, Problem> {
        let begin = Instant::now();
        let version = self.version(&placement.model, placement.version)?;
        let pushed = &version.pushed;
        let cases = case::read(&self.store, &pushed.tree, pushed.manifest.tests.tolerance).await?;
        let mut replayer = self.replayer(turn, placement).await?;
        let (schema, start) = (replayer.schema().clone(), begin.elapsed());
        let made_up = match cases.is_empty() {
            true => Some(replayer.made_up(&schema).await),
            false => None,
        };
        let count = cases.len();
        Ok(Tested { schema, cases: count, tried: replayer.cases(cases).await, made_up, start })
    }
}

impl Replayer {
    async fn cases(&mut self, cases: Vec<Case>) -> Vec<Tried> {
        let (caller, limit) = self.parts();
        case::run(cases, caller, limit).await
    }

    async fn made_up(&mut self, schema: &Schema) -> (Value, Result<Value, Problem>) {
        let row = worker::synthetic_row(schema);
        let answered = self.predict(std::slice::from_ref(&row)).await;
        (row, answered.map(|answers| answers.into_iter().next().unwrap_or_default()))
    }
}
