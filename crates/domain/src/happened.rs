//! What happened, as it is listed: entries of the ledger, and between them telemetry, which is kept
//! for a time only.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::event::{Entry, Event};
use crate::principal::Principal;

/// How far somebody has read, as `12.7`: up to entry 12 of the ledger and up to number 7 of
/// telemetry. As `12`: up to that entry and what came before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = r"^[0-9]+(\.[0-9]+)?$", "examples" = ["0", "12.7"]))]
pub struct After {
    /// The number of an entry.
    pub seq: u64,
    /// The number of a piece of telemetry.
    pub telemetry: Option<u64>,
}

/// It is no place among what happened.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{0}` is no place among events: it is a number, or two as in 12.7, each at most 9223372036854775807"
)]
pub struct AfterError(String);

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.telemetry {
            Some(telemetry) => write!(f, "{}.{telemetry}", self.seq),
            None => write!(f, "{}", self.seq),
        }
    }
}

impl FromStr for After {
    type Err = AfterError;

    fn from_str(text: &str) -> Result<After, AfterError> {
        let wrong = || AfterError(crate::problem::excerpt(text).into_owned());
        // Both are kept as signed integers.
        let number = |digits: &str| {
            digits.parse::<u64>().ok().filter(|number| *number <= i64::MAX as u64).ok_or_else(wrong)
        };
        match text.split_once('.') {
            Some((seq, telemetry)) => {
                Ok(After { seq: number(seq)?, telemetry: Some(number(telemetry)?) })
            }
            None => Ok(After { seq: number(text)?, telemetry: None }),
        }
    }
}

impl TryFrom<String> for After {
    type Error = AfterError;

    fn try_from(text: String) -> Result<After, AfterError> {
        text.parse()
    }
}

impl From<After> for String {
    fn from(after: After) -> String {
        after.to_string()
    }
}

/// One thing that happened.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Happened {
    /// Where it stands: whoever has read up to here goes on after it.
    pub place: After,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Who, as people read it: a name, `owner (local)`, `decalog`; in entries of before it was
    /// proved, what was claimed.
    pub actor: String,
    /// Who, as the ledger writes it, if it was proved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<Principal>,
    /// Whom it is about, as people read it, if it is about somebody's rights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// What it concerns: `project/model`, `project`, or `decalog`.
    pub subject: String,
    /// Its entry in the ledger; telemetry has none.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<InLedger>,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What an entry of the ledger has beside its event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct InLedger {
    /// Its place, from 1, without gaps.
    pub seq: u64,
    /// Its place among the entries of its subject, from 1.
    pub subject_seq: u64,
    /// Which writer wrote it.
    pub writer_epoch: u64,
    /// Of all before and this.
    pub hash: Digest,
}

impl From<Entry> for Happened {
    fn from(entry: Entry) -> Happened {
        let Entry { seq, at_ms, actor, subject, subject_seq, writer_epoch, hash, event } = entry;
        let place = After { seq, telemetry: None };
        Happened {
            place,
            at_ms,
            actor,
            principal: None,
            about: None,
            subject,
            entry: Some(InLedger { seq, subject_seq, writer_epoch, hash }),
            event,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_numbers() {
        for text in ["0", "12", "12.7", "9223372036854775807.0"] {
            assert_eq!(text.parse::<After>().unwrap().to_string(), text);
        }
        for text in [
            "",
            ".",
            "1.",
            ".1",
            "-1",
            "1.2.3",
            "x",
            "9223372036854775808",
            "1.9223372036854775808",
            &"1".repeat(5_000),
        ] {
            assert!(text.parse::<After>().unwrap_err().to_string().len() < 400, "{text}");
        }
    }

    #[test]
    fn an_entry_is_listed_with_its_hash_and_telemetry_without() {
        let entry = Entry {
            seq: 12,
            at_ms: 5,
            actor: "mia".into(),
            subject: "default/m".into(),
            subject_seq: 2,
            writer_epoch: 1,
            hash: Digest::ZERO,
            event: Event::ModelRemoved { proposal: None },
        };
        let listed = serde_json::to_value(Happened::from(entry.clone())).unwrap();
        // Whoever reads entries finds all of one.
        assert_eq!(serde_json::from_value::<Entry>(listed.clone()).unwrap(), entry);
        assert_eq!(serde_json::from_value::<Happened>(listed).unwrap(), entry.clone().into());
        let telemetry = Happened { place: "12.7".parse().unwrap(), entry: None, ..entry.into() };
        let listed = serde_json::to_value(&telemetry).unwrap();
        assert!(
            listed["place"] == "12.7"
                && listed["kind"] == "model_removed"
                && listed.get("seq").is_none(),
            "{listed}"
        );
        assert_eq!(serde_json::from_value::<Happened>(listed).unwrap(), telemetry);
    }
}
