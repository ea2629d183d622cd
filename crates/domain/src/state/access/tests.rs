//! The fold of access: what the events of the fixture and a few more leave behind, and that a
//! snapshot of it, part by part, is the same again.

use crate::event::PLATFORM;
use crate::principal::{Actor, Principal};
use crate::state::State;
use crate::token::{TokenId, TokenOrigin};

use super::LOGINS_MAX;
use crate::{Digest, Entry, Event, Grantee, Role};

const PERSON: &str = "person:1f0c9a2b33d4e5f6";
const SERVICE: &str = "service:0f0c9a2b33d4e5f6";

fn event(kind: &str, body: &str) -> Event {
    Event::from_parts(kind, 1, body.as_bytes()).unwrap()
}

fn folded(events: &[(&str, String)]) -> State {
    let mut state = State::default();
    for (kind, body) in events {
        add(&mut state, PLATFORM, event(kind, body));
    }
    state
}

fn add(state: &mut State, subject: &str, event: Event) {
    let entry = Entry {
        seq: state.seq + 1,
        at_ms: 1_000 * state.seq,
        actor: "local".into(),
        subject: subject.into(),
        subject_seq: state.entries_of(subject) + 1,
        writer_epoch: 1,
        hash: Digest::ZERO,
        event,
    };
    state.apply(&entry);
}

fn token(id: &str, text: &str, more: &str) -> String {
    let digest = Digest::of(text.as_bytes());
    format!(
        r#"{{"token": {{"id": "{id}", "owner": "{SERVICE}", "digest": "{digest}",
            "scopes": ["read"], "issued_ms": 1{more}}}}}"#
    )
}

fn grant(role: &str, reach: &str) -> String {
    format!(
        r#"{{"grant": {{"to": {{"principal": "0f0c9a2b33d4e5f6"}}, "role": "{role}", "in": "{reach}"}}}}"#
    )
}

