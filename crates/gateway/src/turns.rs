//! How many requests the control plane has at work at a time: what manages shares its one thread,
//! and more requests are answered with when to come again. Those that only watch have turns of their
//! own, so that nobody shuts them out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::{Code, Problem};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests for [`WATCHED`] that are at work at a time.
const WATCHES_MAX: usize = 64;
/// What watches this server asks for.
const WATCHED: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// The turns of all requests for the control plane.
pub struct Turns {
    ordinary: Arc<Semaphore>,
    watches: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

impl Turns {
    /// So many requests at work, and so many answers without an end.
    pub fn new(requests_max: usize, streams_max: usize) -> Turns {
        let semaphore = |max: usize| Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        Turns {
            ordinary: semaphore(requests_max),
            watches: semaphore(WATCHES_MAX),
            streams: semaphore(streams_max),
        }
    }

    /// For a request of this path; it has no turn yet.
    pub fn of(&self, path: &str) -> Turn {
        let among = if WATCHED.contains(&path) { &self.watches } else { &self.ordinary };
        Turn { among: among.clone(), permit: Mutex::new(None), refused: AtomicBool::new(false) }
    }

    /// For an answer without an end, as long as it is read.
    pub fn stream(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.streams
            .clone()
            .try_acquire_owned()
            .map_err(|_| busy("answers without an end, such as of `events --follow`,"))
    }
}

/// One request's turn: from its head to its answer, but for the time in which it waits for the rest
/// of its own body. So a caller that stalls takes no turn from others.
pub struct Turn {
    among: Arc<Semaphore>,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    refused: AtomicBool,
}

impl Turn {
    /// Goes on, if there is room.
    pub fn take(&self) -> Result<(), Problem> {
        let mut permit = self.permit.lock();
        if permit.is_none() {
            *permit = self.among.clone().try_acquire_owned().ok();
        }
        if permit.is_some() {
            return Ok(());
        }
        self.refused.store(true, Ordering::Release);
        Err(busy("requests to manage it"))
    }

    /// Waits for its own body.
    pub fn give(&self) {
        self.permit.lock().take();
    }

    /// Why it was ended on its way, if it was.
    pub fn refusal(&self) -> Option<Problem> {
        self.refused.load(Ordering::Acquire).then(|| busy("requests to manage it"))
    }
}

fn busy(what: &str) -> Problem {
    Problem::new(Code::ServerBusy, format!("the server has as many {what} as it may"))
        .help("try again in a second")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_given_back_while_its_body_is_on_its_way() {
        let turns = Turns::new(1, 1);
        let (first, second, watch) =
            (turns.of("/v1/models"), turns.of("/v1/models"), turns.of("/readyz"));
        assert!(first.take().is_ok() && first.take().is_ok(), "one turn is enough");
        assert_eq!(second.take().unwrap_err().code, Code::ServerBusy);
        assert!(watch.take().is_ok());
        assert!(second.refusal().is_some() && first.refusal().is_none());
        first.give();
        assert!(turns.of("/v1/gc").take().is_ok());
        let third = turns.of("/v1/gc");
        assert!(third.take().is_ok());
        assert!(first.take().is_err(), "another went on meanwhile");
        let stream = turns.stream().unwrap();
        assert!(turns.stream().is_err());
        drop(stream);
        assert!(turns.stream().is_ok());
    }
}
