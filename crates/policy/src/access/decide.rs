//! Whether somebody may do something. What a caller may not see is not found, and never forbidden:
//! that would say that it exists.

use std::cmp::Reverse;

use domain::scope::Askable;
use domain::{
    Action, EnvironmentName, Grant, Grantee, GroupName, Object, Principal, ProjectName, Protection,
    Reach, Role, Scope, Scopes,
};

use crate::access::needs::{Needs, needs};

/// Who asks, and with what.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// Whose rights count: of a token, its owner.
    pub principal: &'a Principal,
    /// The groups that they are in.
    pub groups: &'a [GroupName],
    /// Of the token; none for whoever came in otherwise, which is no limit.
    pub scopes: Option<&'a Scopes>,
}

/// An environment whose changes need approval.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Protected {
    /// Its project.
    pub project: ProjectName,
    /// Its name.
    pub environment: EnvironmentName,
    /// What its changes need.
    pub protection: Protection,
}

/// What is decided by, as it is now. Whatever has nothing to do with the asker or the object makes
/// no difference, so that a caller may hand in as much of it as is convenient.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Who has which role where; at least all of the asker's.
    pub grants: &'a [Grant],
    /// At least all of the object's project, and all there are for an object that has none.
    pub protected: &'a [Protected],
}

/// By which right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum By {
    /// The local owner has every role everywhere.
    LocalOwner,
    /// This grant.
    Grant(Grant),
}

impl By {
    /// The role that they have by it.
    pub fn role(&self) -> Role {
        match self {
            By::LocalOwner => Role::Owner,
            By::Grant(grant) => grant.role,
        }
    }
}

/// What an asker lacks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Missing {
    /// A role on the object, or a higher one.
    Role {
        /// The least that would do.
        needed: Role,
        /// What they have there.
        has: Option<By>,
    },
    /// A scope of the token.
    Scope {
        /// That would do.
        needed: Scope,
    },
    /// Somebody else who has known the token's text may not do it any more.
    Maker,
}

/// Whether it may be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// The asker may not know whether there is such an object (404). What is missing is only for
    /// those who may see the object, never for the asker.
    NotFound(Missing),
    /// The asker may see the object, and not do that (403).
    Forbidden(Missing),
    /// The asker may propose it: the environment is protected.
    Proposal {
        /// By which right.
        by: By,
        /// How many others must agree.
        approvals: u32,
    },
    /// Yes.
    Allowed(By),
}

impl Decision {
    /// Whether it may be done at once.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Decision::Allowed(_))
    }

    /// Whether it may be done at once or proposed.
    pub fn may_propose(&self) -> bool {
        matches!(self, Decision::Allowed(_) | Decision::Proposal { .. })
    }
}

/// Decides whether somebody may do something now. A decision is only as good as the rules are new:
/// it is taken for each request, and once more where a change is written.
pub fn decide(asker: Asker<'_>, rules: Rules<'_>, action: Action, object: &Object) -> Decision {
    decide_by(asker, rules, needs(action), object, false)
}

/// Whether somebody may do it with some part of the object: in one environment of a project, or in
/// one project of all.
pub fn decide_somewhere(
    asker: Asker<'_>,
    rules: Rules<'_>,
    action: Action,
    object: &Object,
) -> Decision {
    decide_by(asker, Rules { protected: &[], ..rules }, needs(action), object, true)
}

