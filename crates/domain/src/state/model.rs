//! One model: its versions, what is live of them where, and the attempts to take them live.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use super::deployment::{Deployment, Outcome};
use super::variables::Variables;
use crate::determinism::Probe;
use crate::digest::Digest;
use crate::event::{Entry, Event, Measurement, VersionPushed};
use crate::id::{DeploymentId, EnvironmentName, VersionNumber};
use crate::manifest::Configuration;
use crate::release::{Cause, Progress};
use crate::schema::Schema;
use crate::trust::Signature;

/// The most finished deployments that are kept for each model.
const DEPLOYMENTS_MAX: usize = 32;
/// The most versions that rollbacks can go back through.
pub const BEFORE_MAX: usize = 256;

/// One model.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Model {
    /// By number.
    pub versions: OrdMap<VersionNumber, Arc<Version>>,
    /// What is live, by environment.
    pub live: BTreeMap<EnvironmentName, Live>,
    /// The latest attempts to go live, oldest first.
    pub deployments: VecDeque<Deployment>,
    /// Variables of this model, by environment.
    pub variables: BTreeMap<EnvironmentName, Variables>,
    /// What the last release set, by environment.
    pub configurations: BTreeMap<EnvironmentName, Configuration>,
}

/// One version.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Version {
    /// As it was pushed.
    pub pushed: VersionPushed,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// By which entry.
    pub seq: u64,
    /// Who pushed it, as that entry says.
    pub actor: String,
    /// Once it is known.
    pub schema: Option<Schema>,
    /// By its last benchmark.
    pub measured: Option<Measurement>,
    /// Whether it gives the same answers each time, by the environment that it was tried in.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub probed: BTreeMap<EnvironmentName, Probe>,
    /// What its signature said when it was looked at last; absent if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

/// What takes the traffic of an environment.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Live {
    /// The version that answers.
    pub version: VersionNumber,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// By which attempt.
    pub deployment: DeploymentId,
    /// What took it until then.
    pub replaced: Option<VersionNumber>,
    /// What a rollback goes back to, the nearest last; at most [`BEFORE_MAX`].
    pub before: Vec<VersionNumber>,
    /// How many that were live before those are not kept any more.
    pub forgotten: u64,
    /// How many replicas were wanted last, if that was ever decided.
    pub target: Option<u32>,
}

// Two states have most models and versions in common: what is the same value in memory is not
// compared field by field.

impl PartialEq for Model {
    fn eq(&self, other: &Model) -> bool {
        let Model { versions, live, deployments, variables, configurations } = self;
        std::ptr::eq(self, other)
            || *live == other.live
                && *deployments == other.deployments
                && *variables == other.variables
                && *configurations == other.configurations
                && *versions == other.versions
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Version) -> bool {
        let Version { pushed, at_ms, seq, actor, schema, measured, probed, signature } = self;
        std::ptr::eq(self, other)
            || *at_ms == other.at_ms
                && *seq == other.seq
                && *actor == other.actor
                && *schema == other.schema
                && *measured == other.measured
                && *probed == other.probed
                && *signature == other.signature
                && *pushed == other.pushed
    }
}

