//! Compares what is there with what should be.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use domain::Placement;

use super::history::History;
use super::rollout::stands_in;
use super::view::{Action, Desired, End, Phase, Replica, View};
use crate::starts::{Lack, starts};

impl History {
    /// What is to be done now. What it plans counts as begun: whoever asks carries all of it out,
    /// and says when a start has come about ([`History::start_done`]).
    pub fn plan<'a>(&mut self, view: &View<'a>) -> Vec<Action<'a>> {
        let mut actions = vec![];
        for replica in &view.replicas {
            match (&replica.phase, view.desired.get(replica.placement)) {
                (Phase::Ended(end), desired) => {
                    self.plan_end(view, replica, end, desired, &mut actions)
                }
                (Phase::Ready { elapsed_ms }, Some(desired)) if !desired.wanted.is_trial() => {
                    actions.extend(self.plan_ready(view.now_ms, replica, *elapsed_ms, desired));
                }
                (_, None) if !self.stands_in(view, replica) && self.leave(replica.id) => {
                    actions.push(Action::Drain(replica.id));
                }
                _ => {}
            }
            if self.why_broken(replica.id).is_some() && !matches!(replica.phase, Phase::Ended(_)) {
                actions.push(Action::Kill(replica.id));
            }
        }
        // While variables change fast, one for each change.
        let unwanted =
            view.loading.iter().filter(|(_, placement)| !view.desired.contains_key(placement));
        actions.extend(unwanted.map(|(id, _)| Action::EndParent(id)));
        self.follow_targets(view, &mut actions);
        actions
    }

    fn plan_end<'a>(
        &mut self,
        view: &View<'a>,
        replica: &Replica<'a>,
        end: &End,
        desired: Option<&Desired>,
        actions: &mut Vec<Action<'a>>,
    ) {
        let leaving = self.is_sent_away(replica.id);
        if desired.is_some_and(|desired| desired.wanted.is_trial()) && !leaving {
            // Its deployment reads how it ended, and then forgets it.
            return;
        }
        if let Some(desired) = desired.filter(|_| !leaving && self.ends(replica.id)) {
            let placement = replica.placement;
            let (reason, failure) = self.failure(replica.id, end, desired.arrived);
            let (restart_in_ms, is_event) = self.failed(placement, failure, view.now_ms);
            let replica = replica.id;
            actions.push(Action::TellEnd { replica, placement, reason, restart_in_ms, is_event });
        }
        // Until it is out of the engine's list, it is seen again, and must be known again.
        actions.push(Action::Forget(replica.id));
    }

    fn plan_ready<'a>(
        &mut self,
        now_ms: u64,
        replica: &Replica<'a>,
        elapsed_ms: u64,
        desired: &Desired,
    ) -> Option<Action<'a>> {
        let (replica, placement) = (replica.id, replica.placement);
        let is_event = self.ready(replica, placement, elapsed_ms, desired.arrived, now_ms)?;
        Some(Action::TellReady { replica, placement, elapsed_ms, is_event })
    }

    /// Whether requests may go to a replica.
    fn serves(&self, replica: &Replica) -> bool {
        matches!(replica.phase, Phase::Ready { .. }) && !self.is_leaving(replica.id)
    }

    /// Whether a replica with old variables serves until enough with new ones can; those that do
    /// not serve yet are of no use any more.
    fn stands_in(&self, view: &View, replica: &Replica) -> bool {
        if !self.serves(replica) {
            return false;
        }
        let mut serving: BTreeMap<&Placement, usize> = BTreeMap::new();
        let of_version = view.replicas.iter().filter(|other| {
            other.placement.is_same_version(replica.placement) && self.serves(other)
        });
        of_version.for_each(|other| *serving.entry(other.placement).or_default() += 1);
        let newer = view.desired.iter().filter(|(of, _)| of.is_same_version(replica.placement));
        newer.into_iter().any(|(placement, desired)| {
            let serving = serving.iter().map(|(of, count)| (*of, *count));
            stands_in(serving, placement, desired.target) == Some(replica.placement)
        })
    }

    /// Starts or drains replicas until their numbers are the targets, a bounded number of starts at
    /// a time.
    fn follow_targets<'a>(&mut self, view: &View<'a>, actions: &mut Vec<Action<'a>>) {
        let mut running: HashMap<&Placement, Vec<&Replica<'a>>> = HashMap::new();
        for replica in view.replicas.iter().filter(|replica| {
            !matches!(replica.phase, Phase::Ended(_)) && !self.is_leaving(replica.id)
        }) {
            running.entry(replica.placement).or_default().push(replica);
        }
        let is_starting = |replica: &&Replica| replica.phase == Phase::Starting;
        let starting = view.replicas.iter().filter(is_starting).count() as u32 + self.pending_all();
        let mut lacking: Vec<(&'a Placement, Lack)> = vec![];
        for (placement, desired) in view.desired.iter().filter(|(_, desired)| desired.is_looked_at)
        {
            let Some(target) = desired.target.filter(|_| !desired.wanted.is_trial()) else {
                continue;
            };
            let running = running.remove(*placement).unwrap_or_default();
            let pending = self.pending(placement);
            if running.len() as u32 + pending < target {
                if self.may_start(placement, view.now_ms) {
                    lacking.push((*placement, lack(&running, pending, target, desired.waits)));
                }
            } else {
                for replica in excess(running, target, view.keeps_spares) {
                    if self.leave(replica.id) {
                        actions.push(Action::Drain(replica.id));
                    }
                }
            }
        }
        let lacks: Vec<Lack> = lacking.iter().map(|(_, lack)| *lack).collect();
        let given = starts(&lacks, starting, view.starts_at_once_max);
        for ((placement, _), count) in lacking.into_iter().zip(given).filter(|(_, n)| *n > 0) {
            self.start_begun(placement, count);
            actions.push(Action::Start(placement, count));
        }
    }
}

/// What a placement lacks whose replicas are fewer than its target.
fn lack(running: &[&Replica], pending: u32, target: u32, waits: bool) -> Lack {
    let is_ready = |replica: &&&Replica| matches!(replica.phase, Phase::Ready { .. });
    let (own, ready) = (running.len() as u32, running.iter().filter(is_ready).count() as u32);
    Lack { missing: target - own - pending, ready, starting: own - ready + pending, waits }
}

/// Those that are too many. Those that are not ready yet go first, then the youngest; where none is
/// wanted, one that is ready may stay as a spare, out of the routes.
fn excess<'v, 'a>(
    mut running: Vec<&'v Replica<'a>>,
    target: u32,
    keeps_spares: bool,
) -> Vec<&'v Replica<'a>> {
    let is_ready = |replica: &Replica| matches!(replica.phase, Phase::Ready { .. });
    running.sort_by_key(|replica| (is_ready(replica), Reverse(replica.id.order())));
    if target == 0 {
        let spare = running.iter().position(|replica| keeps_spares && is_ready(replica));
        spare.map(|at| running.remove(at));
        return running;
    }
    running.truncate(running.len().saturating_sub(target as usize));
    running
}