fn decide_by(
    asker: Asker<'_>,
    rules: Rules<'_>,
    needs: Needs,
    object: &Object,
    is_somewhere: bool,
) -> Decision {
    let place = place(object);
    let has = strongest(asker, rules.grants, |reach| {
        covers(reach, &place, &needs) || is_somewhere && place.includes(reach)
    });
    // What they have is told them even if it is not enough, or in another place.
    let seen = strongest(asker, rules.grants, |reach| shows(reach, &place));
    let lacks_role = || Missing::Role { needed: needs.role, has: has.clone().or(seen.clone()) };
    let scope = scope_for(&needs.scope, object);
    let lacks_scope = || Missing::Scope { needed: scope.clone() };

    // What can be seen comes first: it decides between 404 and 403.
    if seen.is_none() && *object != Object::Platform {
        return Decision::NotFound(lacks_role());
    }
    if asker.scopes.is_some_and(|scopes| !scopes.iter().any(|scope| scope_shows(scope, object))) {
        return Decision::NotFound(lacks_scope());
    }
    let Some(by) = has.clone().filter(|by| by.role() >= needs.role) else {
        return Decision::Forbidden(lacks_role());
    };
    let has_scope = |scopes: &&Scopes| match is_somewhere {
        true => scopes.iter().any(|own| own.includes(&scope) || scope.includes(own)),
        false => scopes.include(&scope),
    };
    if asker.scopes.is_some_and(|scopes| !has_scope(&scopes)) {
        return Decision::Forbidden(lacks_scope());
    }
    let approvals = approvals(rules.protected, &place);
    match needs.is_protected && approvals > 0 {
        true => Decision::Proposal { by, approvals },
        false => Decision::Allowed(by),
    }
}

/// The highest of the asker's roles where `holds`; of equal ones always the same, in whatever order
/// they come.
fn strongest(asker: Asker<'_>, grants: &[Grant], holds: impl Fn(&Reach) -> bool) -> Option<By> {
    if *asker.principal == Principal::LocalOwner {
        return Some(By::LocalOwner);
    }
    let id = asker.principal.id();
    let is_theirs = |grant: &&Grant| match &grant.to {
        Grantee::Principal(other) => id == Some(*other),
        Grantee::Group(group) => id.is_some() && asker.groups.contains(group),
    };
    let theirs = grants.iter().filter(is_theirs).filter(|grant| holds(&grant.reach));
    let best = theirs.min_by_key(|grant| (Reverse(grant.role), &grant.reach, &grant.to));
    best.cloned().map(By::Grant)
}

/// Where an object lies, as a role reaches it.
fn place(object: &Object) -> Reach {
    match (object.project(), object.environment()) {
        (None, _) => Reach::Everything,
        (Some(project), None) => Reach::Project(project.clone()),
        (Some(project), Some(environment)) => {
            Reach::Environment(project.clone(), environment.clone())
        }
    }
}

/// Whether a role that holds there is a role at the place, for this action.
fn covers(reach: &Reach, place: &Reach, needs: &Needs) -> bool {
    reach.includes(place) || needs.in_any_environment && shows(reach, place)
}

/// Whether a role that holds there shows what there is at the place.
fn shows(reach: &Reach, place: &Reach) -> bool {
    match place {
        Reach::Project(project) => reach.touches(project),
        Reach::Everything | Reach::Environment(..) => reach.includes(place),
    }
}

/// Whether a scope shows that there is such an object: one for predictions shows no more than what
/// may be asked, all others whatever the owner sees.
fn scope_shows(scope: &Scope, object: &Object) -> bool {
    match (scope, object.project()) {
        (Scope::Predict(askable), Some(project)) => {
            askable.touches(project, object.model().map(|key| &key.model), object.environment())
        }
        _ => true,
    }
}

/// The scope that an action on this object needs.
fn scope_for(scope: &Scope, object: &Object) -> Scope {
    match (scope, object.project()) {
        (Scope::Predict(_), Some(project)) => Scope::Predict(Askable::Of {
            project: project.clone(),
            model: object.model().map(|key| key.model.clone()),
            environment: object.environment().cloned(),
        }),
        _ => scope.clone(),
    }
}

/// How many must approve a change at this place: the most that any protected environment in it asks
/// for; 0 if none is protected.
fn approvals(protected: &[Protected], place: &Reach) -> u32 {
    let is_in = |other: &&Protected| match place {
        Reach::Everything => true,
        Reach::Project(project) => *project == other.project,
        Reach::Environment(project, environment) => {
            (project, environment) == (&other.project, &other.environment)
        }
    };
    let there = protected.iter().filter(is_in);
    there.map(|other| other.protection.approvals.max(1)).max().unwrap_or(0)
}
