//! The state in parts, one for each entry of its maps: what a snapshot is made of, so that a new
//! one holds only what has changed since the one before.

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::id::{ModelKey, NameError};
use crate::state::State;

/// One entry of one of the state's maps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// The map and the key in it, as `model default/churn`.
    pub key: String,
    /// The value as JSON; `None` if there is none any more.
    pub body: Option<Vec<u8>>,
}

/// A part that this program did not write.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// Of no map.
    #[error("`{0}` is no part of the state")]
    Key(String),
    /// Of the map of models, with a key that is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Its value is of another shape.
    #[error(transparent)]
    Body(#[from] serde_json::Error),
}

impl State {
    /// The parts that differ from those of an earlier state. What both share is not looked at.
    pub fn parts_changed_since<'a>(&'a self, before: &'a State) -> impl Iterator<Item = Part> + 'a {
        let subjects = changes("subject", &before.subjects, &self.subjects);
        let models = changes("model", &before.models, &self.models);
        subjects.chain(models).chain(changes("variables", &before.variables, &self.variables))
    }

    /// Takes a part in, in place of what was there under its key.
    pub fn take_part(&mut self, key: &str, body: &[u8]) -> Result<(), PartError> {
        match key.split_once(' ') {
            Some(("subject", key)) => drop(self.subjects.insert(key.into(), read(body)?)),
            Some(("model", key)) => {
                drop(self.models.insert(ModelKey::try_from(key.to_string())?, read(body)?))
            }
            Some(("variables", key)) => drop(self.variables.insert(key.into(), read(body)?)),
            _ => return Err(PartError::Key(key.into())),
        }
        Ok(())
    }

    /// Takes in all parts of another state, which has other ones.
    pub fn take_parts_of(&mut self, other: State) {
        self.subjects.extend(other.subjects);
        self.models.extend(other.models);
        self.variables.extend(other.variables);
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(body)
}

fn changes<'a, K: Ord + ToString, V: PartialEq + Serialize>(
    map: &'static str,
    before: &'a OrdMap<K, V>,
    after: &'a OrdMap<K, V>,
) -> impl Iterator<Item = Part> + 'a {
    before.diff(after).map(move |change| {
        let (key, value) = match change {
            DiffItem::Add(key, value) | DiffItem::Update { new: (key, value), .. } => {
                (key, Some(value))
            }
            DiffItem::Remove(key, _) => (key, None),
        };
        let body = value.map(|value| serde_json::to_vec(value).unwrap_or_default());
        Part { key: format!("{map} {}", key.to_string()), body }
    })
}
