//! The desk: the one place where alarms live. Detectors say what is so as often as they like;
//! what changes is written to `DATA/alarms.sqlite` together with the alarm's new state, so that a
//! process that is killed neither loses nor repeats that an alarm opened or resolved. Receivers are
//! told from the same list of changes, each at its own pace.
//!
//! Of several processes only the one that holds `DATA/alarms.lock` decides; in the others the desk
//! can be read, and what detectors say there is ignored.

mod store;
mod telling;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use domain::alarm::{Alarm, AlarmChange, AlarmKey, Finding, Silence};
use domain::{Code, ModelKey, Problem};
use parking_lot::{Condvar, Mutex};
use policy::alarm::{Alarms, TooManySilences};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::health::Tell;
use store::Store;
pub use store::{CHANGES_MAX, CHANGES_MS_MAX};
pub(crate) use telling::Due;

/// What changed of open alarms without a change to tell is written so often, in milliseconds.
const SAVE_INTERVAL_MS: u64 = 60_000;
/// Old changes are dropped so often, in milliseconds.
const PRUNE_INTERVAL_MS: u64 = 600_000;
/// So many changes wait in memory at most while the disk takes none.
const PENDING_MAX: usize = 10_000;
/// How often it is looked whether somebody is still being told, at the end, in milliseconds.
const END_LOOK_MS: u64 = 5;

/// A change with its place in the order of all.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// Its number; there may be gaps.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub change: AlarmChange,
}

/// How it stands with a receiver.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ReceiverStatus {
    /// Changes that it is to be told.
    pub waiting: u64,
    /// Changes that it was told.
    pub delivered: u64,
    /// Changes that it was not told and will not be: it did not take them for a day.
    pub lost: u64,
    /// When it was last told something, in milliseconds since 1970.
    pub told_ms: Option<u64>,
    /// Since when it takes nothing, in milliseconds since 1970.
    pub failing_since_ms: Option<u64>,
    /// Why.
    pub error: Option<String>,
}

/// The right to decide and to tell. It ends when its last holder lets it go.
pub(crate) struct Lease {
    _lock: File,
}

struct Inner {
    alarms: Alarms,
    store: Store,
    lease: Option<Arc<Lease>>,
    /// The one before: somebody may still be told under it.
    let_go: Weak<Lease>,
    is_paused: bool,
    /// Changes that are not on the disk, with their times.
    pending: VecDeque<(u64, AlarmChange)>,
    /// Alarms that are not on the disk as they are.
    dirty: BTreeSet<AlarmKey>,
    saved_ms: u64,
    pruned_ms: u64,
    /// Changes that found no room in memory while the disk took none.
    overflowed: u64,
    trouble: Option<String>,
}

/// Where alarms live. One call is at work at a time; those that change nothing only look at memory.
pub struct Desk {
    path: PathBuf,
    inner: Mutex<Inner>,
    changed: Condvar,
    last: AtomicU64,
}

impl Desk {
    /// Opens the file, or makes it. One that cannot be read is set aside, and where none can be
    /// made alarms are kept in memory; why is the second value then.
    pub fn open(path: &Path) -> Result<(Arc<Desk>, Option<String>), Problem> {
        let mut trouble = None;
        let store = Store::open(path).and_then(|store| store.alarms().map(|_| store));
        let store = store.or_else(|error| {
            trouble = Some(format!("alarms begin anew, as their file cannot be read: {error}"));
            let anew = if store::is_broken(&error) { Store::anew(path) } else { Err(error) };
            anew.or_else(|error| {
                trouble = Some(format!("alarms are not kept beyond this process: {error}"));
                Store::in_memory()
            })
        });
        let store = store.map_err(|error| {
            Problem::new(Code::Internal, format!("no alarms can be kept: {error}"))
        })?;
        let alarms = store.alarms().unwrap_or_default();
        let last = store.last().unwrap_or(0);
        let desk = Desk {
            path: path.into(),
            inner: Mutex::new(Inner {
                alarms,
                store,
                lease: None,
                let_go: Weak::new(),
                is_paused: false,
                pending: VecDeque::new(),
                dirty: BTreeSet::new(),
                saved_ms: 0,
                pruned_ms: 0,
                overflowed: 0,
                trouble: trouble.clone(),
            }),
            changed: Condvar::new(),
            last: AtomicU64::new(last),
        };
        desk.take_lease(&mut desk.inner.lock());
        Ok((Arc::new(desk), trouble))
    }

    /// Takes the right to decide if nobody has it, and reads what whoever had it left.
    fn take_lease(&self, inner: &mut Inner) {
        if inner.is_paused || inner.lease.is_some() {
            return;
        }
        let path = self.path.with_extension("lock");
        let opened = OpenOptions::new().create(true).truncate(false).write(true).open(path);
        let lock = match opened {
            Ok(file) => match file.try_lock() {
                Ok(()) => file,
                Err(_) => return,
            },
            // A disk that takes no files has no second process either.
            Err(error) => match File::open("/dev/null") {
                Ok(file) => {
                    inner.trouble = Some(format!("no lock for alarms: {error}"));
                    file
                }
                Err(_) => return,
            },
        };
        match inner.store.alarms() {
            Ok(alarms) => inner.alarms = alarms,
            Err(error) => inner.trouble = Some(error.to_string()),
        }
        self.last.store(inner.store.last().unwrap_or(0), Ordering::Release);
        inner.lease = Some(Arc::new(Lease { _lock: lock }));
    }

