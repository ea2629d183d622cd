//! What holds of `why` for any input: names and order do not matter, shares are shares, nothing
//! panics, and a million cells are answered at once.

use std::time::{Duration, Instant};

use policy::why::{
    Answer, Cell, Column, Event, EventKind, Histogram, Key, Metric, NONE, Names, Observed, Outcome,
    Question, Series, SeriesKind, Sums, explain,
};
use proptest::prelude::*;

const START_MS: u64 = 1_795_000_000_000;

/// Numbers that only look random.
fn mix(seed: u64) -> u64 {
    let mut word = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

fn unit(seed: u64) -> f64 {
    (mix(seed) >> 11) as f64 / (1u64 << 53) as f64
}

/// What is unlike the others from bucket 900 on.
#[derive(Clone, Copy, Debug)]
struct Faulty {
    replica: Option<u16>,
    caller: Option<u16>,
    times: f64,
}

/// A thousand buckets of two replicas and three callers.
fn fixture(seed: u64, faulty: Faulty) -> Observed {
    let mut cells = vec![];
    for bucket in 0..1_000_u32 {
        for combination in 0..6_u16 {
            let (replica, caller) = (combination % 2, combination / 2);
            let key = Key { version: 0, replica, caller, size: 0, value: NONE };
            let mut sums = Sums::default();
            for request in 0..4_u64 {
                let draw =
                    seed ^ (u64::from(bucket) << 20) ^ (u64::from(combination) << 8) ^ request;
                let is_faulty = bucket >= 900
                    && faulty.replica.is_none_or(|of| of == replica)
                    && faulty.caller.is_none_or(|of| of == caller);
                let ms = 10.0 * (1.0 + unit(draw)) * if is_faulty { faulty.times } else { 1.0 };
                sums.requests += 1.0;
                sums.squares += 1.0;
                let us = (ms * 1_000.0) as u64;
                sums.total.add_us(us + 100, 1.0);
                sums.worker.add_us(us, 1.0);
                sums.queue.add_us(50, 1.0);
                sums.errors += f64::from(u8::from(unit(draw ^ 77) < 0.002));
            }
            cells.push(Cell { bucket, key, sums });
        }
    }
    let names = |what: &str, count: usize| (0..count).map(|at| format!("{what}{at}")).collect();
    Observed {
        start_ms: START_MS,
        buckets: 1_000,
        names: Names {
            versions: names("v", 1),
            replicas: names("r", 2),
            callers: names("c", 3),
            sizes: names("s", 1),
            outputs: vec![],
        },
        cells,
        events: vec![Event {
            at_ms: START_MS + 895 * 5_000,
            kind: EventKind::Scaled,
            subject: String::new(),
            actor: "ann".into(),
            reference: "7".into(),
        }],
        ..Observed::default()
    }
}

fn latency(seed: u64) -> Question {
    Question { metric: Some(Metric::Latency), seed, ..Question::default() }
}

fn faulty() -> impl Strategy<Value = Faulty> {
    let replica = proptest::option::of(0_u16..2);
    let caller = proptest::option::of(0_u16..3);
    (replica, caller, 1.0_f64..6.0).prop_map(|(replica, caller, times)| Faulty {
        replica,
        caller,
        times,
    })
}

fn shares_are_shares(answer: &Answer) {
    for cause in &answer.causes {
        assert!((0.0..=1.0).contains(&cause.share), "{cause:?}");
        assert!((0.0..=1.0).contains(&cause.p), "{cause:?}");
        assert!(cause.follows_from.is_none_or(|of| (1..=answer.causes.len()).contains(&of)));
    }
    let own = answer.causes.iter().filter(|cause| cause.follows_from.is_none());
    let sum: f64 = own.map(|cause| cause.share).sum();
    assert!(sum <= 1.0 + 1e-9, "{sum}");
    assert!(answer.causes.is_empty() || answer.outcome == Outcome::Explained);
}

/// What an answer says, without digits that rounding may change.
fn said(answer: &Answer) -> Vec<String> {
    let causes = answer.causes.iter().map(|cause| {
        let (kind, name) = (cause.kind, &cause.reference.name);
        format!("{kind:?} {name} {:.4} {:?}", cause.share, cause.follows_from)
    });
    causes.chain([format!("{:?} {:?}", answer.outcome, answer.changed_at)]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn order_of_cells_and_names_does_not_matter(seed in 0_u64..1_000, faulty in faulty(), by in 1_usize..6_000) {
        let observed = fixture(seed, faulty);
        let mut other = observed.clone();
        other.cells.rotate_left(by);
        other.cells.sort_by_key(|cell| mix(u64::from(cell.bucket) ^ by as u64));
        other.names.replicas.reverse();
        other.names.callers.rotate_left(1);
        for cell in &mut other.cells {
            cell.key.replica = 1 - cell.key.replica;
            cell.key.caller = (cell.key.caller + 2) % 3;
        }
        let (one, two) = (explain(&latency(seed), &observed), explain(&latency(seed), &other));
        prop_assert_eq!(said(&one), said(&two));
        shares_are_shares(&one);
    }

    #[test]
    fn a_group_without_weight_changes_nothing(seed in 0_u64..1_000, faulty in faulty()) {
        let observed = fixture(seed, faulty);
        let mut other = observed.clone();
        other.names.versions.push("v9".into());
        other.names.callers.push("nobody".into());
        for bucket in 0..1_000 {
            let key = Key { version: 1, caller: 3, replica: 0, size: 0, value: NONE };
            other.cells.push(Cell { bucket, key, sums: Sums::default() });
        }
        prop_assert_eq!(explain(&latency(seed), &observed), explain(&latency(seed), &other));
    }

    #[test]
    fn a_group_that_is_unlike_the_others_is_told(seed in 0_u64..1_000, replica in 0_u16..2, times in 2.0_f64..6.0) {
        let answer = explain(&latency(seed), &fixture(seed, Faulty { replica: Some(replica), caller: None, times }));
        let cause = answer.causes.first().expect("a cause");
        prop_assert_eq!(&cause.reference.name, &format!("r{replica}"));
        prop_assert!(cause.share > 0.8);
        prop_assert!(answer.changed_at.unwrap().abs_diff(START_MS + 900 * 5_000) <= 5_000);
    }

    #[test]
    fn nothing_panics(observed in anything(), at_ms in proptest::option::of(any::<u64>()), metric in 0_usize..5, seed: u64) {
        let metric = Metric::ALL.get(metric).copied();
        let alarms = vec![];
        let answer = explain(&Question { metric, at_ms, alarms, seed }, &observed);
        shares_are_shares(&answer);
    }
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => 0.0..10.0,
        1 => Just(0.0),
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, -1.0, 1e300, f64::MIN_POSITIVE]),
    ]
}

