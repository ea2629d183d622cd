//! What holds for any grants, tokens and protections.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;

fn any_role() -> impl Strategy<Value = Role> {
    prop::sample::select(Role::ALL.to_vec())
}

fn any_action() -> impl Strategy<Value = Action> {
    prop::sample::select(Action::ALL.to_vec())
}

const PROJECTS: [&str; 2] = ["fraud", "other"];
const ENVIRONMENTS: [&str; 2] = ["production", "staging"];
const MODELS: [&str; 2] = ["churn", "price"];

fn any_reach() -> impl Strategy<Value = Reach> {
    let mut all = vec!["*".to_string()];
    for project in PROJECTS {
        all.push(project.to_string());
        all.extend(ENVIRONMENTS.map(|environment| format!("{project}@{environment}")));
    }
    prop::sample::select(all).prop_map(|text| text.parse().unwrap())
}

fn every_object() -> Vec<Object> {
    let mut all = vec!["*".to_string()];
    for project in PROJECTS {
        all.push(format!("{project}/*"));
        all.extend(MODELS.map(|model| format!("{project}/{model}")));
        for environment in ENVIRONMENTS {
            all.push(format!("{project}/*@{environment}"));
            all.extend(MODELS.map(|model| format!("{project}/{model}@{environment}")));
        }
    }
    all.iter().map(|text| object(text)).collect()
}

fn any_object() -> impl Strategy<Value = Object> {
    prop::sample::select(every_object())
}

fn any_grantee() -> impl Strategy<Value = Grantee> {
    prop_oneof![
        (1u8..4).prop_map(|number| Grantee::Principal(person(number))),
        prop::sample::select(vec!["ml-team", "others"])
            .prop_map(|name| Grantee::Group(name.parse().unwrap())),
    ]
}

fn any_grant() -> impl Strategy<Value = Grant> {
    (any_grantee(), any_role(), any_reach()).prop_map(|(to, role, reach)| Grant { to, role, reach })
}

fn any_scope() -> impl Strategy<Value = Scope> {
    let mut all: Vec<String> =
        ["predict", "read", "operate", "deploy", "secrets", "records", "audit", "admin"]
            .map(str::to_string)
            .into();
    for project in PROJECTS {
        for model in ["churn", "price", "*"] {
            for environment in ["", "@staging", "@*"] {
                all.push(format!("predict:{project}/{model}{environment}"));
            }
        }
    }
    prop::sample::select(all).prop_map(|text| text.parse().unwrap())
}

fn any_protected() -> impl Strategy<Value = Protected> {
    (prop::sample::select(PROJECTS.to_vec()), prop::sample::select(ENVIRONMENTS.to_vec()), 0u32..4)
        .prop_map(|(project, environment, approvals)| {
            protected(&format!("{project}@{environment}"), approvals)
        })
}

fn any_case() -> impl Strategy<Value = Case> {
    (
        prop::collection::vec(any_grant(), 0..6),
        any::<bool>(),
        prop::option::of(prop::collection::vec(any_scope(), 1..4)),
        prop::collection::vec(any_protected(), 0..3),
    )
        .prop_map(|(grants, in_team, scopes, protected)| Case {
            grants,
            groups: if in_team { vec!["ml-team".parse().unwrap()] } else { vec![] },
            scopes: scopes.map(|scopes| Scopes::new(scopes).unwrap()),
            protected,
        })
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?} {:?} {:?}", self.grants, self.groups, self.scopes, self.protected)
    }
}

/// How much a decision lets through.
fn rank(decision: &Decision) -> u8 {
    match decision {
        Decision::NotFound(_) => 0,
        Decision::Forbidden(_) => 1,
        Decision::Proposal { .. } => 2,
        Decision::Allowed(_) => 3,
    }
}

