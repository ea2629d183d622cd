//! The question, from the gate to the answer: find the change, weigh what may account for it, take
//! the causes away, and look again, three times at most.

use std::ops::Range;

use super::answer::{
    Answer, Cause, CauseKind, Level, Next, Outcome, Reference, RuledOut, Span, Unit, Visible,
    WhyNot,
};
use super::chart::Chart;
use super::contrast::Whole;
use super::events;
use super::evidence::{level, next, number, of_group, of_moved, span};
use super::focus::{Focus, Looked, begins, focus, look};
use super::groups::Groups;
use super::input::{Observed, Question, SeriesKind};
use super::metric::Metric;
use super::placebo::moved;
use super::queue::{QUEUE_SHARE_MIN, series};
use super::residual::Residual;
use super::survivors::weigh;
use super::view::{Group, View, window};
use super::window::QUIET_MIN;

/// Changes that are looked for one after the other.
const PASSES_MAX: usize = 3;
/// If groups account for less than this together, what moved them all is told before them.
const GROUPS_SHARE_MIN: f64 = 0.5;
/// A quiet moment has at least such a part of the records that the change has, on either side.
const QUIET_PART: f64 = 0.25;
/// A further change lies at most so long before the first, in buckets.
const FURTHER_BEFORE: usize = 120;

/// What one pass found.
struct Pass {
    changed_at: u64,
    interval: Span,
    /// The first bucket that is different, and the first that may be.
    step_at: usize,
    begins_at: usize,
    measure: String,
    before: Level,
    after: Level,
    /// After − before, in absolute terms, as a part of all requests.
    change: f64,
    causes: Vec<Cause>,
    ruled_out: Vec<RuledOut>,
    quiet_points: usize,
    /// What the causes are, to be left out; empty if they cannot be.
    groups: Vec<Group>,
    is_waiting: bool,
    chart: Chart,
}

enum Passed {
    Found(Box<Pass>),
    Nothing,
    TooLittle(Box<Pass>),
}

/// What changed, when, and what accounts for it.
pub fn explain(question: &Question, observed: &Observed) -> Answer {
    let asked = question.metric.or_else(|| of_alarms(question));
    let since = question
        .alarms
        .iter()
        .filter(|alarm| asked.is_some() && Metric::of_alarm(alarm.kind) == asked)
        .map(|alarm| alarm.since_ms)
        .max();
    let bucket_of =
        |ms: u64| (ms.saturating_sub(observed.start_ms) / crate::drift::BUCKET_MS) as usize;
    let within = window(observed, question.at_ms.or(since).map(bucket_of));
    let view = View::new(observed, within.clone(), &[]);
    let Some((metric, looked)) = choose(asked, question.seed, &view) else {
        let metric = asked.unwrap_or(Metric::Latency);
        return empty(metric, Outcome::TooLittle, None, None);
    };
    let visible = looked.visible(observed);
    let p = since.is_none().then_some(looked.gate.p);
    if since.is_none() && !looked.changed() {
        return empty(metric, Outcome::Nothing, p, Some(visible));
    }
    let begins = begins(&view, question.at_ms, since);
    match pass(&view, metric, &looked, &begins) {
        Passed::Nothing => empty(metric, Outcome::Nothing, p, Some(visible)),
        Passed::TooLittle(first) => Answer {
            outcome: Outcome::TooLittle,
            causes: vec![],
            ..answer(metric, p, visible, *first)
        },
        Passed::Found(first) => {
            let further = further(question, observed, &within, metric, &first);
            let mut answer = answer(metric, p, visible, *first);
            further.into_iter().for_each(|pass| add(&mut answer, pass));
            answer
        }
    }
}

/// What the latest alarm is about; of several at a time the one that matters most.
fn of_alarms(question: &Question) -> Option<Metric> {
    let known = question.alarms.iter().filter_map(|alarm| {
        Metric::of_alarm(alarm.kind).map(|metric| (alarm.since_ms, std::cmp::Reverse(metric)))
    });
    known.max().map(|(_, metric)| metric.0)
}

/// The metric that is asked about, or that changed most.
fn choose(asked: Option<Metric>, seed: u64, view: &View) -> Option<(Metric, Looked)> {
    let metrics = asked.map_or(Metric::ALL.to_vec(), |metric| vec![metric]);
    let mut looked: Vec<(Metric, Looked)> = metrics
        .into_iter()
        .filter_map(|metric| Some((metric, look(view, metric, seed)?)))
        .collect();
    let strength = |looked: &Looked| looked.gate.strength[looked.gate.strongest];
    let changed = (0..looked.len()).filter(|at| looked[*at].1.changed());
    let best = changed.fold(None, |best: Option<usize>, at| match best {
        Some(best) if strength(&looked[best].1) >= strength(&looked[at].1) => Some(best),
        _ => Some(at),
    });
    // If none changed, latency is told, which all models have.
    let latency = looked.iter().position(|(metric, _)| *metric == Metric::Latency);
    let at = best.or(latency).or((!looked.is_empty()).then_some(0))?;
    Some(looked.swap_remove(at))
}

