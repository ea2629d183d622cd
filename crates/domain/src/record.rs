//! What the data plane keeps of one request, for metrics.

use std::sync::Arc;

use crate::id::Placement;

/// One finished request. Times are in microseconds.
#[derive(Clone, Debug)]
pub struct Record {
    /// What answered; `None` if it was refused before a route was found.
    pub placement: Option<Arc<Placement>>,
    /// Status of the answer: 200, 422, …
    pub status: u16,
    /// A stable code of the error, empty if there was none.
    pub code: &'static str,
    /// Rows asked.
    pub rows: u32,
    /// Rows of the batch that carried it.
    pub batch_rows: u32,
    /// From being queued to being sent.
    pub queue_us: u32,
    /// From being sent to the worker's answer.
    pub worker_us: u32,
    /// From the first byte of the request's head to the answer being ready.
    pub total_us: u32,
}
