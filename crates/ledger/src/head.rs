//! The head marker: a small file in the data directory, whatever the store, that says how far the
//! ledger went. The ledger's own chain cannot tell that its end is missing; the marker can, whether
//! entries were cut off, the ledger was deleted, or an older copy was put in its place.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use domain::Digest;

/// Number and hash of an entry: 20 digits, a space, 64 digits, a newline. Always as long, so that
/// one write replaces another.
const BYTES: usize = 86;

/// The marker of an open ledger.
pub struct HeadMarker {
    file: File,
}

/// How far a ledger went; `None` if there is no marker, or one that cannot be read.
pub fn read(marker: &Path) -> Option<(u64, Digest)> {
    let mut text = String::new();
    File::open(marker).ok()?.take(BYTES as u64).read_to_string(&mut text).ok()?;
    let (seq, hash) = text.trim_end().split_once(' ')?;
    Some((seq.parse().ok()?, hash.parse().ok()?))
}

impl HeadMarker {
    /// Opens or makes a marker.
    pub fn open(marker: &Path) -> std::io::Result<HeadMarker> {
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(marker)?;
        Ok(HeadMarker { file })
    }

    /// Says that the ledger has come to an entry, which is on disk already. After a power loss the
    /// marker may be behind.
    pub fn set(&self, seq: u64, hash: Digest) -> std::io::Result<()> {
        self.file.write_all_at(format!("{seq:020} {hash}\n").as_bytes(), 0)
    }
}
