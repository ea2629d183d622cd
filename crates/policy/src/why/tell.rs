//! What was found, in words: a sentence for each cause and for what is none, and the command that
//! comes next. Times are left to whoever tells: they are in the reader's zone.

use domain::alarm::{Target, quoted};

use super::answer::{
    Answer, Cause, CauseKind, Evidence, Level, Next, Outcome, Reference, RuledOut, Unit, WhyNot,
};
use super::input::{EventKind, SeriesKind};
use super::metric::Metric;

/// More than so many times as much as before is told as nothing before.
const TIMES_MAX: f64 = 1e6;

/// What is known of a model, to name commands.
pub struct Telling<'a> {
    /// Of which model, where.
    pub target: &'a Target,
    /// Where `decalog rollback` leads, as versions are named.
    pub rollback_to: Option<String>,
    /// The principal that a caller's name stands for.
    pub principal_of: &'a dyn Fn(&str) -> String,
}

/// A number as people read it.
pub fn figure(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Milliseconds => match value {
            10_000.0.. => format!("{:.0} s", value / 1_000.0),
            1_000.0.. => format!("{:.1} s", value / 1_000.0),
            10.0.. => format!("{value:.0} ms"),
            _ => format!("{value:.2} ms"),
        },
        Unit::Share => match value.abs() * 100.0 {
            0.0 => "0%".into(),
            percent if percent < 0.095 => format!("{:.2}%", value * 100.0),
            percent if percent < 9.95 => format!("{:.1}%", value * 100.0),
            _ => format!("{:.0}%", value * 100.0),
        },
        Unit::Count | Unit::PerSecond => match value {
            v if v.fract() == 0.0 => format!("{v:.0}"),
            10.0.. => format!("{value:.0}"),
            _ => format!("{value:.2}"),
        },
        Unit::Bytes => format!("{:.0} MB", value / 1e6),
    }
}

/// The metric before and after: `p99 rose from 11 ms to 52 s`; what was found if nothing was.
pub fn headline(answer: &Answer) -> String {
    match (answer.outcome, &answer.before, &answer.after) {
        (Outcome::Explained, Some(before), Some(after)) => moved(answer, before, after),
        (Outcome::TooLittle, None, _) => {
            "there are too few requests to tell: it takes about half an hour of them".into()
        }
        (Outcome::TooLittle, ..) => {
            "there is too little before it to compare with: nothing is told".into()
        }
        _ => format!("nothing beyond noise in {}", answer.metric),
    }
}

fn moved(answer: &Answer, before: &Level, after: &Level) -> String {
    if answer.metric == Metric::Latency {
        let pairs = [("p99", before.p99_ms, after.p99_ms), ("p50", before.p50_ms, after.p50_ms)];
        let by = |(_, one, other): &(&str, Option<f64>, Option<f64>)| {
            let (Some(one), Some(other)) = (one, other) else { return 0.0 };
            (other.max(1e-3) / one.max(1e-3)).ln().abs()
        };
        // The 99th percentile, unless it is the median that tells.
        let [p99, p50] = pairs;
        let (name, one, other) = if by(&p50) > 2.0 * by(&p99) { p50 } else { p99 };
        if let (Some(one), Some(other)) = (one, other) {
            return changed(name, one, other, Unit::Milliseconds);
        }
    }
    let name = match (answer.metric, answer.measure.strip_prefix("output in ")) {
        (Metric::Errors, _) => "requests that fail".into(),
        (Metric::Accuracy, _) => "the mean loss".into(),
        (Metric::Latency, _) => format!("requests that are {}", answer.measure),
        (Metric::Drift, Some(bin)) => format!("answers in {bin}"),
        (Metric::Drift, None) => format!("rows where {}", answer.measure),
    };
    changed(&name, before.share, after.share, Unit::Share)
}

fn changed(name: &str, before: f64, after: f64, unit: Unit) -> String {
    let verb = if after >= before { "rose" } else { "fell" };
    format!("{name} {verb} from {} to {}", figure(before, unit), figure(after, unit))
}

