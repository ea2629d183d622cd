//! Rights: the whole table of actions and roles, what is not found and what is forbidden, what a
//! line of explanation says; and what holds for any grants and tokens.

mod giving;
mod properties;
mod proposals;

use domain::{
    Action, Grant, Grantee, GroupName, Object, Principal, PrincipalId, PrincipalKind, Protection,
    Reach, Role, Scope, Scopes,
};

use super::*;

pub(super) fn person(number: u8) -> PrincipalId {
    PrincipalId([number; 8])
}

pub(super) fn principal(number: u8) -> Principal {
    Principal::Known(PrincipalKind::Person, person(number))
}

pub(super) fn object(text: &str) -> Object {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

pub(super) fn grant(number: u8, role: Role, reach: &str) -> Grant {
    Grant { to: Grantee::Principal(person(number)), role, reach: reach.parse().unwrap() }
}

pub(super) fn protected(place: &str, approvals: u32) -> Protected {
    let (project, environment) = place.split_once('@').unwrap();
    Protected {
        project: project.parse().unwrap(),
        environment: environment.parse().unwrap(),
        protection: Protection { approvals },
    }
}

pub(super) fn scopes(texts: &[&str]) -> Scopes {
    Scopes::new(texts.iter().map(|text| text.parse::<Scope>().unwrap())).unwrap()
}

/// Person 1, with these grants, scopes and protections.
pub(super) struct Case {
    pub grants: Vec<Grant>,
    pub groups: Vec<GroupName>,
    pub scopes: Option<Scopes>,
    pub protected: Vec<Protected>,
}

impl Case {
    pub fn of(grants: &[(Role, &str)]) -> Case {
        let grants = grants.iter().map(|(role, reach)| grant(1, *role, reach)).collect();
        Case { grants, groups: vec![], scopes: None, protected: vec![] }
    }

    pub fn scopes(self, texts: &[&str]) -> Case {
        Case { scopes: Some(scopes(texts)), ..self }
    }

    pub fn protected(mut self, place: &str, approvals: u32) -> Case {
        self.protected.push(protected(place, approvals));
        self
    }

    pub fn rules(&self) -> Rules<'_> {
        Rules { grants: &self.grants, protected: &self.protected }
    }

    pub fn decide_as(&self, who: &Principal, action: Action, on: &Object) -> Decision {
        let asker = Asker { principal: who, groups: &self.groups, scopes: self.scopes.as_ref() };
        decide(asker, self.rules(), action, on)
    }

    pub fn decide(&self, action: Action, on: &str) -> Decision {
        self.decide_as(&principal(1), action, &object(on))
    }

    fn says(&self, action: Action, on: &str) -> String {
        self.decide(action, on).explain("ann", action, &object(on))
    }
}

fn letter(decision: &Decision) -> char {
    match decision {
        Decision::NotFound(_) => '-',
        Decision::Forbidden(_) => 'f',
        Decision::Proposal { .. } => 'p',
        Decision::Allowed(_) => 'y',
    }
}

/// Every action by every role, on a model in an environment, on a project and on the platform. The
/// columns: nobody, viewer, operator, deployer, owner; then the same where the environment is
/// protected; y yes, p may be proposed, f forbidden, - not found.
const IN_AN_ENVIRONMENT: &str = "
    predict     -yyyy  -yyyy
    feedback    -yyyy  -yyyy
    read        -yyyy  -yyyy
    records     -ffyy  -ffyy
    rollback    -fyyy  -fyyy
    steer       -fyyy  -fyyy
    restart     -fyyy  -fyyy
    push        -ffyy  -ffyy
    release     -ffyy  -ffpp
    configure   -ffyy  -ffpp
    scale       -fyyy  -fppp
    secret      -ffyy  -ffpp
    remove      -ffyy  -ffpp
    token       -ffyy  -ffyy
    member      -fffy  -fffp
    expel       -fffy  -fffy
    protect     -fffy  -fffp
    audit       -fffy  -fffy
    administer  -fffy  -fffy
";

