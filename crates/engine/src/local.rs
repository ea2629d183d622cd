//! The engine of this machine, as the control plane sees it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use artifacts::Collection;
use async_trait::async_trait;
use domain::event::Lock;
use domain::launch::ProcessId;
use domain::manifest::Runtime;
use domain::{Digest, ModelKey, Placement, ReplicaId, Tree, VersionNumber};
use supervisor::process::memory_mb_of_groups;
use supervisor::protocol::Request;
use tokio::sync::watch;

use crate::handle::LocalEngine;
use crate::interface::{Engine, Stop};
use crate::lease::RoutingLeases;
use crate::logs::{self, LogLine};
use crate::replica::{ReplicaSpec, ReplicaState, ReplicaStatus};
use crate::template::{TemplateState, TemplateStatus};
use crate::tried::WallsTried;
use crate::{Built, Cleared, EngineError, runtime};

/// Between SIGTERM and SIGKILL once nothing is in flight, in milliseconds.
const STOP_MS_MAX: u64 = 5_000;

#[async_trait]
impl Engine for LocalEngine {
    async fn lock_inputs(&self, tree: &Tree, file: Option<&str>) -> Result<Digest, EngineError> {
        let directory = self.lay_out(tree).await?;
        let (file, index_url) = (file.map(String::from), self.inner.config.index_url.clone());
        aside(move || crate::lock_inputs(&directory, file.as_deref(), index_url.as_deref())).await
    }

    async fn resolve(
        &self,
        tree: &Tree,
        runtime: Runtime,
        file: Option<&str>,
    ) -> Result<Option<(Lock, String)>, EngineError> {
        let (inner, directory) = (&self.inner, self.lay_out(tree).await?);
        let has_environment = runtime::of(runtime).has_environment(&directory);
        let index_url = inner.config.index_url.as_deref();
        let environments = &inner.environments;
        environments.resolve(&inner.tools, &directory, has_environment, file, index_url).await
    }

    async fn build(
        &self,
        runtime: Runtime,
        lock: Option<&Lock>,
    ) -> Result<Option<Built>, EngineError> {
        if runtime::of(runtime).needs_onnxruntime() {
            self.inner.tools.onnxruntime(&|_| {}).await?;
        }
        match lock {
            Some(lock) => self.install(lock).await.map(Some),
            None => Ok(None),
        }
    }

    fn has_environment(&self, lock: &Digest) -> bool {
        crate::installed::marker(&self.inner.files.data.environment(lock)).exists()
    }

    async fn prepare(
        &self,
        replica: &ReplicaId,
        tree: &Tree,
        lock: Option<&Lock>,
    ) -> Result<(), EngineError> {
        self.bring(replica, tree, lock).await
    }

    async fn collect(
        &self,
        needed: &HashSet<Digest>,
        collection: &Collection,
    ) -> Result<Cleared, EngineError> {
        self.clear(needed, collection).await
    }

    fn in_use(&self) -> Vec<Digest> {
        let replicas = self.replicas();
        let running =
            replicas.iter().filter(|status| !matches!(status.state, ReplicaState::Ended { .. }));
        self.inner.in_use.by(&running.map(|status| status.replica.clone()).collect())
    }

    fn replicas(&self) -> Vec<Arc<ReplicaStatus>> {
        self.inner.replicas.lock().values().cloned().collect()
    }

