//! Why a decision is as it is, in one line for people.

use domain::{Action, Grant, Grantee, Object, Role};

use crate::access::decide::{By, Decision, Missing};
use crate::access::needs::needs;

/// How whoever asks for themselves is called.
const YOU: &str = "you";

impl Decision {
    /// The decision in one line, as `yes: ann is deployer of fraud (by group ml-team)`. It is for
    /// those who may see the object: of what is not found it says why, and so that it exists.
    pub fn explain(&self, who: &str, action: Action, object: &Object) -> String {
        match self {
            Decision::Allowed(by) => format!("yes: {}", is(who, by)),
            Decision::Proposal { by, approvals } => {
                let people = match approvals {
                    1 => "one approval".to_string(),
                    more => format!("{more} approvals"),
                };
                let place = match object.environment() {
                    Some(environment) => format!("{environment} is protected"),
                    None => "there are protected environments in it".to_string(),
                };
                format!("no: {}, and {place}; {who} may propose it ({people})", is(who, by))
            }
            Decision::Forbidden(missing) | Decision::NotFound(missing) => {
                format!("no: {}", lacks(who, missing, action, object))
            }
        }
    }
}

/// As `ann is deployer of fraud (by group ml-team)`.
fn is(who: &str, by: &By) -> String {
    match by {
        By::LocalOwner => format!("{who} may do everything at this machine"),
        By::Grant(Grant { to, role, reach }) => {
            let group = match to {
                Grantee::Group(group) => format!(" (by group {group})"),
                Grantee::Principal(_) => String::new(),
            };
            format!("{who} {} {role} of {}{group}", verb(who, "are", "is"), reach.display())
        }
    }
}

/// The form of a verb: whoever asks for themselves is called `you`.
fn verb<'a>(who: &str, of_you: &'a str, of_others: &'a str) -> &'a str {
    if who == YOU { of_you } else { of_others }
}

fn lacks(who: &str, missing: &Missing, action: Action, object: &Object) -> String {
    match missing {
        Missing::Role { needed, has } => {
            let has = match has {
                Some(by) => is(who, by),
                None => {
                    format!("{who} {} no role in {}", verb(who, "have", "has"), place(object))
                }
            };
            format!("{has}; {action} needs {}{}", or_higher(*needed), where_needed(action, object))
        }
        Missing::Scope { needed } => format!("the token lacks the scope {needed}"),
        Missing::Maker => {
            format!(
                "whoever made the token may not {action} there any more; its owner can rotate it"
            )
        }
    }
}

fn or_higher(role: Role) -> String {
    match role {
        Role::Owner => role.to_string(),
        _ => format!("{role} or higher"),
    }
}

fn place(object: &Object) -> String {
    match (object.project(), object.environment()) {
        (None, _) => "all projects".to_string(),
        (Some(project), None) => project.to_string(),
        (Some(project), Some(environment)) => format!("{project}@{environment}"),
    }
}

/// Where a role would have to be, if it matters.
fn where_needed(action: Action, object: &Object) -> String {
    match (object.project(), object.environment()) {
        (None, _) => " of all projects".to_string(),
        (Some(project), None) if needs(action).in_any_environment => {
            format!(" in any environment of {project}")
        }
        _ => format!(" of {}", place(object)),
    }
}
