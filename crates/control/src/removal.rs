//! What is removed: models with all their versions, and single versions that nothing uses.

use domain::reference::Selector;
use domain::{
    Action, Caller, Code, Digest, Event, ModelKey, Object, Problem, Reference, State, VersionNumber,
};

use crate::Control;

/// The removal of a model with all its versions.
pub(crate) fn model_removed(state: &State, key: &ModelKey) -> Result<Event, Problem> {
    match state.models.contains_key(key) {
        true => Ok(Event::ModelRemoved { proposal: None }),
        false => Err(state.no_such_model(key)),
    }
}

/// The removal of one version, unless it is in use.
pub(crate) fn version_removed(
    state: &State,
    key: &ModelKey,
    version: VersionNumber,
) -> Result<Event, Problem> {
    let reference =
        Reference { selector: Some(Selector::Number(version)), ..Reference::live(key.clone()) };
    state.resolve(&reference)?;
    let model = state.model(key)?;
    let live = model.live.iter().find(|(_, live)| live.version == version);
    let coming = model.running().find(|deployment| deployment.version == version);
    let used = match (live, coming) {
        (Some((environment, _)), _) => format!("is live in {environment}"),
        (None, Some(deployment)) => format!("is on its way to {}", deployment.environment),
        (None, None) => return Ok(Event::VersionRemoved { version, proposal: None }),
    };
    Err(Problem::new(Code::InUse, format!("{version} of `{}` {used}", key.model))
        .help("release another version first"))
}

/// The versions that a change is about, and what they are: the one that goes live or is removed, or
/// all of a model that is.
pub(crate) fn versions_of(
    state: &State,
    object: &Object,
    change: &Event,
) -> Vec<(VersionNumber, Digest)> {
    let Some(model) = object.model().and_then(|key| state.models.get(key)) else { return vec![] };
    let one = match change {
        Event::DeployStarted { version, .. } | Event::VersionRemoved { version, .. } => {
            Some(*version)
        }
        Event::ModelRemoved { .. } => None,
        _ => return vec![],
    };
    let is_meant = |version: &VersionNumber| one.is_none_or(|one| one == *version);
    let versions = model.versions.iter().filter(|(version, _)| is_meant(version));
    versions.map(|(version, known)| (*version, known.pushed.digest)).collect()
}

impl Control {
    /// Removes a model with all its versions.
    pub async fn remove(&self, caller: &Caller, key: &ModelKey) -> Result<(), Problem> {
        let (wanted, object) = (key.clone(), Object::Model(key.clone()));
        let decide = move |state: &State| model_removed(state, &wanted);
        self.change(caller, &key.to_string(), object, |_| Action::Remove, decide).await?;
        self.work.notify_one();
        Ok(())
    }

    /// Removes one version, unless it is in use.
    pub async fn remove_version(
        &self,
        caller: &Caller,
        key: &ModelKey,
        version: VersionNumber,
    ) -> Result<(), Problem> {
        let (wanted, object) = (key.clone(), Object::Model(key.clone()));
        let decide = move |state: &State| version_removed(state, &wanted, version);
        self.change(caller, &key.to_string(), object, |_| Action::Remove, decide).await?;
        self.work.notify_one();
        Ok(())
    }
}
