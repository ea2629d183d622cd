//! Guards: what must hold for a release to go on, as a user writes it (`errors<1%`, `p99<1.2x`),
//! and the numbers that each arm of a release hands in for them. How they are judged is in the
//! crate `policy`.

mod judgement;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::latency::LatencyHistogram;

pub use judgement::{
    DispersionSums, GuardInputs, GuardSettings, GuardSums, Judgement, Judgements, Reason, Silence,
    Span, Sums, Verdict, rounded,
};

/// What a guard looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Metric {
    /// The share of requests that failed by the model's or Decalog's fault.
    Errors,
    /// The share of compared answers that differ from the baseline's; a shadow has them.
    Disagreement,
    /// The mean latency of answered requests.
    Mean,
    /// The latency that this many of 10,000 answered requests do not exceed: 9,900 for `p99`.
    Quantile(u16),
}

/// What the metric must stay below.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Limit {
    /// A share of 1, or milliseconds.
    Absolute(f64),
    /// This much more than the baseline: a share of 1, or milliseconds.
    BaselinePlus(f64),
    /// This many times the baseline.
    BaselineTimes(f64),
}

/// One condition of a release. Its text form is `METRIC<LIMIT`; in JSON it is that text.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("examples" = ["errors<1%", "errors<baseline+0.5%", "p99<1.2x"]))]
pub struct Guard {
    metric: Metric,
    limit: Limit,
}

/// The text is no guard.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{text}` is not a guard: {reason}")]
pub struct GuardError {
    /// As written.
    pub text: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

const METRICS: &str = "errors, disagreement, mean, or a percentile as p50, p99, p99.9";
const EXAMPLES: &str =
    "write METRIC<LIMIT, such as errors<1%, errors<baseline+0.5%, p99<50ms, p99<1.2x";
/// The largest factor on the baseline, and the largest latency, that make sense as limits.
const FACTOR_MAX: f64 = 100.0;
const LATENCY_MS_MAX: f64 = 3_600_000.0;

impl Guard {
    /// A guard from its parts, or what is wrong with them.
    pub fn new(metric: Metric, limit: Limit) -> Result<Guard, String> {
        let share = metric.is_share();
        let (latency, margin) = (f64::MIN_POSITIVE..=LATENCY_MS_MAX, 0.0..=LATENCY_MS_MAX);
        let wrong = match (metric, limit) {
            (Metric::Quantile(per_10000), _) if !(1..10_000).contains(&per_10000) => {
                "a percentile lies between p0.01 and p99.99"
            }
            (Metric::Disagreement, Limit::BaselinePlus(_) | Limit::BaselineTimes(_)) => {
                "disagreement is itself a comparison with the baseline; name a share, as disagreement<2%"
            }
            (_, Limit::BaselineTimes(factor))
                if !(f64::MIN_POSITIVE..=FACTOR_MAX).contains(&factor) =>
            {
                "a factor on the baseline lies above 0x and at or below 100x, such as 1.2x"
            }
            (_, Limit::Absolute(value)) if share && !(f64::MIN_POSITIVE..1.0).contains(&value) => {
                "a share lies between 0% and 100%, both excluded, such as 1%"
            }
            (_, Limit::Absolute(value)) if !share && !latency.contains(&value) => {
                "a latency is above 0 and at most an hour, such as 50ms"
            }
            (_, Limit::BaselinePlus(value)) if share && !(0.0..1.0).contains(&value) => {
                "a margin lies between 0% and 100%, such as baseline+0.5%"
            }
            (_, Limit::BaselinePlus(value)) if !share && !margin.contains(&value) => {
                "a margin lies between 0 and an hour, such as baseline+5ms"
            }
            _ => return Ok(Guard { metric, limit }),
        };
        Err(wrong.to_string())
    }

    /// What it looks at.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// What that must stay below.
    pub fn limit(&self) -> Limit {
        self.limit
    }

    /// Whether it can only be judged beside a baseline.
    pub fn relative(&self) -> bool {
        !matches!(self.limit, Limit::Absolute(_))
    }

    /// The guards of a release that names none: `errors<baseline+0.5%` and `p95<1.2x`.
    ///
    /// Both are relative, because no absolute number suits all models. Half a point of errors is
    /// the smallest excess that a thousand requests or so can tell from chance. Two replicas of the
    /// same version on the same machine differ in tail latency by some percent, through placement,
    /// caches and batch sizes; a fifth is beyond that, and about where callers notice. The 95th
    /// percentile is decided with a fifth of the traffic that the 99th takes, and most of what
    /// slows the one slows the other.
    pub fn defaults() -> Vec<Guard> {
        vec![
            Guard { metric: Metric::Errors, limit: Limit::BaselinePlus(0.005) },
            Guard { metric: Metric::Quantile(9_500), limit: Limit::BaselineTimes(1.2) },
        ]
    }
}

impl Metric {
    /// Whether it is a share of requests; else it is a latency.
    pub fn is_share(self) -> bool {
        matches!(self, Metric::Errors | Metric::Disagreement)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Metric::Errors => f.write_str("errors"),
            Metric::Disagreement => f.write_str("disagreement"),
            Metric::Mean => f.write_str("mean"),
            Metric::Quantile(per_10000) => write!(f, "p{}", number(f64::from(*per_10000) / 100.0)),
        }
    }
}

