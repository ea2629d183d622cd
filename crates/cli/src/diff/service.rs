//! How two versions were in service, in the same time: what the server counts, and how good they
//! were by the truth.

use std::time::{SystemTime, UNIX_EPOCH};

use control::view::VersionView;
use domain::quality::QualityNumber;
use domain::{Code, EnvironmentName};
use monitor::quality::QualityReport;
use policy::paired::{Estimate, share};
use serde::Serialize;
use server::MetricsView;

use crate::Failure;
use crate::client::Client;
use crate::duration::milliseconds;

/// Outputs whose means are compared.
const OUTPUTS_MAX: usize = 10;
const HOUR_MS: u64 = 3_600_000;

/// What one version was like.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Served {
    /// Requests.
    pub requests: u64,
    /// The share of them that failed by the fault of the model or the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<Estimate>,
    /// In milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    /// In milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
    /// The means of outputs.
    pub means: Vec<(String, f64)>,
    /// By the truth.
    pub quality: Vec<QualityNumber>,
}

/// What both were like.
#[derive(Clone, Debug, Serialize)]
pub struct Service {
    /// Over how long.
    pub since: String,
    /// The one before.
    pub before: Served,
    /// The one after.
    pub after: Served,
}

impl Service {
    /// Asks for it. A server that keeps no records knows nothing of it.
    pub fn read(
        client: &Client,
        path: &str,
        environment: &EnvironmentName,
        versions: (&VersionView, &VersionView),
        since: &str,
    ) -> Result<Service, Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let from_ms = (now.as_millis() as u64).saturating_sub(milliseconds(since)?);
        let from_ms = from_ms - from_ms % HOUR_MS;
        let metrics = format!("{path}/metrics?by=all&environment={environment}&from_ms={from_ms}");
        let metrics: Option<MetricsView> = if_kept(client.get(&metrics))?;
        let quality =
            format!("{path}/quality?since_ms={from_ms}&step=all&environment={environment}");
        let quality: Option<QualityReport> = if_kept(client.get(&quality))?;
        let of =
            |version: &VersionView| served(&version.version, metrics.as_ref(), quality.as_ref());
        Ok(Service { since: since.into(), before: of(versions.0), after: of(versions.1) })
    }

    /// Whether one of them served.
    pub fn is_any(&self) -> bool {
        self.before.requests + self.after.requests > 0
    }
}

fn if_kept<T>(answer: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Failure::Problem(problem)) if problem.code == Code::NoRecords => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn served(version: &str, metrics: Option<&MetricsView>, quality: Option<&QualityReport>) -> Served {
    let mut served = Served::default();
    let rows = metrics.iter().flat_map(|view| &view.requests);
    if let Some(row) = rows.clone().find(|row| row.version == version) {
        served.requests = row.count;
        served.failed = (row.count > 0).then(|| share(row.failed, row.count));
        (served.p50_ms, served.p99_ms) = (row.p50_ms, row.p99_ms);
    }
    let columns = metrics.iter().flat_map(|view| &view.columns);
    let own = columns.filter(|row| row.version == version && row.direction == "out");
    served.means =
        own.filter_map(|row| Some((row.column.clone(), row.mean?))).take(OUTPUTS_MAX).collect();
    let mut windows = quality.iter().flat_map(|report| &report.windows);
    if let Some(window) = windows.rfind(|window| window.version == version) {
        let of_all = window.numbers.iter().filter(|number| number.class.is_none());
        served.quality = of_all.cloned().collect();
    }
    served
}
