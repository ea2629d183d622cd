//! What a scrape of `/metrics` gets: requests and placements as the monitor counts them, and what
//! else whoever runs the platform wants to see in a graph.

mod process;
mod quality;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use domain::alarm::{Alarm, AlarmKind, Severity, Target};
use domain::{EnvironmentName, ModelKey};
use http::header::{ACCEPT, CONTENT_TYPE, VARY};
use http::request::Parts;
use monitor::Scrape;
use monitor::exposition::{Family, Format, Kind, Label, TEXT_TYPES, Value, encode};

use crate::describe::{Input, Operation, Output};
use crate::{Api, ApiError};
pub use quality::Recent;

/// Series of open alarms; the most severe come first.
const ALARM_SERIES_MAX: usize = 2_000;
/// Series of objectives.
const OBJECTIVE_SERIES_MAX: usize = 3_000;

/// The format that a scrape wants.
pub struct Accepted(pub Format);

impl<S: Send + Sync> FromRequestParts<S> for Accepted {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Accepted, ApiError> {
        let values = parts.headers.get_all(ACCEPT).iter();
        let accept: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
        Ok(Accepted(Format::of(&accept.join(","))))
    }
}

impl Input for Accepted {
    fn describe(_: &mut Operation) {}
}

/// Metrics in a format.
pub struct Metrics(Format, Vec<u8>);

impl IntoResponse for Metrics {
    fn into_response(self) -> Response {
        let Metrics(format, bytes) = self;
        ([(CONTENT_TYPE, format.content_type()), (VARY, "accept")], bytes).into_response()
    }
}

impl Output for Metrics {
    fn describe(operation: &mut Operation) {
        for (text, name) in TEXT_TYPES.into_iter().zip(["0.0.4", "OpenMetrics 1.0"]) {
            operation.answers(text, &format!("Metrics in the text format {name}"));
        }
        let messages = "Metrics as messages of `io.prometheus.client.MetricFamily`, each with its length before it; with native histograms";
        operation.answers(Format::Protobuf.content_type(), messages);
    }
}

/// All metrics as of now.
pub fn scrape(api: &Api, format: Format, now_ms: u64) -> Metrics {
    Metrics(format, encode(&families(api, now_ms), format, now_ms))
}

/// The same as text in the format of OpenMetrics, for what sends them elsewhere.
pub fn metrics_text(api: &Api, now_ms: u64) -> String {
    let text = encode(&families(api, now_ms), Format::OpenMetrics, now_ms);
    String::from_utf8(text).unwrap_or_default()
}

fn families(api: &Api, now_ms: u64) -> Vec<Family> {
    let of_requests = Scrape {
        demand: api.gateway.demand(),
        records_dropped: api.gateway.records_dropped(),
        epoch: api.gateway.epoch(),
    };
    let mut families = api.monitor.families(&of_requests, now_ms);
    families.extend(of_alarms(api.alarms.open_alarms()));
    families.push(of_objectives(api, now_ms));
    families.extend(of_receivers(api));
    families.extend(of_records(api));
    if let Some(truth) = &api.truth {
        families.push(truth.recent.family(&truth.quality, now_ms));
    }
    families.extend(of_platform(api));
    families.extend(process::families(api.started_at_ms));
    families
}

fn counter(name: &'static str, help: &'static str) -> Family {
    Family::new(Kind::Counter, name, "", help)
}

fn gauge(name: &'static str, help: &'static str) -> Family {
    Family::new(Kind::Gauge, name, "", help)
}

fn count(number: u64) -> Value {
    Value::Count(number, None)
}

fn of_model(model: &ModelKey, environment: &EnvironmentName) -> Vec<Label> {
    vec![
        ("project", model.project.to_string().into()),
        ("model", model.model.to_string().into()),
        ("environment", environment.to_string().into()),
    ]
}

/// None of the platform itself.
fn of_target(target: Option<&Target>) -> Vec<Label> {
    target.map_or(vec![], |target| of_model(&target.model, &target.environment))
}

fn severity(of: Severity) -> &'static str {
    match of {
        Severity::Notice => "notice",
        Severity::Warning => "warning",
        Severity::Alert => "alert",
    }
}

