//! SHA-256 of files of any size: one thread reads while another computes. What was computed is
//! remembered below the user's cache directory, so that the same data are not read at each push. A
//! file that has changed since, in whatever way the file system can tell, is read again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, sync_channel};
use std::time::{SystemTime, UNIX_EPOCH};

use domain::Digest;
use domain::digest::Hasher;
use serde::{Deserialize, Serialize};

use crate::local::write_private;

/// Bytes that are read at a time.
const BLOCK_BYTES: usize = 4 << 20;
/// Blocks that are in memory together.
const BLOCKS_MAX: usize = 4;
/// What was written less than so long ago, in nanoseconds, may be written again without another
/// time: some file systems have times of two seconds.
const SETTLED_NS: i64 = 2_000_000_000;
/// The most files that are remembered.
const FILES_MAX: usize = 20_000;
/// The longest file that it is remembered in, in bytes.
const CACHE_BYTES_MAX: u64 = 32 << 20;
/// Its name below the cache directory.
const CACHE_FILE: &str = "decalog/digests.json";

/// Why a file has no digest.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// It is not there, or not readable.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A directory, a pipe, a device.
    #[error("is not a file")]
    Kind,
    /// It was written while it was read.
    #[error("has changed while it was read")]
    Changed,
}

/// By which a file is known to be unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    /// When its content was written, in nanoseconds since 1970.
    modified_ns: i64,
    /// When its content, name or rights were, in nanoseconds since 1970: nobody can set that.
    changed_ns: i64,
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Stamp {
        let ns = |seconds: i64, ns: i64| seconds.saturating_mul(1_000_000_000).saturating_add(ns);
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether whatever is written from now on gets another time.
    fn is_settled(&self, now_ns: i64) -> bool {
        now_ns.saturating_sub(self.modified_ns.max(self.changed_ns)) > SETTLED_NS
    }
}

/// A file whose digest is known.
#[derive(Clone, Serialize, Deserialize)]
struct Known {
    #[serde(flatten)]
    stamp: Stamp,
    digest: Digest,
    /// When it was needed last, in seconds since 1970.
    used_s: u64,
}

/// Digests of files, and where they are remembered.
pub struct Hashes {
    cache: Option<PathBuf>,
    known: BTreeMap<String, Known>,
    /// Those that this run needed.
    used: BTreeMap<String, Known>,
}

fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Where digests are remembered for this user.
fn cache() -> Option<PathBuf> {
    let named = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let directory = named.filter(|path| path.is_absolute()).or_else(home)?;
    Some(directory.join(CACHE_FILE))
}

