//! What waits in the queue of a placement: the earliest deadline first, with those that have left
//! and were not yet swept out.

use std::collections::BinaryHeap;

use crate::waiting::Waiting;

/// The longest service time at which a second batch is sent ahead to a busy replica, in
/// microseconds: there the round trip counts. Above it, waiting for a fuller batch is worth more.
pub const PREFETCH_SERVICE_US_MAX: f64 = 500.0;

/// The limits of a queue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The most rows in a batch.
    pub rows_max: usize,
    /// The most rows that wait.
    pub queue_rows_max: usize,
    /// The most bytes that they have.
    pub queue_bytes_max: usize,
    /// Whether requests may share a batch.
    pub mix: bool,
}

/// What waits in a queue, and who works it off. One lock guards all of it.
pub struct Backlog {
    /// Those that wait, with those that have left and were not yet swept out.
    pub heap: BinaryHeap<Waiting>,
    /// Rows of those that wait.
    pub rows: usize,
    /// Bytes of those that wait.
    pub bytes: usize,
    /// Callers that left while their entries stay in the heap, …
    pub left: usize,
    /// … and the bytes of these.
    pub left_bytes: usize,
    /// How long batches take.
    pub latency: policy::batch::LatencyModel,
    /// The number of the next request: of equal deadlines, the earlier goes first.
    pub next_order: u64,
    /// Slots that wait for work.
    pub idle: usize,
    /// Extra slots that do.
    pub idle_prefetch: usize,
    /// Slots that run a batch.
    pub busy: usize,
    /// All slots.
    pub slots: usize,
    /// With so many rows, a slot that lingers goes on.
    pub linger_rows: usize,
    /// The placement is out of the route table.
    pub retired: bool,
    /// Nothing is taken in any more.
    pub closed: bool,
}

impl Backlog {
    /// Nothing.
    pub fn new() -> Backlog {
        Backlog {
            heap: BinaryHeap::new(),
            rows: 0,
            bytes: 0,
            left: 0,
            left_bytes: 0,
            latency: Default::default(),
            next_order: 0,
            idle: 0,
            idle_prefetch: 0,
            busy: 0,
            slots: 0,
            linger_rows: usize::MAX,
            retired: false,
            closed: false,
        }
    }

    /// The heap has been emptied.
    pub fn forget_all(&mut self) {
        (self.rows, self.bytes, self.left, self.left_bytes) = (0, 0, 0, 0);
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Whether an idle extra slot should be woken.
    pub fn may_prefetch(&self) -> bool {
        self.idle_prefetch > 0 && self.may_prefetch_now()
    }

    /// Whether a batch may be sent ahead.
    pub fn may_prefetch_now(&self) -> bool {
        self.idle == 0
            && self.busy > 0
            && self.latency.mean_us(1).is_some_and(|mean_us| mean_us <= PREFETCH_SERVICE_US_MAX)
    }

    /// Takes the earliest that still waits.
    pub fn take_first(&mut self) -> Option<Waiting> {
        loop {
            let waiting = self.heap.pop()?;
            if let Some(waiting) = self.take(waiting) {
                return Some(waiting);
            }
        }
    }

    /// Makes one that is off the heap run, unless its caller has left.
    pub fn take(&mut self, waiting: Waiting) -> Option<Waiting> {
        if waiting.take() {
            self.rows -= waiting.payload.rows;
            self.bytes -= waiting.bytes;
            Some(waiting)
        } else {
            self.left -= 1;
            self.left_bytes -= waiting.bytes;
            None
        }
    }
}
