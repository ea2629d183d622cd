//! What is said on the control socket.

use domain::problem::Problem;
use serde::{Deserialize, Serialize};

use crate::book::Count;
use crate::listener::Service;
pub use crate::packet::{DESCRIPTORS_MAX as LISTENERS_MAX, PACKET_BYTES_MAX};

/// How many counts, or sandboxes, one reply has at most.
pub const COUNTS_IN_PACKET: usize = 64;

/// What the proxy is told. Each is answered, in the order in which they come.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Serve a sandbox. Its listeners come as descriptors beside the packet, in their order; nobody
    /// else may keep them.
    Open {
        /// Of the sandbox, as who asks names it.
        id: String,
        /// The model in it; limits and counts are by model.
        model: String,
        /// The entries of its `[egress] allow`.
        policy: Vec<String>,
        /// What the descriptors are for, [`LISTENERS_MAX`] at most.
        listeners: Vec<Service>,
    },
    /// From now on another policy. Connections that it does not allow end.
    Policy {
        /// Of the sandbox.
        id: String,
        /// The entries.
        policy: Vec<String>,
    },
    /// End the listeners and the connections of a sandbox.
    Close(String),
    /// Tell what is open: for who has not opened it.
    List {},
    /// Tell what the models reached and tried to since the process began.
    Counts {},
    /// End everything, and the process.
    End {},
}

/// What it says.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The sandbox is served.
    Opened(String),
    /// It has the policy.
    Changed(String),
    /// It is not served any more.
    Closed(String),
    /// What is open, [`COUNTS_IN_PACKET`] at a time.
    List {
        /// By id.
        open: Vec<Listed>,
        /// Whether another reply has more.
        more: bool,
    },
    /// The counts, [`COUNTS_IN_PACKET`] at a time.
    Counts {
        /// By model, destination and verdict.
        counts: Vec<Count>,
        /// Whether another reply has more.
        more: bool,
    },
    /// The process ends.
    Ending {},
    /// Nothing has changed.
    Refused(Problem),
}

/// A sandbox that is served.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Listed {
    /// Of the sandbox.
    pub id: String,
    /// The model in it.
    pub model: String,
    /// What its listeners are for.
    pub listeners: Vec<Service>,
    /// How many connections the model has, in all its sandboxes.
    pub connections: usize,
}
