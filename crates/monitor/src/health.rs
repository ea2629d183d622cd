//! Watches how the requests of each model fare: whether they fail, become slow or pile up. Detectors
//! and bounds are those of `policy`; here is what they are fed with, by model and environment.
//!
//! What is usual is learned from the model's own past of a day or two. A stretch of time is learned
//! only when the one after it is over and nothing was found in either, so that what is slow is not
//! taken for usual before it is found.

mod past;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::alarm::{AlarmKey, AlarmKind, Finding, Target};
use domain::{LatencyHistogram, Placement, VersionNumber};
pub use policy::drift::BUCKET_MS;
use policy::drift::{
    QUEUE_GROWTH_SHARE, SLOW_SHARE_MAX, ShareDetector, ShareFound, Signal, TAIL_SHARE_MAX,
    error_bound, queue_grew, share_finding,
};
use serde::{Deserialize, Serialize};

use crate::bucket::Bucket;
use past::Past;

/// Models in environments that are watched at most; others are not watched.
pub const TARGETS_MAX: usize = 10_000;
const MINUTE_MS: u64 = 60_000;

/// Whoever is told what detectors find. Saying the same again costs little.
pub trait Tell {
    /// It is so, and still so.
    fn raise(&self, key: &AlarmKey, finding: Finding, now_ms: u64);
    /// It is not so, or no more.
    fn quiet(&self, key: &AlarmKey, now_ms: u64);
    /// It can be so no more.
    fn close(&self, key: &AlarmKey, now_ms: u64);
}

/// A placement at the end of a bucket of [`BUCKET_MS`].
#[derive(Clone, Debug)]
pub struct Observed {
    /// Whose.
    pub placement: Arc<Placement>,
    /// What ended in the bucket.
    pub ended: Bucket,
    /// How old those are that have not ended.
    pub unfinished: LatencyHistogram,
    /// Rows that wait now.
    pub queued_rows: u64,
    /// Whether a worker ended by itself in the bucket.
    pub crashed: bool,
}

/// What is known of all models.
#[derive(Default)]
pub struct Health {
    targets: BTreeMap<Target, Model>,
}

/// What is known of one model in an environment: 60 KB with a day of latencies.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Model {
    past: Past,
    latency: ShareDetector,
    errors: ShareDetector,
    queue: ShareDetector,
    crashes: ShareDetector,
    queued_rows: u64,
    minute: Minute,
    tail: Tail,
    /// Whether there was anything since it was last saved.
    #[serde(skip)]
    is_dirty: bool,
}

/// The minute that runs.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Minute {
    at_ms: u64,
    by_version: BTreeMap<VersionNumber, LatencyHistogram>,
    crashed: bool,
}

/// The slowest requests of the version in charge, against its own past.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Tail {
    version: Option<VersionNumber>,
    past: Past,
    detector: ShareDetector,
}

/// What the placements of a model come to together.
#[derive(Default)]
struct Together {
    ended: Bucket,
    unfinished: LatencyHistogram,
    queued_rows: u64,
    crashed: bool,
    by_version: BTreeMap<VersionNumber, Bucket>,
}

impl Together {
    fn add(&mut self, observed: Observed) {
        self.ended.merge(&observed.ended);
        self.unfinished.merge(&observed.unfinished);
        self.queued_rows += observed.queued_rows;
        self.crashed |= observed.crashed;
        self.by_version.entry(observed.placement.version).or_default().merge(&observed.ended);
    }

    /// The version with most of what this counts.
    fn most(&self, of: impl Fn(&Bucket) -> u64) -> Option<VersionNumber> {
        let by_version = self.by_version.iter().map(|(version, bucket)| (of(bucket), *version));
        by_version.max().map(|(_, version)| version)
    }
}

impl Health {
    /// As it was saved.
    pub fn restore(saved: impl IntoIterator<Item = (Target, Model)>) -> Health {
        Health { targets: saved.into_iter().take(TARGETS_MAX).collect() }
    }

    /// What has changed since this was last called.
    pub fn changed(&mut self) -> Vec<(&Target, &Model)> {
        let changed = self.targets.iter_mut().filter(|(_, model)| model.is_dirty);
        changed
            .map(|(target, model)| {
                model.is_dirty = false;
                (target, &*model)
            })
            .collect()
    }

    /// Takes in the bucket that began at `at_ms` and ends now: all placements that have a route or
    /// had requests in it.
    pub fn bucket(
        &mut self,
        at_ms: u64,
        observed: impl IntoIterator<Item = Observed>,
        tell: &dyn Tell,
    ) {
        let mut together: BTreeMap<Target, Together> = BTreeMap::new();
        for observed in observed {
            together.entry(Target::of(&observed.placement)).or_default().add(observed);
        }
        for (target, bucket) in together {
            if !self.targets.contains_key(&target) && self.targets.len() >= TARGETS_MAX {
                continue;
            }
            let model = self.targets.entry(target.clone()).or_default();
            model.bucket(at_ms, &bucket, &target, tell);
        }
    }

    /// Forgets models that are no more, with their alarms.
    pub fn retain(&mut self, exists: impl Fn(&Target) -> bool, now_ms: u64, tell: &dyn Tell) {
        self.targets.retain(|target, _| {
            let stays = exists(target);
            if !stays {
                KINDS.iter().for_each(|kind| tell.close(&target.key(*kind), now_ms));
            }
            stays
        });
    }
}