/// All together, which is there also if there are none; and by model, severity and kind.
fn of_alarms(open: Vec<Alarm>) -> [Family; 2] {
    let mut all = gauge("decalog_alarms", "Alarms that are open, by severity.");
    for of in [Severity::Notice, Severity::Warning, Severity::Alert] {
        let number = open.iter().filter(|alarm| alarm.finding.severity == of).count();
        let label = vec![("severity", severity(of).into())];
        all.push(&Arc::default(), label, count(number as u64));
    }
    let mut numbers: BTreeMap<(_, AlarmKind, Option<Target>), u64> = BTreeMap::new();
    for Alarm { key, finding, .. } in open {
        let severe_first = std::cmp::Reverse(finding.severity);
        let of = (severe_first, key.kind, key.target);
        *numbers.entry(of).or_default() += 1;
    }
    let help = "Alarms that are open, by severity, kind and model; of the platform itself if there is none.";
    let mut family = gauge("decalog_open_alarms", help);
    for ((of, kind, target), number) in numbers.into_iter().take(ALARM_SERIES_MAX) {
        let mut labels = of_target(target.as_ref());
        labels.extend([("severity", severity(of.0).into()), ("kind", kind.label().into())]);
        family.push(&Arc::default(), labels, count(number));
    }
    [all, family]
}

fn of_objectives(api: &Api, now_ms: u64) -> Family {
    let mut family = Family::new(
        Kind::Gauge,
        "decalog_error_budget_left_ratio",
        "ratio",
        "The share of the error budget of 30 days that is left; negative if more was spent than there was.",
    );
    let budgets = api.objectives.budgets(now_ms).into_iter().take(OBJECTIVE_SERIES_MAX);
    for (target, objective, left) in budgets {
        let mut labels = of_target(target.as_ref());
        labels.push(("objective", objective.label().into()));
        family.push(&Arc::default(), labels, Value::Number(left));
    }
    family
}

fn of_receivers(api: &Api) -> [Family; 4] {
    let mut families = [
        counter("decalog_deliveries", "Changes of alarms that a receiver was told."),
        counter("decalog_deliveries_lost", "Changes of alarms that a receiver did not take."),
        gauge("decalog_deliveries_waiting", "Changes of alarms that a receiver is to be told."),
        gauge("decalog_receiver_failing", "Whether a receiver of alarms takes nothing now."),
    ];
    for receiver in api.control.receivers() {
        let status = api.alarms.receiver(&receiver);
        let is_failing = status.failing_since_ms.is_some();
        let numbers = [status.delivered, status.lost, status.waiting, is_failing.into()];
        for (family, number) in families.iter_mut().zip(numbers) {
            let labels = vec![("receiver", receiver.name.to_string().into())];
            family.push(&Arc::default(), labels, count(number));
        }
    }
    families
}

fn of_records(api: &Api) -> Vec<Family> {
    let Some(keeper) = &api.records else { return vec![] };
    let counts = keeper.counts();
    let waiting = Family::new(
        Kind::Gauge,
        "decalog_records_waiting_bytes",
        "bytes",
        "Records in memory that are not written.",
    );
    let kept = counter("decalog_records", "Records that were written.");
    let dropped = counter(
        "decalog_records_dropped",
        "Records that were not written, because requests came faster than they could be.",
    );
    let without_values = counter(
        "decalog_records_without_values",
        "Records that were written without inputs and outputs, for the same reason.",
    );
    let lost = counter(
        "decalog_records_lost",
        "Records that were not written, because the disk took none.",
    );
    vec![
        kept.of(count(counts.kept)),
        dropped.of(count(counts.dropped)),
        without_values.of(count(counts.without_values)),
        lost.of(count(counts.lost)),
        waiting.of(count(counts.waiting_bytes)),
    ]
}

fn of_platform(api: &Api) -> [Family; 2] {
    let mut build = Family::new(Kind::Info, "decalog_build", "", "The program.");
    let version = vec![("version", env!("CARGO_PKG_VERSION").into())];
    build.push(&Arc::default(), version, count(1));
    let read_only = gauge("decalog_read_only", "Whether nothing can be changed now.");
    [build, read_only.of(count(api.control.refusal().is_some().into()))]
}
