//! Starting replicas and sending away those that are too many, until their numbers are the targets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use artifacts::ArtifactError;
use domain::{Code, Placement, Problem, ReplicaId, State};
use engine::{EngineError, ReplicaSpec, ReplicaState, ReplicaStatus};
use policy::starts::{self, Lack};

use crate::Control;
use crate::remembered::{ReplicaFailure, by_placement};
use crate::wanted::{AllWanted, Part, Wanted};

/// Why a replica was not started.
#[derive(Debug)]
pub(crate) struct StartError {
    /// As a user sees it.
    pub problem: Problem,
    /// This machine or the store of artifacts is to blame, and not the version.
    pub local: bool,
    /// It may succeed a little later: something was short.
    pub may_pass: bool,
}

impl From<Problem> for StartError {
    fn from(problem: Problem) -> StartError {
        StartError { problem, local: false, may_pass: false }
    }
}

impl From<ArtifactError> for StartError {
    fn from(error: ArtifactError) -> StartError {
        let may_pass = matches!(
            error,
            ArtifactError::NoSpace | ArtifactError::Io(_) | ArtifactError::Store(_)
        );
        StartError { problem: crate::artifact_problem(error), local: true, may_pass }
    }
}

impl From<EngineError> for StartError {
    fn from(error: EngineError) -> StartError {
        let local = error.is_local();
        StartError { problem: error.problem(), local, may_pass: local }
    }
}

/// What is said of a version whose model did not load.
pub(crate) fn load_failed(placement: &Placement, reason: &str, details: &[String]) -> Problem {
    Problem::new(Code::LoadFailed, format!("the model did not load: {reason}"))
        .details(details.iter().cloned())
        .help(format!("decalog logs {}@{}", placement.model.model, placement.version))
}

impl Control {
    /// Starts or sends away replicas until their numbers are the targets, a bounded number of
    /// starts at a time.
    pub(crate) fn follow_targets(
        self: &Arc<Control>,
        state: &Arc<State>,
        wanted: &AllWanted,
        looked: &BTreeSet<&Placement>,
    ) {
        // In this order: what starts in between counts twice for now, instead of not at all.
        let (pending, statuses) = (self.replicas.pending(), self.engine.replicas());
        let mut running = by_placement(&statuses);
        let starts = |status: &&Arc<ReplicaStatus>| status.state == ReplicaState::Starting;
        let starting =
            statuses.iter().filter(starts).count() as i64 + pending.values().sum::<i64>();
        let mut lacking: Vec<(&Placement, Lack)> = vec![];
        for placement in looked {
            let Some(wanted) = wanted.get(placement) else { continue };
            let pending = pending.get(*placement).map_or(0, |pending| (*pending).max(0) as u32);
            let lack = self.follow_target(
                placement,
                wanted,
                running.remove(*placement).unwrap_or_default(),
                pending,
            );
            lacking.extend(lack.map(|lack| (*placement, lack)));
        }
        let lacks: Vec<Lack> = lacking.iter().map(|(_, lack)| *lack).collect();
        let given = starts::starts(
            &lacks,
            starting.max(0) as u32,
            starts::starts_at_once_max(self.config.cores),
        );
        for ((placement, _), given) in lacking.into_iter().zip(given) {
            (0..given).for_each(|_| self.start_aside(state, placement));
        }
    }

    /// Sends away the replicas of one placement that are too many. Gives what it lacks instead, if
    /// that may be started now.
    fn follow_target(
        self: &Arc<Control>,
        placement: &Placement,
        wanted: &Wanted,
        mut running: Vec<&ReplicaStatus>,
        pending: u32,
    ) -> Option<Lack> {
        let target = self
            .scales
            .target(placement)
            .filter(|_| wanted.part != Part::Candidate || wanted.floor > 0)?;
        running.retain(|status| {
            !matches!(status.state, ReplicaState::Ended { .. })
                && !self.replicas.is_leaving(&status.replica)
        });
        let own = running.len() as u32;
        if own + pending < target {
            let ready = running
                .iter()
                .filter(|status| matches!(status.state, ReplicaState::Ready { .. }))
                .count() as u32;
            let (missing, starting) = (target - own - pending, own - ready + pending);
            let lack = Lack { missing, ready, starting, waits: self.scales.waits(placement) };
            return self.replicas.may_start(placement).then_some(lack);
        }
        // Those that are not ready yet go first, then the youngest.
        running.sort_by_key(|status| {
            (matches!(status.state, ReplicaState::Ready { .. }), std::cmp::Reverse(status.pid))
        });
        let excess = running.len().saturating_sub(target as usize);
        if target == 0 {
            // One of them may stay as a spare, out of the routes.
            let spare = running.iter().position(|status| self.may_be_spare(status));
            let others = running.iter().enumerate().filter(|(at, _)| Some(*at) != spare);
            others.for_each(|(_, status)| self.send_away(status));
        } else {
            running.iter().take(excess).for_each(|status| self.send_away(status));
        }
        None
    }

