//! Counters and histograms in the text format of Prometheus, by placement.

use std::collections::HashMap;
use std::sync::Arc;

use domain::Placement;
use domain::record::Record;
use domain::route::Demand;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::Scrape;

/// Upper bounds in seconds: from 50 µs, three steps for each factor of ten.
const SECONDS: [f64; 19] =
    [0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
const ROWS: [f64; 13] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PlacementLabels {
    project: String,
    model: String,
    environment: String,
    version: String,
    revision: u32,
}

impl PlacementLabels {
    fn of(placement: &Placement) -> PlacementLabels {
        PlacementLabels {
            project: placement.model.project.to_string(),
            model: placement.model.model.to_string(),
            environment: placement.environment.to_string(),
            version: placement.version.to_string(),
            revision: placement.revision,
        }
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StatusLabels {
    #[prometheus(flatten)]
    placement: PlacementLabels,
    status: u32,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CodeLabels {
    #[prometheus(flatten)]
    placement: PlacementLabels,
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RefusalLabels {
    status: u32,
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PartLabels {
    #[prometheus(flatten)]
    placement: PlacementLabels,
    part: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CopyLabels {
    #[prometheus(flatten)]
    placement: PlacementLabels,
    result: &'static str,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// The series of one placement that every answered request moves, found once.
struct Answered {
    requests: Counter,
    rows: Counter,
    batch_rows: Histogram,
    /// Queue, worker, overhead, total.
    durations: [Histogram; 4],
}

/// All metrics of this process.
pub struct Metrics {
    registry: Registry,
    answered: HashMap<Arc<Placement>, Answered>,
    requests: Family<StatusLabels, Counter>,
    errors: Family<CodeLabels, Counter>,
    refused: Family<RefusalLabels, Counter>,
    copies: Family<CopyLabels, Counter>,
    rows: Family<PlacementLabels, Counter>,
    durations: Histograms<PartLabels>,
    batch_rows: Histograms<PlacementLabels>,
    queue_rows: Family<PlacementLabels, Gauge>,
    replicas: Family<PlacementLabels, Gauge>,
    in_flight: Family<PlacementLabels, Gauge>,
    records_dropped: Gauge,
    epoch: Gauge,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Metrics {
        let mut registry = Registry::with_prefix("decalog");
        let metrics = Metrics {
            requests: Family::default(),
            errors: Family::default(),
            refused: Family::default(),
            copies: Family::default(),
            rows: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            batch_rows: Family::new_with_constructor(|| Histogram::new(ROWS)),
            queue_rows: Family::default(),
            replicas: Family::default(),
            in_flight: Family::default(),
            records_dropped: Gauge::default(),
            epoch: Gauge::default(),
            registry: Registry::default(),
            answered: HashMap::new(),
        };
        registry.register("requests", "Requests that reached a placement, by status", metrics.requests.clone());
        registry.register("errors", "Requests that failed at a placement, by code", metrics.errors.clone());
        registry.register("refused", "Requests refused before a placement was found, by code", metrics.refused.clone());
        registry.register("shadow_copies", "Copies of requests sent to a shadow, by what came of it", metrics.copies.clone());
        registry.register("rows", "Rows that were answered", metrics.rows.clone());
        registry.register_with_unit(
            "request_duration",
            "Time of answered requests: in the queue, at the worker, in Decalog itself (overhead), and in total",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        registry.register("batch_rows", "Rows of the batch that carried a request", metrics.batch_rows.clone());
        registry.register("queue_rows", "Rows that wait", metrics.queue_rows.clone());
        registry.register("replicas", "Replicas in use", metrics.replicas.clone());
        registry.register("batches_in_flight", "Batches at workers", metrics.in_flight.clone());
        registry.register("records_dropped", "Records of requests that found no room", metrics.records_dropped.clone());
        registry.register("route_epoch", "Number of the route table in force", metrics.epoch.clone());
        Metrics { registry, ..metrics }
    }

    /// Takes in one finished request.
    pub fn take(&mut self, record: &Record) {
        let status = u32::from(record.status);
        if let (true, Some(placement)) = (record.is_copy, &record.placement) {
            let result = match record.agrees {
                Some(true) => "agrees",
                Some(false) => "differs",
                None => "failed",
            };
            self.copies.get_or_create(&CopyLabels { placement: PlacementLabels::of(placement), result }).inc();
            return;
        }
        let Some(placement) = &record.placement else {
            self.refused.get_or_create(&RefusalLabels { status, code: record.code }).inc();
            return;
        };
        if record.status != 200 {
            let labels = PlacementLabels::of(placement);
            self.requests.get_or_create(&StatusLabels { placement: labels.clone(), status }).inc();
            self.errors.get_or_create(&CodeLabels { placement: labels, code: record.code }).inc();
            return;
        }
        if !self.answered.contains_key(placement) {
            let answered = self.find(placement);
            self.answered.insert(placement.clone(), answered);
        }
        let Some(answered) = self.answered.get(placement) else { return };
        answered.requests.inc();
        answered.rows.inc_by(u64::from(record.rows));
        answered.batch_rows.observe(f64::from(record.batch_rows));
        let overhead_us = record.total_us.saturating_sub(record.queue_us).saturating_sub(record.worker_us);
        let parts = [record.queue_us, record.worker_us, overhead_us, record.total_us];
        for (histogram, us) in answered.durations.iter().zip(parts) {
            histogram.observe(f64::from(us) / 1e6);
        }
    }

    fn find(&self, placement: &Placement) -> Answered {
        let labels = PlacementLabels::of(placement);
        let duration = |part| self.durations.get_or_create(&PartLabels { placement: labels.clone(), part }).clone();
        Answered {
            requests: self.requests.get_or_create(&StatusLabels { placement: labels.clone(), status: 200 }).clone(),
            rows: self.rows.get_or_create(&labels).clone(),
            batch_rows: self.batch_rows.get_or_create(&labels).clone(),
            durations: ["queue", "worker", "overhead", "total"].map(duration),
        }
    }

    /// The text, with the gauges as of now.
    pub fn render(&self, scrape: &Scrape) -> String {
        self.queue_rows.clear();
        self.replicas.clear();
        self.in_flight.clear();
        for Demand { placement, queued_rows, in_flight, .. } in &scrape.demand {
            let labels = PlacementLabels::of(placement);
            self.queue_rows.get_or_create(&labels).set(*queued_rows as i64);
            self.replicas.get_or_create(&labels).set(in_flight.len() as i64);
            self.in_flight.get_or_create(&labels).set(in_flight.values().map(|n| i64::from(*n)).sum());
        }
        self.records_dropped.set(scrape.records_dropped as i64);
        self.epoch.set(scrape.epoch as i64);
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}
