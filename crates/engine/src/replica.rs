//! One replica: what it is started with, and how it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use domain::launch::{ProcessId, Sandbox, Site, Temperature};
use domain::manifest::{Runtime, SchemaSection};
use domain::route::Address;
use domain::{Digest, Placement, ReplicaId};
use supervisor::Files;
use tokio::time::Instant;
use worker::{ProbeAs, WorkerInfo};

/// Lines of a log that tell why a replica ended.
const LAST_LINES: usize = 30;

/// Bytes of a log that are looked at for them.
const LAST_BYTES: u64 = 64 * 1_024;

/// All that a replica is started with.
#[derive(Clone, Debug)]
pub struct ReplicaSpec {
    /// Its id, used once.
    pub replica: ReplicaId,
    /// What it runs.
    pub placement: Placement,
    /// By what.
    pub runtime: Runtime,
    /// The file that holds the model, within the tree.
    pub file: Option<String>,
    /// Program and arguments of runtime `command`.
    pub command: Vec<String>,
    /// Where a `command` takes plain JSON.
    pub path: Option<String>,
    /// The version's files.
    pub tree: Digest,
    /// Its environment.
    pub lock: Option<Digest>,
    /// Variables and secrets.
    pub variables: BTreeMap<String, String>,
    /// Which of these are secrets.
    pub secrets: BTreeSet<String>,
    /// What the manifest says of columns.
    pub schema: SchemaSection,
    /// Batches at the same time.
    pub concurrency: u32,
    /// Threads of numeric libraries; 0 leaves it to them.
    pub threads: u32,
    /// Memory above which it is ended, in MiB.
    pub memory_mb_max: Option<u64>,
    /// Processor time that it may use, in cores.
    pub cpu_max: Option<f64>,
    /// The longest it may take to become ready.
    pub start_ms_max: u64,
}

impl ReplicaSpec {
    /// How its readiness is asked for.
    pub fn probe_as(&self) -> ProbeAs {
        self.path.clone().map_or(ProbeAs::OpenInference, ProbeAs::Plain)
    }
}

/// How a replica is.
#[derive(Clone, Debug, PartialEq)]
pub enum ReplicaState {
    /// Its process runs and loads the model.
    Starting,
    /// It answers.
    Ready {
        /// What it says of itself.
        info: WorkerInfo,
        /// From its start; 0 if it was found running.
        elapsed_ms: u64,
    },
    /// Its process is gone.
    Ended {
        /// How, in a few words.
        reason: String,
        /// What it said last: the model's traceback.
        details: Vec<String>,
        /// This machine could not start or keep it, which says nothing of the version.
        local: bool,
    },
}

/// When a replica began to answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BecameReady {
    /// Since when it answers, or did.
    pub since: Instant,
    /// From its start, in milliseconds; 0 if it was found running.
    pub elapsed_ms: u64,
}

/// A replica as the engine knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaStatus {
    /// The replica.
    pub replica: ReplicaId,
    /// What it runs.
    pub placement: Placement,
    /// Where its process is; nowhere while a parent that it will be forked from loads the model.
    pub site: Site,
    /// Where it takes requests.
    pub address: Address,
    /// How it is.
    pub state: ReplicaState,
    /// When it became ready; `None` if it never has.
    pub ready: Option<BecameReady>,
    /// How it was started. One that waited for its parent is as cold as that parent's own start.
    pub temperature: Temperature,
    /// Why not warmer; `None` if it is as warm as can be, or if it is not known yet.
    pub colder_because: Option<String>,
    /// How far it is confined; `None` while it has no process.
    pub sandbox: Option<Sandbox>,
}

/// How a replica began.
pub(crate) struct Begin {
    /// When its start was asked for; `None` for one that was found running.
    pub at: Option<Instant>,
    /// Whether its process has the model loaded already.
    pub at_once: bool,
}

/// Why a replica or parent ended: what it wrote for the user, else the last lines of its log.
pub fn last_words(files: &Files, placement: &Placement, id: &ProcessId) -> Vec<String> {
    let found = end_of(&files.data.failure(id))
        .or_else(|_| end_of(&files.data.log(placement, id)))
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&found);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].iter().map(|line| line.to_string()).collect()
}

/// The last [`LAST_BYTES`] of a file, however long it is.
fn end_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = supervisor::open_of_model(path, File::options().read(true))?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LAST_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(LAST_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_log_only_the_end_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let long = "x".repeat(LAST_BYTES as usize) + "\nthe last line\n";
        std::fs::write(&path, &long).unwrap();
        let end = end_of(&path).unwrap();
        assert_eq!(end.len() as u64, LAST_BYTES);
        assert!(end.ends_with(b"\nthe last line\n"));
        std::fs::write(&path, "short").unwrap();
        assert_eq!(end_of(&path).unwrap(), b"short");
        assert!(end_of(&directory.path().join("none")).is_err());
    }
}
