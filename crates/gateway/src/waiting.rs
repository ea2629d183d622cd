//! A request that waits: what it asks, until when, where its answer goes, and whether its caller is
//! still there.

use std::cmp::Ordering as Order;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use protocol::Payload;
use protocol::trace::TraceContext;
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::load::Present;
use crate::memory::Memory;
use crate::reply::RequestOutcome;

/// States of a ticket: it waits, a slot has taken it, its caller has left.
pub const QUEUED: u8 = 0;
pub const TAKEN: u8 = 1;
pub const LEFT: u8 = 2;

/// A request that waits.
pub struct Waiting {
    /// Its rows.
    pub payload: Payload,
    /// Passed on to the model.
    pub parameters: Map<String, Value>,
    /// The outputs wanted; empty means all.
    pub outputs: Vec<String>,
    /// Whose part its run is, if somebody traces.
    pub trace: Option<TraceContext>,
    /// When it is of no use any more.
    pub deadline: Instant,
    /// When it was queued.
    pub queued_at: Instant,
    /// Whether it was in a batch that failed: then it runs by itself.
    pub alone: bool,
    /// Where its answer goes.
    pub reply: oneshot::Sender<RequestOutcome>,
    /// Whether it still waits.
    pub ticket: Arc<AtomicU8>,
    /// Counts it, if anybody does.
    pub present: Option<Present>,
    /// About how many bytes its rows have.
    pub bytes: usize,
    /// Its part of the budget of memory; freed with the rows.
    pub memory: Option<Memory>,
    /// Its place among those with the same deadline.
    pub order: u64,
}

impl Waiting {
    /// A request to be queued now.
    pub fn new(
        payload: Payload,
        deadline: Instant,
        reply: oneshot::Sender<RequestOutcome>,
    ) -> Waiting {
        Waiting {
            bytes: payload.size(),
            memory: None,
            payload,
            parameters: Map::new(),
            outputs: vec![],
            trace: None,
            deadline,
            queued_at: Instant::now(),
            alone: false,
            reply,
            ticket: Arc::new(AtomicU8::new(QUEUED)),
            present: None,
            order: 0,
        }
    }

    /// Whether the two may share a batch.
    pub fn agrees(&self, other: &Waiting) -> bool {
        !self.alone
            && !other.alone
            && self.payload.shapes_agree(&other.payload)
            && self.parameters == other.parameters
            && self.outputs == other.outputs
    }

    /// Takes it out of the queue for good; `false` if its caller has left.
    pub fn take(&self) -> bool {
        self.ticket.compare_exchange(QUEUED, TAKEN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Waiting) -> bool {
        self.cmp(other) == Order::Equal
    }
}
impl Eq for Waiting {}
impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Waiting) -> Option<Order> {
        Some(self.cmp(other))
    }
}
impl Ord for Waiting {
    /// The heap's greatest is the earliest deadline, then the first to come.
    fn cmp(&self, other: &Waiting) -> Order {
        (other.deadline, other.order).cmp(&(self.deadline, self.order))
    }
}
