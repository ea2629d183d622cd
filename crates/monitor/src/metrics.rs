//! Counters and histograms by placement, for whoever scrapes them.

mod spread;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use domain::Placement;
use domain::record::Record;
use domain::route::Demand;

use crate::Scrape;
use crate::exposition::{Exemplar, Family, Kind, Label, Value};
use spread::{COUNTS, Spread, TIMES};

/// Parts of a request's time.
const PARTS: [&str; 4] = ["queue", "worker", "overhead", "total"];
/// The most placements that have series, so that a scrape stays small: docs/monitoring.md says how
/// small. The one whose last request is the oldest goes first.
const PLACEMENTS_MAX: usize = 1_000;
/// Series of a placement that is out of the route table stay so long after its last request, in
/// milliseconds: long enough for the last scrape.
const GONE_MS: u64 = 600_000;
/// Bytes of an id's time.
const TIME_BYTES: usize = 6;

/// What there is of one placement, so that it can be dropped whole.
#[derive(Default)]
struct Series {
    /// By status.
    requests: BTreeMap<u16, u64>,
    /// By code, with the last one.
    errors: BTreeMap<&'static str, (u64, Option<Exemplar>)>,
    /// By what came of them.
    copies: BTreeMap<&'static str, u64>,
    /// Once a request was answered.
    answered: Option<Box<Answered>>,
    /// When a request last ended, in milliseconds since 1970.
    last_ms: u64,
}

/// What every answered request moves.
#[derive(Default)]
struct Answered {
    rows: u64,
    batch_rows: Spread,
    /// Queue, worker, overhead, total.
    durations: [Spread; 4],
}

impl Answered {
    fn take(&mut self, record: &Record) {
        self.rows += u64::from(record.rows);
        self.batch_rows.take(&COUNTS, record.batch_rows);
        let overhead_us =
            record.total_us.saturating_sub(record.queue_us).saturating_sub(record.worker_us);
        let [queue, worker, overhead, total] = &mut self.durations;
        queue.take(&TIMES, record.queue_us);
        worker.take(&TIMES, record.worker_us);
        overhead.take(&TIMES, overhead_us);
        match exemplar(record, f64::from(record.total_us) / 1e6) {
            Some(request) => total.take_of(&TIMES, record.total_us, request),
            None => total.take(&TIMES, record.total_us),
        }
    }
}

/// A request as an example of a number; `None` of one without an id.
fn exemplar(record: &Record, value: f64) -> Option<Exemplar> {
    let (time, _) = record.id.split_at(TIME_BYTES);
    let at_ms = time.iter().fold(0, |ms, byte| ms << 8 | u64::from(*byte));
    let exemplar = Exemplar { request: record.id, trace: record.trace, value, at_ms };
    (at_ms > 0).then_some(exemplar)
}

/// All metrics of this process.
#[derive(Default)]
pub struct Metrics {
    placements: HashMap<Arc<Placement>, Series>,
    /// By status and code.
    refused: BTreeMap<(u16, &'static str), u64>,
}

impl Metrics {
    /// Takes in finished requests, all of the same placement or all of none.
    pub fn take(&mut self, run: &[Record], now_ms: u64) {
        let Some(placement) = run.first().and_then(|record| record.placement.as_ref()) else {
            for Record { status, code, .. } in run {
                *self.refused.entry((*status, code)).or_default() += 1;
            }
            return;
        };
        if !self.placements.contains_key(placement) {
            self.make_room();
        }
        let series = self.placements.entry(placement.clone()).or_default();
        series.last_ms = now_ms;
        run.iter().for_each(|record| series.take(record));
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
        oldest.into_iter().for_each(|placement| drop(self.placements.remove(&placement)));
    }

    /// Drops what is neither in the route table nor had requests for a while.
    fn drop_gone(&mut self, demand: &[Demand], now_ms: u64) {
        let live: HashSet<&Placement> = demand.iter().map(|demand| &demand.placement).collect();
        self.placements.retain(|placement, series| {
            now_ms.saturating_sub(series.last_ms) <= GONE_MS || live.contains(placement.as_ref())
        });
    }

