//! How a replica starts: in the warmest way that is there, one level colder where that fails, and
//! loaded only once.

use std::sync::Arc;
use std::time::Duration;

use domain::launch::{Origin, ProcessId, Role, Site, Temperature};
use domain::route::Address;
use supervisor::protocol::{Process, Reply, Request};
use tokio::time::Instant;

use crate::EngineError;
use crate::handle::LocalEngine;
use crate::interface::Engine;
use crate::launch::{self, Plan};
use crate::parent::{Found, refused};
use crate::ready::not_ready;
use crate::replica::{Begin, ReplicaSpec, ReplicaState, ReplicaStatus};
use crate::runtime;
use crate::template::TemplateState;

/// How often a parent may let one start down.
const FAILURES_MAX: u32 = 4;

/// How far a start by way of a parent has come.
enum Step {
    /// The replica's process runs, or the replica has ended.
    Done,
    /// The parent did not do it; look again.
    Again,
}

impl LocalEngine {
    /// Starts a replica: from a parent of its placement if there is one, else by making one, from a
    /// zygote if there is one; runtimes that do not fork start as fresh programs.
    pub(crate) async fn start_replica(&self, spec: ReplicaSpec) -> Result<(), EngineError> {
        let begin = Instant::now();
        let (warmest, because) = runtime::of(spec.runtime).warmest();
        let status = ReplicaStatus {
            replica: spec.replica.clone(),
            placement: spec.placement.clone(),
            site: Site::default(),
            address: Address::unix(&self.inner.files.socket(&spec.replica)),
            state: ReplicaState::Starting,
            ready: None,
            temperature: Temperature::Cold,
            colder_because: None,
            sandbox: None,
        };
        self.inner.replicas.lock().insert(spec.replica.clone(), Arc::new(status));
        self.tick();
        if warmest < Temperature::Warm {
            let started = self.start_program(&spec, because.map(String::from), begin).await;
            if started.is_err() {
                self.inner.replicas.lock().remove(&spec.replica);
                self.tick();
            }
            return started;
        }
        let engine = self.clone();
        tokio::spawn(async move {
            let limit = Duration::from_millis(spec.start_ms_max);
            match tokio::time::timeout(limit, engine.start_by_parent(&spec, begin)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => engine.set_failed(&spec.replica, &error),
                // A parent that still loads has the same limit, and is ended by it.
                Err(_) => {
                    engine.set_ended(&spec.replica, not_ready(spec.start_ms_max));
                    engine.drop_taken_by(&spec.replica).await;
                }
            }
        });
        Ok(())
    }

    /// As a program of its own.
    async fn start_program(
        &self,
        spec: &ReplicaSpec,
        because: Option<String>,
        begin: Instant,
    ) -> Result<(), EngineError> {
        let library = match runtime::of(spec.runtime).needs_onnxruntime() {
            true => Some(self.inner.tools.onnxruntime(&|_| {}).await?),
            false => None,
        };
        let plan = Plan::cold(spec, because);
        let launch =
            launch::launch(spec, plan, &self.inner.config, &self.inner.files, library.as_deref())?;
        match self.inner.supervisor.call(Request::Spawn(Box::new(launch))).await? {
            Reply::Started(process) => self.started(spec, *process, begin, false).await,
            other => {
                return Err(EngineError::Supervisor(format!("it answered {other:?} to a start")));
            }
        }
        Ok(())
    }

    async fn start_by_parent(&self, spec: &ReplicaSpec, begin: Instant) -> Result<(), EngineError> {
        // As cold as the parent that this start waited for.
        let mut waited: Waited = None;
        let mut failures = 0;
        while failures < FAILURES_MAX {
            if !self.is_starting(&spec.replica) {
                return Ok(());
            }
            let step = match self.find_parent(&spec.placement, &spec.replica) {
                Found::Forks(parent) => {
                    let (temperature, because) =
                        waited.clone().unwrap_or((Temperature::Warm, None));
                    self.ask_parent(
                        spec,
                        Origin::Fork(parent.clone()),
                        parent,
                        (temperature, because),
                        begin,
                    )
                    .await?
                }
                Found::Serves(parent, reason) => {
                    let temperature =
                        waited.clone().map_or(Temperature::Warm, |(temperature, _)| temperature);
                    let because = (temperature < Temperature::Warm).then_some(reason);
                    self.ask_parent(
                        spec,
                        Origin::Serve(parent.clone()),
                        parent,
                        (temperature, because),
                        begin,
                    )
                    .await?
                }
                Found::Starting(parent, mut state) => {
                    if let Some(ended) = wait_until_loaded(&mut state).await {
                        return self.parent_failed(spec, ended);
                    }
                    waited = colder(waited, self.template_temperature(&parent));
                    continue;
                }
                Found::Missing(parent, mut state) => {
                    // Of its own, so that it comes to an end also where this start is given up.
                    let (engine, its_spec, id) = (self.clone(), spec.clone(), parent.clone());
                    tokio::spawn(async move { engine.start_parent(&its_spec, &id).await });
                    if let Some(ended) = wait_until_loaded(&mut state).await {
                        return self.parent_failed(spec, ended);
                    }
                    waited = colder(waited, self.template_temperature(&parent));
                    continue;
                }
            };
            failures += 1;
            if matches!(step, Step::Done) {
                return Ok(());
            }
        }
        Err(EngineError::Supervisor(format!("no parent of {} did its part", spec.placement)))
    }

