//! What the data plane keeps of one request, for metrics.

use std::sync::Arc;

use crate::code::Code;
use crate::id::Placement;

/// The status of a request whose caller hung up before its answer.
pub const ABANDONED: u16 = 499;

/// Whose fault an outcome is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blame {
    /// It was answered.
    Nobody,
    /// The placement failed it.
    Placement,
    /// The caller hung up.
    Abandoned,
    /// What the caller sent was wrong, or the server was short of something.
    Others,
}

/// Whose fault it is that a request ended with this status and this code, which is empty if there
/// was no error.
pub fn blame(status: u16, code: &str) -> Blame {
    match (status, code) {
        (ABANDONED, _) => Blame::Abandoned,
        // The server's own shortage is no version's fault.
        (_, "server_busy") => Blame::Others,
        // Its queue is full because it is slow.
        (500.., _) | (_, "queue_full") => Blame::Placement,
        // What callers got wrong says nothing about the version.
        (400.., _) => Blame::Others,
        _ => Blame::Nobody,
    }
}

/// One finished request. Times are in microseconds.
#[derive(Clone, Debug)]
pub struct Record {
    /// What answered; `None` if it was refused before a route was found.
    pub placement: Option<Arc<Placement>>,
    /// Status of the answer: 200, 422, …; [`ABANDONED`] if the caller did not wait for it.
    pub status: u16,
    /// A stable code of the error, empty if there was none.
    pub code: &'static str,
    /// Rows of the request.
    pub rows: u32,
    /// Rows of the batch that carried it.
    pub batch_rows: u32,
    /// From being queued to being sent.
    pub queue_us: u32,
    /// From being sent to the worker's answer.
    pub worker_us: u32,
    /// From the first byte of the request's head to the answer being ready, or to the first piece
    /// of one that streams; to the end of the caller's patience if it was abandoned.
    pub total_us: u32,
    /// Whether it was a copy, whose answer was only compared.
    pub is_copy: bool,
    /// Whether a copy's answer was the live one.
    pub agrees: Option<bool>,
    /// Its id, a UUIDv7; 0 if it has none.
    pub id: [u8; 16],
    /// The trace that it is part of; 0 if its caller named none.
    pub trace: [u8; 16],
}

impl Record {
    /// A request that was answered, without the parts of its time.
    pub fn new(placement: Option<Arc<Placement>>, rows: usize, total_us: u32) -> Record {
        let rows = rows as u32;
        Record {
            placement,
            status: 200,
            code: "",
            rows,
            batch_rows: 0,
            queue_us: 0,
            worker_us: 0,
            total_us,
            is_copy: false,
            agrees: None,
            id: [0; 16],
            trace: [0; 16],
        }
    }

    /// The caller hung up when the request was so old, in microseconds: its answer would have taken
    /// longer.
    pub fn abandon(&mut self, age_us: u32) {
        (self.status, self.code, self.total_us) = (ABANDONED, Code::Abandoned.label(), age_us);
    }
}
