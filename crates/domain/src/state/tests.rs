//! The fold, driven by entries as the ledger gives them.

use std::collections::BTreeMap;

use super::*;
use crate::code::Code;
use crate::event::VersionPushed;
use crate::id::DeploymentId;
use crate::manifest::{Manifest, RecordsSection, Redact, Runtime};
use crate::release::{Cause, Plan};
use crate::tree::Tree;

fn entry(state: &State, subject: &str, event: Event) -> Entry {
    Entry {
        seq: state.seq + 1,
        at_ms: 1_000 * state.seq,
        actor: "ann".into(),
        subject: subject.into(),
        subject_seq: state.entries_of(subject) + 1,
        writer_epoch: 1,
        hash: Digest::ZERO,
        event,
    }
}

fn apply(state: &mut State, subject: &str, event: Event) -> u64 {
    let entry = entry(state, subject, event);
    state.apply(&entry);
    state.seq
}

fn started(version: VersionNumber, environment: &EnvironmentName) -> Event {
    Event::DeployStarted {
        version,
        environment: environment.clone(),
        plan: Plan::default(),
        configuration: None,
        proposal: None,
    }
}

fn pushed(version: u32) -> Event {
    Event::VersionPushed(Box::new(VersionPushed {
        version: VersionNumber(version),
        digest: Digest::of(&version.to_le_bytes()),
        tree: Tree::default(),
        manifest: Manifest::default(),
        runtime: Runtime::Python,
        file: None,
        lock: None,
        provenance: Default::default(),
        signature: None,
    }))
}

#[test]
fn a_version_goes_live_and_is_found() {
    let mut state = State::default();
    let environment = EnvironmentName::default();
    for version in 1..=2 {
        apply(&mut state, "default/churn", pushed(version));
        let version = VersionNumber(version);
        let id = apply(&mut state, "default/churn", started(version, &environment));
        let released = Event::Released {
            deployment: DeploymentId(id),
            version,
            environment: environment.clone(),
            previous: None,
            elapsed_ms: 1,
        };
        apply(&mut state, "default/churn", released);
    }
    let resolve = |text: &str| state.resolve(&text.parse().unwrap());
    assert_eq!(resolve("churn").unwrap(), VersionNumber(2));
    assert_eq!(resolve("churn@v1").unwrap(), VersionNumber(1));
    let digits = &Digest::of(&1u32.to_le_bytes()).to_string()[..12];
    assert_eq!(resolve(&format!("churn@{digits}")).unwrap(), VersionNumber(1));
    assert_eq!(resolve("churn@v9").unwrap_err().code, Code::NoSuchVersion);
    assert_eq!(resolve("churn@staging").unwrap_err().code, Code::NotLive);
    let problem = resolve("chrun").unwrap_err();
    assert_eq!(
        (problem.code.as_str(), problem.help.as_str()),
        ("no_such_model", "did you mean `churn`?")
    );
    let json = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<State>(&json).unwrap(), state);
}

#[test]
fn variables_of_a_model_win_and_count() {
    let mut state = State::default();
    let key = default_model("churn").unwrap();
    let environment = EnvironmentName::default();
    let set = |model: Option<&ModelKey>, value: Option<&str>| Event::VariableSet {
        environment: environment.clone(),
        model: model.map(|key| key.model.clone()),
        name: "LEVEL".into(),
        value: value.map(String::from),
        secret: value.is_none().then_some(Digest::of(b"file")),
        proposal: None,
    };
    apply(&mut state, "default", set(None, Some("1")));
    assert_eq!(state.variables_of(&key, &environment)["LEVEL"], (Some("1".into()), false));
    apply(&mut state, "default/churn", set(Some(&key), None));
    assert_eq!(state.variables_of(&key, &environment)["LEVEL"], (None, true));
    assert_eq!(state.revision_of(&key, &environment), 2);
    let file = |state: &State| {
        state
            .variables_at(&key.project, Some(&key.model), &environment)?
            .secrets
            .get("LEVEL")
            .copied()
    };
    assert_eq!(file(&state), Some(Digest::of(b"file")));
    apply(&mut state, "default/churn", set(Some(&key), Some("2")));
    assert_eq!(file(&state), None, "it is no secret any more");
}

/// Pushes versions 1 to `count`.
fn with_versions(count: u32) -> State {
    let mut state = State::default();
    (1..=count).for_each(|version| {
        apply(&mut state, "default/churn", pushed(version));
    });
    state
}

