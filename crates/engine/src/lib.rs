//! What owns the processes of models: [`Engine`] is what the control plane asks of it, and
//! [`LocalEngine`] is this machine's, which builds environments, and starts, watches and stops
//! single replicas, and what they are forked from, through the supervisor.

mod attempts;
mod client;
mod content;
pub mod distributions;
mod doctor;
mod environment;
mod handle;
mod imports;
mod in_use;
mod installed;
mod interface;
pub mod interpreter;
mod launch;
mod lease;
mod local;
mod logs;
pub mod packages;
mod parent;
mod ready;
mod replica;
mod resolving;
pub mod runtime;
mod shim;
mod start;
mod template;
mod tools;
mod tried;
mod walls;

use std::collections::BTreeMap;
use std::path::PathBuf;

use artifacts::ArtifactError;
use domain::launch::Sandbox;
use domain::{Code, DataDirectory, Problem};
use supervisor::DirectoryError;
use tokio::sync::watch;

pub use attempts::TARGETS;
pub use content::{Cleared, lock_artifact};
pub use doctor::{Check, doctor};
pub use environment::{Built, lock_inputs};
pub use handle::LocalEngine;
pub use installed::verify as verify_environment;
pub use interface::{Engine, Stop};
pub use lease::RoutingLeases;
pub use logs::LogLine;
pub use replica::{BecameReady, ReplicaSpec, ReplicaState, ReplicaStatus};
pub use supervisor::{DESCRIPTORS_RESERVED, Descriptors};
pub use template::{TemplateState, TemplateStatus};
pub use tried::{AttackOutcome, AttackTried, WallsTried};

/// What the engine is told once.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The data directory, absolute.
    pub data: DataDirectory,
    /// The `decalog` binary, for the supervisor and for runtimes that it holds.
    pub program: PathBuf,
    /// Where packages come from, if not from uv's default.
    pub index_url: Option<String>,
    /// The uv to use, if not one on PATH or of Decalog's own.
    pub uv: Option<PathBuf>,
    /// The ONNX Runtime library to use, if not one of Decalog's own.
    pub onnxruntime: Option<PathBuf>,
    /// Variables that tools which fetch packages may see (proxies, certificates, `UV_*`); workers
    /// never do.
    pub tool_variables: BTreeMap<String, String>,
    /// `PATH` of workers and tools.
    pub path: String,
    /// How far models are confined, at most: what works here is found out when the engine opens.
    pub sandbox: Sandbox,
    /// With less it does not open.
    pub sandbox_required: Sandbox,
    /// What all models may read beside what is theirs.
    pub sandbox_read: Vec<PathBuf>,
    /// Turns true when the process that this one takes over from has ended, if there is one: it
    /// serves with the workers that are there, so that they are adopted or left alone.
    pub predecessor: Option<watch::Receiver<bool>>,
    /// What this process may have open; the supervisor is started with what this one was.
    pub descriptors: Descriptors,
}

/// Why the engine did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Of what the user gave: a lock that does not resolve, a package that does not build.
    #[error("{0}")]
    User(Problem),
    /// No room on disk.
    #[error("the disk is full: {0}")]
    NoSpace(String),
    /// The supervisor does not do its part.
    #[error("the supervisor cannot be used: {0}")]
    Supervisor(String),
    /// This machine has not enough of something at this moment: descriptors, memory, processes. The
    /// same may work later.
    #[error("this machine cannot do it now: {0}")]
    Local(String),
    /// The supervisor lives, and does nothing: the processes that it owns go on.
    #[error("the supervisor takes connections, but does not answer; is it stopped (kill -CONT)?")]
    Silent,
    /// The connection to the supervisor was lost meanwhile.
    #[error("the connection to the supervisor is lost")]
    Lost,
    /// Of the store of artifacts.
    #[error(transparent)]
    Store(#[from] ArtifactError),
    /// Of files and processes.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl From<DirectoryError> for EngineError {
    fn from(error: DirectoryError) -> EngineError {
        EngineError::io(format!("making {}", error.path.display()))(error.source)
    }
}

impl EngineError {
    /// Says what was tried when an operation of the system failed.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> EngineError {
        move |source| match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                EngineError::NoSpace(what.into())
            }
            _ => EngineError::Io { what: what.into(), source },
        }
    }

    /// Whether this machine is to blame, and nothing that a user gave: the same may work later.
    pub fn is_local(&self) -> bool {
        match self {
            EngineError::NoSpace(_)
            | EngineError::Local(_)
            | EngineError::Silent
            | EngineError::Store(_)
            | EngineError::Lost => true,
            EngineError::Io { source, .. } => supervisor::local::is_local(source),
            EngineError::User(_) | EngineError::Supervisor(_) => false,
        }
    }

    /// Whether the same may work a little later: something was short.
    pub fn may_pass(&self) -> bool {
        match self {
            EngineError::Store(error) => error.may_pass(),
            other => other.is_local(),
        }
    }

    /// As a user sees it.
    pub fn problem(self) -> Problem {
        match self {
            EngineError::User(problem) => problem,
            EngineError::Store(error) => error.problem(),
            EngineError::NoSpace(what) => {
                Problem::new(Code::NoSpace, format!("the disk is full: {what}"))
                    .help("free some space, or run decalog gc, and try again")
            }
            EngineError::Io { ref source, .. }
                if source.kind() == std::io::ErrorKind::ReadOnlyFilesystem =>
            {
                Problem::new(Code::Engine, self.to_string())
                    .help("mount the file system of the data directory for writing")
            }
            other => Problem::new(Code::Engine, other.to_string())
                .help("see the server's log; decalog doctor checks this machine"),
        }
    }
}
