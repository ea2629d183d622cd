//! An answer as it is given: as data, and in words.

use std::collections::HashMap;

use domain::EnvironmentName;
use domain::alarm::Target;
use domain::{ModelName, ProjectName, VersionNumber};
use policy::why::{self, Answer, Cause, Telling};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a number changed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WhyView {
    /// Of which project.
    pub project: ProjectName,
    /// Of which model.
    pub model: ModelName,
    /// Where.
    pub environment: EnvironmentName,
    /// What was looked at.
    #[serde(flatten)]
    pub looked: Looked,
    /// What changed, in a sentence.
    pub headline: String,
    /// All of it, as data.
    #[serde(flatten)]
    pub answer: Answer,
    /// The causes in words, in the order of `causes`.
    pub told: Vec<WhyCause>,
    /// What was ruled out in words, in the order of `ruled_out`.
    pub told_out: Vec<String>,
    /// What comes next where no cause was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<WhyNext>,
}

/// What was looked at.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Looked {
    /// From this time, in milliseconds since 1970 …
    pub from_ms: u64,
    /// … to this one.
    pub to_ms: u64,
    /// Records of requests.
    pub records: u64,
    /// The share of their rows whose values were looked at, from 0 to 1.
    pub sampled: f64,
}

/// A cause in words.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WhyCause {
    /// What it is: `v17 is slower`.
    pub title: String,
    /// What happened, and by whom: `released by ann`.
    pub event: Option<String>,
    /// Its numbers.
    pub detail: String,
    /// What comes next.
    pub next: WhyNext,
}

/// What comes next.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WhyNext {
    /// A command.
    pub command: String,
    /// What it is for.
    pub says: String,
}

/// What the words are about.
pub struct Known {
    /// What callers' names stand for.
    pub principals: HashMap<String, String>,
    /// The last two versions that answered in this time, if there were two.
    pub versions: Option<(VersionNumber, VersionNumber)>,
}

/// Versions are told apart on the same requests, whatever else changed meanwhile.
fn compare(target: &Target, (before, after): (VersionNumber, VersionNumber)) -> WhyNext {
    WhyNext {
        command: format!("{}@{before} {after} --replay 1000", target.command("diff")),
        says: "both versions of this time, on the same requests".into(),
    }
}

impl WhyView {
    /// An answer in words.
    pub fn new(
        target: &Target,
        answer: Answer,
        looked: Looked,
        rollback_to: Option<String>,
        known: &Known,
    ) -> WhyView {
        let Known { principals, versions } = known;
        let principal_of =
            |name: &str| principals.get(name).cloned().unwrap_or_else(|| name.to_string());
        let telling = Telling { target, rollback_to, principal_of: &principal_of };
        let tell = |cause: &Cause| {
            let (command, says) = why::next(&cause.next, &telling);
            WhyCause {
                title: why::title(cause.kind, &cause.reference, answer.metric),
                event: why::event(&cause.reference),
                detail: why::detail(cause, answer.metric),
                next: WhyNext { command, says },
            }
        };
        let next = versions.filter(|_| answer.causes.is_empty());
        WhyView {
            next: next.map(|versions| compare(target, versions)),
            project: target.model.project.clone(),
            model: target.model.model.clone(),
            environment: target.environment.clone(),
            looked,
            headline: why::headline(&answer),
            told: answer.causes.iter().map(tell).collect(),
            told_out: answer
                .ruled_out
                .iter()
                .map(|out| why::ruled_out(out, answer.metric))
                .collect(),
            answer,
        }
    }
}
