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

use crate::secret::Secrets;
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
    /// Where a secret's value is read from when a replica starts, if it is kept in a vault.
    #[serde(default)]
    pub reference: Option<String>,
    /// What wraps the key of a secret that is kept here; `null` if its file cannot be read.
    #[serde(default)]
    pub wrapped_by: Option<WrappedBy>,
}

/// A key and who keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WrappedBy {
    /// 16 hexadecimal digits.
    pub key: String,
    /// `file`, or as `--secrets-key` names it.
    pub provider: String,
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

/// What it is to change a variable: what is a secret now does not become one that is shown, nor goes,
/// by who may not touch secrets.
fn action_on(
    project: &ProjectName,
    model: Option<ModelName>,
    environment: &EnvironmentName,
    name: &str,
    otherwise: Action,
) -> impl FnOnce(&State) -> Action + Send + 'static {
    let (project, environment, name) = (project.clone(), environment.clone(), name.to_string());
    move |state| {
        let variables = state.variables_at(&project, model.as_ref(), &environment);
        let now = variables.and_then(|variables| variables.values.get(&name));
        if now.is_some_and(Option::is_none) { Action::Secret } else { otherwise }
    }
}

/// What a variable is set to.
pub enum VariableValue {
    /// Kept in the ledger, and shown.
    Plain(String),
    /// Kept encrypted beside the ledger, and never shown.
    Secret(String),
    /// Read from the operator's vault when a replica starts; where it is there is kept in the
    /// ledger.
    Reference(String),
}

