//! The local engine's own view: the processes that the supervisor owns, kept up to date by what it
//! says of them.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use artifacts::Store;
use domain::launch::{ProcessId, Role, Sandbox, Site, ZygoteKey};
use domain::route::Address;
use domain::{Code, Placement, Problem, ReplicaId};
use parking_lot::Mutex;
use supervisor::protocol::{Process, Reply, Request};
use supervisor::walls::{Confinement, strongest};
use supervisor::{Files, now_ms};
use tokio::sync::watch;
use tokio::time::Instant;
use worker::{ProbeAs, WorkerInfo};

use crate::client::{News, Supervisor};
use crate::environment::Environments;
use crate::in_use::InUse;
use crate::interface::Engine;
use crate::lease::RoutingLeases;
use crate::logs::newest_last;
use crate::replica::{self, BecameReady, Begin, ReplicaState, ReplicaStatus};
use crate::template::Template;
use crate::tools::Tools;
use crate::{EngineConfig, EngineError};

/// How long an adopted replica of which nothing is known has to answer, in milliseconds: as long as
/// a start.
const ADOPT_MS_MAX: u64 = 180_000;

/// Logs that are kept of each version's replicas.
const LOGS_MAX: usize = 10;

/// The local engine.
#[derive(Clone)]
pub struct LocalEngine {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub config: EngineConfig,
    pub files: Files,
    pub tools: Tools,
    pub environments: Environments,
    pub replicas: Mutex<HashMap<ReplicaId, Arc<ReplicaStatus>>>,
    /// Parents and zygotes that have not ended.
    pub templates: Mutex<HashMap<ProcessId, Template>>,
    /// Placements whose parents could not fork when they were last asked.
    pub unforkable: Mutex<HashSet<Placement>>,
    /// What zygotes could not fork with: to keep one would only take memory.
    pub barren: Mutex<HashSet<ZygoteKey>>,
    /// What running replicas were started from.
    pub in_use: InUse,
    pub store: Store,
    pub leases: RoutingLeases,
    ids: AtomicU64,
    opened_ms: u64,
    pub changed: watch::Sender<u64>,
    pub supervisor: Supervisor,
    /// Whether it was said that the supervisor does not mask secrets.
    told_unmasked: AtomicBool,
}

impl LocalEngine {
    /// Starts the supervisor, or adopts a running one with all its processes. What replicas are
    /// started from comes from the store.
    pub async fn open(config: EngineConfig, store: Store) -> Result<LocalEngine, EngineError> {
        let files = Files::prepare(&config.data)?;
        let (supervisor, mut news) = Supervisor::connect(&config, &files).await?;
        let config = confine(config, &supervisor).await?;
        let inner = Inner {
            tools: Tools::new(config.clone(), files.clone()),
            environments: Environments::new(files.clone()),
            replicas: Mutex::default(),
            templates: Mutex::default(),
            unforkable: Mutex::default(),
            barren: Mutex::default(),
            in_use: InUse::default(),
            store,
            leases: RoutingLeases::new(config.predecessor.clone()),
            ids: AtomicU64::new(0),
            opened_ms: now_ms(),
            changed: watch::channel(0).0,
            supervisor,
            told_unmasked: AtomicBool::new(false),
            config,
            files,
        };
        let engine = LocalEngine { inner: Arc::new(inner) };
        if let Reply::Processes(processes) = engine.inner.supervisor.call(Request::List).await? {
            processes.into_iter().for_each(|process| engine.process_changed(process));
        }
        let weak = Arc::downgrade(&engine.inner);
        tokio::spawn(async move {
            while let Some(news) = news.recv().await {
                let Some(inner) = weak.upgrade() else { break };
                LocalEngine { inner }.take(news);
            }
        });
        Ok(engine)
    }

    /// Memory that outlives this process as long as its supervisor lives: what was written under the
    /// name before is still there. Of an older supervisor it is this process's own.
    pub async fn held(&self, name: &str, bytes: u64) -> std::io::Result<std::fs::File> {
        let hold = Request::Hold { name: name.into(), bytes };
        match self.inner.supervisor.call(hold).await {
            Ok(Reply::Held(place)) => std::fs::File::options().read(true).write(true).open(place),
            other => {
                let why = other.err().map(|error| error.to_string()).unwrap_or_default();
                tracing::warn!("a crash of this process loses records of its last moment: {why}");
                let own =
                    nix::sys::memfd::memfd_create(name, nix::sys::memfd::MFdFlags::MFD_CLOEXEC);
                let file = std::fs::File::from(own?);
                file.set_len(bytes)?;
                Ok(file)
            }
        }
    }

