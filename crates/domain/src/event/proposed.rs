//! A change that waits for approval, as the event that proposes it says.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Event;
use crate::action::{Action, Object};
use crate::proposal::{Binding, Party, Proposal};

/// A change that somebody wants, as the ledger keeps it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Proposed {
    /// What is to be done.
    pub action: Action,
    /// With what.
    pub object: Object,
    /// To exactly what.
    pub binding: Binding,
    /// Who proposes it.
    pub proposer: Party,
    /// Who pushed the version that is to go live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pusher: Option<Party>,
    /// The subject of the change.
    pub subject: String,
    /// The change itself, as it will be written once it is approved.
    pub change: Event,
}

impl Proposed {
    /// The proposal that it is once it has a number.
    pub fn proposal(&self, id: u64, at_ms: u64) -> Proposal {
        Proposal {
            id,
            action: self.action,
            object: self.object.clone(),
            binding: self.binding,
            proposer: self.proposer,
            pusher: self.pusher,
            at_ms,
            approvals: vec![],
            end: None,
        }
    }
}