/// What is remembered; nothing, if it cannot be read or understood.
fn read(cache: &Path) -> BTreeMap<String, Known> {
    let is_short = fs::metadata(cache).is_ok_and(|metadata| metadata.len() <= CACHE_BYTES_MAX);
    let text = is_short.then(|| fs::read(cache).ok()).flatten().unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

impl Hashes {
    /// With what is remembered for this user.
    pub fn open() -> Hashes {
        Hashes::at(cache())
    }

    fn at(cache: Option<PathBuf>) -> Hashes {
        let known = cache.as_deref().map(read).unwrap_or_default();
        Hashes { cache, known, used: BTreeMap::new() }
    }

    /// The digest of a file and its size in bytes; `told` hears of each part of it that is done.
    pub fn file(
        &mut self,
        path: &Path,
        told: &mut dyn FnMut(u64),
    ) -> Result<(Digest, u64), HashError> {
        if !fs::metadata(path)?.is_file() {
            return Err(HashError::Kind);
        }
        let mut file = File::open(path)?;
        let (begun_ns, stamp) = (now_ns(), Stamp::of(&file.metadata()?));
        let name = path.canonicalize()?.to_string_lossy().into_owned();
        let used_s = u64::try_from(begun_ns / 1_000_000_000).unwrap_or(0);
        if let Some(known) = self.known.get(&name).filter(|known| known.stamp == stamp) {
            told(stamp.bytes);
            let digest = known.digest;
            self.used.insert(name, Known { stamp, digest, used_s });
            return Ok((digest, stamp.bytes));
        }
        let (digest, bytes) = digest_of(&mut file, stamp.bytes, told)?;
        let is_same = |metadata: fs::Metadata| Stamp::of(&metadata) == stamp;
        if bytes != stamp.bytes || !is_same(file.metadata()?) || !is_same(fs::metadata(path)?) {
            return Err(HashError::Changed);
        }
        if stamp.is_settled(begun_ns) {
            self.used.insert(name, Known { stamp, digest, used_s });
        }
        Ok((digest, bytes))
    }

    /// Remembers them. It does no harm if that fails: they are computed again.
    pub fn remember(self) {
        let Some(cache) = self.cache.filter(|_| !self.used.is_empty()) else { return };
        // Another push may have remembered more meanwhile.
        let mut known = read(&cache);
        known.extend(self.used);
        let mut ages: Vec<u64> = known.values().map(|known| known.used_s).collect();
        if ages.len() > FILES_MAX {
            ages.sort_unstable_by(|a, b| b.cmp(a));
            let oldest_s = ages[FILES_MAX - 1];
            known.retain(|_, known| known.used_s > oldest_s);
        }
        let Ok(text) = serde_json::to_string(&known) else { return };
        let Some(directory) = cache.parent() else { return };
        let _ = fs::create_dir_all(directory).and_then(|()| write_private(&cache, &text));
    }
}

/// The digest of what a file has from here on, and how many bytes that were.
fn digest_of(file: &mut File, bytes: u64, told: &mut dyn FnMut(u64)) -> io::Result<(Digest, u64)> {
    let mut hasher = Hasher::new();
    let mut done = 0;
    let mut take = |block: &[u8]| {
        hasher.update(block);
        done += block.len() as u64;
        told(block.len() as u64);
    };
    if bytes <= BLOCK_BYTES as u64 {
        let mut block = Vec::with_capacity(bytes as usize + 1);
        file.take(bytes + 1).read_to_end(&mut block)?;
        take(&block);
        return Ok((hasher.finish(), done));
    }
    std::thread::scope(|scope| {
        let (full, blocks) = sync_channel::<io::Result<(Vec<u8>, usize)>>(BLOCKS_MAX);
        let (spent, free) = channel();
        (0..BLOCKS_MAX).for_each(|_| drop(spent.send(vec![0; BLOCK_BYTES])));
        scope.spawn(move || {
            for mut block in free {
                let read = fill(file, &mut block);
                let is_end = !matches!(read, Ok(count) if count > 0);
                if full.send(read.map(|count| (block, count))).is_err() || is_end {
                    return;
                }
            }
        });
        for block in blocks {
            let (block, count) = block?;
            take(&block[..count]);
            let _ = spent.send(block);
        }
        Ok::<(), io::Error>(())
    })?;
    Ok((hasher.finish(), done))
}

/// Fills a block as far as there is something.
fn fill(file: &mut File, block: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < block.len() {
        match file.read(&mut block[count..]) {
            Ok(0) => break,
            Ok(read) => count += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashed(hashes: &mut Hashes, path: &Path) -> (Digest, u64) {
        hashes.file(path, &mut |_| {}).unwrap()
    }

    /// As if it had been written long ago.
    fn settle(path: &Path) {
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(UNIX_EPOCH).unwrap();
    }

    #[test]
    fn a_long_file_has_the_digest_of_its_whole_content() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data");
        for bytes in [0, 1, BLOCK_BYTES, BLOCK_BYTES + 1, 6 * BLOCK_BYTES + 7] {
            let content: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
            fs::write(&path, &content).unwrap();
            let mut told = 0;
            let found = Hashes::at(None).file(&path, &mut |done| told += done).unwrap();
            assert_eq!(found, (Digest::of(&content), bytes as u64));
            assert_eq!(told, bytes as u64);
        }
        assert!(matches!(
            Hashes::at(None).file(directory.path(), &mut |_| {}),
            Err(HashError::Kind)
        ));
    }

    #[test]
    fn what_was_just_written_is_not_remembered_and_what_changed_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let (path, cache) = (directory.path().join("data"), directory.path().join("a/cache"));
        fs::write(&path, "abc").unwrap();
        let mut hashes = Hashes::at(Some(cache.clone()));
        hashed(&mut hashes, &path);
        hashes.remember();
        assert!(read(&cache).is_empty(), "its times are of now");
        // A stamp of the past cannot be made by a test: the time of change is the kernel's.
        let stamp = Stamp::of(&fs::metadata(&path).unwrap());
        assert!(!stamp.is_settled(stamp.changed_ns + SETTLED_NS));
        assert!(stamp.is_settled(stamp.changed_ns + SETTLED_NS + 1));
        assert!(!stamp.is_settled(stamp.changed_ns - 1), "written in the future");
        let name = path.canonicalize().unwrap().to_string_lossy().into_owned();
        let known = Known { stamp, digest: Digest::ZERO, used_s: 1 };
        let mut hashes = Hashes::at(Some(cache.clone()));
        hashes.known.insert(name.clone(), known);
        assert_eq!(hashed(&mut hashes, &path), (Digest::ZERO, 3), "it is taken as known");
        hashes.remember();
        assert_eq!(read(&cache)[&name].digest, Digest::ZERO);
        // The same size and the same time of writing.
        fs::write(&path, "abd").unwrap();
        settle(&path);
        let mut hashes = Hashes::at(Some(cache.clone()));
        assert_eq!(hashed(&mut hashes, &path), (Digest::of(b"abd"), 3));
        fs::write(&cache, "{broken").unwrap();
        assert_eq!(hashed(&mut Hashes::at(Some(cache)), &path).0, Digest::of(b"abd"));
    }

    #[test]
    fn a_file_that_changes_meanwhile_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data");
        fs::write(&path, vec![0; 2 * BLOCK_BYTES]).unwrap();
        let append = || {
            let mut file = File::options().append(true).open(&path).unwrap();
            io::Write::write_all(&mut file, b"more").unwrap();
        };
        let refused = Hashes::at(None).file(&path, &mut |_| append());
        assert!(matches!(refused, Err(HashError::Changed)));
    }
}
