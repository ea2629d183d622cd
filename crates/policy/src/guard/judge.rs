//! From sums to a verdict: pure, and the same for a release under way and for a record of one.

use domain::guard::{
    Guard, GuardInputs, GuardSums, Judgement, Judgements, Limit, Metric, Reason, Silence, Span,
    Sums, Verdict, rounded,
};

use super::design::design_effect;
use super::evidence::{Test, mean_variances, share_variances};

/// The tolerance of shares is as much as the limit allows, but at least this.
const SHARE_TOLERANCE_MIN: f64 = 0.005;
/// The tolerance of the mean, of its limit.
const MEAN_TOLERANCE: f64 = 0.1;
/// One interval is no evidence: its requests may share one fate.
const INTERVALS_ROLLBACK_MIN: u64 = 2;
/// The part of α that the evidence before any restart of the server has.
const FIRST_SEGMENT: f64 = 0.75;
/// A canary that answers nothing is rolled back after as many requests, …
const SILENT_REQUESTS_MIN: u64 = 20;
/// … in as many intervals.
const SILENT_INTERVALS_MIN: u64 = 3;
/// When more requests than this many times those seen would be needed, no number is given.
const MISSING_FACTOR_MAX: f64 = 1_000.0;

/// The factor on the baseline and the shift that a canary is just at its limit with.
pub(super) fn null_of(guard: &Guard) -> (f64, f64) {
    match (guard.metric(), guard.limit()) {
        (Metric::Quantile(per_10000), Limit::Absolute(_)) => {
            (0.0, 1.0 - f64::from(per_10000) / 10_000.0)
        }
        (Metric::Quantile(_), _) => (1.0, 0.0),
        (_, Limit::Absolute(value)) => (0.0, value),
        (_, Limit::BaselinePlus(margin)) => (1.0, margin),
        (_, Limit::BaselineTimes(factor)) => (factor, 0.0),
    }
}

/// How far beyond the limit the upper bound may lie for the release to advance. `baseline` is the
/// baseline's part of it.
fn tolerance(guard: &Guard, baseline: f64, shift: f64) -> f64 {
    match (guard.metric(), guard.limit()) {
        (Metric::Mean, _) => MEAN_TOLERANCE * (baseline + shift),
        (Metric::Quantile(per_10000), _) => {
            (1.0 - f64::from(per_10000) / 10_000.0).min(f64::from(per_10000) / 20_000.0)
        }
        (_, Limit::BaselineTimes(_)) => baseline.max(SHARE_TOLERANCE_MIN),
        _ => shift.max(SHARE_TOLERANCE_MIN),
    }
}

/// One guard, ready to be tested.
struct Case<'a> {
    guard: &'a Guard,
    sums: &'a GuardSums,
    inputs: &'a GuardInputs,
    factor: f64,
    shift: f64,
    design_effect: f64,
}

struct Decision {
    verdict: Verdict,
    reason: Reason,
    span: Span,
}

