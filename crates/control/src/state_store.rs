//! The ledger and its fold: the only place where the state changes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use domain::{Code, Digest, Entry, Event, Principal, Problem, State};
use ledger::{Damage, Ledger, LedgerError, Location, NewEntry, Reach, Scan, Selection, Snapshot};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::aside;
use crate::clock::Clock;

/// Entries between two snapshots.
const SNAPSHOT_ENTRIES: u64 = 256;

/// The ledger with the state of this moment.
pub struct StateStore {
    shared: Arc<Shared>,
}

struct Shared {
    location: Location,
    damage: Damage,
    clock: Clock,
    ledger: Mutex<Ledger>,
    /// Another connection, so that who reads holds up nobody who appends.
    reader: Mutex<Ledger>,
    snapshot: Mutex<Option<Snapshot>>,
    writer_epoch: AtomicU64,
    /// Why nothing can be appended: the disk was full or read-only when the ledger was opened.
    refusal: Mutex<Option<Problem>>,
    /// Another process writes: nothing is appended.
    handed_over: AtomicBool,
    state: ArcSwap<State>,
    appended: watch::Sender<u64>,
    /// Puts a new state in force before anybody is told of it.
    enforce: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

const ACCEPT_HELP: &str = "decalog ledger verify names the first bad entry; restore a backup, or go on with what is there: \
                           decalog up --accept-damaged-ledger";

/// A ledger's error as a user sees it.
pub fn ledger_problem(error: LedgerError) -> Problem {
    let text = error.to_string();
    match error {
        LedgerError::Full => Problem::new(Code::NoSpace, text)
            .help("free some space on the disk of the data directory and try again"),
        LedgerError::ReadOnly => Problem::new(Code::ReadOnly, text)
            .help("make the data directory's disk writable; what runs goes on serving meanwhile"),
        LedgerError::CutOff { .. } => Problem::new(Code::LedgerCutOff, text).help(ACCEPT_HELP),
        LedgerError::Fenced { .. } => {
            Problem::new(Code::Fenced, text).help("this process is being replaced; ask again")
        }
        LedgerError::Conflict { .. } => Problem::new(Code::Conflict, text).help("try again"),
        LedgerError::Busy(_) => Problem::new(Code::ServerBusy, text)
            .help("try again in a moment; if it lasts, see which other process has the file open"),
        LedgerError::Rewritten { .. } => Problem::new(Code::LedgerBroken, text).help(
            "find out who changed it: decalog ledger verify --checkpoint, with what was kept elsewhere, names what changed; \
             to sign what is there: decalog up --accept-damaged-ledger",
        ),
        LedgerError::Unknown(_) => Problem::new(Code::NewerLedger, text)
            .help("start the newer version of decalog that wrote it"),
        _ => Problem::new(Code::Ledger, text).help(ACCEPT_HELP),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    aside(work).await?
}

/// Reads a ledger that may not be there yet, with or without its writer.
fn read(location: &Location, from: State, damage: Damage) -> Result<State, LedgerError> {
    match location.is_blank() {
        true => ledger::fold_nothing(location, damage),
        false => ledger::fold(&Ledger::open_read_only(location)?, from, damage),
    }
}

/// Opens the ledger as its writer, once all of it that is served has been read and checked. Gives
/// the state.
fn become_writer(
    location: &Location,
    from: State,
    damage: Damage,
    clock: &Clock,
) -> Result<(Ledger, State), LedgerError> {
    let state = read(location, from, damage)?;
    let ledger = Ledger::open(location, clock.now_ms(), env!("CARGO_PKG_VERSION"))?;
    if ledger.tree_made_anew() {
        tracing::warn!("the tree over the ledger's entries was not of them, and was made again");
    }
    let state = ledger::fold(&ledger, state, damage)?;
    Ok((ledger, state))
}

/// Fails if there is no ledger where there was one: to begin anew would make everything beside it
/// garbage.
fn check_remains(location: &Location, state: &State, damage: Damage) -> Result<(), Problem> {
    let data = location.data();
    // They are filled only after something was written to the ledger.
    let remains = [data.blobs(), data.trees(), data.secrets()];
    let is_filled =
        |path: &&PathBuf| std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    match remains.iter().find(is_filled) {
        Some(filled) if state.seq == 0 && damage == Damage::Refused => {
            let text = format!(
                "there is no ledger in {}, although {} holds something: it was deleted",
                data.display(),
                filled.display()
            );
            Err(Problem::new(Code::LedgerMissing, text).help(ACCEPT_HELP))
        }
        _ => Ok(()),
    }
}

impl Shared {
    fn open(location: Location, damage: Damage, clock: Clock) -> Result<Shared, Problem> {
        // Without one, the whole history is read.
        let snapshot = Snapshot::open(&location)
            .inspect_err(|error| tracing::warn!("no snapshot is kept: {error}"))
            .ok();
        if let Some(reason) = snapshot.as_ref().and_then(Snapshot::made_anew) {
            tracing::warn!(
                "the snapshot of the state is made again from the whole history: {reason}"
            );
        }
        let from = match &snapshot {
            Some(snapshot) => snapshot.state().clone(),
            None => ledger::snapshot::read(&location).unwrap_or_default(),
        };
        let state = read(&location, from, damage).map_err(ledger_problem)?;
        check_remains(&location, &state, damage)?;
        let (ledger, state, refusal) = match become_writer(&location, state.clone(), damage, &clock)
        {
            Ok((ledger, state)) => (ledger, state, None),
            // What runs can be served without a writer; what cannot be read cannot.
            Err(error @ (LedgerError::Full | LedgerError::ReadOnly)) if state.seq > 0 => (
                Ledger::open_read_only(&location).map_err(ledger_problem)?,
                state,
                Some(ledger_problem(error)),
            ),
            Err(error) => return Err(ledger_problem(error)),
        };
        let reader = Ledger::open_read_only(&location).map_err(ledger_problem)?;
        // Replicas that are started without a writer must not be called like those of the one
        // before.
        let last_epoch = || {
            reader.read(state.seq.saturating_sub(1), 1).ok()?.last().map(|entry| entry.writer_epoch)
        };
        let writer_epoch = ledger.writer_epoch().unwrap_or_else(|| last_epoch().unwrap_or(0) + 1);
        Ok(Shared {
            location,
            damage,
            clock,
            ledger: Mutex::new(ledger),
            reader: Mutex::new(reader),
            snapshot: Mutex::new(snapshot),
            writer_epoch: AtomicU64::new(writer_epoch),
            refusal: Mutex::new(refusal),
            handed_over: AtomicBool::new(false),
            appended: watch::channel(state.seq).0,
            enforce: OnceLock::new(),
            state: ArcSwap::from_pointee(state),
        })
    }

    /// Fails if nothing can be written at this moment.
    fn check_writing(&self) -> Result<(), Problem> {
        if self.handed_over.load(Ordering::Acquire) {
            return Err(Problem::new(Code::Fenced, "another process takes over from this one")
                .help("ask again"));
        }
        self.refusal.lock().clone().map_or(Ok(()), Err)
    }

    /// Writes what has changed since the last snapshot, beside whoever appends.
    fn keep_snapshot(self: &Arc<Shared>) {
        let shared = self.clone();
        tokio::task::spawn_blocking(move || {
            // If it is being written already, the next one holds what this would have.
            let Some(mut snapshot) = shared.snapshot.try_lock() else { return };
            if snapshot.is_none() {
                // It was out of reach when it was first looked for.
                *snapshot = Snapshot::open(&shared.location).ok();
            }
            let saved = snapshot.as_mut().map(|snapshot| snapshot.save(&shared.state.load()));
            if let Some(Err(error)) = saved {
                tracing::warn!("no snapshot was kept: {error}");
            }
        });
    }
}

impl StateStore {
    /// Opens the ledger as its writer and folds it. If its disk takes no writes, it is only read
    /// until it does.
    pub async fn open(
        location: Location,
        damage: Damage,
        clock: Clock,
    ) -> Result<StateStore, Problem> {
        // On this thread, which has nothing else to do yet: memory of other threads grows page by
        // page, which takes as long as to read a large state.
        let shared = Arc::new(Shared::open(location, damage, clock)?);
        shared.keep_snapshot();
        Ok(StateStore { shared })
    }

    /// Reads all of a ledger that another process writes: fails if this program could not take it
    /// over. What it had to read is kept, so that to take over later takes no longer than to read
    /// what came since.
    pub async fn check(location: Location) -> Result<(), Problem> {
        blocking(move || {
            let mut snapshot = Snapshot::open(&location).map_err(ledger_problem)?;
            let state = read(&location, snapshot.state().clone(), Damage::Refused)
                .map_err(ledger_problem)?;
            snapshot.save(&state).map_err(ledger_problem)?;
            ledger::prepare(&location).map_err(ledger_problem)
        })
        .await
    }

    /// Why nothing can be appended at this moment, if nothing can.
    pub fn refusal(&self) -> Option<Problem> {
        self.shared.refusal.lock().clone()
    }

    /// Of this process.
    pub fn writer_epoch(&self) -> u64 {
        self.shared.writer_epoch.load(Ordering::Acquire)
    }

    /// Stops writing, in favour of another process.
    pub async fn hand_over(&self, pid: u32) -> Result<(), Problem> {
        self.append(&Principal::Platform, domain::event::PLATFORM, move |_| {
            Ok(Event::WriterHandedOver { pid })
        })
        .await?;
        self.shared.handed_over.store(true, Ordering::Release);
        // What was being appended when the flag was set has either come before it, or is refused by
        // the next writer's epoch.
        let shared = self.shared.clone();
        blocking(move || {
            drop(shared.ledger.lock());
            Ok(())
        })
        .await
    }

    /// Becomes the writer again, under a higher epoch, with whatever was written in the meantime;
    /// or for the first time, if the disk took no writes until now.
    pub async fn resume(&self) -> Result<(), Problem> {
        let shared = self.shared.clone();
        blocking(move || {
            let mut ledger = shared.ledger.lock();
            let known = State::clone(&shared.state.load());
            let (writer, state) =
                become_writer(&shared.location, known, shared.damage, &shared.clock)
                    .map_err(ledger_problem)?;
            shared.writer_epoch.store(writer.writer_epoch().unwrap_or_default(), Ordering::Release);
            *ledger = writer;
            shared.appended.send_replace(state.seq);
            shared.state.store(Arc::new(state));
            *shared.refusal.lock() = None;
            let mut snapshot = shared.snapshot.lock();
            if snapshot.is_none() {
                *snapshot = Snapshot::open(&shared.location).ok();
            }
            shared.handed_over.store(false, Ordering::Release);
            Ok(())
        })
        .await
    }

    /// Sets what is called after each append, before anybody is told: whoever reads of a release
    /// finds it in force.
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
        actor: &Principal,
        subject: &str,
        decide: impl FnOnce(&State) -> Result<Event, Problem> + Send + 'static,
    ) -> Result<Entry, Problem> {
        let subject = subject.to_string();
        self.append_to(actor, move |state| Ok((subject, decide(state)?))).await
    }

    /// The same, where the subject is decided, too.
    pub async fn append_to(
        &self,
        actor: &Principal,
        decide: impl FnOnce(&State) -> Result<(String, Event), Problem> + Send + 'static,
    ) -> Result<Entry, Problem> {
        let (shared, actor) = (self.shared.clone(), actor.to_string());
        blocking(move || {
            let mut ledger = shared.ledger.lock();
            shared.check_writing()?;
            let state = shared.state.load_full();
            let (subject, event) = decide(&state)?;
            let expected_subject_seq = state.entries_of(&subject);
            let new = NewEntry {
                at_ms: shared.clock.now_ms(),
                actor: &actor,
                subject: &subject,
                expected_subject_seq,
                event: &event,
            };
            let entry = ledger.append(new).map_err(ledger_problem)?;
            let mut next = (*state).clone();
            next.apply(&entry);
            shared.state.store(Arc::new(next));
            drop(ledger);
            if entry.seq.is_multiple_of(SNAPSHOT_ENTRIES) {
                shared.keep_snapshot();
            }
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

    /// Does something with the ledger as its writer; nothing is appended meanwhile.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Ledger, Damage) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let shared = self.shared.clone();
        blocking(move || {
            let mut ledger = shared.ledger.lock();
            shared.check_writing()?;
            work(&mut ledger, shared.damage)
        })
        .await
    }

    /// Reads the ledger, and holds up nobody who appends.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Ledger) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, Problem> {
        let shared = self.shared.clone();
        blocking(move || work(&shared.reader.lock()).map_err(ledger_problem)).await
    }

    /// Looks at the entries after one.
    pub async fn scan(
        &self,
        after_seq: u64,
        selection: Selection,
        reach: Reach,
    ) -> Result<Scan, Problem> {
        self.read(move |ledger| ledger.scan(after_seq, &selection, reach)).await
    }

    /// The last entry's number and hash.
    pub async fn head(&self) -> Result<(u64, Digest), Problem> {
        self.read(Ledger::head).await
    }

    /// Writes a consistent copy of the ledger.
    pub async fn backup_to(&self, path: &Path) -> Result<(), Problem> {
        let path = path.to_path_buf();
        self.read(move |ledger| ledger.backup_to(&path)).await
    }
}
