//! The connections that are open: how many there may be, of one peer too, and which is closed so
//! that another gets in.
//!
//! A connection is *quiet* while no request of it is owed an answer: it is silent, idle, or its
//! request is still on its way. Quiet ones are closed when their time is up, the quietest first
//! when there are too many, and all of them soon after the server was told to stop. One that is
//! owed an answer is not.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// The part of all connections that one peer may have, in percent: others always find room.
const PEER_PERCENT_MAX: usize = 75;
/// The quietest connections are looked up so many at a time, so that a flood of new ones does not
/// look through all for each.
const FOUND_MAX: usize = 64;
/// When all were at work, nobody looks again for so long, in milliseconds.
const LOOK_PAUSE_MS: u64 = 10;

/// All connections of a gateway.
pub struct Connections {
    max: usize,
    peer_max: usize,
    begin: Instant,
    inner: Mutex<Inner>,
    /// Told when the last has closed.
    empty: Notify,
}

#[derive(Default)]
struct Inner {
    open: HashMap<u64, Entry>,
    by_peer: HashMap<IpAddr, usize>,
    next_id: u64,
    /// Of all peers, and of the one that has as many as it may.
    found: Found,
    found_of_peer: Found,
}

struct Entry {
    link: Arc<Link>,
    /// Closes the connection.
    task: Option<AbortHandle>,
}

/// Quiet connections, the quietest last.
#[derive(Default)]
struct Found {
    peer: Option<IpAddr>,
    /// Since when it was quiet then, and which.
    ids: Vec<(u64, u64)>,
    /// When none was found, in milliseconds since the begin.
    none_at_ms: Option<u64>,
}

/// What is known of one connection.
pub struct Link {
    peer: IpAddr,
    begin: Instant,
    /// Answers that are owed or being written: whole ones, …
    owed: AtomicU32,
    /// … ones that a model yields piece by piece, …
    streams: AtomicU32,
    /// … and ones of the control plane that have no end.
    follows: AtomicU32,
    /// Whether bytes wait for the reader: what is written of an answer is not yet sent.
    writes: AtomicBool,
    /// Whether a request's head has come.
    has_asked: AtomicBool,
    /// Since when nothing has happened, in milliseconds since `begin`.
    quiet_since_ms: AtomicU64,
}

/// What a request waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Wait {
    /// The rest of its own body.
    Body,
    /// An answer that comes whole.
    Answer,
    /// The pieces of a model's answer.
    Stream,
    /// What the control plane tells without end.
    Follow,
}

/// A request on a connection, until its answer has been written.
pub struct Ticket {
    link: Arc<Link>,
    wait: AtomicU8,
}

impl Link {
    fn now_ms(&self) -> u64 {
        self.begin.elapsed().as_millis() as u64
    }

    /// Something came.
    pub fn touch(&self) {
        self.quiet_since_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// A request's head has come.
    pub fn ask(self: &Arc<Link>) -> Ticket {
        self.has_asked.store(true, Ordering::Relaxed);
        self.touch();
        Ticket { link: self.clone(), wait: AtomicU8::new(Wait::Body as u8) }
    }

    /// Whether bytes wait for the reader.
    pub fn writes(&self, writes: bool) {
        self.touch();
        self.writes.store(writes, Ordering::Release);
    }

    fn is_quiet(&self) -> bool {
        !self.writes.load(Ordering::Acquire)
            && [&self.owed, &self.streams, &self.follows]
                .iter()
                .all(|count| count.load(Ordering::Acquire) == 0)
    }

    fn count(&self, wait: u8) -> Option<&AtomicU32> {
        [None, Some(&self.owed), Some(&self.streams), Some(&self.follows)][usize::from(wait & 3)]
    }
}

impl Ticket {
    /// It waits for something else now.
    pub fn waits_for(&self, wait: Wait) {
        if let Some(count) = self.link.count(wait as u8) {
            count.fetch_add(1, Ordering::AcqRel);
        }
        let before = self.wait.swap(wait as u8, Ordering::AcqRel);
        if let Some(count) = self.link.count(before) {
            count.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// A part of its body came.
    pub fn touch(&self) {
        self.link.touch();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.link.touch();
        if let Some(count) = self.link.count(self.wait.load(Ordering::Acquire)) {
            count.fetch_sub(1, Ordering::AcqRel);
        }
    }
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

/// All connections of one peer. A machine with IPv6 has a whole /64 to itself.
fn peer_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) >> 64 << 64).into()),
        ip => ip,
    }
}

