//! Drains the data plane's records into metrics and short windows, and keeps what columns and
//! requests were like in a file. It is never waited for by a request.

pub mod alarms;
mod bucket;
pub mod columns;
mod counter;
pub mod delivery;
pub mod drift;
pub mod exposition;
pub mod health;
pub mod history;
mod metrics;
pub mod pressure;
pub mod profile;
pub mod quality;
mod recent;
pub mod requests;
pub mod rules;
pub mod saved;
pub mod sketch;
pub mod slo;
mod window;

use std::collections::HashMap;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use domain::Placement;
use domain::alarm::Target;
use domain::guard::ArmWindow;
use domain::record::{Blame, Record, blame};
use domain::route::Demand;
use parking_lot::Mutex;

pub use bucket::Bucket;
use counter::Counted;
pub use counter::Counter;
use exposition::Family;
use metrics::Metrics;
pub use policy::disk;
use recent::Recent;
use requests::{RequestMinutes, SealedRequests};
pub use window::Summary;
use window::Window;

/// What is known of all placements' requests.
pub struct Monitor {
    records: Arc<ArrayQueue<Record>>,
    inner: Mutex<Inner>,
    counted: Mutex<Vec<Counted>>,
}

struct Inner {
    metrics: Metrics,
    windows: HashMap<Arc<Placement>, Window>,
    /// Of placements that a release compares.
    arms: HashMap<Placement, Arm>,
    /// What ended since this was last asked for.
    ended: HashMap<Arc<Placement>, Bucket>,
    requests: RequestMinutes,
    recent: Recent,
}

/// What one arm of a release did since it was last read.
struct Arm {
    window: ArmWindow,
    read_at_ms: u64,
}

/// An arm that is not read any more is forgotten after so long, in milliseconds.
const ARM_MS: u64 = 600_000;

/// A window without requests is forgotten after so long, in milliseconds.
const WINDOW_MS: u64 = 3_600_000;
/// With more windows than these, a minute is enough.
const WINDOWS_MAX: usize = 1_000;

/// What ended is counted of so many placements at most, until it is asked for.
const PLACEMENTS_MAX: usize = 10_000;

/// So many records are taken out of the queue at a time.
const TAKEN_MAX: usize = 1_024;

/// What only the data plane knows, at the moment of a scrape.
pub struct Scrape {
    /// By placement.
    pub demand: Vec<Demand>,
    /// Records that found no room in the queue that is drained here.
    pub records_dropped: u64,
    /// Of the route table in force.
    pub epoch: u64,
}

impl Monitor {
    /// Drains this queue.
    pub fn new(records: Arc<ArrayQueue<Record>>) -> Monitor {
        Monitor {
            records,
            counted: Mutex::default(),
            inner: Mutex::new(Inner {
                metrics: Metrics::default(),
                windows: HashMap::new(),
                arms: HashMap::new(),
                ended: HashMap::new(),
                requests: RequestMinutes::default(),
                recent: Recent::default(),
            }),
        }
    }

    /// Takes in all records that wait; call it several times a second. Gives whether there were
    /// any.
    pub fn drain(&self, now_ms: u64) -> bool {
        let mut inner = self.inner.lock();
        if inner.windows.len() > WINDOWS_MAX {
            inner.windows.retain(|_, window| window.idle_ms(now_ms) < WINDOW_MS / 60);
        }
        let are_any = !self.records.is_empty();
        let mut some = Vec::with_capacity(self.records.len().min(TAKEN_MAX));
        // Bounded, so that a scrape ends even while requests keep coming.
        for _ in 0..self.records.capacity().div_ceil(TAKEN_MAX) {
            some.extend(std::iter::from_fn(|| self.records.pop()).take(TAKEN_MAX));
            if some.is_empty() {
                break;
            }
            some.chunk_by(are_of_one).for_each(|run| inner.take(run, now_ms));
            some.clear();
        }
        are_any
    }

    /// What ended since this was last asked, by placement.
    pub fn ended(&self, now_ms: u64) -> HashMap<Arc<Placement>, Bucket> {
        self.drain(now_ms);
        std::mem::take(&mut self.inner.lock().ended)
    }

    /// The metrics of requests and placements.
    pub fn families(&self, scrape: &Scrape, now_ms: u64) -> Vec<Family> {
        self.drain(now_ms);
        let mut inner = self.inner.lock();
        inner.windows.retain(|_, window| window.idle_ms(now_ms) < WINDOW_MS);
        let mut families = inner.metrics.families(scrape, now_ms);
        families.extend(self.counted.lock().iter().map(Counted::family));
        families
    }

    /// Another counter among the metrics; its name is without `decalog_` and `_total`.
    pub fn counter(&self, name: &'static str, help: &'static str) -> Counter {
        let counter = Counter::default();
        self.counted.lock().push(Counted { name, help, counter: counter.clone() });
        counter
    }

