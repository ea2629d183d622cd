//! Replicas of what is live: kept at their number, restarted with backoff, drained before they stop.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use domain::{Event, ModelKey, Placement, Problem, ReplicaId, State};
use engine::{EngineError, ReplicaSpec, ReplicaState, ReplicaStatus};

use crate::{Control, now_ms};

/// How the gateway's words begin when a worker was gone before anybody ended it.
const ENDED_BY_ITSELF: &str = "the worker ended";
/// Between SIGTERM and SIGKILL once nothing is in flight.
const STOP_MS_MAX: u64 = 5_000;

/// What a placement that may have replicas is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// It is live.
    Live,
    /// It was live until a moment ago: kept so that a rollback waits for no start.
    Kept,
    /// A deployment is on its way to make it live.
    Candidate,
}

/// A placement that may have replicas.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// What for.
    pub part: Part,
    /// The fewest replicas, whatever the load.
    pub floor: u32,
}

/// What is live, under today's configuration.
pub(crate) fn live_placements(state: &State) -> BTreeSet<Placement> {
    let live = |(key, model): (&ModelKey, &Arc<domain::state::Model>)| {
        let placements: Vec<_> =
            model.live.iter().map(|(environment, live)| state.placement(key, environment, live.version)).collect();
        placements
    };
    state.models.iter().flat_map(live).collect()
}

/// Replicas by what they run.
fn by_placement(statuses: &[ReplicaStatus]) -> HashMap<&Placement, Vec<&ReplicaStatus>> {
    let mut found: HashMap<&Placement, Vec<&ReplicaStatus>> = HashMap::new();
    statuses.iter().for_each(|status| found.entry(&status.placement).or_default().push(status));
    found
}

impl Control {
    /// All placements that may have replicas, and what for.
    pub(crate) fn wanted(&self, state: &State) -> BTreeMap<Placement, Wanted> {
        let mut wanted = BTreeMap::new();
        let now_ms = now_ms();
        let target = |placement: &Placement| self.scales.target(placement).unwrap_or_else(|| self.running(placement));
        for (key, model) in &state.models {
            for (environment, live) in &model.live {
                if let Some(replaced) = live.replaced.filter(|replaced| model.versions.contains_key(replaced))
                    && now_ms.saturating_sub(live.since_ms) < self.config.keep_ms
                {
                    let placement = state.placement(key, environment, replaced);
                    let floor = target(&placement);
                    wanted.insert(placement, Wanted { part: Part::Kept, floor });
                }
            }
            for deployment in model.running() {
                let placement = state.placement(key, &deployment.environment, deployment.version);
                let floor = self.scales.floor(&placement).max(deployment.progress.is_some() as u32);
                wanted.insert(placement, Wanted { part: Part::Candidate, floor });
            }
            for (environment, live) in &model.live {
                let placement = state.placement(key, environment, live.version);
                // While a release is on its way, the version that it may go back to keeps its capacity.
                let is_baseline = model.shifting(environment).is_some();
                let floor = if is_baseline { target(&placement) } else { self.scales.floor(&placement) };
                wanted.insert(placement, Wanted { part: Part::Live, floor });
            }
        }
        wanted
    }

    /// Replicas of a placement that run and are to go on.
    fn running(&self, placement: &Placement) -> u32 {
        let statuses = self.engine.replicas();
        let own = statuses.iter().filter(|status| {
            status.placement == *placement
                && !matches!(status.state, ReplicaState::Ended { .. })
                && !self.replicas.is_leaving(&status.replica)
        });
        own.count() as u32
    }

    /// One pass: looks at all replicas, starts what is missing, sends away what is not wanted.
    pub(crate) async fn reconcile_replicas(self: &Arc<Control>) {
        let state = self.state();
        let wanted = self.wanted(&state);
        let statuses = self.engine.replicas();
        let changes = self.rescale(&state, &wanted, &by_placement(&statuses));
        let is_ready = |status: &&ReplicaStatus| matches!(status.state, ReplicaState::Ready { .. });
        let ready: HashSet<&Placement> = statuses.iter().filter(is_ready).map(|status| &status.placement).collect();
        for status in &statuses {
            let role = wanted.get(&status.placement);
            match &status.state {
                ReplicaState::Ended { reason, .. } => self.replica_ended(status, reason, role).await,
                ReplicaState::Ready { elapsed_ms, .. } if role.is_some() => self.replica_ready(status, *elapsed_ms, role).await,
                _ if role.is_none() && !self.stands_in(status, &wanted, &ready) => self.send_away(status),
                _ => {}
            }
            self.replace_if_broken(status);
        }
        // In this order: what starts in between counts twice for now, instead of not at all.
        let (pending, statuses) = (self.replicas.pending(), self.engine.replicas());
        let mut running = by_placement(&statuses);
        for (placement, wanted) in &wanted {
            let pending = pending.get(placement).map_or(0, |pending| (*pending).max(0) as usize);
            self.follow_target(&state, placement, wanted, running.remove(placement).unwrap_or_default(), pending);
        }
        // What was decided is told after it was done: a request may wait for it.
        let control = self.clone();
        tokio::spawn(async move { control.tell_changes(changes).await });
    }

