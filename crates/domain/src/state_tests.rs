//! The fold, driven by entries as the ledger gives them.

use super::*;
use crate::manifest::{Manifest, Runtime};
use crate::tree::Tree;

fn entry(state: &State, subject: &str, event: Event) -> Entry {
    Entry {
        seq: state.seq + 1,
        at_ms: 1_000 * state.seq,
        actor: "ann".into(),
        subject: subject.into(),
        subject_seq: state.subjects.get(subject).copied().unwrap_or(0) + 1,
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
    }))
}

#[test]
fn a_version_goes_live_and_is_found() {
    let mut state = State::default();
    let environment = EnvironmentName::default();
    for version in 1..=2 {
        apply(&mut state, "default/churn", pushed(version));
        let version = VersionNumber(version);
        let id = apply(&mut state, "default/churn", Event::DeployStarted { version, environment: environment.clone() });
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
    assert_eq!(resolve("churn@v9").unwrap_err().code, "no_such_version");
    assert_eq!(resolve("churn@staging").unwrap_err().code, "not_live");
    let problem = resolve("chrun").unwrap_err();
    assert_eq!((problem.code.as_str(), problem.help.as_str()), ("no_such_model", "did you mean `churn`?"));
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
    };
    apply(&mut state, "default", set(None, Some("1")));
    assert_eq!(state.variables_of(&key, &environment)["LEVEL"], (Some("1".into()), false));
    apply(&mut state, "default/churn", set(Some(&key), None));
    assert_eq!(state.variables_of(&key, &environment)["LEVEL"], (None, true));
    assert_eq!(state.revision_of(&key, &environment), 2);
}

#[test]
fn near_names() {
    assert_eq!(near_name("chrun", ["fraud", "churn"].into_iter()), Some("churn"));
    assert_eq!(near_name("resnet", ["fraud", "churn"].into_iter()), None);
}
