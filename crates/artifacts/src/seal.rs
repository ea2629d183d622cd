//! The seal of a file: a modification time that no write leaves behind. A file gets it when its
//! content has been hashed and is on disk, so that one look at its metadata tells whether it must
//! be hashed again.

use std::fs::{File, Metadata, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use domain::Digest;
use domain::digest::Hasher;

/// The modification time of sealed files, in seconds since 1970: the first of January 2000.
const SEALED_S: u64 = 946_684_800;
/// Bytes that are read or written at a time.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;
/// Of files that nobody is to change.
pub(crate) const PLAIN_MODE: u32 = 0o444;
/// Of such files that may be run.
pub(crate) const EXECUTABLE_MODE: u32 = 0o555;
/// Of folders that nobody is to change.
pub(crate) const FOLDER_MODE: u32 = 0o555;

/// Whether a file is as it was when it was hashed. What changes its time on purpose, or a disk that
/// decays, is found by hashing alone.
pub(crate) fn is_sealed(metadata: &Metadata) -> bool {
    metadata.is_file() && metadata.mtime() == SEALED_S as i64 && metadata.mtime_nsec() == 0
}

/// Puts a file's content on disk, then makes it read-only and seals it. Its content must have been
/// hashed.
pub(crate) fn seal(file: &File, mode: u32) -> io::Result<()> {
    file.sync_all()?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(SEALED_S))
}

/// Seals a file as a blob. Its content must have been hashed.
pub fn seal_blob(file: &File) -> io::Result<()> {
    seal(file, PLAIN_MODE)
}

/// Takes the seal off, so that the file is hashed before it is used again.
pub(crate) fn unseal(path: &Path) -> io::Result<()> {
    File::open(path)?.set_modified(SystemTime::now())
}

/// The digest and the length of what a file holds from where it stands to its end.
pub(crate) fn hash(file: &mut File) -> io::Result<(Digest, u64)> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut size = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((hasher.finish(), size));
        }
        hasher.update(&buffer[..read]);
        size += read as u64;
    }
}

/// Puts the names of a folder's entries on disk.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
