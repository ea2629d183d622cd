//! What `up` and the supervisor say to each other: one JSON value a line, on a Unix socket.

use domain::launch::{Launch, ProcessId, Role, Sandbox, Temperature};
use serde::{Deserialize, Serialize};

/// Of this protocol. What is added to it keeps the number if both sides do without; else the number
/// changes, and programs of the two versions cannot take over from each other: a supervisor of
/// another version is only replaced, with its workers, where no process serves with them.
pub const VERSION: u32 = 3;

/// The most that is kept of what is known of a process, in bytes: more than the schema of thousands
/// of columns.
pub const KNOWN_BYTES_MAX: usize = 1 << 20;

/// The most memory that is held under one name, in bytes, …
pub const HELD_BYTES_MAX: u64 = 1 << 30;
/// … and under how many names.
pub const HELD_MAX: usize = 16;

/// The longest line that the supervisor is told, in bytes: a launch with all the variables that an
/// environment may have.
pub const CALL_BYTES_MAX: usize = 16 << 20;

/// The longest line that the supervisor says, in bytes: what is known of thousands of processes.
pub const MESSAGE_BYTES_MAX: usize = 1 << 30;

/// A request with a number that its reply repeats. The supervisor reads the number first: a request
/// that it does not know is answered, too.
#[derive(Debug, Serialize, Deserialize)]
pub struct Call<R> {
    /// The caller's.
    pub id: u64,
    /// What is asked, a [`Request`].
    pub request: R,
}

/// What `up` asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The first of each connection.
    Hello,
    /// Whether it confines what it lets fork; one that does not does not know the question.
    Confines,
    /// Start a process, or fork it, or let a parent serve. The reply to a fork comes when it is
    /// done.
    Spawn(Box<Launch>),
    /// Ask a process group to end, or end it.
    Signal {
        /// The process.
        id: ProcessId,
        /// SIGKILL instead of SIGTERM.
        kill: bool,
    },
    /// Keep what is known of a process, for a platform that finds it later. The supervisor does not
    /// read it.
    Remember {
        /// The process.
        id: ProcessId,
        /// At most [`KNOWN_BYTES_MAX`].
        known: String,
    },
    /// Leave what a process prints out of its log, while it is asked for what no caller asked.
    Quiet {
        /// The process.
        id: ProcessId,
        /// For how long at most, in milliseconds; 0 ends it.
        ms_max: u64,
    },
    /// All processes, running or ended.
    List,
    /// Drop an ended process from the list.
    Forget {
        /// The process.
        id: ProcessId,
    },
    /// Hold some memory under a name, so that it outlives whoever writes to it; what is held by that
    /// name already is given, if it has this size.
    Hold {
        /// Of the memory.
        name: String,
        /// At most [`HELD_BYTES_MAX`].
        bytes: u64,
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
    /// A process is new, or is not as it was. All clients are told, whoever asked for it.
    Changed(Box<Process>),
    /// A process is no longer in the list.
    Forgotten(ProcessId),
}

/// What a call gives.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Nothing but success.
    Done,
    /// Of the protocol.
    Version(u32),
    /// The new process.
    Started(Box<Process>),
    /// Why nothing was forked: the parent goes on as before.
    Refused(String),
    /// Nothing was started, for want of descriptors, memory or the like: nobody is to blame, and it
    /// may work later.
    Local(String),
    /// All of them.
    Processes(Vec<Process>),
    /// Where the memory can be opened that is held.
    Held(String),
    /// Processes whose directories nobody needs any more.
    Unused(Vec<ProcessId>),
}

/// One process, without its variables.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Process {
    /// The process.
    pub id: ProcessId,
    /// What it is for.
    pub role: Role,
    /// Also the id of its group.
    pub pid: u32,
    /// What a replica serves.
    pub socket: Option<String>,
    /// Where a replica takes plain JSON, if it does not speak the Open Inference Protocol.
    pub plain_path: Option<String>,
    /// How it was started.
    pub temperature: Temperature,
    /// Why not warmer.
    pub colder_because: Option<String>,
    /// What it was forked from, or was itself, the nearest first: files in their directories may be
    /// in use by it.
    #[serde(default)]
    pub ancestors: Vec<ProcessId>,
    /// What a parent or zygote said when it was ready.
    pub ready: Option<Readiness>,
    /// When something was last forked from it, or else when it was started, in milliseconds since
    /// 1970.
    pub used_at_ms: u64,
    /// How far it is confined; `None` if its supervisor knows of no such thing.
    #[serde(default)]
    pub sandbox: Option<Sandbox>,
    /// Secrets that are masked in what it prints; `None` if its supervisor knows of no such thing.
    #[serde(default)]
    pub masked: Option<u32>,
    /// What a platform asked to be kept of it.
    #[serde(default)]
    pub known: Option<String>,
    /// How it ended.
    pub ended: Option<String>,
}

/// What a parent or zygote says once it has loaded what it should.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Readiness {
    /// Of its process.
    #[serde(default)]
    pub threads: u32,
    /// Whether it can be forked from.
    pub can_fork: bool,
    /// Why not.
    #[serde(default)]
    pub reason: String,
    /// How long it took, by its own clock.
    #[serde(default)]
    pub elapsed_ms: u64,
}
