//! The log: lines of JSON, written by a thread of its own, so that nobody waits for whoever reads
//! them.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::book::{Book, Count, Ended, Verdict};
use crate::limits::Limits;

/// How many lines may wait for the reader of the log; those above are lost, and that is told.
const LINES_WAITING_MAX: usize = 4096;
/// How long the last lines may take to be written.
const END_TIME: Duration = Duration::from_secs(1);

/// The book and the thread that writes.
pub struct Log {
    book: Mutex<Book>,
    lines: Mutex<Option<SyncSender<String>>>,
    lost: Arc<AtomicU64>,
    written: Mutex<Receiver<()>>,
}

impl Log {
    /// That writes to this descriptor.
    ///
    /// # Errors
    ///
    /// If there is no thread to be had.
    pub fn new(output: OwnedFd, limits: &Limits) -> std::io::Result<Log> {
        let (lines, waiting) = sync_channel(LINES_WAITING_MAX);
        let (done, written) = sync_channel(1);
        let lost = Arc::new(AtomicU64::new(0));
        let told = lost.clone();
        std::thread::Builder::new().name("log".into()).spawn(move || {
            write(&waiting, File::from(output), &told);
            let _ = done.send(());
        })?;
        Ok(Log {
            book: Mutex::new(Book::new(limits)),
            lines: Mutex::new(Some(lines)),
            lost,
            written: Mutex::new(written),
        })
    }

    /// Counts a connection, when it is known what becomes of it.
    pub fn count(&self, model: &str, destination: &str, verdict: Verdict) {
        self.book.lock().count(model, destination, verdict);
    }

    /// Notes a connection that is over.
    pub fn note(&self, ended: &Ended) {
        let line = self.book.lock().note(ended, now_ms());
        line.into_iter().for_each(|line| self.say(line));
    }

    /// Writes what sums up the minutes that are over.
    pub fn sum_up(&self) {
        let lines = self.book.lock().sum_up(now_ms(), false);
        lines.into_iter().for_each(|line| self.say(line));
    }

    /// All counts.
    pub fn counts(&self) -> Vec<Count> {
        self.book.lock().counts()
    }

    /// Writes what has not been written, and waits for that a little. What comes after is lost.
    pub fn end(&self) {
        let lines = self.book.lock().sum_up(now_ms(), true);
        lines.into_iter().for_each(|line| self.say(line));
        self.lines.lock().take();
        let _ = self.written.lock().recv_timeout(END_TIME);
    }

    fn say(&self, line: String) {
        let lines = self.lines.lock();
        if let Some(lines) = &*lines
            && lines.try_send(line).is_err()
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write(lines: &Receiver<String>, mut output: File, lost: &AtomicU64) {
    // Nobody reads the log any more: what comes is taken, and goes nowhere.
    let mut is_read = true;
    for mut line in lines {
        let missing = lost.swap(0, Ordering::Relaxed);
        if missing > 0 {
            line.push_str(&format!("\n{{\"time_ms\":{},\"lost_lines\":{missing}}}", now_ms()));
        }
        line.push('\n');
        is_read = is_read && output.write_all(line.as_bytes()).is_ok();
    }
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