#[test]
fn every_action_by_every_role() {
    let mut seen = 0;
    for line in IN_AN_ENVIRONMENT.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let [name, free, guarded] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let action: Action = name.parse().unwrap();
        seen += 1;
        for on in ["fraud/churn@production", "fraud/*@production", "fraud/churn", "fraud/*"] {
            // A role of the project, and one of everything.
            for reach in ["fraud", "*"] {
                for (expected, is_protected) in [(free, false), (guarded, true)] {
                    let roles = [None].into_iter().chain(Role::ALL.map(Some));
                    let found: String = roles
                        .map(|role| {
                            let mut case = Case::of(
                                &role.map(|role| (role, reach)).into_iter().collect::<Vec<_>>(),
                            );
                            if is_protected {
                                case = case.protected("fraud@production", 1);
                            }
                            letter(&case.decide(action, on))
                        })
                        .collect();
                    assert_eq!(found, expected, "{action} on {on} by roles in {reach}");
                }
            }
        }
    }
    assert_eq!(seen, Action::ALL.len(), "an action is missing from the table");
}

#[test]
fn what_belongs_to_no_project_needs_a_role_in_all() {
    for action in Action::ALL {
        let needed = needs(*action).role;
        for role in Role::ALL {
            let expected = if role >= needed { 'y' } else { 'f' };
            let case = Case::of(&[(role, "*")]);
            assert_eq!(letter(&case.decide(*action, "*")), expected, "{action} by {role}");
            // There is nothing to hide about the platform: who has no role there is forbidden.
            let case = Case::of(&[(role, "fraud")]);
            assert_eq!(letter(&case.decide(*action, "*")), 'f', "{action} by {role} of fraud");
        }
    }
}

#[test]
fn a_role_in_one_environment_holds_there() {
    let case = Case::of(&[(Role::Owner, "fraud@staging")]);
    for action in Action::ALL {
        let in_staging = letter(&case.decide(*action, "fraud/churn@staging"));
        assert_eq!(in_staging, 'y', "{action}");
        // Of another environment they do not even know whether it exists.
        for hidden in ["fraud/churn@production", "fraud/*@production", "other/*", "other/a@staging"]
        {
            assert_eq!(letter(&case.decide(*action, hidden)), '-', "{action} {hidden}");
        }
        // The model is theirs to see, to push versions of, and to say the truth about; but not to remove.
        let expected = match action {
            Action::Read | Action::Push | Action::Feedback => 'y',
            _ => 'f',
        };
        for on in ["fraud/churn", "fraud/*"] {
            assert_eq!(letter(&case.decide(*action, on)), expected, "{action} {on}");
        }
    }
}

#[test]
fn a_token_for_predictions_sees_what_it_may_ask_and_nothing_else() {
    let case = Case::of(&[(Role::Owner, "*")]).scopes(&["predict:fraud/churn"]);
    for action in Action::ALL {
        for hidden in [
            "fraud/other@production",
            "fraud/churn@staging",
            "fraud/*@staging",
            "fraud/other",
            "other/churn@production",
            "other/*",
        ] {
            assert_eq!(letter(&case.decide(*action, hidden)), '-', "{action} {hidden}");
        }
        let asks = [Action::Predict, Action::Feedback];
        let expected = if asks.contains(action) { 'y' } else { 'f' };
        assert_eq!(letter(&case.decide(*action, "fraud/churn@production")), expected, "{action}");
        assert_eq!(letter(&case.decide(*action, "*")), 'f', "{action}");
    }
    let wide = Case::of(&[(Role::Viewer, "*")]).scopes(&["predict"]);
    assert!(wide.decide(Action::Predict, "any/thing@staging").is_allowed());
    let project = Case::of(&[(Role::Viewer, "*")]).scopes(&["predict:fraud/*@*"]);
    assert!(project.decide(Action::Predict, "fraud/thing@staging").is_allowed());
    assert_eq!(letter(&project.decide(Action::Predict, "any/thing@staging")), '-');
}

#[test]
fn each_scope_is_for_its_actions_only() {
    let words = ["predict", "read", "operate", "deploy", "secrets", "records", "audit", "admin"];
    for word in words {
        let case = Case::of(&[(Role::Owner, "*")]).scopes(&[word]);
        let allowed: Vec<&str> = Action::ALL
            .iter()
            .filter(|action| case.decide(**action, "fraud/churn@production").is_allowed())
            .map(|action| action.as_str())
            .collect();
        let expected: &[&str] = match word {
            "predict" => &["predict", "feedback"],
            "read" => &["read"],
            "operate" => &["rollback", "steer", "restart", "scale"],
            "deploy" => &["push", "release", "configure", "remove"],
            "secrets" => &["secret"],
            "records" => &["records"],
            "audit" => &["audit"],
            _ => &["token", "member", "expel", "protect", "administer"],
        };
        assert_eq!(allowed, expected, "{word}");
    }
    let all = Case { scopes: Some(Scopes::all()), ..Case::of(&[(Role::Owner, "*")]) };
    assert!(Action::ALL.iter().all(|action| all.decide(*action, "*").is_allowed()));
}