    /// What has become of a placement's requests since this was last read; empty the first time.
    pub fn arm(&self, placement: &Placement, now_ms: u64) -> ArmWindow {
        self.drain(now_ms);
        let mut inner = self.inner.lock();
        inner.arms.retain(|_, arm| now_ms.saturating_sub(arm.read_at_ms) < ARM_MS);
        let fresh = Arm { window: ArmWindow::default(), read_at_ms: now_ms };
        inner.arms.insert(placement.clone(), fresh).map(|arm| arm.window).unwrap_or_default()
    }

    /// Requests of the minutes that are over, for a [`history::History`]; call it once a second.
    pub fn seal_requests(&self, now_ms: u64) -> Vec<SealedRequests> {
        self.drain(now_ms);
        let mut inner = self.inner.lock();
        let sealed = inner.requests.seal(now_ms);
        inner.recent.take(&sealed, now_ms);
        sealed
    }

    /// The requests of each of the last 60 minutes that are over, the oldest first; `None` of those
    /// before this process looked.
    pub fn recent(&self, target: &Target, now_ms: u64) -> Vec<Option<u64>> {
        self.inner.lock().recent.of(target, now_ms)
    }

    /// Requests of the minute that runs, of placements that had some since the last time.
    pub fn snapshot_requests(&self, now_ms: u64) -> Vec<SealedRequests> {
        self.drain(now_ms);
        self.inner.lock().requests.snapshot()
    }

    /// All requests that were not given yet: before the end.
    pub fn close_requests(&self, now_ms: u64) -> Vec<SealedRequests> {
        self.drain(now_ms);
        self.inner.lock().requests.close()
    }

    /// The last minute of a placement; `None` if it had no request since the start.
    pub fn summary(&self, placement: &Placement, now_ms: u64) -> Option<Summary> {
        self.drain(now_ms);
        self.inner.lock().windows.get(placement).map(|window| window.summary(now_ms))
    }
}

/// Whether two requests were routed by the same table to the same placement.
fn are_of_one(left: &Record, right: &Record) -> bool {
    match (&left.placement, &right.placement) {
        (Some(left), Some(right)) => Arc::ptr_eq(left, right),
        (left, right) => left.is_none() && right.is_none(),
    }
}

impl Inner {
    /// Takes in requests of one placement: what they move is looked up once.
    fn take(&mut self, run: &[Record], now_ms: u64) {
        self.metrics.take(run, now_ms);
        let Some(placement) = run.first().and_then(|record| record.placement.as_ref()) else {
            return;
        };
        self.requests.take(placement, run.iter(), now_ms);
        if let Some(arm) = self.arms.get_mut(placement.as_ref()) {
            run.iter().for_each(|record| arm.take(record));
        }
        if run.iter().any(|record| !record.is_copy) {
            let window = self.windows.entry(placement.clone()).or_default();
            let mut ended = match self.ended.len() < PLACEMENTS_MAX {
                true => Some(self.ended.entry(placement.clone()).or_default()),
                false => self.ended.get_mut(placement),
            };
            for record in run.iter().filter(|record| !record.is_copy) {
                window.take(record, now_ms);
                if let Some(ended) = &mut ended {
                    ended.take(record);
                }
            }
        }
    }
}

impl Arm {
    fn take(&mut self, record: &Record) {
        if record.is_copy {
            self.window.compared += record.agrees.is_some() as u64;
            self.window.disagreements += (record.agrees == Some(false)) as u64;
        }
        let total_us = u64::from(record.total_us);
        match blame(record.status, record.code) {
            Blame::Abandoned => self.window.abandoned.record_us(total_us),
            Blame::Placement => self.window.record(true, total_us),
            Blame::Nobody => self.window.record(false, total_us),
            Blame::Others => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::record::ABANDONED;

    use super::*;

    fn window(records: &[(u16, &'static str)]) -> ArmWindow {
        let mut arm = Arm { window: ArmWindow::default(), read_at_ms: 0 };
        for (status, code) in records {
            let mut record = Record::new(None, 1, 5_000);
            (record.status, record.code) = (*status, code);
            arm.take(&record);
        }
        arm.window
    }

    #[test]
    fn a_version_answers_for_its_faults_and_for_no_others() {
        let faults = window(&[
            (200, ""),
            (500, "model_raised"),
            (504, "deadline"),
            (429, "queue_full"),
            (503, "no_capacity"),
        ]);
        assert_eq!((faults.requests, faults.errors, faults.latency.count()), (5, 4, 1));
        let others = window(&[
            (422, "schema_mismatch"),
            (422, "bad_input"),
            (503, "server_busy"),
            (400, "bad_json"),
        ]);
        assert_eq!((others.requests, others.errors, others.ended()), (0, 0, 0));
        let left = window(&[(ABANDONED, "abandoned")]);
        assert_eq!((left.requests, left.abandoned.count(), left.ended()), (0, 1, 1));
    }
}
