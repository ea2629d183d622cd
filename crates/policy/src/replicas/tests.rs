//! Plans for a few replicas, and the history that they depend on.

use domain::{Code, Placement, Problem, ReplicaId, VersionNumber};

use super::*;
use crate::backoff;

fn placement(revision: u32) -> Placement {
    Placement {
        model: domain::state::default_model("m").unwrap(),
        environment: "production".parse().unwrap(),
        version: VersionNumber(1),
        digest: domain::Digest::ZERO,
        revision,
    }
}

fn id(count: u64) -> ReplicaId {
    ReplicaId::of(1, count)
}

fn live(target: u32) -> Desired {
    let wanted = Wanted { part: Part::Live, floor: 0 };
    Desired { wanted, target: Some(target), arrived: 0, waits: false, is_looked_at: true }
}

/// Replicas by placement and phase.
struct Place {
    known: Vec<(ReplicaId, Placement, Phase)>,
    desired: Vec<(Placement, Desired)>,
    now_ms: u64,
    keeps_spares: bool,
}

const READY: Phase = Phase::Ready { elapsed_ms: 5 };

impl Place {
    fn new(known: &[(u64, u32, Phase)], desired: &[(u32, Desired)]) -> Place {
        let known = known.iter();
        Place {
            known: known
                .map(|(count, revision, phase)| (id(*count), placement(*revision), phase.clone()))
                .collect(),
            desired: desired.iter().map(|(r, desired)| (placement(*r), *desired)).collect(),
            now_ms: 1_000,
            keeps_spares: false,
        }
    }

    fn view(&self) -> View<'_> {
        View {
            now_ms: self.now_ms,
            replicas: self
                .known
                .iter()
                .map(|(id, placement, phase)| Replica { id, placement, phase: phase.clone() })
                .collect(),
            loading: vec![],
            desired: self.desired.iter().map(|(of, desired)| (of, *desired)).collect(),
            keeps_spares: self.keeps_spares,
            starts_at_once_max: 4,
        }
    }

    /// What is planned, in short: `drain 3`, `start 2 of 0`, …
    fn plan(&self, history: &mut History) -> Vec<String> {
        let view = self.view();
        let short = |action: &Action| match action {
            Action::TellEnd { replica, restart_in_ms, .. } => {
                format!("ended {} restart {restart_in_ms}", replica.order().1)
            }
            Action::TellReady { replica, .. } => format!("ready {}", replica.order().1),
            Action::Forget(replica) => format!("forget {}", replica.order().1),
            Action::Drain(replica) => format!("drain {}", replica.order().1),
            Action::Kill(replica) => format!("kill {}", replica.order().1),
            Action::EndParent(process) => format!("end {process}"),
            Action::Start(placement, count) => format!("start {count} of {}", placement.revision),
        };
        history.plan(&view).iter().map(short).collect()
    }
}

fn end(lived_ms: Option<u64>, local: bool) -> Phase {
    Phase::Ended(End {
        reason: "exited".into(),
        problem: Problem::new(Code::LoadFailed, "no"),
        lived_ms,
        startup_ms: 10,
        local,
    })
}

#[test]
fn what_is_missing_starts_and_what_is_too_much_goes_the_youngest_first() {
    let mut history = History::default();
    let few = Place::new(&[(1, 0, READY)], &[(0, live(3))]);
    assert_eq!(few.plan(&mut history), ["ready 1", "start 2 of 0"]);
    assert!(few.plan(&mut history).is_empty(), "they are on their way");
    history.start_done(&placement(0));
    history.start_done(&placement(0));
    let known = [(1, 0, READY), (2, 0, READY), (3, 0, READY), (4, 0, Phase::Starting)];
    let many = Place::new(&known, &[(0, live(2))]);
    assert_eq!(many.plan(&mut history), ["ready 2", "ready 3", "drain 4", "drain 3"]);
    assert!(many.plan(&mut history).is_empty(), "once");
}

