//! Protected environments: who can approve what, and when a change may be made.

use domain::proposal::{Approval, Binding, PROPOSAL_MS_MAX, ProposalEnd};
use domain::{Digest, Party, Proposal, VersionNumber};
use proptest::prelude::*;

use super::*;

const PUT_MS: u64 = 1_000_000;

fn someone(number: u8) -> Party {
    Party::of(principal(number))
}

fn service(person: Option<PrincipalId>) -> Party {
    Party { principal: Principal::Known(PrincipalKind::Service, PrincipalId([200; 8])), person }
}

fn binding() -> Binding {
    Binding {
        version: Some(Digest::of(b"v5")),
        revision: 3,
        change: Digest::of(b"release v5 to production"),
    }
}

/// Proposed by 1, pushed by 2.
fn proposal() -> Proposal {
    Proposal {
        id: 41,
        action: Action::Release,
        object: object("fraud/churn@production"),
        binding: binding(),
        proposer: someone(1),
        pusher: Some(someone(2)),
        at_ms: PUT_MS,
        approvals: vec![],
        end: None,
    }
}

fn approved(mut proposal: Proposal, by: &[Party]) -> Proposal {
    proposal.approvals.extend(by.iter().map(|by| Approval { by: *by, at_ms: PUT_MS + 1 }));
    proposal
}

fn one() -> Protection {
    Protection { approvals: 1 }
}

fn ready(proposal: &Proposal, protection: Protection) -> Readiness {
    readiness(proposal, protection, &binding(), PUT_MS + 2, |_| true)
}

#[test]
fn whoever_proposed_or_pushed_it_cannot_approve_it() {
    let check = |party: Party| check_approval(&proposal(), &party, PUT_MS + 1);
    assert_eq!(check(someone(1)), Err(ApprovalRefusal::Proposer));
    assert_eq!(check(someone(2)), Err(ApprovalRefusal::Pusher));
    assert_eq!(check(someone(3)), Ok(()));
    // What counts is the person, not the name that they act under.
    let own_service = Proposal { proposer: service(Some(person(3))), ..proposal() };
    assert_eq!(
        check_approval(&own_service, &someone(3), PUT_MS + 1),
        Err(ApprovalRefusal::Proposer)
    );
    for nobody in [
        service(None),
        service(Some(person(3))),
        Party::of(Principal::LocalOwner),
        Party::of(Principal::Platform),
        Party { principal: Principal::LocalOwner, person: Some(person(3)) },
    ] {
        assert_eq!(check(nobody), Err(ApprovalRefusal::NotAPerson), "{nobody:?}");
    }
    let again = approved(proposal(), &[someone(3)]);
    assert_eq!(check_approval(&again, &someone(3), PUT_MS + 2), Err(ApprovalRefusal::Already));
}

#[test]
fn a_proposal_is_over_after_seven_days() {
    let last_ms = PUT_MS + PROPOSAL_MS_MAX - 1;
    let waiting = approved(proposal(), &[someone(3)]);
    let at = |now_ms| readiness(&waiting, one(), &binding(), now_ms, |_| true);
    assert_eq!(at(last_ms), Readiness::Ready { approvers: vec![person(3)] });
    assert_eq!(at(last_ms + 1), Readiness::Waits(Waits::Expired));
    assert_eq!(check_approval(&proposal(), &someone(3), last_ms), Ok(()));
    let late = check_approval(&proposal(), &someone(3), last_ms + 1);
    assert_eq!(late, Err(ApprovalRefusal::Expired));
    let late = check_rejection(&proposal(), &someone(3), last_ms + 1);
    assert_eq!(late, Err(ApprovalRefusal::Expired));
}

#[test]
fn only_exactly_what_was_approved_is_carried_out() {
    let waiting = approved(proposal(), &[someone(3)]);
    assert_eq!(ready(&waiting, one()), Readiness::Ready { approvers: vec![person(3)] });
    for (now, what) in [
        (Binding { version: Some(Digest::of(b"v6")), ..binding() }, "the version"),
        (Binding { version: None, ..binding() }, "the version"),
        (Binding { revision: 4, ..binding() }, "the configuration of the environment"),
        (Binding { change: Digest::of(b"without guards"), ..binding() }, "the change itself"),
    ] {
        let found = readiness(&waiting, one(), &now, PUT_MS + 2, |_| true);
        assert_eq!(found, Readiness::Waits(Waits::Stale(what)));
    }
    for end in
        [ProposalEnd::CarriedOut, ProposalEnd::Withdrawn, ProposalEnd::Rejected { by: someone(3) }]
    {
        let ended = Proposal { end: Some(end), ..waiting.clone() };
        assert_eq!(ready(&ended, one()), Readiness::Waits(Waits::Ended));
        let late = check_approval(&ended, &someone(4), PUT_MS + 2);
        assert_eq!(late, Err(ApprovalRefusal::Ended));
    }
}

#[test]
fn an_approval_counts_while_the_approver_could_still_give_it() {
    let waiting = approved(proposal(), &[someone(3), someone(4)]);
    let two = Protection { approvals: 2 };
    assert!(matches!(ready(&waiting, two), Readiness::Ready { .. }));
    let found = readiness(&waiting, two, &binding(), PUT_MS + 2, |who| who != person(4));
    assert_eq!(found, Readiness::Waits(Waits::Approvals(1)));
    // A protection that was raised meanwhile holds as it is now.
    let three = Protection { approvals: 3 };
    assert_eq!(ready(&waiting, three), Readiness::Waits(Waits::Approvals(1)));
}