impl Connections {
    /// None yet.
    pub fn new(max: usize) -> Arc<Connections> {
        let peer_max = (max * PEER_PERCENT_MAX / 100).max(1);
        Arc::new(Connections {
            max: max.max(1),
            peer_max,
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
    pub fn admit(self: &Arc<Connections>, ip: IpAddr) -> Option<Open> {
        let peer = peer_of(ip);
        let mut inner = self.inner.lock();
        let of_peer = inner.by_peer.get(&peer).copied().unwrap_or(0);
        if of_peer >= self.peer_max {
            self.close_quietest(&mut inner, Some(peer)).then_some(())?;
        } else if inner.open.len() >= self.max {
            self.close_quietest(&mut inner, None).then_some(())?;
        }
        let link = Arc::new(Link {
            peer,
            begin: self.begin,
            owed: AtomicU32::new(0),
            streams: AtomicU32::new(0),
            follows: AtomicU32::new(0),
            writes: AtomicBool::new(false),
            has_asked: AtomicBool::new(false),
            quiet_since_ms: AtomicU64::new(self.now_ms()),
        });
        let id = inner.next_id;
        inner.next_id += 1;
        inner.open.insert(id, Entry { link: link.clone(), task: None });
        *inner.by_peer.entry(peer).or_default() += 1;
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

    fn close_quietest(&self, inner: &mut Inner, peer: Option<IpAddr>) -> bool {
        let now_ms = self.now_ms();
        let mut found = std::mem::take(if peer.is_some() {
            &mut inner.found_of_peer
        } else {
            &mut inner.found
        });
        if found.peer != peer {
            found = Found { peer, ..Found::default() };
        }
        let mut closed = found.close_one(inner);
        if !closed && found.none_at_ms.is_none_or(|at_ms| now_ms >= at_ms + LOOK_PAUSE_MS) {
            found.ids = inner.quietest(peer);
            closed = found.close_one(inner);
            found.none_at_ms = (!closed).then_some(now_ms);
        }
        *(if peer.is_some() { &mut inner.found_of_peer } else { &mut inner.found }) = found;
        closed
    }

    /// Closes those whose time is up: without a first request after `head_ms_max`, without another
    /// after `idle_ms_max`.
    pub fn sweep(&self, head_ms_max: u64, idle_ms_max: u64) {
        let now_ms = self.now_ms();
        self.close_where(|link| {
            let limit_ms =
                if link.has_asked.load(Ordering::Relaxed) { idle_ms_max } else { head_ms_max };
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
                let told = self.empty.notified();
                if self.count() == 0 {
                    return;
                }
                told.await;
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
        if let Some(count) = self.by_peer.get_mut(&entry.link.peer) {
            *count -= 1;
            if *count == 0 {
                self.by_peer.remove(&entry.link.peer);
            }
        }
    }

    /// The quietest, the very quietest last.
    fn quietest(&self, peer: Option<IpAddr>) -> Vec<(u64, u64)> {
        let quiet = self.open.iter().filter(|(_, entry)| {
            peer.is_none_or(|peer| entry.link.peer == peer) && entry.link.is_quiet()
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
mod tests {
    use super::*;

    const HERE: [u8; 4] = [127, 0, 0, 1];

    /// Connections whose tasks wait for ever.
    fn open(
        connections: &Arc<Connections>,
        ip: [u8; 4],
    ) -> Option<(Open, tokio::task::JoinHandle<()>)> {
        let open = connections.admit(ip.into())?;
        let task = tokio::spawn(std::future::pending());
        connections.started(open.id(), task.abort_handle());
        Some((open, task))
    }

    #[tokio::test]
    async fn the_quietest_makes_room_and_one_that_is_owed_an_answer_stays() {
        let connections = Connections::new(4);
        let (mut opened, mut tickets) = (vec![], vec![]);
        for peer in 1..=4 {
            let (open, task) = open(&connections, [10, 0, 0, peer]).unwrap();
            if peer != 3 {
                tickets.push(open.link.ask());
                tickets.last().unwrap().waits_for(Wait::Answer);
            }
            opened.push((open, task));
        }
        let fifth = open(&connections, [10, 0, 0, 5]).expect("the third makes room");
        fifth.0.link.ask().waits_for(Wait::Body);
        assert!((&mut opened[2].1).await.unwrap_err().is_cancelled());
        let owed = fifth.0.link.ask();
        owed.waits_for(Wait::Stream);
        assert!(open(&connections, [10, 0, 0, 6]).is_none(), "all are at work");
        drop(tickets.pop());
        // The fourth has its answer: it makes room as soon as anybody looks again.
        while open(&connections, [10, 0, 0, 6]).is_none() {
            tokio::task::yield_now().await;
        }
        assert_eq!(connections.count(), 3, "the last one was dropped at once");
    }

    #[tokio::test]
    async fn one_peer_does_not_have_all() {
        let connections = Connections::new(8);
        let mut opened: Vec<_> = (0..20).filter_map(|_| open(&connections, HERE)).collect();
        assert_eq!(connections.count(), 6);
        assert!(open(&connections, [10, 0, 0, 1]).is_some());
        let tickets: Vec<_> =
            opened.iter().rev().take(6).map(|(open, _)| open.link.ask()).collect();
        tickets.iter().for_each(|ticket| ticket.waits_for(Wait::Answer));
        assert!(open(&connections, HERE).is_none(), "all of this peer are at work");
        opened.clear();
        assert_eq!(connections.count(), 0);
        assert!(connections.until_empty(Duration::ZERO).await);
    }

    #[tokio::test]
    async fn what_stays_quiet_is_closed() {
        let connections = Connections::new(8);
        let (silent, silent_task) = open(&connections, HERE).unwrap();
        let (busy, busy_task) = open(&connections, HERE).unwrap();
        let ticket = busy.link.ask();
        ticket.waits_for(Wait::Follow);
        connections.sweep(0, 0);
        assert!(silent_task.await.unwrap_err().is_cancelled());
        assert!(!busy_task.is_finished());
        connections.close_quiet(false);
        assert!(
            busy_task.await.unwrap_err().is_cancelled(),
            "what has no end is ended when the server stops"
        );
        drop((silent, ticket, busy));
    }

    #[test]
    fn a_network_of_ipv6_is_one_peer() {
        let of = |text: &str| peer_of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}