#[test]
fn one_that_is_ready_may_stay_of_what_is_scaled_to_zero() {
    let known = [(1, 0, READY), (2, 0, READY), (3, 0, Phase::Starting)];
    let mut place = Place::new(&known, &[(0, live(0))]);
    assert_eq!(
        place.plan(&mut History::default()),
        ["ready 1", "ready 2", "drain 3", "drain 2", "drain 1"]
    );
    place.keeps_spares = true;
    let mut history = History::default();
    assert_eq!(place.plan(&mut history), ["ready 1", "ready 2", "drain 3", "drain 1"]);
    place.desired[0].1 = live(1);
    assert!(place.plan(&mut history).is_empty(), "the spare serves again");
}

#[test]
fn replicas_with_old_variables_stay_until_as_many_have_the_new() {
    let mut history = History::default();
    let old = [(1, 0, READY), (2, 0, READY), (3, 0, Phase::Starting)];
    let mut place = Place::new(&old, &[(1, live(2))]);
    assert_eq!(place.plan(&mut history), ["drain 3", "start 2 of 1"]);
    history.start_done(&placement(1));
    history.start_done(&placement(1));
    place.known.push((id(4), placement(1), READY));
    place.known.push((id(5), placement(1), Phase::Starting));
    assert_eq!(place.plan(&mut history), ["ready 4"], "one of two would be a dip");
    place.known[4].2 = READY;
    assert_eq!(place.plan(&mut history), ["drain 1", "drain 2", "ready 5"]);
}

#[test]
fn an_end_is_counted_once_and_forgotten_until_that_is_done() {
    let mut history = History::default();
    let place = Place::new(&[(1, 0, end(None, false))], &[(0, live(1))]);
    assert_eq!(place.plan(&mut history), ["ended 1 restart 0", "forget 1", "start 1 of 0"]);
    assert_eq!(place.plan(&mut history), ["forget 1"], "the engine could not forget it yet");
    history.forget(&id(1));
    history.start_done(&placement(0));
    let place = Place::new(&[(2, 0, end(None, false))], &[(0, live(1))]);
    assert_eq!(place.plan(&mut history), ["ended 2 restart 100", "forget 2"]);
    assert_eq!(history.next_start_ms(place.now_ms), Some(1_100));
    // One that was told to go has not failed.
    let mut history = History::default();
    history.leave(&id(3));
    let place = Place::new(&[(3, 0, end(Some(9), false))], &[(0, live(0))]);
    assert_eq!(place.plan(&mut history), ["forget 3"]);
}

#[test]
fn a_candidate_is_its_deployments_until_it_takes_traffic() {
    let mut history = History::default();
    let trial = Desired { wanted: Wanted { part: Part::Candidate, floor: 0 }, ..live(3) };
    let known = [(1, 0, READY), (2, 0, end(None, false))];
    let mut place = Place::new(&known, &[(0, trial)]);
    assert!(place.plan(&mut history).is_empty());
    place.desired[0].1.wanted.floor = 1;
    assert_eq!(
        place.plan(&mut history),
        ["ready 1", "ended 2 restart 0", "forget 2", "start 2 of 0"]
    );
}

#[test]
fn a_broken_one_is_killed_and_replaced() {
    let mut history = History::default();
    history.broken(&id(1), "it answered nothing".into());
    let place = Place::new(&[(1, 0, READY)], &[(0, live(1))]);
    assert_eq!(place.plan(&mut history), ["ready 1", "kill 1", "start 1 of 0"]);
}

#[test]
fn failures_before_an_attempt_are_not_its_own() {
    let (mut history, placement) = (History::default(), placement(0));
    let died = ReplicaFailure::Died { lived_ms: 9_000, startup_ms: 10 };
    // Somebody kills two that were ready.
    for count in [1, 2] {
        history.ready(&id(count), &placement, 5, 0, 10);
        assert_eq!(history.failed(&placement, died.clone(), 10).0, 0);
    }
    assert!(history.has_failed_since(&placement, 0));
    assert!(!history.has_failed_since(&placement, 20));
    history.failed(&placement, died.clone(), 30);
    assert!(!history.has_failed_since(&placement, 20), "one death is a restart");
    history.failed(&placement, died, 30);
    assert!(history.has_failed_since(&placement, 20));
    history.ready(&id(3), &placement, 5, 0, 40);
    assert!(!history.has_failed_since(&placement, 20));
}

