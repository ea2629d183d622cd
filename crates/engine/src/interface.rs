//! What the control plane asks of whatever owns the processes of models. [`crate::LocalEngine`]
//! runs them on this machine. How many replicas there are, and who gets requests, is not an
//! engine's business.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use artifacts::Collection;
use async_trait::async_trait;
use domain::event::Lock;
use domain::launch::ProcessId;
use domain::manifest::Runtime;
use domain::{Digest, ModelKey, Placement, ReplicaId, Tree, VersionNumber};
use tokio::sync::watch;

use crate::lease::RoutingLeases;
use crate::logs::LogLine;
use crate::tried::WallsTried;
use crate::{Built, Cleared, EngineError, ReplicaSpec, ReplicaStatus, TemplateStatus};

/// How a replica is ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// Once no gateway uses it any more, or when this time is up, in milliseconds.
    Drained {
        /// For requests that are in flight.
        drain_ms_max: u64,
    },
    /// At once: it is broken.
    AtOnce,
}

/// Owns the processes of models. Its methods return soon, except where they say what they wait for;
/// [`Engine::changed`] ticks when anything has become of a process.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Of everything that [`Engine::resolve`] depends on.
    async fn lock_inputs(&self, tree: &Tree, file: Option<&str>) -> Result<Digest, EngineError>;

    /// The exact packages that a tree needs, and the lock's text, which is to be stored as its
    /// artifact; `None` if there is nothing to install. Takes as long as a package index does.
    async fn resolve(
        &self,
        tree: &Tree,
        runtime: Runtime,
        file: Option<&str>,
    ) -> Result<Option<(Lock, String)>, EngineError>;

    /// Installs what a version needs beside its files: what its runtime is, and its lock, unless
    /// they are installed. Gives what became of the lock. Takes as long as that takes.
    async fn build(
        &self,
        runtime: Runtime,
        lock: Option<&Lock>,
    ) -> Result<Option<Built>, EngineError>;

    /// Whether a lock was installed, whatever may have been done to it since.
    fn has_environment(&self, lock: &Digest) -> bool;

    /// Brings what a replica is started from to where it will run: the files of its tree, and its
    /// environment. Both stay there until the replica has ended.
    async fn prepare(
        &self,
        replica: &ReplicaId,
        tree: &Tree,
        lock: Option<&Lock>,
    ) -> Result<(), EngineError>;

    /// Removes what was laid out or installed and neither is needed nor was prepared for a replica
    /// that runs.
    async fn collect(
        &self,
        needed: &HashSet<Digest>,
        collection: &Collection,
    ) -> Result<Cleared, EngineError>;

    /// What running replicas were prepared with.
    fn in_use(&self) -> Vec<Digest>;

    /// All replicas, running or ended and not yet forgotten, as they are at this moment.
    fn replicas(&self) -> Vec<Arc<ReplicaStatus>>;

    /// One replica.
    fn status(&self, replica: &ReplicaId) -> Option<Arc<ReplicaStatus>>;

    /// Ticks whenever a replica's state changes.
    fn changed(&self) -> watch::Receiver<u64>;

    /// Starts a replica for which everything was prepared. It is `Starting` when this returns.
    async fn start(&self, spec: ReplicaSpec) -> Result<(), EngineError>;

    /// Asks a replica to end, and ends it if it does not. Returns when it has ended, or was told to
    /// for the last time.
    async fn stop(&self, replica: &ReplicaId, stop: Stop) -> Result<(), EngineError>;

    /// Drops an ended replica and its private files; its log stays. `false` if it cannot be dropped
    /// yet.
    async fn forget(&self, replica: &ReplicaId) -> bool;

    /// Who of the gateways may use which replica.
    fn leases(&self) -> &RoutingLeases;

    /// All parents and zygotes.
    fn templates(&self) -> Vec<TemplateStatus>;

    /// Whether the next replica of a placement is forked from a parent that has its model loaded.
    fn can_fork(&self, placement: &Placement) -> bool;

    /// Starts a zygote that serves this spec, unless there is one. Gives its id; `None` if the
    /// runtime has no such level.
    async fn ensure_zygote(&self, spec: &ReplicaSpec) -> Result<Option<ProcessId>, EngineError>;

    /// Ends a parent or zygote. What was forked from it lives on.
    async fn end_template(&self, id: &ProcessId) -> Result<(), EngineError>;

    /// Memory of processes with all that they started, in MiB; a page that several share counts in
    /// part for each (PSS). Those that do not run are missing.
    async fn memory_mb(&self, processes: Vec<ProcessId>) -> HashMap<ProcessId, f64>;

    /// Leaves what a replica prints out of its log for so many milliseconds at most; 0 ends that. It
    /// is there for what nobody called it for.
    async fn quiet(&self, replica: &ReplicaId, ms_max: u64) -> Result<(), EngineError>;

    /// Tries known attacks within the walls that a replica of this spec has. Its files must be there.
    async fn try_walls(&self, spec: &ReplicaSpec) -> Result<WallsTried, EngineError>;

    /// The last lines that the processes of some versions wrote, in the order in which they came, at
    /// most so many.
    async fn log(
        &self,
        model: &ModelKey,
        versions: &[VersionNumber],
        lines_max: usize,
    ) -> Vec<LogLine>;

    /// Why no process can be started or stopped at this moment, if none can.
    fn trouble(&self) -> Option<String>;

    /// Ends all processes; those that do not end within this time, in milliseconds, by force.
    async fn shutdown(&self, drain_ms_max: u64) -> Result<(), EngineError>;
}