impl<'a> Case<'a> {
    fn new(inputs: &'a GuardInputs, sums: &'a GuardSums) -> Case<'a> {
        let (factor, shift) = null_of(&sums.guard);
        let requests = sums.whole.weight / (sums.whole.intervals as f64).max(1.0);
        let variances = match sums.guard.metric() {
            Metric::Mean => mean_variances(&sums.whole),
            _ => share_variances(&sums.whole, sums.guard.relative(), shift),
        };
        let design_effect =
            design_effect(&sums.dispersion, inputs.settings.dependence_prior, requests, variances);
        Case { guard: &sums.guard, sums, inputs, factor, shift, design_effect }
    }

    fn alpha_guard(&self) -> f64 {
        self.inputs.settings.alpha * segment_part(self.inputs.segment)
            / self.inputs.guards.len() as f64
    }

    /// The part of α that the lower bound over this span spends.
    fn alpha(&self, span: Span) -> f64 {
        let epoch = f64::from(self.inputs.epoch.max(2));
        match span {
            Span::Release => self.alpha_guard() / 2.0,
            Span::Recent => self.alpha_guard() / 2.0 / (epoch * (epoch - 1.0)),
        }
    }

    fn tolerated(&self, test: &Test) -> f64 {
        self.shift + tolerance(self.guard, test.baseline(), self.shift)
    }

    fn beyond(&self, sums: &Sums, span: Span) -> bool {
        sums.canary_requests >= self.inputs.settings.requests_rollback_min
            && sums.intervals >= INTERVALS_ROLLBACK_MIN
            && self.test(sums).above(self.shift) >= -self.alpha(span).ln()
    }

    fn test<'b>(&self, sums: &'b Sums) -> Test<'b> {
        let share = self.guard.metric() != Metric::Mean;
        Test { sums, factor: self.factor, share, design_effect: self.design_effect }
    }

    fn decide(&self) -> Decision {
        let (inputs, whole) = (self.inputs, &self.sums.whole);
        let hold = |reason| Decision { verdict: Verdict::Hold, reason, span: Span::Release };
        if self.beyond(whole, Span::Release) {
            return Decision {
                verdict: Verdict::RollBack,
                reason: Reason::Beyond,
                span: Span::Release,
            };
        }
        if inputs.epoch > 1 && self.beyond(&self.sums.recent, Span::Recent) {
            return Decision {
                verdict: Verdict::RollBack,
                reason: Reason::Beyond,
                span: Span::Recent,
            };
        }
        if inputs.warming_up {
            return hold(Reason::WarmingUp);
        }
        if inputs.step_canary_requests < inputs.settings.requests_min
            || inputs.step_intervals < inputs.settings.intervals_min
        {
            return hold(Reason::TooFewRequests);
        }
        if self.guard.metric() == Metric::Disagreement && whole.canary_requests == 0 {
            return hold(Reason::NothingCompared);
        }
        if self.guard.relative() && inputs.step_baseline_requests == 0 {
            return hold(Reason::NoBaseline);
        }
        if self.guard.relative() && whole.intervals < INTERVALS_ROLLBACK_MIN {
            return hold(Reason::TooFewBaselineRequests);
        }
        let test = self.test(whole);
        if test.below(self.tolerated(&test)) < -self.alpha_guard().ln() {
            return hold(Reason::Undecided);
        }
        let recent = self.test(&self.sums.recent);
        if self.sums.recent.intervals > 0 && recent.canary() > recent.baseline() + self.shift {
            return hold(Reason::WorseInThisStep);
        }
        Decision { verdict: Verdict::Advance, reason: Reason::Within, span: Span::Release }
    }

    /// How many more requests of the canary would decide, if all sums grew in proportion.
    fn missing(&self) -> Option<u64> {
        let whole = &self.sums.whole;
        let test = self.test(whole);
        let decided = |times: f64| {
            let grown = grown(whole, times);
            let test = self.test(&grown);
            test.below(self.tolerated(&test)) >= -self.alpha_guard().ln()
                || test.above(self.shift) >= -self.alpha(Span::Release).ln()
        };
        let few =
            self.inputs.settings.requests_min.saturating_sub(self.inputs.step_canary_requests);
        if test.sums.weight <= 0.0 || !decided(MISSING_FACTOR_MAX) {
            return (few > 0).then_some(few);
        }
        let (mut short, mut enough) = (1.0, MISSING_FACTOR_MAX);
        for _ in 0..40 {
            let middle: f64 = f64::sqrt(short * enough);
            if decided(middle) { enough = middle } else { short = middle }
        }
        let more = ((enough - 1.0) * whole.canary_requests as f64).ceil() as u64;
        // Two digits: it is a guess.
        let unit = 10u64.pow(more.checked_ilog10().unwrap_or(0).saturating_sub(1));
        Some((more.div_ceil(unit) * unit).max(few)).filter(|more| *more > 0)
    }

    fn judgement(&self) -> Judgement {
        let Decision { verdict, reason, span } = self.decide();
        let sums = if span == Span::Release { &self.sums.whole } else { &self.sums.recent };
        let (test, alpha) = (self.test(sums), self.alpha(span));
        let (lower, _) = test.bounds(-alpha.ln());
        let (_, upper) = test.bounds(-self.alpha_guard().ln());
        let waits = matches!(reason, Reason::Undecided | Reason::TooFewRequests);
        Judgement {
            guard: *self.guard,
            verdict,
            reason,
            canary: self.sums.canary,
            baseline: self.sums.baseline.filter(|_| self.guard.relative()),
            slower_than_ms: self.sums.slower_than_ms,
            span,
            estimate: rounded(test.canary()),
            lower: rounded(lower),
            upper: rounded(upper),
            limit: rounded(test.baseline() + self.shift),
            tolerated: rounded(test.baseline() + self.tolerated(&test)),
            canary_requests: sums.canary_requests,
            baseline_requests: sums.baseline_requests,
            design_effect: rounded(self.design_effect),
            alpha: rounded(alpha),
            missing_requests: if waits { self.missing() } else { None },
        }
    }
}

