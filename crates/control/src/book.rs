//! The ledger and its fold: the only place where the state changes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use domain::state::FOLD_VERSION;
use domain::{Digest, Entry, Event, Problem, State};
use ledger::{Ledger, LedgerError, NewEntry};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::now_ms;

/// Entries between two snapshots.
const SNAPSHOT_ENTRIES: u64 = 256;

/// The ledger with the state of this moment.
pub struct Book {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    ledger: Mutex<Ledger>,
    writer_epoch: AtomicU64,
    /// Another process writes: nothing is appended.
    handed_over: AtomicBool,
    state: ArcSwap<State>,
    appended: watch::Sender<u64>,
    /// Puts a new state in force before anybody is told of it.
    enforce: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// A ledger's error as a user sees it.
pub fn ledger_problem(error: LedgerError) -> Problem {
    let text = error.to_string();
    match error {
        LedgerError::Full => {
            Problem::new("no_space", text).help("free some space on the disk of the data directory and try again")
        }
        LedgerError::Fenced { .. } => Problem::new("fenced", text).help("this process is being replaced; ask again"),
        LedgerError::Conflict { .. } => Problem::new("conflict", text).help("try again"),
        LedgerError::Unknown(_) => Problem::new("newer_ledger", text).help("start the newer version of decalog that wrote it"),
        _ => Problem::new("ledger", text).help("decalog ledger verify names the first bad entry"),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Problem> + Send + 'static) -> Result<T, Problem> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.unwrap_or_else(|error| Err(Problem::new("internal", format!("the ledger's thread failed: {error}"))))
}

/// Opens the ledger as its writer. Gives the state, and the epoch that was taken.
fn become_writer(path: &Path) -> Result<(Ledger, State, u64), Problem> {
    let ledger = Ledger::open(path, now_ms(), env!("CARGO_PKG_VERSION")).map_err(ledger_problem)?;
    let state = ledger::fold(&ledger).map_err(ledger_problem)?;
    let last = ledger.read(state.seq.saturating_sub(1), 1).map_err(ledger_problem)?;
    let writer_epoch = last.last().map_or(0, |entry| entry.writer_epoch);
    Ok((ledger, state, writer_epoch))
}

impl Book {
    /// Opens the ledger as its writer and folds it.
    pub async fn open(path: &Path) -> Result<Book, Problem> {
        let path = path.to_path_buf();
        blocking(move || {
            let (ledger, state, writer_epoch) = become_writer(&path)?;
            let shared = Shared {
                path,
                ledger: Mutex::new(ledger),
                writer_epoch: AtomicU64::new(writer_epoch),
                handed_over: AtomicBool::new(false),
                appended: watch::channel(state.seq).0,
                enforce: OnceLock::new(),
                state: ArcSwap::from_pointee(state),
            };
            Ok(Book { shared: Arc::new(shared) })
        })
        .await
    }

    /// Reads all of a ledger that another process writes: fails if this program could not take it over.
    pub async fn check(path: &Path) -> Result<(), Problem> {
        let path = path.to_path_buf();
        blocking(move || {
            let ledger = Ledger::open_read_only(&path).map_err(ledger_problem)?;
            ledger::fold(&ledger).map(|_| ()).map_err(ledger_problem)
        })
        .await
    }

    /// Of this process.
    pub fn writer_epoch(&self) -> u64 {
        self.shared.writer_epoch.load(Ordering::Acquire)
    }

    /// Stops writing, in favour of another process.
    pub async fn hand_over(&self, pid: u32) -> Result<(), Problem> {
        self.append(domain::event::PLATFORM, domain::event::PLATFORM, move |_| Ok(Event::WriterHandedOver { pid })).await?;
        self.shared.handed_over.store(true, Ordering::Release);
        // What was being appended when the flag was set has either come before it, or is refused by the next writer's epoch.
        let shared = self.shared.clone();
        blocking(move || {
            drop(shared.ledger.lock());
            Ok(())
        })
        .await
    }

    /// Becomes the writer again, under a higher epoch, with whatever was written in the meantime.
    pub async fn resume(&self) -> Result<(), Problem> {
        let shared = self.shared.clone();
        blocking(move || {
            let mut ledger = shared.ledger.lock();
            let (writer, state, writer_epoch) = become_writer(&shared.path)?;
            *ledger = writer;
            shared.writer_epoch.store(writer_epoch, Ordering::Release);
            shared.appended.send_replace(state.seq);
            shared.state.store(Arc::new(state));
            shared.handed_over.store(false, Ordering::Release);
            Ok(())
        })
        .await
    }

    /// Sets what is called after each append, before anybody is told: whoever reads of a release finds it in force.
    pub fn enforce_by(&self, enforce: impl Fn() + Send + Sync + 'static) {
        let _ = self.shared.enforce.set(Box::new(enforce));
    }

    /// The state of this moment.
    pub fn state(&self) -> Arc<State> {
        self.shared.state.load_full()
    }

    /// Ticks with the number of the last entry.
    pub fn appended(&self) -> watch::Receiver<u64> {
        self.shared.appended.subscribe()
    }

    /// Decides on the newest state and appends what was decided; nothing comes in between.
    pub async fn append(
        &self,
        actor: &str,
        subject: &str,
        decide: impl FnOnce(&State) -> Result<Event, Problem> + Send + 'static,
    ) -> Result<Entry, Problem> {
        let (shared, actor, subject) = (self.shared.clone(), actor.to_string(), subject.to_string());
        blocking(move || {
            let mut ledger = shared.ledger.lock();
            if shared.handed_over.load(Ordering::Acquire) {
                return Err(Problem::new("fenced", "another process takes over from this one").help("ask again"));
            }
            let state = shared.state.load_full();
            let event = decide(&state)?;
            let expected_subject_seq = state.entries_of(&subject);
            let new = NewEntry { at_ms: now_ms(), actor: &actor, subject: &subject, expected_subject_seq, event: &event };
            let entry = ledger.append(new).map_err(ledger_problem)?;
            let mut next = (*state).clone();
            next.apply(&entry);
            if entry.seq.is_multiple_of(SNAPSHOT_ENTRIES) {
                let body = serde_json::to_vec(&next).unwrap_or_default();
                if let Err(error) = ledger.save_snapshot(next.seq, FOLD_VERSION, &body) {
                    tracing::warn!("no snapshot was kept: {error}");
                }
            }
            shared.state.store(Arc::new(next));
            drop(ledger);
            if let Some(enforce) = shared.enforce.get() {
                enforce();
            }
            shared.appended.send_if_modified(|last| {
                let is_newer = *last < entry.seq;
                *last = entry.seq.max(*last);
                is_newer
            });
            Ok(entry)
        })
        .await
    }

    /// Entries after `after`, at most `limit`.
    pub async fn entries(&self, after: u64, limit: usize) -> Result<Vec<Entry>, Problem> {
        let shared = self.shared.clone();
        blocking(move || shared.ledger.lock().read(after, limit).map_err(ledger_problem)).await
    }

    /// The last entry's number and hash.
    pub async fn head(&self) -> Result<(u64, Digest), Problem> {
        let shared = self.shared.clone();
        blocking(move || shared.ledger.lock().head().map_err(ledger_problem)).await
    }

    /// Writes a consistent copy of the ledger.
    pub async fn backup_to(&self, path: &Path) -> Result<(), Problem> {
        let (shared, path) = (self.shared.clone(), path.to_path_buf());
        blocking(move || shared.ledger.lock().backup_to(&path).map_err(ledger_problem)).await
    }
}
