//! Probes: a candidate that has passed its trial is asked for the same rows in different calls, so
//! that it is known how exactly its answers can be repeated. It takes less than a second, and whatever
//! comes of it, the deployment goes on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domain::problem::excerpt;
use domain::{Code, Datatype, Determinism, Event, Probe, Problem, Schema};
use policy::determinism::{Company, Found, Seen, classify};
use serde_json::Value;
use tokio::time::Instant;
use worker::{Answer, Caller, Payload};

use crate::case::Case;
use crate::company::varied_row;
use crate::failure::StepFailure;
use crate::trial::Trial;
use crate::{Control, aside};

/// All calls of a probe together, in milliseconds. What would take longer is left out.
const PROBE_MS_MAX: u64 = 900;
/// How long what is printed meanwhile is left out of the log, in milliseconds, should nobody end it.
const QUIET_MS_MAX: u64 = 10_000;
/// A model that takes so long for one row, in milliseconds, is asked less.
const SLOW_MS: u128 = 100;
/// What is sent in one call at most, in bytes.
const CALL_BYTES_MAX: usize = 4 << 20;

/// How much is asked.
struct Effort {
    /// Different rows.
    rows: usize,
    /// Times that the same call is made: threads that add up in another order each time agree now
    /// and then by luck.
    repeats: usize,
    /// Sizes of batches: kernels change at powers of two, and have remainders between them.
    sizes: &'static [usize],
}

const WHOLE: Effort = Effort { rows: 6, repeats: 8, sizes: &[2, 3, 8, 17, 64] };
const SLIGHT: Effort = Effort { rows: 2, repeats: 3, sizes: &[2, 8] };

impl Control {
    /// Probes a candidate, unless its version was probed in this environment before. Only what the
    /// ledger says can fail it.
    pub(crate) async fn probe(
        self: &Arc<Control>,
        trial: Trial<'_>,
        cases: &[Case],
    ) -> Result<(), StepFailure> {
        let environment = &trial.deployment.environment;
        let known = trial.version.probed.get(environment);
        if known.is_some_and(|known| known.outcome != Determinism::Unknown) {
            return Ok(());
        }
        let begin = Instant::now();
        // Best effort, as a supervisor of an earlier version knows of no such thing.
        let replica = &trial.status.replica;
        let _ = self.engine.quiet(replica, QUIET_MS_MAX).await;
        let (mut probe, is_dead) = found_out(trial, cases).await;
        let _ = self.engine.quiet(replica, 0).await;
        probe.processor = processor().await;
        if probe.outcome != Determinism::Invariant {
            tracing::info!("{} {}: {probe}", trial.key, trial.version.pushed.version);
        }
        let event = Event::DeterminismProbed {
            deployment: trial.deployment.id,
            version: trial.version.pushed.version,
            environment: environment.clone(),
            probe: Box::new(probe),
            elapsed_ms: begin.elapsed().as_millis() as u64,
        };
        self.step(trial.key, trial.deployment.id, event).await?;
        if is_dead {
            // Another one takes its place; what becomes of that is seen by the steps that follow.
            self.send_away(&trial.status.replica);
            let _ = self.another_candidate(&trial.status.placement).await;
        }
        Ok(())
    }
}

