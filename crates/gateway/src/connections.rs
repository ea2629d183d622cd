//! The connections that are open: how many there may be, of one machine too, and which is closed so
//! that another gets in.
//!
//! A connection is *quiet* while no request of it is owed an answer: it is silent, idle, or its
//! request is still on its way. Quiet ones are closed when their time is up, the quietest first
//! when there are too many, and all of them soon after the server is to stop. One that is
//! owed an answer is not.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

mod link;

use crate::peer::Source;

pub use link::{Link, Ticket, Wait};

/// The part of all connections that one source may have, in percent: others always find room.
const PEER_PERCENT_MAX: usize = 75;
/// The quietest connections are looked up so many at a time, so that a flood of new ones does not
/// look through all for each.
const FOUND_MAX: usize = 64;
/// When all were at work, nobody looks again for so long, in milliseconds.
const LOOK_PAUSE_MS: u64 = 10;

/// All connections of a gateway.
pub struct Connections {
    max: usize,
    source_max: usize,
    begin: Instant,
    inner: Mutex<Inner>,
    /// Notified when the last has closed.
    empty: Notify,
}

#[derive(Default)]
struct Inner {
    open: HashMap<u64, Entry>,
    by_source: HashMap<Source, usize>,
    next_id: u64,
    /// Of all sources, and of the one that has as many as it may.
    found: Found,
    found_of_source: Found,
}

struct Entry {
    link: Arc<Link>,
    /// Closes the connection.
    task: Option<AbortHandle>,
}

/// Quiet connections, the quietest last.
#[derive(Default)]
struct Found {
    source: Option<Source>,
    /// Since when it was quiet then, and which.
    ids: Vec<(u64, u64)>,
    /// When none was found, in milliseconds since the begin.
    none_at_ms: Option<u64>,
}

/// A connection's place among the open ones, until it is dropped.
pub struct Open {
    connections: Arc<Connections>,
    id: u64,
    /// What is known of it.
    pub link: Arc<Link>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.forget(self.id);
    }
}

impl Connections {
    /// None yet.
    pub fn new(max: usize) -> Arc<Connections> {
        let source_max = (max * PEER_PERCENT_MAX / 100).max(1);
        Arc::new(Connections {
            max: max.max(1),
            source_max,
            begin: Instant::now(),
            inner: Mutex::default(),
            empty: Notify::new(),
        })
    }

    fn now_ms(&self) -> u64 {
        self.begin.elapsed().as_millis() as u64
    }

    /// Lets a connection in, in place of a quiet one if there are too many; `None` while all of
    /// those are at work.
    pub fn admit(self: &Arc<Connections>, source: Source) -> Option<Open> {
        let mut inner = self.inner.lock();
        let of_source = inner.by_source.get(&source).copied().unwrap_or(0);
        if of_source >= self.source_max {
            self.close_quietest(&mut inner, Some(source)).then_some(())?;
        } else if inner.open.len() >= self.max {
            self.close_quietest(&mut inner, None).then_some(())?;
        }
        let link = Link::new(source, self.begin);
        let id = inner.next_id;
        inner.next_id += 1;
        inner.open.insert(id, Entry { link: link.clone(), task: None });
        *inner.by_source.entry(source).or_default() += 1;
        Some(Open { connections: self.clone(), id, link })
    }

    /// Says how the connection can be closed.
    pub fn started(&self, id: u64, task: AbortHandle) {
        if let Some(entry) = self.inner.lock().open.get_mut(&id) {
            entry.task = Some(task);
        }
    }

    /// Closes the quietest ones, as when descriptors have run out; how many.
    pub fn relieve(&self, count: usize) -> usize {
        let mut inner = self.inner.lock();
        (0..count).take_while(|_| self.close_quietest(&mut inner, None)).count()
    }

    fn close_quietest(&self, inner: &mut Inner, source: Option<Source>) -> bool {
        let now_ms = self.now_ms();
        let mut found = std::mem::take(if source.is_some() {
            &mut inner.found_of_source
        } else {
            &mut inner.found
        });
        if found.source != source {
            found = Found { source, ..Found::default() };
        }
        let mut closed = found.close_one(inner);
        if !closed && found.none_at_ms.is_none_or(|at_ms| now_ms >= at_ms + LOOK_PAUSE_MS) {
            found.ids = inner.quietest(source);
            closed = found.close_one(inner);
            found.none_at_ms = (!closed).then_some(now_ms);
        }
        *(if source.is_some() { &mut inner.found_of_source } else { &mut inner.found }) = found;
        closed
    }