fn is_grant_of(case: &Case, number: u8, grant: &Grant) -> bool {
    match &grant.to {
        Grantee::Principal(id) => *id == person(number),
        Grantee::Group(group) => case.groups.contains(group),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn one_grant_more_never_takes_anything_away(
        case in any_case(), more in any_grant(), action in any_action(), on in any_object(),
    ) {
        let before = case.decide_as(&principal(1), action, &on);
        let case = Case { grants: case.grants.into_iter().chain([more]).collect(), ..case };
        let after = case.decide_as(&principal(1), action, &on);
        prop_assert!(rank(&before) <= rank(&after), "{before:?} {after:?}");
    }

    #[test]
    fn a_higher_role_never_takes_anything_away(
        case in any_case(), at in any::<prop::sample::Index>(), action in any_action(),
        on in any_object(),
    ) {
        prop_assume!(!case.grants.is_empty());
        let mut higher = case.grants.clone();
        at.get_mut(&mut higher[..]).role = Role::Owner;
        let before = case.decide_as(&principal(1), action, &on);
        let after = Case { grants: higher, ..case }.decide_as(&principal(1), action, &on);
        prop_assert!(rank(&before) <= rank(&after), "{before:?} {after:?}");
    }

    #[test]
    fn a_token_never_does_more_than_its_owner(
        case in any_case(), action in any_action(), on in any_object(),
    ) {
        let with_token = case.decide_as(&principal(1), action, &on);
        let owner = Case { scopes: None, ..case }.decide_as(&principal(1), action, &on);
        prop_assert!(rank(&with_token) <= rank(&owner), "{with_token:?} {owner:?}");
        // And what both may is by the same right.
        if with_token.may_propose() {
            prop_assert_eq!(with_token, owner);
        }
    }

    #[test]
    fn a_narrower_token_never_does_more(
        case in any_case(), narrow in prop::collection::vec(any_scope(), 1..3),
        more in prop::collection::vec(any_scope(), 0..3),
        action in any_action(), on in any_object(),
    ) {
        let wide = Scopes::new(narrow.iter().cloned().chain(more)).unwrap();
        let narrow = Scopes::new(narrow).unwrap();
        prop_assert!(narrow.is_subset_of(&wide));
        let case = Case { scopes: Some(wide), ..case };
        let by_wide = case.decide_as(&principal(1), action, &on);
        let by_narrow =
            Case { scopes: Some(narrow), ..case }.decide_as(&principal(1), action, &on);
        prop_assert!(rank(&by_narrow) <= rank(&by_wide), "{by_narrow:?} {by_wide:?}");
    }

    #[test]
    fn a_project_without_a_role_in_it_is_not_found_whatever_it_is_like(
        case in any_case(), more in prop::collection::vec(any_grant(), 0..4),
        protections in prop::collection::vec(any_protected(), 0..4),
        action in any_action(), on in any_object(),
    ) {
        let Some(project) = on.project().cloned() else { return Ok(()) };
        let foreign = |grant: &Grant| {
            !is_grant_of(&case, 1, grant) || !grant.reach.touches(&project)
        };
        let grants: Vec<Grant> =
            case.grants.iter().filter(|grant| foreign(grant)).cloned().collect();
        let others: Vec<Grant> = more.into_iter().filter(|grant| foreign(grant)).collect();
        let alone = Case {
            grants: grants.clone(),
            groups: case.groups.clone(),
            scopes: case.scopes.clone(),
            protected: vec![],
        };
        let grants = grants.into_iter().chain(others).collect();
        let among = Case { grants, protected: protections, ..case };
        let one = alone.decide_as(&principal(1), action, &on);
        let two = among.decide_as(&principal(1), action, &on);
        prop_assert!(matches!(one, Decision::NotFound(_)), "{one:?}");
        // Nothing about the project, not even which grants others have in it, can be told.
        prop_assert_eq!(one, two);
    }

    #[test]
    fn a_hidden_environment_is_not_found(
        case in any_case(), action in any_action(), on in any_object(),
    ) {
        let (Some(project), Some(environment)) = (on.project(), on.environment()) else {
            return Ok(());
        };
        let place = Reach::Environment(project.clone(), environment.clone());
        let reaches = |grant: &Grant| is_grant_of(&case, 1, grant) && grant.reach.includes(&place);
        let reaches = case.grants.iter().any(reaches);
        let decision = case.decide_as(&principal(1), action, &on);
        if !reaches {
            prop_assert!(matches!(decision, Decision::NotFound(_)), "{decision:?}");
        }
    }

    #[test]
    fn the_order_of_grants_makes_no_difference(
        case in any_case(), action in any_action(), on in any_object(), by in 0usize..6,
    ) {
        let first = case.decide_as(&principal(1), action, &on);
        let mut grants = case.grants.clone();
        let turn = by.min(grants.len());
        grants.rotate_left(turn);
        let case = Case { grants, ..case };
        prop_assert_eq!(case.decide_as(&principal(1), action, &on), first);
    }

    #[test]
    fn grants_of_others_make_no_difference(
        case in any_case(), more in any_grant(), action in any_action(), on in any_object(),
    ) {
        prop_assume!(!is_grant_of(&case, 1, &more));
        let first = case.decide_as(&principal(1), action, &on);
        let case = Case { grants: case.grants.into_iter().chain([more]).collect(), ..case };
        prop_assert_eq!(case.decide_as(&principal(1), action, &on), first);
    }

    #[test]
    fn protection_only_makes_proposals_of_changes(
        case in any_case(), more in any_protected(), action in any_action(), on in any_object(),
    ) {
        let before = case.decide_as(&principal(1), action, &on);
        let case = Case { protected: case.protected.into_iter().chain([more]).collect(), ..case };
        let after = case.decide_as(&principal(1), action, &on);
        prop_assert!(rank(&after) <= rank(&before));
        prop_assert_eq!(after.may_propose(), before.may_propose());
        if !needs(action).is_protected {
            prop_assert_eq!(after, before);
        }
    }

    #[test]
    fn nothing_protected_is_ever_just_allowed(
        case in any_case(), action in any_action(), on in any_object(),
    ) {
        let decision = case.decide_as(&principal(1), action, &on);
        let holds = |protected: &Protected| match (on.project(), on.environment()) {
            (None, _) => true,
            (Some(project), None) => *project == protected.project,
            (Some(project), Some(environment)) => {
                (project, environment) == (&protected.project, &protected.environment)
            }
        };
        let reaches_protected = case.protected.iter().any(holds);
        if needs(action).is_protected && reaches_protected {
            prop_assert!(!decision.is_allowed(), "{decision:?}");
        }
    }

    #[test]
    fn every_decision_explains_itself(
        case in any_case(), action in any_action(), on in any_object(),
    ) {
        let decision = case.decide_as(&principal(1), action, &on);
        let line = decision.explain("ann", action, &on);
        prop_assert_eq!(line.starts_with("yes: "), decision.is_allowed());
        prop_assert!(line.starts_with("yes: ") || line.starts_with("no: "));
        prop_assert!(line.len() > 8 && !line.contains('\n'));
    }

    #[test]
    fn with_what_others_have_known_nobody_does_more_than_each_of_them(
        grants in prop::collection::vec(any_grant(), 0..8),
        makers in prop::collection::vec(1u8..4, 0..3),
        scopes in prop::option::of(prop::collection::vec(any_scope(), 1..4)),
        action in any_action(),
        on in any_object(),
    ) {
        let mut access = domain::state::Access::default();
        for grant in grants {
            let mut theirs = access.grants_of(&grant.to).to_vec();
            theirs.push(grant.clone());
            access.grants.insert(grant.to, Arc::new(theirs));
        }
        let scopes = scopes.map(|scopes| Scopes::new(scopes).unwrap());
        let own = may(&access, &principal(1), scopes.as_ref(), action, &on);
        let makers: Vec<Principal> = makers.into_iter().map(principal).collect();
        let bounded = may_with(&access, own.clone(), &makers, action, &on);
        let theirs = makers.iter().map(|maker| may(&access, maker, None, action, &on));
        let least = theirs.map(|decision| rank(&decision)).fold(rank(&own), u8::min);
        prop_assert_eq!(rank(&bounded), least);
    }
}
