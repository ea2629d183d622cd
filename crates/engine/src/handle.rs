//! The engine's handle: what control calls.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::event::Lock;
use domain::manifest::Runtime;
use domain::{Digest, ModelKey, Placement, ReplicaId, VersionNumber};
use parking_lot::Mutex;
use tokio::sync::watch;
use worker::probe::ProbeError;
use worker::{ProbeAs, WorkerInfo};

use crate::environment::{Built, Environments};
use crate::files::Files;
use crate::process::group_memory_mb;
use crate::replica::{self, ReplicaSpec, ReplicaState, ReplicaStatus};
use crate::supervise::client::{News, Supervisor};
use crate::supervise::protocol::{Process, Reply, Request};
use crate::tools::Tools;
use crate::{EngineConfig, EngineError};

/// How often a starting replica's socket is tried, at first and at most, in milliseconds.
const PROBE_MS: (u64, u64) = (2, 20);
/// How long one probe may take, in milliseconds.
const PROBE_MS_MAX: u64 = 5_000;
/// How long an adopted replica has to answer, in milliseconds: it may be busy.
const ADOPT_MS_MAX: u64 = 30_000;

/// Logs that are kept of each version's replicas.
const LOGS_MAX: usize = 10;

/// The local engine.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    config: EngineConfig,
    files: Files,
    tools: Tools,
    environments: Environments,
    replicas: Mutex<HashMap<ReplicaId, ReplicaStatus>>,
    changed: watch::Sender<u64>,
    supervisor: Supervisor,
}

impl Engine {
    /// Starts the supervisor, or adopts a running one with all its processes. `probe_as` tells how the workers of an
    /// adopted placement are asked.
    pub async fn open(config: EngineConfig, probe_as: impl Fn(&Placement) -> ProbeAs) -> Result<Engine, EngineError> {
        let files = Files::prepare(&config.data)?;
        let (supervisor, mut news) = Supervisor::connect(&config, &files).await?;
        let inner = Inner {
            tools: Tools::new(config.clone(), files.clone()),
            environments: Environments::new(files.clone()),
            replicas: Mutex::default(),
            changed: watch::channel(0).0,
            supervisor,
            config,
            files,
        };
        let engine = Engine { inner: Arc::new(inner) };
        if let Reply::Processes(processes) = engine.inner.supervisor.call(Request::List).await? {
            processes.into_iter().for_each(|process| engine.adopt(process, &probe_as));
        }
        let weak = Arc::downgrade(&engine.inner);
        tokio::spawn(async move {
            while let Some(news) = news.recv().await {
                let Some(inner) = weak.upgrade() else { break };
                Engine { inner }.take(news);
            }
        });
        Ok(engine)
    }

    fn adopt(&self, process: Process, probe_as: &impl Fn(&Placement) -> ProbeAs) {
        let state = match &process.ended {
            Some(reason) => self.ended(&process.placement, &process.replica, reason.clone()),
            None => ReplicaState::Starting,
        };
        let runs = process.ended.is_none();
        let probe_as = probe_as(&process.placement);
        let status = ReplicaStatus {
            replica: process.replica.clone(),
            placement: process.placement,
            pid: process.pid,
            socket: PathBuf::from(process.socket),
            state,
        };
        self.inner.replicas.lock().insert(process.replica.clone(), status.clone());
        if runs {
            let engine = self.clone();
            tokio::spawn(async move { engine.watch_start(status, probe_as, ADOPT_MS_MAX, true).await });
        }
    }

    fn ended(&self, placement: &Placement, replica: &ReplicaId, reason: String) -> ReplicaState {
        ReplicaState::Ended { reason, details: replica::last_words(&self.inner.files, placement, replica) }
    }

    fn take(&self, news: News) {
        match news {
            News::Ended { replica, reason } => self.set_ended(&replica, reason),
            News::Lost => {
                let running: Vec<ReplicaId> = self.replicas().into_iter().map(|status| status.replica).collect();
                running.iter().for_each(|replica| self.set_ended(replica, "its supervisor ended".into()));
            }
        }
    }

    fn set_ended(&self, replica: &ReplicaId, reason: String) {
        let Some(placement) = self.status(replica).map(|status| status.placement) else { return };
        let state = self.ended(&placement, replica, reason);
        let mut replicas = self.inner.replicas.lock();
        if let Some(status) = replicas.get_mut(replica)
            && !matches!(status.state, ReplicaState::Ended { .. })
        {
            status.state = state;
            drop(replicas);
            self.tick();
        }
    }

