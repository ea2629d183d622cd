//! What recorded requests say of a candidate that was asked them beside the live version: the guards
//! of its release, judged on pairs of answers to the same requests.
//!
//! The limits and tolerances are those of [`guard`](crate::guard). The bounds are narrower: there is
//! one look, at the end, and both versions had the same requests. Shares have exact binomial bounds
//! (Clopper, Pearson 1934), differences of shares are put together from those of their parts
//! (Newcombe 1998), times are drawn again in blocks of neighbouring pairs (Künsch 1989). Each guard
//! spends its part of α on each side.

mod bounds;
mod sample;
mod times;

use std::collections::BTreeMap;

use domain::guard::{Guard, Limit, Metric, rounded};
use domain::rehearsal::{
    Estimate, Rehearsal, RehearsalExample, RehearsalGap, RehearsalVerdict, RehearsedArm,
    RehearsedGuard, RehearsedOutput,
};

use bounds::{Share, difference_of_shares, share_interval};
use times::{Times, mean_interval, quantile};

/// For all guards of a rehearsal together, as for those of a canary.
pub const ALPHA: f64 = 0.05;
/// What is only told has an interval of this error on each side.
const TOLD: f64 = 0.025;
/// The tolerance of shares is as much as the limit allows, but at least this.
const SHARE_TOLERANCE_MIN: f64 = 0.005;
/// The tolerance of the mean, of its limit.
const MEAN_TOLERANCE: f64 = 0.1;
/// The first pairs tell nothing of times: both versions are warming up.
pub const WARM_UP: usize = 20;
/// Outputs that are told of.
const OUTPUTS_MAX: usize = 16;
/// Requests to look at.
const EXAMPLES_MAX: usize = 5;
/// Reasons for leaving requests out that are told one by one.
const REASONS_MAX: usize = 6;
/// When more requests than these would be needed, no number is given.
const MISSING_MAX: f64 = 20_000.0;

/// One request that both versions were asked.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Pair {
    /// Its id.
    pub id: String,
    /// How long the candidate took for its answer, in microseconds; or why it gave none, as a code.
    pub candidate: Answered,
    /// The same of the live version.
    pub live: Answered,
    /// Whether the two answers agree; `None` where one is missing, or nothing of them may be compared.
    pub agrees: Option<bool>,
}

/// How a version took a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answered {
    /// In so many microseconds.
    In(u64),
    /// Not: it failed with this code.
    Failed(String),
}

impl Default for Answered {
    fn default() -> Answered {
        Answered::In(0)
    }
}

impl Answered {
    /// Whether it gave no answer.
    pub fn failed(&self) -> bool {
        matches!(self, Answered::Failed(_))
    }

    fn us(&self) -> Option<u64> {
        match self {
            Answered::In(us) => Some(*us),
            Answered::Failed(_) => None,
        }
    }
}

/// One output of one request, from both versions.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct OutputPair {
    /// Whether it is the same.
    pub same: bool,
    /// The live version's and the candidate's, on average over all elements; of finite numbers only.
    pub means: Option<(f64, f64)>,
}

/// All that was seen.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Evidence {
    /// Requests that were wanted.
    pub wanted: u32,
    /// Requests that were found.
    pub found: u32,
    /// In the order in which they were asked.
    pub pairs: Vec<Pair>,
    /// How many were not asked, by the reason.
    pub left_out: BTreeMap<String, u32>,
    /// By output, in the order in which requests were asked.
    pub outputs: BTreeMap<String, Vec<OutputPair>>,
    /// Why it ended early, if it did.
    pub why: Option<String>,
    /// Whether the candidate's replicas did not stay up: it is broken, whatever else was seen.
    pub fell: bool,
}

