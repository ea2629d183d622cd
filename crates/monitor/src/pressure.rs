//! How short of processors the machine was, for a day back: a file of fixed size in which each
//! bucket has its place, so that it survives a restart and never grows.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::health::BUCKET_MS;

/// Buckets that are kept: a day.
const SLOTS: u64 = 86_400_000 / BUCKET_MS;
/// Of a bucket: its number since 1970, and two shares.
const SLOT_BYTES: usize = 16;

/// The shares of a bucket in which processors were short, from 0 to 1. What cannot be measured is
/// `None`.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Pressure {
    /// Some process waited for a processor.
    pub waited: Option<f32>,
    /// The limit on processors held processes up.
    pub throttled: Option<f32>,
}

/// Keeps what was measured.
pub struct PressureLog {
    file: File,
}

impl PressureLog {
    /// Opens the file, or makes it.
    pub fn open(path: &Path) -> io::Result<PressureLog> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(PressureLog { file })
    }

    /// Keeps a bucket that began then, in milliseconds since 1970, in place of that of a day before.
    pub fn put(&self, at_ms: u64, pressure: Pressure) -> io::Result<()> {
        let bucket = at_ms / BUCKET_MS;
        let mut slot = [0; SLOT_BYTES];
        slot[..8].copy_from_slice(&bucket.to_le_bytes());
        slot[8..12].copy_from_slice(&pressure.waited.unwrap_or(f32::NAN).to_le_bytes());
        slot[12..].copy_from_slice(&pressure.throttled.unwrap_or(f32::NAN).to_le_bytes());
        self.file.write_all_at(&slot, bucket % SLOTS * SLOT_BYTES as u64)
    }
}

/// So many buckets, the first of which begins then, in milliseconds since 1970; nothing of those
/// that are not known.
pub fn read(path: &Path, start_ms: u64, buckets: usize) -> Vec<Pressure> {
    let bytes = std::fs::read(path).unwrap_or_default();
    let first = start_ms / BUCKET_MS;
    let of = |bucket: u64| {
        let at = (bucket % SLOTS) as usize * SLOT_BYTES;
        let slot: &[u8; SLOT_BYTES] = bytes.get(at..at + SLOT_BYTES)?.try_into().ok()?;
        let (number, waited, throttled) = parts(slot);
        let known = |share: f32| share.is_finite().then_some(share);
        let pressure = Pressure { waited: known(waited), throttled: known(throttled) };
        (number == bucket).then_some(pressure)
    };
    (0..buckets as u64).map(|at| of(first + at).unwrap_or_default()).collect()
}

fn parts(slot: &[u8; SLOT_BYTES]) -> (u64, f32, f32) {
    let [a, b, c, d, e, f, g, h, waited @ .., _, _, _, _] = slot;
    let [.., i, j, k, l] = slot;
    let number = u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
    (number, f32::from_le_bytes(*waited), f32::from_le_bytes([*i, *j, *k, *l]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_kept_and_no_more() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pressure");
        let start = 1_790_000_000_000 / BUCKET_MS * BUCKET_MS;
        assert_eq!(read(&path, start, 2), [Pressure::default(); 2]);
        for count in 0..SLOTS + 5 {
            let pressure = Pressure { waited: Some(count as f32), throttled: None };
            let log = PressureLog::open(&path).unwrap();
            log.put(start + count * BUCKET_MS, pressure).unwrap();
        }
        assert_eq!(std::fs::metadata(&path).unwrap().len(), SLOTS * SLOT_BYTES as u64);
        let read = read(&path, start, SLOTS as usize + 6);
        let waited: Vec<Option<f32>> = read.iter().map(|bucket| bucket.waited).collect();
        assert_eq!(waited[..6], [None, None, None, None, None, Some(5.0)]);
        assert_eq!(
            waited[SLOTS as usize..],
            [
                Some(SLOTS as f32),
                Some(SLOTS as f32 + 1.0),
                Some(SLOTS as f32 + 2.0),
                Some(SLOTS as f32 + 3.0),
                Some(SLOTS as f32 + 4.0),
                None
            ]
        );
    }
}
