//! Where everything lies below one data directory: the one place that knows the names. Paths only;
//! nothing is looked at or made.

use std::path::{Path, PathBuf};

use crate::launch::ProcessId;
use crate::{Digest, ModelKey, Placement, ProjectName, VersionNumber};

const LEDGER: &str = "ledger.sqlite";

/// A data directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DataDirectory {
    root: PathBuf,
}

impl DataDirectory {
    /// What Decalog itself puts into a data directory, and by which such a directory is known.
    pub const OWN: [&str; 9] =
        [LEDGER, "key", "keys", "secrets", "artifacts", "trees", "environments", "logs", "run"];

    /// The data directory at this path.
    pub fn new(root: impl Into<PathBuf>) -> DataDirectory {
        DataDirectory { root: root.into() }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory, for messages.
    pub fn display(&self) -> std::path::Display<'_> {
        self.root.display()
    }

    /// The ledger, if it is a file of this directory.
    pub fn ledger(&self) -> PathBuf {
        self.root.join(LEDGER)
    }

    /// How far the ledger went.
    pub fn ledger_head(&self) -> PathBuf {
        self.root.join("ledger.head")
    }

    /// A snapshot of the ledger's state, by the version of the fold that it holds.
    pub fn ledger_snapshot(&self, fold_version: u32) -> PathBuf {
        self.root.join(format!("ledger.fold{fold_version}"))
    }

    /// How many rows tokens were given of this day.
    pub fn leases(&self) -> PathBuf {
        self.root.join("leases.sqlite")
    }

    /// What load and processes did by themselves, beside the ledger.
    pub fn telemetry(&self) -> PathBuf {
        self.root.join("telemetry.sqlite")
    }

    /// What turned out to be true of predictions.
    pub fn truth(&self) -> PathBuf {
        self.records().join("truth.sqlite")
    }

    /// How good models were, hour by hour.
    pub fn quality(&self) -> PathBuf {
        self.root.join("quality.sqlite")
    }

    /// What columns and requests were like, by minute, hour and day.
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.sqlite")
    }

    /// The names of people and services, by the ids that the ledger has.
    pub fn names(&self) -> PathBuf {
        self.root.join("names.sqlite")
    }

    /// Held by the one `up` that serves from it.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Where processes of its owner reach the server; not in `run`, which may be removed.
    pub fn local_socket(&self) -> PathBuf {
        self.root.join("local.sock")
    }

    /// What they show there: who can read it is the owner.
    pub fn local_cookie(&self) -> PathBuf {
        self.root.join("local.cookie")
    }

    /// This server's own authority for certificates, if it has one.
    pub fn tls(&self) -> PathBuf {
        self.root.join("tls")
    }

    /// What wrapped the keys of secrets before there were several: read as long as one needs it.
    pub fn key(&self) -> PathBuf {
        self.root.join("key")
    }

    /// What wraps the keys of secrets, a file each.
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// One of them, by its id.
    pub fn key_of(&self, id: &str) -> PathBuf {
        self.keys().join(id)
    }

    /// Names the one that wraps new secrets.
    pub fn current_key(&self) -> PathBuf {
        self.keys().join("current")
    }

    /// By which a project's values are disguised in records.
    pub fn records_key(&self, project: &ProjectName) -> PathBuf {
        self.keys().join(format!("records-{project}"))
    }

    /// Secrets, a file each.
    pub fn secrets(&self) -> PathBuf {
        self.root.join("secrets")
    }

    /// The store of blobs that is used if no other is named.
    pub fn artifacts(&self) -> PathBuf {
        self.root.join("artifacts")
    }

    /// That store as a URL.
    pub fn artifacts_url(&self) -> String {
        format!("file:{}", self.artifacts().display())
    }

    /// The blobs of that store.
    pub fn blobs(&self) -> PathBuf {
        self.artifacts().join("blobs")
    }

    /// Uploads and backups on their way.
    pub fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    /// The files of versions, laid out.
    pub fn trees(&self) -> PathBuf {
        self.root.join("trees")
    }

    /// The files of one version.
    pub fn tree(&self, digest: &Digest) -> PathBuf {
        self.trees().join(digest.to_string())
    }

    /// All environments of packages.
    pub fn environments(&self) -> PathBuf {
        self.root.join("environments")
    }

    /// The environment of a lock.
    pub fn environment(&self, lock: &Digest) -> PathBuf {
        self.environments().join(lock.to_string())
    }

    /// All logs.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The logs of all replicas of a version.
    pub fn version_logs(&self, model: &ModelKey, version: VersionNumber) -> PathBuf {
        self.logs()
            .join(model.project.as_str())
            .join(model.model.as_str())
            .join(version.to_string())
    }

    /// A replica's or parent's log.
    pub fn log(&self, placement: &Placement, id: &ProcessId) -> PathBuf {
        self.version_logs(&placement.model, placement.version).join(format!("{id}.log"))
    }

    /// A zygote's log.
    pub fn zygote_log(&self, id: &ProcessId) -> PathBuf {
        self.logs().join("zygotes").join(format!("{id}.log"))
    }

    /// What the supervisor itself prints.
    pub fn supervisor_log(&self) -> PathBuf {
        self.logs().join("supervisor.log")
    }

    /// Records of requests, until they are in the artifact store, and the catalogue of those that
    /// are.
    pub fn records(&self) -> PathBuf {
        self.root.join("records")
    }

    /// Alarms, how they changed, and how far each receiver was told.
    pub fn alarms(&self) -> PathBuf {
        self.root.join("alarms.sqlite")
    }

    /// What is usual of each model's requests and values, and what was found that is not.
    pub fn detectors(&self) -> PathBuf {
        self.root.join("detectors.sqlite")
    }

    /// How short of processors the machine was.
    pub fn pressure(&self) -> PathBuf {
        self.root.join("pressure")
    }

    /// What an `up` prints that an upgrade started.
    pub fn up_log(&self) -> PathBuf {
        self.logs().join("up.log")
    }

    /// Held by the supervisor as long as it runs; not in `run`, which may be removed.
    pub fn supervisor_lock(&self) -> PathBuf {
        self.root.join("supervisor.lock")
    }

    /// What belongs to the processes that run now; sockets are elsewhere if its path is too long
    /// for them.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// The directories of all processes.
    pub fn processes(&self) -> PathBuf {
        self.run().join("replicas")
    }

    /// A process's own directory, for its home and temporary files.
    pub fn process(&self, id: &ProcessId) -> PathBuf {
        self.processes().join(&id.0)
    }

    /// Where a worker or parent writes why it could not load.
    pub fn failure(&self, id: &ProcessId) -> PathBuf {
        self.process(id).join("failure")
    }

    /// Where a parent writes which modules it has loaded.
    pub fn modules(&self, id: &ProcessId) -> PathBuf {
        self.process(id).join("modules")
    }

    /// Where what the processes of earlier supervisors left waits for its removal.
    pub fn old_processes(&self) -> PathBuf {
        self.run().join("old")
    }

    /// Tools of Decalog's own: `uv`, ONNX Runtime.
    pub fn tools(&self) -> PathBuf {
        self.root.join("tools")
    }

    /// `uv`, if it is one of Decalog's own.
    pub fn uv(&self) -> PathBuf {
        self.tools().join("uv/bin/uv")
    }

    /// ONNX Runtime, if it is one of Decalog's own.
    pub fn onnxruntime(&self) -> PathBuf {
        self.tools().join("onnxruntime")
    }

    /// The Python worker, in a directory for each content that it had.
    pub fn shim(&self) -> PathBuf {
        self.root.join("shim")
    }
}