    /// It is so. See [`policy::alarm::Alarms::raise`].
    pub fn raise(&self, key: &AlarmKey, finding: Finding, now_ms: u64) {
        self.change(key, now_ms, |alarms| alarms.raise(key, finding, now_ms));
    }

    /// It is not so. Say nothing while it is not known.
    pub fn quiet(&self, key: &AlarmKey, now_ms: u64) {
        self.change(key, now_ms, |alarms| alarms.quiet(key, now_ms));
    }

    /// It can no longer be so.
    pub fn close(&self, key: &AlarmKey, now_ms: u64) {
        self.change(key, now_ms, |alarms| alarms.close(key, now_ms));
    }

    /// All alarms of a model that was removed.
    pub fn close_model(&self, model: &ModelKey, now_ms: u64) {
        let of_model = |alarm: &Alarm| alarm.key.model() == Some(model);
        let keys: Vec<AlarmKey> =
            self.open_alarms().into_iter().filter(of_model).map(|alarm| alarm.key).collect();
        keys.iter().for_each(|key| self.close(key, now_ms));
    }

    fn change(
        &self,
        key: &AlarmKey,
        now_ms: u64,
        decide: impl FnOnce(&mut Alarms) -> Option<AlarmChange>,
    ) {
        let mut inner = self.inner.lock();
        if inner.lease.is_none() {
            return;
        }
        let change = decide(&mut inner.alarms);
        if change.is_some() || inner.alarms.get(key).is_some() {
            inner.dirty.insert(key.clone());
        }
        self.keep(&mut inner, change, now_ms);
    }

    /// Writes what changed; later if the disk takes nothing.
    fn keep(&self, inner: &mut Inner, changes: impl IntoIterator<Item = AlarmChange>, now_ms: u64) {
        for change in changes {
            if inner.pending.len() >= PENDING_MAX {
                inner.pending.pop_front();
                inner.overflowed += 1;
            }
            inner.pending.push_back((now_ms, change));
        }
        if !inner.pending.is_empty() {
            self.write(inner, now_ms);
        }
    }

    fn write(&self, inner: &mut Inner, now_ms: u64) {
        let Inner { alarms, store, pending, dirty, .. } = inner;
        let written = store.write(pending.iter(), dirty.iter(), alarms, now_ms);
        match written {
            Ok(()) => {
                inner.pending.clear();
                inner.dirty.clear();
                inner.trouble = None;
                self.last.store(inner.store.last().unwrap_or(0), Ordering::Release);
                self.changed.notify_all();
            }
            Err(error) if store::is_broken(&error) => {
                tracing::error!("alarms begin a new file, as theirs is broken: {error}");
                inner.dirty.extend(inner.alarms.open_alarms().map(|alarm| alarm.key.clone()));
                match Store::anew(&self.path) {
                    Ok(store) => {
                        let _ = store.number_after(self.last());
                        inner.store = store;
                    }
                    Err(error) => tracing::error!("no file for alarms: {error}"),
                }
                inner.trouble = Some(error.to_string());
            }
            Err(error) => {
                if inner.trouble.is_none() {
                    tracing::error!("alarms are not on the disk, it is tried again: {error}");
                }
                inner.trouble = Some(error.to_string());
            }
        }
    }

    /// To be called once a second: silences end, what the disk did not take is tried again, and
    /// what another process had is taken over.
    pub fn tick(&self, now_ms: u64) {
        let mut inner = self.inner.lock();
        self.take_lease(&mut inner);
        if inner.lease.is_none() {
            return;
        }
        let told = inner.alarms.unsilenced(now_ms);
        inner.dirty.extend(told.iter().map(|change| change.alarm.key.clone()));
        self.keep(&mut inner, told, now_ms);
        if now_ms.saturating_sub(inner.saved_ms) >= SAVE_INTERVAL_MS {
            inner.saved_ms = now_ms;
            if !inner.dirty.is_empty() {
                self.write(&mut inner, now_ms);
            }
        }
        if now_ms.saturating_sub(inner.pruned_ms) >= PRUNE_INTERVAL_MS {
            inner.pruned_ms = now_ms;
            if let Err(error) = inner.store.prune(now_ms) {
                tracing::warn!("old changes of alarms are still there: {error}");
            }
        }
    }

    /// Lets another process decide and tell. What is being told at this moment is told to its end
    /// first.
    pub fn pause(&self, now_ms: u64) {
        let mut inner = self.inner.lock();
        if inner.lease.is_some() {
            self.write(&mut inner, now_ms);
        }
        inner.is_paused = true;
        if let Some(lease) = inner.lease.take() {
            inner.let_go = Arc::downgrade(&lease);
        }
        self.changed.notify_all();
    }