    fn take(&self, news: News) {
        match news {
            News::Changed(process) => self.process_changed(*process),
            News::Forgotten(id) => {
                self.inner.templates.lock().remove(&id);
                self.inner.replicas.lock().remove(&ReplicaId(id.0));
                self.tick();
            }
            News::Listed(processes) => {
                let listed: HashSet<&str> =
                    processes.iter().map(|process| process.id.0.as_str()).collect();
                let lost = "its supervisor ended";
                let templates: Vec<ProcessId> =
                    self.inner.templates.lock().keys().cloned().collect();
                templates
                    .iter()
                    .filter(|id| !listed.contains(id.0.as_str()))
                    .for_each(|id| self.template_ended(id, lost.into(), true));
                let replicas = self.replicas().into_iter().filter(|status| status.site.pid > 0);
                replicas.filter(|status| !listed.contains(status.replica.0.as_str())).for_each(
                    |status| {
                        self.set_state(
                            &status.replica,
                            ReplicaState::Ended {
                                reason: lost.into(),
                                details: vec![],
                                local: true,
                            },
                        );
                    },
                );
                processes.into_iter().for_each(|process| self.process_changed(process));
            }
        }
    }

    /// Takes note of what the supervisor says of a process, whoever started it.
    fn process_changed(&self, process: Process) {
        if process.masked.is_none() && !self.inner.told_unmasked.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the supervisor was started by an earlier version, which does not mask secrets in what models print; \
                 it does once decalog up has been stopped and started again"
            );
        }
        let placement = match &process.role {
            Role::Replica(placement) => placement.clone(),
            _ => return self.template_changed(process),
        };
        let replica = ReplicaId(process.id.0.clone());
        let known = self.take_process(&process);
        let is_known = known.is_some();
        if known.is_some_and(|status| matches!(status.state, ReplicaState::Ended { .. }))
            && process.ended.is_none()
        {
            // Its time was up, or it was stopped, in the moment in which it was started.
            let engine = self.clone();
            tokio::spawn(async move { engine.signal(&replica, true).await });
            return;
        }
        if !is_known {
            let status = ReplicaStatus {
                replica: replica.clone(),
                placement,
                site: Site { pid: process.pid },
                address: Address::Unix(process.socket.clone().unwrap_or_default()),
                state: ReplicaState::Starting,
                ready: None,
                temperature: process.temperature,
                colder_because: process.colder_because.clone(),
                sandbox: process.sandbox,
            };
            self.inner.replicas.lock().insert(replica.clone(), Arc::new(status));
        }
        if let Some(reason) = process.ended {
            self.set_ended(&replica, reason);
        } else if let Some(info) = known_info(process.known.as_deref()).filter(|_| !is_known) {
            // It was ready, and its process lives: whether it is busy now says nothing.
            self.set_state(&replica, ReplicaState::Ready { info, elapsed_ms: 0 });
        } else if !is_known {
            let probe_as = process.plain_path.map_or(ProbeAs::OpenInference, ProbeAs::Plain);
            let engine = self.clone();
            let limit = Duration::from_millis(ADOPT_MS_MAX);
            tokio::spawn(async move {
                engine
                    .watch_start(replica, probe_as, Begin { at: None, at_once: false }, limit)
                    .await
            });
        }
        self.tick();
    }

    /// An id that no other process of this data directory has.
    pub(crate) fn next_id(&self, prefix: &str) -> ProcessId {
        let count = self.inner.ids.fetch_add(1, Ordering::Relaxed) + 1;
        // The supervisor refuses an id that it knows, should two platforms open within a
        // millisecond.
        ProcessId(format!("{prefix}{:x}-{count}", self.inner.opened_ms))
    }

    pub(crate) fn set_ended(&self, replica: &ReplicaId, reason: String) {
        let Some(placement) = self.status(replica).map(|status| status.placement.clone()) else {
            return;
        };
        let details = replica::last_words(&self.inner.files, &placement, &replica.into());
        self.set_state(replica, ReplicaState::Ended { reason, details, local: false });
    }

    /// It could not be started.
    pub(crate) fn set_failed(&self, replica: &ReplicaId, error: &EngineError) {
        if error.is_local() {
            self.set_state(
                replica,
                ReplicaState::Ended { reason: error.to_string(), details: vec![], local: true },
            );
        } else {
            self.set_ended(replica, error.to_string());
        }
    }

    /// What has ended stays so.
    pub(crate) fn set_state(&self, replica: &ReplicaId, state: ReplicaState) {
        let mut replicas = self.inner.replicas.lock();
        if let Some(status) = replicas.get_mut(replica).map(Arc::make_mut)
            && !matches!(status.state, ReplicaState::Ended { .. })
        {
            if let ReplicaState::Ready { elapsed_ms, .. } = state {
                status.ready = Some(BecameReady { since: Instant::now(), elapsed_ms });
            }
            status.state = state;
            drop(replicas);
            self.tick();
        }
    }

    pub(crate) fn is_starting(&self, replica: &ReplicaId) -> bool {
        self.inner
            .replicas
            .lock()
            .get(replica)
            .is_some_and(|status| status.state == ReplicaState::Starting)
    }

    pub(crate) fn tick(&self) {
        self.inner.changed.send_modify(|count| *count += 1);
    }

    pub(crate) async fn signal(&self, replica: &ReplicaId, kill: bool) -> Result<(), EngineError> {
        self.inner.supervisor.call(Request::Signal { id: replica.into(), kill }).await.map(|_| ())
    }

    /// Keeps the newest logs of a directory, and those of processes that run.
    pub(crate) async fn remove_old_logs(&self, directory: &Path) {
        let logs = newest_last(directory);
        for log in &logs[..logs.len().saturating_sub(LOGS_MAX)] {
            let id = log.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let runs = self.inner.templates.lock().contains_key(&ProcessId(id.clone()))
                || self.status(&ReplicaId(id)).is_some();
            if !runs {
                for beside in
                    [log.clone(), log.with_extension("times"), log.with_extension("log.1")]
                {
                    let _ = tokio::fs::remove_file(beside).await;
                }
            }
        }
    }

    /// Drops an ended process from the supervisor's list, with the directories that nobody uses
    /// then.
    pub(crate) async fn forget_process(&self, id: &ProcessId) -> bool {
        match self.inner.supervisor.call(Request::Forget { id: id.clone() }).await {
            Ok(Reply::Unused(unused)) => {
                for id in unused {
                    let (files, place) = (&self.inner.files, self.inner.files.data.process(&id));
                    let _ = tokio::fs::remove_dir_all(files.process(&id)).await;
                    let _ = tokio::fs::remove_file(place).await;
                }
                true
            }
            Ok(other) => {
                tracing::warn!("the supervisor answered {other:?} when {id} was to be forgotten");
                false
            }
            Err(error) => {
                tracing::debug!("{id} is not forgotten yet: {error}");
                false
            }
        }
    }
}

