//! Alarms: what one says, whom it is about, and how it changes. When one opens, changes and
//! resolves is decided in the crate `policy`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{EnvironmentName, ModelKey, Placement, VersionNumber};

/// What an alarm is about. Each kind of each model has an own budget of false alarms.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum AlarmKind {
    /// The distribution of an input column changed.
    Inputs,
    /// The distribution of an output column changed.
    Outputs,
    /// More values are missing.
    Missing,
    /// More values are in no category of the reference.
    Unseen,
    /// More values are below the least or above the greatest of the reference.
    OutOfRange,
    /// Outputs changed in a slice: the rows that have one value in one column.
    Slices,
    /// More requests fail.
    Errors,
    /// Requests are much slower than the slowest hundredth of the reference.
    Latency,
    /// The 99th percentile of a version rose above its own past.
    TailLatency,
    /// Workers end again and again.
    CrashLoop,
    /// A queue grows and grows.
    QueueGrowth,
    /// The disk fills up.
    Disk,
    /// Records of requests are lost.
    RecordsLost,
    /// Estimated quality left the interval of the reference; no truth is known yet.
    EstimatedQuality,
    /// Quality fell, by the truth.
    Quality,
    /// The error budget of availability is spent too fast.
    SloAvailability,
    /// The error budget of latency is spent too fast.
    SloLatency,
    /// The error budget of complete records is spent too fast.
    SloRecords,
    /// A rule that the user wrote.
    Rule,
}

impl AlarmKind {
    /// As it is written in JSON and on the command line.
    pub fn label(self) -> &'static str {
        match self {
            AlarmKind::Inputs => "inputs",
            AlarmKind::Outputs => "outputs",
            AlarmKind::Missing => "missing",
            AlarmKind::Unseen => "unseen",
            AlarmKind::OutOfRange => "out_of_range",
            AlarmKind::Slices => "slices",
            AlarmKind::Errors => "errors",
            AlarmKind::Latency => "latency",
            AlarmKind::TailLatency => "tail_latency",
            AlarmKind::CrashLoop => "crash_loop",
            AlarmKind::QueueGrowth => "queue_growth",
            AlarmKind::Disk => "disk",
            AlarmKind::RecordsLost => "records_lost",
            AlarmKind::EstimatedQuality => "estimated_quality",
            AlarmKind::Quality => "quality",
            AlarmKind::SloAvailability => "slo_availability",
            AlarmKind::SloLatency => "slo_latency",
            AlarmKind::SloRecords => "slo_records",
            AlarmKind::Rule => "rule",
        }
    }
}

impl fmt::Display for AlarmKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// How soon somebody should look.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something changed; whether it harms is not known. Wakes nobody.
    Notice,
    /// Harm is likely, or near. During working hours.
    Warning,
    /// Harm is done. Now.
    Alert,
}

/// What is watched: a model in an environment.
#[derive(
    Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
pub struct Target {
    /// The model.
    pub model: ModelKey,
    /// Where.
    pub environment: EnvironmentName,
}

impl Target {
    /// Of a placement.
    pub fn of(placement: &Placement) -> Target {
        Target { model: placement.model.clone(), environment: placement.environment.clone() }
    }

    /// A command about it, as one writes it: `decalog drift payments/fraud@staging`.
    pub fn command(&self, verb: &str) -> String {
        let (model, environment) = (self.name(), &self.environment);
        match verb {
            _ if *environment == EnvironmentName::default() => format!("decalog {verb} {model}"),
            "diff" | "drift" | "slo" | "why" => format!("decalog {verb} {model}@{environment}"),
            "quality" | "rollback" | "release" => {
                format!("decalog {verb} {model} --env {environment}")
            }
            // It tells of all environments.
            _ => format!("decalog {verb} {model}"),
        }
    }

    /// A command about one of its versions: `decalog release churn@v4 --env staging`.
    pub fn version_command(&self, verb: &str, version: &str) -> String {
        let command = format!("decalog {verb} {}@{version}", self.name());
        match self.environment == EnvironmentName::default() {
            true => command,
            false => format!("{command} --env {}", self.environment),
        }
    }

    /// The model, with its project unless that is `default`.
    fn name(&self) -> String {
        match self.model.project == crate::ProjectName::default() {
            true => self.model.model.to_string(),
            false => self.model.to_string(),
        }
    }

    /// The alarm of a kind.
    pub fn key(&self, kind: AlarmKind) -> AlarmKey {
        AlarmKey { target: Some(self.clone()), kind, subject: String::new() }
    }
}

/// A text as a shell takes it for one word.
pub fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-.:/@%+,".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_string(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// `churn in production`; the project is said unless it is `default`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Target { model, environment } = self;
        match model.project == crate::ProjectName::default() {
            true => write!(f, "{} in {environment}", model.model),
            false => write!(f, "{model} in {environment}"),
        }
    }
}

/// What an alarm is about, for as long as it is the same alarm.
#[derive(
    Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
pub struct AlarmKey {
    /// Of which model, and where; none if it is of the platform itself.
    #[serde(flatten)]
    pub target: Option<Target>,
    /// What kind.
    pub kind: AlarmKind,
    /// Of which one, where a model has several: a replica, a slice, a rule. Empty for the whole;
    /// the columns of a drift are in `columns`, because they change while it lasts.
    #[serde(default)]
    pub subject: String,
}