prop_compose! {
    fn sums()(numbers in prop::collection::vec(number(), 7), bins in prop::collection::vec((any::<u16>(), -1.0_f32..1e30), 0..4), us in any::<u64>(), weight in number()) -> Sums {
        let mut total = Histogram::from_bins(bins.clone());
        total.add_us(us, weight);
        Sums {
            requests: numbers[0], squares: numbers[1], errors: numbers[2], overload: numbers[3],
            truths: numbers[4], truth_squares: numbers[5], loss: numbers[6],
            worker: total.clone(), queue: Histogram::from_bins([(us as u16, weight as f32)]), total,
            outputs: bins,
        }
    }
}

prop_compose! {
    fn cell()(bucket in 0_u32..500, ids in prop::collection::vec(prop_oneof![0_u16..4, Just(NONE)], 5), sums in sums()) -> Cell {
        let key = Key { version: ids[0], replica: ids[1], caller: ids[2], size: ids[3], value: ids[4] };
        Cell { bucket, key, sums }
    }
}

prop_compose! {
    fn anything()(
        buckets in prop::sample::select(vec![0_usize, 1, 59, 60, 130, 400, 499, 100_000_000]),
        start_ms in prop::sample::select(vec![0, START_MS, u64::MAX]),
        cells in prop::collection::vec(cell(), 0..300),
        column in prop::collection::vec(cell(), 0..100),
        copies in 1_usize..4,
        values in prop::collection::vec(proptest::option::of(any::<f32>()), 0..450),
        at_ms: u64,
    ) -> Observed {
        let mut all = vec![];
        for copy in 0..copies as u32 {
            all.extend(cells.iter().map(|cell| Cell { bucket: (cell.bucket + 131 * copy) % 500, ..cell.clone() }));
        }
        let events = [EventKind::Rollback, EventKind::Configuration, EventKind::ReplicaFailed];
        let event = |kind| Event { at_ms, kind, subject: "a".into(), actor: String::new(), reference: String::new() };
        Observed {
            start_ms,
            buckets,
            names: Names { versions: vec!["a".into()], outputs: vec!["x".into(), "y".into()], ..Names::default() },
            cells: all,
            columns: vec![Column { name: "c".into(), values: vec!["1".into(), "2".into()], cells: column }],
            series: vec![
                Series { kind: SeriesKind::Starting, values: values.clone() },
                Series { kind: SeriesKind::CpuPressure, values },
            ],
            events: events.into_iter().map(event).collect(),
        }
    }
}

