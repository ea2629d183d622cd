//! Calls of identity providers and issuers, which may be slow or never answer: how many may be on
//! their way, so that they take the threads for files and the like from nobody, and one caller takes
//! them from no other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use domain::{Code, Problem};
use gateway::Source;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Calls at a time: each has a thread.
const CALLS_MAX: usize = 2;
/// Calls of one source that are on their way or wait.
const OF_ONE_MAX: usize = 8;
/// How long one waits for its turn, in milliseconds.
const WAIT_MS_MAX: u64 = 5_000;

/// The calls of one kind.
pub struct Calls {
    turns: Semaphore,
    by_source: Arc<Mutex<HashMap<Source, usize>>>,
}

/// One call on its way.
pub struct Call<'a> {
    _turn: SemaphorePermit<'a>,
    _counted: Counted,
}

struct Counted(Arc<Mutex<HashMap<Source, usize>>>, Source);

impl Drop for Counted {
    fn drop(&mut self) {
        let mut by_source = self.0.lock();
        if let Some(count) = by_source.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                by_source.remove(&self.1);
            }
        }
    }
}

impl Default for Calls {
    fn default() -> Calls {
        Calls { turns: Semaphore::new(CALLS_MAX), by_source: Arc::default() }
    }
}

fn busy(text: &str) -> Problem {
    Problem::new(Code::ServerBusy, text).help("try again in some seconds")
}

impl Calls {
    /// Waits for the turn of somebody.
    pub async fn turn(&self, source: Source) -> Result<Call<'_>, Problem> {
        let counted = self.count(source)?;
        let turn = tokio::time::timeout(Duration::from_millis(WAIT_MS_MAX), self.turns.acquire());
        let turn = turn.await.ok().and_then(Result::ok);
        let text = "the identity provider is slow, and other logins wait for it";
        Ok(Call { _turn: turn.ok_or_else(|| busy(text))?, _counted: counted })
    }

    fn count(&self, source: Source) -> Result<Counted, Problem> {
        let mut by_source = self.by_source.lock();
        let count = by_source.entry(source).or_default();
        if *count >= OF_ONE_MAX {
            return Err(busy("too many logins are on their way from where you are"));
        }
        *count += 1;
        drop(by_source);
        Ok(Counted(self.by_source.clone(), source))
    }
}