    fn status(&self, replica: &ReplicaId) -> Option<Arc<ReplicaStatus>> {
        self.inner.replicas.lock().get(replica).cloned()
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    async fn start(&self, spec: ReplicaSpec) -> Result<(), EngineError> {
        self.start_replica(spec).await
    }

    async fn stop(&self, replica: &ReplicaId, stop: Stop) -> Result<(), EngineError> {
        if let Stop::Drained { drain_ms_max } = stop {
            self.leases().until_free(replica, drain_ms_max).await;
        }
        let mut changed = self.changed();
        if self.status(replica).is_some_and(|status| status.site.pid == 0) {
            // It has no process yet, and must not get one.
            self.set_state(
                replica,
                ReplicaState::Ended {
                    reason: "stopped before it was started".into(),
                    details: vec![],
                    local: false,
                },
            );
            return Ok(());
        }
        if stop == Stop::AtOnce {
            return self.signal(replica, true).await;
        }
        self.signal(replica, false).await?;
        let ended = async {
            while self
                .status(replica)
                .is_some_and(|status| !matches!(status.state, ReplicaState::Ended { .. }))
            {
                if changed.changed().await.is_err() {
                    break;
                }
            }
        };
        if tokio::time::timeout(Duration::from_millis(STOP_MS_MAX), ended).await.is_err() {
            self.signal(replica, true).await?;
        }
        Ok(())
    }

    // Not yet: its process is just being started, or the supervisor does not answer.
    async fn forget(&self, replica: &ReplicaId) -> bool {
        if !self.forget_process(&replica.into()).await {
            return false;
        }
        self.leases().end(replica);
        let forgotten = self.inner.replicas.lock().remove(replica);
        if let Some(status) = forgotten {
            self.remove_old_logs(
                &self
                    .inner
                    .files
                    .data
                    .version_logs(&status.placement.model, status.placement.version),
            )
            .await;
        }
        if let Some(place) = self.inner.files.socket(replica).parent() {
            let _ = tokio::fs::remove_dir_all(place).await;
        }
        self.tick();
        true
    }

    fn leases(&self) -> &RoutingLeases {
        &self.inner.leases
    }

    fn templates(&self) -> Vec<TemplateStatus> {
        let templates = self.inner.templates.lock();
        let mut all: Vec<TemplateStatus> =
            templates.iter().map(|(id, template)| template.status(id)).collect();
        drop(templates);
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    fn can_fork(&self, placement: &Placement) -> bool {
        let templates = self.inner.templates.lock();
        let mut parents = templates.values().filter(|template| template.is_parent_of(placement));
        parents.any(|template| {
            matches!(*template.state.borrow(), TemplateState::Ready { can_fork: true, .. })
        })
    }

    async fn ensure_zygote(&self, spec: &ReplicaSpec) -> Result<Option<ProcessId>, EngineError> {
        self.zygote(spec).await
    }

    async fn end_template(&self, id: &ProcessId) -> Result<(), EngineError> {
        let is_known = self.inner.templates.lock().contains_key(id);
        if !is_known {
            return Ok(());
        }
        self.inner.supervisor.call(Request::Signal { id: id.clone(), kill: true }).await.map(|_| ())
    }

    async fn memory_mb(&self, processes: Vec<ProcessId>) -> HashMap<ProcessId, f64> {
        let pids: HashMap<ProcessId, u32> = processes
            .into_iter()
            .filter_map(|id| self.pid(&id).filter(|pid| *pid > 0).map(|pid| (id, pid)))
            .collect();
        let groups: Vec<u32> = pids.values().copied().collect();
        // The kernel sums up all pages of each process for it.
        let memory = aside(move || memory_mb_of_groups(&groups)).await.unwrap_or_default();
        pids.into_iter().filter_map(|(id, pid)| Some((id, *memory.get(&pid)?))).collect()
    }

    async fn quiet(&self, replica: &ReplicaId, ms_max: u64) -> Result<(), EngineError> {
        self.inner.supervisor.call(Request::Quiet { id: replica.into(), ms_max }).await.map(|_| ())
    }

    async fn try_walls(&self, spec: &ReplicaSpec) -> Result<WallsTried, EngineError> {
        self.attempt_attacks(spec).await
    }

    async fn log(
        &self,
        model: &ModelKey,
        versions: &[VersionNumber],
        lines_max: usize,
    ) -> Vec<LogLine> {
        let data = &self.inner.files.data;
        let logs: Vec<_> = versions.iter().map(|of| (*of, data.version_logs(model, *of))).collect();
        aside(move || logs::last_lines(&logs, lines_max)).await.unwrap_or_default()
    }

    fn trouble(&self) -> Option<String> {
        self.inner.supervisor.trouble()
    }

    async fn shutdown(&self, drain_ms_max: u64) -> Result<(), EngineError> {
        self.inner.supervisor.shutdown(drain_ms_max).await
    }
}

impl LocalEngine {
    /// Of a replica's, parent's or zygote's process; 0 while it has none.
    fn pid(&self, id: &ProcessId) -> Option<u32> {
        let of_replica = self.status(&ReplicaId(id.0.clone())).map(|status| status.site.pid);
        of_replica.or_else(|| self.inner.templates.lock().get(id).map(|template| template.pid))
    }
}

/// Runs what blocks (files, memory of processes) on a thread for that.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, EngineError> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(std::io::Error::other).map_err(EngineError::io("waiting for a thread"))
}
