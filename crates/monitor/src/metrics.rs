//! Counters and histograms in the text format of Prometheus, by placement.

use std::collections::{BTreeSet, HashMap, HashSet};
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
const SECONDS: [f64; 19] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0,
    2.0, 5.0, 10.0, 30.0, 60.0,
];
const ROWS: [f64; 13] =
    [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0];

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

/// Parts of a request's time.
const PARTS: [&str; 4] = ["queue", "worker", "overhead", "total"];
/// The most placements that have series: a scrape stays below 16 MB. The one whose last request is
/// the oldest goes first.
const PLACEMENTS_MAX: usize = 1_000;
/// Series of a placement that is out of the route table stay so long after its last request, in
/// milliseconds: long enough for the last scrape.
const GONE_MS: u64 = 600_000;

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// What there is of one placement, so that it can be dropped whole.
#[derive(Default)]
struct Series {
    /// Once a request was answered.
    answered: Option<Arc<Answered>>,
    statuses: BTreeSet<u32>,
    codes: BTreeSet<&'static str>,
    copies: BTreeSet<&'static str>,
    /// When a request last ended, in milliseconds since 1970.
    last_ms: u64,
}

/// The series that every answered request moves, found once.
struct Answered {
    requests: Counter,
    rows: Counter,
    batch_rows: Histogram,
    /// Queue, worker, overhead, total.
    durations: [Histogram; 4],
}

impl Answered {
    fn take(&self, record: &Record) {
        self.requests.inc();
        self.rows.inc_by(u64::from(record.rows));
        self.batch_rows.observe(f64::from(record.batch_rows));
        let overhead_us =
            record.total_us.saturating_sub(record.queue_us).saturating_sub(record.worker_us);
        let parts = [record.queue_us, record.worker_us, overhead_us, record.total_us];
        for (histogram, us) in self.durations.iter().zip(parts) {
            histogram.observe(f64::from(us) / 1e6);
        }
    }
}

