//! What runs the model: how errors, crashes, queues, disks and lost records become shares for
//! [`ShareDetector`](super::ShareDetector), each with its bound.

use domain::alarm::Severity;
use serde::{Deserialize, Serialize};

use super::bound::upper_bound;

/// Errors below a hundredth of all requests are for the SLO, not for this alarm.
pub const ERROR_SHARE_MIN: f64 = 0.01;
/// In an ordinary hour one minute may have a worker that ended by itself. Unit: the minute; `part`
/// is 1 if one did, `whole` is 1.
pub const CRASH_MINUTES_SHARE: f64 = 1.0 / 60.0;
/// A queue that is in balance grows in at most half of all buckets, because it shrinks in as many.
/// Unit: 5 s; see [`queue_grew`].
pub const QUEUE_GROWTH_SHARE: f64 = 0.6;
/// Of records so many may be lost. Unit: the minute; `whole` are those that should have been kept.
pub const RECORDS_LOST_SHARE: f64 = 0.001;
/// Twice a hundredth: requests slower than the 99th percentile of the version's own past. Unit: the
/// minute.
pub const TAIL_SHARE_MAX: f64 = 0.02;

/// The bound of the share of failing requests, after so many in the version's past.
pub fn error_bound(errors: u64, requests: u64) -> f64 {
    match requests {
        0 => ERROR_SHARE_MIN,
        _ => upper_bound(errors as f64 / requests as f64, requests).max(ERROR_SHARE_MIN),
    }
}

/// `part` for a bucket whose queue had so many rows at its end; `whole` is 1. An empty queue did
/// not grow.
pub fn queue_grew(rows_before: u64, rows_now: u64) -> u64 {
    u64::from(rows_now > rows_before)
}

/// What is known of a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Disk {
    /// Free now, in bytes.
    pub free_bytes: u64,
    /// Its size, in bytes.
    pub size_bytes: u64,
    /// Free an hour ago, in bytes.
    pub free_hour_ago_bytes: u64,
}

impl Disk {
    /// How urgent it is: an alert below a twentieth or if it is full within 4 hours as it goes, a
    /// warning below a tenth or within 24 hours. It is quiet again only with a fifth more than that.
    pub fn severity(&self, before: Option<Severity>) -> Option<Severity> {
        let slack = |severity| if before >= Some(severity) { 1.2 } else { 1.0 };
        let is = |severity, share: f64, hours: f64| {
            let slack = slack(severity);
            self.free_share() < share * slack
                || self.hours_left().is_some_and(|left| left < hours * slack)
        };
        if is(Severity::Alert, 0.05, 4.0) {
            Some(Severity::Alert)
        } else if is(Severity::Warning, 0.1, 24.0) {
            Some(Severity::Warning)
        } else {
            None
        }
    }

    /// The share that is free.
    pub fn free_share(&self) -> f64 {
        self.free_bytes as f64 / self.size_bytes.max(1) as f64
    }

    /// Hours until it is full if it goes on as in the last one; `None` if it does not fill, or by
    /// less than a thousandth of its size an hour.
    pub fn hours_left(&self) -> Option<f64> {
        let taken = self.free_hour_ago_bytes.saturating_sub(self.free_bytes);
        let fills = taken > self.size_bytes / 1_000;
        fills.then(|| self.free_bytes as f64 / taken as f64)
    }
}
