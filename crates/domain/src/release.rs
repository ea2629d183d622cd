//! How traffic moves from one version to the next: the plan of a release, and how far it is.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::guard::{Guard, Metric};
use crate::id::VersionNumber;
use crate::rehearsal::REHEARSED_MAX;

/// Between two steps of a canary by default, in milliseconds.
pub const EVERY_MS: u64 = 120_000;
/// The most steps of a canary.
pub const STEPS_MAX: usize = 20;

/// The plan of a release; absent parts of an old event are an instant release without guards.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    /// Shares of the traffic that the new version gets one after the other, in percent, rising;
    /// empty is all at once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub canary: Vec<u8>,
    /// The share of requests that are also sent to the new version before it takes any, in percent;
    /// their answers are compared and dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<u8>,
    /// The least time of a step, in milliseconds; 120,000 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_ms: Option<u64>,
    /// What the new version must keep to. None were named: the usual ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<Guard>,
    /// The header whose value decides which version a caller gets, so that it does not change from
    /// request to request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sticky: Option<String>,
    /// The last so many requests that were recorded of the live version are asked of the new one, and
    /// of the live one again, before the new one takes any; its guards are judged on them. From 1 to
    /// 5,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rehearse: Option<u32>,
    /// Whether a schema that breaks callers is meant.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub breaking: bool,
    /// Whether a version without cases goes live without having answered a made-up row. Cases run all
    /// the same.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub untested: bool,
    /// Why it was requested.
    #[serde(skip_serializing_if = "Cause::is_deploy")]
    pub cause: Cause,
}

/// Why a version is to go live.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It was pushed.
    #[default]
    Deploy,
    /// Somebody named it.
    Release,
    /// What was live before is to be live again.
    Rollback,
    /// It is live in another environment.
    Promote,
}

impl Cause {
    fn is_deploy(&self) -> bool {
        *self == Cause::Deploy
    }
}

/// A plan that cannot be carried out.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct PlanError(String);

impl Plan {
    /// Whether the new version takes everything at once.
    pub fn is_instant(&self) -> bool {
        self.canary.is_empty() && self.shadow.is_none()
    }

    /// The least time of a step, in milliseconds.
    pub fn every_ms(&self) -> u64 {
        self.every_ms.unwrap_or(EVERY_MS)
    }

    /// The guards that its phases can be judged by: answers are compared by a shadow only, so a guard
    /// on them is the rehearsal's where there is none. The usual ones if that leaves none.
    pub fn guards_of_phases(&self) -> Vec<Guard> {
        let compares = self.shadow.is_some();
        let is_of_phases = |guard: &&Guard| compares || guard.metric() != Metric::Disagreement;
        let guards: Vec<Guard> = self.guards.iter().filter(is_of_phases).copied().collect();
        if guards.is_empty() { Guard::defaults() } else { guards }
    }

    /// The guards that its rehearsal is judged by: those that are named, else the usual ones. Failures
    /// always count: a version that only must be fast must answer as well.
    pub fn guards_of_rehearsal(&self) -> Vec<Guard> {
        let defaults = Guard::defaults();
        if self.guards.is_empty() {
            return defaults;
        }
        let is_of_errors = |guard: &&Guard| guard.metric() == Metric::Errors;
        let mut guards = self.guards.clone();
        if !guards.iter().any(|guard| is_of_errors(&guard)) {
            guards.extend(defaults.iter().find(is_of_errors));
        }
        guards
    }

    /// The phases in their order.
    pub fn phases(&self) -> Vec<Phase> {
        let shadow = self.shadow.map(|percent| Phase { shadow: true, percent });
        shadow
            .into_iter()
            .chain(self.canary.iter().map(|percent| Phase { shadow: false, percent: *percent }))
            .collect()
    }

    /// Checks what the types cannot.
    pub fn validate(&self) -> Result<(), PlanError> {
        let refuse = |text: String| Err(PlanError(text));
        if self.canary.len() > STEPS_MAX {
            return refuse(format!("a canary has at most {STEPS_MAX} steps"));
        }
        if let Some(percent) = self.canary.iter().find(|percent| !(1..=99).contains(*percent)) {
            return refuse(format!(
                "a canary step is a share from 1 to 99 percent, not {percent}; all traffic follows by itself"
            ));
        }
        if !self.canary.is_sorted_by(|a, b| a < b) {
            return refuse("the steps of a canary must rise, as in 5,25,50".into());
        }
        if self.shadow.is_some_and(|percent| !(1..=100).contains(&percent)) {
            return refuse("a shadow gets a share from 1 to 100 percent".into());
        }
        if self.every_ms.is_some_and(|ms| !(100..=86_400_000).contains(&ms)) {
            return refuse("a step takes from 100 ms to a day".into());
        }
        if self.rehearse.is_some_and(|requests| !(1..=REHEARSED_MAX).contains(&requests)) {
            return refuse(format!("a rehearsal asks from 1 to {REHEARSED_MAX} requests"));
        }
        if self.is_instant() && (self.sticky.is_some() || self.every_ms.is_some()) {
            return refuse(
                "a sticky header and a time for each step need a canary (--canary 5,25,50) or a shadow".into(),
            );
        }
        if self.is_instant() && self.rehearse.is_none() && !self.guards.is_empty() {
            return refuse(
                "guards need a canary (--canary 5,25,50), a shadow or a rehearsal (--rehearse 1000)".into(),
            );
        }
        if self.shadow.is_none()
            && self.rehearse.is_none()
            && let Some(guard) =
                self.guards.iter().find(|guard| guard.metric() == Metric::Disagreement)
        {
            return refuse(format!(
                "the guard {guard} compares answers, which only a shadow or a rehearsal does: add --shadow 20% or --rehearse 1000"
            ));
        }
        if let Some(name) = self.sticky.as_ref().filter(|name| !is_header_name(name)) {
            return refuse(format!("`{name}` is not the name of a header"));
        }
        Ok(())
    }
}

