//! One bounded queue per placement, earliest deadline first. Callers put requests in; slots (one
//! for each batch that a replica may have in flight) take batches out. The lock is held for a few
//! pointer moves and never across an await.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use domain::scale::ServicePoint;
use domain::{Code, LatencyHistogram, Problem};
use parking_lot::Mutex;
use policy::batch::Linger;
use tokio::sync::Notify;

use crate::backlog::{Backlog, Limits};
use crate::batch::{self, Batch};
use crate::reply::RequestOutcome;
use crate::waiting::{LEFT, QUEUED, Waiting};

/// Callers that left are swept out when there are so many and they are more than half, …
const LEFT_MAX: usize = 64;
/// … or have so many bytes.
const LEFT_BYTES_MAX: usize = 8 << 20;

/// The queue at one moment.
pub struct WaitingNow {
    /// Rows of those that wait.
    pub rows: usize,
    /// How many wait.
    pub requests: usize,
    /// How long batches take, by size.
    pub service: Vec<ServicePoint>,
}

/// Why a request was not queued.
pub enum Refused {
    /// The queue has as many rows as it may.
    Full(Problem),
    /// The placement has ended: route again.
    Closed,
}

/// The queue of one placement.
pub struct Queue {
    pub(crate) inner: Mutex<Backlog>,
    pub(crate) limits: Limits,
    work: Notify,
    prefetch_work: Notify,
    linger_done: Notify,
}

/// Whether a slot is one of a replica's own, or the extra one that carries the next batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlotKind {
    /// Takes work whenever there is any.
    Primary,
    /// Takes work only while all primary slots are busy and batches are short.
    Prefetch,
}

/// How a replica is used at this moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// It holds a lease.
    Normal,
    /// Its lease is to be returned.
    Draining,
    /// It did not answer as it must.
    Broken,
}

/// What a slot is to do.
pub enum Next {
    /// Run this.
    Batch(Batch),
    /// Its replica or placement has ended: close the connection.
    End,
}

impl Queue {
    /// An empty queue.
    pub fn new(limits: Limits) -> Queue {
        Queue {
            inner: Mutex::new(Backlog::new()),
            limits,
            work: Notify::new(),
            prefetch_work: Notify::new(),
            linger_done: Notify::new(),
        }
    }

