//! Own rules of a model, as a user writes them: `p99 > 200ms for 5m`, `errors > 2% for 5m`,
//! `requests < 1/min for 15m`. How they are looked at is in the crate `policy`.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::alarm::Severity;
use crate::problem::excerpt;

/// Rules of one model.
pub const RULES_MAX: usize = 20;
/// The longest time that a rule may ask for, in minutes.
const MINUTES_MAX: u32 = 1_440;
/// The largest latency that makes sense as a limit, in milliseconds.
const LATENCY_MS_MAX: f64 = 3_600_000.0;
/// The largest rate, in requests a minute.
const RATE_MAX: f64 = 1e9;

/// What a rule looks at, minute by minute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Measure {
    /// The share of requests that failed by the model's or Decalog's fault.
    Errors,
    /// The latency that this many of 10,000 requests do not exceed: 9,900 for `p99`.
    Quantile(u16),
    /// Requests a minute.
    Requests,
}

/// One rule. In JSON it is its text.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("examples" = [
    "p99 > 200ms for 5m", "alert: errors > 2% for 5m", "requests < 1/min for 15m",
]))]
pub struct Rule {
    /// How soon somebody should look.
    pub severity: Severity,
    /// What it looks at.
    pub measure: Measure,
    /// Whether it is broken above the limit, or below it.
    pub is_above: bool,
    /// A share of 1, milliseconds, or requests a minute.
    pub limit: f64,
    /// It must be broken in so many minutes in a row.
    pub minutes: u32,
}

/// The text is no rule.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{text}` is not a rule: {reason}")]
pub struct RuleError {
    text: String,
    reason: &'static str,
}

const EXAMPLES: &str = "write `p99 > 200ms for 5m`, `errors > 2% for 5m` or `requests < 1/min for 15m`, and `alert:` before it if somebody is to be woken";

fn number(text: &str) -> Option<f64> {
    let plain = |c: char| c.is_ascii_digit() || c == '.';
    text.parse().ok().filter(|_| text.chars().all(plain))
}

fn limit(measure: Measure, text: &str) -> Result<f64, &'static str> {
    let scaled = |units: &[(&str, f64)]| {
        let found = units.iter().find_map(|(unit, scale)| {
            number(text.strip_suffix(unit)?.trim_end()).map(|number| number * scale)
        });
        found.unwrap_or(f64::NAN)
    };
    let (value, max, wrong) = match measure {
        Measure::Errors => (
            scaled(&[("%", 0.01)]),
            1.0 - 1e-9,
            "a share lies between 0% and 100%, both excluded, such as 2%",
        ),
        Measure::Quantile(_) => (
            scaled(&[("ms", 1.0), ("s", 1_000.0)]),
            LATENCY_MS_MAX,
            "a latency is above 0 and at most an hour, such as 200ms or 2s",
        ),
        Measure::Requests => (
            scaled(&[("/min", 1.0), ("/s", 60.0)]),
            RATE_MAX,
            "a rate is above 0, such as 1/min or 50/s",
        ),
    };
    if value > 0.0 && value <= max { Ok(value) } else { Err(wrong) }
}

fn measure(text: &str) -> Option<Measure> {
    match text {
        "errors" => Some(Measure::Errors),
        "requests" => Some(Measure::Requests),
        _ => {
            let percent = number(text.strip_prefix('p')?)?;
            let per_10000 = (percent * 100.0).round();
            let is_one = (1.0..10_000.0).contains(&per_10000);
            is_one.then_some(Measure::Quantile(per_10000 as u16))
        }
    }
}

fn minutes(text: &str) -> Option<u32> {
    let (text, scale) = match text.strip_suffix('m') {
        Some(minutes) => (minutes, 1),
        None => (text.strip_suffix('h')?, 60),
    };
    let count = text.trim_end().parse::<u32>().ok()?.checked_mul(scale)?;
    (1..=MINUTES_MAX).contains(&count).then_some(count)
}

