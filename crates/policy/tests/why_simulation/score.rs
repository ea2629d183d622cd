//! What an answer is worth: whether its first cause is what was injected, what blaming the last
//! event would have said, and how often something is blamed when nothing happened.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use policy::why::{
    Answer, Cause, CauseKind, Event, Histogram, Metric, Observed, Outcome, Question, explain,
};

use crate::random::Random;
use crate::world::{BUCKETS, COLUMNS, Decoys, FAULTS, Fault, Injected, START_MS, World};

/// An injection moved the metric if, in the minutes after, these percentiles are so many times as
/// large, …
const SLOWER_TIMES: [(f64, f64); 3] = [(0.5, 1.25), (0.9, 1.25), (0.99, 1.5)];
/// … or so many more fail, …
const FAILED_MORE: f64 = 0.01;
/// … or so much more is wrong.
const WRONG_MORE: f64 = 0.04;

/// Seeds of which nothing was tuned begin here.
pub const REPORTED: u64 = 16_000_000;

/// How a column of the table is called.
pub fn name(fault: Fault) -> &'static str {
    match fault {
        Fault::SlowVersion => "slow version",
        Fault::FailingVersion => "failing version",
        Fault::CorruptColumn => "corrupt column",
        Fault::SlowReplica => "slow replica",
        Fault::Cpu => "processors short",
        Fault::ColdStarts => "cold starts",
        Fault::Concept => "concept drift",
        Fault::Caller => "caller's change",
        Fault::Dependency => "slow dependency",
    }
}

/// What should be blamed.
pub fn kind(fault: Fault) -> CauseKind {
    match fault {
        Fault::SlowVersion => CauseKind::Version,
        Fault::FailingVersion => CauseKind::FailingVersion,
        Fault::CorruptColumn => CauseKind::Column,
        Fault::SlowReplica => CauseKind::Replica,
        Fault::Cpu => CauseKind::Cpu,
        Fault::ColdStarts => CauseKind::ColdStarts,
        Fault::Concept => CauseKind::Concept,
        Fault::Caller => CauseKind::Caller,
        Fault::Dependency => CauseKind::Dependency,
    }
}

/// What is asked after a fault.
pub fn metric(fault: Fault, seed: u64) -> Metric {
    match fault {
        Fault::FailingVersion => Metric::Errors,
        Fault::CorruptColumn if seed % 2 == 1 => Metric::Drift,
        Fault::CorruptColumn | Fault::Concept => Metric::Accuracy,
        _ => Metric::Latency,
    }
}

/// Whether a cause is what was injected: its kind, and which version, replica, caller or column.
pub fn is(cause: &Cause, injected: &Injected) -> bool {
    let (which, of) = (injected.which, cause.reference.name.as_str());
    let named = match injected.fault {
        Fault::SlowVersion | Fault::FailingVersion => of == format!("v{}", which + 1),
        Fault::CorruptColumn => of == COLUMNS[which],
        Fault::SlowReplica => of.ends_with(&format!("/{which}")),
        Fault::Caller => of == format!("caller-{which}"),
        _ => true,
    };
    cause.kind == kind(injected.fault) && named
}

/// Whether the first cause is right. If it is the column itself that is asked about, then whose rows
/// have other values is the cause.
fn is_right(answer: &Answer, injected: &Injected) -> bool {
    let Some(first) = answer.causes.first() else { return false };
    let is_about_column = injected.fault == Fault::CorruptColumn
        && injected.is_part
        && answer.measure.starts_with(&format!("{} is ", COLUMNS[injected.which]));
    let is_whose = first.kind == CauseKind::Caller && first.reference.name == "caller-0";
    is(first, injected) || (is_about_column && is_whose)
}

/// Whether the last event before the metric changed is one that brings about what was injected.
fn is_last_event(events: &[Event], injected: &Injected) -> bool {
    let until_ms = START_MS + ((injected.at_s + 10.0) * 1_000.0) as u64;
    let before = events.iter().filter(|event| event.at_ms <= until_ms);
    before.max_by_key(|event| event.at_ms).is_some_and(|event| {
        let named = match injected.fault {
            Fault::SlowVersion | Fault::FailingVersion => {
                event.subject == format!("v{}", injected.which + 1)
            }
            _ => true,
        };
        named && event.kind.causes().contains(&kind(injected.fault))
    })
}

