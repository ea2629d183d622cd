//! What is watched of the platform itself: whether the disk fills up, and whether records are lost.

use domain::DataDirectory;
use domain::alarm::{AlarmKey, AlarmKind, Confidence, Finding, Severity};
use monitor::disk::{Disk, Filling, Space};
use monitor::slo::{Events, SloKind};
use records::ring::Dropped;

use crate::processors::Processors;
use crate::senses::Senses;
use crate::terminal::bytes;

/// Between two looks at the disk, in milliseconds.
const DISK_LOOK_MS: u64 = 60_000;
/// So many records or values that are lost in a bucket, and this share of its requests, are told.
const LOST_MIN: u64 = 10;
const LOST_SHARE_MIN: f64 = 0.001;

/// What is known of it.
pub struct Machine {
    data: DataDirectory,
    disk: Disk,
    looked_ms: u64,
    lost: Dropped,
    /// Since when records are lost.
    losing_ms: Option<u64>,
    /// Since when the disk fills up.
    filling_ms: Option<u64>,
    processors: Processors,
}

impl Machine {
    /// Of the one that has this directory, and lost so much before now.
    pub fn new(data: DataDirectory, lost: Dropped) -> Machine {
        Machine {
            processors: Processors::new(&data.pressure()),
            data,
            disk: Disk::default(),
            looked_ms: 0,
            lost,
            losing_ms: None,
            filling_ms: None,
        }
    }

    /// Looks at the end of a bucket in which so many requests ended.
    pub fn bucket(&mut self, at_ms: u64, requests: u64, senses: &Senses) {
        self.look_at_records(at_ms, requests, senses);
        self.processors.look(at_ms);
        if at_ms.abs_diff(self.looked_ms) >= DISK_LOOK_MS {
            self.looked_ms = at_ms;
            self.look_at_disk(at_ms, senses);
        }
    }

    fn look_at_records(&mut self, at_ms: u64, requests: u64, senses: &Senses) {
        let Some(keeper) = &senses.keeper else { return };
        let now = keeper.lost();
        let before = std::mem::replace(&mut self.lost, now);
        let records = now.records.saturating_sub(before.records);
        let values = now.values.saturating_sub(before.values);
        let bad = records + values;
        let events = Events { all: requests.max(bad), bad };
        senses.objectives.add(None, SloKind::Records, at_ms, events);
        let key = AlarmKey::platform(AlarmKind::RecordsLost);
        let share = bad as f64 / events.all.max(1) as f64;
        if bad < LOST_MIN || share < LOST_SHARE_MIN {
            self.losing_ms = None;
            return senses.desk.quiet(&key, at_ms);
        }
        let since_ms = *self.losing_ms.get_or_insert(at_ms);
        let what = format!(
            "{records} of {requests} requests left no record, and {values} a record without \
             values, within {} s",
            monitor::health::BUCKET_MS / 1_000
        );
        let next = "decalog sql 'select * from gaps order by time desc limit 20'";
        senses.desk.raise(&key, found(Severity::Warning, what, since_ms, share, next), at_ms);
    }

    fn look_at_disk(&mut self, at_ms: u64, senses: &Senses) {
        let key = AlarmKey::platform(AlarmKind::Disk);
        let Ok(stat) = nix::sys::statvfs::statvfs(self.data.root()) else { return };
        let whole = |blocks: u64| blocks * stat.fragment_size();
        let (free, all) = (whole(stat.blocks_available()), whole(stat.blocks()));
        let Some(filling) = self.disk.look(Space { at_ms, free, all }) else {
            self.filling_ms = None;
            return senses.desk.quiet(&key, at_ms);
        };
        let since_ms = *self.filling_ms.get_or_insert(at_ms);
        let Filling { severity, free, share, full_in_ms } = filling;
        let pace = full_in_ms.map_or(String::new(), |ms| match ms / 60_000 {
            minutes @ 0..120 => format!(", and is full in {minutes} min at this pace"),
            minutes => format!(", and is full in {} h at this pace", minutes / 60),
        });
        let what = format!("the disk has {} free ({:.0}%){pace}", bytes(free), share * 100.0);
        let next = "decalog gc; decalog doctor";
        senses.desk.raise(&key, found(severity, what, since_ms, 1.0 - share, next), at_ms);
    }
}

fn found(severity: Severity, what: String, since_ms: u64, size: f64, next: &str) -> Finding {
    Finding {
        version: None,
        severity,
        what,
        since_ms,
        confidence: Confidence::Measured,
        size,
        columns: vec![],
        next: next.into(),
    }
}