/// Finds out how far models can be confined here.
async fn confine(
    mut config: EngineConfig,
    supervisor: &Supervisor,
) -> Result<EngineConfig, EngineError> {
    if config.sandbox == Sandbox::Off {
        return Ok(config);
    }
    let (program, most) = (config.program.clone(), config.sandbox);
    // Not on the disk, if it can be: what a full one lacks says nothing of the kernel.
    let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let place = place.map_err(EngineError::io("making a folder to try the sandbox in"))?;
    let secret = config.data.supervisor_lock();
    let looked = move || strongest(&program, place.path(), &secret, most);
    let found = tokio::task::spawn_blocking(looked).await;
    let mut found = found.map_err(std::io::Error::other).map_err(EngineError::io("a sandbox"))?;
    if supervisor.call(Request::Confines).await.is_err() {
        found = Confinement {
            level: Sandbox::Off,
            because: "the supervisor was started by an earlier version: stop decalog up and start it again".into(),
        };
    }
    if found.level < config.sandbox_required {
        return Err(EngineError::User(
            Problem::new(
                Code::BadOption,
                format!(
                    "the sandbox is {}, not {}: {}",
                    found.level, config.sandbox_required, found.because
                ),
            )
            .help("decalog doctor says what is missing; --sandbox full takes what there is"),
        ));
    }
    if found.level < most {
        tracing::warn!("the sandbox is {}: {}", found.level, found.because);
    }
    config.sandbox = found.level;
    Ok(config)
}

/// What an earlier platform knew of a replica; what it wrote is input like any other.
fn known_info(known: Option<&str>) -> Option<WorkerInfo> {
    serde_json::from_str(known?)
        .inspect_err(|error| {
            tracing::warn!("what is known of a replica is not understood: {error}")
        })
        .ok()
}