    /// Replicas with old variables serve until those with new ones can.
    fn stands_in(&self, status: &ReplicaStatus, wanted: &BTreeMap<Placement, Wanted>, ready: &HashSet<&Placement>) -> bool {
        let same = |other: &&Placement| status.placement.is_same_version(other);
        wanted.keys().filter(same).any(|placement| !ready.contains(placement) && self.scales.target(placement) != Some(0))
    }

    /// Starts or sends away replicas of one placement until their number is its target.
    fn follow_target(
        self: &Arc<Control>,
        state: &Arc<State>,
        placement: &Placement,
        wanted: &Wanted,
        mut running: Vec<&ReplicaStatus>,
        pending: usize,
    ) {
        let Some(target) = self.scales.target(placement).filter(|_| wanted.part != Part::Candidate || wanted.floor > 0) else {
            return;
        };
        running
            .retain(|status| !matches!(status.state, ReplicaState::Ended { .. }) && !self.replicas.is_leaving(&status.replica));
        for _ in running.len() + pending..target as usize {
            if !self.replicas.may_start(placement) {
                return;
            }
            self.start_aside(state, placement);
        }
        // Those that are not ready yet go first, then the youngest.
        running.sort_by_key(|status| (matches!(status.state, ReplicaState::Ready { .. }), std::cmp::Reverse(status.pid)));
        let excess = running.len().saturating_sub(target as usize);
        if target == 0 {
            // One of them may stay as a spare, out of the routes.
            let spare = running.iter().position(|status| self.may_be_spare(status));
            let others = running.iter().enumerate().filter(|(at, _)| Some(*at) != spare);
            others.for_each(|(_, status)| self.send_away(status));
        } else {
            running.iter().take(excess).for_each(|status| self.send_away(status));
        }
    }

    /// Starts one more replica in a task of its own: an environment that has to be built holds up no other model.
    fn start_aside(self: &Arc<Control>, state: &Arc<State>, placement: &Placement) {
        self.replicas.set_pending(placement, 1);
        let (control, state, placement) = (self.clone(), state.clone(), placement.clone());
        tokio::spawn(async move {
            let started = control.start_replica(&state, &placement).await;
            if let Err(problem) = started {
                tracing::error!("a replica of {placement} could not be started: {problem}");
                control.replicas.failed(&placement);
            }
            control.replicas.set_pending(&placement, -1);
            control.work.notify_one();
        });
    }

    async fn replica_ended(&self, status: &ReplicaStatus, reason: &str, role: Option<&Wanted>) {
        if self.stopping.load(Ordering::Acquire) {
            return;
        }
        let replica = &status.replica;
        let leaving = self.replicas.is_sent_away(replica);
        if role.is_some_and(|wanted| wanted.part == Part::Candidate && wanted.floor == 0) && !leaving {
            // Its deployment reads how it ended, and then forgets it.
            return;
        }
        if role.is_some() && !leaving {
            // What the gateway saw tells more only where it is why the process was ended.
            let broken = self.replicas.why_broken(replica);
            let reason = broken.filter(|why| !why.starts_with(ENDED_BY_ITSELF)).unwrap_or_else(|| reason.to_string());
            let (restart_in_ms, tell) = self.replicas.failed(&status.placement);
            tracing::warn!("{replica} of {} ended: {reason}; the next starts in {restart_in_ms} ms", status.placement);
            if tell {
                let event =
                    Event::ReplicaFailed { replica: replica.clone(), placement: status.placement.clone(), reason, restart_in_ms };
                self.tell(&status.placement.model, event).await;
            }
        }
        self.engine.forget(replica).await;
        self.replicas.forget(replica);
    }