    fn tick(&self) {
        self.inner.changed.send_modify(|count| *count += 1);
    }

    /// The exact packages that a tree needs, and the lock's text; `None` if there is nothing to install.
    pub async fn resolve(
        &self,
        tree: &Path,
        runtime: Runtime,
        file: Option<&str>,
    ) -> Result<Option<(Lock, String)>, EngineError> {
        let inner = &self.inner;
        inner.environments.resolve(&inner.tools, tree, runtime, file, inner.config.index_url.as_deref()).await
    }

    /// Of everything that [`Engine::resolve`] depends on.
    pub fn lock_inputs(&self, tree: &Path, file: Option<&str>) -> Digest {
        crate::lock_inputs(tree, file, self.inner.config.index_url.as_deref())
    }

    /// Installs a lock, unless it is installed.
    pub async fn build(&self, lock: &Lock, text: &str, progress: &(dyn Fn(&str) + Sync)) -> Result<Built, EngineError> {
        self.inner.environments.build(&self.inner.tools, lock, text, progress).await
    }

    /// Fetches what a runtime needs beside the model's own packages.
    pub async fn prepare(&self, runtime: Runtime) -> Result<(), EngineError> {
        if runtime == Runtime::Onnx {
            self.inner.tools.onnxruntime(&|_| {}).await?;
        }
        Ok(())
    }

    /// Starts a replica. It is `Starting` when this returns; [`Engine::changed`] tells what becomes of it.
    pub async fn start(&self, spec: ReplicaSpec) -> Result<(), EngineError> {
        let library = match spec.runtime {
            Runtime::Onnx => Some(self.inner.tools.onnxruntime(&|_| {}).await?),
            _ => None,
        };
        let launch = replica::launch(&spec, &self.inner.config, &self.inner.files, library.as_deref())?;
        let socket = PathBuf::from(&launch.socket);
        let Reply::Pid(pid) = self.inner.supervisor.call(Request::Spawn(Box::new(launch))).await? else {
            return Err(EngineError::Supervisor("it gave no process id".into()));
        };
        let status = ReplicaStatus {
            replica: spec.replica.clone(),
            placement: spec.placement.clone(),
            pid,
            socket,
            state: ReplicaState::Starting,
        };
        self.inner.replicas.lock().insert(spec.replica.clone(), status.clone());
        self.tick();
        let engine = self.clone();
        let (probe_as, limit) = (spec.probe_as(), spec.start_ms_max);
        tokio::spawn(async move { engine.watch_start(status, probe_as, limit, false).await });
        Ok(())
    }

    /// Tries a starting replica until it is ready, has ended, or its time is up.
    async fn watch_start(&self, status: ReplicaStatus, probe_as: ProbeAs, limit_ms: u64, adopted: bool) {
        let (begin, limit) = (Instant::now(), Duration::from_millis(limit_ms));
        let model = status.placement.model.model.as_str();
        let mut pause = PROBE_MS.0;
        while begin.elapsed() < limit {
            let still = self.status(&status.replica).is_some_and(|now| now.state == ReplicaState::Starting);
            if !still {
                return;
            }
            let probed =
                tokio::time::timeout(Duration::from_millis(PROBE_MS_MAX), worker::probe(&status.socket, model, &probe_as));
            match probed.await {
                Ok(Ok(info)) => {
                    let elapsed_ms = if adopted { 0 } else { begin.elapsed().as_millis() as u64 };
                    return self.set_ready(&status.replica, info, elapsed_ms);
                }
                Ok(Err(ProbeError::Unusable(problem))) => {
                    self.set_ended(&status.replica, problem.to_string());
                    let _ = self.signal(&status.replica, true).await;
                    return;
                }
                Ok(Err(ProbeError::NotYet(_))) | Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
            pause = (pause * 2).min(PROBE_MS.1);
        }
        self.set_ended(&status.replica, format!("not ready after {limit_ms} ms ([model] start_ms_max)"));
        let _ = self.signal(&status.replica, true).await;
    }

    fn set_ready(&self, replica: &ReplicaId, info: WorkerInfo, elapsed_ms: u64) {
        let mut replicas = self.inner.replicas.lock();
        if let Some(status) = replicas.get_mut(replica)
            && status.state == ReplicaState::Starting
        {
            status.state = ReplicaState::Ready { info, elapsed_ms };
            drop(replicas);
            self.tick();
        }
    }

    /// All replicas, running or ended and not yet forgotten.
    pub fn replicas(&self) -> Vec<ReplicaStatus> {
        self.inner.replicas.lock().values().cloned().collect()
    }

    /// One replica.
    pub fn status(&self, replica: &ReplicaId) -> Option<ReplicaStatus> {
        self.inner.replicas.lock().get(replica).cloned()
    }

    /// Ticks whenever a replica's state changes.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    async fn signal(&self, replica: &ReplicaId, kill: bool) -> Result<(), EngineError> {
        self.inner.supervisor.call(Request::Signal { replica: replica.clone(), kill }).await.map(|_| ())
    }