/// The processor of this machine, as Linux names it.
pub async fn processor() -> Option<String> {
    let text = aside(|| std::fs::read_to_string("/proc/cpuinfo")).await.ok()?.ok()?;
    let names = ["model name", "Model", "cpu model", "Hardware"];
    let named = |name: &str| {
        let line = text.lines().find(|line| line.split(':').next().map(str::trim) == Some(name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_string())
    };
    names.into_iter().find_map(named)
}

/// What a candidate is, and whether its process has ended over it.
async fn found_out(trial: Trial<'_>, cases: &[Case]) -> (Probe, bool) {
    if trial.schema.streams {
        return (Probe::unknown("it answers in streams"), false);
    }
    if trial.deployment.plan.untested && cases.is_empty() {
        return (Probe::unknown("it was deployed as untested, and has no cases"), false);
    }
    let Ok(caller) = trial.caller() else { return (Probe::unknown("its replica is gone"), true) };
    let manifest = &trial.version.pushed.manifest;
    let mut probing = Probing {
        caller,
        limit: trial.limit(),
        begin: Instant::now(),
        payloads: vec![],
        seen: vec![],
        calls: 0,
        sizes: BTreeSet::new(),
        last: (1, Duration::ZERO),
    };
    let rows = rows(trial.schema, cases);
    let asked = probing.ask_all(trial.schema, &rows, manifest.batch.rows_max as usize).await;
    let is_dead = asked.as_ref().is_err_and(|(code, _)| *code == Code::WorkerDied);
    let mut probe = probing.probe(asked.map_err(|(_, why)| why));
    if probe.outcome == Determinism::RowsInteract && manifest.batch.mix {
        probe.advice = Some(match trial.schema.alone {
            true => "its rows are run one by one; set [batch] mix = false if those of a request \
                     belong together"
                .into(),
            false => "set [batch] mix = false".into(),
        });
    }
    (probe, is_dead)
}

/// Rows that differ: those of the cases, and more that are made up after the first.
fn rows(schema: &Schema, cases: &[Case]) -> Vec<Value> {
    let mut rows: Vec<Value> = vec![];
    for row in cases.iter().flat_map(|case| &case.rows) {
        if rows.len() < WHOLE.rows && !rows.contains(row) {
            rows.push(row.clone());
        }
    }
    let first = rows.first().cloned().unwrap_or_else(|| worker::synthetic_row(schema));
    for place in 0..2 * WHOLE.rows {
        let row = other_row(schema, &first, place);
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    rows
}

/// The golden ratio's fraction: its multiples are spread evenly, and none is a sum of few bits, so
/// that whatever is added up of them is rounded.
const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// A row like another one, with other numbers, truths and texts.
fn other_row(schema: &Schema, first: &Value, place: usize) -> Value {
    let mut row = varied_row(schema, first, place);
    let free = schema.inputs.iter().filter(|column| column.categories.is_empty());
    let mut count = place * 1_000;
    for column in free.filter(|_| place > 0) {
        let is_float = matches!(
            column.datatype,
            Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64
        );
        match row.get_mut(&column.name) {
            Some(value) if is_float => stir(value, &mut count),
            Some(Value::Bool(truth)) => *truth ^= place % 2 == 1,
            Some(Value::String(text)) if column.datatype == Datatype::Bytes => {
                text.push_str(&format!(" {place}"))
            }
            _ => {}
        }
    }
    row
}

/// Changes each number by less than 1.
fn stir(value: &mut Value, count: &mut usize) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| stir(value, count)),
        Value::Number(number) => {
            *count += 1;
            let by = 2.0 * (*count as f64 * GOLDEN).fract() - 1.0;
            if let Some(float) = number.as_f64() {
                *value = Value::from(float + by);
            }
        }
        _ => {}
    }
}

/// A probe on its way.
struct Probing {
    caller: Caller,
    limit: Duration,
    begin: Instant,
    /// The rows that the model takes, one each.
    payloads: Vec<Payload>,
    seen: Vec<Seen<(Arc<Answer>, usize)>>,
    calls: u32,
    sizes: BTreeSet<u32>,
    /// The rows of the largest call so far, and how long it took.
    last: (usize, Duration),
}

/// Why no more is asked: of which kind it is, and what is said.
type Stopped = (Code, String);

impl Probing {
    /// Makes all calls; what there is no time for is left out.
    async fn ask_all(
        &mut self,
        schema: &Schema,
        rows: &[Value],
        rows_max: usize,
    ) -> Result<(), Stopped> {
        let effort = self.ask_alone(rows).await?;
        self.ask(&[0], Company::Copies).await?;
        let together = match schema.batches {
            true => self.ask_together(&effort, rows_max).await,
            false => Ok(()),
        };
        if !matches!(together, Err((Code::WorkerDied, _))) {
            self.repeat(&[0], Company::Copies, effort.repeats - 1).await?;
        }
        together
    }

