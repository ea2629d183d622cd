//! Counts requests by placement and minute: how many, with which errors, and how long they took, as
//! histograms that can be added and subtracted. Finished minutes are handed out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use domain::record::{ABANDONED, Record};
use domain::{LatencyHistogram, Placement};
use serde::{Deserialize, Serialize};

use crate::columns::MINUTE_MS;
use crate::sketch::{BodyError, sealed, unsealed};

/// Placements that are counted at once.
pub const PLACEMENTS_MAX: usize = 1_000;
/// Codes of errors that are counted apart; further ones are counted as [`OTHER`].
pub const CODES_MAX: usize = 64;
/// What errors beyond [`CODES_MAX`] are counted as.
pub const OTHER: &str = "other";

/// The longest body, in bytes.
const BYTES_MAX: usize = 128 * 1024;

/// What is known of some requests of a placement. Copies are not in it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Requests {
    /// How many.
    pub requests: u64,
    /// Rows of those that were answered.
    pub rows: u64,
    /// By code, those that were not answered: refused, failed, abandoned.
    pub errors: BTreeMap<String, u64>,
    /// Those that failed by the model's or the server's fault: status 500 and above.
    pub failed: u64,
    /// From the first byte to the answer, of those that were answered and those that failed; of
    /// those that were abandoned until then.
    pub latency: LatencyHistogram,
    /// The part of it spent waiting, of those that a worker got.
    pub queue: LatencyHistogram,
    /// The part of it spent in the worker, of those that a worker got.
    pub worker: LatencyHistogram,
}

impl Requests {
    fn take(&mut self, record: &Record) {
        self.requests += 1;
        let is_answered = record.status < 400;
        if is_answered {
            self.rows += u64::from(record.rows);
        } else {
            self.count_error(record.code, 1);
        }
        self.failed += u64::from(record.status >= 500);
        // What callers got wrong took no time worth telling.
        if is_answered || record.status >= 500 || record.status == ABANDONED {
            self.latency.record_us(record.total_us.into());
        }
        if record.worker_us > 0 {
            self.queue.record_us(record.queue_us.into());
            self.worker.record_us(record.worker_us.into());
        }
    }

    fn count_error(&mut self, code: &str, count: u64) {
        let code = if code.is_empty() { OTHER } else { code };
        let is_counted = self.errors.contains_key(code) || self.errors.len() < CODES_MAX;
        let code = if is_counted { code } else { OTHER };
        let errors = self.errors.entry(code.to_string()).or_default();
        *errors = errors.saturating_add(count);
    }

