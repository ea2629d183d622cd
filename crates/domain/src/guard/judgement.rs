//! What guards are judged on, and what came of it. Both go into the ledger together: the second can
//! be computed from the first, by `policy::guard::judge`, at any later time.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Guard, Limit, Metric};

/// What to do with a release.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// There is evidence beyond the limit: the traffic goes back to the baseline.
    RollBack,
    /// Neither is shown yet.
    Hold,
    /// It is shown that the canary is within the limit and its tolerance.
    Advance,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::RollBack => "roll back",
            Verdict::Hold => "hold",
            Verdict::Advance => "advance",
        })
    }
}

/// The constants of the judgement, recorded with it so that it can be repeated after they change.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GuardSettings {
    /// The probability that a release whose canary keeps all guards is rolled back by chance; for
    /// all guards, steps and looks together. Advancing has the same probability of being wrong,
    /// apart.
    pub alpha: f64,
    /// Intervals at the start of an arm, and of the canary at the start of each step, that are left
    /// out.
    pub warm_up_intervals: u32,
    /// As many requests are left out too, …
    pub warm_up_requests: u64,
    /// … but no more than these intervals.
    pub warm_up_intervals_max: u32,
    /// Requests of the canary in a step before it can advance.
    pub requests_min: u64,
    /// Requests of the canary in the release before it can be rolled back.
    pub requests_rollback_min: u64,
    /// Intervals with requests of the canary in a step before it can advance.
    pub intervals_min: u64,
    /// Intervals after which the look at the recent past starts anew.
    pub epoch_intervals: u64,
    /// How many intervals' worth of requests sharing one fate are assumed before their dependence
    /// has been measured.
    pub dependence_prior: f64,
}

impl Default for GuardSettings {
    fn default() -> GuardSettings {
        GuardSettings {
            alpha: 0.05,
            warm_up_intervals: 2,
            warm_up_requests: 20,
            warm_up_intervals_max: 12,
            requests_min: 50,
            requests_rollback_min: 10,
            intervals_min: 6,
            epoch_intervals: 120,
            dependence_prior: 0.5,
        }
    }
}

/// Sums over intervals in which both arms (or, for an absolute guard, the canary) had requests. `w`
/// is the weight of an interval: the canary's requests n, or n·m/(n+m) beside a baseline of m, as
/// Mantel and Haenszel weigh strata. `x` is the value of a request: 1 or 0 for a share or for a
/// latency above a threshold, milliseconds for the mean.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Sums {
    /// Intervals.
    pub intervals: u64,
    /// Requests of the canary.
    pub canary_requests: u64,
    /// Σ x of the canary.
    pub canary_values: f64,
    /// Σ x² of the canary.
    pub canary_squares: f64,
    /// Requests of the baseline.
    pub baseline_requests: u64,
    /// Σ x of the baseline.
    pub baseline_values: f64,
    /// Σ x² of the baseline.
    pub baseline_squares: f64,
    /// Σ w.
    pub weight: f64,
    /// Σ w·(mean x of the canary in the interval).
    pub canary_weighted: f64,
    /// Σ w·(mean x of the baseline in the interval).
    pub baseline_weighted: f64,
    /// Σ w²/n of the canary.
    pub canary_spread: f64,
    /// Σ w²/m of the baseline.
    pub baseline_spread: f64,
}

/// How much neighbouring blocks of intervals differ. The difference of two blocks of independent
/// requests has the variance c·(that of a request of the canary) + b·(that of a request of the
/// baseline), with c and b from their numbers.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct DispersionSums {
    /// Intervals in a block.
    pub intervals: u32,
    /// Pairs of neighbouring blocks.
    pub pairs: u64,
    /// Σ difference² / (c + b).
    pub squares: f64,
    /// Σ c / (c + b): how much of the pairs is the canary's.
    pub canary: f64,
}

/// What one guard is judged on.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GuardSums {
    /// The guard as it was written.
    pub guard: Guard,
    /// The metric of the canary as it is: a share, or milliseconds. `None` without requests.
    pub canary: Option<f64>,
    /// The same of the baseline.
    pub baseline: Option<f64>,
    /// For a percentile: the latency that requests are counted beyond, at last, in milliseconds.
    pub slower_than_ms: Option<f64>,
    /// The whole release.
    pub whole: Sums,
    /// The present step, or the present epoch of a long one.
    pub recent: Sums,
    /// Dependence, by block length.
    pub dispersion: Vec<DispersionSums>,
}

