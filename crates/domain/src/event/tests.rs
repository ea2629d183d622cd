//! Events as they were released: each shape is read for ever.

use super::*;

/// One event of every released shape; a line is never changed, only added.
const SHAPES: &str = include_str!("../../tests/events_v1.jsonl");

#[test]
fn every_released_shape_is_still_read() {
    let mut kinds = std::collections::BTreeSet::new();
    for line in SHAPES.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let kind = value["kind"].as_str().unwrap();
        let body = serde_json::to_vec(&value["body"]).unwrap();
        let event =
            Event::from_parts(kind, 1, &body).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(event.kind(), kind);
        let again = Event::from_parts(kind, 1, &event.body()).unwrap();
        assert_eq!(again, event);
        kinds.insert(kind.to_string());
    }
    let known: std::collections::BTreeSet<String> = Event::KINDS.map(String::from).into();
    assert_eq!(kinds, known, "a new kind of event needs a line in tests/events_v1.jsonl");
}

#[test]
fn unknown_events_are_refused() {
    assert!(Event::from_parts("teleported", 1, b"{}").is_err());
    assert!(Event::from_parts("model_removed", 2, b"{}").is_err());
}
