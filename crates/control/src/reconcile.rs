//! The reconciler of replicas: shows `policy` what is there and what should be, and carries out what
//! it plans. It takes no hints; whatever woke it, it compares.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use domain::{Event, ModelKey, Placement, ReplicaId, State};
use engine::{ReplicaState, ReplicaStatus, Stop, TemplateState, TemplateStatus};
use policy::replicas::{Action, Desired, End, Phase, Replica, ReplicaFailure, View, Wanted};
use policy::starts;
use tokio::time::Instant;

use crate::parked::Park;
use crate::remembered::by_placement;
use crate::start::{StartError, load_failed};
use crate::wanted::{AllWanted, Round};
use crate::{Control, LOOK_ALL_MS, LOOK_MS};

impl Control {
    /// One pass: decides how many replicas there should be, and does what that asks for. Gives when
    /// to look again even if nothing changes until then. Of the models, those are looked at that
    /// may have load, those of which something has changed, and some of the others in turn.
    pub(crate) async fn reconcile_replicas(self: &Arc<Control>, round: &mut Round) -> Instant {
        let begin_ms = self.clock.monotonic_ms();
        let state = self.state();
        let (wanted, fresh) = self.wanted_afresh();
        let (statuses, templates) = (self.replicas(), self.engine.templates());
        let awake = self.scales.awake();
        let (in_turn, is_round) = round.next(&wanted, begin_ms);
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
        if !self.stopping.load(Ordering::Acquire) {
            let view = self.view(begin_ms, &statuses, &templates, &wanted, &looked);
            for action in self.replicas.plan(&view) {
                self.carry_out(&state, action).await;
            }
        }
        // What was decided is told after it was done: a request may wait for it.
        let control = self.clone();
        tokio::spawn(async move { control.tell_changes(rescaled).await });
        let pause_ms = if self.scales.awake().is_empty() { LOOK_ALL_MS } else { LOOK_MS };
        let next_ms = begin_ms + pause_ms;
        let start_ms = self.replicas.next_start_ms(begin_ms);
        self.clock.at(start_ms.map_or(next_ms, |start_ms| start_ms.min(next_ms)))
    }