/// What follows.
pub fn judge(guards: &[Guard], evidence: &Evidence) -> Rehearsal {
    let pairs = &evidence.pairs;
    let alpha = ALPHA / guards.len().max(1) as f64;
    let times = Times::new(pairs);
    let guards: Vec<RehearsedGuard> = guards
        .iter()
        .map(|guard| Case { guard: *guard, pairs, times: &times, alpha }.judged())
        .collect();
    let together = guards.iter().map(|guard| guard.verdict).min();
    let verdict = match together.unwrap_or(RehearsalVerdict::Undecided) {
        _ if evidence.fell => RehearsalVerdict::Broken,
        verdict => verdict,
    };
    let differing = Share::of(pairs.iter().filter_map(differs));
    Rehearsal {
        verdict,
        why: evidence.why.clone(),
        wanted: evidence.wanted,
        found: evidence.found,
        asked: pairs.len() as u32,
        left_out: gaps(&evidence.left_out),
        candidate: arm(pairs.iter().map(|pair| &pair.candidate), &times.candidate),
        live: arm(pairs.iter().map(|pair| &pair.live), &times.live),
        latency: times.ratio(TOLD),
        compared: differing.whole as u32,
        differ: differing.estimate(TOLD),
        outputs: evidence.outputs.iter().take(OUTPUTS_MAX).map(output).collect(),
        guards,
        examples: examples(pairs),
    }
}

/// Whether an answer differs; an answer that only the live version gave does.
fn differs(pair: &Pair) -> Option<bool> {
    match (pair.agrees, pair.candidate.failed(), pair.live.failed()) {
        (Some(agrees), _, _) => Some(!agrees),
        (None, true, false) => Some(true),
        _ => None,
    }
}

fn gaps(left_out: &BTreeMap<String, u32>) -> Vec<RehearsalGap> {
    let mut gaps: Vec<RehearsalGap> = left_out
        .iter()
        .map(|(why, requests)| RehearsalGap { why: why.clone(), requests: *requests })
        .collect();
    gaps.sort_by_key(|gap| std::cmp::Reverse(gap.requests));
    let others: u32 = gaps.iter().skip(REASONS_MAX).map(|gap| gap.requests).sum();
    gaps.truncate(REASONS_MAX);
    if others > 0 {
        gaps.push(RehearsalGap { why: "for other reasons".into(), requests: others });
    }
    gaps
}

fn arm<'a>(answers: impl Iterator<Item = &'a Answered>, times_ms: &[f64]) -> RehearsedArm {
    let failed = Share::of(answers.map(Answered::failed));
    let mut sorted = times_ms.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |share| (!sorted.is_empty()).then(|| rounded(quantile(&sorted, share)));
    RehearsedArm {
        failed: failed.part as u32,
        errors: failed.estimate(TOLD),
        p50_ms: at(0.5),
        p95_ms: at(0.95),
        p99_ms: at(0.99),
    }
}

fn output((name, pairs): (&String, &Vec<OutputPair>)) -> RehearsedOutput {
    let means: Vec<(f64, f64)> = pairs.iter().filter_map(|pair| pair.means).collect();
    let is_number = !means.is_empty();
    let differences: Vec<f64> = means.iter().map(|(live, candidate)| candidate - live).collect();
    RehearsedOutput {
        name: name.clone(),
        requests: pairs.len() as u32,
        same: Share::of(pairs.iter().map(|pair| pair.same)).estimate(TOLD),
        difference: is_number.then(|| mean_interval(&differences)),
        live_mean: is_number
            .then(|| rounded(means.iter().map(|(live, _)| live).sum::<f64>() / means.len() as f64)),
    }
}

/// Those that the candidate alone failed on, then those that it answered otherwise, then those that
/// both failed on.
fn examples(pairs: &[Pair]) -> Vec<RehearsalExample> {
    let rank = |pair: &&Pair| match (pair.candidate.failed(), pair.live.failed()) {
        (true, false) => Some(0),
        _ if pair.agrees == Some(false) => Some(1),
        (true, true) => Some(2),
        _ => None,
    };
    let mut chosen: Vec<(i32, &Pair)> =
        pairs.iter().filter_map(|pair| Some((rank(&pair)?, pair))).collect();
    chosen.sort_by_key(|(rank, _)| *rank);
    let code = |answered: &Answered| match answered {
        Answered::Failed(code) => Some(code.clone()),
        Answered::In(_) => None,
    };
    let example = |(_, pair): (i32, &Pair)| RehearsalExample {
        id: pair.id.clone(),
        code: code(&pair.candidate),
    };
    chosen.into_iter().take(EXAMPLES_MAX).map(example).collect()
}