/// What a cause is, in a few words.
pub fn title(kind: CauseKind, of: &Reference, metric: Metric) -> String {
    let name = &of.name;
    let value = of.value.as_deref().unwrap_or_default();
    match kind {
        CauseKind::Version => match metric {
            Metric::Latency | Metric::Errors => format!("{name} is slower"),
            Metric::Accuracy => format!("{name} is wrong more often"),
            Metric::Drift => format!("{name} answers otherwise"),
        },
        CauseKind::FailingVersion => format!("{name} fails"),
        CauseKind::Replica => format!("replica {name} is unlike the others of its version"),
        CauseKind::Caller => format!("the requests of {name} changed"),
        CauseKind::Column => format!("more rows have {name} = {value}"),
        CauseKind::Slice => format!("rows with {name} = {value} fare worse"),
        CauseKind::Cpu => "processors were short".into(),
        CauseKind::ColdStarts => "replicas started again and again".into(),
        CauseKind::Replicas => "there are fewer replicas".into(),
        CauseKind::Configuration => "the configuration was changed".into(),
        CauseKind::Dependency if metric == Metric::Errors => {
            "all fail alike, and nothing here was changed: what the model calls, or its data".into()
        }
        CauseKind::Dependency => {
            "all take longer at the model, and nothing here was changed: what it calls, or its data"
                .into()
        }
        CauseKind::Load if name.is_empty() => "there are more requests".into(),
        CauseKind::Load => format!("there are more requests: {name}"),
        CauseKind::Queue => "requests wait".into(),
        CauseKind::Concept if !value.is_empty() => {
            format!("what is true became another where {name} = {value}")
        }
        CauseKind::Concept => "what is true became another, for the same inputs".into(),
        CauseKind::Unknown => "none of what is known accounts for it".into(),
    }
}

/// What happened, by whom: `release by ann`; nothing if no event is known.
pub fn event(of: &Reference) -> Option<String> {
    let happened = match of.happened? {
        EventKind::ReleaseStarted => "a release began",
        EventKind::ReleaseStep => "a release went on",
        EventKind::ReleaseFinished => "released",
        EventKind::Rollback => "rolled back",
        EventKind::Configuration => "configured",
        EventKind::Environment => "packages or the machine changed",
        EventKind::Scaled => "scaled",
        EventKind::ReplicaFailed => "a replica failed",
        EventKind::ReplicaStarted => "a replica started",
        EventKind::Reference => "a name was given to another",
        EventKind::Token => "a token was changed",
    };
    // What Decalog does by itself needs no name.
    match of.actor.as_deref().filter(|actor| !actor.is_empty() && *actor != "decalog") {
        Some(actor) => Some(format!("{happened} by {actor}")),
        None => Some(happened.into()),
    }
}

/// The numbers of a cause, in words.
pub fn detail(cause: &Cause, metric: Metric) -> String {
    let measure = &cause.measure;
    let find = |name: &str| cause.evidence.iter().find(|evidence| evidence.name == name);
    let mut parts = vec![];
    if let Some(own) = find("share") {
        let is_group = find("rest").is_some() || find("traffic").is_some();
        let share = figure(own.after, Unit::Share);
        let whose = match metric {
            Metric::Accuracy => format!("mean loss {share}"),
            Metric::Drift => format!("{share} of {}", if is_group { "its rows" } else { "rows" }),
            Metric::Latency | Metric::Errors => {
                format!(
                    "{share} of {} {measure}",
                    if is_group { "its requests" } else { "requests" }
                )
            }
        };
        let compared = match (find("rest"), own.before) {
            (Some(rest), _) => format!(", {} of the others", figure(rest.after, Unit::Share)),
            (None, Some(before)) => format!(", {} before", figure(before, Unit::Share)),
            (None, None) => String::new(),
        };
        parts.push(format!("{whose}{compared}"));
    }
    let left_out = ["share", "rest", "without", "rate", "mix", "p99_rest"];
    let shown = cause.evidence.iter();
    let shown = shown.filter(|evidence| !left_out.contains(&evidence.name.as_str()));
    parts.extend(shown.map(said));
    parts.join("; ")
}

fn said(evidence: &Evidence) -> String {
    let name = match evidence.name.as_str() {
        "traffic" => "its part of the requests",
        "wait" => "the wait",
        "queue_depth" => "the queue",
        "worker" => "the time at the model",
        "starting" => "replicas that start",
        "pressure" => "time in which something waited for a processor",
        "throttled" => "time in which the limit on processors held it up",
        other => other,
    };
    match evidence.before {
        Some(before) => format!(
            "{name} {} → {}",
            figure(before, evidence.unit),
            figure(evidence.after, evidence.unit)
        ),
        None => format!("{name} {}", figure(evidence.after, evidence.unit)),
    }
}

