//! Candidates: the replicas of a version that is on its way to go live. One is started to be tried
//! out, and more before it gets a part of the traffic.

use std::sync::Arc;
use std::time::Duration;

use domain::state::Deployment;
use domain::{Code, DeploymentId, Event, ModelKey, Placement, Problem};
use engine::{ReplicaState, ReplicaStatus};
use policy::backoff;
use tokio::time::Instant;

use crate::Control;
use crate::failure::StepFailure;
use crate::judging::Status;
use crate::start::{StartError, load_failed};

/// How long a candidate is started again and again for which this machine has not enough at the
/// moment, in milliseconds.
const SHORTAGE_MS_MAX: u64 = 30_000;

impl Control {
    /// A candidate replica that is ready. While this machine is short of something, it is started
    /// again.
    pub(crate) async fn candidate(
        self: &Arc<Control>,
        key: &ModelKey,
        deployment: DeploymentId,
        placement: &Placement,
    ) -> Result<Arc<ReplicaStatus>, StepFailure> {
        let (begin, mut pause) = (Instant::now(), Duration::from_millis(backoff::LOCAL_MS));
        let (status, elapsed_ms) = loop {
            match self.start_candidate(placement).await {
                Ok(ready) => break ready,
                Err(StartError { problem, may_pass: true, .. })
                    if begin.elapsed() + pause < Duration::from_millis(SHORTAGE_MS_MAX) =>
                {
                    let text = format!(
                        "{placement} could not be started yet, and is tried again: {}",
                        problem.message
                    );
                    tracing::warn!("{text}");
                    self.statuses.lock().insert(deployment, Status::Waits(text));
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                Err(StartError { problem, .. }) => {
                    return Err(StepFailure { step: "start", problem });
                }
            }
        };
        self.statuses.lock().remove(&deployment);
        self.replicas.announce(&status.replica, placement, elapsed_ms);
        self.step(key, deployment, Event::CandidateReady { deployment, elapsed_ms }).await?;
        Ok(status)
    }

    /// Starts a candidate replica, or finds one that is there, and waits until it is ready. Gives how
    /// long its start took, in milliseconds, too; 0 if it was ready already.
    async fn start_candidate(
        self: &Arc<Control>,
        placement: &Placement,
    ) -> Result<(Arc<ReplicaStatus>, u64), StartError> {
        let mut changed = self.engine.changed();
        let of_placement = |status: &ReplicaStatus| status.placement == *placement;
        let running = self.replicas().into_iter().find(|status| {
            of_placement(status)
                && !matches!(status.state, ReplicaState::Ended { .. })
                && !self.replicas.is_leaving(&status.replica)
        });
        let replica = match running {
            Some(status) if matches!(status.state, ReplicaState::Ready { .. }) => {
                return Ok((status, 0));
            }
            Some(status) => status.replica.clone(),
            None => self.start_whole(&self.state(), placement).await?,
        };
        loop {
            let gone = || Problem::new(Code::LoadFailed, "the candidate replica is gone");
            let status = self.engine.status(&replica).ok_or_else(gone)?;
            match &status.state {
                ReplicaState::Starting => {}
                ReplicaState::Ready { elapsed_ms, .. } => {
                    let elapsed_ms = *elapsed_ms;
                    return Ok((status, elapsed_ms));
                }
                ReplicaState::Ended { reason, details, local } => {
                    let (problem, local) = (load_failed(placement, reason, details), *local);
                    self.engine.forget(&replica).await;
                    return Err(StartError { problem, local, may_pass: local });
                }
            }
            if changed.changed().await.is_err() {
                return Err(gone().into());
            }
        }
    }

    /// Sees to it that a candidate replica is ready after one has ended.
    pub(crate) async fn another_candidate(
        self: &Arc<Control>,
        placement: &Placement,
    ) -> Result<(), StartError> {
        self.start_candidate(placement).await.map(drop)
    }

    /// Gives a candidate as many replicas as its part of the traffic needs, by those that the live
    /// version has, before it gets that part.
    pub(crate) async fn grow(
        self: &Arc<Control>,
        key: &ModelKey,
        deployment: &Deployment,
        percent: u8,
    ) -> Result<(), StepFailure> {
        let state = self.state();
        let live = state
            .models
            .get(key)
            .and_then(|model| model.live.get(&deployment.environment).cloned());
        let Some(live) = live.filter(|live| live.version != deployment.version) else {
            return Ok(());
        };
        let placement = |version| state.placement(key, &deployment.environment, version);
        let (own, live) = (placement(deployment.version), placement(live.version));
        let whole = self.scales.target(&live).unwrap_or(0);
        let count = (whole * u32::from(percent)).div_ceil(100).max(1);
        let begin_ms = self.clock.monotonic_ms();
        self.scales.set_floor(&own, count.max(self.scales.floor(&own)));
        let mut changed = self.engine.changed();
        let version = self.version(key, deployment.version).map_err(StepFailure::at("start"))?;
        let limit = Duration::from_millis(version.pushed.manifest.start_ms_max());
        let all_ready = async {
            loop {
                self.work.notify_one();
                let ready = self.replicas().into_iter().filter(|status| {
                    status.placement == own
                        && matches!(status.state, ReplicaState::Ready { .. })
                        && !self.replicas.is_leaving(&status.replica)
                });
                if ready.count() >= count as usize {
                    return Ok(());
                }
                self.still_wanted(key, deployment)?;
                if self.replicas.has_failed_since(&own, begin_ms) {
                    let problem = Problem::new(
                        Code::LoadFailed,
                        format!("replicas of {} do not stay up", deployment.version),
                    )
                    .help(format!("decalog logs {}@{}", key.model, deployment.version));
                    return Err(StepFailure { step: "start", problem });
                }
                let _ = changed.changed().await;
            }
        };
        tokio::time::timeout(limit, all_ready).await.unwrap_or_else(|_| {
            let text = format!("{count} replicas of {} were not ready in time", deployment.version);
            let help = "raise [model] start_ms_max, or free cores and memory on this machine";
            Err(StepFailure {
                step: "start",
                problem: Problem::new(Code::NotReady, text).help(help),
            })
        })
    }
}
