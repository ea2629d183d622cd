//! How many replicas a placement should have: what the gateway reports, what a decision rests on,
//! and the decision. A decision is recorded with all its inputs, so that anybody can take it again
//! from the ledger and compare.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most replicas of one placement, whatever anybody asks for: beyond the cores of any machine,
/// and few enough that all of them can be looked at many times a second.
pub const REPLICAS_MAX: u32 = 256;
/// The longest time without requests before replicas stop, in seconds: a year.
pub const IDLE_S_MAX: u64 = 365 * 86_400;

/// What the gateway reports of one placement's load. Counts are cumulative since the gateway
/// started to serve the placement, so that a report may be late or lost without an error in any
/// mean.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LoadSample {
    /// Monotonic time of the report, in milliseconds.
    pub now_ms: u64,
    /// The integral over time of the requests that were queued or running, in request-milliseconds.
    pub in_system_request_ms: f64,
    /// Requests that arrived, those refused for a full queue included.
    pub arrived: u64,
    /// Requests that wait now.
    pub queued: u64,
    /// Requests that a replica works on now.
    pub in_flight: u64,
    /// The mean rows of a request; 0 if none came yet.
    pub rows_per_request: f64,
    /// What was learned of the service time by batch size; empty before the first batch.
    pub service: Vec<ServicePoint>,
}

/// The measured time of batches of about one size.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ServicePoint {
    /// Mean rows of these batches.
    pub rows: f64,
    /// Their mean time, in microseconds.
    pub mean_us: f64,
}

/// What load and target count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoadMeasure {
    /// Requests that are queued or running, averaged over time.
    InFlight,
    /// Requests that arrive in a second.
    PerSecond,
}

/// Where the target for one replica comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TargetSource {
    /// `[scale] target_concurrency`.
    TargetConcurrency,
    /// The learned service times, with batches small enough for `[scale] slo_ms`.
    Slo,
    /// The learned service times.
    Learned,
    /// Nothing is known yet: batches in flight at one replica, times the utilisation.
    Unlearned,
}

/// All that a decision depends on. Numbers are rounded to thousandths, so that they survive JSON
/// exactly.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ScaleInputs {
    /// The unit of `stable`, `burst`, `forecast`, `backlog`, `held` and `target`.
    pub measure: LoadMeasure,
    /// Mean load over the stable window.
    pub stable: f64,
    /// What the load of the last seconds surely is: the highest lower bound over several short
    /// windows.
    pub burst: f64,
    /// The load expected when a replica that is started now would be ready.
    pub forecast: f64,
    /// What clearing the present queue adds to the load.
    pub backlog: f64,
    /// The highest load within the last `hold_ms`; scaling down follows it.
    pub held: f64,
    /// How long a load is remembered before replicas are stopped, in milliseconds.
    pub hold_ms: u64,
    /// One more than the highest number that turned out to be too low for such a load within the
    /// last hour; the number in force, until the load has been watched for `hold_ms`.
    pub tried_floor: u32,
    /// Replicas that the arrivals of the stable window keep busy without a pause, at the largest
    /// learned throughput; 0 if unknown.
    pub busy_replicas: f64,
    /// The load that one replica should carry; above 0.
    pub target: f64,
    /// Where it comes from.
    pub target_source: TargetSource,
    /// The number of replicas in force: the target of the last decision.
    pub current: u32,
    /// Replicas that serve.
    pub ready: u32,
    /// Replicas that start.
    pub starting: u32,
    /// Replicas that finish their work and then stop.
    pub draining: u32,
    /// Requests that wait.
    pub queued: u64,
    /// Requests that a replica works on.
    pub in_flight: u64,
    /// Replicas that the waiting and running requests fill with full batches.
    pub in_flight_floor: u32,
    /// How long a replica takes to become ready, as learned, in milliseconds.
    pub startup_ms: u64,
    /// Replicas that always run.
    pub min: u32,
    /// The most replicas.
    pub max: u32,
    /// The most that the machine's budget leaves to this placement; absent if it is not short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<u32>,
    /// Time since the last request was in the system, in milliseconds.
    pub idle_ms: u64,
    /// Idle time after which no replica is kept beyond `min`, in milliseconds.
    pub idle_ms_max: u64,
    /// Age of the newest report, in milliseconds; absent if there was none.
    pub data_age_ms: Option<u64>,
    /// The reports are absent or too old to act on. That is not the same as no load.
    pub no_data: bool,
}

/// What a decision was made by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScaleRule {
    /// The mean load asks for it.
    Stable,
    /// The last seconds ask for it.
    Burst,
    /// The trend asks for it by the time that a replica is ready.
    Forecast,
    /// The queue asks for it.
    Backlog,
    /// There was no replica, and a request waits.
    Wake,
    /// No request for so long that no replica is kept.
    Idle,
    /// Fewer would do for the load, but not for the requests in the system.
    InFlight,
    /// Fewer would do, but the manifest asks for at least this.
    Min,
    /// More is wanted, but the manifest or the machine allows no more.
    Max,
    /// More is wanted, but other models need the machine too.
    Budget,
    /// Nothing asks for a change.
    Hold,
    /// Nothing is known of the load, so nothing changes.
    NoData,
}

/// How many replicas there should be, and why.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ScaleDecision {
    /// How many.
    pub target: u32,
    /// By what.
    pub rule: ScaleRule,
    /// How many the load asks for, before limits.
    pub wanted: u32,
    /// The load that this was computed from, in the unit of the inputs.
    pub load: f64,
}

