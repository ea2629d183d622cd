//! What is there and what should be, and what is to be done about it.

use std::collections::BTreeMap;

use domain::launch::ProcessId;
use domain::{Placement, Problem, ReplicaId};

use super::wanted::Wanted;

/// How far a replica is, as the engine reports it.
#[derive(Clone, PartialEq, Debug)]
pub enum Phase {
    /// It does not answer yet.
    Starting,
    /// It answers.
    Ready {
        /// From its start, in milliseconds; 0 if it was found running.
        elapsed_ms: u64,
    },
    /// Its process is gone.
    Ended(End),
}

/// How a replica ended.
#[derive(Clone, PartialEq, Debug)]
pub struct End {
    /// How, in a few words.
    pub reason: String,
    /// What callers are told if it never became ready.
    pub problem: Problem,
    /// For how long it had answered, in milliseconds; `None` if it never did.
    pub lived_ms: Option<u64>,
    /// How long the start of another takes, in milliseconds.
    pub startup_ms: u64,
    /// This machine could not start or keep it, which says nothing of the version.
    pub local: bool,
}

/// A replica.
#[derive(Clone, PartialEq, Debug)]
pub struct Replica<'a> {
    /// Which one.
    pub id: &'a ReplicaId,
    /// What it runs.
    pub placement: &'a Placement,
    /// How far it is.
    pub phase: Phase,
}

/// What there should be of a placement that may have replicas.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Desired {
    /// What for.
    pub wanted: Wanted,
    /// How many; `None` before anything was decided.
    pub target: Option<u32>,
    /// Requests that came so far.
    pub arrived: u64,
    /// Whether requests wait.
    pub waits: bool,
    /// Whether its number of replicas is looked at.
    pub is_looked_at: bool,
}

/// What is there and what should be.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// Milliseconds on a clock that never jumps.
    pub now_ms: u64,
    /// All replicas that the engine has not forgotten.
    pub replicas: Vec<Replica<'a>>,
    /// Parents that load a model.
    pub loading: Vec<(&'a ProcessId, &'a Placement)>,
    /// Placements that may have replicas: those that are looked at, and all of the models that have
    /// replicas or parents.
    pub desired: BTreeMap<&'a Placement, Desired>,
    /// Whether one that is ready stays of a placement scaled to zero.
    pub keeps_spares: bool,
    /// How many may start at the same time.
    pub starts_at_once_max: u32,
}

/// What is to be done.
#[derive(Clone, PartialEq, Debug)]
pub enum Action<'a> {
    /// Tell that a replica has ended by itself.
    TellEnd {
        /// Which one.
        replica: &'a ReplicaId,
        /// What it ran.
        placement: &'a Placement,
        /// How it ended, as whoever saw most of it says.
        reason: String,
        /// When the next is started.
        restart_in_ms: u64,
        /// Whether it should be an event.
        is_event: bool,
    },
    /// Tell that a replica answers.
    TellReady {
        /// Which one.
        replica: &'a ReplicaId,
        /// What it runs.
        placement: &'a Placement,
        /// From its start, in milliseconds; 0 if it was found running.
        elapsed_ms: u64,
        /// Whether it should be an event.
        is_event: bool,
    },
    /// Drop one that has ended from the engine's list.
    Forget(&'a ReplicaId),
    /// Take it out of the routes, and stop it when no gateway uses it any more.
    Drain(&'a ReplicaId),
    /// End it at once: it is broken.
    Kill(&'a ReplicaId),
    /// End a parent that loads a model which nobody wants any more.
    EndParent(&'a ProcessId),
    /// Start so many.
    Start(&'a Placement, u32),
}