impl AlarmKey {
    /// An alarm of the platform itself.
    pub fn platform(kind: AlarmKind) -> AlarmKey {
        AlarmKey { target: None, kind, subject: String::new() }
    }

    /// Of which model, if it is of one.
    pub fn model(&self) -> Option<&ModelKey> {
        self.target.as_ref().map(|target| &target.model)
    }

    /// In which environment, if it is of a model.
    pub fn environment(&self) -> Option<&EnvironmentName> {
        self.target.as_ref().map(|target| &target.environment)
    }

    /// What it is of, for people: `churn in production`, or `the platform`.
    pub fn whose(&self) -> String {
        self.target.as_ref().map_or("the platform".into(), Target::to_string)
    }
}

/// How sure an alarm is.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Confidence {
    /// By evidence that may be looked at all the time.
    Evidence {
        /// The value of the e-detector. It rises by 1 a unit of time at most while nothing changed.
        value: f64,
        /// It alarms from here on: the mean number of units between two false alarms.
        threshold: f64,
    },
    /// By an e-process: by Ville's inequality a true hypothesis ever reaches `value` with
    /// probability `1 / value` at most.
    EValue {
        /// The largest so far.
        value: f64,
    },
    /// By a test: this likely if nothing had changed.
    PValue {
        /// From 0 to 1.
        p: f64,
    },
    /// A level that was measured, not estimated: it is so.
    Measured,
    /// The reference is not yet good enough for a promise.
    WarnsOnly,
}

/// What is known about what an alarm is about, at one time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Which version, if it is about one.
    pub version: Option<VersionNumber>,
    /// How soon somebody should look.
    pub severity: Severity,
    /// One sentence, with numbers.
    pub what: String,
    /// Since when it is so by the best estimate, in milliseconds since 1970.
    pub since_ms: u64,
    /// How sure.
    pub confidence: Confidence,
    /// How large the effect is, in a unit of the kind (a share, a factor): what grows by half is
    /// told again.
    pub size: f64,
    /// The columns that are to blame, the surest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// The command to run next, such as `decalog drift churn --column age`.
    pub next: String,
}

/// Where an alarm stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlarmStatus {
    /// It is so.
    Open,
    /// It is over.
    Resolved,
}

/// One alarm, from its opening to its end.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Alarm {
    /// The same for its whole life: twelve hexadecimal digits of what it is about and when it
    /// opened.
    pub id: String,
    /// What it is about.
    #[serde(flatten)]
    pub key: AlarmKey,
    /// What is known.
    #[serde(flatten)]
    pub finding: Finding,
    /// Open or resolved.
    pub status: AlarmStatus,
    /// In milliseconds since 1970, as all times.
    pub opened_at_ms: u64,
    /// When it was last told.
    pub updated_at_ms: u64,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_at_ms: Option<u64>,
    /// How often it went quiet and came back.
    #[serde(default)]
    pub flaps: u32,
}

impl Alarm {
    /// The identifier of what opened then.
    pub fn id_of(key: &AlarmKey, opened_at_ms: u64) -> String {
        let mut hasher = crate::digest::Hasher::new();
        let target = key.target.as_ref().map_or(["", "", ""], |Target { model, environment }| {
            [model.project.as_str(), model.model.as_str(), environment.as_str()]
        });
        for field in target.into_iter().chain([key.kind.label(), &key.subject]) {
            hasher.field(field.as_bytes());
        }
        hasher.field(&opened_at_ms.to_le_bytes());
        let digest: Digest = hasher.finish();
        digest.short()
    }
}

/// How an alarm changed. Each is told once.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AlarmChange {
    /// What happened to it.
    pub change: AlarmStep,
    /// The alarm after it.
    pub alarm: Alarm,
    /// Whether a silence covers it: it is kept and shown, and sent to nobody.
    pub silenced: bool,
}

/// A step in the life of an alarm.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlarmStep {
    /// Once.
    Opened,
    /// Its severity rose, or what is known changed a good deal.
    Updated,
    /// Once.
    Resolved,
    /// A silence ended under which it had opened or risen: it is told now.
    Unsilenced,
}

/// For whom nobody is told, and until when. What is `None` fits everything.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Silence {
    /// The alarm with this identifier, or whose identifier begins so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<String>,
    /// Of this model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelKey>,
    /// In this environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    /// Of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<AlarmKind>,
    /// About this subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Its end, in milliseconds since 1970.
    pub until_ms: u64,
    /// Why, as whoever silenced it wrote.
    #[serde(default)]
    pub reason: String,
    /// Who silenced it.
    #[serde(default)]
    pub by: String,
}

impl Silence {
    /// Whether it covers this alarm at this time.
    pub fn covers(&self, alarm: &Alarm, now_ms: u64) -> bool {
        fn fits<T: PartialEq>(wanted: &Option<T>, actual: Option<&T>) -> bool {
            wanted.as_ref().is_none_or(|wanted| Some(wanted) == actual)
        }
        let key = &alarm.key;
        now_ms < self.until_ms
            && self.alarm.as_ref().is_none_or(|id| !id.is_empty() && alarm.id.starts_with(id))
            && fits(&self.model, key.model())
            && fits(&self.environment, key.environment())
            && fits(&self.kind, Some(&key.kind))
            && fits(&self.subject, Some(&key.subject))
    }
}
