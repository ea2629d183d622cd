//! Variables and secrets of environments and models.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::manifest::variable_name_is_valid;
use domain::problem::excerpt;
use domain::{
    Action, Caller, Code, Digest, EnvironmentName, Event, ModelKey, ModelName, Object, Placement,
    Problem, ProjectName, State,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Control, aside, secret};

/// The longest value, in bytes.
const VALUE_BYTES_MAX: usize = 32 << 10;

/// A variable as it is listed: a secret has no value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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

fn scope(
    project: &ProjectName,
    environment: &EnvironmentName,
    model: Option<&ModelName>,
) -> String {
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

/// Whose variables they are.
fn object_of(
    project: &ProjectName,
    environment: &EnvironmentName,
    model: Option<&ModelName>,
) -> Object {
    match model {
        Some(model) => {
            let key = ModelKey { project: project.clone(), model: model.clone() };
            Object::ModelIn(key, environment.clone())
        }
        None => Object::Environment(project.clone(), environment.clone()),
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
    /// Sets a variable, for one model or for all of a project. Live replicas are replaced by ones
    /// that have it. `false` if it has this value already: then nothing happens.
    pub async fn set_variable(
        &self,
        caller: &Caller,
        project: &ProjectName,
        environment: &EnvironmentName,
        model: Option<ModelName>,
        name: &str,
        value: VariableValue,
    ) -> Result<bool, Problem> {
        let object = object_of(project, environment, model.as_ref());
        let action = match &value {
            VariableValue::Plain(_) => Action::Configure,
            VariableValue::Secret(_) => Action::Secret,
        };
        // Before it is said whether it has this value.
        self.permit_proposing(caller, action, &object)?;
        if !variable_name_is_valid(name) {
            return Err(Problem::new(
                Code::BadVariable,
                format!("`{}` is not a name for a variable", excerpt(name)),
            )
            .help("use A-Z, 0-9 and _; names that begin with DECALOG_ are Decalog's own"));
        }
        let (value, secret) = match value {
            VariableValue::Plain(value) => (value, false),
            VariableValue::Secret(value) => (value, true),
        };
        if value.len() > VALUE_BYTES_MAX || value.contains('\0') {
            return Err(Problem::new(
                Code::BadVariable,
                format!("the value of {name} is too long or holds a NUL"),
            )
            .help("at most 32 KiB of text; put larger things into the model directory"));
        }
        let place = scope(project, environment, model.as_ref());
        if self.has_value(project, environment, model.as_ref(), name, &value, secret).await {
            return Ok(false);
        }
        let before = self.secret_at(project, environment, model.as_ref(), name);
        let replaces_secret = before.is_some();
        // Written first, under a name of its own: a value is in force when its event is, and not
        // before.
        let file = if secret { Some(self.put_secret(&place, name, &value).await?) } else { None };
        let subject = subject(project, model.as_ref());
        let value = (!secret).then_some(value);
        let event = Event::VariableSet {
            environment: environment.clone(),
            model,
            name: name.into(),
            value,
            secret: file,
            proposal: None,
        };
        // What is a secret does not become one that is shown by who may not touch secrets.
        let needed = if replaces_secret { Action::Secret } else { action };
        let appended =
            self.change(caller, &subject, object, move |_| needed, move |_| Ok(event)).await;
        match &appended {
            Ok(_) => self.drop_secret(&place, name, before).await,
            // It is needed once it is approved.
            Err(problem) if problem.code == Code::Proposed => {}
            Err(_) => self.drop_secret(&place, name, file.map(Some)).await,
        }
        appended.map(|_| true)
    }

    /// Whether a variable or a secret has this value already: to set it again would replace all
    /// replicas for nothing.
    async fn has_value(
        &self,
        project: &ProjectName,
        environment: &EnvironmentName,
        model: Option<&ModelName>,
        name: &str,
        value: &str,
        secret: bool,
    ) -> bool {
        let state = self.state();
        let Some(variables) = state.variables_at(project, model, environment) else { return false };
        match variables.values.get(name) {
            Some(Some(known)) => !secret && known == value,
            Some(None) if secret => {
                let (secrets, place, name) =
                    (self.secrets.clone(), scope(project, environment, model), name.to_string());
                let file = variables.secrets.get(&name).copied();
                let kept = aside(move || secrets.get(&place, &name, file)).await;
                matches!(kept, Ok(Ok(known)) if known == value)
            }
            _ => false,
        }
    }

    async fn put_secret(&self, place: &str, name: &str, value: &str) -> Result<Digest, Problem> {
        let (secrets, place, name, value) =
            (self.secrets.clone(), place.to_string(), name.to_string(), value.to_string());
        aside(move || secrets.put(&place, &name, &value)).await?
    }

    /// Removes a value that nothing refers to any more, if there was one; one whose event names no
    /// file has none.
    async fn drop_secret(&self, place: &str, name: &str, file: Option<Option<Digest>>) {
        let Some(file) = file else { return };
        let (secrets, place, name) = (self.secrets.clone(), place.to_string(), name.to_string());
        let _ = aside(move || secrets.remove(&place, &name, file)).await;
    }

    /// The files of all secrets that a state refers to, and what each is called in the store.
    pub(crate) fn secret_files(state: &State) -> HashMap<Digest, String> {
        let of_projects =
            state.variables.iter().map(|(scope, variables)| (scope.clone(), variables.as_ref()));
        let of_models = state.models.iter().flat_map(|(key, model)| {
            let place = |environment| scope(&key.project, environment, Some(&key.model));
            model
                .variables
                .iter()
                .map(move |(environment, variables)| (place(environment), variables))
        });
        // What is proposed is needed once it is approved.
        let proposed = state.access.proposals.values().filter_map(|known| match &known.change {
            Event::VariableSet { environment, model, name, secret, .. }
                if known.proposal.end.is_none() =>
            {
                let scope = scope(known.proposal.object.project()?, environment, model.as_ref());
                Some(((*secret)?, secret::context(&scope, name)))
            }
            _ => None,
        });
        let mut files: HashMap<Digest, String> = proposed.collect();
        for (scope, variables) in of_projects.chain(of_models) {
            for name in
                variables.values.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name)
            {
                let file = variables.secrets.get(name).copied();
                let file = file.unwrap_or_else(|| secret::by_name(&scope, name));
                files.insert(file, secret::context(&scope, name));
            }
        }
        files
    }

    /// Whether a name is a secret's at this moment, and the file that holds its value, if its event
    /// names one.
    fn secret_at(
        &self,
        project: &ProjectName,
        environment: &EnvironmentName,
        model: Option<&ModelName>,
        name: &str,
    ) -> Option<Option<Digest>> {
        let state = self.state();
        let variables = state.variables_at(project, model, environment)?;
        let is_secret = variables.values.get(name).is_some_and(Option::is_none);
        is_secret.then(|| variables.secrets.get(name).copied())
    }

    /// Removes a variable.
    pub async fn remove_variable(
        &self,
        caller: &Caller,
        project: &ProjectName,
        environment: &EnvironmentName,
        model: Option<ModelName>,
        name: &str,
    ) -> Result<(), Problem> {
        let place = scope(project, environment, model.as_ref());
        let before = self.secret_at(project, environment, model.as_ref(), name);
        let subject = subject(project, model.as_ref());
        let (project, environment, name) = (project.clone(), environment.clone(), name.to_string());
        let removed = name.clone();
        let object = object_of(&project, &environment, model.as_ref());
        let action = if before.is_some() { Action::Secret } else { Action::Configure };
        let decide = move |state: &State| {
            let variables = state.variables_at(&project, model.as_ref(), &environment);
            if variables.is_none_or(|variables| !variables.values.contains_key(&name)) {
                let text = format!("there is no variable {} in {environment}", excerpt(&name));
                return Err(Problem::new(Code::NoSuchVariable, text)
                    .help("decalog env ls shows them; --model names a model's own"));
            }
            Ok(Event::VariableRemoved { environment, model, name, proposal: None })
        };
        self.change(caller, &subject, object, move |_| action, decide).await?;
        self.drop_secret(&place, &removed, before).await;
        Ok(())
    }

    /// The variables of a model, or of a whole project, in an environment.
    pub fn variables(
        &self,
        project: &ProjectName,
        environment: &EnvironmentName,
        model: Option<ModelName>,
    ) -> Vec<Variable> {
        let state = self.state();
        let listed: BTreeMap<String, (Option<String>, bool)> = match model {
            Some(model) => {
                state.variables_of(&ModelKey { project: project.clone(), model }, environment)
            }
            None => {
                let of_project = state.variables.get(&scope(project, environment, None));
                of_project
                    .into_iter()
                    .flat_map(|v| &v.values)
                    .map(|(name, value)| (name.clone(), (value.clone(), false)))
                    .collect()
            }
        };
        let list = listed.into_iter().map(|(name, (value, own))| Variable {
            name,
            secret: value.is_none(),
            value,
            own,
        });
        list.collect()
    }

    /// What a replica's process gets: the variables of its configuration, then the project's, then
    /// the model's own; and which of them are secrets. Those are read and decrypted aside.
    pub(crate) async fn variables_for(
        &self,
        state: &State,
        placement: &Placement,
    ) -> Result<(BTreeMap<String, String>, BTreeSet<String>), Problem> {
        let mut variables = state.configuration(placement).env;
        let mut names = BTreeSet::new();
        let (key, environment) = (&placement.model, &placement.environment);
        let mut kept = vec![];
        for (name, (value, own)) in state.variables_of(key, environment) {
            if let Some(value) = value {
                variables.insert(name, value);
                continue;
            }
            let model = own.then_some(&key.model);
            let file = state
                .variables_at(&key.project, model, environment)
                .and_then(|v| v.secrets.get(&name))
                .copied();
            kept.push((scope(&key.project, environment, model), name, file));
        }
        if !kept.is_empty() {
            let secrets = self.secrets.clone();
            let read = move || {
                let values = kept
                    .into_iter()
                    .map(|(place, name, file)| Ok((secrets.get(&place, &name, file)?, name)));
                values.collect::<Result<Vec<_>, Problem>>()
            };
            for (value, name) in aside(read).await?? {
                names.insert(name.clone());
                variables.insert(name, value);
            }
        }
        Ok((variables, names))
    }
}
