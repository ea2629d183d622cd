//! `State`: the fold of all events. Whatever the platform knows of models, it knows from here.

use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::digest::Digest;
use crate::event::{Entry, Event};
use crate::id::{EnvironmentName, ModelKey, ModelName, Placement, ProjectName, VersionNumber};
use crate::manifest::{Configuration, Manifest};
use crate::near::{near_name, neighbours, no_such_model, no_such_version};
use crate::problem::Problem;
use crate::receiver::{AlertReceiver, ReceiverName};
use crate::reference::{Reference, Selector};

mod access;
mod deployment;
mod model;
mod variables;

pub use access::{Access, AccessHead, KnownPrincipal, KnownProposal};
pub use deployment::{Deployment, Outcome};
pub use model::{BEFORE_MAX, Live, Model, Version};
pub use variables::Variables;

/// Changes whenever `apply` gives another state for the same events; a snapshot of another number
/// is rebuilt.
pub const FOLD_VERSION: u32 = 6;

/// All models, versions, routes, variables and rights. Its maps share what is equal: to copy it costs
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
    /// Who may do what.
    pub access: Access,
    /// Who is told of alarms.
    #[serde(default)]
    pub receivers: OrdMap<ReceiverName, Arc<AlertReceiver>>,
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

impl State {
    /// Takes in the next entry. Entries come in the order of their `seq`, each once.
    pub fn apply(&mut self, entry: &Entry) {
        (self.seq, self.hash) = (entry.seq, entry.hash);
        let subject = self.subjects.entry(entry.subject.clone()).or_default();
        subject.entries = entry.subject_seq;
        if let Event::VersionPushed(pushed) = &entry.event {
            subject.last_version = subject.last_version.max(pushed.version.0);
        }
        self.access.apply(entry);
        match &entry.event {
            Event::AlertReceiverSet { receiver } => {
                self.receivers.insert(receiver.name.clone(), Arc::new(*receiver.clone()));
            }
            Event::AlertReceiverRemoved { name } => {
                self.receivers.remove(name);
            }
            _ => {}
        }
        if let Event::VariableSet { .. }
        | Event::VariableReferenceSet { .. }
        | Event::VariableRemoved { .. } = entry.event
        {
            self.apply_variable(entry);
        } else if let Ok(key) = ModelKey::try_from(entry.subject.clone()) {
            if let Event::ModelRemoved { .. } = entry.event {
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

    /// The error for a model that does not exist.
    pub fn no_such_model(&self, key: &ModelKey) -> Problem {
        let names = neighbours(&self.models, key).filter(|(_, model)| !model.versions.is_empty());
        let near = near_name(key.model.as_str(), names.map(|(other, _)| other.model.as_str()));
        no_such_model(key, near)
    }
}

#[cfg(test)]
mod tests;

/// The key of a model in project `default`; for tests and examples.
pub fn default_model(name: &str) -> Option<ModelKey> {
    Some(ModelKey { project: ProjectName::default(), model: name.parse::<ModelName>().ok()? })
}