#[test]
fn everybody_in_a_group_has_its_role() {
    let team: GroupName = "ml-team".parse().unwrap();
    let mut case = Case::of(&[]);
    let reach = Reach::Project("fraud".parse().unwrap());
    case.grants.push(Grant { to: Grantee::Group(team.clone()), role: Role::Deployer, reach });
    assert_eq!(letter(&case.decide(Action::Release, "fraud/churn@production")), '-');
    case.groups.push(team);
    assert!(case.decide(Action::Release, "fraud/churn@production").is_allowed());
    // Decalog itself asks nobody, and is nobody whom a grant could mean.
    let decision = case.decide_as(&Principal::Platform, Action::Read, &object("fraud/churn"));
    assert_eq!(letter(&decision), '-');
}

#[test]
fn the_local_owner_may_do_everything_but_is_not_above_protection() {
    let case = Case::of(&[]).protected("fraud@production", 2);
    for action in Action::ALL {
        let decision =
            case.decide_as(&Principal::LocalOwner, *action, &object("fraud/churn@production"));
        match needs(*action).is_protected {
            true => assert_eq!(decision, Decision::Proposal { by: By::LocalOwner, approvals: 2 }),
            false => assert_eq!(decision, Decision::Allowed(By::LocalOwner)),
        }
    }
}

#[test]
fn what_touches_a_protected_environment_needs_the_most_approvals_in_it() {
    let case = Case::of(&[(Role::Owner, "*")])
        .protected("fraud@production", 1)
        .protected("fraud@test", 3)
        .protected("other@production", 2);
    for (on, expected) in [
        ("fraud/churn@production", 1),
        ("fraud/*@test", 3),
        ("fraud/churn", 3),
        ("fraud/*", 3),
        ("other/*", 2),
        ("*", 3),
    ] {
        let decision = case.decide(Action::Member, on);
        assert!(
            matches!(decision, Decision::Proposal { approvals, .. } if approvals == expected),
            "{on}: {decision:?}"
        );
    }
    for free in ["fraud/churn@staging", "third/*", "third/a@production"] {
        assert!(case.decide(Action::Member, free).is_allowed(), "{free}");
    }
}

#[test]
fn a_decision_says_why() {
    let mut ann = Case::of(&[]).protected("fraud@production", 1);
    let team: GroupName = "ml-team".parse().unwrap();
    let reach = Reach::Project("fraud".parse().unwrap());
    ann.grants.push(Grant { to: Grantee::Group(team.clone()), role: Role::Deployer, reach });
    ann.groups.push(team);
    for (action, on, expected) in [
        (
            Action::Release,
            "fraud/churn@staging",
            "yes: ann is deployer of fraud (by group ml-team)",
        ),
        (
            Action::Release,
            "fraud/churn@production",
            "no: ann is deployer of fraud (by group ml-team), and production is protected; \
             ann may propose it (one approval)",
        ),
        (
            Action::Remove,
            "fraud/churn",
            "no: ann is deployer of fraud (by group ml-team), and there are protected \
             environments in it; ann may propose it (one approval)",
        ),
        (
            Action::Member,
            "fraud/*",
            "no: ann is deployer of fraud (by group ml-team); member needs owner of fraud",
        ),
        (
            Action::Read,
            "other/churn",
            "no: ann has no role in other; read needs viewer or higher in any environment of other",
        ),
        (
            Action::Administer,
            "*",
            "no: ann has no role in all projects; administer needs owner of all projects",
        ),
    ] {
        assert_eq!(ann.says(action, on), expected);
    }
    let token = Case::of(&[(Role::Owner, "fraud")]).scopes(&["read"]);
    assert_eq!(
        token.says(Action::Predict, "fraud/churn@production"),
        "no: the token lacks the scope predict:fraud/churn"
    );
    let staging = Case::of(&[(Role::Deployer, "fraud@staging")]);
    assert_eq!(
        staging.says(Action::Remove, "fraud/churn"),
        "no: ann is deployer of fraud@staging; remove needs deployer or higher of fraud"
    );
    let local = Case::of(&[]).decide_as(&Principal::LocalOwner, Action::Read, &object("*"));
    assert_eq!(
        local.explain("owner (local)", Action::Read, &object("*")),
        "yes: owner (local) may do everything at this machine"
    );
}
