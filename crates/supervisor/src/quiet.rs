//! A process that prints what nobody is to read: while it is asked for what no caller asked.

use std::collections::VecDeque;

use tokio::time::Instant;

/// Kept of what is left out, in bytes, for a process that ends meanwhile.
const WORDS_BYTES_MAX: usize = 4 * 1024;

/// A stretch of a process's output that is left out of its log.
pub struct Quiet {
    /// When it is over at the latest: whoever asked for it may be gone by then.
    pub until: Instant,
    lines: u64,
    /// Whether the last line has not come to its end.
    is_open: bool,
    words: VecDeque<u8>,
}

impl Quiet {
    /// One that begins now.
    pub fn new(until: Instant) -> Quiet {
        Quiet { until, lines: 0, is_open: false, words: VecDeque::new() }
    }

    /// Leaves out.
    pub fn take(&mut self, bytes: &[u8]) {
        self.lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.is_open = bytes.last().map_or(self.is_open, |byte| *byte != b'\n');
        self.words.extend(&bytes[bytes.len().saturating_sub(WORDS_BYTES_MAX)..]);
        self.words.drain(..self.words.len().saturating_sub(WORDS_BYTES_MAX));
    }

    /// What the log says in place of what was left out, if there was something.
    pub fn note(&self) -> String {
        match self.lines + u64::from(self.is_open) {
            0 => String::new(),
            1 => "[decalog: left out 1 line printed during the probe]\n".into(),
            lines => format!("[decalog: left out {lines} lines printed during the probe]\n"),
        }
    }

    /// The last of what was left out: whole lines, or all of it.
    pub fn words(mut self) -> Vec<u8> {
        let is_whole = self.words.len() < WORDS_BYTES_MAX;
        let line = self.words.iter().position(|byte| *byte == b'\n');
        if let Some(end) = line.filter(|_| !is_whole) {
            self.words.drain(..=end);
        }
        self.words.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet(pieces: &[&str]) -> Quiet {
        let mut quiet = Quiet::new(Instant::now());
        pieces.iter().for_each(|piece| quiet.take(piece.as_bytes()));
        quiet
    }

    #[test]
    fn what_is_left_out_is_counted_by_lines() {
        for (pieces, expected) in [
            (&[][..], ""),
            (&["a"], "left out 1 line "),
            (&["a\nb", "c\n"], "left out 2 lines "),
            (&["a\n", "b"], "left out 2 lines "),
        ] {
            let note = quiet(pieces).note();
            assert!(note.contains(expected) && note.is_empty() == expected.is_empty(), "{note}");
        }
    }

    #[test]
    fn the_last_words_are_whole_lines() {
        assert_eq!(quiet(&["a\n", "b"]).words(), b"a\nb");
        let long: String = (0..2_000).map(|number| format!("{number:04}\n")).collect();
        let words = String::from_utf8(quiet(&[&long, "end"]).words()).unwrap();
        assert!(words.len() > 4_000 && words.len() <= WORDS_BYTES_MAX, "{}", words.len());
        assert!(words.ends_with("1999\nend") && words.find('\n') == Some(4), "{words}");
    }
}
