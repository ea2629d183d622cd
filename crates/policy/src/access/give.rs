//! What may be given to others: nobody gives more than they have, neither as a role nor as a token.

use domain::{Action, Grant, Object, Reach, Role, Scopes};

use crate::access::decide::{Asker, Decision, Rules, decide};

/// A token that somebody may not make.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a token gives no more than the one it is made with: {theirs} allow less than {asked}")]
pub struct GiveRefusal {
    theirs: Scopes,
    asked: Scopes,
}

/// Whether somebody may give a role. A service may get the role of a viewer from whoever may make
/// tokens there, so that those who release models can let programs ask them; all else is decided by
/// owners, and waits for approval where it reaches a protected environment.
pub fn may_give(asker: Asker<'_>, rules: Rules<'_>, grant: &Grant, to_service: bool) -> Decision {
    let object = match &grant.reach {
        Reach::Everything => Object::Platform,
        Reach::Project(project) => Object::Project(project.clone()),
        Reach::Environment(project, environment) => {
            Object::Environment(project.clone(), environment.clone())
        }
    };
    let action = match to_service && grant.role == Role::Viewer {
        true => Action::Token,
        false => Action::Member,
    };
    decide(asker, rules, action, &object)
}

/// Whether somebody may make a token with these scopes for a principal: with a token they give no
/// scope that it lacks. The roles are looked at when the token is used.
pub fn may_make_token(asker: Asker<'_>, scopes: &Scopes) -> Result<(), GiveRefusal> {
    match asker.scopes {
        Some(theirs) if !scopes.is_subset_of(theirs) => {
            Err(GiveRefusal { theirs: theirs.clone(), asked: scopes.clone() })
        }
        _ => Ok(()),
    }
}