    /// Asks a replica to end, and ends it after `drain_ms_max`.
    pub async fn stop(&self, replica: &ReplicaId, drain_ms_max: u64) -> Result<(), EngineError> {
        let mut changed = self.changed();
        self.signal(replica, drain_ms_max == 0).await?;
        let ended = async {
            while self.status(replica).is_some_and(|status| !matches!(status.state, ReplicaState::Ended { .. })) {
                if changed.changed().await.is_err() {
                    break;
                }
            }
        };
        if tokio::time::timeout(Duration::from_millis(drain_ms_max.max(1)), ended).await.is_err() {
            self.signal(replica, true).await?;
        }
        Ok(())
    }

    /// Drops an ended replica and its private files; its log stays.
    pub async fn forget(&self, replica: &ReplicaId) {
        if let Err(error) = self.inner.supervisor.call(Request::Forget { replica: replica.clone() }).await {
            tracing::debug!("{replica} is not forgotten yet: {error}");
            return;
        }
        let forgotten = self.inner.replicas.lock().remove(replica);
        if let Some(ReplicaStatus { placement, .. }) = forgotten {
            let logs = self.log_paths(&placement.model, placement.version);
            for log in &logs[..logs.len().saturating_sub(LOGS_MAX)] {
                let _ = tokio::fs::remove_file(log).await;
            }
        }
        let directory = self.inner.files.replica(replica);
        let socket = self.inner.files.socket(replica);
        let _ = tokio::fs::remove_dir_all(directory).await;
        let _ = tokio::fs::remove_file(socket).await;
        self.tick();
    }

    /// Resident memory of a replica with all its processes, in MiB.
    pub fn memory_mb(&self, replica: &ReplicaId) -> Option<f64> {
        self.status(replica).and_then(|status| group_memory_mb(status.pid))
    }

    /// The logs of a version's replicas, the newest last.
    pub fn log_paths(&self, model: &ModelKey, version: VersionNumber) -> Vec<PathBuf> {
        newest_last(&self.inner.files.logs(model, version))
    }

    /// Ends all workers and the supervisor.
    pub async fn shutdown(&self, drain_ms_max: u64) -> Result<(), EngineError> {
        self.inner.supervisor.shutdown(drain_ms_max).await
    }

    /// Removes environments that no version needs. Gives how many.
    pub async fn collect(&self, keep: &HashSet<Digest>) -> Result<u64, EngineError> {
        let (directory, keep) = (self.inner.files.environments(), keep.clone());
        let work = tokio::task::spawn_blocking(move || {
            let mut removed = 0;
            for entry in std::fs::read_dir(directory)?.flatten() {
                let digest = entry.file_name().to_str().and_then(|name| name.parse::<Digest>().ok());
                if digest.is_some_and(|digest| !keep.contains(&digest)) {
                    std::fs::remove_dir_all(entry.path())?;
                    removed += 1;
                }
            }
            Ok(removed)
        });
        let joined = work.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        joined.map_err(EngineError::io("removing environments"))
    }
}

/// The `*.log` files of a directory by the time of their last line.
fn newest_last(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let logs = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    let mut dated: Vec<_> = logs.map(|path| (path.metadata().and_then(|metadata| metadata.modified()).ok(), path)).collect();
    dated.sort();
    dated.into_iter().map(|(_, path)| path).collect()
}
