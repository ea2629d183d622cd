//! `State`: the fold of all events. Whatever the platform knows of models, it knows from here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use imbl::OrdMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::digest::Digest;
use crate::event::{Entry, Event, Measurement, VersionPushed};
use crate::id::{
    DeploymentId, EnvironmentName, ModelKey, ModelName, Placement, ProjectName, VersionNumber,
};
use crate::manifest::{Configuration, Manifest};
use crate::near::{near_name, neighbours, no_such_model, no_such_version};
use crate::problem::Problem;
use crate::reference::{Reference, Selector};
use crate::release::{Cause, Plan, Progress};
use crate::schema::Schema;

mod variables;

pub use variables::Variables;

/// Changes whenever `apply` gives another state for the same events; a snapshot of another number
/// is rebuilt.
pub const FOLD_VERSION: u32 = 3;

/// The most finished deployments that are kept for each model.
const DEPLOYMENTS_MAX: usize = 32;
/// The most versions that rollbacks can go back through.
pub const BEFORE_MAX: usize = 256;

/// All models, versions, routes and variables. Its maps share what is equal: to copy it costs
/// nothing, and to change a copy costs what is changed.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// Of the last entry applied.
    pub seq: u64,
    /// Of the last entry applied.
    pub hash: Digest,
    /// What outlives each subject's model: a few bytes for every name that was ever used.
    pub subjects: OrdMap<String, Subject>,
    /// All models that exist.
    pub models: OrdMap<ModelKey, Arc<Model>>,
    /// Variables of all models of a project, by `project@environment`.
    pub variables: OrdMap<String, Arc<Variables>>,
}

/// What is known of a subject for ever, also after its model was removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Subject {
    /// The number of its entries.
    pub entries: u64,
    /// The last number that a version got; none comes again, so that nothing of an earlier model is
    /// taken for a later one's.
    pub last_version: u32,
}

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
    /// Once it is known.
    pub schema: Option<Schema>,
    /// By its last benchmark.
    pub measured: Option<Measurement>,
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

/// One attempt to take a version live.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// The version that was to go live.
    pub version: VersionNumber,
    /// The environment that it was to go live in.
    pub environment: EnvironmentName,
    /// Who asked.
    pub actor: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// How the traffic is to move.
    pub plan: Plan,
    /// What the environment's configuration becomes.
    pub configuration: Option<Configuration>,
    /// Where it is on its way, once it has a part of the traffic.
    pub progress: Option<Progress>,
    /// How far it is.
    pub outcome: Outcome,
}

/// How far a deployment is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// On its way.
    Running,
    /// It went live.
    Live,
    /// It did not.
    Failed {
        /// The step at which it failed: `build`, `start`, `test`, …
        step: String,
        /// What went wrong, as a caller reads it.
        problem: Problem,
    },
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
        let Version { pushed, at_ms, schema, measured } = self;
        std::ptr::eq(self, other)
            || *at_ms == other.at_ms
                && *schema == other.schema
                && *measured == other.measured
                && *pushed == other.pushed
    }
}

impl State {
    /// Takes in the next entry. Entries come in the order of their `seq`, each once.
    pub fn apply(&mut self, entry: &Entry) {
        (self.seq, self.hash) = (entry.seq, entry.hash);
        let subject = self.subjects.entry(entry.subject.clone()).or_default();
        subject.entries = entry.subject_seq;
        if let Event::VersionPushed(pushed) = &entry.event {
            subject.last_version = subject.last_version.max(pushed.version.0);
        }
        if let Event::VariableSet { .. } | Event::VariableRemoved { .. } = entry.event {
            self.apply_variable(entry);
        } else if let Ok(key) = ModelKey::try_from(entry.subject.clone()) {
            if let Event::ModelRemoved {} = entry.event {
                self.models.remove(&key);
            } else {
                Arc::make_mut(self.models.entry(key).or_default()).apply(entry);
            }
        }
    }

    /// The number of entries of a subject.
    pub fn entries_of(&self, subject: &str) -> u64 {
        self.subjects.get(subject).map_or(0, |subject| subject.entries)
    }

    /// The number of a model's next version, also after a model of that name was removed.
    pub fn next_version(&self, key: &ModelKey) -> VersionNumber {
        VersionNumber(
            self.subjects.get(&key.to_string()).map_or(0, |subject| subject.last_version) + 1,
        )
    }