    async fn replica_ready(&self, status: &ReplicaStatus, elapsed_ms: u64, role: Option<&Wanted>) {
        let is_trial = role.is_none_or(|wanted| wanted.part == Part::Candidate && wanted.floor == 0);
        if !is_trial && self.replicas.ready(status, elapsed_ms) && elapsed_ms > 0 {
            let event = Event::ReplicaReady { replica: status.replica.clone(), placement: status.placement.clone(), elapsed_ms };
            self.tell(&status.placement.model, event).await;
        }
    }

    /// Appends what is good to know but changes nothing. Of a model that is gone there is nothing to know any more.
    pub(crate) async fn tell(&self, key: &ModelKey, event: Event) {
        let wanted = key.clone();
        let decide = move |state: &State| match state.models.contains_key(&wanted) {
            true => Ok(event),
            false => Err(Problem::new("no_such_model", format!("{wanted} was removed in the meantime"))),
        };
        if let Err(problem) = self.book.append("decalog", &key.to_string(), decide).await {
            tracing::warn!("not in the ledger: {problem}");
        }
    }

    fn replace_if_broken(self: &Arc<Control>, status: &ReplicaStatus) {
        let is_broken = self.replicas.why_broken(&status.replica).is_some();
        if is_broken && !matches!(status.state, ReplicaState::Ended { .. }) {
            let (control, replica) = (self.clone(), status.replica.clone());
            tokio::spawn(async move { control.engine.stop(&replica, 0).await });
        }
    }

    /// Takes a replica out of the route table, waits until the gateway has returned it, and stops it.
    pub(crate) fn send_away(self: &Arc<Control>, status: &ReplicaStatus) {
        let replica = status.replica.clone();
        if !self.replicas.set_leaving(&replica) {
            return;
        }
        let control = self.clone();
        tokio::spawn(async move {
            control.publish_routes();
            let end = Instant::now() + Duration::from_millis(control.config.drain_ms_max);
            while Instant::now() < end && !control.replicas.is_free(&replica) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            control.predecessor_is_gone().await;
            control.stop_now(&replica).await;
        });
    }

    /// Stops a replica that has no request any more.
    pub(crate) async fn stop_now(&self, replica: &ReplicaId) {
        if let Err(error) = self.engine.stop(replica, STOP_MS_MAX).await {
            tracing::warn!("{replica} could not be stopped: {error}");
        }
        self.work.notify_one();
    }

    /// Starts one more replica of a placement.
    pub(crate) async fn start_replica(&self, state: &State, placement: &Placement) -> Result<ReplicaId, Problem> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(Problem::new("stopping", "Decalog is stopping").help("deploy again when it is up"));
        }
        let replica = self.replicas.next_id();
        let spec = self.spec(state, placement, replica.clone()).await?;
        self.engine.start(spec).await.map_err(EngineError::problem)?;
        Ok(replica)
    }

    /// What a replica of a placement is started with. Its files and its environment are there when this returns.
    pub(crate) async fn spec(&self, state: &State, placement: &Placement, replica: ReplicaId) -> Result<ReplicaSpec, Problem> {
        let gone = || Problem::new("no_such_version", format!("{placement} is gone"));
        let model = state.models.get(&placement.model).ok_or_else(gone)?;
        let pushed = &model.versions.get(&placement.version).ok_or_else(gone)?.pushed;
        let tree = self.tree_directory(&pushed.tree);
        let uses = [Some(pushed.tree.digest()), pushed.lock.as_ref().map(|lock| lock.digest)];
        self.in_use.begin(&replica, uses.into_iter().flatten());
        self.store.lay_out(&pushed.tree, &tree).await.map_err(crate::artifact_problem)?;
        if let Some(lock) = &pushed.lock {
            // Restored or collected environments come back by themselves.
            self.build_environment(lock, &|_| {}).await?;
        }
        let manifest = &pushed.manifest;
        Ok(ReplicaSpec {
            replica,
            placement: placement.clone(),
            runtime: pushed.runtime,
            file: pushed.file.clone(),
            command: manifest.model.command.clone(),
            path: manifest.model.path.clone(),
            tree,
            lock: pushed.lock.as_ref().map(|lock| lock.digest),
            variables: self.variables_for(state, placement)?,
            schema: manifest.schema.clone(),
            concurrency: manifest.resources.concurrency,
            threads: manifest.resources.threads,
            memory_mb_max: manifest.resources.memory_mb_max,
            cpu_max: manifest.resources.cpu_max,
            start_ms_max: manifest.start_ms_max(),
        })
    }
}
