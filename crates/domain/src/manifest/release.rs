//! `[release]`: the plan of a deploy that says nothing else.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::guard::Guard;
use crate::release::Plan;

/// `[release]`: the plan of a deploy that says nothing else.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReleaseSection {
    /// Default: `instant`, or what the other keys imply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Shares of the traffic one after the other, in percent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub canary: Vec<u8>,
    /// The share of requests whose copies go to the new version first, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<u8>,
    /// The least time of a step, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_s: Option<u64>,
    /// What the new version must keep to, as in `"errors<1%"`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<Guard>,
    /// The header whose value decides which version a caller gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sticky: Option<String>,
    /// The last so many recorded requests are asked of the new version before it takes any traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rehearse: Option<u32>,
}

/// How traffic moves from one version to the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// All at once, when the new version is ready.
    Instant,
    /// A growing share.
    Canary,
    /// Copies only, until somebody releases or aborts.
    Shadow,
}

/// The steps of a canary if none are named, in percent.
const CANARY: [u8; 3] = [5, 25, 50];
/// The share of a shadow if none is named, in percent.
const SHADOW: u8 = 20;

impl ReleaseSection {
    /// The plan that this section asks for.
    pub fn plan(&self) -> Plan {
        let mut plan = Plan {
            canary: self.canary.clone(),
            shadow: self.shadow,
            every_ms: self.every_s.map(|s| s.saturating_mul(1_000)),
            guards: self.guards.clone(),
            sticky: self.sticky.clone(),
            rehearse: self.rehearse,
            ..Plan::default()
        };
        match self.strategy {
            // Guards that only a rehearsal judges stay with it.
            Some(Strategy::Instant) => {
                let guards = if plan.rehearse.is_some() { plan.guards } else { vec![] };
                plan = Plan { rehearse: plan.rehearse, guards, ..Plan::default() };
            }
            Some(Strategy::Canary) if plan.canary.is_empty() => plan.canary = CANARY.to_vec(),
            Some(Strategy::Shadow) if plan.shadow.is_none() => plan.shadow = Some(SHADOW),
            _ => {}
        }
        plan
    }
}