    /// Queues a request.
    pub fn submit(&self, mut waiting: Waiting) -> Result<QueuePlace<'_>, Refused> {
        let (rows, bytes) = (waiting.payload.rows, waiting.bytes);
        let ticket = waiting.ticket.clone();
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err(Refused::Closed);
        }
        if inner.rows + rows > self.limits.queue_rows_max && inner.rows > 0 {
            let message = format!(
                "{} rows are waiting; at most {} may",
                inner.rows, self.limits.queue_rows_max
            );
            return Err(Refused::Full(Problem::new(Code::QueueFull, message).help(
                "send less, try again later, or raise [batch] queue_rows_max or [scale] max",
            )));
        }
        if inner.bytes + bytes > self.limits.queue_bytes_max && inner.bytes > 0 {
            let message = format!(
                "{} bytes are waiting; at most {} may",
                inner.bytes, self.limits.queue_bytes_max
            );
            return Err(Refused::Full(
                Problem::new(Code::QueueFull, message)
                    .help("send less, try again later, or raise [scale] max"),
            ));
        }
        waiting.order = inner.next_order;
        inner.next_order += 1;
        let is_deserted = inner.slots == 0;
        self.push(inner, waiting);
        Ok(QueuePlace { queue: self, ticket, rows, bytes, is_deserted })
    }

    /// Queues a request again whose batch failed, to run by itself; never refused for want of room.
    pub fn requeue(&self, mut waiting: Waiting) {
        waiting.alone = true;
        let inner = self.inner.lock();
        waiting.ticket.store(QUEUED, Ordering::Release);
        self.push(inner, waiting);
    }

    fn push(&self, mut inner: parking_lot::MutexGuard<'_, Backlog>, waiting: Waiting) {
        inner.rows += waiting.payload.rows;
        inner.bytes += waiting.bytes;
        inner.heap.push(waiting);
        let wake_primary = inner.idle > 0;
        let wake_prefetch = !wake_primary && inner.may_prefetch();
        let linger_done = inner.rows >= inner.linger_rows;
        drop(inner);
        if wake_primary {
            self.work.notify_one();
        } else if wake_prefetch {
            self.prefetch_work.notify_one();
        }
        if linger_done {
            self.linger_done.notify_one();
        }
    }

    /// Waits until the callers just answered have sent their next requests: as many rows as they had, or until
    /// they cease to come.
    pub async fn linger(&self, linger: Linger, rows: usize) {
        let end = Instant::now() + Duration::from_micros(linger.limit_us);
        let mut queued = {
            let mut inner = self.inner.lock();
            inner.linger_rows = rows;
            inner.rows
        };
        loop {
            let gap_end = (Instant::now() + Duration::from_micros(linger.gap_us)).min(end);
            let is_full =
                tokio::time::timeout_at(gap_end.into(), self.linger_done.notified()).await.is_ok();
            let now_queued = self.inner.lock().rows;
            if is_full || now_queued <= queued || Instant::now() >= end {
                break;
            }
            queued = now_queued;
        }
        self.inner.lock().linger_rows = usize::MAX;
    }

    /// Waits for the next batch for a slot of a replica that is used as `using` says.
    pub async fn next(&self, kind: SlotKind, using: impl Fn() -> Use) -> Next {
        loop {
            let notified = match kind {
                SlotKind::Primary => self.work.notified(),
                SlotKind::Prefetch => self.prefetch_work.notified(),
            };
            tokio::pin!(notified);
            notified.as_mut().enable();
            {
                let mut inner = self.inner.lock();
                let ended = match using() {
                    Use::Normal => false,
                    // The last requests of a retired placement are answered by the replicas that it
                    // still has.
                    Use::Draining => !inner.retired || inner.is_empty(),
                    Use::Broken => true,
                };
                if ended {
                    return Next::End;
                }
                let may_take = match kind {
                    SlotKind::Primary => true,
                    SlotKind::Prefetch => inner.may_prefetch_now(),
                };
                if may_take
                    && let Some(batch) = batch::form(&mut inner, &self.limits, Instant::now())
                {
                    inner.busy += (kind == SlotKind::Primary) as usize;
                    return Next::Batch(batch);
                }
                inner.idle += (kind == SlotKind::Primary) as usize;
                inner.idle_prefetch += (kind == SlotKind::Prefetch) as usize;
            }
            let idle = Idle { queue: self, kind };
            notified.await;
            drop(idle);
            // The callers whose requests came at the same moment ask first: one batch for all of
            // them.
            tokio::task::yield_now().await;
        }
    }

    /// Takes note of a finished batch. Returns how, and for how many queued rows, its slot should
    /// wait before it takes the next.
    pub fn finished(
        &self,
        kind: SlotKind,
        rows: usize,
        service: Option<Duration>,
    ) -> Option<(Linger, usize)> {
        let mut inner = self.inner.lock();
        inner.busy -= (kind == SlotKind::Primary) as usize;
        if let Some(service) = service {
            inner.latency.observe(rows, service.as_nanos() as f64 / 1_000.0);
        }
        let linger = policy::batch::linger(&inner.latency, rows, inner.rows, self.limits.rows_max)
            .filter(|_| self.limits.mix && inner.idle == 0);
        linger.map(|linger| (linger, (inner.rows + rows).min(self.limits.rows_max)))
    }

    /// Rows that wait.
    pub fn queued_rows(&self) -> usize {
        self.inner.lock().rows
    }

    /// Counts a slot in.
    pub fn slot_started(&self) {
        self.inner.lock().slots += 1;
    }

    /// Counts a slot out; the last one of a retired placement closes the queue and sends the rest
    /// to be routed again.
    pub fn slot_ended(&self) {
        let mut inner = self.inner.lock();
        inner.slots -= 1;
        self.close_if_done(inner);
    }

    /// Marks the placement as out of the route table; wakes all slots so that they see it.
    pub fn retire(&self) {
        let mut inner = self.inner.lock();
        inner.retired = true;
        self.close_if_done(inner);
        self.wake_all();
    }

    /// What waits, and how long batches take.
    pub fn waiting(&self) -> WaitingNow {
        let inner = self.inner.lock();
        WaitingNow {
            rows: inner.rows,
            requests: inner.heap.len() - inner.left,
            service: inner.latency.points(),
        }
    }

    /// How old those are that wait.
    pub fn ages(&self, ages: &mut LatencyHistogram) {
        let now = Instant::now();
        let inner = self.inner.lock();
        let waiting =
            inner.heap.iter().filter(|waiting| waiting.ticket.load(Ordering::Acquire) == QUEUED);
        waiting.for_each(|waiting| {
            ages.record_us(now.saturating_duration_since(waiting.queued_at).as_micros() as u64)
        });
    }

    /// Wakes all slots so that they see that their replica ended.
    pub fn wake_all(&self) {
        self.work.notify_waiters();
        self.prefetch_work.notify_waiters();
    }

    fn close_if_done(&self, mut inner: parking_lot::MutexGuard<'_, Backlog>) {
        if inner.retired && inner.slots == 0 {
            inner.closed = true;
            let rest: Vec<Waiting> =
                std::mem::take(&mut inner.heap).into_iter().filter(Waiting::take).collect();
            inner.forget_all();
            drop(inner);
            for waiting in rest {
                let _ = waiting.reply.send(RequestOutcome::Moved);
            }
        }
    }

    /// Answers all that wait with this.
    pub fn fail_all(&self, problem: &Problem) {
        let mut inner = self.inner.lock();
        let all: Vec<Waiting> =
            std::mem::take(&mut inner.heap).into_iter().filter(Waiting::take).collect();
        inner.forget_all();
        drop(inner);
        for waiting in all {
            let outcome = RequestOutcome::Problem(problem.clone(), waiting.payload, None);
            let _ = waiting.reply.send(outcome);
        }
    }
}

