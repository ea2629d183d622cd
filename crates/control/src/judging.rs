//! The verdict on a step of a release: what both arms did, what the guards say of it, and whether
//! that is news.

use std::sync::Arc;
use std::time::Duration;

use domain::guard::{ArmWindow, GuardSettings, Judgements, Verdict};
use domain::release::{Phase, Plan};
use domain::state::Deployment;
use domain::{Code, Event, ModelKey, Problem, VersionNumber};
use policy::guard::{Watch, judge};

use crate::Control;
use crate::failure::StepFailure;

/// Verdicts of one release that are appended within [`VERDICTS_MS`]; more are only shown.
const VERDICTS_MAX: usize = 30;
const VERDICTS_MS: u64 = 600_000;

impl Control {
    /// Takes in what both arms did since the last look, and says what follows from all so far.
    pub(crate) async fn judge(
        self: &Arc<Control>,
        key: &ModelKey,
        deployment: &Deployment,
        step: Step,
        judging: &mut Judging,
        (canary, baseline): (ArmWindow, ArmWindow),
    ) -> Result<Verdict, StepFailure> {
        judging.watch.observe(&canary, &baseline);
        let inputs = judging.watch.inputs();
        let judgements = judge(&inputs);
        let verdict = judgements.verdict;
        tracing::debug!("{key} {}: {judgements}", deployment.version);
        if judging.is_news(verdict) {
            let event = Event::GuardsJudged {
                deployment: deployment.id,
                step: step.number,
                inputs: Box::new(inputs),
                judgements: Box::new(judgements.clone()),
            };
            self.step(key, deployment.id, event).await?;
        }
        self.statuses.lock().insert(deployment.id, Status::Judged(Box::new(judgements.clone())));
        if verdict != Verdict::RollBack {
            return Ok(verdict);
        }
        let problem = Problem::new(
            Code::Guard,
            format!("{} was rolled back at {}", deployment.version, step.phase),
        )
        .details(judgements.to_string().lines().skip(1).map(|line| line.trim_start().to_string()))
        .help(format!("decalog events {} --kind release", key.model));
        Err(StepFailure { step: "guard", problem })
    }
}

/// What is known of a release at this moment, more than the ledger has.
pub(crate) enum Status {
    /// Why it does not get on.
    Waits(String),
    /// What its guards say.
    Judged(Box<Judgements>),
}

/// One phase of a release.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    /// Its place among the phases, from 0.
    pub number: u32,
    pub phase: Phase,
    pub baseline: VersionNumber,
}

/// What the guards of one release have seen.
pub(crate) struct Judging {
    pub watch: Watch,
    last: Option<Verdict>,
    told: Vec<tokio::time::Instant>,
}

impl Judging {
    pub fn new(plan: &Plan, step: u32, segment: u32) -> Judging {
        let guards = plan.guards_of_phases();
        Judging {
            watch: Watch::resume(GuardSettings::default(), &guards, step, segment),
            last: None,
            told: vec![],
        }
    }

    /// Whether a verdict is another one than before, and may be appended. The first always is: it
    /// says that this evidence spends its part of α.
    fn is_news(&mut self, verdict: Verdict) -> bool {
        if self.last == Some(verdict) {
            return false;
        }
        let now = tokio::time::Instant::now();
        self.told.retain(|at| now.duration_since(*at) < Duration::from_millis(VERDICTS_MS));
        if self.told.len() >= VERDICTS_MAX && verdict != Verdict::RollBack {
            return false;
        }
        self.told.push(now);
        self.last = Some(verdict);
        true
    }
}
