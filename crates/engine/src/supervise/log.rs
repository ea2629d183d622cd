//! A replica's log: bounded, with one predecessor.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

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
        self.bytes = self.file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |metadata| metadata.len());
    }

    /// Appends. A full disk loses lines, and must not stop the model.
    pub fn write(&mut self, bytes: &[u8]) {
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
