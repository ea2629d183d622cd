//! Principals: who asks, proved and not only said, and how the ledger writes it down. The ledger
//! holds ids and no names, so that a name can be erased without a change to any entry.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::problem::excerpt;

/// How the ledger writes Decalog itself.
const PLATFORM: &str = "decalog";
/// How the ledger writes the owner of the data directory.
const LOCAL: &str = "local";

/// A random number that stands for somebody whose name is kept elsewhere; written as 16 hexadecimal
/// digits. It is never used again for somebody else.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[0-9a-f]{16}$", "examples" = ["1f0c9a2b33d4e5f6"]))]
pub struct PrincipalId(pub [u8; 8]);

/// What kind of somebody has an id.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    /// A human being, however they logged in.
    Person,
    /// A program that calls models or Decalog for long, with a token of its own.
    Service,
    /// A run of a pipeline elsewhere that proved itself by its platform's token, without a secret.
    Job,
    /// Whoever holds the key of a client certificate.
    Certificate,
}

/// Who asks. In JSON, and as the actor of an entry, it is its text: `decalog`, `local`,
/// `person:1f0c9a2b33d4e5f6`.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend(
    "pattern" = "^(decalog|local|(person|service|job|certificate):[0-9a-f]{16})$",
    "examples" = ["person:1f0c9a2b33d4e5f6", "local"],
))]
pub enum Principal {
    /// Decalog itself: its reconcilers, guards and timers.
    Platform,
    /// Whoever owns the data directory, or root, at the machine itself. Several people may share
    /// it, so that it is nobody in particular.
    LocalOwner,
    /// Somebody with an id.
    Known(PrincipalKind, PrincipalId),
}

/// The text is no principal.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{0}` is not a principal: expected decalog, local, or person, service, job or certificate \
     with an id as in person:1f0c9a2b33d4e5f6"
)]
pub struct PrincipalError(String);

impl PrincipalKind {
    /// All of them.
    pub const ALL: [PrincipalKind; 4] = [
        PrincipalKind::Person,
        PrincipalKind::Service,
        PrincipalKind::Job,
        PrincipalKind::Certificate,
    ];

    /// As it is written before the id.
    pub fn as_str(self) -> &'static str {
        match self {
            PrincipalKind::Person => "person",
            PrincipalKind::Service => "service",
            PrincipalKind::Job => "job",
            PrincipalKind::Certificate => "certificate",
        }
    }
}

impl Principal {
    /// Its id, if it has one.
    pub fn id(&self) -> Option<PrincipalId> {
        match self {
            Principal::Known(_, id) => Some(*id),
            Principal::Platform | Principal::LocalOwner => None,
        }
    }

    /// The human being that it is; nobody for all others, whoever may stand behind them.
    pub fn person(&self) -> Option<PrincipalId> {
        match self {
            Principal::Known(PrincipalKind::Person, id) => Some(*id),
            _ => None,
        }
    }

    /// As people read it. `name` comes from the table of names; it is absent where the name was
    /// erased.
    pub fn display(&self, name: Option<&str>) -> String {
        match (self, name) {
            (Principal::Platform, _) => PLATFORM.to_string(),
            (Principal::LocalOwner, _) => "owner (local)".to_string(),
            (Principal::Known(PrincipalKind::Person, _), Some(name)) => name.to_string(),
            (Principal::Known(kind, _), Some(name)) => format!("{name} ({kind})"),
            (Principal::Known(kind, id), None) => format!("{kind} {id}"),
        }
    }
}

impl fmt::Display for PrincipalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PrincipalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for PrincipalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Principal::Platform => f.write_str(PLATFORM),
            Principal::LocalOwner => f.write_str(LOCAL),
            Principal::Known(kind, id) => write!(f, "{kind}:{id}"),
        }
    }
}

fn wrong(text: &str) -> PrincipalError {
    PrincipalError(excerpt(text).into_owned())
}

impl FromStr for PrincipalId {
    type Err = PrincipalError;

    fn from_str(text: &str) -> Result<PrincipalId, PrincipalError> {
        let mut bytes = [0; 8];
        // One id has one text: upper case would be a second.
        if text.bytes().any(|c| c.is_ascii_uppercase()) {
            return Err(wrong(text));
        }
        hex::decode_to_slice(text, &mut bytes).map_err(|_| wrong(text))?;
        Ok(PrincipalId(bytes))
    }
}

impl FromStr for Principal {
    type Err = PrincipalError;

    fn from_str(text: &str) -> Result<Principal, PrincipalError> {
        match text {
            PLATFORM => return Ok(Principal::Platform),
            LOCAL => return Ok(Principal::LocalOwner),
            _ => {}
        }
        let (kind, id) = text.split_once(':').ok_or_else(|| wrong(text))?;
        let kind = PrincipalKind::ALL.into_iter().find(|known| known.as_str() == kind);
        let kind = kind.ok_or_else(|| wrong(text))?;
        Ok(Principal::Known(kind, id.parse().map_err(|_| wrong(text))?))
    }
}