fn is_header_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
}

impl fmt::Display for Plan {
    /// As people read it: `shadow 20%, canary 5, 25, 50% every 120 s, guards errors<1%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> =
            self.rehearse.map(|requests| format!("rehearse {requests}")).into_iter().collect();
        if self.is_instant() && parts.is_empty() {
            return f.write_str("instant");
        }
        parts.extend(self.shadow.map(|percent| format!("shadow {percent}%")));
        if !self.canary.is_empty() {
            let steps: Vec<String> = self.canary.iter().map(u8::to_string).collect();
            parts.push(format!(
                "canary {}% every {} s",
                steps.join(", "),
                self.every_ms() as f64 / 1_000.0
            ));
        }
        if !self.guards.is_empty() {
            let guards: Vec<String> = self.guards.iter().map(Guard::to_string).collect();
            parts.push(format!("guards {}", guards.join(" ")));
        }
        parts.extend(self.sticky.as_ref().map(|header| format!("sticky by {header}")));
        f.write_str(&parts.join(", "))
    }
}

/// What part of the traffic a new version gets, and whether its answers count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Phase {
    /// It gets copies, whose answers are dropped.
    pub shadow: bool,
    /// Of the requests.
    pub percent: u8,
}

impl Phase {
    /// What becomes of requests meanwhile, beside the version that is live.
    pub fn told(&self, live: VersionNumber) -> String {
        let percent = self.percent;
        match self.shadow {
            true => format!("copies of {percent}% of the requests; {live} answers all callers"),
            false => format!("{percent}% of the requests; the rest goes to {live}"),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}%", if self.shadow { "shadow" } else { "canary" }, self.percent)
    }
}

/// How far a release is that does not happen all at once.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// Its place among the phases of the plan, from 0.
    pub step: u32,
    /// What the new version gets now.
    pub phase: Phase,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// What the rest of the traffic gets.
    pub baseline: VersionNumber,
    /// Whether it stays as it is until somebody resumes it.
    pub paused: bool,
    /// The last verdict of the guards, in one line.
    pub said: String,
    /// How often evidence was collected anew: once, and once more after each restart of the server.
    #[serde(default)]
    pub segments: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_that_cannot_be() {
        let plan =
            |canary: &[u8], shadow| Plan { canary: canary.to_vec(), shadow, ..Plan::default() };
        assert!(plan(&[], None).validate().is_ok());
        assert!(plan(&[5, 25, 50], Some(20)).validate().is_ok());
        for bad in [
            plan(&[0], None),
            plan(&[100], None),
            plan(&[25, 5], None),
            plan(&[5, 5], None),
            plan(&[], Some(0)),
        ] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
        assert!(Plan { sticky: Some("X-User".into()), ..Plan::default() }.validate().is_err());
        assert!(Plan { sticky: Some("X User".into()), ..plan(&[5], None) }.validate().is_err());
        let compares =
            Plan { guards: vec!["disagreement<2%".parse().unwrap()], ..plan(&[5], None) };
        assert!(compares.validate().is_err());
        assert!(Plan { shadow: Some(20), ..compares.clone() }.validate().is_ok());
        assert_eq!(compares.guards_of_phases(), Guard::defaults());
        let rehearsed = Plan { canary: vec![], rehearse: Some(500), ..compares };
        assert!(rehearsed.validate().is_ok());
        let texts: Vec<String> =
            rehearsed.guards_of_rehearsal().iter().map(Guard::to_string).collect();
        assert_eq!(texts, ["disagreement<2%", "errors<baseline+0.5%"]);
        for bad in [0, 5_001] {
            assert!(Plan { rehearse: Some(bad), ..Plan::default() }.validate().is_err(), "{bad}");
        }
        assert_eq!(serde_json::to_string(&Plan::default()).unwrap(), "{}");
    }

    #[test]
    fn reads_like_a_sentence() {
        let plan = Plan {
            canary: vec![5, 25],
            shadow: Some(20),
            sticky: Some("X-User".into()),
            ..Plan::default()
        };
        assert_eq!(plan.to_string(), "shadow 20%, canary 5, 25% every 120 s, sticky by X-User");
        assert_eq!(plan.phases().len(), 3);
        let plan = Plan { rehearse: Some(500), ..Plan::default() };
        assert_eq!((plan.to_string().as_str(), plan.is_instant()), ("rehearse 500", true));
    }
}
