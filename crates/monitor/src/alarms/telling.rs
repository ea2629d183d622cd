//! What the desk knows of receivers: what each is to be told next, and how far it was told.

use std::sync::Arc;

use domain::alarm::Alarm;
use domain::{AlertReceiver, Digest};

use super::{Change, Desk, Lease, ReceiverStatus};

/// So many changes are looked at for a receiver at a time.
const LOOKED_MAX: usize = 256;

/// What there is to tell somebody.
pub(crate) struct Due {
    /// Kept until it is told.
    pub lease: Arc<Lease>,
    /// In their order.
    pub changes: Vec<Change>,
    /// All up to here was looked at.
    pub seq: u64,
    /// Whether that is further than the receiver was told.
    pub is_further: bool,
}

impl Desk {
    /// Somebody is told of what changes from now on.
    pub fn add_receiver(&self, receiver: &AlertReceiver) {
        self.read(|store| store.begin(receiver.name.as_str(), store.last()?));
    }

    /// Somebody is told no more.
    pub fn remove_receiver(&self, receiver: &str) {
        self.read(|store| store.end(receiver));
    }

    /// How it stands with somebody.
    pub fn receiver(&self, receiver: &AlertReceiver) -> ReceiverStatus {
        self.read(|store| store.status(receiver))
    }

    /// What somebody is to be told next, who was told up to `told` as far as is known without the
    /// disk; `None` while this process tells nobody.
    pub(crate) fn due(&self, receiver: &AlertReceiver, told: u64) -> Option<Due> {
        let inner = self.inner.lock();
        let lease = inner.lease.clone()?;
        drop(inner);
        let name = receiver.name.as_str();
        let after = match self.read(|store| store.told(name)) {
            Some(after) => after.max(told),
            // A file that was begun anew knows nobody.
            None => {
                let after = if told > 0 { told } else { self.last() };
                self.read(|store| store.begin(name, after));
                after
            }
        };
        let looked = match after >= self.last() {
            true => vec![],
            false => self.changes(after, LOOKED_MAX),
        };
        let seq = looked.last().map_or(after, |change| change.seq);
        let is_told = |it: &Change| !it.change.silenced && receiver.takes(&it.change.alarm);
        let changes: Vec<Change> = looked.into_iter().filter(is_told).collect();
        Some(Due { lease, changes, seq, is_further: seq > after })
    }

    /// Somebody was told up to a number, of so many changes, while so many were lost to them.
    pub(crate) fn told(&self, _: &Lease, receiver: &str, seq: u64, count: (u64, u64), now_ms: u64) {
        self.read(|store| store.advance(receiver, seq, count, now_ms));
    }

    /// Why somebody could not be told; `None` if they can again.
    pub(crate) fn note(&self, _: &Lease, receiver: &str, error: Option<&str>, now_ms: u64) {
        self.read(|store| store.note(receiver, error, now_ms));
    }

    /// Those alarms of which somebody was told, and that are open: what Alertmanager forgets
    /// unless it is told again.
    pub(crate) fn announced(&self, receiver: &AlertReceiver) -> Vec<Alarm> {
        let inner = self.inner.lock();
        inner.alarms.announced().filter(|alarm| receiver.takes(alarm)).cloned().collect()
    }

    /// The same for one change and one receiver, whenever it is sent: by it repeats are known.
    pub(crate) fn message_id(&self, receiver: &str, seq: u64) -> String {
        let inner = self.inner.lock();
        let text = format!("{}\n{receiver}\n{seq}", inner.store.log_id());
        let digest = Digest::of(text.as_bytes()).to_string();
        format!("msg_{}", digest.get(..32).unwrap_or(&digest))
    }
}