#[test]
fn empty_constant_and_short_inputs_have_an_answer() {
    for metric in Metric::ALL {
        let question = Question { metric: Some(metric), ..Question::default() };
        let answer = explain(&question, &Observed::default());
        assert_eq!((answer.outcome, answer.metric), (Outcome::TooLittle, metric));
    }
    let mut constant = fixture(1, Faulty { replica: None, caller: None, times: 1.0 });
    let first = constant.cells[0].sums.clone();
    constant.cells.iter_mut().for_each(|cell| cell.sums = first.clone());
    assert_eq!(explain(&latency(1), &constant).outcome, Outcome::Nothing);
    // It changed, but there is too little before it: 140 buckets.
    let mut short = fixture(1, Faulty { replica: Some(1), caller: None, times: 5.0 });
    short.cells.retain(|cell| cell.bucket >= 760);
    short.cells.iter_mut().for_each(|cell| cell.bucket -= 760);
    short.buckets = 240;
    let answer = explain(&latency(1), &short);
    assert_eq!((answer.outcome, answer.causes.len()), (Outcome::TooLittle, 0));
    assert!(answer.quiet_points < 200 && answer.changed_at.is_some());
}

#[test]
fn a_million_cells_are_answered_within_a_second() {
    let (buckets, combinations) = (1_440_u32, 700_u16);
    let mut cells = Vec::with_capacity(buckets as usize * usize::from(combinations));
    for bucket in 0..buckets {
        for at in 0..combinations {
            let key = Key {
                version: at % 2,
                replica: at % 10,
                caller: at % 70,
                size: at % 7,
                value: NONE,
            };
            let draw = u64::from(bucket) << 16 | u64::from(at);
            let slow = if bucket >= 1_380 && at % 10 == 3 { 4.0 } else { 1.0 };
            let us = (10_000.0 * slow * (1.0 + unit(draw))) as u64;
            let mut sums = Sums { requests: 2.0, squares: 2.0, ..Sums::default() };
            sums.total.add_us(us + 200, 1.0);
            sums.total.add_us(us / 2 + 200, 1.0);
            sums.worker.add_us(us, 1.0);
            sums.worker.add_us(us / 2, 1.0);
            sums.queue.add_us(100, 2.0);
            cells.push(Cell { bucket, key, sums });
        }
    }
    assert!(cells.len() > 1_000_000);
    let names = |what: &str, count: usize| (0..count).map(|at| format!("{what}{at}")).collect();
    let names = Names {
        versions: names("v", 2),
        replicas: names("r", 10),
        callers: names("c", 70),
        sizes: names("s", 7),
        outputs: vec![],
    };
    let observed =
        Observed { start_ms: START_MS, buckets: 1_440, names, cells, ..Observed::default() };
    let begin = Instant::now();
    let answer = explain(&latency(1), &observed);
    let elapsed = begin.elapsed();
    println!("a million cells: {elapsed:?}");
    assert_eq!(answer.causes[0].reference.name, "r3");
    // Unoptimised dependencies, and other tests beside it.
    let limit = Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 1 });
    assert!(elapsed < limit, "{elapsed:?}");
}
