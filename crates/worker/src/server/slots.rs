//! The places in which requests run: a semaphore whose permits are numbered, so that a runtime can
//! keep one session each.

use parking_lot::{Condvar, Mutex};

/// Numbered places.
pub struct Slots {
    free: Mutex<Vec<usize>>,
    freed: Condvar,
}

/// A place that is taken until this is dropped.
pub struct Slot<'a> {
    slots: &'a Slots,
    /// Below the number of places.
    pub number: usize,
}

impl Slots {
    /// All free.
    pub fn new(count: usize) -> Slots {
        // Taken from the end: the lowest number, whose memory is warm, first.
        Slots { free: Mutex::new((0..count).rev().collect()), freed: Condvar::new() }
    }

    /// Waits for a free place.
    pub fn take(&self) -> Slot<'_> {
        let mut free = self.free.lock();
        loop {
            if let Some(number) = free.pop() {
                return Slot { slots: self, number };
            }
            self.freed.wait(&mut free);
        }
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.slots.free.lock().push(self.number);
        self.slots.freed.notify_one();
    }
}
