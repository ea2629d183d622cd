//! Changes of protected environments: who may approve one, and when it may be carried out. What
//! counts are human beings: a second token of the same person is no second person.

use std::collections::BTreeSet;

use domain::proposal::{Binding, ProposalEnd};
use domain::{Action, Party, PrincipalId, Proposal, Protection, VersionNumber};

/// Why somebody cannot approve.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ApprovalRefusal {
    /// A service, a job, or the local owner.
    #[error("only a person can approve: log in under your own name with decalog login")]
    NotAPerson,
    /// Their own proposal.
    #[error("you proposed it yourself: somebody else must approve it")]
    Proposer,
    /// Their own version.
    #[error("you pushed the version yourself: somebody else must approve it")]
    Pusher,
    /// Once is enough.
    #[error("you approved it already")]
    Already,
    /// Too late.
    #[error("it can be approved no more: its 7 days are over; propose it again")]
    Expired,
    /// It is over.
    #[error("it was carried out, rejected or withdrawn already")]
    Ended,
}

/// How many people must approve what this party proposes. Whoever is nobody in particular does not
/// count as one of those who agree, so that somebody else has to: always at least one person more
/// than there must be approvals stands behind a change.
pub fn approvals_needed(protection: Protection, proposer: &Party) -> u32 {
    let is_person = proposer.person.is_some() && proposer.principal.person() == proposer.person;
    protection.approvals.max(1).saturating_add(u32::from(!is_person))
}

/// What it is to make this version live, whatever the caller calls it. `before` is what a rollback
/// can go back to. Only what was live, with the configuration that is in force, is a rollback,
/// which needs no approval.
pub fn action_to_make_live(
    version: VersionNumber,
    before: &[VersionNumber],
    changes_configuration: bool,
) -> Action {
    match before.contains(&version) && !changes_configuration {
        true => Action::Rollback,
        false => Action::Release,
    }
}

/// Whether changes could ever be approved if this many people have the right to: else the
/// protection would lock everybody out.
pub fn protection_can_be_met(protection: Protection, people: usize) -> bool {
    u64::from(protection.approvals.max(1)) < people as u64
}

/// Whether this party can approve now, in milliseconds since 1970. That they could have proposed
/// the change themselves is decided before, as for every action.
pub fn check_approval(
    proposal: &Proposal,
    party: &Party,
    now_ms: u64,
) -> Result<(), ApprovalRefusal> {
    let person = party.person.ok_or(ApprovalRefusal::NotAPerson)?;
    // A service for which somebody answers has their person, but they did not look at this.
    if party.principal.person() != Some(person) {
        return Err(ApprovalRefusal::NotAPerson);
    }
    if proposal.end.is_some() {
        return Err(ApprovalRefusal::Ended);
    }
    if now_ms >= proposal.expires_ms() {
        return Err(ApprovalRefusal::Expired);
    }
    if proposal.proposer.person == Some(person) {
        return Err(ApprovalRefusal::Proposer);
    }
    if pushed_by(proposal, person) {
        return Err(ApprovalRefusal::Pusher);
    }
    match proposal.approvals.iter().any(|approval| approval.by.person == Some(person)) {
        true => Err(ApprovalRefusal::Already),
        false => Ok(()),
    }
}

/// Whether this party can end the proposal, and how: whoever proposed it takes it back, everybody
/// else who could have proposed it rejects it, without any number of people.
pub fn check_rejection(
    proposal: &Proposal,
    party: &Party,
    now_ms: u64,
) -> Result<ProposalEnd, ApprovalRefusal> {
    if proposal.end.is_some() {
        return Err(ApprovalRefusal::Ended);
    }
    if now_ms >= proposal.expires_ms() {
        return Err(ApprovalRefusal::Expired);
    }
    match proposal.proposer == *party {
        true => Ok(ProposalEnd::Withdrawn),
        false => Ok(ProposalEnd::Rejected { by: *party }),
    }
}

/// Whether a proposal may be carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Readiness {
    /// Now. These people agreed.
    Ready {
        /// Without the one who proposed it, in the order of their ids.
        approvers: Vec<PrincipalId>,
    },
    /// Not yet, or not any more.
    Waits(Waits),
}

/// What a proposal waits for, or why it waits in vain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Waits {
    /// For more people.
    #[error("it needs {_0} more approval{}", if *_0 == 1 { "" } else { "s" })]
    Approvals(u32),
    /// In vain: the version, the configuration or the change is another than was approved.
    #[error("{0} changed since it was proposed: propose it again")]
    Stale(&'static str),
    /// In vain.
    #[error("its 7 days are over; propose it again")]
    Expired,
    /// In vain.
    #[error("it was carried out, rejected or withdrawn already")]
    Ended,
}

/// Whether a proposal may be carried out now, in milliseconds since 1970. `now` is what would be
/// carried out, as it is at this moment, and `protection` that of this moment. Only approvals of
/// people count who could still approve: `may_still_approve` says so by their roles of now.
pub fn readiness(
    proposal: &Proposal,
    protection: Protection,
    now: &Binding,
    now_ms: u64,
    may_still_approve: impl Fn(PrincipalId) -> bool,
) -> Readiness {
    let waits = Readiness::Waits;
    if proposal.end.is_some() {
        return waits(Waits::Ended);
    }
    if now_ms >= proposal.expires_ms() {
        return waits(Waits::Expired);
    }
    if let Some(what) = difference(proposal, now) {
        return waits(Waits::Stale(what));
    }
    let approvers: BTreeSet<PrincipalId> = proposal
        .approvals
        .iter()
        // Who was let in by an older program, or by a ledger that somebody wrote, is looked at
        // again.
        .filter_map(|approval| approval.by.principal.person())
        .filter(|person| proposal.proposer.person != Some(*person) && !pushed_by(proposal, *person))
        .filter(|person| may_still_approve(*person))
        .collect();
    let needed = approvals_needed(protection, &proposal.proposer);
    match needed.saturating_sub(u32::try_from(approvers.len()).unwrap_or(u32::MAX)) {
        0 => Readiness::Ready { approvers: approvers.into_iter().collect() },
        more => waits(Waits::Approvals(more)),
    }
}

fn pushed_by(proposal: &Proposal, person: PrincipalId) -> bool {
    proposal.pusher.is_some_and(|pusher| pusher.person == Some(person))
}

fn difference(proposal: &Proposal, now: &Binding) -> Option<&'static str> {
    let Binding { version, revision, change } = &proposal.binding;
    if *version != now.version {
        return Some(if proposal.action == Action::Remove {
            "what it removes"
        } else {
            "the version"
        });
    }
    if *revision != now.revision {
        return Some("the configuration of the environment");
    }
    (*change != now.change).then_some("the change itself")
}
