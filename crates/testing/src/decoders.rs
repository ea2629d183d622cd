//! Inputs of a decoder, as they are and spoilt in many ways by seed, each within limits of time and
//! memory. `DECODERS_SECONDS=60` goes on for so long with each decoder; an input that was found to
//! trip one over belongs into its corpus.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::measured;

/// Spoilt inputs of each decoder in a short run.
const INPUTS: u64 = 4_000;
/// The longest that a short run of one decoder takes.
const SECONDS: u64 = 3;
/// The longest that one input may take: a thousand times what it takes, as the machine may be busy.
const INPUT_SECONDS_MAX: u64 = 5;
/// The longest input that is made out of short ones, in bytes.
const BYTES_MAX: usize = 64 * 1024;
/// Memory that one input may take beside four times its length, in bytes.
const MEMORY_BYTES: usize = 4 << 20;

/// Pieces that decoders are sensitive to.
const PIECES: &[&str] = &[
    "0",
    "-1",
    "18446744073709551615",
    "9223372036854775808",
    "1e999",
    "null",
    "[]",
    "{}",
    "[[",
    "]]",
    "\"",
    "\\u0000",
    "\\ud83d",
    ",",
    ":",
    "{\"rows\":",
    "\n",
    "\r\n",
    "\r\n\r\n",
    "0\r\n",
    "ffffffffffffffff",
    "777777777777",
    "Content-Length: 9\r\n",
    "Transfer-Encoding: chunked\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "\u{0}",
    "é",
    "\"shape\":[4611686018427387904,0]",
    "\"parameters\":{\"binary_data_size\":4}",
    "@v1",
    "%2F",
    "%",
    "../",
    "/",
];

/// Inputs of one decoder.
pub struct Corpus {
    name: String,
    inputs: Vec<Vec<u8>>,
    memory_bytes: usize,
}

impl Corpus {
    /// The files of a directory.
    pub fn read(directory: impl AsRef<Path>) -> Corpus {
        let directory = directory.as_ref();
        let read = || {
            let mut paths = std::fs::read_dir(directory)?
                .map(|entry| Ok(entry?.path()))
                .collect::<std::io::Result<Vec<_>>>()?;
            paths.sort();
            paths.iter().map(std::fs::read).collect::<std::io::Result<Vec<_>>>()
        };
        let inputs = read().unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        Corpus::of(&directory.display().to_string(), inputs)
    }

    /// Inputs that a test makes.
    pub fn of(name: &str, inputs: Vec<Vec<u8>>) -> Corpus {
        assert!(!inputs.is_empty(), "{name} has no corpus");
        Corpus { name: name.into(), inputs, memory_bytes: MEMORY_BYTES }
    }

    /// What one input may take for other reasons than its length, in bytes.
    pub fn allowing(mut self, bytes: usize) -> Corpus {
        self.memory_bytes += bytes;
        self
    }

    /// Runs a decoder over all inputs, as they are and spoilt.
    pub fn check(&self, mut decode: impl FnMut(&[u8])) {
        for input in &self.inputs {
            within_limits(&self.name, input, self.memory_bytes, &mut decode);
        }
        let long = std::env::var("DECODERS_SECONDS").ok().and_then(|text| text.parse::<u64>().ok());
        let (begin, seconds) = (Instant::now(), long.unwrap_or(SECONDS));
        for seed in 0.. {
            if begin.elapsed() > Duration::from_secs(seconds) || (long.is_none() && seed >= INPUTS)
            {
                break;
            }
            let mut random = fastrand::Rng::with_seed(seed);
            let mut input = self.inputs[random.usize(..self.inputs.len())].clone();
            let longest = BYTES_MAX.max(input.len());
            spoil(&mut random, &mut input, &self.inputs, longest);
            within_limits(&self.name, &input, self.memory_bytes, &mut decode);
        }
    }
}

/// Fails, and shows the input, if a decoder panics, takes long, or takes more than this beside four
/// times the input's length.
pub fn within_limits(
    decoder: &str,
    input: &[u8],
    memory_bytes: usize,
    decode: &mut impl FnMut(&[u8]),
) {
    let begin = Instant::now();
    let (ended, bytes) = measured(|| catch_unwind(AssertUnwindSafe(|| decode(input))));
    let seconds = begin.elapsed().as_secs();
    let is_ok =
        ended.is_ok() && seconds <= INPUT_SECONDS_MAX && bytes <= 4 * input.len() + memory_bytes;
    assert!(
        is_ok,
        "{decoder} took {seconds} s and {bytes} bytes, panicked: {}, at {}",
        ended.is_err(),
        input.escape_ascii()
    );
}

/// Spoils an input in one to eight places.
fn spoil(random: &mut fastrand::Rng, input: &mut Vec<u8>, others: &[Vec<u8>], bytes_max: usize) {
    for _ in 0..random.usize(1..=8) {
        let at = random.usize(0..=input.len());
        let end = (at + random.usize(0..16)).min(input.len());
        match random.u8(0..8) {
            0 if !input.is_empty() => {
                let at = at.min(input.len() - 1);
                input[at] = random.u8(..);
            }
            1 => drop(input.drain(at..end)),
            2 => drop(input.splice(at..end, PIECES[random.usize(..PIECES.len())].bytes())),
            3 => drop(input.splice(at..at, PIECES[random.usize(..PIECES.len())].bytes())),
            4 => {
                let part = input[at..end].repeat(random.usize(1..200));
                drop(input.splice(at..at, part));
            }
            5 => {
                let other = &others[random.usize(..others.len())];
                let from = random.usize(0..=other.len());
                let part = other[from..(from + 64).min(other.len())].to_vec();
                drop(input.splice(at..end, part));
            }
            6 => input.truncate(at),
            _ => input.extend_from_slice(PIECES[random.usize(..PIECES.len())].as_bytes()),
        }
        input.truncate(bytes_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_panics_or_takes_too_much_is_shown() {
        let fails = |decode: fn(&[u8])| {
            let corpus = Corpus::of("the test", vec![b"abc".to_vec()]);
            let error = catch_unwind(AssertUnwindSafe(|| corpus.check(decode)))
                .expect_err("it goes beyond a limit");
            error.downcast_ref::<String>().cloned().unwrap_or_default()
        };
        assert!(fails(|input| assert_eq!(input, b"abc")).contains("panicked: true"));
        assert!(fails(|_| drop(vec![0u8; MEMORY_BYTES + 100])).contains("panicked: false, at abc"));
        Corpus::of("the test", vec![vec![]]).check(|_| ());
    }
}
