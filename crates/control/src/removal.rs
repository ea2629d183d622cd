//! What is removed: models with all their versions, and single versions that nothing uses.

use domain::reference::Selector;
use domain::{
    Action, Caller, Code, Event, ModelKey, Object, Problem, Reference, State, VersionNumber,
};

use crate::Control;
use crate::access::permit;

impl Control {
    /// Removes a model with all its versions.
    pub async fn remove(&self, caller: &Caller, key: &ModelKey) -> Result<(), Problem> {
        let (wanted, by, now_ms) = (key.clone(), caller.clone(), self.clock.now_ms());
        let decide = move |state: &State| {
            permit(state, now_ms, &by, Action::Remove, &Object::Model(wanted.clone()))?;
            match state.models.contains_key(&wanted) {
                true => Ok(Event::ModelRemoved {}),
                false => Err(state.no_such_model(&wanted)),
            }
        };
        self.state_store.append(&caller.principal, &key.to_string(), decide).await?;
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
        let (wanted, by, now_ms) = (key.clone(), caller.clone(), self.clock.now_ms());
        let decide = move |state: &State| {
            permit(state, now_ms, &by, Action::Remove, &Object::Model(wanted.clone()))?;
            let reference = Reference {
                selector: Some(Selector::Number(version)),
                ..Reference::live(wanted.clone())
            };
            state.resolve(&reference)?;
            let model = state.model(&wanted)?;
            let live = model.live.iter().find(|(_, live)| live.version == version);
            let coming = model.running().find(|deployment| deployment.version == version);
            let used = match (live, coming) {
                (Some((environment, _)), _) => format!("is live in {environment}"),
                (None, Some(deployment)) => format!("is on its way to {}", deployment.environment),
                (None, None) => return Ok(Event::VersionRemoved { version }),
            };
            Err(Problem::new(Code::InUse, format!("{version} of `{}` {used}", wanted.model))
                .help("release another version first"))
        };
        self.state_store.append(&caller.principal, &key.to_string(), decide).await?;
        self.work.notify_one();
        Ok(())
    }
}
