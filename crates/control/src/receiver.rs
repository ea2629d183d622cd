//! Receivers of alarms: who is told of which is in the ledger; where they are and what signs their
//! messages is kept like a secret.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::event::PLATFORM;
use domain::receiver::RECEIVERS_MAX;
use domain::{
    Action, AlertReceiver, Caller, Code, Event, ModelKey, Object, Principal, Problem, ReceiverKind,
    ReceiverName, ReceiverSecret, Severity, State,
};

use crate::random::random;
use crate::{Control, aside};

/// What the secrets of receivers are called by, beside their names.
const PLACE: &str = "alerts";

/// What a receiver becomes.
#[derive(Clone, Debug)]
pub struct ReceiverSetting {
    /// What it is called.
    pub name: ReceiverName,
    /// How it is told.
    pub kind: ReceiverKind,
    /// Only alarms of this model; of all if none.
    pub model: Option<ModelKey>,
    /// Only alarms that are so severe, or more.
    pub severity: Severity,
    /// Its address, whole.
    pub address: String,
    /// What may be shown of it: scheme, host and port.
    pub host: String,
}

/// What a receiver's secret is called among all.
pub(crate) fn context(name: &ReceiverName) -> String {
    crate::secret::context(PLACE, name.as_str())
}

fn no_such_receiver(name: &ReceiverName) -> Problem {
    Problem::new(Code::NoSuchReceiver, format!("there is no receiver `{name}`"))
        .help("decalog alerts ls lists those that there are")
}

impl Control {
    /// All receivers, by name.
    pub fn receivers(&self) -> Vec<AlertReceiver> {
        self.state().receivers.values().map(|receiver| receiver.as_ref().clone()).collect()
    }

    /// One of them.
    pub fn receiver(&self, name: &ReceiverName) -> Result<AlertReceiver, Problem> {
        let state = self.state();
        let found = state.receivers.get(name).map(|receiver| receiver.as_ref().clone());
        found.ok_or_else(|| no_such_receiver(name))
    }

    /// A receiver's address and key. Reads a file, and may ask the vault that keeps its key.
    pub fn receiver_secret(&self, receiver: &AlertReceiver) -> Result<ReceiverSecret, Problem> {
        let text = self.secrets.get(PLACE, receiver.name.as_str(), Some(receiver.secret))?;
        serde_json::from_str(&text).map_err(|_| {
            Problem::new(Code::Secrets, "the address of a receiver cannot be read")
                .help("set it again: decalog alerts add NAME URL")
        })
    }

    /// Makes a receiver, or replaces it. Gives it with the key that signs its messages.
    pub async fn set_receiver(
        &self,
        caller: &Caller,
        setting: ReceiverSetting,
    ) -> Result<(AlertReceiver, String), Problem> {
        self.permit(caller, Action::Administer, &Object::Platform)?;
        let key: [u8; 32] = random()?;
        let key = format!("whsec_{}", STANDARD.encode(key));
        let ReceiverSetting { name, kind, model, severity, address, host } = setting;
        let secret = ReceiverSecret { address, key: key.clone() };
        let text = serde_json::to_string(&secret)
            .map_err(|error| Problem::new(Code::Secrets, error.to_string()))?;
        let before = self.state().receivers.get(&name).map(|receiver| receiver.secret);
        // Written first: it is in force when its event is, and not before.
        let (secrets, of) = (self.secrets.clone(), name.clone());
        let file = aside(move || secrets.put(PLACE, of.as_str(), &text)).await??;
        let receiver =
            AlertReceiver { name: name.clone(), kind, host, model, severity, secret: file };
        let set = receiver.clone();
        let decide = move |state: &State| {
            let known = &state.receivers;
            if known.len() >= RECEIVERS_MAX && !known.contains_key(&set.name) {
                let text = format!("there are {RECEIVERS_MAX} receivers already");
                return Err(Problem::new(Code::BadReceiver, text)
                    .help("remove one first: decalog alerts ls, decalog alerts rm NAME"));
            }
            Ok(Event::AlertReceiverSet { receiver: Box::new(set) })
        };
        let action = |_: &State| Action::Administer;
        let appended = self.change(caller, PLATFORM, Object::Platform, action, decide).await;
        let gone = if appended.is_ok() { before } else { Some(file) };
        if let Some(gone) = gone {
            let secrets = self.secrets.clone();
            aside(move || secrets.remove(PLACE, name.as_str(), Some(gone))).await?;
        }
        appended.map(|_| (receiver, key))
    }

    /// Removes a receiver.
    pub async fn remove_receiver(
        &self,
        caller: &Caller,
        name: &ReceiverName,
    ) -> Result<(), Problem> {
        self.permit(caller, Action::Administer, &Object::Platform)?;
        let before = self.receiver(name)?.secret;
        let of = name.clone();
        let decide = move |state: &State| match state.receivers.contains_key(&of) {
            true => Ok(Event::AlertReceiverRemoved { name: of }),
            false => Err(no_such_receiver(&of)),
        };
        let action = |_: &State| Action::Administer;
        self.change(caller, PLATFORM, Object::Platform, action, decide).await?;
        let (secrets, name) = (self.secrets.clone(), name.clone());
        aside(move || secrets.remove(PLACE, name.as_str(), Some(before))).await
    }

    /// What somebody is called who is written as a principal.
    pub fn display_name(&self, principal: &str) -> String {
        let known = principal.parse::<Principal>();
        known.map_or_else(|_| principal.to_string(), |known| self.names.display(&known))
    }
}
