//! One connection: what it is owed, and since when it is quiet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use crate::peer::Source;

/// What is known of one connection.
pub struct Link {
    pub(super) source: Source,
    begin: Instant,
    /// Answers that are owed or being written: whole ones, …
    pub(super) owed: AtomicU32,
    /// … ones that a model yields piece by piece, …
    pub(super) streams: AtomicU32,
    /// … and ones of the control plane that have no end.
    pub(super) follows: AtomicU32,
    /// Whether bytes wait for the reader: what is written of an answer is not yet sent.
    pub(super) writes: AtomicBool,
    /// Whether a request's head has come.
    pub(super) has_requested: AtomicBool,
    /// Since when nothing has happened, in milliseconds since `begin`.
    pub(super) quiet_since_ms: AtomicU64,
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
    /// One that has just opened; times count from `begin`.
    pub(super) fn new(source: Source, begin: Instant) -> Arc<Link> {
        let link = Link {
            source,
            begin,
            owed: AtomicU32::new(0),
            streams: AtomicU32::new(0),
            follows: AtomicU32::new(0),
            writes: AtomicBool::new(false),
            has_requested: AtomicBool::new(false),
            quiet_since_ms: AtomicU64::new(0),
        };
        link.touch();
        Arc::new(link)
    }

    fn now_ms(&self) -> u64 {
        self.begin.elapsed().as_millis() as u64
    }

    /// Something came.
    pub fn touch(&self) {
        self.quiet_since_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// A request's head has come.
    pub fn ask(self: &Arc<Link>) -> Ticket {
        self.has_requested.store(true, Ordering::Relaxed);
        self.touch();
        Ticket { link: self.clone(), wait: AtomicU8::new(Wait::Body as u8) }
    }

    /// Whether bytes wait for the reader.
    pub fn writes(&self, writes: bool) {
        self.touch();
        self.writes.store(writes, Ordering::Release);
    }

    pub(super) fn is_quiet(&self) -> bool {
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
