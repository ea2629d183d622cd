//! Trials: what a candidate replica must pass before it takes any traffic. First it shows that it
//! works, by the cases of its version or by a made-up row, then how well, by its gates; and how its
//! answers depend on the call, by a probe.

use std::sync::Arc;
use std::time::Duration;

use domain::event::MadeUpRow;
use domain::state::{Deployment, Model, Outcome, Version};
use domain::{Code, Event, ModelKey, Problem, Schema, VersionNumber};
use engine::{ReplicaState, ReplicaStatus};
use tokio::time::Instant;
use worker::Caller;

use crate::case::{self, Case};
use crate::failure::StepFailure;
use crate::{Control, gate};

/// Of a stream that goes on, a made-up row is content with what comes within so long after its
/// first piece, in milliseconds.
const STREAM_MS: u64 = 2_000;

/// A candidate, and what it is a candidate for.
#[derive(Clone, Copy)]
pub(crate) struct Trial<'a> {
    /// Of which model.
    pub key: &'a ModelKey,
    /// By which attempt.
    pub deployment: &'a Deployment,
    /// What it runs.
    pub version: &'a Version,
    /// Its columns.
    pub schema: &'a Schema,
    /// The replica, which is ready.
    pub status: &'a ReplicaStatus,
}

impl Trial<'_> {
    pub(crate) fn caller(&self) -> Result<Caller, StepFailure> {
        let gone = || StepFailure {
            step: "test",
            problem: Problem::new(Code::WorkerDied, "the candidate is not ready any more"),
        };
        let ReplicaState::Ready { info, .. } = &self.status.state else { return Err(gone()) };
        Ok(Caller::new(
            self.status.address.clone(),
            self.key.model.as_str(),
            info.protocol.clone(),
            self.schema.clone(),
        ))
    }

    pub(crate) fn limit(&self) -> Duration {
        Duration::from_millis(self.version.pushed.manifest.predict_ms_max())
    }
}

impl Control {
    /// Takes a candidate through its trial. Each step that it passes is an event.
    pub(crate) async fn try_out(self: &Arc<Control>, trial: Trial<'_>) -> Result<(), StepFailure> {
        let cases = self.test(trial).await?;
        self.learn_outputs(trial, &cases).await?;
        self.gate(trial, &cases).await?;
        // Last, so that batches count in none of its gates.
        self.probe(trial, &cases).await
    }

    async fn test(&self, trial: Trial<'_>) -> Result<Vec<Case>, StepFailure> {
        let begin = Instant::now();
        let pushed = &trial.version.pushed;
        let cases = case::read(&self.store, &pushed.tree, pushed.manifest.tests.tolerance).await;
        let cases = cases.map_err(StepFailure::at("test"))?;
        let mut made_up = None;
        if cases.is_empty() {
            made_up = Some(self.ask_made_up_row(trial).await?);
        } else {
            let tried = case::run(cases.clone(), &mut trial.caller()?, trial.limit()).await;
            case::judge(&tried, cases.len()).map_err(StepFailure::at("test"))?;
        }
        let (id, elapsed_ms) = (trial.deployment.id, begin.elapsed().as_millis() as u64);
        let passed =
            Event::TestsPassed { deployment: id, cases: cases.len() as u32, elapsed_ms, made_up };
        self.step(trial.key, id, passed).await?;
        Ok(cases)
    }

    /// A version that nobody has asked anything must answer one row before callers ask it.
    async fn ask_made_up_row(&self, trial: Trial<'_>) -> Result<MadeUpRow, StepFailure> {
        let state = self.state();
        let was_live = state
            .models
            .get(trial.key)
            .is_some_and(|model| was_live(model, trial.version.pushed.version));
        if trial.deployment.plan.untested {
            return Ok(MadeUpRow::Skipped("it was deployed as untested".into()));
        } else if was_live {
            return Ok(MadeUpRow::Skipped("it has been live before".into()));
        }
        let row = worker::synthetic_row(trial.schema);
        let mut caller = trial.caller()?;
        if let Err(problem) = caller.prepare(std::slice::from_ref(&row)) {
            return Ok(MadeUpRow::Refused(format!("none fits the schema: {}", problem.message)));
        }
        match caller.ask(&row, trial.limit(), Duration::from_millis(STREAM_MS)).await {
            Ok(()) => Ok(MadeUpRow::Answered),
            Err(problem) if problem.code == Code::BadInput => {
                Ok(MadeUpRow::Refused(problem.message))
            }
            Err(problem) => {
                Err(StepFailure { step: "test", problem: not_answered(&row, problem, trial.key) })
            }
        }
    }

    async fn gate(&self, trial: Trial<'_>, cases: &[Case]) -> Result<(), StepFailure> {
        let manifest = &trial.version.pushed.manifest;
        if trial.schema.streams || (cases.is_empty() && manifest.gates == Default::default()) {
            return Ok(());
        }
        let begin = Instant::now();
        let measured = gate::measure(trial.caller()?, trial.schema, cases, trial.limit()).await;
        let mut candidate = measured.map_err(StepFailure::at("gate"))?;
        candidate.memory_mb = self.peak_memory_mb(&trial.status.placement).await;
        let state = self.state();
        let live = state.models.get(trial.key).and_then(|model| {
            let live = model.live.get(&trial.deployment.environment)?;
            model.versions.get(&live.version)?.measured
        });
        gate::check(&manifest.gates, &candidate, live.as_ref()).map_err(StepFailure::at("gate"))?;
        let (id, elapsed_ms) = (trial.deployment.id, begin.elapsed().as_millis() as u64);
        self.step(trial.key, id, Event::GatesPassed { deployment: id, candidate, live, elapsed_ms })
            .await
    }
}

/// Whether a version has had traffic, as far as the state remembers.
fn was_live(model: &Model, version: VersionNumber) -> bool {
    let here =
        model.live.values().any(|live| live.version == version || live.before.contains(&version));
    here || model
        .deployments
        .iter()
        .any(|known| known.version == version && known.outcome == Outcome::Live)
}

/// The longest made-up row that an error shows, in bytes.
const ROW_BYTES_MAX: usize = 200;

fn not_answered(row: &serde_json::Value, problem: Problem, key: &ModelKey) -> Problem {
    let text = Some(row.to_string())
        .filter(|text| text.len() <= ROW_BYTES_MAX)
        .map_or(String::new(), |text| format!(" {text}"));
    let log = if problem.code == Code::ModelRaised {
        String::new()
    } else {
        format!("; decalog logs {} may say more", key.model)
    };
    Problem::new(Code::TestFailed, format!("the model does not answer the made-up row{text}: {}", problem.message))
        .details(problem.details)
        .help(format!(
            "correct the model, add a row that it takes with what it gives as tests/NAME.json, raise decalog.BadInput for rows \
             that are no input, or deploy with --untested{log}"
        ))
}