fn known() -> State {
    folded(&[
        ("access_began", "{}".into()),
        ("principal_added", format!(r#"{{"principal": "{PERSON}"}}"#)),
        ("principal_added", format!(r#"{{"principal": "{SERVICE}"}}"#)),
        ("groups_changed", format!(r#"{{"principal": "{PERSON}", "groups": ["ml"]}}"#)),
        ("grant_given", grant("viewer", "fraud")),
        ("grant_given", grant("viewer", "other@staging")),
        ("token_created", token("0000000a", "a", "")),
        ("token_created", token("0000000b", "b", "")),
    ])
}

#[test]
fn a_role_takes_the_place_of_the_one_there_and_goes_alone() {
    let mut state = known();
    let to = Grantee::Principal("0f0c9a2b33d4e5f6".parse().unwrap());
    add(&mut state, PLATFORM, event("grant_given", &grant("owner", "fraud")));
    let roles =
        |state: &State| state.access.grants_of(&to).iter().map(|g| g.role).collect::<Vec<_>>();
    assert_eq!(roles(&state), [Role::Viewer, Role::Owner]);
    // One that they do not have any more takes nothing else away.
    add(&mut state, PLATFORM, event("grant_withdrawn", &grant("viewer", "fraud")));
    assert_eq!(roles(&state), [Role::Viewer, Role::Owner]);
    add(&mut state, PLATFORM, event("grant_withdrawn", &grant("owner", "fraud")));
    add(&mut state, PLATFORM, event("grant_withdrawn", &grant("viewer", "other@staging")));
    assert!(state.access.grants.is_empty());
}

#[test]
fn a_rotated_token_is_found_by_both_texts_and_by_no_older_one() {
    let mut state = known();
    let earlier = |text: &str| {
        format!(r#", "earlier": {{"digest": "{}", "until_ms": 9000}}"#, Digest::of(text.as_bytes()))
    };
    for (new, old) in [("a2", "a"), ("a3", "a2")] {
        add(&mut state, PLATFORM, event("token_rotated", &token("0000000a", new, &earlier(old))));
    }
    let found = |text: &str| state.access.token(&Digest::of(text.as_bytes())).map(|token| token.id);
    assert_eq!(found("a3"), Some(TokenId(10)));
    assert_eq!(found("a2"), Some(TokenId(10)));
    assert_eq!(found("a"), None);
    assert_eq!(found("b"), Some(TokenId(11)));
}

#[test]
fn whoever_is_gone_has_no_rights_and_no_valid_token() {
    let mut state = known();
    let service: Principal = SERVICE.parse().unwrap();
    add(
        &mut state,
        PLATFORM,
        event("principal_removed", &format!(r#"{{"principal": "{SERVICE}"}}"#)),
    );
    assert!(state.access.known(&service).is_none());
    assert!(state.access.grants.is_empty());
    assert!(state.access.tokens_of(&service).all(|token| token.revoked_ms.is_some()));
    // A month later, the next token makes room.
    let at = state.seq;
    let mut late = state.clone();
    late.seq = at + 31 * 86_400;
    add(&mut late, PLATFORM, event("token_created", &token("0000000c", "c", "")));
    assert_eq!(late.access.tokens.len(), 1);
    assert_eq!(late.access.digests.len(), 1);
}

#[test]
fn actors_are_proved_from_the_time_on_when_it_was_asked_for() {
    let mut state = State::default();
    assert_eq!(state.access.actor(7, "local"), Actor::Claimed("local".into()));
    add(&mut state, PLATFORM, event("writer_started", r#"{"program_version": "0"}"#));
    add(&mut state, PLATFORM, event("access_began", "{}"));
    add(&mut state, PLATFORM, event("access_began", "{}"));
    assert_eq!(state.access.actor(1, "local"), Actor::Claimed("local".into()));
    assert_eq!(state.access.actor(2, "local"), Actor::Proved(Principal::LocalOwner));
}

#[test]
fn a_snapshot_in_parts_is_the_same_again() {
    let mut state = known();
    add(
        &mut state,
        "fraud",
        event(
            "environment_protected",
            r#"{"environment": "production", "protection": {"approvals": 2}}"#,
        ),
    );
    add(&mut state, PLATFORM, event("token_revoked", r#"{"id": "0000000a"}"#));
    add(&mut state, PLATFORM, event("tokens_required", r#"{"required": true}"#));
    let mut again = State { seq: state.seq, hash: state.hash, ..State::default() };
    for part in state.parts_changed_since(&State::default()) {
        again.take_part(&part.key, &part.body.unwrap()).unwrap();
    }
    assert_eq!(again, state);
    assert_eq!(state.parts_changed_since(&again).count(), 0);
    // Without access there is no part of it, so that an old snapshot is read as it was.
    let mut halves = State { seq: state.seq, hash: state.hash, ..State::default() };
    halves.take_parts_of(State { seq: 0, ..again });
    assert_eq!(halves, state);
}

fn login(id: &str, origin: &str, from: Option<&str>) -> String {
    let from = from.map_or(String::new(), |from| format!(r#", "passed_on_from": "{from}""#));
    token(id, id, &format!(r#", "origin": "{origin}"{from}"#))
}

#[test]
fn what_is_passed_on_ends_with_what_it_came_from_and_leaves_nothing() {
    for end in ["token_revoked", "token_rotated"] {
        let mut state = known();
        for (id, from) in [("000000c1", Some("0000000a")), ("000000c2", Some("0000000b"))] {
            add(&mut state, PLATFORM, event("token_created", &login(id, "session", from)));
        }
        let body = match end {
            "token_revoked" => r#"{"id": "0000000a"}"#.to_string(),
            _ => token("0000000a", "a2", ""),
        };
        add(&mut state, PLATFORM, event(end, &body));
        let has = |text: &str| state.access.token(&Digest::of(text.as_bytes())).is_some();
        assert!(!has("000000c1") && has("000000c2"), "{end}");
        assert_eq!(state.access.tokens.len(), 3, "{end}");
        assert_eq!(state.access.digests.len(), 3, "{end}");
        // A login that ends is kept by nobody, and neither is what was passed on from one.
        let body = r#"{"id": "000000c2"}"#;
        add(&mut state, PLATFORM, event("token_revoked", body));
        assert_eq!(state.access.tokens.len(), 2, "{end}");
    }
}

#[test]
fn of_logins_the_newest_few_are_kept_and_tokens_are_not_among_them() {
    let mut state = known();
    for number in 0..LOGINS_MAX + 10 {
        let id = format!("{:08x}", 0x1000 + number);
        add(&mut state, PLATFORM, event("token_created", &login(&id, "session", None)));
    }
    let origins = |origin| state.access.tokens.values().filter(|it| it.origin == origin).count();
    assert_eq!((origins(TokenOrigin::Session), origins(TokenOrigin::Made)), (LOGINS_MAX, 2));
    assert_eq!(state.access.digests.len(), LOGINS_MAX + 2);
    assert!(state.access.tokens.contains_key(&TokenId(0x1000 + LOGINS_MAX as u32 + 9)));
}

#[test]
fn only_a_login_itself_confirms_groups() {
    let mut state = known();
    let owned = |body: String| body.replace(SERVICE, PERSON);
    let logged_in = |state: &State| {
        state.access.known(&PERSON.parse().unwrap()).and_then(|known| known.logged_in_ms)
    };
    let passed_on = owned(login("000000c1", "session", Some("0000000a")));
    add(&mut state, PLATFORM, event("token_created", &passed_on));
    assert_eq!(logged_in(&state), None);
    add(&mut state, PLATFORM, event("token_created", &owned(login("000000c2", "session", None))));
    assert_eq!(logged_in(&state), Some(1_000 * (state.seq - 1)));
}

#[test]
fn trust_is_of_a_project_and_ends_when_it_is_withdrawn() {
    let id = Digest::of(b"key");
    let key = format!(r#"{{"id":"{id}","name":"ann","curve":"p384","pem":"PEM"}}"#);
    let mut state = State::default();
    add(&mut state, "fraud", event("trust_given", &format!(r#"{{"key":{key}}}"#)));
    add(&mut state, "shop", event("trust_given", &format!(r#"{{"key":{key}}}"#)));
    let required = r#"{"environment":"production","required":true}"#;
    add(&mut state, "fraud", event("signatures_required", required));
    let (fraud, shop) = ("fraud".parse().unwrap(), "shop".parse().unwrap());
    let production = "production".parse().unwrap();
    assert_eq!(state.access.keys_of(&fraud).map(|key| key.id).collect::<Vec<_>>(), [id]);
    assert!(state.access.needs_signature(&fraud, &production));
    assert!(!state.access.needs_signature(&shop, &production));
    let mut again = State { seq: state.seq, hash: state.hash, ..State::default() };
    for part in state.parts_changed_since(&State::default()) {
        again.take_part(&part.key, &part.body.unwrap()).unwrap();
    }
    assert!(again == state);
    let gone = format!(r#"{{"key":"{id}","name":"ann"}}"#);
    add(&mut state, "fraud", event("trust_withdrawn", &gone));
    let required = r#"{"environment":"production","required":false}"#;
    add(&mut state, "fraud", event("signatures_required", required));
    assert_eq!(state.access.keys_of(&fraud).count(), 0);
    assert_eq!(state.access.keys_of(&shop).count(), 1);
    assert!(!state.access.needs_signature(&fraud, &production));
}