    /// Before this process ends: like [`Desk::pause`], and waits until nobody is being told, but no
    /// longer than this.
    pub fn end(&self, now_ms: u64, at_most: Duration) {
        self.pause(now_ms);
        let lease = self.inner.lock().let_go.clone();
        let begun = std::time::Instant::now();
        while lease.strong_count() > 0 && begun.elapsed() < at_most {
            std::thread::sleep(Duration::from_millis(END_LOOK_MS));
        }
    }

    /// Decides and tells again, once no other process does.
    pub fn resume(&self) {
        let mut inner = self.inner.lock();
        inner.is_paused = false;
        self.take_lease(&mut inner);
        self.changed.notify_all();
    }

    /// Nobody is told of what it covers.
    pub fn silence(&self, silence: Silence, now_ms: u64) -> Result<(), TooManySilences> {
        let mut inner = self.inner.lock();
        inner.alarms.silence(silence, now_ms)?;
        self.keep_silences(&mut inner, now_ms);
        Ok(())
    }

    /// Ends all silences for which this holds; how many there were.
    pub fn unsilence(&self, which: impl Fn(&Silence) -> bool, now_ms: u64) -> usize {
        let mut inner = self.inner.lock();
        let like: Vec<Silence> =
            inner.alarms.silences(now_ms).filter(|silence| which(silence)).cloned().collect();
        let ended = like.iter().map(|silence| inner.alarms.unsilence(silence)).sum();
        if ended > 0 {
            self.keep_silences(&mut inner, now_ms);
        }
        ended
    }

    fn keep_silences(&self, inner: &mut Inner, now_ms: u64) {
        let Inner { alarms, store, .. } = inner;
        if let Err(error) = store.write_silences(alarms.silences(now_ms)) {
            tracing::error!("silences hold until this process ends: {error}");
            inner.trouble = Some(error.to_string());
        }
    }

    /// The silences that are in force.
    pub fn silences(&self, now_ms: u64) -> Vec<Silence> {
        self.inner.lock().alarms.silences(now_ms).cloned().collect()
    }

    /// All that are open, in order of their models.
    pub fn open_alarms(&self) -> Vec<Alarm> {
        self.inner.lock().alarms.open_alarms().cloned().collect()
    }

    /// Whether it is open.
    pub fn is_open(&self, key: &AlarmKey) -> bool {
        self.inner.lock().alarms.get(key).is_some()
    }

    /// The silence that covers an alarm for the longest time.
    pub fn silence_of(&self, alarm: &Alarm, now_ms: u64) -> Option<Silence> {
        let inner = self.inner.lock();
        let covers = inner.alarms.silences(now_ms).filter(|silence| silence.covers(alarm, now_ms));
        covers.max_by_key(|silence| silence.until_ms).cloned()
    }

    /// Changes after a number, in their order; at most so many.
    pub fn changes(&self, after: u64, limit: usize) -> Vec<Change> {
        self.read(|store| store.changes(after, limit))
    }

    /// The ends of alarms before a number, the newest first; at most so many.
    pub fn resolved(&self, before: u64, limit: usize) -> Vec<Change> {
        self.read(|store| store.resolved(before, limit))
    }

    /// The number of the last change.
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    /// Waits until there is a change after this number, and no longer than this; the number of the
    /// last one then.
    pub fn wait(&self, after: u64, at_most: Duration) -> u64 {
        let mut inner = self.inner.lock();
        if self.last() <= after {
            let _ = self.changed.wait_for(&mut inner, at_most);
        }
        self.last()
    }

    /// What is wrong with the file, or with memory, if something is.
    pub fn trouble(&self) -> Option<String> {
        let inner = self.inner.lock();
        let lost = inner.overflowed + inner.alarms.refused();
        let lost = (lost > 0).then(|| format!("{lost} alarms found no room"));
        inner.trouble.clone().or(lost)
    }

    fn read<T: Default>(&self, read: impl FnOnce(&Store) -> rusqlite::Result<T>) -> T {
        read(&self.inner.lock().store).unwrap_or_else(|error| {
            tracing::error!("alarms cannot be read: {error}");
            T::default()
        })
    }
}

impl Tell for Desk {
    fn raise(&self, key: &AlarmKey, finding: Finding, now_ms: u64) {
        Desk::raise(self, key, finding, now_ms);
    }

    fn quiet(&self, key: &AlarmKey, now_ms: u64) {
        Desk::quiet(self, key, now_ms);
    }

    fn close(&self, key: &AlarmKey, now_ms: u64) {
        Desk::close(self, key, now_ms);
    }
}

impl Desk {
    /// What was kept of objectives, by key.
    pub(crate) fn objectives(&self) -> Vec<(String, Vec<u8>)> {
        self.read(Store::objectives)
    }

    /// Keeps objectives, and drops others. `false` if this process does not decide, or the disk
    /// took nothing.
    pub(crate) fn keep_objectives(&self, kept: &[(String, Vec<u8>)], dropped: &[String]) -> bool {
        let mut inner = self.inner.lock();
        inner.lease.is_some() && inner.store.write_objectives(kept, dropped).is_ok()
    }

    /// Whether this process decides.
    pub fn decides(&self) -> bool {
        self.inner.lock().lease.is_some()
    }
}
