//! What `up` and the supervisor say to each other: one JSON value a line, on a Unix socket.

use domain::launch::Launch;
use domain::{Placement, ReplicaId};
use serde::{Deserialize, Serialize};

/// Of this protocol. A supervisor of another version is replaced, with its workers.
pub const VERSION: u32 = 1;

/// A request with a number that its reply repeats.
#[derive(Debug, Serialize, Deserialize)]
pub struct Call {
    /// The caller's.
    pub id: u64,
    /// What is asked.
    pub request: Request,
}

/// What `up` asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The first of each connection.
    Hello,
    /// Start a process.
    Spawn(Box<Launch>),
    /// Ask a process group to end, or end it.
    Signal {
        /// Which.
        replica: ReplicaId,
        /// SIGKILL instead of SIGTERM.
        kill: bool,
    },
    /// All processes, running or ended.
    List,
    /// Drop an ended process from the list.
    Forget {
        /// Which.
        replica: ReplicaId,
    },
    /// End all processes, then the supervisor.
    Shutdown {
        /// Between SIGTERM and SIGKILL, in milliseconds.
        drain_ms_max: u64,
    },
}

/// What the supervisor says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// To a call.
    Reply {
        /// Its number.
        id: u64,
        /// What it gave.
        result: Result<Reply, String>,
    },
    /// A process has ended.
    Ended {
        /// Which.
        replica: ReplicaId,
        /// How, in a few words.
        reason: String,
    },
}

/// What a call gives.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Nothing but success.
    Done,
    /// Of the protocol.
    Version(u32),
    /// Of the new process.
    Pid(u32),
    /// All of them.
    Processes(Vec<Process>),
}

/// One process, without its variables.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Process {
    /// Whose.
    pub replica: ReplicaId,
    /// What it runs.
    pub placement: Placement,
    /// Also the id of its group.
    pub pid: u32,
    /// What it serves.
    pub socket: String,
    /// How it ended.
    pub ended: Option<String>,
}
