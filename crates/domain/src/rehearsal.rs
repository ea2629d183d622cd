//! Rehearsals: recorded requests that a candidate and the live version are asked before a release
//! gives the candidate any traffic, and what came of it. It holds numbers, names of outputs and ids of
//! requests; no value that anybody asked or was answered.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::guard::{Guard, Limit, Metric};

/// The most requests of one rehearsal.
pub const REHEARSED_MAX: u32 = 5_000;

/// A number with the bounds between which it lies.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Estimate {
    /// As it was seen.
    pub value: f64,
    /// Its lower bound.
    pub low: f64,
    /// Its upper bound.
    pub high: f64,
}

/// What one of the two versions did.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct RehearsedArm {
    /// Requests that it failed on.
    pub failed: u32,
    /// The same as a share of 1, with its 95% interval.
    pub errors: Estimate,
    /// Median time of the requests that both answered, in milliseconds.
    pub p50_ms: Option<f64>,
    /// Their 95th percentile, in milliseconds.
    pub p95_ms: Option<f64>,
    /// Their 99th percentile, in milliseconds.
    pub p99_ms: Option<f64>,
}

/// Requests that were not asked, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RehearsalGap {
    /// Why.
    pub why: String,
    /// How many.
    pub requests: u32,
}

/// What became of one output. A request counts once, however many rows it has.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RehearsedOutput {
    /// Its name.
    pub name: String,
    /// Requests in which both versions gave it.
    pub requests: u32,
    /// The share of them in which it was the same, within the tolerance of the version's tests; with
    /// its 95% interval.
    pub same: Estimate,
    /// By how much the candidate's is more, on average, with its 95% interval; of numbers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<Estimate>,
    /// The average of the live version's; of numbers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_mean: Option<f64>,
}

/// What a rehearsal says of a guard, or all its guards of a release.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RehearsalVerdict {
    /// It is shown that the candidate breaks it.
    Broken,
    /// Neither is shown.
    Undecided,
    /// It is shown that the candidate keeps it, within its tolerance.
    Holds,
}

/// A guard, judged on the requests of a rehearsal. `estimate`, `limit` and `upper` have one unit: a
/// share of 1, milliseconds, or a factor of the live version's time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RehearsedGuard {
    /// As it was written.
    pub guard: Guard,
    /// What follows.
    pub verdict: RehearsalVerdict,
    /// What must stay below the limit. Beside the live version: how much more it is, or how many
    /// times as much.
    pub estimate: Estimate,
    /// What it must stay below; broken if `estimate.low` is above.
    pub limit: f64,
    /// What must not be above `tolerated` for the guard to hold: the upper bound, of a percentile that
    /// of the one which the tolerance allows.
    pub upper: f64,
    /// The limit and the tolerance.
    pub tolerated: f64,
    /// The candidate's figure: a share, or milliseconds.
    pub candidate: f64,
    /// The live version's.
    pub live: f64,
    /// Requests that it was judged on.
    pub requests: u32,
    /// As many requests count as one, because neighbours share their fate.
    pub design_effect: f64,
    /// About how many more requests may decide it, if that can be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<u32>,
}

/// A request to look at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RehearsalExample {
    /// Its id.
    pub id: String,
    /// The code of the problem with which the candidate failed; absent if its answer differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// What came of a rehearsal.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Rehearsal {
    /// What follows from all guards.
    pub verdict: RehearsalVerdict,
    /// Why it could say no more, if something ended it early, or left it without requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Requests that were wanted.
    pub wanted: u32,
    /// Recorded requests of the live version that were found; at most as many as were wanted.
    pub found: u32,
    /// Of these, the ones that both versions were asked.
    pub asked: u32,
    /// The others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<RehearsalGap>,
    /// The version that is to go live.
    pub candidate: RehearsedArm,
    /// The version that is live.
    pub live: RehearsedArm,
    /// The candidate's time by the live version's for the same request, the median of all, with its
    /// 95% interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Estimate>,
    /// Requests whose answers were compared. One that only the candidate failed on is among them, and
    /// differs.
    pub compared: u32,
    /// The share of them that differ, with its 95% interval.
    pub differ: Estimate,
    /// By output; of the first ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<RehearsedOutput>,
    /// By guard.
    pub guards: Vec<RehearsedGuard>,
    /// The requests to look at first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<RehearsalExample>,
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let digits = if percent != 0.0 && percent.abs() < 0.1 { 2 } else { 1 };
    format!("{percent:.digits$}%")
}

fn milliseconds(ms: f64) -> String {
    match ms.abs() {
        below if below < 1.0 => format!("{ms:.2} ms"),
        below if below < 100.0 => format!("{ms:.1} ms"),
        _ => format!("{ms:.0} ms"),
    }
}

/// Three digits, and a sign where one is asked for.
fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return "0".into();
    }
    let before = value.abs().log10().floor() as i32;
    if !(-4..7).contains(&before) {
        return format!("{value:.2e}");
    }
    let digits = usize::try_from(2 - before).unwrap_or(0);
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').into(),
        false => text,
    }
}

fn count(count: u32) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl Estimate {
    fn shown(&self, one: impl Fn(f64) -> String) -> String {
        format!("{} [{}, {}]", one(self.value), one(self.low), one(self.high))
    }
}

impl fmt::Display for RehearsalVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RehearsalVerdict::Broken => "broken",
            RehearsalVerdict::Undecided => "undecided",
            RehearsalVerdict::Holds => "holds",
        })
    }
}

