//! Own rules of models: each minute of a model's requests is held against those of its environment.
//! How long a rule has been broken is not kept over restarts; an alarm that is open is.

use std::collections::{BTreeMap, BTreeSet};

use domain::alarm::{AlarmKey, AlarmKind, Target};
use domain::{LatencyHistogram, Rule};
use policy::rule::{Minute, RuleSays, RuleState, finding, update};

use crate::alarms::Desk;
use crate::health::{Observed, TARGETS_MAX};

const MINUTE_MS: u64 = 60_000;

/// The minute of one model that runs.
#[derive(Default)]
struct Running {
    requests: u64,
    errors: u64,
    latency: LatencyHistogram,
    /// How old those are that have not ended, when that was last seen.
    unfinished: LatencyHistogram,
}

/// How all rules stand.
#[derive(Default)]
pub struct Rules {
    /// The beginning of the minute that runs, in milliseconds since 1970.
    minute_ms: u64,
    running: BTreeMap<Target, Running>,
    states: BTreeMap<AlarmKey, RuleState>,
}

fn key(target: &Target, rule: &Rule) -> AlarmKey {
    AlarmKey { subject: rule.to_string(), ..target.key(AlarmKind::Rule) }
}

impl Rules {
    /// Takes in the bucket that began at `at_ms`: all placements that have a route or had requests
    /// in it. `rules_of` gives the rules of a model as they are now.
    pub fn bucket(
        &mut self,
        at_ms: u64,
        observed: &[Observed],
        rules_of: impl Fn(&Target) -> Vec<Rule>,
        desk: &Desk,
    ) {
        let minute_ms = at_ms - at_ms % MINUTE_MS;
        if minute_ms != self.minute_ms {
            let over_ms = std::mem::replace(&mut self.minute_ms, minute_ms);
            let running = std::mem::take(&mut self.running);
            // The first minute began before this process.
            if over_ms != 0 {
                self.minute(over_ms + MINUTE_MS, &running, rules_of, desk);
            }
        }
        let mut is_seen = BTreeSet::new();
        for Observed { placement, ended, unfinished, .. } in observed {
            let target = Target::of(placement);
            if !self.running.contains_key(&target) && self.running.len() >= TARGETS_MAX {
                continue;
            }
            let running = self.running.entry(target.clone()).or_default();
            running.requests += ended.judged;
            running.errors += ended.failed;
            running.latency.merge(&ended.latency);
            if is_seen.insert(target) {
                running.unfinished.clear();
            }
            running.unfinished.merge(unfinished);
        }
    }

    fn minute(
        &mut self,
        end_ms: u64,
        running: &BTreeMap<Target, Running>,
        rules_of: impl Fn(&Target) -> Vec<Rule>,
        desk: &Desk,
    ) {
        let mut known = BTreeSet::new();
        for (target, of) in running {
            let rules = rules_of(target);
            if rules.is_empty() {
                continue;
            }
            let mut latency = of.latency.clone();
            latency.merge(&of.unfinished);
            let (requests, errors) = (of.requests, of.errors);
            let minute = Minute { end_ms, requests, errors, latency: &latency };
            for rule in rules {
                let key = key(target, &rule);
                let state = self.states.entry(key.clone()).or_default();
                match update(state, &rule, &minute) {
                    RuleSays::Broken => {
                        let finding = finding(state, &rule, None, target);
                        desk.raise(&key, finding, end_ms);
                    }
                    RuleSays::Kept => desk.quiet(&key, end_ms),
                    RuleSays::Nothing => {}
                }
                known.insert(key);
            }
        }
        self.states.retain(|key, _| known.contains(key));
        // A rule that was taken back, also while no process ran, is broken no more.
        let open = desk.open_alarms().into_iter().map(|alarm| alarm.key);
        let is_gone = |key: &AlarmKey| key.kind == AlarmKind::Rule && !known.contains(key);
        open.filter(is_gone).for_each(|key| desk.close(&key, end_ms));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::{Placement, VersionNumber};

    use super::*;
    use crate::bucket::Bucket;

    const START_MS: u64 = 1_800_000_000_000;

    fn observed(requests: u64, failed: u64, ms: u64, age_ms: u64) -> Observed {
        let (mut latency, mut unfinished) =
            (LatencyHistogram::default(), LatencyHistogram::default());
        (0..requests).for_each(|_| latency.record_us(ms * 1_000));
        if age_ms > 0 {
            unfinished.record_us(age_ms * 1_000);
        }
        let placement = Placement {
            model: "default/churn".parse().unwrap(),
            environment: domain::EnvironmentName::default(),
            version: VersionNumber(1),
            digest: domain::Digest::ZERO,
            revision: 0,
        };
        Observed {
            placement: Arc::new(placement),
            ended: Bucket { latency, failed, judged: requests },
            unfinished,
            queued_rows: 0,
            crashed: false,
        }
    }

    /// Runs minutes of twelve buckets each; the rules that are broken after each.
    fn open(rules: &[&str], minutes: &[(u64, u64, u64, u64)]) -> Vec<Vec<String>> {
        let directory = tempfile::tempdir().unwrap();
        let (desk, _) = Desk::open(&directory.path().join("alarms.sqlite")).unwrap();
        let parsed: Vec<Rule> = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        let (mut own, mut at_ms, mut shown) =
            (Rules::default(), START_MS - START_MS % MINUTE_MS, vec![]);
        // One more begins after the last is over.
        for (requests, failed, ms, age_ms) in minutes.iter().chain(minutes.last()) {
            for _ in 0..12 {
                let bucket = [observed(*requests, *failed, *ms, *age_ms)];
                own.bucket(at_ms, &bucket, |_| parsed.clone(), &desk);
                at_ms += 5_000;
            }
            shown.push(desk.open_alarms().into_iter().map(|alarm| alarm.key.subject).collect());
        }
        own.minute(at_ms, &BTreeMap::new(), |_| vec![], &desk);
        assert!(desk.open_alarms().is_empty(), "no rule, no alarm");
        shown.remove(0);
        shown
    }

    #[test]
    fn a_rule_alarms_once_it_was_broken_for_long_enough() {
        let (slow, errors) = ("p99 > 200ms for 2m", "errors > 2% for 2m");
        let bad = (100, 3, 300, 0);
        let none: Vec<String> = vec![];
        assert_eq!(
            open(&[slow, errors], &[bad, bad, (100, 0, 10, 0), (100, 0, 10, 0)]),
            [
                none.clone(),
                vec![errors.into(), slow.into()],
                vec![errors.into(), slow.into()],
                none
            ]
        );
    }

    #[test]
    fn what_does_not_end_is_slow_and_what_does_not_come_is_too_few() {
        let slow = "p99 > 200ms for 1m";
        assert_eq!(open(&[slow], &[(0, 0, 0, 52_000)]), [vec![slow.to_string()]]);
        let few = "requests < 1/min for 2m";
        assert_eq!(open(&[few, slow], &[(0, 0, 0, 0); 2])[1], [few]);
    }
}
