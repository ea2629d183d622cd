//! Long work on large bodies and answers, off the threads that serve: whoever sends much waits for
//! himself.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use domain::Problem;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::reply;

/// Up to as many bytes are read or written as text where they are: at some hundred bytes a
/// microsecond, other requests wait for a millisecond or two at most.
pub const INLINE_BYTES_MAX: usize = 256 * 1024;
/// What is merely copied is so much cheaper than what is read or written as text.
const COPY_FACTOR: usize = 16;

/// How much work something is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cost {
    /// As many bytes are read or written as text, or looked at one by one.
    Text(usize),
    /// As many bytes are copied at most.
    Copy(usize),
}

impl Cost {
    /// Whether it is done where it is.
    pub fn is_light(self) -> bool {
        let (Cost::Text(bytes) | Cost::Copy(bytes)) = self;
        bytes
            <= if matches!(self, Cost::Text(_)) {
                INLINE_BYTES_MAX
            } else {
                COPY_FACTOR * INLINE_BYTES_MAX
            }
    }
}

/// Runs what is long on threads of its own, a few at a time.
#[derive(Clone)]
pub struct Heavy {
    runtime: Handle,
    turns: Arc<Semaphore>,
}

impl Heavy {
    /// As many at a time as there are cores, and two at least: one long one holds up no other.
    pub fn new(runtime: Handle) -> Heavy {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Heavy { runtime, turns: Arc::new(Semaphore::new(cores.max(2))) }
    }

    /// Where it runs.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Does light work at once and heavy work elsewhere. A panic in it is a problem like others.
    pub async fn run<T: Send + 'static>(
        &self,
        cost: Cost,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        if cost.is_light() {
            return std::panic::catch_unwind(AssertUnwindSafe(work)).map_err(|_| reply::panicked());
        }
        // Nobody closes it.
        let Ok(turn) = self.turns.clone().acquire_owned().await else {
            return Err(reply::panicked());
        };
        let done = self.runtime.spawn_blocking(move || {
            // It lasts as long as the work, even if the caller has gone.
            let _turn = turn;
            work()
        });
        done.await.map_err(|_| reply::panicked())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_problem_wherever_it_happens() {
        let heavy = Heavy::new(Handle::current());
        for cost in [Cost::Text(0), Cost::Text(INLINE_BYTES_MAX + 1), Cost::Copy(usize::MAX)] {
            let begin = std::thread::current().id();
            let thread = heavy.run(cost, || std::thread::current().id()).await.unwrap();
            assert_eq!(thread == begin, cost.is_light());
            let problem = heavy.run(cost, || panic!("on purpose")).await.map(|()| ()).unwrap_err();
            assert_eq!(problem.code, domain::Code::Internal);
        }
    }
}