fn parse(text: &str) -> Result<Rule, &'static str> {
    let (severity, rest) = match text.split_once(':') {
        None => (Severity::Warning, text),
        Some((word, rest)) => match word.trim() {
            "notice" => (Severity::Notice, rest),
            "warning" => (Severity::Warning, rest),
            "alert" => (Severity::Alert, rest),
            _ => return Err("before the colon stands notice, warning or alert"),
        },
    };
    let (condition, time) = rest.rsplit_once(" for ").ok_or(EXAMPLES)?;
    let at = condition.find(['<', '>']).ok_or(EXAMPLES)?;
    let (left, right) = condition.split_at(at);
    let is_above = right.starts_with('>');
    let measure =
        measure(left.trim()).ok_or("it looks at errors, requests or a percentile as p99")?;
    if !is_above && measure != Measure::Requests {
        return Err("only requests can be too few");
    }
    let limit = limit(measure, right[1..].trim())?;
    let minutes = minutes(time.trim()).ok_or("it must last from 1m to 24h")?;
    Ok(Rule { severity, measure, is_above, limit, minutes })
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Rule, RuleError> {
        parse(text).map_err(|reason| RuleError { text: excerpt(text).into_owned(), reason })
    }
}

impl TryFrom<String> for Rule {
    type Error = RuleError;

    fn try_from(text: String) -> Result<Rule, RuleError> {
        text.parse()
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> String {
        rule.to_string()
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Measure::Errors => f.write_str("errors"),
            Measure::Requests => f.write_str("requests"),
            Measure::Quantile(per_10000) => write!(f, "p{}", f64::from(*per_10000) / 100.0),
        }
    }
}

impl Measure {
    /// A value of it, with its unit.
    pub fn shown(self, value: f64) -> String {
        let rounded = |value: f64| (value * 1e6).round() / 1e6;
        match self {
            Measure::Errors => format!("{}%", rounded(value * 100.0)),
            Measure::Quantile(_) => format!("{}ms", rounded(value)),
            Measure::Requests => format!("{}/min", rounded(value)),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.severity {
            Severity::Notice => f.write_str("notice: ")?,
            Severity::Warning => {}
            Severity::Alert => f.write_str("alert: ")?,
        }
        let sign = if self.is_above { '>' } else { '<' };
        let limit = self.measure.shown(self.limit);
        write!(f, "{} {sign} {limit} for {}m", self.measure, self.minutes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_written() {
        for (text, canonical) in [
            ("p99 > 200ms for 5m", "p99 > 200ms for 5m"),
            ("p99.9>1.5s for 1h", "p99.9 > 1500ms for 60m"),
            ("errors > 2% for 5m", "errors > 2% for 5m"),
            ("alert: errors > 0.1 % for 24h", "alert: errors > 0.1% for 1440m"),
            ("notice:requests < 1/min for 15m", "notice: requests < 1/min for 15m"),
            ("warning: requests > 100/s for 1m", "requests > 6000/min for 1m"),
        ] {
            let rule: Rule = text.parse().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(rule.to_string(), canonical);
            assert_eq!(canonical.parse(), Ok(rule));
        }
    }

    #[test]
    fn what_is_no_rule_is_refused_with_a_reason() {
        for text in [
            "",
            "p99",
            "p99 > 200ms",
            "p99 > 200 for 5m",
            "p99 < 200ms for 5m",
            "p100 > 200ms for 5m",
            "p0 > 200ms for 5m",
            "p-1 > 200ms for 5m",
            "errors > 100% for 5m",
            "errors > 0% for 5m",
            "errors > NaN% for 5m",
            "errors > 1e-3% for 5m",
            "errors < 1% for 5m",
            "requests < 0/min for 5m",
            "requests < 1/h for 5m",
            "requests < 1/min for 0m",
            "requests < 1/min for 25h",
            "requests < 1/min for 99999999999m",
            "requests < 1/min for 5s",
            "page: requests < 1/min for 5m",
            "latency > 1ms for 5m",
            "p99 > 2ms for 5m for 5m",
            "errors > 2% for 5é",
            "p99 >é 1ms for 5m",
        ] {
            let error = text.parse::<Rule>().expect_err(text).to_string();
            assert!(error.contains("is not a rule: "), "{error}");
        }
    }
}