    /// Closes those whose time is up: without a first request after `head_ms_max`, without another
    /// after `idle_ms_max`.
    pub fn sweep(&self, head_ms_max: u64, idle_ms_max: u64) {
        let now_ms = self.now_ms();
        self.close_where(|link| {
            let limit_ms =
                if link.has_requested.load(Ordering::Relaxed) { idle_ms_max } else { head_ms_max };
            link.is_quiet()
                && now_ms.saturating_sub(link.quiet_since_ms.load(Ordering::Relaxed)) >= limit_ms
        });
    }

    /// Closes those that are owed no answer; with `streams`, also those that a model's answer is
    /// still coming on.
    pub fn close_quiet(&self, streams: bool) {
        let none = |count: &AtomicU32| count.load(Ordering::Acquire) == 0;
        let is_free = |link: &Link| {
            // The end of a whole answer may still be on its way to a slow reader.
            let ends =
                link.writes.load(Ordering::Acquire) && none(&link.streams) && none(&link.follows);
            none(&link.owed) && !ends && (streams || none(&link.streams))
        };
        self.close_where(is_free);
    }

    fn close_where(&self, closes: impl Fn(&Link) -> bool) {
        let inner = self.inner.lock();
        let closing = inner
            .open
            .values()
            .filter(|entry| closes(&entry.link))
            .filter_map(|entry| entry.task.as_ref());
        // Each leaves the table when its task ends, which takes the lock.
        closing.for_each(AbortHandle::abort);
    }

    fn forget(&self, id: u64) {
        let mut inner = self.inner.lock();
        inner.remove(id);
        if inner.open.is_empty() {
            self.empty.notify_waiters();
        }
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.inner.lock().open.len()
    }

    /// Waits until all have closed, but no longer than this.
    pub async fn until_empty(&self, limit: Duration) -> bool {
        let empty = async {
            loop {
                let emptied = self.empty.notified();
                if self.count() == 0 {
                    return;
                }
                emptied.await;
            }
        };
        tokio::time::timeout(limit, empty).await.is_ok()
    }
}

impl Open {
    /// Names it among the open ones.
    pub fn id(&self) -> u64 {
        self.id
    }
}

impl Found {
    /// Closes the quietest that is still as quiet as when it was found.
    fn close_one(&mut self, inner: &mut Inner) -> bool {
        while let Some((since_ms, id)) = self.ids.pop() {
            let Some(entry) = inner.open.get(&id) else { continue };
            let is_same = entry.link.is_quiet()
                && entry.link.quiet_since_ms.load(Ordering::Relaxed) == since_ms;
            if let (true, Some(task)) = (is_same, &entry.task) {
                task.abort();
                inner.remove(id);
                return true;
            }
        }
        false
    }
}

impl Inner {
    fn remove(&mut self, id: u64) {
        let Some(entry) = self.open.remove(&id) else { return };
        if let Some(count) = self.by_source.get_mut(&entry.link.source) {
            *count -= 1;
            if *count == 0 {
                self.by_source.remove(&entry.link.source);
            }
        }
    }

    /// The quietest, the very quietest last.
    fn quietest(&self, source: Option<Source>) -> Vec<(u64, u64)> {
        let quiet = self.open.iter().filter(|(_, entry)| {
            source.is_none_or(|source| entry.link.source == source) && entry.link.is_quiet()
        });
        let mut ids: Vec<(u64, u64)> = quiet
            .map(|(id, entry)| (entry.link.quiet_since_ms.load(Ordering::Relaxed), *id))
            .collect();
        if ids.len() > FOUND_MAX {
            ids.select_nth_unstable(FOUND_MAX);
            ids.truncate(FOUND_MAX);
        }
        ids.sort_unstable_by(|left, right| right.cmp(left));
        ids
    }
}

#[cfg(test)]
mod tests;
