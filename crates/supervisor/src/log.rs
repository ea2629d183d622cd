//! A process's log: bounded, with one predecessor, and filled from a pipe. Its secrets are masked on
//! the way.

use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::mask::{Masking, Masks};
use crate::quiet::Quiet;

/// Of one log.
const LOG_BYTES_MAX: u64 = 10 << 20;
/// Pieces that come within this are of the same time, in milliseconds.
const TIME_MS: u64 = 10;
/// Read at once.
const PIECE_BYTES: usize = 16 * 1024;
/// How long the beginning of what may be a secret is held back for the rest to come, in
/// milliseconds.
const SPLIT_MS_MAX: u64 = 2_000;
const SPLIT: Duration = Duration::from_millis(SPLIT_MS_MAX);

/// How long what was printed before the end of a quiet stretch may take to come.
const REST: Duration = Duration::from_millis(200);

/// What a process prints, on its way to its log.
pub struct Output {
    log: RefCell<Log>,
    /// `None` where there are no secrets.
    masking: RefCell<Option<Masking>>,
    /// While what comes is left out of the log.
    quiet: RefCell<Option<Quiet>>,
    /// How it is to go on after what is in the pipe by now.
    turn: Cell<Option<Turn>>,
    turns: Notify,
    closed: watch::Sender<bool>,
}

/// What becomes of what a process prints from a moment on.
enum Turn {
    /// It is left out until then.
    Quiet(Instant),
    /// It gets into the log.
    Loud,
}

impl Output {
    /// Copies from the pipe to the log at `path` until all writers have closed it, without the
    /// secrets.
    pub fn collect(
        pipe: OwnedFd,
        path: PathBuf,
        masks: Option<Arc<Masks>>,
    ) -> std::io::Result<Rc<Output>> {
        let mut pipe = Receiver::from_owned_fd(pipe)?;
        let output = Rc::new(Output {
            log: RefCell::new(Log::open(path, LOG_BYTES_MAX)),
            masking: RefCell::new(masks.map(Masking::new)),
            quiet: RefCell::new(None),
            turn: Cell::new(None),
            turns: Notify::new(),
            closed: watch::channel(false).0,
        });
        let to = output.clone();
        tokio::task::spawn_local(async move {
            let mut buffer = vec![0; PIECE_BYTES];
            loop {
                let read = tokio::select! {
                    // What was printed before the turn comes before it.
                    biased;
                    read = pipe.read(&mut buffer) => read,
                    () = to.turns.notified() => {
                        to.turn();
                        continue;
                    }
                    () = tokio::time::sleep(SPLIT), if to.is_holding() => {
                        to.let_go();
                        continue;
                    }
                    () = to.quiet_is_over() => {
                        to.loud();
                        continue;
                    }
                };
                let Ok(read @ 1..) = read else { break };
                to.write(&buffer[..read]);
            }
            to.let_go();
            to.last_words();
            to.closed.send_replace(true);
        });
        Ok(output)
    }

    fn write(&self, bytes: &[u8]) {
        match &mut *self.masking.borrow_mut() {
            None => self.put(bytes),
            Some(masking) => {
                let mut masked = Vec::with_capacity(bytes.len());
                masking.take(bytes, &mut masked);
                self.put(&masked);
            }
        }
    }

    fn put(&self, bytes: &[u8]) {
        // A process that prints without a pause leaves no moment in which a turn comes.
        let is_over = |quiet: &Quiet| Instant::now() >= quiet.until;
        if self.quiet.borrow().as_ref().is_some_and(is_over) {
            self.end_quiet();
        }
        match &mut *self.quiet.borrow_mut() {
            None => self.log.borrow_mut().write(bytes),
            Some(quiet) => quiet.take(bytes),
        }
    }

    fn is_holding(&self) -> bool {
        self.masking.borrow().as_ref().is_some_and(Masking::is_holding)
    }

