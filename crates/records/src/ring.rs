//! A ring of frames in shared memory, written by many threads and read by one. Who writes never
//! waits: what finds no room is counted in the ring itself. The memory is a file that somebody else
//! holds, so that what was written is still there after this process was killed.
//!
//! A writer reserves room by moving `head`, writes its frame, and then its mark, which follows from
//! the frame's position: memory that was not finished is never taken for a frame. The reader clears
//! what it has read before it moves `tail`.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::MmapRaw;

/// What a ring's memory begins with.
const MAGIC: u64 = 0x3167_6e69_7264_6364;
/// The part of the memory before the frames, in bytes.
const HEADER_BYTES: usize = 4_096;
/// Before each frame: its mark and its length.
const FRAME_HEAD_BYTES: usize = 16;
/// Frames begin at multiples of it, in bytes.
const ALIGN: u64 = 8;
/// Frames with values are refused once so much of the ring is in use, in percent: the rest is for
/// those without.
const WHOLE_PERCENT_MAX: u64 = 75;
/// The largest frame, as a part of the ring.
const FRAME_PART_MAX: u64 = 8;

/// The numbers at the begin of the memory, by their places.
#[derive(Clone, Copy)]
enum Word {
    Magic = 0,
    Capacity = 1,
    /// Names the ring, so that a position in it is never taken for one in another.
    Name = 2,
    /// Positions count all bytes that were ever reserved. On lines of the cache of their own.
    Head = 8,
    Tail = 16,
    DroppedRecords = 24,
    DroppedValues = 25,
    ReportedRecords = 26,
    ReportedValues = 27,
}

/// What found no room, since the ring was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Dropped {
    /// Frames.
    pub records: u64,
    /// Frames that were then written without their values.
    pub values: u64,
}

/// A ring of frames.
pub struct Ring {
    map: MmapRaw,
    capacity: u64,
}

// SAFETY: all access goes through atomics, or to bytes that the writer has reserved or the reader
// has not given back.
unsafe impl Send for Ring {}
// SAFETY: as above.
unsafe impl Sync for Ring {}

/// The bytes of a frame with its head.
fn whole_bytes(bytes: usize) -> u64 {
    ((FRAME_HEAD_BYTES + bytes) as u64).next_multiple_of(ALIGN)
}

impl Ring {
    /// The bytes of memory for a ring of so many bytes of frames.
    pub fn file_bytes(capacity: u64) -> u64 {
        HEADER_BYTES as u64 + capacity.next_multiple_of(ALIGN)
    }

    /// The ring in a file of [`Ring::file_bytes`]: the one that is there, or else a new one.
    pub fn open(file: &File) -> io::Result<Ring> {
        let map = MmapRaw::map_raw(file)?;
        let capacity = (map.len() as u64).saturating_sub(HEADER_BYTES as u64) / ALIGN * ALIGN;
        if capacity < 8 * HEADER_BYTES as u64 {
            return Err(io::Error::other("the memory is too small for a ring"));
        }
        let ring = Ring { map, capacity };
        let is_there = ring.word(Word::Magic).load(Ordering::Acquire) == MAGIC
            && ring.word(Word::Capacity).load(Ordering::Relaxed) == capacity;
        if !is_there {
            ring.word(Word::Capacity).store(capacity, Ordering::Relaxed);
            ring.word(Word::Name).store(random(), Ordering::Relaxed);
            ring.word(Word::Magic).store(MAGIC, Ordering::Release);
        }
        Ok(ring)
    }

    fn word(&self, word: Word) -> &AtomicU64 {
        // SAFETY: the memory is longer than its header, aligned to a page, and lives as long as
        // `self`; all access to these words is atomic.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().cast::<u64>().add(word as usize)) }
    }

    fn place(&self, position: u64) -> *mut u8 {
        let offset = HEADER_BYTES + (position % self.capacity) as usize;
        // SAFETY: the offset is within the memory.
        unsafe { self.map.as_mut_ptr().add(offset) }
    }

    fn mark(&self, position: u64) -> &AtomicU64 {
        // SAFETY: positions of frames are multiples of 8, so that the place is aligned and has 8
        // bytes before the end.
        unsafe { AtomicU64::from_ptr(self.place(position).cast()) }
    }

    /// The mark of a frame at a position: of one that is to be read, or one that only fills.
    fn mark_of(&self, position: u64, fills: bool) -> u64 {
        let name = self.word(Word::Name).load(Ordering::Relaxed);
        (position ^ name).wrapping_mul(0x9e37_79b9_7f4a_7c15) << 1 | u64::from(fills)
    }

    /// The ring's name.
    pub fn name(&self) -> u64 {
        self.word(Word::Name).load(Ordering::Relaxed)
    }

    /// Bytes that are reserved and not read.
    pub fn used(&self) -> u64 {
        let tail = self.word(Word::Tail).load(Ordering::Acquire);
        self.word(Word::Head).load(Ordering::Acquire).saturating_sub(tail)
    }

    /// What found no room.
    pub fn dropped(&self) -> Dropped {
        let read = |word| self.word(word).load(Ordering::Relaxed);
        Dropped { records: read(Word::DroppedRecords), values: read(Word::DroppedValues) }
    }

    /// What found no room and was not reported; [`Ring::reported`] says that it was.
    pub fn unreported(&self) -> Dropped {
        let (all, read) = (self.dropped(), |word| self.word(word).load(Ordering::Relaxed));
        Dropped {
            records: all.records.saturating_sub(read(Word::ReportedRecords)),
            values: all.values.saturating_sub(read(Word::ReportedValues)),
        }
    }

    /// Takes note that so many are in the records as a gap.
    pub fn reported(&self, dropped: Dropped) {
        self.word(Word::ReportedRecords).fetch_add(dropped.records, Ordering::Relaxed);
        self.word(Word::ReportedValues).fetch_add(dropped.values, Ordering::Relaxed);
    }