    /// Starts one more replica in a task of its own: an environment that has to be built holds up
    /// no other model.
    fn start_aside(self: &Arc<Control>, state: &Arc<State>, placement: &Placement) {
        self.replicas.set_pending(placement, 1);
        let (control, state, placement) = (self.clone(), state.clone(), placement.clone());
        tokio::spawn(async move {
            let started = control.start_whole(&state, &placement).await;
            if let Err(StartError { problem, local, .. }) = started {
                tracing::error!("a replica of {placement} could not be started: {problem}");
                control.replicas.failed(
                    &placement,
                    if local { ReplicaFailure::Local } else { ReplicaFailure::Start(problem) },
                );
            }
            control.replicas.set_pending(&placement, -1);
            control.work.notify_one();
        });
    }

    /// Starts one more replica of a placement, to the end even if whoever asks gives up: what half
    /// started would be known to nobody. A panic is an error like others.
    pub(crate) async fn start_whole(
        self: &Arc<Control>,
        state: &Arc<State>,
        placement: &Placement,
    ) -> Result<ReplicaId, StartError> {
        let (control, state, placement) = (self.clone(), state.clone(), placement.clone());
        let started =
            tokio::spawn(async move { control.start_replica(&state, &placement).await }).await;
        started.unwrap_or_else(|error| {
            Err(Problem::new(Code::Internal, error.to_string()).help("see the server's log").into())
        })
    }

    async fn start_replica(
        &self,
        state: &State,
        placement: &Placement,
    ) -> Result<ReplicaId, StartError> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(Problem::new(Code::Stopping, "Decalog is stopping")
                .help("deploy again when it is up")
                .into());
        }
        let replica = self.replicas.next_id();
        let spec = self.spec(state, placement, replica.clone()).await?;
        self.engine.start(spec).await?;
        Ok(replica)
    }

    /// What a replica of a placement is started with. Its files and its environment are there when
    /// this returns.
    pub(crate) async fn spec(
        &self,
        state: &State,
        placement: &Placement,
        replica: ReplicaId,
    ) -> Result<ReplicaSpec, StartError> {
        let spec = self.spec_without_variables(state, placement, replica).await?;
        Ok(ReplicaSpec { variables: self.variables_for(state, placement).await?, ..spec })
    }

    /// The same for what knows no variables and no secrets.
    pub(crate) async fn spec_without_variables(
        &self,
        state: &State,
        placement: &Placement,
        replica: ReplicaId,
    ) -> Result<ReplicaSpec, StartError> {
        let gone = || Problem::new(Code::NoSuchVersion, format!("{placement} is gone"));
        let model = state.models.get(&placement.model).ok_or_else(gone)?;
        let pushed = &model.versions.get(&placement.version).ok_or_else(gone)?.pushed;
        let tree = self.tree_directory(&pushed.tree);
        let uses = [Some(pushed.tree.digest()), pushed.lock.as_ref().map(|lock| lock.digest)];
        self.in_use.begin(&replica, uses.into_iter().flatten());
        self.store.lay_out(&pushed.tree, &tree).await?;
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
            variables: BTreeMap::new(),
            schema: manifest.schema.clone(),
            concurrency: manifest.resources.concurrency,
            threads: manifest.resources.threads,
            memory_mb_max: manifest.resources.memory_mb_max,
            cpu_max: manifest.resources.cpu_max,
            start_ms_max: manifest.start_ms_max(),
        })
    }
}