/// Counts a slot as idle while it waits, even if its task is dropped.
struct Idle<'q> {
    queue: &'q Queue,
    kind: SlotKind,
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        let mut inner = self.queue.inner.lock();
        inner.idle -= (self.kind == SlotKind::Primary) as usize;
        inner.idle_prefetch -= (self.kind == SlotKind::Prefetch) as usize;
    }
}

/// A caller's place in the queue. Dropping it, as when the caller hangs up, frees the place.
pub struct QueuePlace<'q> {
    queue: &'q Queue,
    ticket: Arc<AtomicU8>,
    rows: usize,
    bytes: usize,
    /// Whether nothing was there to take it.
    pub is_deserted: bool,
}

impl QueuePlace<'_> {
    /// Leaves the queue; `false` if the request is running already.
    pub fn leave(&self) -> bool {
        // Taking a ticket and counting its rows happen under the lock on the other side too.
        if self.ticket.load(Ordering::Acquire) != QUEUED {
            return false;
        }
        let mut inner = self.queue.inner.lock();
        if self.ticket.compare_exchange(QUEUED, LEFT, Ordering::AcqRel, Ordering::Acquire).is_err()
        {
            return false;
        }
        inner.rows -= self.rows;
        inner.bytes -= self.bytes;
        inner.left += 1;
        inner.left_bytes += self.bytes;
        let many = inner.left > LEFT_MAX && inner.left > inner.heap.len() / 2;
        if many || inner.left_bytes > LEFT_BYTES_MAX {
            inner.heap.retain(|waiting| waiting.ticket.load(Ordering::Acquire) == QUEUED);
            (inner.left, inner.left_bytes) = (0, 0);
        }
        true
    }
}

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}