/// A secret of a placement, before it is read.
enum Kept {
    Here { place: String, file: Option<Digest> },
    InVault(String),
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
            VariableValue::Secret(_) | VariableValue::Reference(_) => Action::Secret,
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
            VariableValue::Reference(reference) => {
                return self
                    .set_reference(caller, project, environment, model, name, reference)
                    .await;
            }
        };
        if value.len() > VALUE_BYTES_MAX || value.contains('\0') {
            return Err(Problem::new(
                Code::BadVariable,
                format!("the value of {name} is too long or holds a NUL"),
            )
            .help("at most 32 KiB of text; put larger things into the model directory"));
        }
        if secret && value.is_empty() {
            return Err(Problem::new(Code::BadVariable, format!("the secret {name} is empty"))
                .help("decalog env unset removes one"));
        }
        let place = scope(project, environment, model.as_ref());
        // Where a change waits for approval, to compare would be to guess without a trace.
        let compares = !secret || self.permit(caller, action, &object).is_ok();
        if compares
            && self.has_value(project, environment, model.as_ref(), name, &value, secret).await
        {
            return Ok(false);
        }
        let before = self.secret_at(project, environment, model.as_ref(), name);
        // Written first, under a name of its own: a value is in force when its event is, and not
        // before.
        let file = if secret { Some(self.put_secret(&place, name, &value).await?) } else { None };
        let (subject, of_model) = (subject(project, model.as_ref()), model.clone());
        let value = (!secret).then_some(value);
        let event = Event::VariableSet {
            environment: environment.clone(),
            model,
            name: name.into(),
            value,
            secret: file,
            proposal: None,
        };
        let needed = action_on(project, of_model, environment, name, action);
        let appended = self.change(caller, &subject, object, needed, move |_| Ok(event)).await;
        match &appended {
            Ok(_) => self.drop_secret(&place, name, before).await,
            // It is needed once it is approved.
            Err(problem) if problem.code == Code::Proposed => {}
            Err(_) => self.drop_secret(&place, name, file.map(Some)).await,
        }
        appended.map(|_| true)
    }

    async fn set_reference(
        &self,
        caller: &Caller,
        project: &ProjectName,
        environment: &EnvironmentName,
        model: Option<ModelName>,
        name: &str,
        reference: String,
    ) -> Result<bool, Problem> {
        self.config.secrets.vault_of(&reference)?;
        let state = self.state();
        let known = state
            .variables_at(project, model.as_ref(), environment)
            .and_then(|variables| variables.references.get(name));
        if known == Some(&reference) {
            return Ok(false);
        }
        let object = object_of(project, environment, model.as_ref());
        let place = scope(project, environment, model.as_ref());
        let before = self.secret_at(project, environment, model.as_ref(), name);
        let subject = subject(project, model.as_ref());
        let (environment, of) = (environment.clone(), name.to_string());
        let proposal = None;
        let event =
            Event::VariableReferenceSet { environment, model, name: of, reference, proposal };
        self.change(caller, &subject, object, |_| Action::Secret, move |_| Ok(event)).await?;
        self.drop_secret(&place, name, before).await;
        Ok(true)
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
            Some(None) if secret && !variables.references.contains_key(name) => {
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
        let receivers = state.receivers.values();
        files.extend(receivers.map(|it| (it.secret, crate::receiver::context(&it.name))));
        for (scope, variables) in of_projects.chain(of_models) {
            for name in
                variables.values.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name)
            {
                if variables.references.contains_key(name) {
                    continue;
                }
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
        let is_secret = variables.values.get(name).is_some_and(Option::is_none)
            && !variables.references.contains_key(name);
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
        let action = action_on(&project, model.clone(), &environment, &name, Action::Configure);
        let decide = move |state: &State| {
            let variables = state.variables_at(&project, model.as_ref(), &environment);
            if variables.is_none_or(|variables| !variables.values.contains_key(&name)) {
                let text = format!("there is no variable {} in {environment}", excerpt(&name));
                return Err(Problem::new(Code::NoSuchVariable, text)
                    .help("decalog env ls shows them; --model names a model's own"));
            }
            Ok(Event::VariableRemoved { environment, model, name, proposal: None })
        };
        self.change(caller, &subject, object, action, decide).await?;
        self.drop_secret(&place, &removed, before).await;
        Ok(())
    }

    /// The variables of a model, or of a whole project, in an environment.
    pub async fn variables(
        &self,
        project: &ProjectName,
        environment: &EnvironmentName,
        model: Option<ModelName>,
    ) -> Result<Vec<Variable>, Problem> {
        let state = self.state();
        let listed: BTreeMap<String, (Option<String>, bool)> = match &model {
            Some(model) => {
                let key = ModelKey { project: project.clone(), model: model.clone() };
                state.variables_of(&key, environment)
            }
            None => {
                let of_project = state.variables_at(project, None, environment);
                of_project
                    .into_iter()
                    .flat_map(|v| &v.values)
                    .map(|(name, value)| (name.clone(), (value.clone(), false)))
                    .collect()
            }
        };
        let list = listed.into_iter().map(|(name, (value, own))| {
            let of = model.as_ref().filter(|_| own);
            let kept = value.is_none().then(|| kept(&state, project, environment, of, &name));
            (
                Variable {
                    name,
                    secret: value.is_none(),
                    value,
                    own,
                    reference: None,
                    wrapped_by: None,
                },
                kept,
            )
        });
        let (list, secrets) = (list.collect::<Vec<_>>(), self.secrets.clone());
        let describe = move || {
            list.into_iter().map(|(variable, kept)| describe(&secrets, variable, kept)).collect()
        };
        aside(describe).await
    }

    /// What a replica's process gets: the variables of its configuration, then the project's, then
    /// the model's own; and which of them are secrets. Those are read and decrypted aside.
    pub(crate) async fn variables_for(
        &self,
        state: &State,
        placement: &Placement,
    ) -> Result<(BTreeMap<String, String>, BTreeSet<String>), Problem> {
        let configuration = state.configuration(placement);
        let mut variables = configuration.env;
        if !configuration.records.redact.is_empty() {
            // The log of its process quotes no exception then.
            variables.insert("DECALOG_REDACTS".into(), "1".into());
        } else if configuration.records.log_rows {
            variables.insert("DECALOG_LOG_ROWS".into(), "1".into());
        }
        let (key, environment) = (&placement.model, &placement.environment);
        let mut secrets = vec![];
        for (name, (value, own)) in state.variables_of(key, environment) {
            if let Some(value) = value {
                variables.insert(name, value);
                continue;
            }
            let model = own.then_some(&key.model);
            let kept = kept(state, &key.project, environment, model, &name);
            secrets.push((name, kept));
        }
        let names = secrets.iter().map(|(name, _)| name.clone()).collect();
        variables.extend(self.read_secrets(secrets).await?);
        Ok((variables, names))
    }

    async fn read_secrets(
        &self,
        secrets: Vec<(String, Kept)>,
    ) -> Result<Vec<(String, String)>, Problem> {
        if secrets.is_empty() {
            return Ok(vec![]);
        }
        // Whoever asks a vault may have to wait for it.
        let asks = self.secrets.ring().asks_elsewhere()
            || secrets.iter().any(|(_, kept)| matches!(kept, Kept::InVault(_)));
        let _turn = match asks {
            true => self.vault_calls.acquire().await.ok(),
            false => None,
        };
        let (store, sources) = (self.secrets.clone(), self.config.secrets.clone());
        let read = move || {
            let values = secrets.into_iter().map(|(name, kept)| {
                let value = match kept {
                    Kept::Here { place, file } => store.get(&place, &name, file),
                    Kept::InVault(reference) => sources
                        .vault_of(&reference)
                        .and_then(|(vault, reference)| vault.read(&reference)),
                };
                let of = |problem: Problem| problem.details([format!("it is the secret {name}")]);
                Ok((name.clone(), value.map_err(of)?))
            });
            values.collect::<Result<Vec<_>, Problem>>()
        };
        aside(read).await?
    }
}

/// Where the value of a secret is.
fn kept(
    state: &State,
    project: &ProjectName,
    environment: &EnvironmentName,
    model: Option<&ModelName>,
    name: &str,
) -> Kept {
    let variables = state.variables_at(project, model, environment);
    match variables.and_then(|variables| variables.references.get(name)) {
        Some(reference) => Kept::InVault(reference.clone()),
        None => Kept::Here {
            place: scope(project, environment, model),
            file: variables.and_then(|variables| variables.secrets.get(name)).copied(),
        },
    }
}

/// Adds where a secret is kept.
fn describe(secrets: &Secrets, variable: Variable, kept: Option<Kept>) -> Variable {
    match kept {
        None => variable,
        Some(Kept::InVault(reference)) => Variable { reference: Some(reference), ..variable },
        Some(Kept::Here { place, file }) => {
            let wrapped_by = secrets
                .wrapped_by(&place, &variable.name, file)
                .map(|(key, provider)| WrappedBy { key: key.to_string(), provider });
            Variable { wrapped_by, ..variable }
        }
    }
}