impl FromStr for Metric {
    type Err = ();
    fn from_str(text: &str) -> Result<Metric, ()> {
        match text {
            "errors" => Ok(Metric::Errors),
            "disagreement" => Ok(Metric::Disagreement),
            "mean" => Ok(Metric::Mean),
            _ => {
                let percentile = text
                    .strip_prefix('p')
                    .filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
                    .ok_or(())?;
                let per_10000 = percentile.parse::<f64>().map_err(|_| ())? * 100.0;
                let exact = (per_10000 - per_10000.round()).abs() < 1e-6
                    && (1.0..10_000.0).contains(&per_10000.round());
                exact.then_some(Metric::Quantile(per_10000.round() as u16)).ok_or(())
            }
        }
    }
}

/// A number as a person writes it: no digits beyond the ninth.
fn number(value: f64) -> String {
    let text = format!("{value:.9}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = |value: f64| {
            if self.metric.is_share() {
                format!("{}%", number(value * 100.0))
            } else {
                format!("{}ms", number(value))
            }
        };
        match self.limit {
            Limit::Absolute(value) => write!(f, "{}<{}", self.metric, amount(value)),
            Limit::BaselinePlus(value) => write!(f, "{}<baseline+{}", self.metric, amount(value)),
            Limit::BaselineTimes(factor) => write!(f, "{}<{}x", self.metric, number(factor)),
        }
    }
}

impl FromStr for Guard {
    type Err = GuardError;
    fn from_str(text: &str) -> Result<Guard, GuardError> {
        let wrong = |reason: String| GuardError { text: text.to_string(), reason };
        if text.contains(['>', '=']) {
            return Err(wrong(format!("a guard says what must hold, with `<` alone; {EXAMPLES}")));
        }
        let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let (metric, limit) =
            compact.split_once('<').ok_or_else(|| wrong(format!("it has no `<`; {EXAMPLES}")))?;
        let metric: Metric = metric
            .parse()
            .map_err(|()| wrong(format!("`{metric}` is no metric; there are {METRICS}")))?;
        let limit = if limit == "baseline" {
            Limit::BaselinePlus(0.0)
        } else if let Some(margin) = limit.strip_prefix("baseline+") {
            Limit::BaselinePlus(amount(metric, margin).map_err(wrong)?)
        } else if let Some(factor) = limit.strip_suffix('x') {
            let factor = decimal(factor).ok_or_else(|| {
                wrong(format!("`{factor}` is no number; a factor is written as 1.2x"))
            })?;
            Limit::BaselineTimes(factor)
        } else {
            Limit::Absolute(amount(metric, limit).map_err(wrong)?)
        };
        Guard::new(metric, limit).map_err(wrong)
    }
}

fn decimal(text: &str) -> Option<f64> {
    let plain = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit() || c == b'.');
    text.parse::<f64>().ok().filter(|value| plain && value.is_finite())
}

/// A share or a latency with its unit.
fn amount(metric: Metric, text: &str) -> Result<f64, String> {
    if metric.is_share() {
        let digits = text.strip_suffix('%').and_then(decimal);
        return Ok(digits.ok_or_else(|| {
            format!("`{text}` is no share; {metric} takes percent, as {metric}<1%")
        })? / 100.0);
    }
    let units = [("ms", 1.0), ("us", 0.001), ("µs", 0.001), ("s", 1_000.0)];
    let parsed = units.iter().find_map(|(unit, ms)| Some(decimal(text.strip_suffix(unit)?)? * ms));
    parsed.ok_or_else(|| {
        format!("`{text}` is no latency; {metric} takes us, ms or s, as {metric}<50ms, or a factor, as {metric}<1.2x")
    })
}

impl TryFrom<String> for Guard {
    type Error = GuardError;
    fn try_from(text: String) -> Result<Guard, GuardError> {
        text.parse()
    }
}

impl From<Guard> for String {
    fn from(guard: Guard) -> String {
        guard.to_string()
    }
}

/// What one arm of a release (its canary or its baseline) did in one interval of [`INTERVAL_MS`].
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ArmWindow {
    /// Requests that ended, well or not; without those that a caller gave up or got wrong (4xx).
    pub requests: u64,
    /// Of these, the ones that failed by the version's fault: 5xx, and what its own full queue
    /// refused.
    pub errors: u64,
    /// Of the good answers only: an error is not fast.
    pub latency: LatencyHistogram,
    /// Answers that were compared with the other arm's; of the canary's window only.
    pub compared: u64,
    /// Of these, the ones that differ.
    pub disagreements: u64,
    /// How long callers waited that hung up before their answer; it would have taken longer.
    pub abandoned: LatencyHistogram,
    /// How old the requests were that were waiting or running at the end of the interval.
    pub unfinished: LatencyHistogram,
}

impl ArmWindow {
    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        [&mut self.latency, &mut self.abandoned, &mut self.unfinished]
            .into_iter()
            .for_each(LatencyHistogram::clear);
        (self.requests, self.errors, self.compared, self.disagreements) = (0, 0, 0, 0);
    }

    /// Requests that came to an end, by whomever.
    pub fn ended(&self) -> u64 {
        self.requests + self.abandoned.count()
    }

    /// Requests that were answered well.
    pub fn answered(&self) -> u64 {
        self.requests.saturating_sub(self.errors)
    }

    /// Takes in one request; `latency_us` is looked at only if it did not fail.
    pub fn record(&mut self, failed: bool, latency_us: u64) {
        self.requests += 1;
        if failed {
            self.errors += 1;
        } else {
            self.latency.record_us(latency_us);
        }
    }
}

/// The length of an interval, in milliseconds. Guards are looked at after each.
pub const INTERVAL_MS: u64 = 5_000;