impl fmt::Display for RehearsedGuard {
    /// `errors 2.4%, live 0.0%: 2.4% more [1.9%, 3.0%] against at most 0.5%, n = 4981: broken`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metric = self.guard.metric();
        let figure = |value: f64| {
            if metric.is_share() { percent(value) } else { milliseconds(value) }
        };
        if self.requests == 0 {
            write!(f, "{}: {}", self.guard, self.verdict)?;
        } else {
            write!(f, "{metric} ")?;
            match self.guard.limit() {
                Limit::Absolute(limit) => {
                    write!(f, "{} against at most {}", self.estimate.shown(figure), figure(limit))?
                }
                Limit::BaselineTimes(factor) if !metric.is_share() => {
                    let times = |value: f64| format!("{value:.2}x");
                    let (candidate, live) = (figure(self.candidate), figure(self.live));
                    let shown = self.estimate.shown(times);
                    write!(f, "{candidate}, live {live}: {shown} against at most {factor}x")?
                }
                _ => {
                    let (candidate, live) = (figure(self.candidate), figure(self.live));
                    let (shown, limit) = (self.estimate.shown(figure), figure(self.limit));
                    write!(f, "{candidate}, live {live}: {shown} more against at most {limit}")?
                }
            }
            write!(f, ", n = {}: {}", self.requests, self.verdict)?;
        }
        match (self.verdict, self.missing) {
            (RehearsalVerdict::Undecided, Some(more)) => {
                write!(f, ", about {} more requests are wanted", count(more))
            }
            (RehearsalVerdict::Undecided, None) => f.write_str(", more requests are wanted"),
            _ => Ok(()),
        }
    }
}

impl Rehearsal {
    /// What follows, and how many requests were asked, in one line.
    pub fn headline(&self) -> String {
        let verdict = match self.verdict {
            RehearsalVerdict::Holds => "passed",
            RehearsalVerdict::Undecided => "undecided",
            RehearsalVerdict::Broken => "failed",
        };
        let (asked, found) = (count(self.asked), count(self.found));
        let recorded = if self.found < self.wanted { " that are recorded" } else { "" };
        format!("{verdict}: {asked} of {found} requests{recorded} were asked")
    }

    /// About how many more requests would decide all guards that are not decided, if that is known.
    pub fn missing(&self) -> Option<u32> {
        let undecided = self.guards.iter().filter(|it| it.verdict == RehearsalVerdict::Undecided);
        undecided.filter_map(|guard| guard.missing).max()
    }

    /// A line for each thing that was seen, those that decide first.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.guards.iter().map(RehearsedGuard::to_string).collect();
        if self.asked > 0 && !self.guards.iter().any(|it| it.guard.metric() == Metric::Errors) {
            let (own, live) = (self.candidate.errors, self.live.errors);
            lines.push(format!("errors {}, live {}", own.shown(percent), live.shown(percent)));
        }
        if let Some(latency) = self.latency {
            let shown = latency.shown(|value| format!("{value:.2}x"));
            lines.push(format!("latency {shown} of the live version's, median of pairs"));
        }
        if self.compared > 0 {
            lines.push(format!("answers {} differ", self.differ.shown(percent)));
        }
        for output in &self.outputs {
            let same = output.same.shown(percent);
            let by = output.difference.filter(|it| it.value != 0.0 || it.low != it.high);
            let by = by.zip(output.live_mean).map_or(String::new(), |(difference, mean)| {
                format!(", by {} on {} on average", difference.shown(short), short(mean))
            });
            lines.push(format!("{} {same} the same{by}", output.name));
        }
        for RehearsalGap { why, requests } in &self.left_out {
            lines.push(format!("{} not asked: {why}", count(*requests)));
        }
        lines.extend(self.why.clone());
        lines
    }
}

impl fmt::Display for Rehearsal {
    /// In one line: the verdict, how many were asked, and the guards.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        self.guards.iter().try_for_each(|guard| write!(f, "; {guard}"))?;
        self.why.iter().try_for_each(|why| write!(f, "; {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, 1.0, 0.0123456, -12.345, 1234.5, 1e-9].map(short);
        assert_eq!(texts, ["0", "1", "0.0123", "-12.3", "1234", "1.00e-9"].map(String::from));
        assert_eq!([7, 4_981, 1_234_567].map(count), ["7", "4,981", "1,234,567"]);
    }

    #[test]
    fn a_guard_reads_like_a_sentence() {
        let guard = RehearsedGuard {
            guard: "errors<baseline+0.5%".parse().unwrap(),
            verdict: RehearsalVerdict::Undecided,
            estimate: Estimate { value: 0.004, low: 0.0001, high: 0.02 },
            limit: 0.005,
            upper: 0.02,
            tolerated: 0.01,
            candidate: 0.004,
            live: 0.0,
            requests: 250,
            design_effect: 1.0,
            missing: Some(1_300),
        };
        assert_eq!(
            guard.to_string(),
            "errors 0.4%, live 0.0%: 0.4% [0.01%, 2.0%] more against at most 0.5%, n = 250: \
             undecided, about 1,300 more requests are wanted"
        );
        let p95 = RehearsedGuard {
            guard: "p95<1.2x".parse().unwrap(),
            verdict: RehearsalVerdict::Broken,
            estimate: Estimate { value: 2.5, low: 2.4, high: 2.6 },
            limit: 1.2,
            candidate: 25.0,
            live: 10.0,
            missing: None,
            ..guard
        };
        assert_eq!(
            p95.to_string(),
            "p95 25.0 ms, live 10.0 ms: 2.50x [2.40x, 2.60x] against at most 1.2x, n = 250: broken"
        );
    }
}