/// The part of α that evidence which was collected anew may spend: what is left after the first is
/// divided by 1/(k(k-1)) for k = 2, 3, …, all together 1. So a release that outlives any number of
/// restarts is wrong with probability α at most.
fn segment_part(segment: u32) -> f64 {
    let number = f64::from(segment);
    match segment {
        0 => 1.0,
        1 => FIRST_SEGMENT,
        _ => (1.0 - FIRST_SEGMENT) / (number * (number - 1.0)),
    }
}

/// The canary's requests without an answer, if it answers none while the baseline answers most. Of
/// two versions that answer more than half of their requests, this befalls one in a million at 20
/// independent ones; no guard needs to ask for it.
fn unanswered(silence: &Silence) -> Option<u64> {
    let unanswered = silence.lost + silence.unfinished;
    let is_silent = unanswered >= SILENT_REQUESTS_MIN && silence.intervals >= SILENT_INTERVALS_MIN;
    (is_silent && 2 * silence.baseline_answered > silence.baseline_requests).then_some(unanswered)
}

/// As if all had gone on in the same way for `times` as long.
fn grown(sums: &Sums, times: f64) -> Sums {
    let count = |count: u64| (count as f64 * times) as u64;
    Sums {
        intervals: count(sums.intervals),
        canary_requests: count(sums.canary_requests),
        canary_values: sums.canary_values * times,
        canary_squares: sums.canary_squares * times,
        baseline_requests: count(sums.baseline_requests),
        baseline_values: sums.baseline_values * times,
        baseline_squares: sums.baseline_squares * times,
        weight: sums.weight * times,
        canary_weighted: sums.canary_weighted * times,
        baseline_weighted: sums.baseline_weighted * times,
        canary_spread: sums.canary_spread * times,
        baseline_spread: sums.baseline_spread * times,
    }
}

/// Roll back if one guard says so; advance if there are some that could be judged, and all of them
/// say so.
fn together(decisions: impl Iterator<Item = (Verdict, Reason)>) -> Verdict {
    let mut together = None;
    for (verdict, reason) in decisions {
        match verdict {
            Verdict::RollBack => return Verdict::RollBack,
            _ if reason == Reason::NoBaseline => (),
            _ => together = Some(verdict.min(together.unwrap_or(verdict))),
        }
    }
    together.unwrap_or(Verdict::Hold)
}

/// The verdict, with the evidence on each guard.
pub fn judge(inputs: &GuardInputs) -> Judgements {
    let unanswered = unanswered(&inputs.silence);
    let guards: Vec<Judgement> =
        inputs.guards.iter().map(|sums| Case::new(inputs, sums).judgement()).collect();
    Judgements {
        verdict: match unanswered {
            Some(_) => Verdict::RollBack,
            None => together(guards.iter().map(|judgement| (judgement.verdict, judgement.reason))),
        },
        unanswered,
        step: inputs.step,
        alpha: inputs.settings.alpha,
        canary_left_out: inputs.canary_left_out,
        baseline_left_out: inputs.baseline_left_out,
        guards,
    }
}

/// The verdict alone: as [`judge`] has it, at a fraction of the cost.
pub fn verdict(inputs: &GuardInputs) -> Verdict {
    if unanswered(&inputs.silence).is_some() {
        return Verdict::RollBack;
    }
    together(
        inputs
            .guards
            .iter()
            .map(|sums| Case::new(inputs, sums).decide())
            .map(|decision| (decision.verdict, decision.reason)),
    )
}
