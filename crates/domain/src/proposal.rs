//! Proposals: changes of a protected environment that wait for somebody else to approve them.
//! Whether one may be carried out is decided in the crate `policy`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::action::{Action, Object};
use crate::digest::Digest;
use crate::principal::{Principal, PrincipalId};

/// How long a proposal can be approved and carried out, in milliseconds: 7 days.
pub const PROPOSAL_MS_MAX: u64 = 7 * 86_400_000;
/// The most approvals that can be asked for.
pub const APPROVALS_MAX: u32 = 10;

/// What changes of an environment need.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Protection {
    /// How many people beside the one who proposes it must agree, from 1 to 10.
    pub approvals: u32,
}

/// Somebody who had a part in a change, and the human being behind it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Party {
    /// As whom they acted.
    pub principal: Principal,
    /// Who that is; absent if Decalog cannot know: a service or a job for which nobody in
    /// particular answers, or the local owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<PrincipalId>,
}

impl Party {
    /// A principal that stands for nobody but itself.
    pub fn of(principal: Principal) -> Party {
        Party { principal, person: principal.person() }
    }
}

/// What a proposal was approved for: if any of it is another by the time it is carried out, it is
/// another change.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Binding {
    /// The version that is to go live or to be removed; of several, over all of them. Absent if the
    /// change is about none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Digest>,
    /// Of the environment's variables and secrets.
    pub revision: u32,
    /// Over the exact change, as it will be written into the ledger.
    pub change: Digest,
}

/// A change that waits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Proposal {
    /// The number of the entry that proposed it.
    pub id: u64,
    /// What is to be done.
    pub action: Action,
    /// With what.
    pub object: Object,
    /// To exactly what.
    pub binding: Binding,
    /// Who proposed it.
    pub proposer: Party,
    /// Who pushed the version that is to go live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pusher: Option<Party>,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Who agreed, each person once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Approval>,
    /// How it ended, if it did. That its time ran out needs no entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<ProposalEnd>,
}

/// Somebody agreed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    /// Who.
    pub by: Party,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// How a proposal ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProposalEnd {
    /// The change was made.
    CarriedOut,
    /// Somebody who could have approved it said no.
    Rejected {
        /// Who.
        by: Party,
    },
    /// Whoever proposed it took it back.
    Withdrawn,
}

impl Proposal {
    /// From when on nothing more can be done with it, in milliseconds since 1970.
    pub fn expires_ms(&self) -> u64 {
        self.at_ms.saturating_add(PROPOSAL_MS_MAX)
    }
}
