//! Replicas of what is live: kept at their number, restarted with backoff, drained before they
//! stop.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use domain::{Event, Placement, ReplicaId};
use engine::{ReplicaState, ReplicaStatus, TemplateState};

use crate::remembered::{ReplicaFailure, by_placement};
use crate::route::Use;
use crate::start::load_failed;
use crate::wanted::{AllWanted, Part, Round, Wanted};
use crate::{Control, LOOK_ALL_MS, LOOK_MS, rollout};

/// How the gateway's words begin when a worker was gone before anybody ended it.
const ENDED_BY_ITSELF: &str = "the worker ended";
/// Between SIGTERM and SIGKILL once nothing is in flight.
const STOP_MS_MAX: u64 = 5_000;

impl Control {
    /// One pass: looks at all replicas, starts what is missing, sends away what is not wanted.
    /// Gives when to look again even if nothing changes until then. Of the models, those are looked
    /// at that may have load, those of which something has changed, and some of the others in turn.
    pub(crate) async fn reconcile_replicas(self: &Arc<Control>, round: &mut Round) -> Instant {
        let begin = Instant::now();
        let state = self.state();
        let (wanted, fresh) = self.wanted_afresh();
        let statuses = self.engine.replicas();
        let awake = self.scales.awake();
        let (in_turn, is_round) = round.next(&wanted, begin);
        let models = fresh.models.iter().chain(&in_turn);
        let looked =
            models.flat_map(|model| wanted.of(model)).map(|(placement, _)| placement).chain(&awake);
        let looked: BTreeSet<&Placement> = looked.collect();
        let all = by_placement(&statuses);
        let rescaled = self.rescale(&state, &wanted, &looked, &fresh.gone, &all);
        if is_round {
            self.replicas.retain(&wanted);
            self.scales.retain(&wanted);
        }
        for status in &statuses {
            let role = wanted.get(&status.placement);
            match &status.state {
                ReplicaState::Ended { .. } => self.replica_ended(status, role).await,
                ReplicaState::Ready { elapsed_ms, .. } if role.is_some() => {
                    self.replica_ready(status, *elapsed_ms, role).await
                }
                _ if role.is_none() && !self.stands_in(status, &wanted, &all) => {
                    self.send_away(status)
                }
                _ => {}
            }
            self.replace_if_broken(status);
        }
        self.end_unwanted_loads(&wanted);
        self.follow_targets(&state, &wanted, &looked);
        // What was decided is told after it was done: a request may wait for it.
        let control = self.clone();
        tokio::spawn(async move { control.tell_changes(rescaled).await });
        let pause_ms = if self.scales.awake().is_empty() { LOOK_ALL_MS } else { LOOK_MS };
        let next = begin + Duration::from_millis(pause_ms);
        self.replicas.next_start(begin).map_or(next, |start| start.min(next))
    }

    /// Whether a replica with old variables serves until enough with new ones can; those that do
    /// not serve yet are of no use any more.
    fn stands_in(
        &self,
        status: &ReplicaStatus,
        wanted: &AllWanted,
        all: &HashMap<&Placement, Vec<&ReplicaStatus>>,
    ) -> bool {
        if self.use_of(status) != Use::Serves {
            return false;
        }
        let mut ready: Vec<(&Placement, Vec<&ReplicaStatus>)> = vec![];
        for (placement, replicas) in
            all.iter().filter(|(other, _)| other.is_same_version(&status.placement))
        {
            let serving =
                replicas.iter().copied().filter(|status| self.use_of(status) == Use::Serves);
            ready.push((placement, serving.collect()));
        }
        let newer = wanted.of(&status.placement.model).map(|(placement, _)| placement);
        newer.filter(|placement| placement.is_same_version(&status.placement)).any(|placement| {
            let ready = ready.iter().map(|(other, replicas)| (*other, replicas.as_slice()));
            let older = rollout::stands_in(ready, placement, self.scales.target(placement));
            older.is_some_and(|(older, _)| *older == status.placement)
        })
    }