    /// All that were not answered.
    pub fn errors(&self) -> u64 {
        self.errors.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Takes in all of another.
    pub fn merge(&mut self, other: &Requests) {
        self.requests = self.requests.saturating_add(other.requests);
        self.rows = self.rows.saturating_add(other.rows);
        self.failed = self.failed.saturating_add(other.failed);
        other.errors.iter().for_each(|(code, count)| self.count_error(code, *count));
        self.latency.merge(&other.latency);
        self.queue.merge(&other.queue);
        self.worker.merge(&other.worker);
    }

    /// As bytes: a version, a checksum and JSON.
    pub fn encode(&self) -> Vec<u8> {
        sealed(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// From bytes.
    pub fn decode(body: &[u8]) -> Result<Requests, BodyError> {
        serde_json::from_slice(unsealed(body, BYTES_MAX)?)
            .map_err(|_| BodyError::Damaged("requests"))
    }
}

/// One placement in one minute.
#[derive(Clone, Debug)]
pub struct SealedRequests {
    /// Whose requests.
    pub placement: Arc<Placement>,
    /// The beginning of the minute in which they ended, in milliseconds since 1970.
    pub minute_ms: u64,
    /// Which part of the minute, as in [`crate::columns::Sealed`].
    pub sequence: u64,
    /// What they were.
    pub requests: Requests,
}

/// What is counted.
#[derive(Default)]
pub struct RequestMinutes {
    placements: HashMap<Arc<Placement>, Counted>,
    minute_ms: u64,
    sequence: u64,
    finished: Vec<SealedRequests>,
    not_watched: u64,
}

#[derive(Default)]
struct Counted {
    requests: Requests,
    /// Requests that the last snapshot had.
    shown: u64,
}

impl RequestMinutes {
    /// Counts requests that are all of this placement.
    pub fn take<'r>(
        &mut self,
        placement: &Arc<Placement>,
        records: impl Iterator<Item = &'r Record>,
        now_ms: u64,
    ) {
        self.turn(now_ms);
        let mut records = records.filter(|record| !record.is_copy).peekable();
        if records.peek().is_none() {
            return;
        }
        if !self.placements.contains_key(placement) {
            if self.placements.len() >= PLACEMENTS_MAX {
                self.not_watched += records.count() as u64;
                return;
            }
            self.placements.insert(placement.clone(), Counted::default());
        }
        if let Some(counted) = self.placements.get_mut(placement) {
            records.for_each(|record| counted.requests.take(record));
        }
    }

    /// Gives the minutes that are over; call it once a second.
    pub fn seal(&mut self, now_ms: u64) -> Vec<SealedRequests> {
        self.turn(now_ms);
        std::mem::take(&mut self.finished)
    }

    /// Copies what the minute that runs has so far, of placements with more requests than at the
    /// last snapshot.
    pub fn snapshot(&mut self) -> Vec<SealedRequests> {
        let (minute_ms, sequence) = (self.minute_ms, self.sequence);
        let changed = self
            .placements
            .iter_mut()
            .filter(|(_, counted)| counted.requests.requests > counted.shown);
        let shown = changed.map(|(placement, counted)| {
            counted.shown = counted.requests.requests;
            let requests = counted.requests.clone();
            SealedRequests { placement: placement.clone(), minute_ms, sequence, requests }
        });
        shown.collect()
    }

    /// Gives all, the minute that runs too: before the end.
    pub fn close(&mut self) -> Vec<SealedRequests> {
        self.finish();
        std::mem::take(&mut self.finished)
    }

    /// Requests that were not counted since the start: of placements beyond [`PLACEMENTS_MAX`], and
    /// of minutes that nobody took out in time.
    pub fn not_watched(&self) -> u64 {
        self.not_watched
    }

    /// Begins another minute if it is time to; also if the clock was set back.
    fn turn(&mut self, now_ms: u64) {
        let minute_ms = now_ms - now_ms % MINUTE_MS;
        if minute_ms != self.minute_ms {
            self.finish();
            self.minute_ms = minute_ms;
        }
    }

    fn finish(&mut self) {
        // At most one finished minute waits: an older one that nobody has taken is given up.
        self.not_watched += self.finished.drain(..).map(|lost| lost.requests.requests).sum::<u64>();
        let (minute_ms, sequence) = (self.minute_ms, self.sequence);
        self.finished.extend(self.placements.drain().map(|(placement, counted)| SealedRequests {
            placement,
            minute_ms,
            sequence,
            requests: counted.requests,
        }));
        self.sequence += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placement(version: u32) -> Arc<Placement> {
        Arc::new(Placement {
            model: "default/churn".parse().unwrap(),
            environment: "production".parse().unwrap(),
            version: domain::VersionNumber(version),
            digest: domain::Digest::ZERO,
            revision: 0,
        })
    }

    fn record(status: u16, code: &'static str, total_us: u32) -> Record {
        Record { status, code, worker_us: total_us / 2, ..Record::new(None, 2, total_us) }
    }

    #[test]
    fn requests_are_counted_by_what_became_of_them() {
        let (mut minutes, churn) = (RequestMinutes::default(), placement(1));
        let copy = Record { is_copy: true, ..record(200, "", 1) };
        let all = [
            record(200, "", 10_000),
            record(200, "", 20_000),
            record(422, "schema_mismatch", 90_000),
            record(500, "model_raised", 5_000_000),
            record(ABANDONED, "abandoned", 52_000_000),
            copy,
        ];
        minutes.take(&churn, all.iter(), 59_999);
        let shown = minutes.snapshot();
        assert_eq!((shown.len(), shown[0].requests.requests), (1, 5));
        assert!(minutes.snapshot().is_empty(), "nothing has come since");
        let sealed = minutes.seal(60_000);
        assert_eq!((sealed[0].minute_ms, sealed[0].sequence), (0, shown[0].sequence));
        let requests = &sealed[0].requests;
        assert_eq!((requests.requests, requests.rows, requests.failed), (5, 4, 1));
        assert_eq!((requests.errors(), requests.errors["model_raised"]), (3, 1));
        assert_eq!((requests.latency.count(), requests.worker.count()), (4, 5));
        assert_eq!(&Requests::decode(&requests.encode()).unwrap(), requests);
        let mut twice = requests.clone();
        twice.merge(requests);
        assert_eq!((twice.requests, twice.errors(), twice.latency.count()), (10, 6, 8));
        twice.latency.subtract(&requests.latency);
        assert_eq!(twice.latency.counts(), requests.latency.counts());
    }

    #[test]
    fn placements_and_codes_are_bounded_and_what_is_beyond_is_counted() {
        let mut minutes = RequestMinutes::default();
        let one = [record(200, "", 1)];
        for version in 1..=PLACEMENTS_MAX as u32 + 3 {
            minutes.take(&placement(version), one.iter(), 0);
        }
        assert_eq!((minutes.close().len(), minutes.not_watched()), (PLACEMENTS_MAX, 3));
        let mut requests = Requests::default();
        (0..200).for_each(|code| requests.count_error(&format!("code_{code}"), 1));
        assert_eq!((requests.errors(), requests.errors.len()), (200, CODES_MAX + 1));
        assert!(requests.encode().len() < BYTES_MAX);
    }

    #[test]
    fn the_longest_body_is_one_that_can_be_read() {
        let mut requests = Requests::default();
        (0..200).for_each(|code| requests.count_error(&format!("code_{code}"), 1 << 52));
        for bucket in 0..domain::latency::bucket_of(u64::MAX) {
            let us = domain::latency::bucket_start_us(bucket);
            for latency in [&mut requests.latency, &mut requests.queue, &mut requests.worker] {
                latency.record_many_us(us, 4_000_000);
            }
        }
        let body = requests.encode();
        println!("{} bytes", body.len());
        assert_eq!(Requests::decode(&body).unwrap(), requests);
        for at in 0..body.len().min(200) {
            let mut damaged = body.clone();
            damaged[at] ^= 0x40;
            assert!(Requests::decode(&damaged).is_err(), "byte {at}");
        }
    }
}
