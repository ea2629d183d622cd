//! One replica: what it is started with, how it is, and what its process gets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use domain::launch::Launch;
use domain::manifest::{Runtime, SchemaSection};
use domain::{Digest, Placement, ReplicaId};
use worker::{ProbeAs, WorkerInfo};

use crate::files::{Files, private_directory};
use crate::{EngineConfig, EngineError};

/// The Python shim, put beside each model's own environment.
const SHIM: &str = include_str!("../../../sdk/python/src/decalog/worker.py");
/// Lines of a log that tell why a replica ended.
const LAST_LINES: usize = 30;

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
    pub tree: PathBuf,
    /// Its environment.
    pub lock: Option<Digest>,
    /// Variables and secrets.
    pub variables: BTreeMap<String, String>,
    /// What the manifest says of columns.
    pub schema: SchemaSection,
    /// Batches at the same time.
    pub concurrency: u32,
    /// Threads of numeric libraries; 0 leaves it to them.
    pub threads: u32,
    /// Resident memory above which it is ended, in MiB.
    pub memory_mb_max: Option<u64>,
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
    },
}

/// A replica as the engine knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaStatus {
    /// Which.
    pub replica: ReplicaId,
    /// What it runs.
    pub placement: Placement,
    /// Of its process, also the id of its group.
    pub pid: u32,
    /// What it serves.
    pub socket: PathBuf,
    /// How it is.
    pub state: ReplicaState,
}

/// Turns a spec into what the supervisor starts.
pub fn launch(
    spec: &ReplicaSpec,
    config: &EngineConfig,
    files: &Files,
    onnxruntime: Option<&Path>,
) -> Result<Launch, EngineError> {
    let own = files.replica(&spec.replica);
    let (home, temporary) = (own.join("home"), own.join("tmp"));
    private_directory(&home)?;
    private_directory(&temporary)?;
    let log = files.log(&spec.placement, &spec.replica);
    private_directory(log.parent().unwrap_or(Path::new("/")))?;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let socket = files.socket(&spec.replica);
    let environment = spec.lock.map(|lock| files.environment(&lock));
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |name: &str, value: String| variables.insert(name.into(), value);
    let path =
        environment.iter().map(|environment| text(&environment.join("bin"))).chain([config.path.clone()]).collect::<Vec<_>>();
    set("PATH", path.join(":"));
    set("HOME", text(&home));
    set("TMPDIR", text(&temporary));
    set("LANG", "C.UTF-8".into());
    set("PYTHONUNBUFFERED", "1".into());
    if spec.threads > 0 {
        for name in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"] {
            set(name, spec.threads.to_string());
        }
    }
    spec.variables.iter().for_each(|(name, value)| {
        set(name, value.clone());
    });
    set("DECALOG_SOCKET", text(&socket));
    set("DECALOG_MODEL", spec.placement.model.model.to_string());
    set("DECALOG_CONCURRENCY", spec.concurrency.to_string());
    set("DECALOG_THREADS", spec.threads.to_string());
    set("DECALOG_FAILURE", text(&failure_file(files, &spec.replica)));
    if let Some(file) = &spec.file {
        set("DECALOG_FILE", file.clone());
    }
    if spec.schema != SchemaSection::default() {
        set("DECALOG_SCHEMA", serde_json::to_string(&spec.schema).unwrap_or_default());
    }
    let program = text(&config.program);
    let argv = match spec.runtime {
        Runtime::Python => {
            let environment =
                environment.ok_or_else(|| EngineError::Supervisor("a Python version without an environment".into()))?;
            vec![text(&environment.join("bin/python")), "-u".into(), text(&shim(files)?)]
        }
        Runtime::Onnx => {
            set("ORT_DYLIB_PATH", onnxruntime.map(text).unwrap_or_default());
            vec![program, "worker".into(), "onnx".into()]
        }
        Runtime::Command => {
            set("PORT", free_port()?.to_string());
            if let Some(path) = &spec.path {
                set("DECALOG_PATH", path.clone());
            }
            [vec![program, "worker".into(), "bridge".into(), "--".into()], spec.command.clone()].concat()
        }
    };
    Ok(Launch {
        replica: spec.replica.clone(),
        placement: spec.placement.clone(),
        argv,
        variables,
        directory: text(&spec.tree),
        socket: text(&socket),
        log: text(&log),
        memory_mb_max: spec.memory_mb_max,
    })
}

/// Where a worker writes why it could not load.
pub fn failure_file(files: &Files, replica: &ReplicaId) -> PathBuf {
    files.replica(replica).join("failure")
}

/// Puts the shim where workers find it. Its name changes with its content, so that old workers keep theirs.
fn shim(files: &Files) -> Result<PathBuf, EngineError> {
    let directory = files.shim();
    let path = directory.join(format!("worker-{}.py", Digest::of(SHIM.as_bytes()).short()));
    if !path.exists() {
        private_directory(&directory)?;
        let temporary = path.with_extension("partial");
        std::fs::write(&temporary, SHIM).map_err(EngineError::io("writing the Python shim"))?;
        std::fs::rename(&temporary, &path).map_err(EngineError::io("writing the Python shim"))?;
    }
    Ok(path)
}

/// A port of the loopback interface that nobody listens on at this moment.
fn free_port() -> Result<u16, EngineError> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(EngineError::io("finding a free port"))
}

/// Why a replica ended: what its worker wrote for the user, else the last lines of its log.
pub fn last_words(files: &Files, placement: &Placement, replica: &ReplicaId) -> Vec<String> {
    let lines = |text: String| -> Vec<String> {
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(LAST_LINES)..].iter().map(|line| line.to_string()).collect()
    };
    if let Ok(text) = std::fs::read_to_string(failure_file(files, replica)) {
        return lines(text);
    }
    let log = std::fs::read(files.log(placement, replica)).unwrap_or_default();
    lines(String::from_utf8_lossy(&log).into_owned())
}
