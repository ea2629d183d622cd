//! The thread that makes Parquet of segments, and removes what is too old.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use artifacts::Area;

use crate::catalogue::{Catalogue, Erased};
use crate::erase::Eraser;
use crate::{seal, segment};

/// How often what is too old is looked for, in milliseconds.
const RETAIN_MS: u64 = 60_000;
/// Between two tries to store what could not be stored, in milliseconds.
const RETRY_MS: u64 = 5_000;

/// What the sealing thread is given.
pub enum Closed {
    /// One that nobody writes to any more.
    Segment(PathBuf),
    /// All before it is in the catalogue.
    Mark(Sender<()>),
    /// Erase what was to be erased when a process ended.
    Resume,
    /// Erase what the catalogue has under this number.
    Erase(u64, Sender<io::Result<Erased>>),
}

/// The thread that makes Parquet.
pub struct Sealing {
    /// Where the files go.
    pub area: Area,
    /// What is told of them.
    pub catalogue: Arc<Catalogue>,
    /// Where segments are.
    pub directory: PathBuf,
    /// How long files are kept, in milliseconds, …
    pub keep_ms: u64,
    /// … and how many bytes of them.
    pub keep_bytes_max: u64,
    /// Where the store does its work.
    pub runtime: tokio::runtime::Handle,
    /// When what is too old was last removed.
    pub retained_at: Instant,
}

impl Sealing {
    /// Takes what is closed until nobody closes anything any more.
    pub fn run(mut self, closed: &Receiver<Closed>) {
        loop {
            match closed.recv_timeout(Duration::from_millis(RETAIN_MS)) {
                Ok(Closed::Segment(path)) => self.seal(&path),
                Ok(Closed::Mark(done)) => drop(done.send(())),
                Ok(Closed::Resume) => self.resume(),
                Ok(Closed::Erase(id, done)) => {
                    self.seal_left();
                    let _ = done.send(self.eraser().sweep_one(id));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.retained_at.elapsed() > Duration::from_millis(RETAIN_MS) {
                self.retained_at = Instant::now();
                self.seal_left();
                self.resume();
                if let Err(error) = self.retain() {
                    tracing::warn!("old records are not removed: {error}");
                }
            }
        }
    }

    /// A process that was replaced has left its last segment.
    fn seal_left(&self) {
        let left = segment::left_in(&self.directory).unwrap_or_default();
        left.iter().for_each(|path| self.seal(path));
    }

    fn eraser(&self) -> Eraser<'_> {
        Eraser { area: &self.area, catalogue: &self.catalogue, runtime: &self.runtime }
    }

    fn resume(&self) {
        if let Err(error) = self.eraser().resume(now_ms()) {
            tracing::warn!("records that are to be erased are still there: {error}");
        }
    }

    /// Tries until the store has it: the segment stays until then.
    fn seal(&self, path: &Path) {
        let mut is_said = false;
        while let Err(error) = self.try_seal(path) {
            if error.kind() == io::ErrorKind::NotFound {
                return;
            }
            if !std::mem::replace(&mut is_said, true) {
                tracing::warn!("{} does not become Parquet: {error}", path.display());
            }
            std::thread::sleep(Duration::from_millis(RETRY_MS));
        }
    }

    fn try_seal(&self, path: &Path) -> io::Result<()> {
        let bytes = segment::map(path)?;
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let parts = seal::seal(name, &bytes, now_ms())?;
        for (file, content) in parts.sealed.files.iter().zip(parts.contents) {
            let put = self.area.put(&file.path, content.into());
            self.runtime.block_on(put).map_err(io::Error::other)?;
        }
        self.catalogue.seal(&parts.sealed).map_err(io::Error::other)?;
        std::fs::remove_file(path)
    }

    fn retain(&self) -> io::Result<()> {
        let before_ms = now_ms().saturating_sub(self.keep_ms);
        let old = self.catalogue.too_old(before_ms, self.keep_bytes_max);
        for path in old.map_err(io::Error::other)? {
            let removed = self.area.remove(&path);
            self.runtime.block_on(removed).map_err(io::Error::other)?;
            self.catalogue.forget(&path).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
