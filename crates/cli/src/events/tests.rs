//! Events as a person reads them, on terminals of several widths.

use domain::{EnvironmentName, VersionNumber};
use textwrap::core::display_width;

use super::*;

/// One event of every kind.
const SHAPES: &str = include_str!("../../../domain/tests/events_v1.jsonl");

fn happened(event: Event) -> Happened {
    Happened {
        place: After::default(),
        at_ms: 1_790_000_000_000,
        actor: "Ann of the Fraud and Risk Analytics Team".into(),
        subject: "default/customer-churn-prediction-by-region-and-segment".into(),
        principal: None,
        about: Some("Ben (service)".into()),
        entry: None,
        event,
    }
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect()
}

#[test]
fn every_event_fits_the_terminal_and_its_text_stays_whole() {
    let events: Vec<Event> =
        SHAPES.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for happened in events.into_iter().map(happened) {
        let text = squeezed(&one_line(&describe(&happened.event, "Ben (service)")));
        for (width, is_of_one) in [(80, false), (80, true), (100, false), (130, false)] {
            let line = line(&happened, is_of_one, Some(width));
            assert!(line.lines().all(|line| display_width(line) <= width), "{width}: {line}");
            assert!(squeezed(&line).ends_with(&text), "{text} is not all of it: {line}");
        }
        let line = line(&happened, false, None);
        assert!(!line.contains(['\n', '…']) && line.contains("by-region-and-segment"), "{line}");
    }
}

#[test]
fn a_long_event_goes_on_below_itself() {
    let happened = happened(Event::DeployFailed {
        deployment: domain::DeploymentId(7),
        step: "test".into(),
        problem: Problem::new(Code::Failed, "case tests/utrecht.json gives another answer"),
    });
    let line = line(&happened, true, Some(80));
    let (first, rest) = line.split_once('\n').unwrap();
    assert!(first.ends_with("Ann of …  deploy_failed      failed at test: case"), "{line}");
    assert_eq!(rest, format!("{:16}tests/utrecht.json gives another answer", ""));
}

#[test]
fn only_a_deploy_that_skips_tests_says_so() {
    let text = |plan| {
        let event = Event::DeployStarted {
            version: VersionNumber(2),
            environment: EnvironmentName::default(),
            plan,
            configuration: None,
            proposal: None,
        };
        describe(&event, "")
    };
    let untested = Plan { untested: true, ..Plan::default() };
    assert_eq!(text(Plan::default()), "v2 to production");
    assert_eq!(text(untested.clone()), "v2 to production, with --untested");
    // As earlier ledgers have it.
    let rollback = Plan { cause: Cause::Rollback, breaking: true, ..untested };
    assert_eq!(text(rollback), "v2 to production, a rollback");
    let canary = Plan { canary: vec![5, 50], ..Plan::default() };
    assert_eq!(text(canary), "v2 to production: canary 5, 50% every 120 s");
}