    /// Asks for batches of copies, and of rows that differ.
    async fn ask_together(&mut self, effort: &Effort, rows_max: usize) -> Result<(), Stopped> {
        let known = self.payloads.len();
        // A request may have more rows than a batch is filled up to.
        for size in effort.sizes.iter().filter(|size| **size <= rows_max.max(2)) {
            for row in 0..known as u32 {
                self.ask(&vec![row; *size], Company::Copies).await?;
                if row > 0 || known == 1 {
                    continue;
                }
                for arrangement in 0..2 {
                    let rows = arranged(*size, known, arrangement);
                    self.ask(&rows, Company::Others(arrangement as u32)).await?;
                }
            }
        }
        match self.sizes.last() {
            Some(size) if *size > 1 && known > 1 => {
                let rows = arranged(*size as usize, known, 0);
                self.repeat(&rows, Company::Others(0), effort.repeats).await
            }
            _ => Ok(()),
        }
    }

    /// Asks for rows by themselves, and keeps those that the model takes.
    async fn ask_alone(&mut self, rows: &[Value]) -> Result<Effort, Stopped> {
        let mut effort = WHOLE;
        for row in rows {
            if self.payloads.len() == effort.rows {
                break;
            }
            let Ok((payload, _)) = self.caller.prepare(std::slice::from_ref(row)) else { continue };
            let is_new = !self.payloads.contains(&payload);
            let agrees = self.payloads.first().is_none_or(|first| first.shapes_agree(&payload));
            if !is_new || !agrees {
                continue;
            }
            let at = self.payloads.len() as u32;
            self.payloads.push(payload);
            match self.ask(&[at], Company::Copies).await {
                Ok(()) => {}
                Err(stopped) if at == 0 || stopped.0 == Code::WorkerDied => return Err(stopped),
                // It takes other rows.
                Err(_) => drop(self.payloads.pop()),
            }
            if at == 0 && self.last.1.as_millis() > SLOW_MS {
                effort = SLIGHT;
            }
        }
        match self.payloads.is_empty() {
            true => Err((Code::BadInput, "no row could be made up that fits the schema".into())),
            false => Ok(effort),
        }
    }

    /// Makes a call as often as it is to be made in all.
    async fn repeat(
        &mut self,
        rows: &[u32],
        company: Company,
        times: usize,
    ) -> Result<(), Stopped> {
        for _ in 1..times {
            self.ask(rows, company).await?;
        }
        Ok(())
    }

    /// Makes a call, unless it would take too long.
    async fn ask(&mut self, rows: &[u32], company: Company) -> Result<(), Stopped> {
        let payloads: Vec<&Payload> =
            rows.iter().map(|row| &self.payloads[*row as usize]).collect();
        let bytes: usize = payloads.iter().map(|payload| payload.size()).sum();
        let left = Duration::from_millis(PROBE_MS_MAX).saturating_sub(self.begin.elapsed());
        let (size, took) = self.last;
        let expected = took.mul_f64(rows.len().max(size) as f64 / size as f64);
        let is_first = self.seen.is_empty();
        if !is_first && (bytes > CALL_BYTES_MAX && rows.len() > 1 || expected > left) {
            return Ok(());
        }
        let sent = Instant::now();
        let answered = self.caller.answer(&payloads, self.limit.min(left)).await;
        let answer = Arc::new(answered.map_err(|problem| why(rows.len(), problem))?);
        self.calls += 1;
        self.sizes.insert(rows.len() as u32);
        if rows.len() >= size {
            self.last = (rows.len(), sent.elapsed());
        }
        let size = rows.len() as u32;
        self.seen.extend(rows.iter().enumerate().map(|(place, row)| Seen {
            row: *row,
            size,
            place: place as u32,
            company,
            answer: (answer.clone(), place),
        }));
        Ok(())
    }

