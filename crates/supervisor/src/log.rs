//! A process's log: bounded, with one predecessor, and filled from a pipe. Its secrets are masked on
//! the way.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;

use crate::mask::{Masking, Masks};

/// Of one log.
const LOG_BYTES_MAX: u64 = 10 << 20;
/// Read at once.
const PIECE_BYTES: usize = 16 * 1024;
/// How long the beginning of what may be a secret is held back for the rest to come, in
/// milliseconds.
const SPLIT_MS_MAX: u64 = 2_000;
const SPLIT: Duration = Duration::from_millis(SPLIT_MS_MAX);

/// What a process prints, on its way to its log.
pub struct Output {
    log: RefCell<Log>,
    /// `None` where there are no secrets.
    masking: RefCell<Option<Masking>>,
    closed: watch::Sender<bool>,
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
            closed: watch::channel(false).0,
        });
        let to = output.clone();
        tokio::task::spawn_local(async move {
            let mut buffer = vec![0; PIECE_BYTES];
            loop {
                let reading = pipe.read(&mut buffer);
                let read = match to.is_holding() {
                    false => reading.await,
                    true => match tokio::time::timeout(SPLIT, reading).await {
                        Ok(read) => read,
                        Err(_) => {
                            to.let_go();
                            continue;
                        }
                    },
                };
                let Ok(read @ 1..) = read else { break };
                to.write(&buffer[..read]);
            }
            to.let_go();
            to.closed.send_replace(true);
        });
        Ok(output)
    }

    fn write(&self, bytes: &[u8]) {
        match &mut *self.masking.borrow_mut() {
            None => self.log.borrow_mut().write(bytes),
            Some(masking) => {
                let mut masked = Vec::with_capacity(bytes.len());
                masking.take(bytes, &mut masked);
                self.log.borrow_mut().write(&masked);
            }
        }
    }

    fn is_holding(&self) -> bool {
        self.masking.borrow().as_ref().is_some_and(Masking::is_holding)
    }

    fn let_go(&self) {
        if let Some(masking) = &mut *self.masking.borrow_mut() {
            let mut masked = vec![];
            masking.finish(&mut masked);
            self.log.borrow_mut().write(&masked);
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
        *log = Log::open(path, LOG_BYTES_MAX);
    }

    /// Returns when all is written.
    pub async fn closed(&self) {
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }
}

/// Appends to a file until it is full, then starts another and keeps the last.
pub struct Log {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
    bytes_max: u64,
}

impl Log {
    /// Goes on with the file at `path`.
    pub fn open(path: PathBuf, bytes_max: u64) -> Log {
        let mut log = Log { path, file: None, bytes: 0, bytes_max };
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
            self.reopen();
        }
        if let Some(file) = &mut self.file
            && file.write_all(bytes).is_ok()
        {
            self.bytes += bytes.len() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
