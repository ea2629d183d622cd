//! Answers that go on end with the right to them: with the token, with a role that is taken away,
//! with the time in which predictions were open to everybody.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use domain::Problem;
use tokio::time::{Instant, Sleep};

use crate::access::{Door, Who};

/// How often it is looked whether the right to an answer that goes on is still there, in
/// milliseconds.
const RECHECK_MS: u64 = 500;

/// What is decided again while an answer goes on. It lies in the extensions of a response without
/// a known end.
#[derive(Clone)]
pub enum Standing {
    /// Whether the model of this reference may be asked.
    Model(String),
    /// Whether the control plane would let the same request in.
    Control(Arc<dyn Fn() -> Result<(), Problem> + Send + Sync>),
}

/// Keeps whoever is answered in sight until the answer is written, and ends an answer that takes
/// long once they have no right to it any more.
pub struct Watch {
    door: Arc<Door>,
    who: Option<Who>,
    standing: Option<Standing>,
    /// As far as the rights were looked at.
    seq: Option<u64>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Watch {
    /// Over somebody; over nobody only where an answer goes on.
    pub fn new(door: &Arc<Door>, who: Option<Who>, standing: Option<Standing>) -> Option<Watch> {
        let is_watched = who.is_some() || standing.is_some();
        is_watched.then(|| Watch { door: door.clone(), who, standing, seq: None, timer: None })
    }

    /// Ready once they have no right to it any more. For an answer that waits for its next piece.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Problem> {
        if self.who.as_ref().is_some_and(Who::is_local_owner) {
            return Poll::Pending;
        }
        let next = || Instant::now() + Duration::from_millis(RECHECK_MS);
        loop {
            let timer =
                self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next())));
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            timer.as_mut().reset(next());
            if let Err(problem) = self.look() {
                return Poll::Ready(problem);
            }
        }
    }

    fn look(&mut self) -> Result<(), Problem> {
        // A token also ends by itself; all else only with an entry.
        self.who.as_ref().map_or(Ok(()), |who| self.door.recheck(who))?;
        let seq = Some(self.door.seq());
        if self.seq == seq {
            return Ok(());
        }
        match &self.standing {
            Some(Standing::Model(reference)) => self.door.may_ask(self.who.as_ref(), reference)?,
            Some(Standing::Control(is_let_in)) => is_let_in()?,
            None => {}
        }
        self.seq = seq;
        Ok(())
    }
}
