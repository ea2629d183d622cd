//! Variables and the names of secrets, of projects and of models, by environment.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::State;
use crate::digest::Digest;
use crate::event::{Entry, Event};
use crate::id::{EnvironmentName, ModelKey, ModelName, ProjectName};

/// Variables, and how often they have changed.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Variables {
    /// Counts changes.
    pub revision: u32,
    /// `None` is a secret: its value is in the secret store.
    pub values: BTreeMap<String, Option<String>>,
    /// The files of secrets, by name; one that was set by an older program has none.
    #[serde(default)]
    pub secrets: BTreeMap<String, Digest>,
    /// Where the values of secrets are that are not in the secret store, by name.
    #[serde(default)]
    pub references: BTreeMap<String, String>,
}

fn scope(project: &ProjectName, environment: &EnvironmentName) -> String {
    format!("{project}@{environment}")
}

impl State {
    pub(super) fn apply_variable(&mut self, entry: &Entry) {
        let (environment, model, name, value, secret, reference) = match &entry.event {
            Event::VariableSet { environment, model, name, value, secret, .. } => {
                (environment, model, name, Some(value.clone()), *secret, None)
            }
            Event::VariableReferenceSet { environment, model, name, reference, .. } => {
                (environment, model, name, Some(None), None, Some(reference.clone()))
            }
            Event::VariableRemoved { environment, model, name, .. } => {
                (environment, model, name, None, None, None)
            }
            _ => return,
        };
        let Ok(project) =
            entry.subject.split('/').next().unwrap_or_default().parse::<ProjectName>()
        else {
            return;
        };
        let variables = match model {
            Some(model) => {
                let key = ModelKey { project, model: model.clone() };
                Arc::make_mut(self.models.entry(key).or_default())
                    .variables
                    .entry(environment.clone())
                    .or_default()
            }
            None => Arc::make_mut(self.variables.entry(scope(&project, environment)).or_default()),
        };
        variables.revision += 1;
        match value {
            Some(value) => variables.values.insert(name.clone(), value),
            None => variables.values.remove(name),
        };
        match secret {
            Some(file) => variables.secrets.insert(name.clone(), file),
            None => variables.secrets.remove(name),
        };
        match reference {
            Some(reference) => variables.references.insert(name.clone(), reference),
            None => variables.references.remove(name),
        };
    }

    /// The variables of a project, or of one model, in an environment.
    pub fn variables_at(
        &self,
        project: &ProjectName,
        model: Option<&ModelName>,
        environment: &EnvironmentName,
    ) -> Option<&Variables> {
        match model {
            Some(model) => {
                let key = ModelKey { project: project.clone(), model: model.clone() };
                self.models.get(&key)?.variables.get(environment)
            }
            None => self.variables.get(&scope(project, environment)).map(AsRef::as_ref),
        }
    }

    /// The variables that a model's process gets in an environment, the model's own before the
    /// project's. `None` is a secret; `bool` tells whether it is the model's own.
    pub fn variables_of(
        &self,
        key: &ModelKey,
        environment: &EnvironmentName,
    ) -> BTreeMap<String, (Option<String>, bool)> {
        let project = self.variables.get(&scope(&key.project, environment));
        let own = self.models.get(key).and_then(|model| model.variables.get(environment));
        let project = project
            .into_iter()
            .flat_map(|v| &v.values)
            .map(|(name, value)| (name.clone(), (value.clone(), false)));
        let own = own
            .into_iter()
            .flat_map(|v| &v.values)
            .map(|(name, value)| (name.clone(), (value.clone(), true)));
        project.chain(own).collect()
    }

    /// How often the variables of a model in an environment have changed.
    pub fn revision_of(&self, key: &ModelKey, environment: &EnvironmentName) -> u32 {
        let project =
            self.variables.get(&scope(&key.project, environment)).map_or(0, |v| v.revision);
        let own = self
            .models
            .get(key)
            .and_then(|model| model.variables.get(environment))
            .map_or(0, |v| v.revision);
        project + own
    }
}
