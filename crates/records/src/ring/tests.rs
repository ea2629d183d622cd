//! Frames go in and come out, also when memory is short, a writer dies or many write at once.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::*;

fn file(capacity: u64) -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(Ring::file_bytes(capacity)).unwrap();
    file
}

fn put(ring: &Ring, bytes: &[u8]) -> bool {
    ring.put(bytes.len(), false, &mut |out| out.copy_from_slice(bytes))
}

fn all(ring: &Ring, recovering: bool) -> Vec<Vec<u8>> {
    let mut frames = vec![];
    let end = ring.read(ring.tail(), recovering, |_, frame| {
        frames.push(frame.to_vec());
        true
    });
    ring.release(end);
    frames
}

#[test]
fn frames_of_all_lengths_come_out_as_they_went_in() {
    let file = file(64 << 10);
    let ring = Ring::open(&file).unwrap();
    for round in 0..3_000usize {
        let frames: Vec<Vec<u8>> =
            (0..round % 7).map(|n| vec![n as u8 + 1; (round * 31 + n * 97) % 1_500]).collect();
        frames.iter().for_each(|frame| assert!(put(&ring, frame)));
        assert_eq!(all(&ring, false), frames, "round {round}");
    }
    assert_eq!(ring.dropped(), Dropped::default());
}

#[test]
fn what_finds_no_room_is_counted_and_values_go_first() {
    let file = file(64 << 10);
    let ring = Ring::open(&file).unwrap();
    let mut write = |out: &mut [u8]| out.fill(1);
    let mut whole = 0;
    while ring.put(1_000, true, &mut write) {
        whole += 1;
    }
    let mut bare = 0;
    while ring.put(100, false, &mut write) {
        bare += 1;
    }
    assert!(whole > 40 && bare > 100, "{whole} {bare}");
    assert_eq!(ring.unreported(), Dropped { records: 1, values: 1 });
    ring.reported(ring.unreported());
    assert_eq!(ring.unreported(), Dropped::default());
    assert_eq!(all(&ring, false).len(), whole + bare);
    assert!(!ring.put(60_000, false, &mut write), "a frame larger than a part of the ring");
}

#[test]
fn a_ring_is_found_again_with_what_was_written() {
    let file = file(64 << 10);
    {
        let ring = Ring::open(&file).unwrap();
        (0..50u8).for_each(|n| assert!(put(&ring, &[n; 40])));
        // Somebody was killed while writing.
        let begin = ring.reserve(whole_bytes(500), false).unwrap();
        assert!(begin > 0);
        (50..60u8).for_each(|n| assert!(put(&ring, &[n; 40])));
        assert_eq!(all(&ring, false).len(), 50, "who lives is waited for");
    }
    let ring = Ring::open(&file).unwrap();
    let rest = all(&ring, true);
    assert_eq!(rest, (50..60u8).map(|n| vec![n; 40]).collect::<Vec<_>>());
    assert_eq!(ring.used(), 0);
    assert!(put(&ring, b"new") && all(&ring, false) == [b"new"]);
}

#[test]
fn a_writer_that_panics_stops_nobody() {
    let file = file(64 << 10);
    let ring = Ring::open(&file).unwrap();
    let panics = std::panic::AssertUnwindSafe(|| ring.put(10, false, &mut |_| panic!("no")));
    assert!(std::panic::catch_unwind(panics).is_err());
    assert!(put(&ring, b"after"));
    assert_eq!(all(&ring, false), [b"after"]);
}

#[test]
fn many_write_and_one_reads() {
    const EACH: u64 = 30_000;
    let file = file(256 << 10);
    let ring = Arc::new(Ring::open(&file).unwrap());
    let done = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4u64)
        .map(|writer| {
            let ring = ring.clone();
            std::thread::spawn(move || {
                for n in 0..EACH {
                    let length = 16 + (n % 300) as usize;
                    ring.put(length, false, &mut |out| {
                        out.fill(writer as u8);
                        out[..8].copy_from_slice(&n.to_le_bytes());
                    });
                }
            })
        })
        .collect();
    let (reader, stop) = (ring.clone(), done.clone());
    let reading = std::thread::spawn(move || {
        let (mut next, mut count) = ([0u64; 4], 0u64);
        loop {
            let last = stop.load(Ordering::Acquire);
            let end = reader.read(reader.tail(), false, |_, frame| {
                let n = u64::from_le_bytes(frame[..8].try_into().unwrap());
                let writer = frame[8] as usize;
                assert!(frame[8..].iter().all(|byte| *byte == frame[8]), "a torn frame");
                assert!(n >= next[writer], "out of order");
                next[writer] = n + 1;
                count += 1;
                true
            });
            reader.release(end);
            if last {
                return count;
            }
        }
    });
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    done.store(true, Ordering::Release);
    let read = reading.join().unwrap();
    assert_eq!(read + ring.dropped().records, 4 * EACH, "each is read or counted");
}
