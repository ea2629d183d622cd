//! Whether an own rule of a model is broken: it is if each of the last minutes breaks it. A minute
//! without requests says nothing about errors and latencies, and much about requests.

use domain::alarm::{Confidence, Finding, Target};
use domain::id::VersionNumber;
use domain::latency::LatencyHistogram;
use domain::rule::{Measure, Rule};
use serde::{Deserialize, Serialize};

/// What happened to a model's requests in one minute.
#[derive(Clone, Copy, Debug)]
pub struct Minute<'a> {
    /// Its end, in milliseconds since 1970.
    pub end_ms: u64,
    /// Requests that ended, by whoever's fault.
    pub requests: u64,
    /// Those of them that failed by the model's or the platform's fault.
    pub errors: u64,
    /// How long they took, and how old those are that have not ended.
    pub latency: &'a LatencyHistogram,
}

/// How a rule stands.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct RuleState {
    /// Minutes in a row that broke it.
    minutes: u32,
    /// The end of the last minute that was looked at.
    end_ms: u64,
    /// What was measured in the last of them.
    value: f64,
}

/// What the last minute says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleSays {
    /// It is broken, and has been for as long as it asks for.
    Broken,
    /// It is not.
    Kept,
    /// Nothing: there were no requests, or it has not been broken for long enough.
    Nothing,
}

/// Takes in the next minute.
pub fn update(state: &mut RuleState, rule: &Rule, minute: &Minute<'_>) -> RuleSays {
    // A minute that is missing breaks the row.
    let is_next = minute.end_ms.abs_diff(state.end_ms) <= 2 * 60_000;
    if !is_next {
        state.minutes = 0;
    }
    state.end_ms = minute.end_ms;
    let value = match rule.measure {
        Measure::Requests => Some(minute.requests as f64),
        Measure::Errors if minute.requests == 0 => None,
        Measure::Errors => Some(minute.errors as f64 / minute.requests as f64),
        Measure::Quantile(per_10000) => minute.latency.quantile_ms(f64::from(per_10000) / 1e4),
    };
    let Some(value) = value else { return RuleSays::Nothing };
    let is_broken = if rule.is_above { value > rule.limit } else { value < rule.limit };
    if !is_broken {
        state.minutes = 0;
        return RuleSays::Kept;
    }
    state.value = value;
    state.minutes = state.minutes.saturating_add(1);
    if state.minutes >= rule.minutes { RuleSays::Broken } else { RuleSays::Nothing }
}

/// What to say of a rule that is broken.
pub fn finding(
    state: &RuleState,
    rule: &Rule,
    version: Option<VersionNumber>,
    target: &Target,
) -> Finding {
    let value = rule.measure.shown((state.value * 1e4).round() / 1e4);
    Finding {
        version,
        severity: rule.severity,
        what: format!("{} is {value}, and your rule is broken: {rule}", rule.measure),
        since_ms: state.end_ms.saturating_sub(u64::from(state.minutes) * 60_000),
        confidence: Confidence::Measured,
        size: state.value.max(1e-9) / rule.limit,
        columns: vec![],
        next: target.command("show"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(at: u64, requests: u64, errors: u64, latency: &LatencyHistogram) -> Minute<'_> {
        Minute { end_ms: at * 60_000, requests, errors, latency }
    }

    fn says(rule: &str, minutes: &[(u64, u64, u64)], latency_ms: u64) -> Vec<RuleSays> {
        let (rule, mut state) = (rule.parse::<Rule>().unwrap(), RuleState::default());
        let mut latency = LatencyHistogram::default();
        latency.record_us(latency_ms * 1_000);
        let (none, some) = (LatencyHistogram::default(), latency);
        let each = minutes.iter().map(|(at, requests, errors)| {
            let latency = if *requests == 0 { &none } else { &some };
            update(&mut state, &rule, &minute(*at, *requests, *errors, latency))
        });
        each.collect()
    }

    #[test]
    fn a_rule_is_broken_when_it_was_for_long_enough() {
        use RuleSays::{Broken, Kept, Nothing};
        let rule = "errors > 2% for 3m";
        let minutes =
            [(1, 100, 3), (2, 100, 3), (3, 100, 3), (4, 100, 3), (5, 100, 2), (6, 100, 9)];
        assert_eq!(says(rule, &minutes, 1), [Nothing, Nothing, Broken, Broken, Kept, Nothing]);
        // No data is not zero errors, and no error either.
        let minutes = [(1, 100, 3), (2, 100, 3), (3, 0, 0), (4, 100, 3)];
        assert_eq!(says(rule, &minutes, 1), [Nothing, Nothing, Nothing, Broken]);
        // The server was down in between.
        let minutes = [(1, 100, 3), (2, 100, 3), (9, 100, 3)];
        assert_eq!(says(rule, &minutes, 1), [Nothing, Nothing, Nothing]);
    }

    #[test]
    fn no_requests_are_too_few() {
        use RuleSays::{Broken, Kept, Nothing};
        let minutes = [(1, 5, 0), (2, 0, 0), (3, 0, 0), (4, 1, 0)];
        assert_eq!(says("requests < 1/min for 2m", &minutes, 1), [Kept, Nothing, Broken, Kept]);
    }

    #[test]
    fn latencies_are_those_of_each_minute() {
        use RuleSays::{Broken, Kept, Nothing};
        let minutes = [(1, 5, 0), (2, 5, 0)];
        assert_eq!(says("p99 > 200ms for 2m", &minutes, 500), [Nothing, Broken]);
        assert_eq!(says("p99 > 200ms for 2m", &minutes, 50), [Kept, Kept]);
    }

    #[test]
    fn what_is_said_has_numbers_and_the_beginning() {
        let rule: Rule = "alert: errors > 2% for 3m".parse().unwrap();
        let (mut state, latency) = (RuleState::default(), LatencyHistogram::default());
        for at in 100..104 {
            update(&mut state, &rule, &minute(at, 100, 10, &latency));
        }
        let target = Target {
            model: "default/churn".parse().unwrap(),
            environment: "production".parse().unwrap(),
        };
        let finding = finding(&state, &rule, None, &target);
        assert_eq!(
            finding.what,
            "errors is 10%, and your rule is broken: alert: errors > 2% for 3m"
        );
        assert_eq!((finding.since_ms, finding.next.as_str()), (99 * 60_000, "decalog show churn"));
        assert_eq!(finding.severity, domain::Severity::Alert);
    }
}
