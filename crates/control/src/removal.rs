//! What is removed: models with all their versions, and single versions that nothing uses.

use domain::reference::Selector;
use domain::{Code, Event, ModelKey, Problem, Reference, State, VersionNumber};

use crate::Control;

impl Control {
    /// Removes a model with all its versions.
    pub async fn remove(&self, actor: &str, key: &ModelKey) -> Result<(), Problem> {
        let wanted = key.clone();
        let decide = move |state: &State| match state.models.contains_key(&wanted) {
            true => Ok(Event::ModelRemoved {}),
            false => Err(state.no_such_model(&wanted)),
        };
        self.state_store.append(actor, &key.to_string(), decide).await?;
        self.work.notify_one();
        Ok(())
    }

    /// Removes one version, unless it is in use.
    pub async fn remove_version(
        &self,
        actor: &str,
        key: &ModelKey,
        version: VersionNumber,
    ) -> Result<(), Problem> {
        let wanted = key.clone();
        let decide = move |state: &State| {
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
        self.state_store.append(actor, &key.to_string(), decide).await?;
        self.work.notify_one();
        Ok(())
    }
}