/// What a stretch of the records came to.
struct Levels {
    percentiles_ms: Vec<f64>,
    failed: f64,
    wrong: f64,
}

fn levels(observed: &Observed, within: Range<usize>) -> Levels {
    let (mut times, mut sums) = (Histogram::default(), [0.0; 4]);
    for cell in observed.cells.iter().filter(|cell| within.contains(&(cell.bucket as usize))) {
        times.merge(&cell.sums.total);
        let own = [cell.sums.requests, cell.sums.errors, cell.sums.truths, cell.sums.loss];
        sums.iter_mut().zip(own).for_each(|(sum, more)| *sum += more);
    }
    Levels {
        percentiles_ms: [0.5, 0.9, 0.99]
            .iter()
            .filter_map(|share| times.quantile_ms(*share))
            .collect(),
        failed: sums[1] / sums[0].max(1.0),
        wrong: sums[3] / sums[2].max(1.0),
    }
}

/// Whether the metric is another in the minutes after than in the minutes before.
pub fn has_moved(observed: &Observed, injected: &Injected, metric: Metric) -> bool {
    let at = (injected.at_s / 5.0) as usize;
    let before = levels(observed, at - 120..at);
    // What is slow ends later: the first minute is half of each.
    let after = levels(observed, at + 6..BUCKETS);
    let slower = before.percentiles_ms.iter().zip(&after.percentiles_ms);
    match metric {
        Metric::Latency => {
            slower.zip(SLOWER_TIMES).any(|((before, after), (_, times))| *after >= times * before)
        }
        Metric::Errors => after.failed - before.failed >= FAILED_MORE,
        // A corrupt column makes outputs wrong, too.
        Metric::Accuracy | Metric::Drift => after.wrong - before.wrong >= WRONG_MORE,
    }
}

/// Decoys of a seed.
pub fn decoys(seed: u64, faults: &[Fault]) -> Decoys {
    let mut random = Random::new(seed ^ 0xdec0);
    let is_release = faults.iter().any(|f| matches!(f, Fault::SlowVersion | Fault::FailingVersion));
    Decoys {
        release: !is_release && random.chance(0.5),
        ramp: random.chance(0.3),
        without_event: random.chance(0.3),
    }
}

/// One question about one world.
pub struct Asked {
    pub answer: Answer,
    pub observed: Observed,
    pub injected: Vec<Injected>,
    pub metric: Metric,
}

/// Asks after these faults; without any, of this metric.
pub fn ask(seed: u64, faults: &[Fault], metric: Metric, load_per_s: f64) -> Asked {
    let world = World::new(seed, faults, decoys(seed, faults), load_per_s);
    let injected = world.injected.clone();
    let observed = world.run();
    let question = Question { metric: Some(metric), seed, ..Question::default() };
    let answer = explain(&question, &observed);
    Asked { answer, observed, injected, metric }
}

/// What became of all seeds of a fault.
#[derive(Default, Clone, Debug)]
pub struct Row {
    pub seeds: u64,
    /// The metric moved.
    pub moved: u64,
    pub right: u64,
    pub last_event: u64,
    /// What was blamed first.
    pub blamed: BTreeMap<String, u64>,
}

fn label(answer: &Answer) -> String {
    match (answer.outcome, answer.causes.first()) {
        (Outcome::Explained, Some(cause)) => {
            format!("{:?}", cause.kind)
        }
        (Outcome::TooLittle, _) => "too little".into(),
        _ => "nothing".into(),
    }
}

/// Runs something for each seed, on as many threads.
pub fn each(seeds: Range<u64>, threads: usize, run: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(seeds.start);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    run(seed);
                }
            });
        }
    });
}