/// The kinds of alarms that are raised here.
const KINDS: [AlarmKind; 5] = [
    AlarmKind::Latency,
    AlarmKind::Errors,
    AlarmKind::QueueGrowth,
    AlarmKind::TailLatency,
    AlarmKind::CrashLoop,
];

impl Default for Model {
    fn default() -> Model {
        Model {
            past: Past::default(),
            latency: ShareDetector::new(BUCKET_MS),
            errors: ShareDetector::new(BUCKET_MS),
            queue: ShareDetector::new(BUCKET_MS),
            crashes: ShareDetector::new(MINUTE_MS),
            queued_rows: 0,
            minute: Minute::default(),
            tail: Tail {
                version: None,
                past: Past::default(),
                detector: ShareDetector::new(MINUTE_MS),
            },
            is_dirty: false,
        }
    }
}

impl Model {
    fn bucket(&mut self, at_ms: u64, bucket: &Together, target: &Target, tell: &dyn Tell) {
        let now_ms = at_ms + BUCKET_MS;
        let Together { ended, unfinished, queued_rows, .. } = bucket;
        self.is_dirty |= ended.judged > 0 || unfinished.count() > 0;
        let mut found = false;
        let mut judge = |kind, signal, version, unit: &str| {
            found |= say(&target.key(kind), signal, version, unit, now_ms, tell);
        };
        if let Some(limit_us) = self.past.slow_limit_us() {
            // What does not end is slow too, once it is older than that.
            let old = unfinished.above_us(limit_us);
            let slow = ended.latency.above_us(limit_us) + old;
            let all = ended.latency.count() + old;
            let signal = self.latency.update(at_ms, slow, all, SLOW_SHARE_MAX);
            let version = bucket.most(|of| of.latency.above_us(limit_us));
            judge(AlarmKind::Latency, signal, version, &readable(limit_us));
        }
        let bound = error_bound(self.past.failed(), self.past.judged());
        let signal = self.errors.update(at_ms, ended.failed, ended.judged, bound);
        judge(AlarmKind::Errors, signal, bucket.most(|of| of.failed), "");
        let grew = queue_grew(self.queued_rows, *queued_rows);
        let signal = self.queue.update(at_ms, grew, 1, QUEUE_GROWTH_SHARE);
        judge(AlarmKind::QueueGrowth, signal, None, "");
        self.queued_rows = *queued_rows;
        self.past.add(at_ms, ended, !found);
        let minute_ms = at_ms - at_ms % MINUTE_MS;
        if minute_ms != self.minute.at_ms {
            let minute = std::mem::take(&mut self.minute);
            self.minute.at_ms = minute_ms;
            if minute.at_ms != 0 {
                self.minute(minute, target, tell);
            }
        }
        self.minute.crashed |= bucket.crashed;
        for (version, bucket) in &bucket.by_version {
            self.minute.by_version.entry(*version).or_default().merge(&bucket.latency);
        }
    }

    fn minute(&mut self, minute: Minute, target: &Target, tell: &dyn Tell) {
        let now_ms = minute.at_ms + MINUTE_MS;
        let crashed = u64::from(minute.crashed);
        let signal =
            self.crashes.update(minute.at_ms, crashed, 1, policy::drift::CRASH_MINUTES_SHARE);
        say(&target.key(AlarmKind::CrashLoop), signal, None, "", now_ms, tell);
        let most = minute.by_version.into_iter().max_by_key(|(_, latency)| latency.count());
        let Some((version, latency)) = most else { return };
        let key = target.key(AlarmKind::TailLatency);
        if self.tail.version != Some(version) {
            // Another version has another past.
            let detector = ShareDetector::new(MINUTE_MS);
            self.tail = Tail { version: Some(version), past: Past::default(), detector };
            tell.close(&key, now_ms);
        }
        let mut found = false;
        if let Some(limit_us) = self.tail.past.tail_limit_us() {
            let (slow, all) = (latency.above_us(limit_us), latency.count());
            let signal = self.tail.detector.update(minute.at_ms, slow, all, TAIL_SHARE_MAX);
            found = say(&key, signal, Some(version), &readable(limit_us), now_ms, tell);
        }
        let judged = latency.count();
        self.tail.past.add(minute.at_ms, &Bucket { latency, failed: 0, judged }, !found);
    }
}

/// Tells of a signal; whether something is found.
fn say(
    key: &AlarmKey,
    signal: Signal<ShareFound>,
    version: Option<VersionNumber>,
    unit: &str,
    now_ms: u64,
    tell: &dyn Tell,
) -> bool {
    match signal {
        Signal::NoData => false,
        Signal::Quiet => {
            tell.quiet(key, now_ms);
            false
        }
        Signal::Found(found) => {
            tell.raise(key, share_finding(key, version, &found, unit), now_ms);
            true
        }
    }
}

/// Microseconds as people read them.
fn readable(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..10_000 => format!("{:.1} ms", us as f64 / 1e3),
        10_000..1_000_000 => format!("{:.0} ms", us as f64 / 1e3),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}
