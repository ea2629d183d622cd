//! OpenTelemetry in `decalog up`: what its options and variables say, and what is sent.

use std::sync::Arc;

use domain::{Code, Problem};
use gateway::Gateway;
use monitor::Monitor;
use telemetry::{Config, Endpoint, Exporter, pairs};

use crate::args::{OtlpOptions, RecordOptions};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
const SERVICE: &str = "OTEL_SERVICE_NAME";
const DISABLED: &str = "OTEL_SDK_DISABLED";
/// The protocol that is spoken.
const SPOKEN: &str = "http/protobuf";

/// What is to be sent, and where.
#[derive(Debug)]
pub struct Wanted {
    endpoint: Endpoint,
    headers: Vec<(String, String)>,
    resource: Vec<(String, String)>,
    share: f64,
    every_s: u64,
    queue_bytes_max: usize,
}

/// A variable that says something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// By the options, or the variables that OpenTelemetry has for it; `None` if nothing is to be sent.
/// `variable` reads one of these.
pub fn wanted(
    options: &OtlpOptions,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Wanted>, Problem> {
    let refused = |what: &str, why: String| Problem::new(Code::BadOption, format!("{what}: {why}"));
    if !(0.0..=1.0).contains(&options.otlp_sample) {
        return Err(refused("--otlp-sample", "it is a share, from 0 to 1".into()));
    }
    let is_off = variable(DISABLED).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let (address, what) = match (&options.otlp, variable(ENDPOINT)) {
        (Some(address), _) => (address.clone(), "--otlp"),
        (None, Some(_)) if is_off => return Ok(None),
        (None, Some(address)) => (address, ENDPOINT),
        (None, None) => return Ok(None),
    };
    let protocol = variable(PROTOCOL).unwrap_or_else(|| SPOKEN.into());
    if options.otlp.is_none() && protocol != SPOKEN {
        tracing::warn!("nothing is sent to {ENDPOINT}: {PROTOCOL} is not {SPOKEN}");
        return Ok(None);
    }
    let endpoint: Endpoint = address.parse().map_err(|why| {
        refused(what, why).help("name a collector's address for HTTP, as http://localhost:4318")
    })?;
    let list = |name: &str| {
        pairs(&variable(name).unwrap_or_default()).map_err(|why| {
            refused(name, why).help("write it as NAME=VALUE,NAME=VALUE, percent-encoded")
        })
    };
    let headers = list(HEADERS)?;
    let mut resource: Vec<(String, String)> = vec![
        ("service.name".into(), "decalog".into()),
        ("service.version".into(), env!("CARGO_PKG_VERSION").into()),
        ("process.pid".into(), std::process::id().to_string()),
    ];
    let named = variable(SERVICE).map(|name| ("service.name".to_string(), name));
    for (name, value) in list(ATTRIBUTES)?.into_iter().chain(named) {
        resource.retain(|(known, _)| *known != name);
        resource.push((name, value));
    }
    Ok(Some(Wanted {
        endpoint,
        headers,
        resource,
        share: options.otlp_sample,
        every_s: options.otlp_metrics_every,
        queue_bytes_max: options.otlp_queue_bytes,
    }))
}

/// Starts to send, if anything is to be sent. `url` is where callers find this server.
pub fn start(
    options: &OtlpOptions,
    records: &RecordOptions,
    gateway: &Arc<Gateway>,
    monitor: &Arc<Monitor>,
    url: &str,
) -> Result<Option<Arc<Exporter>>, Problem> {
    let Some(wanted) = wanted(options, variable)? else { return Ok(None) };
    if records.records_per_s == 0 {
        tracing::warn!("no traces are sent: they are made of records, and --records-per-s is 0");
    }
    let config = Config {
        endpoint: wanted.endpoint,
        headers: wanted.headers,
        resource: wanted.resource,
        url: url.into(),
        authorities: identity::system_authorities(),
        queue_bytes_max: wanted.queue_bytes_max,
        metrics_every_ms: wanted.every_s.saturating_mul(1_000),
        sent: monitor.counter("decalog_otlp_spans_sent", "Spans that the collector took"),
        dropped: monitor.counter(
            "decalog_otlp_spans_dropped",
            "Spans that were dropped for want of room, or as the collector did not take them",
        ),
    };
    let exporter = Exporter::start(config).map_err(|error| {
        Problem::new(Code::Failed, format!("starting the thread of telemetry: {error}"))
    })?;
    gateway.trace(wanted.share);
    Ok(Some(Arc::new(exporter)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(otlp: Option<&str>, share: f64) -> OtlpOptions {
        OtlpOptions {
            otlp: otlp.map(str::to_string),
            otlp_sample: share,
            otlp_metrics_every: 60,
            otlp_queue_bytes: 1_000,
        }
    }

    fn of(otlp: Option<&str>, variables: &[(&str, &str)]) -> Result<Option<Wanted>, Problem> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.to_string())
        };
        wanted(&options(otlp, 1.0), variable)
    }

    #[test]
    fn options_go_before_variables_and_without_both_nothing_is_sent() {
        assert!(of(None, &[]).unwrap().is_none());
        let both = of(Some("http://a:1"), &[(ENDPOINT, "http://b:1"), (DISABLED, "true")]);
        assert_eq!(both.unwrap().unwrap().endpoint.host(), "http://a:1");
        assert!(of(None, &[(ENDPOINT, "http://b:1"), (DISABLED, "TRUE")]).unwrap().is_none());
        assert!(of(None, &[(ENDPOINT, "http://b:1"), (PROTOCOL, "grpc")]).unwrap().is_none());
        let named = [
            (ENDPOINT, "https://b"),
            (HEADERS, "api-key=s%20t"),
            (ATTRIBUTES, "service.name=x,team=ml"),
            (SERVICE, "churn"),
        ];
        let wanted = of(None, &named).unwrap().unwrap();
        assert_eq!(wanted.headers, [("api-key".to_string(), "s t".to_string())]);
        let names: Vec<_> =
            wanted.resource.iter().filter(|(name, _)| name == "service.name").collect();
        assert_eq!(names, [&("service.name".to_string(), "churn".to_string())]);
        assert!(wanted.resource.contains(&("team".into(), "ml".into())));
    }

    #[test]
    fn what_is_wrong_is_named_without_its_value() {
        for problem in [
            of(Some("secret"), &[]).unwrap_err(),
            of(Some("http://a"), &[(HEADERS, "secret")]).unwrap_err(),
            of(Some("http://a"), &[(ATTRIBUTES, "=secret")]).unwrap_err(),
            wanted(&options(None, 1.5), |_| None).unwrap_err(),
        ] {
            assert!(!problem.message.contains("secret"), "{problem:?}");
        }
    }
}