    /// Lets a parent fork the replica, or serve itself.
    async fn ask_parent(
        &self,
        spec: &ReplicaSpec,
        origin: Origin,
        parent: ProcessId,
        (temperature, colder_because): (Temperature, Option<String>),
        begin: Instant,
    ) -> Result<Step, EngineError> {
        let role = Role::Replica(spec.placement.clone());
        let plan = Plan {
            id: (&spec.replica).into(),
            role,
            origin: Some(origin),
            temperature,
            colder_because,
        };
        let launch = launch::launch(spec, plan, &self.inner.config, &self.inner.files, None)?;
        match self.inner.supervisor.call(Request::Spawn(Box::new(launch))).await {
            Ok(Reply::Started(process)) => {
                self.started(spec, *process, begin, true).await;
                Ok(Step::Done)
            }
            Ok(Reply::Refused(reason)) => {
                let reason = refused(reason)?;
                tracing::info!("{parent} did not fork: {reason}");
                self.cannot_fork(&parent, &reason);
                Ok(Step::Again)
            }
            Ok(other) => Err(EngineError::Supervisor(format!("it answered {other:?} to a start"))),
            // The parent is sound, and the next start finds it again.
            Err(error) if error.is_local() => Err(error),
            Err(error) => {
                tracing::warn!("{parent} is of no use any more: {error}");
                let _ = self.end_template(&parent).await;
                self.template_ended(&parent, error.to_string(), false);
                Ok(Step::Again)
            }
        }
    }

    /// The replica shares the fate of the parent that should have loaded its model.
    fn parent_failed(
        &self,
        spec: &ReplicaSpec,
        (reason, details, local): LoadFailure,
    ) -> Result<(), EngineError> {
        self.set_state(&spec.replica, ReplicaState::Ended { reason, details, local });
        Ok(())
    }

    /// Its process runs: waits for it to answer, in a task of its own; `at_once` if the model is
    /// loaded already.
    async fn started(&self, spec: &ReplicaSpec, process: Process, begin: Instant, at_once: bool) {
        let status = self.take_process(&process);
        if status.as_ref().is_none_or(|status| status.state != ReplicaState::Starting) {
            // It was stopped, or its time was up, in the moment in which it was started.
            let _ = self.signal(&spec.replica, true).await;
            return;
        }
        let engine = self.clone();
        let (replica, limit, probe_as) =
            (spec.replica.clone(), Duration::from_millis(spec.start_ms_max), spec.probe_as());
        let begin = Begin { at: Some(begin), at_once };
        tokio::spawn(async move { engine.watch_start(replica, probe_as, begin, limit).await });
    }

    /// Takes over what the supervisor says of a replica's process.
    pub(crate) fn take_process(&self, process: &Process) -> Option<Arc<ReplicaStatus>> {
        let mut replicas = self.inner.replicas.lock();
        let known = replicas.get_mut(&domain::ReplicaId(process.id.0.clone()))?;
        let status = Arc::make_mut(known);
        status.site.pid = process.pid;
        status.temperature = process.temperature;
        status.colder_because = process.colder_because.clone();
        status.sandbox = process.sandbox;
        if let Some(socket) = &process.socket {
            status.address = Address::Unix(socket.clone());
        }
        Some(known.clone())
    }
}

/// How a parent ended that should have loaded a model: in a few words, by what it said last, and
/// whether only this machine is to blame.
type LoadFailure = (String, Vec<String>, bool);

/// How the parent ended, if it did; a parent that left the list serves somebody else.
async fn wait_until_loaded(
    state: &mut tokio::sync::watch::Receiver<TemplateState>,
) -> Option<LoadFailure> {
    match state.wait_for(|state| *state != TemplateState::Starting).await.as_deref() {
        Ok(TemplateState::Ended { reason, details, local }) => {
            Some((reason.clone(), details.clone(), *local))
        }
        _ => None,
    }
}

type Waited = Option<(Temperature, Option<String>)>;

/// The colder of the two.
fn colder(one: Waited, other: Waited) -> Waited {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other.0 < one.0 { other } else { one }),
        (one, other) => one.or(other),
    }
}