fn pass(view: &View, metric: Metric, looked: &Looked, begins: &Range<usize>) -> Passed {
    let Some(focus) = focus(view, metric, looked, begins) else { return Passed::Nothing };
    let (quiet_points, mut quiet) = focus.windows.quiet();
    let whole = Whole::of(&focus.grid, &focus.windows);
    // Of few records any share comes out: before there were requests it was no quiet time.
    quiet.retain(|windows| {
        let at = Whole::of(&focus.grid, windows);
        let is_full = |own: f64, of: f64| own >= QUIET_PART * of;
        is_full(at.before[0], whole.before[0]) && is_full(at.after[0], whole.after[0])
    });
    let possible = &focus.step.possible;
    let mut pass = Pass {
        changed_at: view.time_ms(focus.step.at),
        interval: span(view, possible),
        step_at: view.from + focus.step.at,
        begins_at: view.from + possible.start,
        measure: focus.measure.words(view.observed),
        before: level(view, metric, &focus, &focus.windows.before),
        after: level(view, metric, &focus, &focus.windows.after),
        change: whole.change().abs(),
        causes: vec![],
        ruled_out: vec![],
        quiet_points,
        groups: vec![],
        is_waiting: metric == Metric::Latency && !focus.is_worker,
        chart: super::chart::of_all(view, &focus.grid, &focus.windows),
    };
    if quiet_points < QUIET_MIN {
        return Passed::TooLittle(Box::new(pass));
    }
    if whole.before[0] <= 0.0 || whole.after[0] <= 0.0 || pass.change <= 0.0 {
        return Passed::Nothing;
    }
    let mut weighed = weigh(view, metric, &focus, &quiet);
    let interval = pass.interval;
    let before = &focus.windows.before;
    for survivor in &weighed.survivors {
        let groups = &weighed.groups[survivor.groups];
        pass.groups.push((survivor.player.dimension, survivor.player.id));
        pass.causes.push(Cause {
            kind: survivor.kind,
            reference: survivor.reference.clone(),
            share: survivor.share,
            interval,
            p: survivor.p,
            measure: pass.measure.clone(),
            evidence: of_group(view, &focus, groups, &survivor.contrast, weighed.sign),
            follows_from: None,
            next: next(view, before, survivor.kind, &survivor.reference),
            chart: Some(chart_of(view, &focus, groups, survivor.contrast.slot)),
        });
    }
    let told: f64 = pass.causes.iter().map(|cause| cause.share).sum();
    if told < GROUPS_SHARE_MIN {
        let near = events::near(view, possible.start, focus.windows.after.end);
        let weighed = &mut weighed;
        let residual =
            Residual { view, metric, focus: &focus, quiet: &quiet, weighed, near: &near }.find();
        if let Some(found) = residual {
            pass.groups.extend(found.group);
            let cause = Cause {
                kind: found.kind,
                next: next(view, before, found.kind, &found.reference),
                reference: found.reference,
                share: 1.0 - told,
                interval,
                p: found.p,
                measure: pass.measure.clone(),
                evidence: found.evidence,
                follows_from: None,
                chart: found.chart,
            };
            pass.causes.insert(0, cause);
        }
    }
    if pass.causes.is_empty() {
        return Passed::Nothing;
    }
    pass.ruled_out = weighed.ruled_out;
    follow(view, &focus, &mut pass);
    rule_out_events(view, &focus, &mut pass);
    Passed::Found(Box::new(pass))
}

/// The queue, where requests wait because of the first cause.
fn follow(view: &View, focus: &Focus, pass: &mut Pass) {
    let Some(split) = focus.split.filter(|split| split.queue_share() >= QUEUE_SHARE_MIN) else {
        return;
    };
    let [before, after] = split.queue_ms;
    if after <= before {
        return;
    }
    let first = pass.causes[0].clone();
    let mut evidence = vec![number("wait", Unit::Milliseconds, Some(before), after)];
    let depth = moved(&series(view, SeriesKind::QueueDepth), &focus.windows, &[]);
    evidence.extend(depth.map(|moved| of_moved("queue_depth", Unit::Count, &moved)));
    let share = split.queue_share();
    pass.causes.push(Cause {
        kind: CauseKind::Queue,
        reference: Reference::default(),
        share,
        interval: span(view, &focus.step.possible),
        p: first.p,
        measure: pass.measure.clone(),
        evidence,
        follows_from: Some(1),
        next: Next::MoreReplicas,
        chart: None,
    });
}

