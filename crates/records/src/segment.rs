//! A segment: frames on this machine's disk, each with a checksum, until they become Parquet. What
//! was cut off in the middle of a frame is read up to there.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

/// What a segment begins with, before the name of the ring.
const MAGIC: &[u8; 8] = b"DCLGREC1";
const HEADER_BYTES: usize = 16;
/// Length, checksum.
const FRAME_HEAD_BYTES: usize = 8;
/// Kind, position.
const FRAME_INNER_BYTES: usize = 9;
/// The longest frame that is believed, in bytes.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// What a frame holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A lane's number (8 bytes), and its [`protocol::record::Definition`] as JSON.
    Definition = 1,
    /// A weight (8 bytes), and a record as [`protocol::record`] has it.
    Record = 2,
    /// A [`crate::Gap`] as JSON.
    Gap = 3,
}

/// A segment that is written.
pub struct Segment {
    file: File,
    path: PathBuf,
    bytes: u64,
    buffer: Vec<u8>,
}

/// Adds a frame to some bytes.
fn push(buffer: &mut Vec<u8>, kind: Kind, position: u64, parts: [&[u8]; 2]) {
    let length = FRAME_INNER_BYTES + parts[0].len() + parts[1].len();
    buffer.extend_from_slice(&(length as u32).to_le_bytes());
    let checksum_at = buffer.len();
    buffer.extend_from_slice(&[0; 4]);
    buffer.push(kind as u8);
    buffer.extend_from_slice(&position.to_le_bytes());
    parts.iter().for_each(|part| buffer.extend_from_slice(part));
    let checksum = crc32fast::hash(&buffer[checksum_at + 4..]);
    buffer[checksum_at..checksum_at + 4].copy_from_slice(&checksum.to_le_bytes());
}

impl Segment {
    /// A new one for frames of a ring, locked as long as it is written.
    pub fn create(path: PathBuf, ring: u64) -> io::Result<Segment> {
        let mut file = File::options().create_new(true).write(true).open(&path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let mut header = MAGIC.to_vec();
        header.extend_from_slice(&ring.to_le_bytes());
        file.write_all(&header)?;
        Ok(Segment { file, path, bytes: HEADER_BYTES as u64, buffer: vec![] })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length with what is not written yet.
    pub fn bytes(&self) -> u64 {
        self.bytes + self.buffer.len() as u64
    }

    /// Adds a frame, to be written by [`Segment::write`]. `position` is the frame's in the ring, or
    /// 0 if it is not from there.
    pub fn push(&mut self, kind: Kind, position: u64, parts: [&[u8]; 2]) {
        push(&mut self.buffer, kind, position, parts);
    }

    /// Writes what was added. If that fails, the segment is as it was before, without what was
    /// added.
    pub fn write(&mut self) -> io::Result<()> {
        let written = self.file.write_all(&self.buffer);
        match written {
            Ok(()) => self.bytes += self.buffer.len() as u64,
            Err(_) => {
                let _ = self.file.set_len(self.bytes);
                let _ = std::io::Seek::seek(&mut self.file, io::SeekFrom::Start(self.bytes));
            }
        }
        self.buffer.clear();
        written
    }

    /// Makes sure that what was written survives a power cut.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// All segments of a directory that nobody writes to, the oldest first.
pub fn left_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut left: Vec<PathBuf> = std::fs::read_dir(directory)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "segment"))
        .filter(|path| {
            let lock = FlockOperation::NonBlockingLockShared;
            File::open(path).is_ok_and(|file| rustix::fs::flock(&file, lock).is_ok())
        })
        .collect();
    left.sort();
    Ok(left)
}

/// The bytes of a segment that nobody writes to any more. They take no memory of their own.
pub fn map(path: &Path) -> io::Result<memmap2::Mmap> {
    let file = File::open(path)?;
    // SAFETY: a segment only grows, and only while its writer holds it; Decalog's directory is its
    // own.
    unsafe { memmap2::Mmap::map(&file) }
}

/// A frame that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// What it holds.
    pub kind: Kind,
    /// In the ring.
    pub position: u64,
    /// As [`Kind`] says.
    pub body: &'a [u8],
}

/// The ring that a segment's frames are from; `None` if it is no segment.
pub fn ring_of(bytes: &[u8]) -> Option<u64> {
    let header = bytes.first_chunk::<HEADER_BYTES>()?;
    let name = header[MAGIC.len()..].try_into().ok()?;
    header.starts_with(MAGIC).then(|| u64::from_le_bytes(name))
}

/// All frames that are whole, up to the first that is not.
pub fn frames(bytes: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    let mut rest = match ring_of(bytes) {
        Some(_) => &bytes[HEADER_BYTES..],
        None => &[],
    };
    std::iter::from_fn(move || {
        let (head, tail) = rest.split_first_chunk::<FRAME_HEAD_BYTES>()?;
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let checksum = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let (frame, tail) = tail.split_at_checked(length).filter(|_| length <= FRAME_BYTES_MAX)?;
        let (inner, body) = frame.split_first_chunk::<FRAME_INNER_BYTES>()?;
        let kind = match inner[0] {
            1 => Kind::Definition,
            2 => Kind::Record,
            3 => Kind::Gap,
            _ => return None,
        };
        if crc32fast::hash(frame) != checksum {
            return None;
        }
        rest = tail;
        let position = u64::from_le_bytes(inner[1..].try_into().ok()?);
        Some(Frame { kind, position, body })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_cut_at_every_byte_gives_all_frames_before_the_cut() {
        let directory = tempfile::tempdir().unwrap();
        let mut segment = Segment::create(directory.path().join("a"), 7).unwrap();
        let mut ends = vec![];
        for n in 0..20u64 {
            let body = vec![n as u8; (n * 13 % 40) as usize];
            segment.push(Kind::Record, n, [&1.0f64.to_le_bytes(), &body]);
            segment.write().unwrap();
            ends.push(segment.bytes() as usize);
        }
        let bytes = std::fs::read(segment.path()).unwrap();
        assert_eq!(ring_of(&bytes), Some(7));
        for cut in 0..=bytes.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count();
            let read: Vec<_> = frames(&bytes[..cut]).map(|frame| frame.position).collect();
            assert_eq!(read, (0..whole as u64).collect::<Vec<_>>(), "cut at {cut}");
        }
        testing::Corpus::of("segments", vec![bytes]).check(|bytes| {
            frames(bytes).for_each(drop);
        });
    }
}
