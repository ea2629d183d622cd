//! What may be given to others.

use super::*;

fn may(case: &Case, role: Role, reach: &str, to_service: bool) -> char {
    let me = principal(1);
    let asker = Asker { principal: &me, groups: &case.groups, scopes: case.scopes.as_ref() };
    letter(&may_give(asker, case.rules(), &grant(2, role, reach), to_service))
}

#[test]
fn only_an_owner_gives_roles_and_only_where_they_are_owner() {
    for own in Role::ALL {
        for given in Role::ALL {
            let case = Case::of(&[(own, "fraud")]);
            let expected = if own == Role::Owner { 'y' } else { 'f' };
            assert_eq!(may(&case, given, "fraud", false), expected, "{own} gives {given}");
            assert_eq!(may(&case, given, "fraud@staging", false), expected);
            assert_eq!(may(&case, given, "*", false), 'f');
            assert_eq!(may(&case, given, "other", false), '-');
        }
    }
    let staging = Case::of(&[(Role::Owner, "fraud@staging")]);
    assert_eq!(may(&staging, Role::Deployer, "fraud@staging", false), 'y');
    assert_eq!(may(&staging, Role::Viewer, "fraud", false), 'f');
    assert_eq!(may(&staging, Role::Viewer, "fraud@production", false), '-');
}

#[test]
fn a_deployer_lets_services_ask_and_nothing_more() {
    let case = Case::of(&[(Role::Deployer, "fraud")]);
    assert_eq!(may(&case, Role::Viewer, "fraud", true), 'y');
    assert_eq!(may(&case, Role::Operator, "fraud", true), 'f');
    assert_eq!(may(&Case::of(&[(Role::Operator, "fraud")]), Role::Viewer, "fraud", true), 'f');
    let token = Case::of(&[(Role::Deployer, "fraud")]).scopes(&["deploy", "read"]);
    assert_eq!(may(&token, Role::Viewer, "fraud", true), 'f');
}

#[test]
fn a_role_in_a_protected_environment_is_proposed() {
    let case = Case::of(&[(Role::Owner, "*")]).protected("fraud@production", 1);
    assert_eq!(may(&case, Role::Deployer, "fraud@production", false), 'p');
    // What reaches it from above, too.
    assert_eq!(may(&case, Role::Deployer, "fraud", false), 'p');
    assert_eq!(may(&case, Role::Owner, "*", false), 'p');
    assert_eq!(may(&case, Role::Deployer, "fraud@staging", false), 'y');
}

#[test]
fn a_token_makes_no_wider_token() {
    let me = principal(1);
    let own = scopes(&["predict:fraud/*", "read", "admin"]);
    let asker = Asker { principal: &me, groups: &[], scopes: Some(&own) };
    for fine in [&["read"][..], &["predict:fraud/churn"], &["predict:fraud/*", "read", "admin"]] {
        assert_eq!(may_make_token(asker, &scopes(fine)), Ok(()), "{fine:?}");
    }
    for wider in [&["deploy"][..], &["predict"], &["predict:fraud/churn@*"], &["read", "audit"]] {
        let error = may_make_token(asker, &scopes(wider)).unwrap_err().to_string();
        assert!(error.contains(&own.to_string()), "{error}");
    }
    // Who logged in is limited by roles alone, and those are looked at when a token is used.
    let logged_in = Asker { scopes: None, ..asker };
    assert_eq!(may_make_token(logged_in, &Scopes::all()), Ok(()));
}