#[test]
fn only_a_start_that_fails_backs_off() {
    let (mut history, placement) = (History::default(), placement(0));
    let problem = Problem::new(Code::LoadFailed, "no");
    let start = ReplicaFailure::Start(problem.clone());
    let waits = [(); 3].map(|()| history.failed(&placement, start.clone(), 0).0);
    assert_eq!(waits, [0, 100, 200]);
    assert!(!history.may_start(&placement, 199) && history.problem(&placement) == Some(&problem));
    assert!(history.may_start(&placement, 200));
    history.ready(&id(1), &placement, 5, 7, 0);
    assert!(history.problem(&placement).is_none());
    let asked = |arrived| {
        let Phase::Ended(end) = end(Some(2), false) else { unreachable!() };
        history.failure(&id(1), &end, arrived).1
    };
    let died = ReplicaFailure::Died { lived_ms: 2, startup_ms: 10 };
    assert_eq!((asked(8), asked(7)), (died.clone(), ReplicaFailure::Idle));
    for _ in 0..50 {
        assert_eq!(history.failed(&placement, died.clone(), 0).0, 8);
    }
    assert_eq!(history.failed(&placement, ReplicaFailure::Local, 0).0, backoff::LOCAL_MS);
    let idle = history.failed(&placement, ReplicaFailure::Idle, 0).0;
    assert_eq!(idle, 400, "it counts on where it was");
}

#[test]
fn a_start_that_was_due_is_not_waited_for_again() {
    let (mut history, placement) = (History::default(), placement(0));
    history.failed(&placement, ReplicaFailure::Idle, 5);
    assert_eq!(history.next_start_ms(4), Some(5));
    assert_eq!(history.next_start_ms(5), None, "a pass after it has seen it");
    history.failed(&placement, ReplicaFailure::Local, 5);
    assert_eq!(history.next_start_ms(5), Some(5 + backoff::LOCAL_MS));
    history.retain(5, |_| false);
    assert_eq!(history.next_start_ms(4), None, "what is gone is not started");
}

#[test]
fn variables_that_change_fast_are_rolled_out_once() {
    let mut history = History::default();
    assert!(history.may_start(&placement(0), 0) && history.may_start(&placement(0), 0));
    assert!((1..150).all(|revision| !history.may_start(&placement(revision), 1)));
    assert_eq!(history.next_start_ms(1), Some(history::ROLL_OUT_MS));
    assert!(history.may_start(&placement(150), history::ROLL_OUT_MS));
}

/// Who serves in place of revision 9, with so many ready replicas by revision.
fn in_place(ready: &[(u32, usize)], target: Option<u32>) -> Option<u32> {
    let ready: Vec<(Placement, usize)> =
        ready.iter().map(|(revision, count)| (placement(*revision), *count)).collect();
    let ready = ready.iter().map(|(placement, count)| (placement, *count));
    stands_in(ready, &placement(9), target).map(|older| older.revision)
}

#[test]
fn the_old_serve_until_as_many_new_are_ready() {
    assert_eq!(in_place(&[(8, 3)], Some(3)), Some(8));
    assert_eq!(in_place(&[(8, 3), (9, 2)], Some(3)), Some(8), "two of three are a dip");
    assert_eq!(in_place(&[(8, 3), (9, 3)], Some(3)), None);
    assert_eq!(in_place(&[(8, 3), (9, 2)], Some(2)), None, "more are not wanted any more");
    assert_eq!(in_place(&[(8, 3)], Some(0)), None, "it sleeps");
    assert_eq!(in_place(&[(8, 1)], None), Some(8), "before anything was decided");
    assert_eq!(in_place(&[(8, 1), (9, 1)], Some(5)), None, "the new are no fewer");
    assert_eq!(in_place(&[], Some(3)), None);
    assert_eq!(
        in_place(&[(7, 3), (8, 1), (9, 1)], Some(3)),
        Some(7),
        "a roll-out that was overtaken does not count"
    );
    assert_eq!(in_place(&[(7, 2), (8, 2)], Some(3)), Some(8));
}