/// What has become of the canary's requests since it last answered one well.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Silence {
    /// Intervals in which some failed, were given up, or stayed without an answer.
    pub intervals: u64,
    /// Requests that failed, or that their callers gave up after far longer than the baseline
    /// takes.
    pub lost: u64,
    /// Requests that wait for an answer for as long, at the last look.
    pub unfinished: u64,
    /// Requests of the baseline that ended in those intervals, …
    pub baseline_requests: u64,
    /// … and of these, the ones that it answered well.
    pub baseline_answered: u64,
}

/// All that a verdict depends on.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GuardInputs {
    /// Constants.
    pub settings: GuardSettings,
    /// The step of the release, from 1.
    pub step: u32,
    /// How often the look at the recent past has started anew, from 1: with each step, and in long
    /// steps now and then.
    pub epoch: u32,
    /// Requests of the canary in this step, without those left out.
    pub step_canary_requests: u64,
    /// Requests of the baseline in this step, without those left out.
    pub step_baseline_requests: u64,
    /// Intervals of this step in which the canary had requests, without those left out.
    pub step_intervals: u64,
    /// Requests of the canary left out because it was warming up, in the release.
    pub canary_left_out: u64,
    /// Requests of the baseline left out, in the release.
    pub baseline_left_out: u64,
    /// Whether the canary is warming up.
    pub warming_up: bool,
    /// How often the evidence was collected anew, from 1: once, and once more after each restart of
    /// the server. Each time spends a part of α. 0 in old records, in which it had all of it.
    #[serde(default)]
    pub segment: u32,
    /// Whether it answers at all.
    #[serde(default)]
    pub silence: Silence,
    /// By guard.
    pub guards: Vec<GuardSums>,
}

/// Why a guard was judged so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The lower bound lies beyond the limit.
    Beyond,
    /// The upper bound lies within the limit and its tolerance.
    Within,
    /// The first requests are left out.
    WarmingUp,
    /// Not enough requests or intervals of the canary in this step.
    TooFewRequests,
    /// The baseline has too few requests to compare with.
    TooFewBaselineRequests,
    /// The baseline has no requests: a relative guard says nothing, and stands aside.
    NoBaseline,
    /// No answers were compared: disagreement needs a shadow.
    NothingCompared,
    /// The bounds lie on both sides of limit and tolerance; more requests will tell.
    Undecided,
    /// As shown for the whole release, but in this step the estimate lies beyond the limit.
    WorseInThisStep,
}

/// Which part of the release the numbers of a judgement are of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Span {
    /// All of it.
    Release,
    /// The present step, or the present epoch of a long one.
    Recent,
}

/// The evidence on one guard. `estimate`, `lower`, `upper`, `limit` and `tolerated` have one unit:
/// a share for errors, disagreement and percentiles (of requests slower than `slower_than_ms`),
/// milliseconds for the mean.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Judgement {
    /// The guard as it was written.
    pub guard: Guard,
    /// What to do, as far as this guard goes.
    pub verdict: Verdict,
    /// What the verdict rests on.
    pub reason: Reason,
    /// The metric of the canary: a share, or milliseconds.
    pub canary: Option<f64>,
    /// The metric of the baseline.
    pub baseline: Option<f64>,
    /// For a percentile: the latency that requests are counted beyond, in milliseconds.
    pub slower_than_ms: Option<f64>,
    /// What the bounds are of.
    pub span: Span,
    /// What is tested, of the canary.
    pub estimate: f64,
    /// Lower bound of its confidence sequence.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
    /// Rolls back if `lower` is above.
    pub limit: f64,
    /// Advances if `upper` is at or below.
    pub tolerated: f64,
    /// Requests of the canary that were judged.
    pub canary_requests: u64,
    /// Requests of the baseline that were judged.
    pub baseline_requests: u64,
    /// As many requests count as one, because they depend on each other (Kish's design effect).
    pub design_effect: f64,
    /// The part of α that the lower bound spends.
    pub alpha: f64,
    /// About how many more requests of the canary may decide it, if it goes on like this.
    pub missing_requests: Option<u64>,
}