impl Model {
    pub(super) fn apply(&mut self, entry: &Entry) {
        match &entry.event {
            Event::VersionPushed(pushed) => {
                let version = Version {
                    pushed: (**pushed).clone(),
                    at_ms: entry.at_ms,
                    seq: entry.seq,
                    actor: entry.actor.clone(),
                    schema: None,
                    measured: None,
                    probed: BTreeMap::new(),
                    signature: pushed.signature.clone(),
                };
                self.versions.insert(pushed.version, Arc::new(version));
            }
            Event::DeployStarted { version, environment, plan, configuration, .. } => {
                self.deployments.push_back(Deployment {
                    id: DeploymentId(entry.seq),
                    version: *version,
                    environment: environment.clone(),
                    actor: entry.actor.clone(),
                    at_ms: entry.at_ms,
                    plan: plan.clone(),
                    configuration: configuration.as_deref().cloned(),
                    progress: None,
                    rehearsed: None,
                    outcome: Outcome::Running,
                });
                while self.deployments.len() > DEPLOYMENTS_MAX
                    && self.deployments[0].outcome != Outcome::Running
                {
                    self.deployments.pop_front();
                }
            }
            Event::SchemaRecorded { version, schema } => {
                if let Some(version) = self.versions.get_mut(version) {
                    Arc::make_mut(version).schema = Some(schema.clone());
                }
            }
            Event::SignatureJudged { version, signature, .. } => {
                if let Some(version) = self.versions.get_mut(version) {
                    Arc::make_mut(version).signature = Some(signature.clone());
                }
            }
            Event::GatesPassed { deployment, candidate, .. } => {
                let version = self.deployment(*deployment).map(|deployment| deployment.version);
                if let Some(version) = version.and_then(|number| self.versions.get_mut(&number)) {
                    Arc::make_mut(version).measured = Some(*candidate);
                }
            }
            Event::DeterminismProbed { version, environment, probe, .. } => {
                if let Some(version) = self.versions.get_mut(version) {
                    let version = Arc::make_mut(version);
                    version.probed.insert(environment.clone(), (**probe).clone());
                }
            }
            Event::Rehearsed { deployment, rehearsal, .. } => {
                if let Some(deployment) = self.deployment_mut(*deployment) {
                    deployment.rehearsed = Some(rehearsal.clone());
                }
            }
            Event::TrafficShifted { deployment, baseline, step, phase, .. } => {
                let (step, phase, baseline, since_ms) = (*step, *phase, *baseline, entry.at_ms);
                if let Some(deployment) = self.deployment_mut(*deployment) {
                    let before = deployment
                        .progress
                        .take()
                        .map(|progress| (progress.said, progress.segments));
                    let (said, segments) = before.unwrap_or_default();
                    deployment.progress = Some(Progress {
                        step,
                        phase,
                        since_ms,
                        baseline,
                        paused: false,
                        said,
                        segments,
                    });
                }
            }
            Event::GuardsJudged { deployment, inputs, judgements, .. } => {
                self.with_progress(*deployment, |progress| {
                    progress.said = judgements.to_string();
                    progress.segments = progress.segments.max(inputs.segment);
                });
            }
            Event::ReleasePaused { deployment } => {
                self.with_progress(*deployment, |progress| progress.paused = true)
            }
            Event::ReleaseResumed { deployment } => {
                self.with_progress(*deployment, |progress| progress.paused = false)
            }
            Event::Released { deployment, version, environment, previous, .. } => {
                let live = self.live.get(environment);
                let (mut before, mut forgotten) =
                    live.map_or((vec![], 0), |live| (live.before.clone(), live.forgotten));
                let replaced = previous.filter(|previous| previous != version);
                let is_rollback = self
                    .deployment(*deployment)
                    .is_some_and(|known| known.plan.cause == Cause::Rollback);
                if is_rollback {
                    before.truncate(
                        before
                            .iter()
                            .rposition(|earlier| earlier == version)
                            .unwrap_or(before.len()),
                    );
                } else {
                    before.extend(replaced);
                    forgotten +=
                        before.drain(..before.len().saturating_sub(BEFORE_MAX)).count() as u64;
                }
                self.configure(*deployment, environment, replaced.is_some());
                // A new version begins with the replicas that its release started.
                let target = self
                    .live
                    .get(environment)
                    .filter(|_| replaced.is_none())
                    .and_then(|live| live.target);
                let (version, since_ms, deployment) = (*version, entry.at_ms, *deployment);
                self.live.insert(
                    environment.clone(),
                    Live { version, since_ms, deployment, replaced, before, forgotten, target },
                );
                self.finish(deployment, Outcome::Live);
            }
            Event::ScaleChanged { placement, record } => {
                let live = self
                    .live
                    .get_mut(&placement.environment)
                    .filter(|live| live.version == placement.version);
                if let Some(live) = live {
                    live.target = Some(record.decision.target);
                }
            }
            Event::VersionRemoved { version, .. } => {
                self.versions.remove(version);
                for live in self.live.values_mut() {
                    let kept = live.before.len();
                    live.before.retain(|before| before != version);
                    live.forgotten += (kept - live.before.len()) as u64;
                }
            }
            Event::DeployFailed { deployment, step, problem } => {
                self.finish(
                    *deployment,
                    Outcome::Failed { step: step.clone(), problem: problem.clone() },
                );
            }
            _ => {}
        }
    }

    /// Puts the configuration of a released attempt in force.
    fn configure(&mut self, id: DeploymentId, environment: &EnvironmentName, is_new: bool) {
        let Some(new) = self.deployment(id).and_then(|deployment| deployment.configuration.clone())
        else {
            return;
        };
        let old = self.configurations.insert(environment.clone(), new.clone());
        // Replicas that run already must get the new variables; those of a new version were started
        // with them.
        let logs = |of: &Configuration| (of.records.redact.is_empty(), of.records.log_rows);
        let differs = |old: &Configuration| old.env != new.env || logs(old) != logs(&new);
        if !is_new && old.as_ref().is_some_and(differs) {
            self.variables.entry(environment.clone()).or_default().revision += 1;
        }
    }

    fn deployment_mut(&mut self, id: DeploymentId) -> Option<&mut Deployment> {
        self.deployments.iter_mut().find(|deployment| deployment.id == id)
    }

    fn with_progress(&mut self, id: DeploymentId, change: impl FnOnce(&mut Progress)) {
        if let Some(progress) =
            self.deployment_mut(id).and_then(|deployment| deployment.progress.as_mut())
        {
            change(progress);
        }
    }

    fn finish(&mut self, id: DeploymentId, outcome: Outcome) {
        if let Some(deployment) = self.deployment_mut(id) {
            deployment.outcome = outcome;
        }
    }

    /// The attempt with this id, if it is still kept.
    pub fn deployment(&self, id: DeploymentId) -> Option<&Deployment> {
        self.deployments.iter().find(|deployment| deployment.id == id)
    }

    /// The attempts on their way, oldest first.
    pub fn running(&self) -> impl Iterator<Item = &Deployment> {
        self.deployments.iter().filter(|deployment| deployment.outcome == Outcome::Running)
    }

    /// The attempt in an environment that has a part of its traffic.
    pub fn shifting(&self, environment: &EnvironmentName) -> Option<(&Deployment, &Progress)> {
        let mut here = self.running().filter(|deployment| deployment.environment == *environment);
        here.find_map(|deployment| {
            deployment.progress.as_ref().map(|progress| (deployment, progress))
        })
    }

    /// The version with this digest.
    pub fn version_by_digest(&self, digest: Digest) -> Option<&Arc<Version>> {
        self.versions.values().find(|version| version.pushed.digest == digest)
    }
}