    /// All of them, with the gauges as of now.
    pub fn families(&mut self, scrape: &Scrape, now_ms: u64) -> Vec<Family> {
        self.drop_gone(&scrape.demand, now_ms);
        let mut families = Families::new();
        let mut placements: Vec<_> = self.placements.iter().collect();
        placements.sort_by(|left, right| left.0.cmp(right.0));
        for (placement, series) in placements {
            families.add(&labels(placement), series);
        }
        for ((status, code), count) in &self.refused {
            let own = vec![status_label(*status), ("code", Cow::Borrowed(*code))];
            families.refused.push(&Arc::default(), own, Value::Count(*count, None));
        }
        // What is scaled to zero and had no request has no numbers.
        let has_numbers = |demand: &&Demand| {
            demand.queued_rows > 0
                || !demand.in_flight.is_empty()
                || self.placements.contains_key(&demand.placement)
        };
        for demand in scrape.demand.iter().filter(has_numbers).take(PLACEMENTS_MAX) {
            families.add_demand(demand);
        }
        families.all(scrape)
    }
}

impl Series {
    fn take(&mut self, record: &Record) {
        if record.is_copy {
            let result = match record.agrees {
                Some(true) => "agrees",
                Some(false) => "differs",
                None => "failed",
            };
            *self.copies.entry(result).or_default() += 1;
            return;
        }
        *self.requests.entry(record.status).or_default() += 1;
        if record.status == 200 {
            self.answered.get_or_insert_default().take(record);
        } else {
            let (count, last) = self.errors.entry(record.code).or_default();
            *count += 1;
            *last = exemplar(record, 1.0).or(*last);
        }
    }
}

fn labels(placement: &Placement) -> Arc<[Label]> {
    Arc::new([
        ("project", placement.model.project.to_string().into()),
        ("model", placement.model.model.to_string().into()),
        ("environment", placement.environment.to_string().into()),
        ("version", placement.version.to_string().into()),
        ("revision", placement.revision.to_string().into()),
    ])
}

fn status_label(status: u16) -> Label {
    ("status", status.to_string().into())
}

/// Families on their way.
struct Families {
    requests: Family,
    errors: Family,
    refused: Family,
    copies: Family,
    rows: Family,
    durations: Family,
    batch_rows: Family,
    queue_rows: Family,
    replicas: Family,
    in_flight: Family,
}

impl Families {
    fn new() -> Families {
        let counter = |name, help| Family::new(Kind::Counter, name, "", help);
        let gauge = |name, help| Family::new(Kind::Gauge, name, "", help);
        Families {
            requests: counter("decalog_requests", "Requests that reached a placement, by status."),
            errors: counter("decalog_errors", "Requests that failed at a placement, by code."),
            refused: counter(
                "decalog_refused",
                "Requests refused before a placement was found, by code.",
            ),
            copies: counter(
                "decalog_shadow_copies",
                "Copies of requests sent to a shadow, by what came of it.",
            ),
            rows: counter("decalog_rows", "Rows that were answered."),
            durations: Family::new(
                Kind::Histogram,
                "decalog_request_duration_seconds",
                "seconds",
                "Time of answered requests: in the queue, at the worker, in Decalog itself (overhead), and in total.",
            ),
            batch_rows: Family::new(
                Kind::Histogram,
                "decalog_batch_rows",
                "",
                "Rows of the batch that carried a request.",
            ),
            queue_rows: gauge("decalog_queue_rows", "Rows that wait."),
            replicas: gauge("decalog_replicas", "Replicas in use."),
            in_flight: gauge("decalog_batches_in_flight", "Batches at workers."),
        }
    }

    fn add(&mut self, placement: &Arc<[Label]>, series: &Series) {
        for (status, count) in &series.requests {
            self.requests.push(placement, vec![status_label(*status)], Value::Count(*count, None));
        }
        for (code, (count, last)) in &series.errors {
            self.errors.push(
                placement,
                vec![("code", (*code).into())],
                Value::Count(*count, *last),
            );
        }
        for (result, count) in &series.copies {
            let own = vec![("result", (*result).into())];
            self.copies.push(placement, own, Value::Count(*count, None));
        }
        let Some(answered) = &series.answered else { return };
        self.rows.push(placement, vec![], Value::Count(answered.rows, None));
        for (part, spread) in PARTS.into_iter().zip(&answered.durations) {
            let value = Value::Histogram(spread.histogram(&TIMES));
            self.durations.push(placement, vec![("part", part.into())], value);
        }
        let value = Value::Histogram(answered.batch_rows.histogram(&COUNTS));
        self.batch_rows.push(placement, vec![], value);
    }

    fn add_demand(&mut self, demand: &Demand) {
        let labels = labels(&demand.placement);
        let in_flight: u64 = demand.in_flight.values().map(|n| u64::from(*n)).sum();
        self.queue_rows.push(&labels, vec![], Value::Count(demand.queued_rows, None));
        self.replicas.push(&labels, vec![], Value::Count(demand.in_flight.len() as u64, None));
        self.in_flight.push(&labels, vec![], Value::Count(in_flight, None));
    }

    fn all(self, scrape: &Scrape) -> Vec<Family> {
        let uncounted = Family::new(
            Kind::Counter,
            "decalog_uncounted_requests",
            "",
            "Requests that are not in these metrics, because they ended faster than they could be counted.",
        );
        let epoch = Family::new(
            Kind::Gauge,
            "decalog_route_epoch",
            "",
            "Number of the route table in force.",
        );
        vec![
            self.requests,
            self.errors,
            self.refused,
            self.copies,
            self.rows,
            self.durations,
            self.batch_rows,
            self.queue_rows,
            self.replicas,
            self.in_flight,
            uncounted.of(Value::Count(scrape.records_dropped, None)),
            epoch.of(Value::Count(scrape.epoch, None)),
        ]
    }
}
