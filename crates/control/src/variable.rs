//! Variables and secrets of environments and models.

use std::collections::BTreeMap;

use domain::manifest::variable_name_is_valid;
use domain::{EnvironmentName, Event, ModelKey, ModelName, Placement, Problem, ProjectName, State};
use serde::{Deserialize, Serialize};

use crate::Control;

/// The longest value, in bytes.
const VALUE_BYTES_MAX: usize = 32 << 10;

/// A variable as it is listed: a secret has no value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value, unless it is a secret.
    pub value: Option<String>,
    /// Whether its value is kept encrypted.
    pub secret: bool,
    /// Whether it is the model's own.
    pub own: bool,
}

fn scope(project: &ProjectName, environment: &EnvironmentName, model: Option<&ModelName>) -> String {
    match model {
        Some(model) => format!("{project}/{model}@{environment}"),
        None => format!("{project}@{environment}"),
    }
}

fn subject(project: &ProjectName, model: Option<&ModelName>) -> String {
    match model {
        Some(model) => format!("{project}/{model}"),
        None => project.to_string(),
    }
}

/// What a variable is set to.
pub enum VariableValue {
    /// Kept in the ledger, and shown.
    Plain(String),
    /// Kept encrypted beside the ledger, and never shown.
    Secret(String),
}

impl Control {
    /// Sets a variable, for one model or for all of a project. Live replicas are replaced by ones that have it.
    pub async fn set_variable(
        &self,
        actor: &str,
        project: &ProjectName,
        environment: &EnvironmentName,
        model: Option<ModelName>,
        name: &str,
        value: VariableValue,
    ) -> Result<(), Problem> {
        if !variable_name_is_valid(name) {
            return Err(Problem::new("bad_variable", format!("`{name}` is not a name for a variable"))
                .help("use A-Z, 0-9 and _; names that begin with DECALOG_ are Decalog's own"));
        }
        let (value, secret) = match value {
            VariableValue::Plain(value) => (value, false),
            VariableValue::Secret(value) => (value, true),
        };
        if value.len() > VALUE_BYTES_MAX || value.contains('\0') {
            return Err(Problem::new("bad_variable", format!("the value of {name} is too long or holds a NUL"))
                .help("at most 32 KiB of text; put larger things into the model directory"));
        }
        let scope = scope(project, environment, model.as_ref());
        if secret {
            self.secrets.put(&scope, name, &value)?;
        } else {
            self.secrets.remove(&scope, name);
        }
        let subject = subject(project, model.as_ref());
        let event =
            Event::VariableSet { environment: environment.clone(), model, name: name.into(), value: (!secret).then_some(value) };
        self.book.append(actor, &subject, move |_| Ok(event)).await.map(|_| ())
    }

    /// Removes a variable.
    pub async fn remove_variable(
        &self,
        actor: &str,
        project: &ProjectName,
        environment: &EnvironmentName,
        model: Option<ModelName>,
        name: &str,
    ) -> Result<(), Problem> {
        let scope = scope(project, environment, model.as_ref());
        let subject = subject(project, model.as_ref());
        let (project, environment, name) = (project.clone(), environment.clone(), name.to_string());
        let removed = name.clone();
        let decide = move |state: &State| {
            let known = match &model {
                Some(model) => {
                    let key = ModelKey { project, model: model.clone() };
                    state
                        .models
                        .get(&key)
                        .and_then(|model| model.variables.get(&environment))
                        .is_some_and(|v| v.values.contains_key(&name))
                }
                None => state.variables.get(&format!("{project}@{environment}")).is_some_and(|v| v.values.contains_key(&name)),
            };
            if !known {
                return Err(Problem::new("no_such_variable", format!("there is no variable {name} in {environment}"))
                    .help("decalog env ls shows them; --model names a model's own"));
            }
            Ok(Event::VariableRemoved { environment, model, name })
        };
        self.book.append(actor, &subject, decide).await?;
        self.secrets.remove(&scope, &removed);
        Ok(())
    }

    /// The variables of a model, or of a whole project, in an environment.
    pub fn variables(&self, project: &ProjectName, environment: &EnvironmentName, model: Option<ModelName>) -> Vec<Variable> {
        let state = self.state();
        let listed: BTreeMap<String, (Option<String>, bool)> = match model {
            Some(model) => state.variables_of(&ModelKey { project: project.clone(), model }, environment),
            None => {
                let of_project = state.variables.get(&scope(project, environment, None));
                of_project
                    .into_iter()
                    .flat_map(|v| &v.values)
                    .map(|(name, value)| (name.clone(), (value.clone(), false)))
                    .collect()
            }
        };
        let list = listed.into_iter().map(|(name, (value, own))| Variable { name, secret: value.is_none(), value, own });
        list.collect()
    }

    /// What a replica's process gets: the variables of its configuration, then the project's, then the model's own.
    pub(crate) fn variables_for(&self, state: &State, placement: &Placement) -> Result<BTreeMap<String, String>, Problem> {
        let mut variables = state.configuration(placement).env;
        let (key, environment) = (&placement.model, &placement.environment);
        for (name, (value, own)) in state.variables_of(key, environment) {
            let value = match value {
                Some(value) => value,
                None => self.secrets.get(&scope(&key.project, environment, own.then_some(&key.model)), &name)?,
            };
            variables.insert(name, value);
        }
        Ok(variables)
    }
}
