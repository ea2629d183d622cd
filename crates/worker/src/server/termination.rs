//! SIGTERM and SIGINT, taken by a thread of their own: while a model loads they end the process at
//! once, afterwards they wake whoever waits, so that running requests finish.

use std::io;
use std::sync::Arc;
use std::thread;

use nix::sys::signal::{SigSet, Signal};
use parking_lot::{Condvar, Mutex};

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Loading,
    Serving,
    Requested,
}

/// The request to end, as it comes by signal.
pub struct Termination {
    shared: Arc<(Mutex<Stage>, Condvar)>,
}

impl Termination {
    /// Blocks the signals in this thread and all that it starts from now on. Call it before any
    /// other thread exists.
    pub fn install() -> io::Result<Termination> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGTERM);
        signals.add(Signal::SIGINT);
        signals.thread_block()?;
        let shared = Arc::new((Mutex::new(Stage::Loading), Condvar::new()));
        let seen = shared.clone();
        thread::Builder::new().name("signals".into()).spawn(move || {
            while signals.wait().is_ok() {
                let mut stage = seen.0.lock();
                if *stage == Stage::Loading {
                    // SAFETY: `_exit` ends the process without running destructors that a loading
                    // library may be using.
                    unsafe { nix::libc::_exit(0) };
                }
                *stage = Stage::Requested;
                seen.1.notify_all();
            }
        })?;
        Ok(Termination { shared })
    }

    /// From now on a signal does not end the process: [`Termination::wait`] returns instead. Call
    /// it when loaded.
    pub fn loaded(&self) {
        let mut stage = self.shared.0.lock();
        if *stage == Stage::Loading {
            *stage = Stage::Serving;
        }
    }

    /// Returns once the process has been told to end.
    pub fn wait(&self) {
        self.loaded();
        let mut stage = self.shared.0.lock();
        while *stage != Stage::Requested {
            self.shared.1.wait(&mut stage);
        }
    }
}