/// Every fault alone. `told` gets each wrong answer.
pub fn single(
    from: u64,
    seeds: u64,
    threads: usize,
    load_per_s: f64,
    told: &(dyn Fn(u64, Fault, &Asked) + Sync),
) -> Vec<(Fault, Row)> {
    FAULTS
        .into_iter()
        .map(|fault| {
            let row = Mutex::new(Row::default());
            each(from..from + seeds, threads, |seed| {
                let seed = seed + fault as u64 * 100_000;
                let asked = ask(seed, &[fault], metric(fault, seed), load_per_s);
                let mut row = row.lock().unwrap_or_else(PoisonError::into_inner);
                row.seeds += 1;
                let injected = &asked.injected[0];
                if !has_moved(&asked.observed, injected, asked.metric) {
                    return;
                }
                row.moved += 1;
                let right = is_right(&asked.answer, injected);
                row.right += u64::from(right);
                row.last_event += u64::from(is_last_event(&asked.observed.events, injected));
                let wrong = if right { "" } else { " (wrong)" };
                let is_kind = asked.answer.causes.first().is_some_and(|c| c.kind == kind(fault));
                let label = label(&asked.answer);
                let label = if is_kind && !right { format!("{label}{wrong}") } else { label };
                if !right {
                    *row.blamed.entry(label).or_default() += 1;
                    told(seed, fault, &asked);
                }
            });
            (fault, row.into_inner().unwrap_or_else(PoisonError::into_inner))
        })
        .collect()
}

/// Nothing happens but releases, ramps and the day's cycle. How many seeds were asked, and how many
/// had a cause; more traffic is one only if nothing made traffic grow.
pub fn quiet(
    from: u64,
    seeds: u64,
    threads: usize,
    load_per_s: f64,
    told: &(dyn Fn(u64, &Asked) + Sync),
) -> (u64, u64, u64) {
    let counts = Mutex::new((0, 0, 0));
    each(from..from + seeds, threads, |seed| {
        let metric = Metric::ALL[(seed % 4) as usize];
        let asked = ask(seed, &[], metric, load_per_s);
        let has_ramp = decoys(seed, &[]).ramp;
        let blamed = asked.answer.causes.first().map(|cause| cause.kind);
        let is_load = blamed == Some(CauseKind::Load) && has_ramp;
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.0 += 1;
        counts.1 += u64::from(blamed.is_some() && !is_load);
        counts.2 += u64::from(is_load);
        if blamed.is_some() {
            told(seed, &asked);
        }
    });
    counts.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Two faults of one metric, three minutes apart.
#[derive(Default, Clone, Debug)]
pub struct Double {
    pub seeds: u64,
    pub moved: u64,
    /// The first cause is one of the two.
    pub one: u64,
    /// Both are among the causes.
    pub both: u64,
    /// Causes that follow from none and are neither.
    pub other: u64,
}

/// Pairs that fall on one metric.
const PAIRS: [[Fault; 2]; 6] = [
    [Fault::SlowReplica, Fault::Caller],
    [Fault::SlowVersion, Fault::SlowReplica],
    [Fault::SlowReplica, Fault::Dependency],
    [Fault::Caller, Fault::Cpu],
    [Fault::CorruptColumn, Fault::Concept],
    [Fault::SlowVersion, Fault::Caller],
];

/// Runs two faults at a time.
pub fn double(
    from: u64,
    seeds: u64,
    threads: usize,
    load_per_s: f64,
    told: &(dyn Fn(u64, &Asked) + Sync),
) -> Double {
    let counts = Mutex::new(Double::default());
    each(from..from + seeds, threads, |seed| {
        let faults = PAIRS[(seed % PAIRS.len() as u64) as usize];
        let metric = match faults[0] {
            Fault::CorruptColumn => Metric::Accuracy,
            _ => Metric::Latency,
        };
        let asked = ask(seed, &faults, metric, load_per_s);
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.seeds += 1;
        if !has_moved(&asked.observed, &asked.injected[0], metric) {
            return;
        }
        counts.moved += 1;
        let causes = &asked.answer.causes;
        let one = |cause: &Cause| asked.injected.iter().any(|injected| is(cause, injected));
        counts.one += u64::from(causes.first().is_some_and(one));
        let both = asked.injected.iter().all(|of| causes.iter().any(|cause| is(cause, of)));
        counts.both += u64::from(both);
        let own = causes.iter().filter(|cause| cause.follows_from.is_none());
        counts.other += own.filter(|cause| !one(cause)).count() as u64;
        if !both {
            told(seed, &asked);
        }
    });
    counts.into_inner().unwrap_or_else(PoisonError::into_inner)
}