    fn let_go(&self) {
        if let Some(masking) = &mut *self.masking.borrow_mut() {
            let mut masked = vec![];
            masking.finish(&mut masked);
            self.put(&masked);
        }
    }

    /// Leaves what is printed from now on out of the log for so long; 0 ends that. What a process
    /// says last gets in nevertheless.
    pub fn quiet(&self, ms_max: u64) {
        let until = Instant::now() + Duration::from_millis(ms_max);
        if let Some(quiet) = self.quiet.borrow_mut().as_mut().filter(|_| ms_max == 0) {
            quiet.until = quiet.until.min(until + REST);
        }
        self.turn.set(Some(if ms_max == 0 { Turn::Loud } else { Turn::Quiet(until) }));
        self.turns.notify_one();
    }

    fn turn(&self) {
        match self.turn.take() {
            Some(Turn::Quiet(until)) => {
                self.let_go();
                self.quiet.borrow_mut().get_or_insert_with(|| Quiet::new(until)).until = until;
            }
            Some(Turn::Loud) => self.loud(),
            None => {}
        }
    }

    fn loud(&self) {
        self.let_go();
        self.end_quiet();
    }

    fn end_quiet(&self) {
        if let Some(quiet) = self.quiet.take() {
            self.log.borrow_mut().write(quiet.note().as_bytes());
        }
    }

    async fn quiet_is_over(&self) {
        let until = self.quiet.borrow().as_ref().map(|quiet| quiet.until);
        match until {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    }

    fn last_words(&self) {
        if let Some(quiet) = self.quiet.take() {
            self.log.borrow_mut().write(&quiet.words());
        }
    }

    /// What is looked for.
    pub fn masks(&self) -> Option<Arc<Masks>> {
        self.masking.borrow().as_ref().map(|masking| masking.masks().clone())
    }

    /// Looks for other secrets from now on.
    pub fn mask(&self, masks: Option<Arc<Masks>>) {
        let is_same = match (self.masks(), &masks) {
            (Some(own), Some(masks)) => own.secrets() == masks.secrets(),
            (own, masks) => own.is_none() && masks.is_none(),
        };
        if !is_same {
            self.let_go();
            self.masking.replace(masks.map(Masking::new));
        }
    }

    /// Goes on under another name, with what it has so far.
    pub fn rename(&self, path: PathBuf) {
        let mut log = self.log.borrow_mut();
        let _ = std::fs::rename(&log.path, &path);
        let _ = std::fs::rename(times_of(&log.path), times_of(&path));
        *log = Log::open(path, LOG_BYTES_MAX);
    }

    /// Says after its last words how the process ended.
    pub fn ended(&self, reason: &str) {
        let mut log = self.log.borrow_mut();
        let begin = if log.is_open { "\n" } else { "" };
        log.write(format!("{begin}[decalog: {reason}]\n").as_bytes());
    }

    /// Returns when all is written.
    pub async fn closed(&self) {
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }
}

/// Appends to a file until it is full, then starts another and keeps the last. Beside it is written
/// when its pieces came, so that the lines of several processes can be shown in their order.
pub struct Log {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
    bytes_max: u64,
    times: Times,
    /// Whether the last line has not come to its end.
    is_open: bool,
}

/// When the pieces of a log were written: lines `OFFSET MILLISECONDS`, by the clock of the machine.
struct Times {
    file: Option<File>,
    /// The last that was written.
    last_ms: u64,
}

impl Times {
    fn open(log: &Path) -> Times {
        let file = OpenOptions::new().create(true).append(true).open(times_of(log)).ok();
        Times { file, last_ms: 0 }
    }

    /// What follows at this offset is of now.
    fn write(&mut self, offset: u64) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = since.as_millis() as u64;
        if now_ms.abs_diff(self.last_ms) >= TIME_MS
            && let Some(file) = &mut self.file
            && writeln!(file, "{offset} {now_ms}").is_ok()
        {
            self.last_ms = now_ms;
        }
    }
}

