//! Starting one replica: what it is started with, and why it was not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use domain::{Code, Placement, Problem, ReplicaId, State};
use engine::{EngineError, ReplicaSpec, WallsTried};

use crate::Control;
use crate::signature::JudgeError;

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
        // A vault that does not answer says nothing of the version.
        let of_vault = problem.code == Code::Vault;
        StartError { problem, local: of_vault, may_pass: of_vault }
    }
}

impl From<EngineError> for StartError {
    fn from(error: EngineError) -> StartError {
        let (local, may_pass) = (error.is_local(), error.may_pass());
        StartError { problem: error.problem(), local, may_pass }
    }
}

impl From<JudgeError> for StartError {
    fn from(error: JudgeError) -> StartError {
        match error {
            JudgeError::Store(error) => EngineError::from(error).into(),
            JudgeError::Problem(problem) => problem.into(),
        }
    }
}

/// What is said of a version whose model did not load.
pub(crate) fn load_failed(placement: &Placement, reason: &str, details: &[String]) -> Problem {
    Problem::new(Code::LoadFailed, format!("the model did not load: {reason}"))
        .details(details.iter().cloned())
        .help(format!("decalog logs {}@{}", placement.model.model, placement.version))
}

impl Control {
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

    /// Tries known attacks within the walls that replicas of a placement have.
    pub async fn try_walls(&self, placement: &Placement) -> Result<WallsTried, Problem> {
        let (state, replica) = (self.state(), self.replicas.next_id());
        let spec = self.spec_without_variables(&state, placement, replica).await;
        let spec = spec.map_err(|error| error.problem)?;
        self.engine.try_walls(&spec).await.map_err(EngineError::problem)
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
        let (variables, secrets) = self.variables_for(state, placement).await?;
        Ok(ReplicaSpec { variables, secrets, ..spec })
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
        self.check_signature(state, &placement.model.project, &placement.environment, pushed)
            .await?;
        self.engine.prepare(&replica, &pushed.tree, pushed.lock.as_ref()).await?;
        let manifest = &pushed.manifest;
        Ok(ReplicaSpec {
            replica,
            placement: placement.clone(),
            runtime: pushed.runtime,
            file: pushed.file.clone(),
            command: manifest.model.command.clone(),
            path: manifest.model.path.clone(),
            tree: pushed.tree.digest(),
            lock: pushed.lock.as_ref().map(|lock| lock.digest),
            variables: BTreeMap::new(),
            secrets: BTreeSet::new(),
            schema: manifest.schema.clone(),
            concurrency: manifest.resources.concurrency,
            threads: manifest.resources.threads,
            memory_mb_max: manifest.resources.memory_mb_max,
            cpu_max: manifest.resources.cpu_max,
            start_ms_max: manifest.start_ms_max(),
        })
    }
}
