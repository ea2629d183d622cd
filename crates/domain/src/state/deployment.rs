//! One attempt to take a version live.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{DeploymentId, EnvironmentName, VersionNumber};
use crate::manifest::Configuration;
use crate::problem::Problem;
use crate::rehearsal::Rehearsal;
use crate::release::{Plan, Progress};

/// One attempt to take a version live.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// The version that was to go live.
    pub version: VersionNumber,
    /// The environment that it was to go live in.
    pub environment: EnvironmentName,
    /// Who requested it.
    pub actor: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// How the traffic is to move.
    pub plan: Plan,
    /// What the environment's configuration becomes.
    pub configuration: Option<Configuration>,
    /// Where it is on its way, once it has a part of the traffic.
    pub progress: Option<Progress>,
    /// What came of its rehearsal, once it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehearsed: Option<Box<Rehearsal>>,
    /// How far it is.
    pub outcome: Outcome,
}

/// How far a deployment is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// On its way.
    Running,
    /// It went live.
    Live,
    /// It did not.
    Failed {
        /// The step at which it failed: `build`, `start`, `test`, …
        step: String,
        /// What went wrong, as a caller reads it.
        problem: Problem,
    },
}
