//! Which entry of the ledger a cause is, and which entries can be causes.

use super::answer::{CauseKind, Reference};
use super::input::{Event, EventKind};
use super::view::View;

/// Events are candidates from so long before the change may have begun, in buckets: ten minutes.
const BEFORE: i64 = 120;
/// One that acts on all at once and not on a group acts within so many buckets.
const ALIGNED: i64 = 6;

impl EventKind {
    /// What it can bring about, the most likely first.
    pub fn causes(self) -> &'static [CauseKind] {
        use EventKind::*;
        match self {
            ReleaseStarted | ReleaseStep | ReleaseFinished | Rollback => {
                &[CauseKind::Version, CauseKind::FailingVersion]
            }
            Configuration | Environment => &[CauseKind::Configuration],
            Scaled => &[CauseKind::Replicas, CauseKind::ColdStarts],
            ReplicaFailed => &[CauseKind::Replica, CauseKind::Replicas, CauseKind::ColdStarts],
            ReplicaStarted => &[CauseKind::ColdStarts, CauseKind::Replica],
            Reference | Token => &[CauseKind::Caller],
        }
    }
}

/// Events near a change, the latest first; equal times by what they say.
pub(super) fn near<'a>(view: &View<'a>, from: usize, to: usize) -> Vec<&'a Event> {
    let within = (from as i64 - BEFORE)..=(to as i64);
    let events = view.observed.events.iter();
    let mut near: Vec<&Event> =
        events.filter(|event| within.contains(&view.bucket_at(event.at_ms))).collect();
    near.sort_by_key(|event| {
        let order = (event.kind, &event.subject, &event.reference);
        (std::cmp::Reverse(event.at_ms), order)
    });
    near
}

/// Whether it happened when the change may have begun, or just before.
pub(super) fn aligned(view: &View, event: &Event, from: usize, to: usize) -> bool {
    (from as i64 - ALIGNED..=to as i64).contains(&view.bucket_at(event.at_ms))
}

/// The event that can have brought this about: the latest that names it, from as long before as it
/// takes for a group to be there.
pub(super) fn reference(events: &[&Event], kind: CauseKind, name: &str) -> Reference {
    let fits = |event: &&&Event| event.subject == name && event.kind.causes().contains(&kind);
    let found = events.iter().find(fits);
    Reference {
        name: name.to_string(),
        value: None,
        event: found.map(|event| event.reference.clone()),
        actor: found.map(|event| event.actor.clone()),
        happened: found.map(|event| event.kind),
    }
}

/// As it is named.
pub(super) fn of(event: &Event) -> Reference {
    Reference {
        name: event.subject.clone(),
        value: None,
        event: Some(event.reference.clone()),
        actor: Some(event.actor.clone()),
        happened: Some(event.kind),
    }
}