fn release(state: &mut State, version: u32, cause: Cause) {
    let (version, environment) = (VersionNumber(version), EnvironmentName::default());
    let plan = Plan { cause, ..Plan::default() };
    let event = Event::DeployStarted {
        version,
        environment: environment.clone(),
        plan,
        configuration: None,
        proposal: None,
    };
    let deployment = DeploymentId(apply(state, "default/churn", event));
    let previous = live(state).map(|live| live.version);
    apply(
        state,
        "default/churn",
        Event::Released { deployment, version, environment, previous, elapsed_ms: 1 },
    );
}

fn live(state: &State) -> Option<Live> {
    state
        .models
        .get(&default_model("churn").unwrap())?
        .live
        .get(&EnvironmentName::default())
        .cloned()
}

#[test]
fn a_rollback_goes_back_and_does_not_swing() {
    let mut state = with_versions(3);
    (1..=3).for_each(|version| release(&mut state, version, Cause::Deploy));
    assert_eq!(live(&state).unwrap().before, [1, 2].map(VersionNumber));
    release(&mut state, 2, Cause::Rollback);
    assert_eq!(
        live(&state).unwrap().before,
        [VersionNumber(1)],
        "a second rollback goes on to v1, not back to v3"
    );
    assert_eq!(live(&state).unwrap().replaced, Some(VersionNumber(3)));
    release(&mut state, 2, Cause::Deploy);
    assert_eq!(
        live(&state).unwrap().before,
        [VersionNumber(1)],
        "to release what is live changes nothing of that"
    );
    apply(
        &mut state,
        "default/churn",
        Event::VersionRemoved { version: VersionNumber(1), proposal: None },
    );
    assert!(live(&state).unwrap().before.is_empty());
    assert_eq!(
        live(&state).unwrap().forgotten,
        1,
        "so that nobody is told that nothing was live before"
    );
    assert_eq!(state.next_version(&default_model("churn").unwrap()), VersionNumber(4));
}

#[test]
fn numbers_of_removed_versions_are_not_used_again() {
    let mut state = with_versions(2);
    apply(
        &mut state,
        "default/churn",
        Event::VersionRemoved { version: VersionNumber(2), proposal: None },
    );
    let (key, environment) = (default_model("churn").unwrap(), EnvironmentName::default());
    assert_eq!(state.next_version(&key), VersionNumber(3));
    let first = state.placement(&key, &environment, VersionNumber(1));
    apply(&mut state, "default/churn", Event::ModelRemoved { proposal: None });
    assert_eq!(state.next_version(&key), VersionNumber(3), "nor those of a removed model");
    // A ledger of a program that began again at 1 after a removal is folded, too, and its
    // placements differ.
    let Event::VersionPushed(mut other) = pushed(1) else { unreachable!() };
    other.digest = Digest::of(b"other content");
    apply(&mut state, "default/churn", Event::VersionPushed(other));
    let second = state.placement(&key, &environment, VersionNumber(1));
    assert!(first != second && !first.is_same_version(&second), "{first:?} {second:?}");
    assert_eq!(state.next_version(&key), VersionNumber(3));
}

#[test]
fn a_placement_without_a_digest_is_taken_at_its_number() {
    let state = with_versions(1);
    let known = state.placement(
        &default_model("churn").unwrap(),
        &EnvironmentName::default(),
        VersionNumber(1),
    );
    let json = serde_json::to_value(&known).unwrap();
    assert_eq!(serde_json::from_value::<Placement>(json.clone()).unwrap(), known);
    let mut old = json;
    old.as_object_mut().unwrap().remove("digest");
    let old: Placement = serde_json::from_value(old).unwrap();
    assert!(old != known && old.is_same_version(&known));
    assert!(
        serde_json::to_value(&old).unwrap().get("digest").is_none(),
        "it is written as it was read"
    );
}

