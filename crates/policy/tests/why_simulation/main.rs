//! `why` on simulated faults, in short: a few seeds of each. docs/why.md has many, and others, made
//! by `cargo run --release -p policy --example why`.

#[path = "../guard_simulation/random.rs"]
#[allow(dead_code)]
mod random;
#[allow(dead_code)]
mod score;
mod world;

use policy::why::{Metric, Outcome, Question, explain};
use score::{ask, has_moved, single};
use world::{Decoys, Fault, World};

/// Neither those that were tuned on nor those of the page.
const SEEDS: u64 = 9_000_000;
const LOAD_PER_S: f64 = 12.0;
const THREADS: usize = 2;

#[test]
fn the_first_cause_is_what_was_injected() {
    let rows = single(SEEDS, 3, THREADS, LOAD_PER_S, &|seed, fault, asked| {
        println!("{fault:?} {seed}: {:?}", asked.answer.causes.first());
    });
    let sum = |of: fn(&score::Row) -> u64| rows.iter().map(|(_, row)| of(row)).sum::<u64>() as f64;
    let (moved, right) = (sum(|row| row.moved), sum(|row| row.right));
    println!("{right} of {moved} right");
    assert!(moved >= 15.0, "the simulation is too kind: {moved} moved the metric");
    assert!(right >= 0.8 * moved, "{right} of {moved}: {rows:#?}");
    assert!(right - sum(|row| row.last_event) >= 0.15 * moved, "no better than the last event");
}

#[test]
fn nothing_is_blamed_when_nothing_happened() {
    let (asked, wrong, _) = score::quiet(SEEDS, 12, THREADS, LOAD_PER_S, &|seed, asked| {
        println!("{seed}: {:?}", asked.answer.causes);
    });
    assert_eq!((asked, wrong), (12, 0));
}

#[test]
fn of_two_faults_one_is_told_first() {
    let double = score::double(SEEDS, 6, THREADS, LOAD_PER_S, &|_, _| {});
    assert!(double.moved >= 3 && double.one + 1 >= double.moved, "{double:?}");
}

#[test]
fn nothing_beyond_noise_says_what_would_have_been_seen() {
    let answer = ask(SEEDS + 77, &[], Metric::Errors, LOAD_PER_S).answer;
    assert_eq!(answer.outcome, Outcome::Nothing);
    let visible = answer.smallest_visible.expect("two hours are enough to say it");
    assert!(visible.from < visible.to && visible.to < 0.1, "{visible:?}");
    assert_eq!(visible.for_ms, 300_000);
}

#[test]
fn the_same_question_has_the_same_answer_and_goes_through_json() {
    let asked = ask(SEEDS + 5, &[Fault::SlowReplica], Metric::Latency, LOAD_PER_S);
    assert!(has_moved(&asked.observed, &asked.injected[0], Metric::Latency));
    let question =
        Question { metric: Some(Metric::Latency), seed: SEEDS + 5, ..Question::default() };
    assert_eq!(explain(&question, &asked.observed), asked.answer);
    let text = serde_json::to_string(&asked.answer).unwrap();
    assert_eq!(serde_json::from_str::<policy::why::Answer>(&text).unwrap(), asked.answer);
    // Whoever does not say which metric is told the one that changed.
    let any = explain(&Question { metric: None, ..question }, &asked.observed);
    assert_eq!((any.metric, &any.causes), (Metric::Latency, &asked.answer.causes));
}

#[test]
fn a_moment_and_an_alarm_say_where_to_look() {
    let world = World::new(SEEDS + 9, &[Fault::SlowReplica], Decoys::default(), LOAD_PER_S);
    let injected = world.injected[0];
    let observed = world.run();
    let at_ms = world::START_MS + (injected.at_s * 1_000.0) as u64;
    let moment = Question {
        metric: Some(Metric::Latency),
        at_ms: Some(at_ms + 60_000),
        ..Question::default()
    };
    let alarm = policy::why::OpenAlarm {
        kind: domain::alarm::AlarmKind::Latency,
        since_ms: at_ms + 30_000,
    };
    let alarmed = Question { alarms: vec![alarm], ..Question::default() };
    for question in [moment, alarmed] {
        let answer = explain(&question, &observed);
        let changed_at = answer.changed_at.expect("a change");
        assert!(changed_at.abs_diff(at_ms) <= 30_000, "{changed_at} instead of {at_ms}");
        assert!(score::is(&answer.causes[0], &injected), "{:?}", answer.causes);
    }
}