    /// Writes a frame of so many bytes; `false` if there is no room. Frames that are whole are
    /// refused first, and the caller may then try without the values.
    pub fn put(&self, bytes: usize, is_whole: bool, write: &mut dyn FnMut(&mut [u8])) -> bool {
        let Some(position) = self.reserve(whole_bytes(bytes), is_whole) else {
            let counted = if is_whole { Word::DroppedValues } else { Word::DroppedRecords };
            self.word(counted).fetch_add(1, Ordering::Relaxed);
            return false;
        };
        // A writer that panics leaves a frame that only fills, not one that is waited for for ever.
        let mut finish = Finish { ring: self, position, fills: true };
        // SAFETY: these bytes are reserved for this call alone until its mark is written.
        let (length, body) = unsafe {
            let start = self.place(position);
            let body = std::slice::from_raw_parts_mut(start.add(FRAME_HEAD_BYTES), bytes);
            (AtomicU64::from_ptr(start.add(8).cast()), body)
        };
        length.store(bytes as u64, Ordering::Relaxed);
        write(body);
        finish.fills = false;
        drop(finish);
        true
    }

    /// Room for a frame that does not cross the end of the memory: what is left there is filled.
    fn reserve(&self, needed: u64, is_whole: bool) -> Option<u64> {
        if needed > self.capacity / FRAME_PART_MAX {
            return None;
        }
        let percent = if is_whole { WHOLE_PERCENT_MAX } else { 100 };
        let limit = self.capacity / 100 * percent;
        let head = self.word(Word::Head);
        let mut begin = head.load(Ordering::Relaxed);
        loop {
            let to_end = self.capacity - begin % self.capacity;
            let fill = if to_end < needed { to_end } else { 0 };
            let end = begin + fill + needed;
            let Some(used) = end.checked_sub(self.word(Word::Tail).load(Ordering::Acquire)) else {
                // Between the two looks others wrote as much, and all of it was read.
                begin = head.load(Ordering::Relaxed);
                continue;
            };
            if used > limit {
                return None;
            }
            match head.compare_exchange_weak(begin, end, Ordering::AcqRel, Ordering::Relaxed) {
                Err(moved) => begin = moved,
                Ok(_) => {
                    if fill > 0 {
                        self.fill(begin, fill);
                    }
                    return Some(begin + fill);
                }
            }
        }
    }

    /// Marks so many bytes as nothing to be read. There are 8 at least; a length is written where it
    /// fits, and else follows from the end of the memory.
    fn fill(&self, position: u64, bytes: u64) {
        if bytes >= FRAME_HEAD_BYTES as u64 {
            // SAFETY: the bytes are reserved, and 8 aligned ones follow the mark.
            let length = unsafe { AtomicU64::from_ptr(self.place(position).add(8).cast()) };
            length.store(bytes - FRAME_HEAD_BYTES as u64, Ordering::Relaxed);
        }
        self.mark(position).store(self.mark_of(position, true), Ordering::Release);
    }

    /// Gives frames that wait, with their positions, until there are no more, or `take` says that
    /// it has enough. They stay until [`Ring::release`]. Only one thread may read.
    ///
    /// Returns the position after the last. `recovering` says that no writer lives: a place that
    /// was reserved and not finished is then passed over.
    pub fn read(
        &self,
        from: u64,
        recovering: bool,
        mut take: impl FnMut(u64, &[u8]) -> bool,
    ) -> u64 {
        let head = self.word(Word::Head).load(Ordering::Acquire);
        let mut at = from;
        while at < head {
            let mark = self.mark(at).load(Ordering::Acquire);
            let fills = mark == self.mark_of(at, true);
            if !fills && mark != self.mark_of(at, false) {
                if !recovering {
                    break;
                }
                at += ALIGN;
                continue;
            }
            let to_end = self.capacity - at % self.capacity;
            if to_end < FRAME_HEAD_BYTES as u64 {
                at += to_end;
                continue;
            }
            // SAFETY: a frame that is marked is not written any more, until it is released.
            let bytes = unsafe {
                AtomicU64::from_ptr(self.place(at).add(8).cast()).load(Ordering::Relaxed)
            };
            let bytes = bytes.min(to_end - FRAME_HEAD_BYTES as u64) as usize;
            let next = at + whole_bytes(bytes);
            if !fills {
                // SAFETY: as above; the bytes are within the memory.
                let body = unsafe {
                    std::slice::from_raw_parts(self.place(at).add(FRAME_HEAD_BYTES), bytes)
                };
                if !take(at, body) {
                    return next;
                }
            }
            at = next;
        }
        at.min(head)
    }

    /// Where reading goes on.
    pub fn tail(&self) -> u64 {
        self.word(Word::Tail).load(Ordering::Acquire)
    }

    /// Gives back what lies before a position that [`Ring::read`] returned.
    pub fn release(&self, to: u64) {
        let mut at = self.tail();
        while at < to {
            let bytes = (to - at).min(self.capacity - at % self.capacity);
            // SAFETY: these bytes were read, and no writer reserves them before `tail` has moved.
            unsafe { std::ptr::write_bytes(self.place(at), 0, bytes as usize) };
            at += bytes;
        }
        self.word(Word::Tail).store(to, Ordering::Release);
    }
}

/// Writes the mark of a frame, however writing it ended.
struct Finish<'r> {
    ring: &'r Ring,
    position: u64,
    fills: bool,
}

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        let mark = self.ring.mark_of(self.position, self.fills);
        self.ring.mark(self.position).store(mark, Ordering::Release);
    }
}

fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // The standard library seeds each RandomState from the system.
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests;