/// All metrics of this process.
pub struct Metrics {
    registry: Registry,
    placements: HashMap<Arc<Placement>, Series>,
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
    /// All of them 0.
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
            placements: HashMap::new(),
        };
        registry.register(
            "requests",
            "Requests that reached a placement, by status",
            metrics.requests.clone(),
        );
        registry.register(
            "errors",
            "Requests that failed at a placement, by code",
            metrics.errors.clone(),
        );
        registry.register(
            "refused",
            "Requests refused before a placement was found, by code",
            metrics.refused.clone(),
        );
        registry.register(
            "shadow_copies",
            "Copies of requests sent to a shadow, by what came of it",
            metrics.copies.clone(),
        );
        registry.register("rows", "Rows that were answered", metrics.rows.clone());
        registry.register_with_unit(
            "request_duration",
            "Time of answered requests: in the queue, at the worker, in Decalog itself (overhead), and in total",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        registry.register(
            "batch_rows",
            "Rows of the batch that carried a request",
            metrics.batch_rows.clone(),
        );
        registry.register("queue_rows", "Rows that wait", metrics.queue_rows.clone());
        registry.register("replicas", "Replicas in use", metrics.replicas.clone());
        registry.register("batches_in_flight", "Batches at workers", metrics.in_flight.clone());
        registry.register(
            "records_dropped",
            "Records of requests that found no room",
            metrics.records_dropped.clone(),
        );
        registry.register(
            "route_epoch",
            "Number of the route table in force",
            metrics.epoch.clone(),
        );
        Metrics { registry, ..metrics }
    }

    /// Takes in finished requests, all of the same placement or all of none.
    pub fn take(&mut self, run: &[Record], now_ms: u64) {
        let Some(placement) = run.first().and_then(|record| record.placement.as_ref()) else {
            for Record { status, code, .. } in run {
                self.refused
                    .get_or_create(&RefusalLabels { status: u32::from(*status), code })
                    .inc();
            }
            return;
        };
        if !self.placements.contains_key(placement) {
            self.make_room();
        }
        self.placements.entry(placement.clone()).or_default().last_ms = now_ms;
        let is_answered = |record: &&Record| !record.is_copy && record.status == 200;
        run.iter()
            .filter(|record| !is_answered(record))
            .for_each(|record| self.take_odd(placement, record));
        if run.iter().any(|record| is_answered(&record)) {
            let answered = self.answered(placement);
            run.iter().filter(is_answered).for_each(|record| answered.take(record));
        }
    }

    /// A copy, or one that failed.
    fn take_odd(&mut self, placement: &Arc<Placement>, record: &Record) {
        let labels = PlacementLabels::of(placement);
        let series = self.placements.entry(placement.clone()).or_default();
        if record.is_copy {
            let result = match record.agrees {
                Some(true) => "agrees",
                Some(false) => "differs",
                None => "failed",
            };
            series.copies.insert(result);
            self.copies.get_or_create(&CopyLabels { placement: labels, result }).inc();
            return;
        }
        let status = u32::from(record.status);
        series.statuses.insert(status);
        series.codes.insert(record.code);
        self.requests.get_or_create(&StatusLabels { placement: labels.clone(), status }).inc();
        self.errors.get_or_create(&CodeLabels { placement: labels, code: record.code }).inc();
    }

    /// Drops the placement that has had no request for the longest time, if there are as many as there may
    /// be.
    fn make_room(&mut self) {
        if self.placements.len() < PLACEMENTS_MAX {
            return;
        }
        let oldest = self
            .placements
            .iter()
            .min_by_key(|(_, series)| series.last_ms)
            .map(|(placement, _)| placement.clone());
        oldest.into_iter().for_each(|placement| self.drop_series(&placement));
    }

    /// Drops what is neither in the route table nor had requests for a while.
    fn drop_gone(&mut self, demand: &[Demand], now_ms: u64) {
        let is_old = |series: &Series| now_ms.saturating_sub(series.last_ms) > GONE_MS;
        let mut gone: HashSet<Arc<Placement>> = self
            .placements
            .iter()
            .filter(|(_, series)| is_old(series))
            .map(|(placement, _)| placement.clone())
            .collect();
        for demand in demand {
            gone.remove(&demand.placement);
        }
        gone.iter().for_each(|placement| self.drop_series(placement));
    }

    fn drop_series(&mut self, placement: &Placement) {
        let Some(series) = self.placements.remove(placement) else { return };
        let labels = PlacementLabels::of(placement);
        let own = || labels.clone();
        for status in series.statuses.into_iter().chain([200]) {
            self.requests.remove(&StatusLabels { placement: own(), status });
        }
        for code in series.codes {
            self.errors.remove(&CodeLabels { placement: own(), code });
        }
        for result in series.copies {
            self.copies.remove(&CopyLabels { placement: own(), result });
        }
        for part in PARTS {
            self.durations.remove(&PartLabels { placement: own(), part });
        }
        self.rows.remove(&labels);
        self.batch_rows.remove(&labels);
    }

    /// The series that an answered request of this placement moves.
    fn answered(&mut self, placement: &Arc<Placement>) -> Arc<Answered> {
        let series = self.placements.entry(placement.clone()).or_default();
        let find = || {
            let labels = PlacementLabels::of(placement);
            let duration = |part| {
                self.durations
                    .get_or_create(&PartLabels { placement: labels.clone(), part })
                    .clone()
            };
            Arc::new(Answered {
                requests: self
                    .requests
                    .get_or_create(&StatusLabels { placement: labels.clone(), status: 200 })
                    .clone(),
                rows: self.rows.get_or_create(&labels).clone(),
                batch_rows: self.batch_rows.get_or_create(&labels).clone(),
                durations: PARTS.map(duration),
            })
        };
        series.answered.get_or_insert_with(find).clone()
    }

    /// The text, with the gauges as of now.
    pub fn render(&mut self, scrape: &Scrape, now_ms: u64) -> String {
        self.drop_gone(&scrape.demand, now_ms);
        self.queue_rows.clear();
        self.replicas.clear();
        self.in_flight.clear();
        // What is scaled to zero and had no request has no numbers.
        let has_numbers = |demand: &&Demand| {
            demand.queued_rows > 0
                || !demand.in_flight.is_empty()
                || self.placements.contains_key(&demand.placement)
        };
        for Demand { placement, queued_rows, in_flight, .. } in
            scrape.demand.iter().filter(has_numbers).take(PLACEMENTS_MAX)
        {
            let labels = PlacementLabels::of(placement);
            self.queue_rows.get_or_create(&labels).set(*queued_rows as i64);
            self.replicas.get_or_create(&labels).set(in_flight.len() as i64);
            self.in_flight
                .get_or_create(&labels)
                .set(in_flight.values().map(|n| i64::from(*n)).sum());
        }
        self.records_dropped.set(scrape.records_dropped as i64);
        self.epoch.set(scrape.epoch as i64);
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placement(version: u32) -> Arc<Placement> {
        let model =
            domain::ModelKey { project: "default".parse().unwrap(), model: "m".parse().unwrap() };
        let (version, digest) =
            (domain::VersionNumber(version), domain::Digest::of(&version.to_le_bytes()));
        Arc::new(Placement {
            model,
            environment: "production".parse().unwrap(),
            version,
            digest,
            revision: 0,
        })
    }

    fn ask(metrics: &mut Metrics, version: u32, now_ms: u64) {
        for (status, is_copy) in [(200, false), (500, false), (200, true)] {
            let mut record = Record::new(Some(placement(version)), 1, 10);
            (record.status, record.is_copy, record.code) = (status, is_copy, "model_raised");
            metrics.take(std::slice::from_ref(&record), now_ms);
        }
    }

    fn scrape(live: &[u32]) -> Scrape {
        let demand = |version: &u32| Demand {
            placement: (*placement(*version)).clone(),
            queued_rows: 0,
            in_flight: Default::default(),
            load: domain::scale::LoadSample {
                now_ms: 0,
                in_system_request_ms: 0.0,
                arrived: 0,
                queued: 0,
                in_flight: 0,
                rows_per_request: 1.0,
                service: vec![],
            },
        };
        Scrape { demand: live.iter().map(demand).collect(), records_dropped: 0, epoch: 1 }
    }

    #[test]
    fn what_is_gone_is_dropped_and_what_is_live_stays() {
        let mut metrics = Metrics::new();
        let empty = metrics.render(&scrape(&[]), 0).len();
        ask(&mut metrics, 1, 1_000);
        ask(&mut metrics, 2, 1_000);
        let both = metrics.render(&scrape(&[2]), 1_000 + GONE_MS);
        assert!(
            both.contains("version=\"v1\"") && both.contains("version=\"v2\""),
            "a last scrape finds both"
        );
        let one = metrics.render(&scrape(&[2]), 1_001 + GONE_MS);
        assert!(!one.contains("version=\"v1\"") && one.contains("version=\"v2\""));
        assert!(
            metrics.render(&scrape(&[]), 1_001 + GONE_MS).len() < empty + 200,
            "nothing is left of either"
        );
    }

    #[test]
    fn many_deploys_do_not_grow_the_scrape() {
        let mut metrics = Metrics::new();
        (1..=PLACEMENTS_MAX as u32 + 50)
            .for_each(|version| ask(&mut metrics, version, u64::from(version)));
        assert_eq!(metrics.placements.len(), PLACEMENTS_MAX);
        let text = metrics.render(&scrape(&[]), 0);
        assert!(
            !text.contains("version=\"v50\"") && text.contains("version=\"v51\""),
            "the oldest went"
        );
    }
}
