//! What waits to be sent: bounded by bytes, filled by one thread and emptied by another.

use std::collections::VecDeque;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::seen::Seen;

/// What waits.
pub struct Queue {
    bytes_max: usize,
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Seen>,
    bytes: usize,
    /// Once nothing more comes: until when what waits may be sent.
    end: Option<Instant>,
}

impl Queue {
    /// An empty one for so many bytes.
    pub fn new(bytes_max: usize) -> Queue {
        Queue { bytes_max, inner: Mutex::default(), changed: Condvar::new() }
    }

    /// Adds a request; `false` if there is no room.
    pub fn push(&self, seen: Seen) -> bool {
        let (bytes, mut inner) = (seen.bytes(), self.inner.lock());
        if inner.bytes + bytes > self.bytes_max {
            return false;
        }
        inner.bytes += bytes;
        inner.waiting.push_back(seen);
        true
    }

    /// Takes out so many at most.
    pub fn take(&self, count: usize) -> Vec<Seen> {
        let mut inner = self.inner.lock();
        let count = count.min(inner.waiting.len());
        let taken: Vec<Seen> = inner.waiting.drain(..count).collect();
        inner.bytes -= taken.iter().map(Seen::bytes).sum::<usize>();
        taken
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.inner.lock().waiting.len()
    }

    /// Nothing more comes; what waits may be sent until then.
    pub fn end(&self, until: Instant) {
        self.inner.lock().end = Some(until);
        self.changed.notify_all();
    }

    /// Until when what waits may be sent, once nothing more comes.
    pub fn ends(&self) -> Option<Instant> {
        self.inner.lock().end
    }

    /// Waits until a time, or the end.
    pub fn wait_until(&self, time: Instant) {
        let mut inner = self.inner.lock();
        while inner.end.is_none() {
            if self.changed.wait_until(&mut inner, time).timed_out() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seen::sample;

    #[test]
    fn what_finds_no_room_is_refused_and_what_was_taken_gives_its_room_back() {
        let bytes = sample().bytes();
        let queue = Queue::new(bytes * 3 + bytes / 2);
        let pushed = |queue: &Queue| (0..5).filter(|_| queue.push(sample())).count();
        assert_eq!((pushed(&queue), queue.len()), (3, 3));
        assert_eq!((queue.take(2).len(), pushed(&queue)), (2, 2));
        assert_eq!((queue.take(9).len(), queue.len(), queue.take(9).len()), (3, 0, 0));
        assert_eq!(queue.inner.lock().bytes, 0);
    }
}