/// The file beside a log that says when its pieces came.
fn times_of(log: &Path) -> PathBuf {
    log.with_extension("times")
}

impl Log {
    /// Goes on with the file at `path`.
    pub fn open(path: PathBuf, bytes_max: u64) -> Log {
        let times = Times::open(&path);
        let mut log = Log { path, file: None, bytes: 0, bytes_max, times, is_open: false };
        log.reopen();
        log
    }

    fn reopen(&mut self) {
        self.file = OpenOptions::new().create(true).append(true).open(&self.path).ok();
        self.bytes = self
            .file
            .as_ref()
            .and_then(|file| file.metadata().ok())
            .map_or(0, |metadata| metadata.len());
    }

    /// Appends. A full disk loses lines, and must not stop the model.
    pub fn write(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.bytes + bytes.len() as u64 > self.bytes_max && self.bytes > 0 {
            let mut previous = self.path.clone().into_os_string();
            previous.push(".1");
            let _ = std::fs::rename(&self.path, previous);
            let _ = std::fs::remove_file(times_of(&self.path));
            self.times = Times::open(&self.path);
            self.reopen();
        }
        self.times.write(self.bytes);
        if let Some(file) = &mut self.file
            && file.write_all(bytes).is_ok()
        {
            self.bytes += bytes.len() as u64;
            self.is_open = bytes.last() != Some(&b'\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits until the log has this.
    async fn until(path: &std::path::Path, text: &str) -> String {
        loop {
            let log = std::fs::read_to_string(path).unwrap_or_default();
            if log.contains(text) {
                return log;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_printed_in_a_quiet_stretch_is_left_out_and_not_what_comes_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r.log");
        let all =
            async {
                let (reader, mut writer) = std::io::pipe().unwrap();
                let output = Output::collect(reader.into(), path.clone(), None).unwrap();
                let rest = || tokio::time::sleep(Duration::from_millis(20));
                writer.write_all(b"before\n").unwrap();
                until(&path, "before\n").await;
                output.quiet(10_000);
                rest().await;
                writer.write_all(b"meanwhile\n").unwrap();
                rest().await;
                output.quiet(0);
                until(&path, "left out 1 line ").await;
                writer.write_all(b"after\n").unwrap();
                let log = until(&path, "after\n").await;
                assert!(log.starts_with("before\n[decalog: left out 1 line"), "{log}");
                // It prints without a pause, and nobody ends it.
                output.quiet(50);
                rest().await;
                let noise = std::thread::spawn(move || {
                    while writer.write_all(&b"noise\n".repeat(2_000)).is_ok() {}
                });
                let log = until(&path, "noise\n").await;
                assert_eq!(log.matches("left out").count(), 2);
                noise
            };
        let noise = tokio::task::LocalSet::new().run_until(all).await;
        // Its pipe is closed now.
        noise.join().unwrap();
    }

    #[test]
    fn bounded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r.log");
        let mut log = Log::open(path.clone(), 100);
        for n in 0..100 {
            log.write(format!("line {n:04}\n").as_bytes());
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.len() <= 100 && text.ends_with("line 0099\n"), "{text}");
        assert!(std::fs::metadata(directory.path().join("r.log.1")).unwrap().len() <= 100);
    }

    #[test]
    fn when_pieces_came_is_beside_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r.log");
        let mut log = Log::open(path.clone(), 100);
        log.write(b"first\n");
        std::thread::sleep(Duration::from_millis(2 * TIME_MS));
        log.write(b"second\n");
        let times = std::fs::read_to_string(directory.path().join("r.times")).unwrap();
        let read = |line: &str| {
            let (offset, ms) = line.split_once(' ').unwrap();
            (offset.parse::<u64>().unwrap(), ms.parse::<u64>().unwrap())
        };
        let times: Vec<(u64, u64)> = times.lines().map(read).collect();
        assert_eq!(times.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [0, 6]);
        assert!(times[1].1 - times[0].1 >= 2 * TIME_MS, "{times:?}");
    }
}
