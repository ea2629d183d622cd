//! The keys that wrap secrets: which there are, and rotating them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use domain::event::PLATFORM;
use domain::{Caller, Code, Event, Principal, Problem, State};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::secret::{KeyId, Rotated};
use crate::{Control, aside};

/// A key and what it is used for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeyUse {
    /// 16 hexadecimal digits, known from the key.
    pub id: String,
    /// Who keeps it: `file`, or as `--secrets-key` names it.
    pub provider: String,
    /// Whether it wraps what is set from now on.
    pub current: bool,
    /// Secrets that it wraps.
    pub secrets: u64,
}

/// All keys, and the rotation that runs or ran last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Keys {
    /// By provider and id.
    pub keys: Vec<KeyUse>,
    /// Secrets that none of them wraps: they cannot be read.
    pub lost: u64,
    /// `null` if none was asked of this process.
    pub rotation: Option<Rotation>,
}

/// A rotation of keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rotation {
    /// Whether it still runs.
    pub running: bool,
    /// Files of secrets that are done.
    pub done: u64,
    /// Of so many.
    pub total: u64,
    /// The key that wraps now, once all are done.
    pub key: Option<String>,
    /// Keys that were deleted, as nothing needs them any more.
    pub removed: Vec<String>,
    /// Files that no key opens: they are as they were.
    pub unreadable: Vec<String>,
    /// Why it ended before all was done; another rotation takes the rest along.
    pub problem: Option<Problem>,
}

fn ids(keys: &[KeyId]) -> Vec<String> {
    keys.iter().map(KeyId::to_string).collect()
}

impl Rotation {
    fn ended(&mut self, result: Result<Rotated, Problem>) {
        self.running = false;
        match result {
            Ok(Rotated { key, removed, unreadable }) => {
                self.key = Some(key.to_string());
                self.removed = ids(&removed);
                self.unreadable = unreadable;
            }
            Err(problem) => {
                tracing::error!("keys were not rotated to the end: {problem}");
                self.problem = Some(problem);
            }
        }
    }
}

impl Control {
    /// All keys.
    pub async fn keys(&self) -> Result<Keys, Problem> {
        let (secrets, rotation) = (self.secrets.clone(), self.rotation.lock().clone());
        aside(move || {
            let known = secrets.ring().keys()?;
            let ids: HashSet<KeyId> = known.iter().map(|key| key.id).collect();
            let (used, lost): (HashMap<KeyId, u64>, u64) = secrets.uses(&ids)?;
            let keys = known.into_iter().map(|key| KeyUse {
                id: key.id.to_string(),
                provider: key.provider,
                current: key.current,
                secrets: used.get(&key.id).copied().unwrap_or(0),
            });
            Ok(Keys { keys: keys.collect(), lost, rotation })
        })
        .await?
    }

    /// The rotation that runs, or that ran last.
    pub fn rotation(&self) -> Option<Rotation> {
        self.rotation.lock().clone()
    }

    /// Begins to rotate keys; [`Control::rotation`] says how far that is. It goes on whether or not
    /// somebody waits for it, and is in the ledger once it is done.
    pub async fn rotate_keys(
        self: &Arc<Control>,
        caller: &Caller,
        keep_old: bool,
    ) -> Result<Rotation, Problem> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        let begun = Rotation { running: true, ..Rotation::default() };
        {
            let mut rotation = self.rotation.lock();
            if rotation.as_ref().is_some_and(|rotation| rotation.running) {
                return Err(Problem::new(Code::Conflict, "keys are being rotated already")
                    .help("decalog key ls says how far that is"));
            }
            *rotation = Some(begun.clone());
        }
        let (control, actor) = (self.clone(), caller.principal);
        tokio::spawn(async move {
            let result = control.rotated(&actor, keep_old).await;
            if let Some(rotation) = control.rotation.lock().as_mut() {
                rotation.ended(result);
            }
        });
        Ok(begun)
    }

    async fn rotated(&self, actor: &Principal, keep_old: bool) -> Result<Rotated, Problem> {
        let (secrets, state, at) = (self.secrets.clone(), self.state(), self.rotation.clone());
        let rotating = aside(move || {
            let before = secrets.ring().keys()?.into_iter().find(|key| key.current);
            let contexts = Control::secret_files(&state);
            let rotated =
                secrets.rotate(&contexts, keep_old, |done, total| tell(&at, done, total))?;
            Ok((before.map(|key| key.id.to_string()), rotated))
        });
        let (from, rotated) = rotating.await.unwrap_or_else(Err)?;
        let (to, removed) = (rotated.key.to_string(), ids(&rotated.removed));
        let decide = move |_: &State| Ok(Event::KeysRotated { from, to, removed });
        self.state_store.append(actor, PLATFORM, decide).await?;
        Ok(rotated)
    }
}

fn tell(rotation: &Arc<Mutex<Option<Rotation>>>, done: u64, total: u64) {
    if let Some(rotation) = rotation.lock().as_mut() {
        (rotation.done, rotation.total) = (done, total);
    }
}