    /// What came of it.
    fn probe(&self, asked: Result<(), String>) -> Probe {
        let distance = |one: &(Arc<Answer>, usize), other: &(Arc<Answer>, usize)| {
            one.0.distance(one.1, &other.0, other.1)
        };
        let Found { outcome, ulp_max } = classify(&self.seen, distance);
        let is_told = matches!(outcome, Determinism::Random | Determinism::RowsInteract);
        let why = asked.err().or_else(|| self.lacks()).filter(|_| !is_told);
        let repeats = (0..self.payloads.len() as u32)
            .map(|row| self.seen.iter().filter(|it| it.row == row && it.size == 1).count());
        Probe {
            outcome: if why.is_some() { Determinism::Unknown } else { outcome },
            ulp_max: ulp_max.filter(|_| why.is_none()),
            why,
            advice: None,
            rows: self.payloads.len() as u32,
            calls: self.calls,
            repeats: repeats.max().unwrap_or(0) as u32,
            sizes: self.sizes.iter().copied().collect(),
            processor: None,
        }
    }

    /// What was not seen that it depends on.
    fn lacks(&self) -> Option<String> {
        let (_, took) = self.last;
        if self.seen.len() < 2 {
            return Some(format!("one row takes {} ms, too long to try more", took.as_millis()));
        }
        let batches = self.caller.schema().batches;
        if batches && !self.seen.iter().any(|it| it.size > 1) {
            let text = format!("one row takes {} ms, too long to try batches", took.as_millis());
            return Some(text);
        }
        let is_mixed = self.seen.iter().any(|it| it.company != Company::Copies);
        (batches && !is_mixed).then(|| match self.payloads.len() {
            1 => "only one row is known that it takes: add tests/NAME.json with other rows".into(),
            _ => "it takes too long to try different rows in a batch".into(),
        })
    }
}

/// Rows beside each other: in turn, or shifted and in the other direction.
fn arranged(size: usize, known: usize, arrangement: usize) -> Vec<u32> {
    let at = |place: usize| match arrangement {
        0 => place % known,
        _ => (known + 1 - place % known) % known,
    };
    (0..size).map(|place| at(place) as u32).collect()
}

fn why(rows: usize, problem: Problem) -> Stopped {
    let what = if rows == 1 {
        "a row by itself fails".into()
    } else {
        format!("{rows} rows at once fail")
    };
    (problem.code, format!("{what}: {}", excerpt(&problem.message)))
}

#[cfg(test)]
mod tests {
    use domain::Column;
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_are_those_of_the_cases_and_others_like_them() {
        let schema = Schema {
            inputs: vec![
                Column::scalar("x", Datatype::Fp64),
                Column::scalar("name", Datatype::Bytes),
            ],
            batches: true,
            ..Schema::default()
        };
        let case = |row: Value| Case {
            name: "tests/a.json".into(),
            rows: vec![row.clone(), row],
            expected: vec![],
            tolerance: 0.0,
        };
        let own = json!({ "x": 2.0, "name": "a" });
        let rows = rows(&schema, &[case(own.clone())]);
        assert_eq!(rows[0], own);
        assert!(rows.len() >= WHOLE.rows, "{rows:?}");
        assert!(rows.iter().all(|row| row["name"].as_str().is_some()));
        let x: Vec<f64> = rows.iter().filter_map(|row| row["x"].as_f64()).collect();
        assert!(x[1..].iter().all(|x| (x * 1_024.0).fract() != 0.0), "{x:?} are rounded in sums");
        let made_up = super::rows(&schema, &[]);
        assert!(made_up.len() >= WHOLE.rows, "{made_up:?}");
    }

    #[test]
    fn arrangements_have_the_first_row_at_several_places() {
        assert_eq!(arranged(5, 3, 0), [0, 1, 2, 0, 1]);
        assert_eq!(arranged(5, 3, 1), [1, 0, 2, 1, 0]);
        for size in [2, 3, 8, 17, 64] {
            for known in 2..=WHOLE.rows {
                let [one, other] = [0, 1].map(|which| arranged(size, known, which));
                assert!(one != other && one.contains(&0), "{size} {known}");
            }
        }
    }
}
