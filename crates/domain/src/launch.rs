//! `Launch`: the one value from which every process is started, and the words that a running one is
//! described by.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{Placement, ProjectName, ReplicaId};

/// Where a process is, for a person to find it. An engine fills it in; nobody else acts on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Site {
    /// Its process id on this machine, also the id of its group; 0 while it has no process.
    pub pid: u32,
}

/// How a process was started; colder is less.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Temperature {
    /// As a fresh program.
    Cold,
    /// Forked from a zygote, which has the libraries of its environment imported; the model was
    /// loaded after that.
    Tepid,
    /// Forked from a parent, which has the model loaded.
    Warm,
}

impl fmt::Display for Temperature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Temperature::Cold => "cold",
            Temperature::Tepid => "tepid",
            Temperature::Warm => "warm",
        })
    }
}

/// One process of the supervisor. A replica's process has the replica's id.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProcessId(pub String);

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&ReplicaId> for ProcessId {
    fn from(replica: &ReplicaId) -> ProcessId {
        ProcessId(replica.0.clone())
    }
}

/// What a zygote can be used for: it holds libraries that were imported under these conditions, and
/// nothing of a model.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct ZygoteKey {
    /// Whose models.
    pub project: ProjectName,
    /// The environment of its interpreter.
    pub lock: Digest,
    /// The sandbox that it runs in; empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sandbox: String,
}

impl fmt::Display for ZygoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.lock.short())
    }
}

/// How far a process is confined; less is weaker.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Sandbox {
    /// Not at all: it has the rights of the server.
    Off,
    /// It reads and writes what it should, has no network and sends no signals; but it sees the
    /// names of other files and processes.
    Reduced,
    /// It also has a file system, a network and shared memory of its own.
    Full,
}

impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sandbox::Off => "off",
            Sandbox::Reduced => "reduced",
            Sandbox::Full => "full",
        })
    }
}

/// What a process can reach beside the system's programs and libraries.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Walls {
    /// How strong they are.
    pub level: Sandbox,
    /// Files and directories that it may read.
    pub read: Vec<String>,
    /// The directory that is its own: it may write there.
    pub own: String,
    /// What it may write beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub write: Vec<String>,
    /// Directories of which nothing is seen but what is its own, or named to be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub covered: Vec<String>,
    /// The port on the loopback interface that its program listens on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Whether walls are drawn closer around what is forked from it, before code of a model runs
    /// there: until then it may mount.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub narrows: bool,
}

/// What a process is for.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It answers requests.
    Replica(Placement),
    /// It has the model loaded, and replicas are forked from it.
    Parent(Placement),
    /// It has libraries imported, and parents are forked from it.
    Zygote(ZygoteKey),
}

impl Role {
    /// What it runs, unless it is a zygote.
    pub fn placement(&self) -> Option<&Placement> {
        match self {
            Role::Replica(placement) | Role::Parent(placement) => Some(placement),
            Role::Zygote(_) => None,
        }
    }

    /// Whether other processes are forked from it.
    pub fn is_forked_from(&self) -> bool {
        !matches!(self, Role::Replica(_))
    }
}

/// Where a process comes from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Program and arguments.
    Program(Vec<String>),
    /// Forked from this parent or zygote.
    Fork(ProcessId),
    /// This parent itself, which serves from now on: the same process under another id.
    Serve(ProcessId),
}

/// What a process and its children may use; `None` is without limit.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Memory above which it is ended, in MiB. What a forked process still shares with its parent
    /// counts there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mb_max: Option<u64>,
    /// Processor time per time, in cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_max: Option<f64>,
    /// Processes and threads together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes_max: Option<u32>,
}

/// All that a new process gets; nothing else is inherited.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Launch {
    /// Its id, used once.
    pub id: ProcessId,
    /// What it is for: kept beside the process so that a restarted platform finds it again.
    pub role: Role,
    /// Where it comes from.
    pub origin: Origin,
    /// Its whole environment.
    pub variables: BTreeMap<String, String>,
    /// Which of these are secrets: their values are masked in what it prints.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<String>,
    /// Its working directory.
    pub directory: String,
    /// The Unix socket that a replica must serve.
    pub socket: Option<String>,
    /// Where a replica takes plain JSON, if it does not speak the Open Inference Protocol.
    pub plain_path: Option<String>,
    /// Where its standard output and error go.
    pub log: String,
    /// What it may use.
    pub limits: Limits,
    /// What it can reach, if it is confined. A program draws its walls itself, being started as
    /// `decalog enclose`; what is forked gets rules, and from a zygote closer walls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub walls: Option<Walls>,
    /// How it is started.
    pub temperature: Temperature,
    /// Why not warmer.
    pub colder_because: Option<String>,
}