    /// The placement of a version under today's configuration.
    pub fn placement(
        &self,
        key: &ModelKey,
        environment: &EnvironmentName,
        version: VersionNumber,
    ) -> Placement {
        let revision = self.revision_of(key, environment);
        let pushed = self
            .models
            .get(key)
            .and_then(|model| model.versions.get(&version))
            .map(|version| &version.pushed);
        let digest = pushed.map_or(Digest::ZERO, |pushed| pushed.digest);
        Placement {
            model: key.clone(),
            environment: environment.clone(),
            version,
            digest,
            revision,
        }
    }

    /// What the manifest of a placement's version says.
    pub fn manifest(&self, placement: &Placement) -> Option<&Manifest> {
        let model = self.models.get(&placement.model)?;
        Some(&model.versions.get(&placement.version)?.pushed.manifest)
    }

    /// The configuration of a placement: of the attempt that is on its way there, else of the last
    /// release.
    pub fn configuration(&self, placement: &Placement) -> Configuration {
        let model = self.models.get(&placement.model);
        let coming = model.and_then(|model| {
            let mut here = model.running().filter(|d| {
                d.environment == placement.environment && d.version == placement.version
            });
            here.find_map(|deployment| deployment.configuration.as_ref())
        });
        let set = coming
            .or_else(|| model.and_then(|model| model.configurations.get(&placement.environment)));
        set.cloned()
            .or_else(|| self.manifest(placement).map(Manifest::configuration))
            .unwrap_or_default()
    }

    /// The version that a reference means.
    pub fn resolve(&self, reference: &Reference) -> Result<VersionNumber, Problem> {
        let model = self.model(&reference.model)?;
        let environment = reference.environment();
        let found = match &reference.selector {
            None => model.live.get(&environment).map(|live| live.version),
            Some(Selector::Number(number)) => {
                Some(*number).filter(|number| model.versions.contains_key(number))
            }
            Some(Selector::Digest(digits)) => {
                let mut matching =
                    model.versions.iter().filter(|(_, v)| v.pushed.digest.begins_with(digits));
                matching.next().map(|(number, _)| *number)
            }
        };
        found.ok_or_else(|| match &reference.selector {
            None => Problem::new(
                Code::NotLive,
                format!("no version of `{}` is live in {environment}", reference.model.model),
            )
            .help(format!("decalog show {}", reference.model.model)),
            Some(_) => no_such_version(
                reference,
                model.versions.len(),
                model.versions.keys().rev().copied(),
            ),
        })
    }

    /// A model that has versions; else the problem names one like it.
    pub fn model(&self, key: &ModelKey) -> Result<&Arc<Model>, Problem> {
        let model = self.models.get(key).filter(|model| !model.versions.is_empty());
        model.ok_or_else(|| self.no_such_model(key))
    }

    /// What is said of a model that there is not.
    pub fn no_such_model(&self, key: &ModelKey) -> Problem {
        let names = neighbours(&self.models, key).filter(|(_, model)| !model.versions.is_empty());
        let near = near_name(key.model.as_str(), names.map(|(other, _)| other.model.as_str()));
        no_such_model(key, near)
    }
}

impl Model {
    fn apply(&mut self, entry: &Entry) {
        match &entry.event {
            Event::VersionPushed(pushed) => {
                let version = Version {
                    pushed: (**pushed).clone(),
                    at_ms: entry.at_ms,
                    schema: None,
                    measured: None,
                };
                self.versions.insert(pushed.version, Arc::new(version));
            }
            Event::DeployStarted { version, environment, plan, configuration } => {
                self.deployments.push_back(Deployment {
                    id: DeploymentId(entry.seq),
                    version: *version,
                    environment: environment.clone(),
                    actor: entry.actor.clone(),
                    at_ms: entry.at_ms,
                    plan: plan.clone(),
                    configuration: configuration.as_deref().cloned(),
                    progress: None,
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
            Event::GatesPassed { deployment, candidate, .. } => {
                let version = self.deployment(*deployment).map(|deployment| deployment.version);
                if let Some(version) = version.and_then(|number| self.versions.get_mut(&number)) {
                    Arc::make_mut(version).measured = Some(*candidate);
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
            Event::VersionRemoved { version } => {
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
        if !is_new && old.is_some_and(|old| old.env != new.env) {
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

#[cfg(test)]
mod tests;

/// The key of a model in project `default`; for tests and examples.
pub fn default_model(name: &str) -> Option<ModelKey> {
    Some(ModelKey { project: ProjectName::default(), model: name.parse::<ModelName>().ok()? })
}