#[test]
fn an_approval_that_should_never_have_been_taken_does_not_count() {
    let nobody = Party::of(Principal::LocalOwner);
    let forged = [service(Some(person(3))), service(None), nobody, someone(1), someone(2)];
    let waiting = approved(proposal(), &forged);
    assert_eq!(ready(&waiting, one()), Readiness::Waits(Waits::Approvals(1)));
    let twice = approved(proposal(), &[someone(3), someone(3)]);
    let two = Protection { approvals: 2 };
    assert_eq!(ready(&twice, two), Readiness::Waits(Waits::Approvals(1)));
}

#[test]
fn what_nobody_in_particular_proposed_needs_one_person_more() {
    for nobody in [service(None), Party::of(Principal::LocalOwner)] {
        let waiting = Proposal { proposer: nobody, ..proposal() };
        assert_eq!(approvals_needed(one(), &nobody), 2);
        let waiting = approved(waiting, &[someone(3)]);
        assert_eq!(ready(&waiting, one()), Readiness::Waits(Waits::Approvals(1)));
        let waiting = approved(waiting, &[someone(4)]);
        assert_eq!(
            ready(&waiting, one()),
            Readiness::Ready { approvers: vec![person(3), person(4)] }
        );
    }
    assert_eq!(approvals_needed(one(), &someone(1)), 1);
    // Whoever answers for a program need not be behind what it proposes: others may have its token.
    assert_eq!(approvals_needed(one(), &service(Some(person(1)))), 2);
    // None at all is no protection: it is read as one.
    assert_eq!(approvals_needed(Protection { approvals: 0 }, &someone(1)), 1);
}

#[test]
fn whoever_proposed_it_takes_it_back_and_others_reject_it() {
    let end = |party: Party| check_rejection(&proposal(), &party, PUT_MS + 1);
    assert_eq!(end(someone(1)), Ok(ProposalEnd::Withdrawn));
    assert_eq!(end(someone(2)), Ok(ProposalEnd::Rejected { by: someone(2) }));
    assert_eq!(end(service(None)), Ok(ProposalEnd::Rejected { by: service(None) }));
}

#[test]
fn nobody_is_locked_out_by_a_protection() {
    for (approvals, people, can_be_met) in
        [(1, 0, false), (1, 1, false), (1, 2, true), (2, 2, false), (2, 3, true), (0, 1, false)]
    {
        let found = protection_can_be_met(Protection { approvals }, people);
        assert_eq!(found, can_be_met, "{approvals} of {people}");
    }
}

#[test]
fn only_what_was_live_is_gone_back_to_without_approval() {
    let before = [VersionNumber(2), VersionNumber(4)];
    let action = |number, changes| action_to_make_live(VersionNumber(number), &before, changes);
    assert_eq!((action(4, false), action(2, false)), (Action::Rollback, Action::Rollback));
    assert_eq!((action(3, false), action(5, false)), (Action::Release, Action::Release));
    assert_eq!(action(4, true), Action::Release);
}

fn any_party() -> impl Strategy<Value = Party> {
    prop_oneof![
        (1u8..6).prop_map(someone),
        (1u8..6).prop_map(|number| service(Some(person(number)))),
        Just(service(None)),
        Just(Party::of(Principal::LocalOwner)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever is tried, in whatever order: at least one person more than there must be approvals
    /// stands behind what is carried out, and nobody approved their own.
    #[test]
    fn no_change_is_made_by_fewer_people_than_asked_for(
        proposer in any_party(), pusher in prop::option::of(any_party()), approvals in 0u32..4,
        tries in prop::collection::vec((any_party(), any::<bool>()), 0..12),
    ) {
        let mut waiting = Proposal { proposer, pusher, ..proposal() };
        for (party, is_checked) in tries {
            // A ledger that somebody wrote holds approvals that were never checked.
            if !is_checked || check_approval(&waiting, &party, PUT_MS + 1).is_ok() {
                waiting = approved(waiting, &[party]);
            }
        }
        let protection = Protection { approvals };
        let Readiness::Ready { approvers } = ready(&waiting, protection) else { return Ok(()) };
        let mut people = approvers.clone();
        prop_assert!(!people.contains(&person(0)));
        prop_assert!(proposer.person.is_none_or(|own| !people.contains(&own)));
        let pushers = pusher.and_then(|pusher| pusher.person);
        prop_assert!(pushers.is_none_or(|own| !people.contains(&own)));
        people.extend(proposer.person);
        people.sort();
        people.dedup();
        prop_assert!(people.len() > approvals.max(1) as usize, "{people:?}");
    }

    /// Enough other people can always approve: no order of theirs is in each other's way.
    #[test]
    fn enough_other_people_are_always_enough(
        proposer in any_party(), pusher in prop::option::of(any_party()), approvals in 1u32..5,
    ) {
        let mut waiting = Proposal { proposer, pusher, ..proposal() };
        let protection = Protection { approvals };
        for number in 100..100 + approvals_needed(protection, &proposer) as u8 {
            let found = ready(&waiting, protection);
            prop_assert!(matches!(found, Readiness::Waits(Waits::Approvals(_))));
            prop_assert_eq!(check_approval(&waiting, &someone(number), PUT_MS + 1), Ok(()));
            waiting = approved(waiting, &[someone(number)]);
        }
        let is_ready = matches!(ready(&waiting, protection), Readiness::Ready { .. });
        prop_assert!(is_ready);
    }
}
