//! One entry of the ledger: an event, with when, by whom and of what it was.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Event;
use crate::digest::Digest;

/// One entry of the ledger.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// Its place, from 1, without gaps.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Who, as a principal; in entries of before there were any, what was claimed.
    pub actor: String,
    /// What it concerns: `project/model`, `project`, or `decalog`.
    pub subject: String,
    /// Its place among the entries of its subject, from 1.
    pub subject_seq: u64,
    /// Which writer wrote it.
    pub writer_epoch: u64,
    /// Of all before and this.
    pub hash: Digest,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}