impl TryFrom<String> for PrincipalId {
    type Error = PrincipalError;

    fn try_from(text: String) -> Result<PrincipalId, PrincipalError> {
        text.parse()
    }
}

impl From<PrincipalId> for String {
    fn from(id: PrincipalId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for Principal {
    type Error = PrincipalError;

    fn try_from(text: String) -> Result<Principal, PrincipalError> {
        text.parse()
    }
}

impl From<Principal> for String {
    fn from(principal: Principal) -> String {
        principal.to_string()
    }
}

/// The actor of an entry of the ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Actor {
    /// Decalog knew who it was when the entry was written.
    Proved(Principal),
    /// Somebody said so, and nobody checked: entries of before there were principals. Whatever it
    /// reads like, it is not that.
    Claimed(String),
}

impl Actor {
    /// Reads the actor of an entry. `is_proved` says whether the entry is later than the one with
    /// which Decalog began to ask for proof: by the text alone nobody can tell, since any text
    /// could be claimed before.
    pub fn read(text: &str, is_proved: bool) -> Actor {
        match text.parse() {
            Ok(principal) if is_proved => Actor::Proved(principal),
            _ => Actor::Claimed(text.to_string()),
        }
    }

    /// Who it was, if that is known.
    pub fn principal(&self) -> Option<&Principal> {
        match self {
            Actor::Proved(principal) => Some(principal),
            Actor::Claimed(_) => None,
        }
    }

    /// As people read it; `name_of` looks into the table of names.
    pub fn display<'a>(&self, name_of: impl FnOnce(PrincipalId) -> Option<&'a str>) -> String {
        match self {
            Actor::Proved(principal) => principal.display(principal.id().and_then(name_of)),
            Actor::Claimed(text) => format!("{text} (claimed)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: Principal =
        Principal::Known(PrincipalKind::Person, PrincipalId([0x1f, 0x0c, 0, 0, 0, 0, 0, 1]));

    #[test]
    fn a_principal_is_its_text() {
        let mut all = vec![Principal::Platform, Principal::LocalOwner];
        all.extend(
            PrincipalKind::ALL.map(|kind| Principal::Known(kind, PrincipalId([kind as u8; 8]))),
        );
        for principal in all {
            let text = principal.to_string();
            assert_eq!(text.parse::<Principal>().unwrap(), principal, "{text}");
            let json = serde_json::to_string(&principal).unwrap();
            assert_eq!(json, format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Principal>(&json).unwrap(), principal);
        }
        assert_eq!(ANN.to_string(), "person:1f0c000000000001");
        for bad in [
            "",
            "ann",
            "Local",
            "person",
            "person:",
            "person:1f0c",
            "person:1F0C000000000001",
            "person:1f0c0000000000010",
            "person:1f0c00000000000g",
            "robot:1f0c000000000001",
            "person:person:1f0c000000000001",
            &"x".repeat(5_000),
        ] {
            assert!(bad.parse::<Principal>().unwrap_err().to_string().len() < 400, "{bad}");
        }
    }

    #[test]
    fn only_a_person_is_a_person() {
        assert_eq!(ANN.person(), ANN.id());
        for kind in [PrincipalKind::Service, PrincipalKind::Job, PrincipalKind::Certificate] {
            assert_eq!(Principal::Known(kind, PrincipalId([1; 8])).person(), None);
        }
        assert_eq!((Principal::LocalOwner.person(), Principal::Platform.person()), (None, None));
    }

    #[test]
    fn what_was_only_claimed_is_never_taken_for_somebody() {
        let names = |_| Some("ann");
        for text in ["ann", "decalog", "local", "person:1f0c000000000001"] {
            let actor = Actor::read(text, false);
            assert_eq!(actor.principal(), None);
            assert_eq!(actor.display(names), format!("{text} (claimed)"));
        }
        let actor = Actor::read("person:1f0c000000000001", true);
        assert_eq!((actor.principal(), actor.display(names)), (Some(&ANN), "ann".into()));
        // Of a program that knows more kinds: shown, but trusted with nothing.
        assert_eq!(Actor::read("robot:1f", true), Actor::Claimed("robot:1f".into()));
    }

    #[test]
    fn an_erased_name_leaves_the_id() {
        assert_eq!(ANN.display(None), "person 1f0c000000000001");
        let shop = Principal::Known(PrincipalKind::Service, PrincipalId([9; 8]));
        assert_eq!(shop.display(Some("shop")), "shop (service)");
        assert_eq!(Principal::LocalOwner.display(None), "owner (local)");
    }
}