    /// What is there, and what should be.
    fn view<'a>(
        &self,
        now_ms: u64,
        statuses: &'a [Arc<ReplicaStatus>],
        templates: &'a [TemplateStatus],
        wanted: &'a AllWanted,
        looked: &BTreeSet<&'a Placement>,
    ) -> View<'a> {
        let loading: Vec<_> = templates
            .iter()
            .filter(|template| template.state == TemplateState::Starting)
            .filter_map(|template| Some((&template.id, template.role.placement()?)))
            .filter(|(_, placement)| !self.replays.uses(placement))
            .collect();
        let of_replicas = statuses.iter().map(|status| &status.placement.model);
        let models: BTreeSet<&ModelKey> =
            of_replicas.chain(loading.iter().map(|(_, placement)| &placement.model)).collect();
        let present = models.into_iter().flat_map(|model| wanted.of(model));
        let asked = looked.iter().filter_map(|placement| wanted.find(placement));
        let desired: BTreeMap<&Placement, Desired> = present
            .chain(asked)
            .map(|(placement, wanted)| (placement, self.desired(placement, *wanted, looked)))
            .collect();
        View {
            now_ms,
            replicas: statuses.iter().map(|status| self.replica(status)).collect(),
            loading,
            desired,
            keeps_spares: self.config.park == Park::Spare,
            starts_at_once_max: starts::starts_at_once_max(self.config.cores),
        }
    }

    fn desired(
        &self,
        placement: &Placement,
        wanted: Wanted,
        looked: &BTreeSet<&Placement>,
    ) -> Desired {
        Desired {
            wanted,
            target: self.scales.target(placement),
            arrived: self.scales.arrived(placement),
            waits: self.scales.waits(placement),
            is_looked_at: looked.contains(placement),
        }
    }

    fn replica<'a>(&self, status: &'a ReplicaStatus) -> Replica<'a> {
        let placement = &status.placement;
        let phase = match &status.state {
            ReplicaState::Starting => Phase::Starting,
            ReplicaState::Ready { elapsed_ms, .. } => Phase::Ready { elapsed_ms: *elapsed_ms },
            ReplicaState::Ended { reason, details, local } => {
                // A fork costs next to nothing, whatever the first start took.
                let can_fork = self.engine.can_fork(placement);
                let startup_ms = status.ready.filter(|_| !can_fork).map_or(0, |r| r.elapsed_ms);
                Phase::Ended(End {
                    problem: load_failed(placement, reason, details),
                    reason: reason.clone(),
                    lived_ms: status.ready.map(|ready| ready.since.elapsed().as_millis() as u64),
                    startup_ms,
                    local: *local,
                })
            }
        };
        Replica { id: &status.replica, placement, phase }
    }

    async fn carry_out(self: &Arc<Control>, state: &Arc<State>, action: Action<'_>) {
        match action {
            Action::TellEnd { replica, placement, reason, restart_in_ms, is_event } => {
                tracing::warn!(
                    "{replica} of {placement} ended: {reason}; the next starts in {restart_in_ms} ms"
                );
                self.crashed.lock().insert(placement.clone());
                if is_event {
                    let (replica, placement) = (replica.clone(), placement.clone());
                    let model = placement.model.clone();
                    let event = Event::ReplicaFailed { replica, placement, reason, restart_in_ms };
                    self.tell(&model, event).await;
                }
            }
            Action::TellReady { is_event: false, .. } => {}
            Action::TellReady { replica, placement, elapsed_ms, .. } => {
                let (replica, placement) = (replica.clone(), placement.clone());
                let model = placement.model.clone();
                let sandbox = self.engine.status(&replica).and_then(|status| status.sandbox);
                let event = Event::ReplicaReady { replica, placement, elapsed_ms, sandbox };
                self.tell(&model, event).await;
            }
            Action::Forget(replica) => {
                if self.engine.forget(replica).await {
                    self.replicas.forget(replica);
                }
            }
            Action::Drain(replica) => self.drain(replica.clone()),
            Action::Kill(replica) => {
                let (control, replica) = (self.clone(), replica.clone());
                tokio::spawn(async move { control.engine.stop(&replica, Stop::AtOnce).await });
            }
            Action::EndParent(id) => {
                let (control, id) = (self.clone(), id.clone());
                tokio::spawn(async move { control.end_template(&id).await });
            }
            Action::Start(placement, count) => {
                (0..count).for_each(|_| self.start_aside(state, placement));
            }
        }
    }

    /// Starts one more replica in a task of its own: an environment that has to be built holds up
    /// no other model.
    fn start_aside(self: &Arc<Control>, state: &Arc<State>, placement: &Placement) {
        let (control, state, placement) = (self.clone(), state.clone(), placement.clone());
        tokio::spawn(async move {
            let started = control.start_whole(&state, &placement).await;
            let failure = started.err().map(|StartError { problem, local, .. }| {
                tracing::error!("a replica of {placement} could not be started: {problem}");
                if local { ReplicaFailure::Local } else { ReplicaFailure::Start(problem) }
            });
            control.replicas.start_done(&placement, failure);
            control.work.notify_one();
        });
    }

    /// Takes a replica out of the route table, and stops it once no gateway uses it any more.
    pub(crate) fn send_away(self: &Arc<Control>, replica: &ReplicaId) {
        if self.replicas.set_leaving(replica) {
            self.drain(replica.clone());
        }
    }

    /// Stops a replica that is out of the route table, or will be, once no gateway uses it any
    /// more.
    pub(crate) fn drain(self: &Arc<Control>, replica: ReplicaId) {
        let control = self.clone();
        tokio::spawn(async move {
            control.publish_routes();
            let stop = Stop::Drained { drain_ms_max: control.config.drain_ms_max };
            if let Err(error) = control.engine.stop(&replica, stop).await {
                tracing::warn!("{replica} could not be stopped: {error}");
            }
            control.work.notify_one();
        });
    }
}
