//! What a request asks of a model, and how that ended: the common ground of all protocols.

use std::sync::Arc;
use std::time::Instant;

use domain::Problem;
use protocol::simple::Form;
use protocol::{Answer, Payload};
use serde_json::{Map, Value};

use crate::lane::Lane;
use crate::reply::Timing;
use crate::stream::Pieces;

/// What a request asks of a model.
pub struct Ask {
    /// The rows.
    pub payload: Payload,
    /// Passed on to the model.
    pub parameters: Map<String, Value>,
    /// The outputs wanted; empty means all.
    pub outputs: Vec<String>,
    /// The form of simple JSON that the answer takes as well.
    pub form: Form,
}

/// A request that was answered.
pub struct Done {
    /// By what.
    pub lane: Arc<Lane>,
    /// Rows of this request.
    pub rows: usize,
    /// When it was queued.
    pub queued_at: Instant,
    /// When it ran.
    pub timing: Timing,
    /// The form of simple JSON that the request has.
    pub form: Form,
    /// What it asked.
    pub inputs: Payload,
    /// Its answer, if that is whole.
    pub outputs: Option<Rows>,
}

/// The two forms of an answer.
pub enum Reply {
    /// Rows of a batch's answer.
    Rows(Rows),
    /// Pieces that follow.
    Pieces(Pieces),
}

/// One request's part of a batch's answer.
#[derive(Clone)]
pub struct Rows {
    /// Of the whole batch.
    pub answer: Arc<Answer>,
    /// The first of this request's rows.
    pub first: usize,
    /// How many are this request's.
    pub count: usize,
    /// About how many bytes of the worker's answer they are.
    pub bytes: usize,
}

impl Rows {
    /// Which of the batch's rows they are.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.first..self.first + self.count
    }
}

/// A request that failed, and where, if it got that far.
pub struct Failed {
    /// What went wrong, as a caller reads it.
    pub problem: Problem,
    /// What it was routed to.
    pub lane: Option<Arc<Lane>>,
    /// Its rows, if they were read.
    pub rows: usize,
    /// What it asked, as far as that is still there.
    pub inputs: Payload,
    /// When it was queued, and when it ran, if it did.
    pub ran: Option<(Instant, Timing)>,
}

impl Failed {
    /// What the log says of it: no more than a record may have, and nothing of what was sent if it
    /// is not known what that may be.
    pub fn said(&self) -> String {
        let Problem { code, message, .. } = &self.problem;
        let said = self.lane.as_ref().map(|lane| lane.recorded.load().error(code, message).into());
        said.unwrap_or_else(|| code.meaning().into())
    }
}

impl From<Problem> for Failed {
    /// Before a model was found.
    fn from(problem: Problem) -> Failed {
        Failed { problem, lane: None, rows: 0, inputs: Payload::default(), ran: None }
    }
}