/// A decision with its inputs: the body of an event.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ScaleRecord {
    /// What it rests on.
    pub inputs: ScaleInputs,
    /// What follows from them.
    pub decision: ScaleDecision,
}

impl ScaleRule {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            ScaleRule::Stable => "stable",
            ScaleRule::Burst => "burst",
            ScaleRule::Forecast => "forecast",
            ScaleRule::Backlog => "backlog",
            ScaleRule::Wake => "wake",
            ScaleRule::Idle => "idle",
            ScaleRule::InFlight => "in_flight",
            ScaleRule::Min => "min",
            ScaleRule::Max => "max",
            ScaleRule::Budget => "budget",
            ScaleRule::Hold => "hold",
            ScaleRule::NoData => "no_data",
        }
    }
}

impl std::fmt::Display for ScaleRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::fmt::Display for ScaleRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (inputs, decision) = (&self.inputs, &self.decision);
        let unit = match inputs.measure {
            LoadMeasure::InFlight => " in flight",
            LoadMeasure::PerSecond => "/s",
        };
        write!(f, "{} → {}: ", inputs.current, decision.target)?;
        match decision.rule {
            ScaleRule::Wake => write!(f, "{} waiting, ", inputs.queued)?,
            ScaleRule::Idle => write!(f, "idle for {} s, ", inputs.idle_ms / 1_000)?,
            ScaleRule::NoData => write!(f, "no reports, ")?,
            _ => {
                write!(f, "load {}{unit}, target {}, ", short(decision.load), short(inputs.target))?
            }
        }
        write!(
            f,
            "start-up {} s (rule: {})",
            short(inputs.startup_ms as f64 / 1_000.0),
            decision.rule
        )
    }
}

/// Three digits at most where there are that many before the point, else two.
fn short(number: f64) -> String {
    if number >= 100.0 || number.fract() == 0.0 {
        format!("{number:.0}")
    } else if number >= 10.0 {
        format!("{number:.1}")
    } else {
        format!("{}", (number * 100.0).round() / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs() -> ScaleInputs {
        ScaleInputs {
            measure: LoadMeasure::InFlight,
            stable: 20.0,
            burst: 61.0,
            forecast: 20.0,
            backlog: 0.0,
            held: 61.0,
            hold_ms: 30_000,
            tried_floor: 0,
            busy_replicas: 0.0,
            target: 16.27,
            target_source: TargetSource::TargetConcurrency,
            current: 1,
            ready: 1,
            starting: 0,
            draining: 0,
            queued: 45,
            in_flight: 16,
            in_flight_floor: 4,
            startup_ms: 1_900,
            min: 0,
            max: 8,
            budget: None,
            idle_ms: 0,
            idle_ms_max: 300_000,
            data_age_ms: Some(100),
            no_data: false,
        }
    }

    #[test]
    fn one_line_for_a_human() {
        let mut record = ScaleRecord {
            inputs: inputs(),
            decision: ScaleDecision { target: 4, rule: ScaleRule::Burst, wanted: 4, load: 61.0 },
        };
        assert_eq!(
            record.to_string(),
            "1 → 4: load 61 in flight, target 16.3, start-up 1.9 s (rule: burst)"
        );
        record.inputs.measure = LoadMeasure::PerSecond;
        record.inputs.target = 0.7;
        record.decision.load = 123.4;
        assert_eq!(
            record.to_string(),
            "1 → 4: load 123/s, target 0.7, start-up 1.9 s (rule: burst)"
        );
        record.inputs.current = 0;
        record.decision = ScaleDecision { target: 1, rule: ScaleRule::Wake, wanted: 1, load: 0.0 };
        assert_eq!(record.to_string(), "0 → 1: 45 waiting, start-up 1.9 s (rule: wake)");
        record.inputs.current = 1;
        record.inputs.idle_ms = 300_100;
        record.decision = ScaleDecision { target: 0, rule: ScaleRule::Idle, wanted: 0, load: 0.0 };
        assert_eq!(record.to_string(), "1 → 0: idle for 300 s, start-up 1.9 s (rule: idle)");
    }

    #[test]
    fn json_and_back() {
        let record = ScaleRecord {
            inputs: inputs(),
            decision: ScaleDecision { target: 4, rule: ScaleRule::InFlight, wanted: 4, load: 61.0 },
        };
        let json = serde_json::to_string(&record).unwrap();
        assert!(
            json.contains(r#""rule":"in_flight""#)
                && json.contains(r#""target_source":"target_concurrency""#),
            "{json}"
        );
        assert!(!json.contains("budget"), "{json}");
        assert_eq!(serde_json::from_str::<ScaleRecord>(&json).unwrap(), record);
    }

    #[test]
    fn names_are_those_of_json() {
        for rule in [
            ScaleRule::Stable,
            ScaleRule::Burst,
            ScaleRule::Forecast,
            ScaleRule::Backlog,
            ScaleRule::Wake,
            ScaleRule::Idle,
        ]
        .into_iter()
        .chain([
            ScaleRule::InFlight,
            ScaleRule::Min,
            ScaleRule::Max,
            ScaleRule::Budget,
            ScaleRule::Hold,
            ScaleRule::NoData,
        ]) {
            assert_eq!(serde_json::to_string(&rule).unwrap(), format!("\"{rule}\""));
        }
    }
}