/// Says of each event near the change that is no cause why not.
fn rule_out_events(view: &View, focus: &Focus, pass: &mut Pass) {
    const TOLD_MAX: usize = 8;
    for event in events::near(view, focus.step.possible.start, focus.windows.after.end) {
        let reference = events::of(event);
        let told = pass.causes.iter().map(|cause| &cause.reference);
        let told = told.chain(pass.ruled_out.iter().map(|out| &out.reference));
        let is_told = |of: &Reference| {
            of.event == reference.event || (!of.name.is_empty() && of.name == reference.name)
        };
        if told.clone().any(is_told) || pass.ruled_out.len() >= 4 * TOLD_MAX {
            continue;
        }
        let kind = event.kind.causes().first().copied().unwrap_or(CauseKind::Unknown);
        let why = WhyNot::Accounted { cause: 1 };
        pass.ruled_out.push(RuledOut { kind, reference, series: None, why });
    }
}

/// What else changed: in the requests that are in no cause so far; or, if all are, in the minutes
/// before.
fn further(
    question: &Question,
    observed: &Observed,
    within: &Range<usize>,
    metric: Metric,
    first: &Pass,
) -> Vec<Pass> {
    let mut passes: Vec<Pass> = vec![];
    let (mut without, mut within, mut last) = (first.groups.clone(), within.clone(), None);
    while passes.len() + 1 < PASSES_MAX {
        let last_pass: &Pass = last.map_or(first, |at: usize| &passes[at]);
        if last_pass.groups.is_empty() {
            within.end = last_pass.begins_at.max(within.start);
        }
        let view = View::new(observed, within.clone(), &without);
        let seed = question.seed.wrapping_add(1 + passes.len() as u64);
        let Some(looked) = look(&view, metric, seed).filter(Looked::changed) else { break };
        let at = first.step_at.saturating_sub(view.from);
        let begins = at.saturating_sub(FURTHER_BEFORE)..view.buckets;
        let Passed::Found(pass) = pass(&view, metric, &looked, &begins) else { break };
        // That the others wait longer follows from the first.
        let is_new = !pass.is_waiting || first.is_waiting;
        if !is_new || !rose_alike(first, &pass) {
            break;
        }
        without.extend(&pass.groups);
        passes.push(*pass);
        last = Some(passes.len() - 1);
    }
    passes
}

/// Whether both rose, or both fell.
fn rose_alike(one: &Pass, other: &Pass) -> bool {
    let rose = |pass: &Pass| pass.after.share >= pass.before.share;
    rose(one) == rose(other)
}

/// Adds what a further pass found; shares become those of all that changed.
fn add(answer: &mut Answer, pass: Pass) {
    let (Some(before), Some(after)) = (&answer.before, &answer.after) else { return };
    let change = (after.share - before.share).abs();
    let part = (pass.after.requests / after.requests.max(f64::MIN_POSITIVE)).min(1.0);
    let more = if change > 0.0 { pass.change * part / change } else { 0.0 };
    let own = answer.causes.iter().filter(|cause| cause.follows_from.is_none());
    let sum: f64 = own.map(|cause| cause.share).sum();
    let mut new: Vec<Cause> =
        pass.causes.into_iter().filter(|c| c.follows_from.is_none()).collect();
    let known = answer.causes.iter().map(|cause| (cause.kind, cause.reference.name.clone()));
    let known: Vec<_> = known.collect();
    new.retain(|cause| !known.contains(&(cause.kind, cause.reference.name.clone())));
    new.iter_mut().for_each(|cause| cause.share *= more);
    let all = sum + new.iter().map(|cause| cause.share).sum::<f64>();
    let room = PASSES_MAX.saturating_sub(known.len());
    // What follows from one keeps its number, as new ones come after it.
    answer.causes.extend(new.into_iter().take(room));
    let own = answer.causes.iter_mut().filter(|cause| cause.follows_from.is_none());
    own.for_each(|cause| cause.share /= all.max(1.0));
}

fn answer(metric: Metric, p: Option<f64>, visible: Visible, pass: Pass) -> Answer {
    Answer {
        outcome: Outcome::Explained,
        metric,
        measure: pass.measure,
        changed_at: Some(pass.changed_at),
        interval: Some(pass.interval),
        p,
        before: Some(pass.before),
        after: Some(pass.after),
        causes: pass.causes,
        ruled_out: pass.ruled_out,
        smallest_visible: Some(visible),
        quiet_points: pass.quiet_points,
        chart: Some(pass.chart),
    }
}

fn chart_of(view: &View, focus: &Focus, groups: &Groups, slot: usize) -> Chart {
    super::chart::of_group(view, &groups.grid, slot, &groups.names[slot], &focus.windows)
}

fn empty(metric: Metric, outcome: Outcome, p: Option<f64>, visible: Option<Visible>) -> Answer {
    Answer {
        outcome,
        metric,
        measure: visible.as_ref().map_or_else(String::new, |visible| visible.measure.clone()),
        changed_at: None,
        interval: None,
        p,
        before: None,
        after: None,
        causes: vec![],
        ruled_out: vec![],
        smallest_visible: visible,
        quiet_points: 0,
        chart: None,
    }
}