/// One guard on all pairs.
struct Case<'a> {
    guard: Guard,
    pairs: &'a [Pair],
    times: &'a Times,
    alpha: f64,
}

/// What is compared with a limit.
struct Found {
    estimate: Estimate,
    limit: f64,
    upper: f64,
    tolerated: f64,
    candidate: f64,
    live: f64,
    requests: usize,
    design_effect: f64,
    /// Requests without which nothing is said.
    requests_min: usize,
    /// The factor by which there would have to be more of the same, if that decides.
    factor: Option<f64>,
}

impl Case<'_> {
    fn judged(&self) -> RehearsedGuard {
        let found = match self.guard.metric() {
            Metric::Errors => self.errors(),
            Metric::Disagreement => self.disagreement(),
            Metric::Mean | Metric::Quantile(_) => self.latency(),
        };
        let Some(found) = found else { return self.nothing() };
        let is_enough = found.requests >= found.requests_min;
        let verdict = match is_enough {
            true if found.estimate.low > found.limit => RehearsalVerdict::Broken,
            true if found.upper <= found.tolerated && found.estimate.value <= found.limit => {
                RehearsalVerdict::Holds
            }
            _ => RehearsalVerdict::Undecided,
        };
        let few = found.requests_min.saturating_sub(found.requests) as f64;
        let more = found.factor.map(|factor| (factor - 1.0) * found.requests as f64);
        let missing = match (verdict, more) {
            (RehearsalVerdict::Undecided, Some(more)) => Some(two_digits(more.max(few))),
            (RehearsalVerdict::Undecided, None) if few > 0.0 => Some(two_digits(few)),
            _ => None,
        };
        RehearsedGuard {
            guard: self.guard,
            verdict,
            estimate: found.estimate,
            limit: rounded(found.limit),
            upper: rounded(found.upper),
            tolerated: rounded(found.tolerated),
            candidate: rounded(found.candidate),
            live: rounded(found.live),
            requests: found.requests as u32,
            design_effect: rounded(found.design_effect),
            missing: missing.filter(|more| *more > 0),
        }
    }

    fn nothing(&self) -> RehearsedGuard {
        RehearsedGuard {
            guard: self.guard,
            verdict: RehearsalVerdict::Undecided,
            estimate: Estimate::default(),
            limit: 0.0,
            upper: 0.0,
            tolerated: 0.0,
            candidate: 0.0,
            live: 0.0,
            requests: 0,
            design_effect: 1.0,
            missing: self.missing_of_times(),
        }
    }

    /// What must come before times tell anything.
    fn missing_of_times(&self) -> Option<u32> {
        let metric = self.guard.metric();
        let wanted = times::requests_min(metric) + WARM_UP;
        let has_some = !metric.is_share() && !self.pairs.is_empty();
        has_some.then(|| two_digits(wanted.saturating_sub(self.pairs.len()) as f64))
    }

    fn errors(&self) -> Option<Found> {
        if self.pairs.is_empty() {
            return None;
        }
        let candidate = Share::of(self.pairs.iter().map(|pair| pair.candidate.failed()));
        let live = Share::of(self.pairs.iter().map(|pair| pair.live.failed()));
        let (limit, factor) = match self.guard.limit() {
            Limit::Absolute(value) => return Some(self.share(candidate, live, value)),
            Limit::BaselinePlus(margin) => (margin, 1.0),
            Limit::BaselineTimes(factor) => (0.0, factor),
        };
        let tolerance = match self.guard.limit() {
            Limit::BaselineTimes(_) => (factor * live.share()).max(SHARE_TOLERANCE_MIN),
            _ => limit.max(SHARE_TOLERANCE_MIN),
        };
        // What both fail on says nothing of a difference.
        let alone = |one: fn(&Pair) -> &Answered, other: fn(&Pair) -> &Answered| {
            Share::of(
                self.pairs.iter().map(move |pair| one(pair).failed() && !other(pair).failed()),
            )
        };
        let is_difference = factor == 1.0;
        let (more, less) = match is_difference {
            true => (
                alone(|pair| &pair.candidate, |pair| &pair.live),
                alone(|pair| &pair.live, |pair| &pair.candidate),
            ),
            false => (candidate, live),
        };
        let at = |times: f64| {
            difference_of_shares(
                more.times(times),
                less.times(times),
                factor,
                self.alpha,
                is_difference,
            )
        };
        let estimate = at(1.0);
        Some(Found {
            estimate,
            limit,
            upper: estimate.high,
            tolerated: limit + tolerance,
            candidate: candidate.share(),
            live: live.share(),
            requests: self.pairs.len(),
            design_effect: more.design_effect.max(less.design_effect),
            requests_min: 1,
            factor: growth(self.pairs.len(), |times| {
                let grown = at(times);
                grown.low > limit || (grown.high <= limit + tolerance && grown.value <= limit)
            }),
        })
    }

    fn disagreement(&self) -> Option<Found> {
        let share = Share::of(self.pairs.iter().filter_map(differs));
        let Limit::Absolute(limit) = self.guard.limit() else { return None };
        (share.whole > 0).then(|| self.share(share, Share::default(), limit))
    }

    /// A share beside a limit of its own.
    fn share(&self, share: Share, live: Share, limit: f64) -> Found {
        let tolerated = limit + limit.max(SHARE_TOLERANCE_MIN);
        let estimate = share.estimate(self.alpha);
        Found {
            estimate,
            limit,
            upper: estimate.high,
            tolerated,
            candidate: share.share(),
            live: live.share(),
            requests: share.whole,
            design_effect: share.design_effect,
            requests_min: 1,
            factor: growth(share.whole, |times| {
                let grown = share_interval(share.times(times), self.alpha);
                grown.0 > limit || (grown.1 <= tolerated && share.share() <= limit)
            }),
        }
    }

    fn latency(&self) -> Option<Found> {
        let times = self.times;
        if times.candidate.is_empty() {
            return None;
        }
        let of = |times: &[f64]| times::figure(self.guard.metric(), times);
        let (candidate, live) = (of(&times.candidate), of(&times.live));
        let judged = times.judged(&self.guard, MEAN_TOLERANCE, self.alpha);
        Some(Found {
            estimate: judged.estimate,
            limit: judged.limit,
            upper: judged.upper,
            tolerated: judged.tolerated,
            candidate,
            live,
            requests: times.candidate.len(),
            design_effect: 1.0,
            requests_min: judged.requests_min,
            factor: None,
        })
    }
}

/// By how many times as many requests a guard would be decided that is not, if all grew alike.
fn growth(requests: usize, is_decided: impl Fn(f64) -> bool) -> Option<f64> {
    let most = (MISSING_MAX / requests.max(1) as f64).max(1.0);
    if is_decided(1.0) || !is_decided(most) {
        return None;
    }
    let (mut short, mut enough) = (1.0, most);
    for _ in 0..24 {
        let middle: f64 = f64::sqrt(short * enough);
        if is_decided(middle) { enough = middle } else { short = middle }
    }
    Some(enough)
}

/// Rounded up to two digits: it is a guess.
fn two_digits(more: f64) -> u32 {
    let more = more.ceil().clamp(0.0, f64::from(u32::MAX / 2)) as u32;
    let unit = 10u32.pow(more.checked_ilog10().unwrap_or(0).saturating_sub(1));
    more.div_ceil(unit) * unit
}

#[cfg(test)]
mod tests;