/// What was ruled out, and why, in words.
pub fn ruled_out(out: &RuledOut, metric: Metric) -> String {
    let is_event = matches!(out.why, WhyNot::Accounted { .. });
    let what = match (&out.series, event(&out.reference)) {
        (Some(series), _) => series_name(*series).to_string(),
        (None, Some(event)) if out.reference.name.is_empty() => event,
        (None, Some(event)) if is_event => format!("{}: {event}", out.reference.name),
        (None, _) if out.kind == CauseKind::Load && out.reference.name.is_empty() => {
            "traffic".into()
        }
        (None, _) => subject(out.kind, &out.reference, metric),
    };
    let why = match out.why {
        WhyNot::TooSmall { share } => {
            format!("accounts for {} only", figure(share, Unit::Share))
        }
        WhyNot::LikeNoise { .. } => "as much is seen when nothing happens".into(),
        WhyNot::SameRequests { cause } => format!("the same requests as {cause}"),
        WhyNot::WellBefore { for_ms, .. } => {
            format!("did well for {} s before", (for_ms as f64 / 1_000.0).round())
        }
        WhyNot::DidNotMove { times } if times > TIMES_MAX => "few, none before".into(),
        WhyNot::DidNotMove { times } => format!("× {times:.2}"),
        WhyNot::Accounted { cause } => format!("{cause} accounts for it"),
    };
    format!("{what} ({why})")
}

fn subject(kind: CauseKind, of: &Reference, metric: Metric) -> String {
    match kind {
        CauseKind::Version | CauseKind::FailingVersion => of.name.clone(),
        CauseKind::Replica => format!("replica {}", of.name),
        CauseKind::Caller => format!("caller {}", of.name),
        CauseKind::Column | CauseKind::Slice | CauseKind::Concept if !of.name.is_empty() => {
            format!("{} = {}", of.name, of.value.as_deref().unwrap_or_default())
        }
        CauseKind::Load => of.name.clone(),
        _ => title(kind, of, metric),
    }
}

fn series_name(series: SeriesKind) -> &'static str {
    match series {
        SeriesKind::QueueDepth => "the queue",
        SeriesKind::CpuPressure => "pressure on processors",
        SeriesKind::CpuThrottled => "the limit on processors",
        SeriesKind::Starting => "starts of replicas",
        SeriesKind::Restarts => "replicas that ended",
        SeriesKind::Replicas => "the number of replicas",
        SeriesKind::Memory => "memory",
    }
}

/// The command that comes next, and what it is for.
pub fn next(next: &Next, telling: &Telling<'_>) -> (String, String) {
    let target = telling.target;
    let command = |verb: &str| target.command(verb);
    match next {
        Next::RollBack { to } if telling.rollback_to.as_ref() == Some(to) => {
            (command("rollback"), format!("back to {to}"))
        }
        Next::RollBack { to } => {
            (target.version_command("release", to), format!("release {to} again"))
        }
        Next::LookAtReplica { replica } => {
            (command("logs"), format!("what replica {replica} wrote"))
        }
        Next::LookAtCaller { caller } => {
            let principal = (telling.principal_of)(caller).replace('\'', "''");
            let condition = format!("principal = '{principal}'");
            let is_plain = !condition.contains(['"', '$', '`', '\\', '!']);
            let condition = if is_plain { format!("\"{condition}\"") } else { quoted(&condition) };
            let records = command("records");
            (format!("{records} --since 1h --where {condition}"), format!("what {caller} asks"))
        }
        Next::LookAtColumn { column } => (
            format!("{} --column {}", command("drift"), quoted(column)),
            format!("where {column} comes from"),
        ),
        Next::TakeBack { event } => {
            let after = event.split('.').next().and_then(|seq| seq.parse::<u64>().ok());
            let after = after.map_or(0, |seq| seq.saturating_sub(1));
            (
                format!("{} --after {after}", command("events")),
                "see what was changed, and take it back".into(),
            )
        }
        Next::MoreReplicas => {
            (command("show"), "allow more replicas: [scale] max in decalog.toml".into())
        }
        Next::MoreProcessors => {
            (command("events"), "see who took the processors, or give it more".into())
        }
        Next::KeepReplicasReady => {
            (command("logs"), "see why replicas end; [scale] min keeps some ready".into())
        }
        Next::LookAtDependencies => (command("logs"), "see what the model calls".into()),
        Next::TrainAgain => (command("quality"), "train again with recent truth".into()),
        Next::LookAtRecords => {
            (format!("{} --since 1h", command("records")), "look at the requests".into())
        }
    }
}