#[test]
fn a_release_moves_on_pauses_and_ends() {
    let mut state = with_versions(2);
    release(&mut state, 1, Cause::Deploy);
    let (key, environment) = (default_model("churn").unwrap(), EnvironmentName::default());
    let plan = Plan { canary: vec![5, 50], ..Plan::default() };
    let event = Event::DeployStarted {
        version: VersionNumber(2),
        environment: environment.clone(),
        plan,
        configuration: None,
        proposal: None,
    };
    let deployment = DeploymentId(apply(&mut state, "default/churn", event));
    assert!(state.models[&key].shifting(&environment).is_none(), "it is built and tested first");
    let shifted = |step: u32, percent: u8| Event::TrafficShifted {
        deployment,
        version: VersionNumber(2),
        environment: EnvironmentName::default(),
        baseline: VersionNumber(1),
        step,
        phase: crate::release::Phase { shadow: false, percent },
    };
    apply(&mut state, "default/churn", shifted(0, 5));
    apply(&mut state, "default/churn", Event::ReleasePaused { deployment });
    let progress = |state: &State| {
        state.models[&key].shifting(&environment).map(|(_, progress)| progress.clone()).unwrap()
    };
    assert!(progress(&state).paused);
    apply(&mut state, "default/churn", Event::ReleaseResumed { deployment });
    apply(&mut state, "default/churn", shifted(1, 50));
    assert_eq!(
        (progress(&state).step, progress(&state).paused, progress(&state).baseline),
        (1, false, VersionNumber(1))
    );
    let problem = Problem::new(Code::Aborted, "by ann");
    apply(
        &mut state,
        "default/churn",
        Event::DeployFailed { deployment, step: "aborted".into(), problem },
    );
    assert!(state.models[&key].shifting(&environment).is_none());
    assert_eq!(live(&state).unwrap().version, VersionNumber(1));
}

#[test]
fn a_configuration_comes_with_its_release() {
    let mut state = with_versions(1);
    let (key, environment) = (default_model("churn").unwrap(), EnvironmentName::default());
    let mut redacts: BTreeMap<String, Redact> = BTreeMap::new();
    let deploy = |state: &mut State, level: &str, redact: &BTreeMap<String, Redact>| {
        let env = [("LEVEL".to_string(), level.to_string())].into();
        let records = RecordsSection { redact: redact.clone(), key: None, log_rows: false };
        let configuration = Configuration { env, records, ..Configuration::default() };
        let event = Event::DeployStarted {
            version: VersionNumber(1),
            environment: EnvironmentName::default(),
            plan: Plan::default(),
            configuration: Some(Box::new(configuration)),
            proposal: None,
        };
        let deployment = DeploymentId(apply(state, "default/churn", event));
        let previous = live(state).map(|live| live.version);
        let (version, environment) = (VersionNumber(1), EnvironmentName::default());
        apply(
            state,
            "default/churn",
            Event::Released { deployment, version, environment, previous, elapsed_ms: 1 },
        );
    };
    deploy(&mut state, "1", &redacts);
    let first = state.placement(&key, &environment, VersionNumber(1));
    assert_eq!(state.configuration(&first).env["LEVEL"], "1");
    deploy(&mut state, "1", &redacts);
    assert_eq!(state.placement(&key, &environment, VersionNumber(1)), first, "nothing changed");
    deploy(&mut state, "2", &redacts);
    let second = state.placement(&key, &environment, VersionNumber(1));
    assert_eq!(
        (state.configuration(&second).env["LEVEL"].as_str(), second.revision),
        ("2", first.revision + 1)
    );
    let revision = |state: &State| state.placement(&key, &environment, VersionNumber(1)).revision;
    redacts.insert("city".into(), Redact::Drop);
    deploy(&mut state, "2", &redacts);
    assert_eq!(revision(&state), first.revision + 2, "logs must not quote any more");
    redacts.insert("customer".into(), Redact::Hmac);
    deploy(&mut state, "2", &redacts);
    assert_eq!(revision(&state), first.revision + 2, "they did not before");
}

#[test]
fn what_a_probe_found_stays_with_the_version_and_the_environment() {
    let mut state = State::default();
    apply(&mut state, "default/churn", pushed(1));
    let probed = |environment: &str, why: &str| Event::DeterminismProbed {
        deployment: DeploymentId(2),
        version: VersionNumber(1),
        environment: environment.parse().unwrap(),
        probe: Box::new(crate::Probe::unknown(why)),
        elapsed_ms: 1,
    };
    apply(&mut state, "default/churn", probed("staging", "it streams"));
    apply(&mut state, "default/churn", probed("production", "it was not tried"));
    apply(&mut state, "default/churn", probed("production", "it is too slow"));
    let model = &state.models[&default_model("churn").unwrap()];
    let version = &model.versions[&VersionNumber(1)];
    let why = |environment: &str| version.probed[&environment.parse().unwrap()].why.clone();
    assert_eq!(why("production").as_deref(), Some("it is too slow"));
    assert_eq!(why("staging").as_deref(), Some("it streams"));
    // A version of before is read as one that was not probed.
    let mut before = serde_json::to_value(&**version).unwrap();
    before.as_object_mut().unwrap().remove("probed");
    let before: Version = serde_json::from_value(before).unwrap();
    assert!(before.probed.is_empty());
    assert!(!serde_json::to_string(&before).unwrap().contains("probed"));
}
