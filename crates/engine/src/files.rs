//! Where the engine keeps its files below the data directory.

use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use domain::launch::ProcessId;
use domain::{Digest, ModelKey, Placement, ReplicaId, VersionNumber};

use crate::EngineError;

/// The longest path of a Unix socket that all systems take, in bytes.
const SOCKET_BYTES_MAX: usize = 100;

/// Paths below one data directory.
#[derive(Clone, Debug)]
pub struct Files {
    data: PathBuf,
    run: PathBuf,
}

impl Files {
    /// Makes the directories that must be there.
    pub fn prepare(data: &Path) -> Result<Files, EngineError> {
        let run = run_directory(data)?;
        let files = Files { data: data.into(), run };
        files.make_directories()?;
        Ok(files)
    }

    /// Makes the directories that must be there.
    pub fn make_directories(&self) -> Result<(), EngineError> {
        let of_data = ["run", "run/replicas", "logs", "environments"].map(|name| self.data.join(name));
        of_data.iter().chain([&self.run, &self.sockets()]).try_for_each(|directory| private_directory(directory))
    }

    /// Makes what a process has for itself.
    pub fn make_process(&self, id: &ProcessId) -> Result<(), EngineError> {
        ["home", "tmp"].iter().try_for_each(|name| private_directory(&self.process(id).join(name)))
    }

    /// The supervisor's socket.
    pub fn supervisor_socket(&self) -> PathBuf {
        self.run.join("supervisor.sock")
    }

    /// Held by the supervisor as long as it runs; not in `run`, which may be removed.
    pub fn supervisor_lock(&self) -> PathBuf {
        self.data.join("supervisor.lock")
    }

    /// What the supervisor itself prints.
    pub fn supervisor_log(&self) -> PathBuf {
        self.data.join("logs/supervisor.log")
    }

    /// A worker's socket.
    pub fn socket(&self, replica: &ReplicaId) -> PathBuf {
        self.run.join("w").join(format!("{replica}.sock"))
    }

    /// The logs of all replicas of a version.
    pub fn logs(&self, model: &ModelKey, version: VersionNumber) -> PathBuf {
        self.data.join("logs").join(model.project.as_str()).join(model.model.as_str()).join(version.to_string())
    }

    /// A replica's or parent's log.
    pub fn log(&self, placement: &Placement, id: &ProcessId) -> PathBuf {
        self.logs(&placement.model, placement.version).join(format!("{id}.log"))
    }

    /// A zygote's log.
    pub fn zygote_log(&self, id: &ProcessId) -> PathBuf {
        self.data.join("logs/zygotes").join(format!("{id}.log"))
    }

    /// A process's own directory, for its home and temporary files.
    pub fn process(&self, id: &ProcessId) -> PathBuf {
        self.processes().join(&id.0)
    }

    /// Where what the processes of earlier supervisors left waits for its removal.
    pub fn old_processes(&self) -> PathBuf {
        self.data.join("run/old")
    }

    /// The sockets of all workers.
    pub fn sockets(&self) -> PathBuf {
        self.run.join("w")
    }

    /// The directories of all processes.
    pub fn processes(&self) -> PathBuf {
        self.data.join("run/replicas")
    }

    /// The environment of a lock.
    pub fn environment(&self, lock: &Digest) -> PathBuf {
        self.data.join("environments").join(lock.to_string())
    }

    /// All environments.
    pub fn environments(&self) -> PathBuf {
        self.data.join("environments")
    }

    /// Tools of Decalog's own.
    pub fn tools(&self) -> PathBuf {
        self.data.join("tools")
    }

    /// The Python shim.
    pub fn shim(&self) -> PathBuf {
        self.data.join("shim")
    }
}

/// `<data>/run`, or a short directory that stands for it if sockets below it would have too long a path.
pub fn run_directory(data: &Path) -> Result<PathBuf, EngineError> {
    let run = data.join("run");
    private_directory(&run)?;
    if run.as_os_str().len() + "/supervisor.sock".len() + 8 <= SOCKET_BYTES_MAX {
        return Ok(run);
    }
    let user = nix::unistd::getuid();
    let parent = PathBuf::from(format!("/tmp/decalog-{user}"));
    private_directory(&parent)?;
    let owner = std::fs::metadata(&parent).map_err(EngineError::io("looking at the directory for sockets"))?.uid();
    if owner != user.as_raw() {
        return Err(EngineError::Supervisor(format!("{} belongs to another user", parent.display())));
    }
    let short = parent.join(Digest::of(data.as_os_str().as_encoded_bytes()).short());
    private_directory(&short)?;
    Ok(short)
}

/// Makes a directory that only its owner may enter. A file that has its name, as after a fault, gives way.
pub fn private_directory(path: &Path) -> Result<(), EngineError> {
    if path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
        let _ = std::fs::remove_file(path);
    }
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(EngineError::io(format!("making {}", path.display())))
}
