//! What of the live models does not start or answer, and for how long a failure is worth a word.

use std::collections::HashMap;

use domain::state::{Deployment, Outcome};
use domain::{Code, EnvironmentName, ModelKey, Placement, Problem, State, VersionNumber};
use engine::ReplicaState;
use policy::replicas::Part;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Control;

/// For how long a list says that an attempt failed while something else is live, in milliseconds.
const FAILED_TOLD_MS: u64 = 60 * 60_000;

/// What is live and does not start any more.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Failing {
    /// The model.
    pub model: ModelKey,
    /// Where.
    pub environment: EnvironmentName,
    /// As `v3`.
    pub version: String,
    /// Why its last start failed.
    pub problem: Problem,
}

/// Why something failed, in one line: where a model raised an error while it was loaded, what that
/// said.
pub fn reason(problem: &Problem) -> &str {
    match problem.details.last().map(|line| line.trim()) {
        Some(line) if problem.code == Code::LoadFailed && !line.is_empty() => line,
        _ => &problem.message,
    }
}

/// Whether an attempt has failed, and is over for whoever has something else live.
pub(crate) fn is_over(last: &Deployment, now_ms: u64) -> bool {
    match &last.outcome {
        Outcome::Failed { step, .. } => {
            step == "superseded" || now_ms.saturating_sub(last.at_ms) > FAILED_TOLD_MS
        }
        _ => false,
    }
}

impl Control {
    /// Why new replicas of what is live somewhere do not start.
    pub(crate) fn failing(
        &self,
        state: &State,
        key: &ModelKey,
        environment: &EnvironmentName,
        live: VersionNumber,
    ) -> Option<Problem> {
        self.replicas.problem(&state.placement(key, environment, live))
    }

    /// All that is live and of which no new replica starts, with the reason; of these models.
    pub fn all_failing(&self, is_seen: impl Fn(&ModelKey) -> bool) -> Vec<Failing> {
        let state = self.state();
        let seen = state.models.iter().filter(|(key, _)| is_seen(key));
        let live = seen.flat_map(|(key, model)| model.live.iter().map(move |live| (key, live)));
        let failing = live.filter_map(|(key, (environment, live))| {
            let problem = self.failing(&state, key, environment, live.version)?;
            Some(Failing {
                model: key.clone(),
                environment: environment.clone(),
                version: live.version.to_string(),
                problem,
            })
        });
        failing.collect()
    }

    /// Live models that no replica answers for: those whose replicas are on their way, and those
    /// whose last start failed, with the reason. Those that sleep are not looked at.
    pub fn unanswered(&self) -> (Vec<String>, Vec<String>) {
        self.publish_routes();
        let (awake, wanted) = {
            let published = self.published.lock();
            (published.awake.clone(), published.wanted.clone())
        };
        let (state, statuses) = (self.state(), self.replicas());
        let mut ready: HashMap<&ModelKey, Vec<&Placement>> = HashMap::new();
        for status in
            statuses.iter().filter(|status| matches!(status.state, ReplicaState::Ready { .. }))
        {
            ready.entry(&status.placement.model).or_default().push(&status.placement);
        }
        let answers = |placement: &Placement| {
            let of_model = ready.get(&placement.model).into_iter().flatten();
            of_model.into_iter().any(|other| other.is_same_version(placement))
        };
        let live = awake
            .iter()
            .flat_map(|model| wanted.of(model))
            .filter(|(_, wanted)| wanted.part == Part::Live);
        let (mut waiting, mut failing) = (vec![], vec![]);
        for (placement, _) in live {
            if self.scales.target(placement) == Some(0) || answers(placement) {
                continue;
            }
            match self.replicas.problem(placement) {
                Some(problem) => failing.push(format!("{placement}: {}", problem.message)),
                None => waiting.push(self.what_it_waits_for(&state, placement)),
            }
        }
        (waiting, failing)
    }

    /// After a restore all environments are built anew: that takes longer than any other start.
    fn what_it_waits_for(&self, state: &State, placement: &Placement) -> String {
        let version = state
            .models
            .get(&placement.model)
            .and_then(|model| model.versions.get(&placement.version));
        let lock = version.and_then(|version| version.pushed.lock.as_ref());
        match lock.filter(|lock| !self.engine.has_environment(&lock.digest)) {
            Some(_) => format!("{placement}: its environment is being built"),
            None => placement.to_string(),
        }
    }
}
