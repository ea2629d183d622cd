//! Processes that live and die by script, and the engine that a control plane sees them by. They
//! outlive it, as real ones do.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use domain::event::Lock;
use domain::launch::{ProcessId, Site, Temperature};
use domain::manifest::Runtime;
use domain::route::{Address, WorkerProtocol};
use domain::{
    Code, Column, Datatype, Digest, ModelKey, Placement, Problem, ReplicaId, Schema, Tree,
    VersionNumber,
};
use engine::{
    BecameReady, Built, Cleared, Engine, EngineError, LogLine, ReplicaSpec, ReplicaState,
    ReplicaStatus, RoutingLeases, Stop, TemplateStatus,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{Duration, Instant};
use worker::WorkerInfo;

use super::World;

/// Between SIGTERM and SIGKILL, in milliseconds.
const STOP_MS_MAX: u64 = 5_000;

/// What becomes of a process, in milliseconds of the world's time.
#[derive(Clone, Debug)]
struct Fate {
    ready_at_ms: u64,
    ends_at_ms: Option<u64>,
    /// Whether it never gets ready, and if so, whether the machine is to blame.
    fails: Option<bool>,
    /// How long it takes to end once it is asked to.
    stops_in_ms: u64,
}

#[derive(Clone, Debug)]
struct Process {
    status: ReplicaStatus,
    fate: Fate,
    /// Why nobody is to wonder that it is gone: it was told to go.
    told_to_end: bool,
}

/// The processes.
#[derive(Default)]
pub struct Machine {
    processes: Mutex<BTreeMap<ReplicaId, Process>>,
    /// All ids that were ever used.
    ids: Mutex<HashSet<ReplicaId>>,
    /// Tells that something will happen that was not to happen before.
    planned: Notify,
    /// How many processes were started of each placement.
    pub starts: Mutex<BTreeMap<Placement, u32>>,
}

impl Machine {
    /// All that run.
    pub fn running(&self) -> Vec<ReplicaStatus> {
        let processes = self.processes.lock();
        let all = processes.values().map(|process| process.status.clone());
        all.filter(|status| !matches!(status.state, ReplicaState::Ended { .. })).collect()
    }

    /// All that are in the list.
    pub fn listed(&self) -> usize {
        self.processes.lock().len()
    }

    /// What another engine knows of processes that it finds.
    pub fn found(&self) {
        for process in self.processes.lock().values_mut() {
            if let ReplicaState::Ready { elapsed_ms, .. } = &mut process.status.state {
                *elapsed_ms = 0;
                let since = Instant::now();
                process.status.ready = Some(BecameReady { since, elapsed_ms: 0 });
            }
        }
    }

    /// Lets happen what is due. Gives the replicas that ended by themselves.
    pub fn pass(&self, now_ms: u64) -> (bool, Vec<ReplicaStatus>) {
        let (mut changed, mut died) = (false, vec![]);
        for process in self.processes.lock().values_mut() {
            let Process { status, fate, told_to_end } = process;
            let before = status.state.clone();
            if status.state == ReplicaState::Starting && fate.ready_at_ms <= now_ms {
                status.state = match fate.fails {
                    Some(local) => ended("exited with status 1", local),
                    None => ReplicaState::Ready { info: info(), elapsed_ms: 100 },
                };
                let since = Instant::now();
                let is_ready = fate.fails.is_none();
                status.ready = is_ready.then_some(BecameReady { since, elapsed_ms: 100 });
            }
            let is_over = fate.ends_at_ms.is_some_and(|at_ms| at_ms <= now_ms);
            if is_over && !matches!(status.state, ReplicaState::Ended { .. }) {
                status.state = ended("killed by signal 9", false);
            }
            changed |= status.state != before;
            let is_end = matches!(status.state, ReplicaState::Ended { .. });
            if status.state != before && is_end && !*told_to_end {
                died.push(status.clone());
            }
        }
        (changed, died)
    }

    /// When something happens next.
    fn next_ms(&self) -> Option<u64> {
        let processes = self.processes.lock();
        let of = |process: &Process| match process.status.state {
            ReplicaState::Ended { .. } => None,
            ReplicaState::Starting => {
                Some(process.fate.ready_at_ms.min(process.fate.ends_at_ms.unwrap_or(u64::MAX)))
            }
            ReplicaState::Ready { .. } => process.fate.ends_at_ms,
        };
        processes.values().filter_map(of).min()
    }

    /// Somebody kills a process.
    pub fn kill(&self, replica: &ReplicaId, now_ms: u64) {
        if let Some(process) = self.processes.lock().get_mut(replica) {
            process.fate.ends_at_ms = Some(now_ms);
        }
        self.planned.notify_one();
    }

    fn end_in(&self, replica: &ReplicaId, in_ms: Option<u64>, now_ms: u64) {
        if let Some(process) = self.processes.lock().get_mut(replica) {
            let in_ms = in_ms.unwrap_or(process.fate.stops_in_ms);
            let at_ms = process.fate.ends_at_ms.unwrap_or(u64::MAX).min(now_ms + in_ms);
            process.fate.ends_at_ms = Some(at_ms);
            process.told_to_end = true;
        }
        self.planned.notify_one();
    }
}

fn ended(reason: &str, local: bool) -> ReplicaState {
    ReplicaState::Ended { reason: reason.into(), details: vec![], local }
}

fn info() -> WorkerInfo {
    let schema = Schema {
        inputs: vec![Column::scalar("x", Datatype::Fp64)],
        outputs: vec![Column::scalar("y", Datatype::Fp64)],
        ..Schema::default()
    };
    let protocol = WorkerProtocol::Json;
    WorkerInfo { schema: Some(schema), protocol, prefetch: false, concurrency: None }
}

/// The machine as one control plane sees it.
pub struct ScriptedEngine {
    world: Arc<World>,
    leases: RoutingLeases,
    changed: watch::Sender<u64>,
}

impl ScriptedEngine {
    /// Finds the processes that are there, and lets time pass for them.
    pub fn open(world: Arc<World>) -> Arc<ScriptedEngine> {
        world.machine.found();
        let (leases, changed) = (RoutingLeases::new(None), watch::channel(0).0);
        let engine = Arc::new(ScriptedEngine { world, leases, changed });
        let passing = engine.clone();
        tokio::spawn(async move {
            loop {
                let (world, machine) = (&passing.world, &passing.world.machine);
                let (changed, died) = machine.pass(world.now_ms());
                died.iter().for_each(|status| {
                    world.note(format!("{} died", status.replica));
                    world.excuse(&status.placement.model);
                });
                if changed {
                    passing.tick();
                }
                let in_ms =
                    machine.next_ms().map_or(60_000, |at_ms| at_ms.saturating_sub(world.now_ms()));
                let waiting = Duration::from_millis(in_ms);
                let _ = tokio::time::timeout(waiting, machine.planned.notified()).await;
            }
        });
        engine
    }

    fn tick(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    fn is_ended(&self, replica: &ReplicaId) -> bool {
        self.status(replica).is_none_or(|status| matches!(status.state, ReplicaState::Ended { .. }))
    }
}

#[async_trait]
impl Engine for ScriptedEngine {
    async fn lock_inputs(&self, tree: &Tree, _: Option<&str>) -> Result<Digest, EngineError> {
        Ok(tree.digest())
    }

    async fn resolve(
        &self,
        _: &Tree,
        _: Runtime,
        _: Option<&str>,
    ) -> Result<Option<(Lock, String)>, EngineError> {
        Ok(None)
    }

    async fn build(&self, _: Runtime, _: Option<&Lock>) -> Result<Option<Built>, EngineError> {
        Ok(None)
    }

    fn has_environment(&self, _: &Digest) -> bool {
        true
    }

    async fn prepare(&self, _: &ReplicaId, _: &Tree, _: Option<&Lock>) -> Result<(), EngineError> {
        tokio::time::sleep(Duration::from_millis(self.world.random(40))).await;
        match self.world.is_unlucky(20) {
            true => Err(EngineError::User(Problem::new(Code::BuildFailed, "by script"))),
            false => Ok(()),
        }
    }

    async fn collect(
        &self,
        _: &HashSet<Digest>,
        _: &artifacts::Collection,
    ) -> Result<Cleared, EngineError> {
        Ok(Cleared::default())
    }

    fn in_use(&self) -> Vec<Digest> {
        vec![]
    }

    fn replicas(&self) -> Vec<Arc<ReplicaStatus>> {
        let processes = self.world.machine.processes.lock();
        processes.values().map(|process| Arc::new(process.status.clone())).collect()
    }

    fn status(&self, replica: &ReplicaId) -> Option<Arc<ReplicaStatus>> {
        let processes = self.world.machine.processes.lock();
        processes.get(replica).map(|process| Arc::new(process.status.clone()))
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    async fn start(&self, spec: ReplicaSpec) -> Result<(), EngineError> {
        let (world, machine) = (&self.world, &self.world.machine);
        if world.is_unlucky(10) {
            return Err(EngineError::Local("no memory, by script".into()));
        }
        if !machine.ids.lock().insert(spec.replica.clone()) {
            world.violate(format!("{} was used twice", spec.replica));
        }
        world.note(format!("{} of {} starts", spec.replica, spec.placement));
        *machine.starts.lock().entry(spec.placement.clone()).or_default() += 1;
        let now_ms = world.now_ms();
        let slow = if world.is_unlucky(8) { 20_000 } else { 400 };
        let fails = if world.never_loads(&spec.tree) {
            Some(false)
        } else {
            world.is_unlucky(12).then(|| world.is_unlucky(2))
        };
        let ready_at_ms = now_ms + 20 + world.random(slow);
        let fate = Fate {
            ready_at_ms,
            ends_at_ms: world.is_unlucky(6).then(|| ready_at_ms + world.random(15_000)),
            fails,
            stops_in_ms: if world.is_unlucky(15) { 60_000 } else { world.random(150) },
        };
        let status = ReplicaStatus {
            replica: spec.replica.clone(),
            placement: spec.placement,
            site: Site::default(),
            address: Address::Unix(spec.replica.0.clone()),
            state: ReplicaState::Starting,
            ready: None,
            temperature: Temperature::Cold,
            colder_because: None,
            sandbox: None,
        };
        let process = Process { status, fate, told_to_end: false };
        machine.processes.lock().insert(spec.replica, process);
        machine.planned.notify_one();
        self.tick();
        Ok(())
    }

    async fn stop(&self, replica: &ReplicaId, stop: Stop) -> Result<(), EngineError> {
        let (world, begin_ms) = (&self.world, self.world.now_ms());
        if stop == Stop::AtOnce {
            world.machine.end_in(replica, Some(0), world.now_ms());
            return Ok(());
        }
        let Stop::Drained { drain_ms_max } = stop else { return Ok(()) };
        self.leases.until_free(replica, drain_ms_max).await;
        let waited_ms = world.now_ms() - begin_ms;
        if world.gateway_uses(replica) && !self.is_ended(replica) && waited_ms < drain_ms_max {
            world.violate(format!("{replica} was told to end while it had requests"));
        }
        world.note(format!("{replica} is told to end"));
        world.machine.end_in(replica, None, world.now_ms());
        tokio::time::sleep(Duration::from_millis(STOP_MS_MAX)).await;
        world.machine.end_in(replica, Some(0), world.now_ms());
        Ok(())
    }

    async fn forget(&self, replica: &ReplicaId) -> bool {
        if self.world.is_unlucky(5) {
            return false;
        }
        self.leases.end(replica);
        self.world.machine.processes.lock().remove(replica);
        self.tick();
        true
    }

    fn leases(&self) -> &RoutingLeases {
        &self.leases
    }

    fn templates(&self) -> Vec<TemplateStatus> {
        vec![]
    }

    fn can_fork(&self, _: &Placement) -> bool {
        false
    }

    async fn ensure_zygote(&self, _: &ReplicaSpec) -> Result<Option<ProcessId>, EngineError> {
        Ok(None)
    }

    async fn end_template(&self, _: &ProcessId) -> Result<(), EngineError> {
        Ok(())
    }

    async fn memory_mb(&self, processes: Vec<ProcessId>) -> HashMap<ProcessId, f64> {
        processes.into_iter().map(|process| (process, 10.0)).collect()
    }

    async fn quiet(&self, _: &ReplicaId, _: u64) -> Result<(), EngineError> {
        Ok(())
    }

    async fn try_walls(&self, _: &ReplicaSpec) -> Result<engine::WallsTried, EngineError> {
        Ok(engine::WallsTried { level: domain::launch::Sandbox::Off, attacks: vec![] })
    }

    async fn log(&self, _: &ModelKey, _: &[VersionNumber], _: usize) -> Vec<LogLine> {
        vec![]
    }

    fn trouble(&self) -> Option<String> {
        None
    }

    async fn shutdown(&self, _: u64) -> Result<(), EngineError> {
        Ok(())
    }
}
