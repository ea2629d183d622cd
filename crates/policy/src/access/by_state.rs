//! Decisions by what the ledger says at this moment.

use domain::state::Access;
use domain::{
    Action, Caller, Grant, Grantee, GroupName, Object, Principal, ProjectName, Protection, Scopes,
};

use crate::access::decide::{
    Asker, By, Decision, Missing, Protected, Rules, decide, decide_somewhere,
};
use crate::access::needs::needs;

/// The groups that somebody is in.
fn groups<'a>(access: &'a Access, principal: &Principal) -> &'a [GroupName] {
    access.known(principal).map_or(&[], |known| known.groups.as_slice())
}

/// The protected environments that an action on an object may concern.
fn protected(access: &Access, action: Action, object: &Object) -> Vec<Protected> {
    if !needs(action).is_protected {
        return vec![];
    }
    let concerns = |project: &ProjectName| object.project().is_none_or(|own| own == project);
    let there = access.protected.iter().filter(|((project, _), _)| concerns(project));
    there
        .map(|((project, environment), protection)| Protected {
            project: project.clone(),
            environment: environment.clone(),
            protection: *protection,
        })
        .collect()
}

/// Decides about somebody by the roles that they have now. Decalog itself may do what its
/// reconcilers do, and never comes in from outside.
fn with_grants(
    access: &Access,
    principal: &Principal,
    scopes: Option<&Scopes>,
    decide: impl FnOnce(Asker<'_>, &[Grant]) -> Decision,
) -> Decision {
    let groups = groups(access, principal);
    let asker = Asker { principal, groups, scopes };
    match (principal, groups) {
        (Principal::Platform, _) => Decision::Allowed(By::LocalOwner),
        // Most callers are in no group: nothing is copied for them.
        (Principal::Known(_, id), []) => decide(asker, access.grants_of(&Grantee::Principal(*id))),
        _ => decide(asker, &grants_of(access, principal)),
    }
}

/// What a change of this kind needs at this place, if it needs approval there.
pub fn protection_of(access: &Access, action: Action, object: &Object) -> Option<Protection> {
    match decide(
        Asker { principal: &Principal::LocalOwner, groups: &[], scopes: None },
        Rules { grants: &[], protected: &protected(access, action, object) },
        action,
        object,
    ) {
        Decision::Proposal { approvals, .. } => Some(Protection { approvals }),
        _ => None,
    }
}

/// Whether somebody may do something now, with a token of these scopes or without one.
pub fn may(
    access: &Access,
    principal: &Principal,
    scopes: Option<&Scopes>,
    action: Action,
    object: &Object,
) -> Decision {
    with_grants(access, principal, scopes, |asker, grants| {
        let protected = protected(access, action, object);
        decide(asker, Rules { grants, protected: &protected }, action, object)
    })
}

/// Whether somebody may do something with what others have known as well: no more than each of
/// those may do at this moment, so that nobody who gave a token away can do more with it than they
/// could without.
pub fn may_with(
    access: &Access,
    own: Decision,
    known_to: &[Principal],
    action: Action,
    object: &Object,
) -> Decision {
    bounded(own, known_to, |other| may(access, other, None, action, object))
}

/// What a caller may do at this moment.
pub fn caller_may(access: &Access, caller: &Caller, action: Action, object: &Object) -> Decision {
    let own = may(access, &caller.principal, caller.scopes(), action, object);
    may_with(access, own, caller.known_to(), action, object)
}

/// What a caller may do at this moment in at least one place that belongs to the object.
pub fn caller_may_somewhere(
    access: &Access,
    caller: &Caller,
    action: Action,
    object: &Object,
) -> Decision {
    let own = may_somewhere(access, &caller.principal, caller.scopes(), action, object);
    bounded(own, caller.known_to(), |other| may_somewhere(access, other, None, action, object))
}

/// A decision, or what is left of it if one of the others may do less.
fn bounded(
    own: Decision,
    others: &[Principal],
    decide: impl Fn(&Principal) -> Decision,
) -> Decision {
    let reach = |decision: &Decision| match decision {
        Decision::NotFound(_) => 0,
        Decision::Forbidden(_) => 1,
        Decision::Proposal { .. } => 2,
        Decision::Allowed(_) => 3,
    };
    others.iter().map(decide).fold(own, |least, other| match other {
        other if reach(&other) >= reach(&least) => least,
        Decision::NotFound(_) => Decision::NotFound(Missing::Maker),
        Decision::Forbidden(_) => Decision::Forbidden(Missing::Maker),
        other => other,
    })
}

/// Whether somebody may do something in at least one place that belongs to the object: in some
/// environment of a project, in some project. What is refused here cannot be allowed once the
/// place is known; what is not, is decided again then.
pub fn may_somewhere(
    access: &Access,
    principal: &Principal,
    scopes: Option<&Scopes>,
    action: Action,
    object: &Object,
) -> Decision {
    with_grants(access, principal, scopes, |asker, grants| {
        decide_somewhere(asker, Rules { grants, protected: &[] }, action, object)
    })
}

/// All roles that somebody has, by themselves and by their groups.
pub fn grants_of(access: &Access, principal: &Principal) -> Vec<Grant> {
    let own = principal.id().map(Grantee::Principal);
    let groups = groups(access, principal).iter().cloned().map(Grantee::Group);
    own.into_iter().chain(groups).flat_map(|to| access.grants_of(&to).to_vec()).collect()
}
