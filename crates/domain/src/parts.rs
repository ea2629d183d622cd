//! The state in parts, one for each entry of its maps: what a snapshot is made of, so that a new
//! one holds only what has changed since the one before.

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::action::{Object, ObjectError};
use crate::grant::{Grantee, GroupName};
use crate::id::{ModelKey, NameError};
use crate::principal::PrincipalError;
use crate::state::State;

/// What is said once of access.
const HEAD: &str = "access";

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
    /// Of somebody, with an id that is none.
    #[error(transparent)]
    Principal(#[from] PrincipalError),
    /// Of an environment, with a name that is none.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// Its value is of another shape.
    #[error(transparent)]
    Body(#[from] serde_json::Error),
}

impl State {
    /// The parts that differ from those of an earlier state. What both share is not looked at.
    pub fn parts_changed_since<'a>(&'a self, before: &'a State) -> impl Iterator<Item = Part> + 'a {
        let (now, then) = (&self.access, &before.access);
        changes("subject", &before.subjects, &self.subjects)
            .chain(changes("model", &before.models, &self.models))
            .chain(changes("variables", &before.variables, &self.variables))
            .chain(changes("receiver", &before.receivers, &self.receivers))
            .chain(changes("principal", &then.principals, &now.principals))
            .chain(changes_of("grants", &then.grants, &now.grants, grantee_key))
            .chain(changes("token", &then.tokens, &now.tokens))
            .chain(changes("proposal", &then.proposals, &now.proposals))
            .chain(changes_of("protected", &then.protected, &now.protected, |(project, name)| {
                Object::Environment(project.clone(), name.clone()).to_string()
            }))
            .chain(changes_of("trusted", &then.trusted, &now.trusted, |(project, key)| {
                format!("{project}/{key}")
            }))
            .chain(changes_of("signed", &then.signed, &now.signed, |(project, name)| {
                Object::Environment(project.clone(), name.clone()).to_string()
            }))
            .chain((now.head != then.head).then(|| part(HEAD.into(), Some(&now.head))))
    }

    /// Takes a part in, in place of what was there under its key.
    pub fn take_part(&mut self, key: &str, body: &[u8]) -> Result<(), PartError> {
        let unknown = || PartError::Key(key.into());
        match key.split_once(' ') {
            Some(("subject", key)) => drop(self.subjects.insert(key.into(), read(body)?)),
            Some(("model", key)) => {
                drop(self.models.insert(ModelKey::try_from(key.to_string())?, read(body)?))
            }
            Some(("receiver", key)) => {
                drop(self.receivers.insert(key.parse()?, read(body)?));
            }
            Some(("variables", key)) => drop(self.variables.insert(key.into(), read(body)?)),
            Some(("principal", _)) => self.access.keep_principal(read(body)?),
            Some(("grants", to)) => {
                drop(self.access.grants.insert(grantee(to).ok_or_else(unknown)?, read(body)?))
            }
            Some(("token", _)) => self.access.keep_token(&read(body)?),
            Some(("proposal", id)) => {
                let id = id.parse().map_err(|_| unknown())?;
                drop(self.access.proposals.insert(id, read(body)?))
            }
            Some(("trusted", key)) => {
                let (project, key) = key.split_once('/').ok_or_else(unknown)?;
                let key = key.parse().map_err(|_| unknown())?;
                self.access.trusted.insert((project.parse()?, key), read(body)?);
            }
            Some(("signed", place)) => match place.parse()? {
                Object::Environment(project, environment) => {
                    self.access.signed.insert((project, environment), read(body)?);
                }
                _ => return Err(unknown()),
            },
            Some(("protected", place)) => match place.parse()? {
                Object::Environment(project, environment) => {
                    self.access.protected.insert((project, environment), read(body)?);
                }
                _ => return Err(unknown()),
            },
            None if key == HEAD => self.access.head = read(body)?,
            _ => return Err(unknown()),
        }
        Ok(())
    }

    /// Takes in all parts of another state, which has other ones.
    pub fn take_parts_of(&mut self, other: State) {
        self.subjects.extend(other.subjects);
        self.models.extend(other.models);
        self.variables.extend(other.variables);
        self.receivers.extend(other.receivers);
        self.access.principals.extend(other.access.principals);
        self.access.certificates.extend(other.access.certificates);
        self.access.grants.extend(other.access.grants);
        self.access.tokens.extend(other.access.tokens);
        self.access.digests.extend(other.access.digests);
        self.access.proposals.extend(other.access.proposals);
        self.access.protected.extend(other.access.protected);
        self.access.trusted.extend(other.access.trusted);
        self.access.signed.extend(other.access.signed);
        if other.access.head.seq > 0 {
            self.access.head = other.access.head;
        }
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(body)
}

fn part<V: Serialize>(key: String, value: Option<&V>) -> Part {
    Part { key, body: value.map(|value| serde_json::to_vec(value).unwrap_or_default()) }
}

/// As `principal:1f0c9a2b33d4e5f6` or `group:ml-team`.
fn grantee_key(to: &Grantee) -> String {
    match to {
        Grantee::Principal(id) => format!("principal:{id}"),
        Grantee::Group(group) => format!("group:{}", group.as_str()),
    }
}

fn grantee(key: &str) -> Option<Grantee> {
    match key.split_once(':')? {
        ("principal", id) => id.parse().ok().map(Grantee::Principal),
        ("group", name) => GroupName::try_from(name.to_string()).ok().map(Grantee::Group),
        _ => None,
    }
}

fn changes<'a, K: Ord + ToString, V: PartialEq + Serialize>(
    map: &'static str,
    before: &'a OrdMap<K, V>,
    after: &'a OrdMap<K, V>,
) -> impl Iterator<Item = Part> + 'a {
    changes_of(map, before, after, K::to_string)
}

fn changes_of<'a, K: Ord, V: PartialEq + Serialize>(
    map: &'static str,
    before: &'a OrdMap<K, V>,
    after: &'a OrdMap<K, V>,
    text: impl Fn(&K) -> String + 'a,
) -> impl Iterator<Item = Part> + 'a {
    before.diff(after).map(move |change| {
        let (key, value) = match change {
            DiffItem::Add(key, value) | DiffItem::Update { new: (key, value), .. } => {
                (key, Some(value))
            }
            DiffItem::Remove(key, _) => (key, None),
        };
        part(format!("{map} {}", text(key)), value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Entry;

    /// One event of each kind, and all shapes that they had.
    const EVENTS: &str = include_str!("../tests/events_v1.jsonl");

    #[test]
    fn a_state_comes_back_from_its_parts() {
        let mut state = State::default();
        for (at, line) in EVENTS.lines().enumerate() {
            let event = serde_json::from_str(line).unwrap();
            state.apply(&Entry {
                seq: at as u64 + 1,
                at_ms: 1,
                actor: "local".into(),
                subject: "default/churn".into(),
                subject_seq: at as u64 + 1,
                writer_epoch: 1,
                hash: crate::Digest::ZERO,
                event,
            });
        }
        assert!(!state.receivers.is_empty());
        let mut again = State { seq: state.seq, hash: state.hash, ..State::default() };
        for part in state.parts_changed_since(&State::default()) {
            again.take_part(&part.key, &part.body.unwrap()).unwrap();
        }
        let mut merged = State { seq: state.seq, hash: state.hash, ..State::default() };
        merged.take_parts_of(again.clone());
        assert!(again == state && merged == state);
    }
}
