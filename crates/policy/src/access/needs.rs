//! What each action needs: the one table of rights.

use domain::scope::Askable;
use domain::{Action, Role, Scope};

/// What an action needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Needs {
    /// The least role.
    pub role: Role,
    /// The scope that a token must have. For predictions, one for the model that is asked.
    pub scope: Scope,
    /// Whether the role in one environment of a project is enough, although the action concerns
    /// the project: whoever releases to one environment must be able to push.
    pub in_any_environment: bool,
    /// Whether it waits for approval where the environment is protected.
    pub is_protected: bool,
    /// Whether it is always in one environment, so that production is meant where none is named.
    pub is_in_one_environment: bool,
}

/// What an action needs.
pub fn needs(action: Action) -> Needs {
    let needs = |role, scope| Needs {
        role,
        scope,
        in_any_environment: false,
        is_protected: false,
        is_in_one_environment: false,
    };
    let protected = |role, scope| Needs { is_protected: true, ..needs(role, scope) };
    let in_one = |needs| Needs { is_in_one_environment: true, ..needs };
    let in_any = |needs| Needs { in_any_environment: true, ..needs };
    match action {
        Action::Predict => in_one(needs(Role::Viewer, Scope::Predict(Askable::All))),
        // Truth is of the world, whatever environment predicted it.
        Action::Feedback => in_any(needs(Role::Viewer, Scope::Predict(Askable::All))),
        Action::Read => in_any(needs(Role::Viewer, Scope::Read)),
        Action::Rollback | Action::Steer | Action::Restart => {
            in_one(needs(Role::Operator, Scope::Operate))
        }
        Action::Scale => in_one(protected(Role::Operator, Scope::Operate)),
        Action::Push => in_any(needs(Role::Deployer, Scope::Deploy)),
        Action::Release | Action::Configure => in_one(protected(Role::Deployer, Scope::Deploy)),
        Action::Secret => in_one(protected(Role::Deployer, Scope::Secrets)),
        Action::Remove => protected(Role::Deployer, Scope::Deploy),
        Action::Token => needs(Role::Deployer, Scope::Admin),
        Action::Member | Action::Protect => protected(Role::Owner, Scope::Admin),
        Action::Expel | Action::Administer => needs(Role::Owner, Scope::Admin),
        Action::Records => needs(Role::Deployer, Scope::Records),
        Action::Audit => needs(Role::Owner, Scope::Audit),
    }
}