/// The verdict on a release, with the evidence on each guard.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Judgements {
    /// Roll back if one guard says so; advance if all that could be judged say so.
    pub verdict: Verdict,
    /// The step of the release, from 1.
    pub step: u32,
    /// For all of it.
    pub alpha: f64,
    /// Requests of the canary left out because it was warming up.
    pub canary_left_out: u64,
    /// Requests of the baseline left out.
    pub baseline_left_out: u64,
    /// The canary's requests without an answer, if it is rolled back for answering none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<u64>,
    /// By guard.
    pub guards: Vec<Judgement>,
}

/// A number with twelve significant digits, so that it is short in the ledger and is read back from
/// JSON as it was. Whatever is not finite becomes 0, as does what is nearer to 0 than 10⁻⁹.
pub fn rounded(value: f64) -> f64 {
    if !value.is_finite() || value.abs() < 1e-9 {
        return 0.0;
    }
    format!("{value:.11e}").parse().unwrap_or(0.0)
}

fn amount(metric: Metric, value: f64) -> String {
    if metric.is_share() { percent(value) } else { milliseconds(value) }
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent != 0.0 && percent.abs() < 0.1 {
        format!("{percent:.2}%")
    } else {
        format!("{percent:.1}%")
    }
}

fn milliseconds(ms: f64) -> String {
    match ms.abs() {
        below if below < 1.0 => format!("{ms:.2} ms"),
        below if below < 100.0 => format!("{ms:.1} ms"),
        _ => format!("{ms:.0} ms"),
    }
}

impl Judgement {
    /// The estimate, its bounds and its limit.
    fn numbers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metric = self.guard.metric();
        let (unit, what) = match (metric, self.slower_than_ms) {
            (Metric::Quantile(_), Some(ms)) => {
                let canary =
                    self.canary.map_or(String::new(), |ms| format!("{} ", milliseconds(ms)));
                write!(f, "{metric} {canary}")?;
                if let (true, Some(baseline)) = (self.guard.relative(), self.baseline) {
                    write!(f, "against {} of the baseline ", milliseconds(baseline))?;
                }
                f.write_str("(")?;
                (Metric::Errors, format!(" slower than {}", milliseconds(ms)))
            }
            _ => {
                write!(f, "{metric} ")?;
                (metric, String::new())
            }
        };
        let [estimate, lower, upper, limit] =
            [self.estimate, self.lower, self.upper, self.limit].map(|value| amount(unit, value));
        write!(f, "{estimate}{what} [{lower}, {upper}] against at most {limit}")?;
        match (metric, self.guard.limit(), self.baseline) {
            (Metric::Quantile(_), _, _) => f.write_str(")")?,
            (_, Limit::BaselinePlus(margin), Some(_)) => {
                write!(f, " (baseline + {})", amount(metric, margin))?
            }
            (_, Limit::BaselineTimes(factor), Some(_)) => write!(f, " ({factor} × baseline)")?,
            _ => (),
        }
        write!(f, ", n = {}", self.canary_requests)?;
        if self.guard.relative() {
            write!(f, " and {}", self.baseline_requests)?;
        }
        Ok(())
    }

    /// What is missing, or wrong.
    fn reason(&self) -> String {
        let more = self.missing_requests.map_or("more requests".to_string(), |n| {
            format!("about {n} more requests of the canary")
        });
        match self.reason {
            Reason::Beyond | Reason::Within => String::new(),
            Reason::WarmingUp => {
                ": the canary is warming up, and its first requests are left out".to_string()
            }
            Reason::TooFewRequests => format!(": too little traffic to tell, {more} are needed"),
            Reason::TooFewBaselineRequests => {
                ": too little traffic of the baseline to compare with".to_string()
            }
            Reason::NoBaseline => ": not judged, the baseline has no traffic".to_string(),
            Reason::NothingCompared => {
                ": no answers were compared; disagreement needs a release with --shadow".to_string()
            }
            Reason::Undecided => format!(": undecided, {more} are needed"),
            Reason::WorseInThisStep => {
                ": good in the whole release, but beyond the limit in this step so far".to_string()
            }
        }
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.canary_requests == 0 {
            write!(f, "{}", self.guard)?;
        } else {
            self.numbers(f)?;
        }
        write!(f, ": {}{}", self.verdict, self.reason())
    }
}

impl fmt::Display for Judgements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}: {}", self.step, self.verdict)?;
        if let Some(unanswered) = self.unanswered {
            write!(
                f,
                "\n  the canary answered none of its last {unanswered} requests, while the baseline answered most"
            )?;
        }
        self.guards.iter().try_for_each(|judgement| write!(f, "\n  {judgement}"))
    }
}
