//! Whether a model gives a row the same answer each time: by itself, in batches of any size, and
//! beside other rows. What was found out before a version took traffic says how exactly a recorded
//! request can be repeated.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far two answers to the same row are from each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Distance {
    /// Bit for bit the same; any two values that are no number count as the same.
    Same,
    /// As different as rounding makes numbers. By so many units in the last place (ULP) at most: the
    /// floats of the datatype between both, and 1 for zeros of different signs.
    Near(u64),
    /// More than that, or other texts, types, shapes or columns.
    Far,
}

impl Distance {
    /// By how many units in the last place; `None` if that does not say it.
    pub fn ulp(self) -> Option<u64> {
        match self {
            Distance::Same => Some(0),
            Distance::Near(ulp) => Some(ulp),
            Distance::Far => None,
        }
    }
}

/// How a model's answers depend on the call that a row is part of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Determinism {
    /// A row has the same answer, bit for bit, in every call that was tried.
    Invariant,
    /// Numbers are rounded differently in batches of other sizes, or at other places there.
    SizeDependent,
    /// What else is in a batch changes a row's answer.
    RowsInteract,
    /// The same call twice has different answers.
    Random,
    /// It could not be found out.
    Unknown,
}

impl Determinism {
    /// As JSON and people write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Determinism::Invariant => "invariant",
            Determinism::SizeDependent => "size-dependent",
            Determinism::RowsInteract => "rows-interact",
            Determinism::Random => "random",
            Determinism::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Determinism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a candidate showed when it was asked for the same rows in different calls.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Probe {
    /// What was found.
    pub outcome: Determinism,
    /// The largest difference, in units in the last place, between answers to the same row: of calls
    /// of different sizes where it is `size-dependent`, of the same call where it is `random`. Absent
    /// where differences are more than rounding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ulp_max: Option<u64>,
    /// Why it could not be found out; which difference there was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What should be changed in the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// Different rows that were asked for.
    pub rows: u32,
    /// Calls of the model.
    pub calls: u32,
    /// How often the same call was made.
    pub repeats: u32,
    /// The sizes of the calls, in rows.
    pub sizes: Vec<u32>,
    /// The processor that it ran on; absent if the system does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processor: Option<String>,
}

impl Probe {
    /// One that could not be made.
    pub fn unknown(why: impl Into<String>) -> Probe {
        Probe {
            outcome: Determinism::Unknown,
            ulp_max: None,
            why: Some(why.into()),
            advice: None,
            rows: 0,
            calls: 0,
            repeats: 0,
            sizes: vec![],
            processor: None,
        }
    }
}

impl fmt::Display for Probe {
    /// In one line: `size-dependent: rounding differs by up to 3 ulp …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.outcome)?;
        match (self.outcome, self.ulp_max) {
            (Determinism::Invariant, _) => {
                f.write_str("a row has one answer, whatever the batch")?
            }
            (Determinism::SizeDependent, Some(ulp)) => {
                write!(f, "batches of other sizes round by up to {ulp} ulp")?
            }
            (Determinism::SizeDependent, None) => f.write_str("batches of other sizes round")?,
            (Determinism::RowsInteract, _) => {
                f.write_str("what else is in a batch changes an answer")?
            }
            (Determinism::Random, Some(ulp)) => {
                write!(f, "the same call twice differs by up to {ulp} ulp")?
            }
            (Determinism::Random, None) => f.write_str("the same call twice differs")?,
            (Determinism::Unknown, _) => {
                return f.write_str(self.why.as_deref().unwrap_or("it was not tried"));
            }
        }
        match &self.advice {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_a_line() {
        let mut probe = Probe::unknown("it streams");
        assert_eq!(probe.to_string(), "unknown: it streams");
        probe = Probe { outcome: Determinism::SizeDependent, ulp_max: Some(3), ..probe };
        assert_eq!(
            probe.to_string(),
            "size-dependent: batches of other sizes round by up to 3 ulp"
        );
        probe.outcome = Determinism::RowsInteract;
        probe.advice = Some("set [batch] mix = false".into());
        assert_eq!(
            probe.to_string(),
            "rows-interact: what else is in a batch changes an answer; set [batch] mix = false"
        );
        for outcome in [Determinism::Invariant, Determinism::RowsInteract, Determinism::Random] {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.as_str());
        }
    }

    #[test]
    fn distances_are_in_order() {
        assert!(Distance::Same < Distance::Near(1) && Distance::Near(2) < Distance::Far);
        assert!(Distance::Near(1) < Distance::Near(2));
    }
}
