//! Whoever answers queries: on threads of its own, of a low priority and with stacks for deep plans,
//! so many at once. A query that panics has failed, and no more.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use domain::{Code, Problem};
use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::answer::{Answer, Format};
use crate::ask::Ask;
use crate::cells::{Cells, CellsAsk};
use crate::fresh::Fresh;
use crate::known::Known;
use crate::limits::Limits;
use crate::problem;
use crate::run::{Piece, Work};
use crate::source::{Seen, Source};

/// A thread's stack, in bytes. It is reserved, not used; a plan of as many levels as are allowed
/// needs a part of it.
pub const STACK_BYTES: usize = 256 << 20;
/// Threads that wait for files.
const BLOCKING_THREADS_MAX: usize = 8;
/// Less important than answering requests, as `nice` counts.
const NICE: libc::c_int = 10;
/// Pieces of an answer that wait for its reader.
const PIECES_MAX: usize = 4;
/// For a query whose threads do not look at the clock, in milliseconds beyond its own limit.
const GRACE_MS: u64 = 10_000;

/// Answers queries.
pub struct Queries {
    limits: Limits,
    source: OnceLock<Source>,
    known: Arc<Known>,
    fresh: Arc<Fresh>,
    turns: Arc<Semaphore>,
    runtime: Mutex<Option<Runtime>>,
}

impl Queries {
    /// Nothing is started before the first query.
    pub fn new(limits: Limits) -> Queries {
        Queries {
            turns: Arc::new(Semaphore::new(limits.queries_max)),
            limits,
            source: OnceLock::new(),
            known: Arc::default(),
            fresh: Arc::default(),
            runtime: Mutex::new(None),
        }
    }

    /// From now on queries are answered, from these.
    pub fn read_from(&self, source: Source) {
        let _ = self.source.set(source);
    }

    /// What they may cost.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Answers a query from what the caller may see. Gives an error if it fails before the answer
    /// has begun; later, the answer's body ends with one.
    pub async fn run(&self, ask: Ask, format: Format, seen: Seen) -> Result<Answer, Problem> {
        let (turn, work) = self.turn(ask, format, seen).await?;
        let (pieces, mut answer) = mpsc::channel::<Piece>(PIECES_MAX);
        let handle = self.handle().map_err(problem::internal)?;
        handle.clone().spawn(async move {
            let telling = pieces.clone();
            let done = handle.spawn(async move { work.run(&pieces).await });
            let done = done.await.unwrap_or_else(|panic| Err(problem::internal(panic)));
            if let Err(problem) = done {
                let _ = telling.send(Err(problem)).await;
            }
            // A query that does not notice that nobody waits for it keeps its turn.
            drop(turn);
        });
        let patience = Duration::from_millis(self.limits.time_ms_max + GRACE_MS);
        let first = match timeout(patience, answer.recv()).await {
            Ok(first) => first.unwrap_or_else(|| Err(problem::internal("it gave nothing")))?,
            Err(_) => return Err(problem::too_long(&self.limits)),
        };
        let rest = futures_util::stream::poll_fn(move |context| answer.poll_recv(context));
        let body = futures_util::stream::once(async { Ok(first) }).chain(rest);
        let body = body.map(|piece| {
            piece.map_err(|problem| {
                tracing::warn!("an answer to a query ends early: {}", problem.message);
                io::Error::other(problem.message)
            })
        });
        Ok(Answer { content_type: format.content_type(), body: body.boxed() })
    }

    /// Sums up requests of a model that the caller may see.
    pub async fn cells(&self, ask: CellsAsk, seen: Seen) -> Result<Cells, Problem> {
        let (turn, work) = self.turn(Ask::Cells(ask), Format::default(), seen).await?;
        let handle = self.handle().map_err(problem::internal)?;
        let counted = handle.spawn(async move {
            let counted = work.cells().await;
            drop(turn);
            counted
        });
        Ending(counted).await
    }

    /// Waits until a query may run.
    async fn turn(
        &self,
        ask: Ask,
        format: Format,
        seen: Seen,
    ) -> Result<(OwnedSemaphorePermit, Work), Problem> {
        let source = self.source.get().cloned().ok_or_else(none_kept)?;
        let wait = Duration::from_millis(self.limits.wait_ms_max);
        let turn = match timeout(wait, self.turns.clone().acquire_owned()).await {
            Ok(turn) => turn.map_err(problem::internal)?,
            Err(_) => {
                let text = format!("{} other queries are running", self.limits.queries_max);
                return Err(Problem::new(Code::ServerBusy, text).help("try again in a moment"));
            }
        };
        let (limits, known, fresh) = (self.limits.clone(), self.known.clone(), self.fresh.clone());
        Ok((turn, Work { limits, source, known, fresh, ask, format, seen }))
    }

    fn handle(&self) -> io::Result<tokio::runtime::Handle> {
        let mut runtime = self.runtime.lock();
        if let Some(runtime) = runtime.as_ref() {
            return Ok(runtime.handle().clone());
        }
        let started = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(self.limits.threads.max(1))
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_stack_size(STACK_BYTES)
            .thread_name("query")
            .on_thread_start(give_way)
            .enable_time()
            .build()?;
        Ok(runtime.insert(started).handle().clone())
    }
}

/// A query on its own threads, which ends when nobody waits for it.
struct Ending<T>(JoinHandle<Result<T, Problem>>);

impl<T> Future for Ending<T> {
    type Output = Result<T, Problem>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let done = Pin::new(&mut self.0).poll(context);
        done.map(|done| done.unwrap_or_else(|panic| Err(problem::internal(panic))))
    }
}

impl<T> Drop for Ending<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Drop for Queries {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.lock().take() {
            runtime.shutdown_background();
        }
    }
}

/// Makes the calling thread less important than others. It does no harm if it cannot.
fn give_way() {
    // SAFETY: takes and returns numbers only. On Linux, 0 is the calling thread.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}

fn none_kept() -> Problem {
    Problem::new(Code::NoRecords, "this server keeps no records of requests")
        .help("start it with `decalog up --records-per-s 1000`; docs/records.md says what is kept")
}