    /// Ends parents that load a model which nobody wants any more: while variables change fast, one
    /// for each change.
    fn end_unwanted_loads(self: &Arc<Control>, wanted: &AllWanted) {
        for parent in self.engine.templates() {
            let is_wanted =
                parent.role.placement().is_none_or(|placement| wanted.get(placement).is_some());
            if parent.state == TemplateState::Starting && !is_wanted {
                let control = self.clone();
                tokio::spawn(async move { control.end_template(&parent.id).await });
            }
        }
    }

    async fn replica_ended(&self, status: &ReplicaStatus, role: Option<&Wanted>) {
        if self.stopping.load(Ordering::Acquire) {
            return;
        }
        let replica = &status.replica;
        let leaving = self.replicas.is_sent_away(replica);
        if role.is_some_and(|wanted| wanted.part == Part::Candidate && wanted.floor == 0)
            && !leaving
        {
            // Its deployment reads how it ended, and then forgets it.
            return;
        }
        if role.is_some() && !leaving && self.replicas.ends(replica) {
            self.tell_failure(status).await;
        }
        // Until it is out of the engine's list, it is seen again, and must be known again.
        if self.engine.forget(replica).await {
            self.replicas.forget(replica);
        }
    }

    async fn tell_failure(&self, status: &ReplicaStatus) {
        let (replica, placement) = (status.replica.clone(), status.placement.clone());
        let ReplicaState::Ended { reason, details, local } = &status.state else { return };
        // What the gateway saw tells more only where it is why the process was ended.
        let broken = self.replicas.why_broken(&replica);
        let was_asked =
            broken.is_some() || self.replicas.was_asked(&replica, self.scales.arrived(&placement));
        let reason = broken
            .filter(|why| !why.starts_with(ENDED_BY_ITSELF))
            .unwrap_or_else(|| reason.clone());
        let failure = match status.ready {
            None if *local => ReplicaFailure::Local,
            None => ReplicaFailure::Start(load_failed(&placement, &reason, details)),
            Some(ready) if was_asked || *local => {
                // A fork costs next to nothing, whatever the first start took.
                let startup_ms =
                    if self.engine.can_fork(&placement) { 0 } else { ready.elapsed_ms };
                ReplicaFailure::Died {
                    lived_ms: ready.since.elapsed().as_millis() as u64,
                    startup_ms,
                }
            }
            Some(_) => ReplicaFailure::Idle,
        };
        let (restart_in_ms, tell) = self.replicas.failed(&placement, failure);
        tracing::warn!(
            "{replica} of {placement} ended: {reason}; the next starts in {restart_in_ms} ms"
        );
        if tell {
            let model = placement.model.clone();
            self.tell(&model, Event::ReplicaFailed { replica, placement, reason, restart_in_ms })
                .await;
        }
    }

    async fn replica_ready(&self, status: &ReplicaStatus, elapsed_ms: u64, role: Option<&Wanted>) {
        let is_trial =
            role.is_none_or(|wanted| wanted.part == Part::Candidate && wanted.floor == 0);
        let arrived = self.scales.arrived(&status.placement);
        if !is_trial && self.replicas.ready(status, elapsed_ms, arrived) && elapsed_ms > 0 {
            let event = Event::ReplicaReady {
                replica: status.replica.clone(),
                placement: status.placement.clone(),
                elapsed_ms,
            };
            self.tell(&status.placement.model, event).await;
        }
    }

    fn replace_if_broken(self: &Arc<Control>, status: &ReplicaStatus) {
        let is_broken = self.replicas.why_broken(&status.replica).is_some();
        if is_broken && !matches!(status.state, ReplicaState::Ended { .. }) {
            let (control, replica) = (self.clone(), status.replica.clone());
            tokio::spawn(async move { control.engine.stop(&replica, 0).await });
        }
    }

    /// Takes a replica out of the route table, waits until the gateway has returned it, and stops
    /// it.
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
}
