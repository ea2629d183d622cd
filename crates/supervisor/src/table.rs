//! The supervisor's processes and the clients that are told of them.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Instant;

use domain::launch::{Launch, Limits, ProcessId};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, JoinHandle};

use crate::control::ControlSocket;
use crate::descriptors::Descriptors;
use crate::end::End;
use crate::groups::{Group, Groups};
use crate::held::Held;
use crate::log::Output;
use crate::mask::{self, Masks};
use crate::protocol::{Message, Process};

/// Ends of processes that nobody has named so far.
const STRANGERS_MAX: usize = 256;

/// One process.
pub struct Entry {
    /// What clients see.
    pub process: Process,
    /// What it may use.
    pub limits: Limits,
    /// Why the supervisor itself killed it.
    pub killed_for: Option<String>,
    /// Where its output goes.
    pub output: Rc<Output>,
    /// Where it says why it could not start.
    pub failure: Option<PathBuf>,
    /// How a parent or zygote is asked.
    pub control: Option<Rc<ControlSocket>>,
    /// What enforces its limits, once it is there.
    pub group: Rc<RefCell<Option<Group>>>,
    /// Puts it into its group.
    pub attaching: Option<JoinHandle<()>>,
}

/// A connected `up`.
pub struct Client {
    /// To it.
    pub messages: mpsc::Sender<Message>,
    /// Ends the connection.
    pub task: AbortHandle,
}

/// All that the supervisor's tasks share; everything runs on one thread.
pub struct Shared {
    /// All processes, running or ended.
    pub entries: RefCell<HashMap<ProcessId, Entry>>,
    /// Ids whose process is just being forked.
    pub reserved: RefCell<Vec<ProcessId>>,
    /// Who is connected.
    pub clients: RefCell<Vec<Client>>,
    /// Since when nobody is.
    pub alone_since: Cell<Option<Instant>>,
    /// Asks the supervisor to end.
    pub stop: Notify,
    /// From now on nothing is started.
    pub stopping: Cell<bool>,
    /// Between SIGTERM and SIGKILL at the end.
    pub drain_ms: Cell<u64>,
    /// Where limits are enforced.
    pub groups: Groups,
    /// What this process may have open.
    pub descriptors: Descriptors,
    /// Memory that outlives whoever writes to it.
    pub held: RefCell<Held>,
    strangers: RefCell<VecDeque<(u32, End)>>,
    /// Of all processes that have secrets: those of one placement share them.
    masks: RefCell<Vec<Weak<Masks>>>,
}

impl Shared {
    /// Without any process.
    pub fn new(groups: Groups, descriptors: Descriptors, drain_ms: u64) -> Shared {
        Shared {
            entries: RefCell::default(),
            reserved: RefCell::default(),
            clients: RefCell::default(),
            alone_since: Cell::new(Some(Instant::now())),
            stop: Notify::new(),
            stopping: Cell::new(false),
            drain_ms: Cell::new(drain_ms),
            groups,
            descriptors,
            held: RefCell::default(),
            strangers: RefCell::default(),
            masks: RefCell::default(),
        }
    }

    /// What must not be in the log of a process; `None` if it has no secrets.
    pub async fn masks_of(&self, launch: &Launch) -> Option<Arc<Masks>> {
        let secrets = mask::secrets_of(&launch.variables, &launch.secrets);
        if secrets.is_empty() {
            return None;
        }
        let known = {
            let mut masks = self.masks.borrow_mut();
            masks.retain(|masks| masks.strong_count() > 0);
            masks.iter().filter_map(Weak::upgrade).find(|masks| *masks.secrets() == secrets)
        };
        if known.is_some() {
            return known;
        }
        // Long ones take many milliseconds, in which nothing else would happen here.
        let made = tokio::task::spawn_blocking(move || Masks::of(secrets)).await;
        let made = made.ok().flatten().map(Arc::new)?;
        self.masks.borrow_mut().push(Arc::downgrade(&made));
        Some(made)
    }

    /// Tells all clients. One that does not take its messages is dropped; it connects again, and
    /// asks for the list.
    pub fn tell(&self, message: impl Fn() -> Message) {
        let mut clients = self.clients.borrow_mut();
        clients.retain(|client| {
            let taken = client.messages.try_send(message()).is_ok();
            if !taken {
                client.task.abort();
            }
            taken
        });
        if clients.is_empty() && self.alone_since.get().is_none() {
            self.alone_since.set(Some(Instant::now()));
        }
    }

    /// Tells all clients how a process is now.
    pub fn tell_of(&self, id: &ProcessId) {
        let process = self.entries.borrow().get(id).map(|entry| entry.process.clone());
        if let Some(process) = process {
            self.tell(|| Message::Changed(Box::new(process.clone())));
        }
    }

    /// A client has gone.
    pub fn left(&self, messages: &mpsc::Sender<Message>) {
        let mut clients = self.clients.borrow_mut();
        clients.retain(|client| !client.messages.same_channel(messages));
        if clients.is_empty() {
            self.alone_since.set(Some(Instant::now()));
        }
    }

    /// The running process of this number.
    pub fn by_pid(&self, pid: u32) -> Option<ProcessId> {
        let entries = self.entries.borrow();
        let mut running = entries.values().filter(|entry| entry.process.ended.is_none());
        running.find(|entry| entry.process.pid == pid).map(|entry| entry.process.id.clone())
    }

    /// All process groups that run.
    pub fn running(&self) -> Vec<u32> {
        let entries = self.entries.borrow();
        entries
            .values()
            .filter(|entry| entry.process.ended.is_none())
            .map(|entry| entry.process.pid)
            .collect()
    }

    /// Keeps the end of a process that nobody has named: it may be one whose parent has not yet
    /// told that it forked it.
    pub fn keep_stranger(&self, pid: u32, end: End) {
        let mut strangers = self.strangers.borrow_mut();
        if strangers.len() == STRANGERS_MAX {
            strangers.pop_front();
        }
        strangers.push_back((pid, end));
    }

    /// How a process ended that was not known then.
    pub fn take_stranger(&self, pid: u32) -> Option<End> {
        let mut strangers = self.strangers.borrow_mut();
        let at = strangers.iter().rposition(|(stranger, _)| *stranger == pid)?;
        strangers.remove(at).map(|(_, end)| end)
    }

    /// Whether an id was used before, or is about to be.
    pub fn is_used(&self, id: &ProcessId) -> bool {
        self.entries.borrow().contains_key(id) || self.reserved.borrow().contains(id)
    }
}

/// Signals a whole process group.
pub fn send(group: u32, signal: Signal) {
    // Group 0 would be the supervisor's own.
    if group > 1 {
        let _ = killpg(Pid::from_raw(group as i32), signal);
    }
}
