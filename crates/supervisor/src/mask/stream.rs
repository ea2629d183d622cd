//! Masks a stream as it comes. Only what may still become a secret is held back: the longest end of
//! what came that some pattern begins with. All else goes on at once.

use std::collections::VecDeque;
use std::sync::Arc;

use aho_corasick::Anchored;
use aho_corasick::automaton::{Automaton, StateID};

use super::Masks;

/// Bytes that belong to a secret, by their places in the stream.
struct Mark {
    start: u64,
    end: u64,
    owner: usize,
}

/// One stream.
pub struct Masking {
    masks: Arc<Masks>,
    state: StateID,
    /// What has come and not gone on.
    held: Vec<u8>,
    /// How much has gone on.
    gone: u64,
    /// In order and without overlaps; all of what is held.
    marks: VecDeque<Mark>,
    /// The secret whose name went last, if nothing else has gone on since.
    shown: Option<usize>,
}

impl Masking {
    /// Of a stream from which nothing has come yet.
    pub fn new(masks: Arc<Masks>) -> Masking {
        let state = masks.start;
        Masking { masks, state, held: vec![], gone: 0, marks: VecDeque::new(), shown: None }
    }

    /// What is looked for.
    pub fn masks(&self) -> &Arc<Masks> {
        &self.masks
    }

    /// Whether something is held back.
    pub fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Takes what came, and appends to `out` what can go on.
    pub fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let masks = self.masks.clone();
        let automaton = &masks.automaton;
        let mut place = self.gone + self.held.len() as u64;
        self.held.extend_from_slice(bytes);
        for byte in bytes {
            place += 1;
            self.state = automaton.next_state(Anchored::No, self.state, *byte);
            if automaton.is_special(self.state) && automaton.is_match(self.state) {
                // All that end here: the longest has the others in it.
                let ending = (0..automaton.match_len(self.state))
                    .map(|index| automaton.match_pattern(self.state, index))
                    .max_by_key(|pattern| automaton.pattern_len(*pattern));
                if let Some(pattern) = ending {
                    let start = place - automaton.pattern_len(pattern) as u64;
                    self.mark(start, place, masks.owners[pattern.as_usize()]);
                }
            }
        }
        let depth = masks.depths.get(&self.state).copied().unwrap_or(self.held.len());
        self.go_on(place - depth as u64, out);
    }

    /// Lets go of all that is held, as nothing came for a while or nothing will.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.state = self.masks.start;
        self.go_on(self.gone + self.held.len() as u64, out);
    }

    /// Marks end in the order in which they are made.
    fn mark(&mut self, start: u64, end: u64, owner: usize) {
        while self.marks.back().is_some_and(|last| last.start >= start) {
            self.marks.pop_back();
        }
        match self.marks.back_mut() {
            Some(last) if last.owner == owner && last.end >= start => last.end = end,
            Some(last) => {
                let start = start.max(last.end);
                self.marks.push_back(Mark { start, end, owner });
            }
            None => self.marks.push_back(Mark { start, end, owner }),
        }
    }

    /// Lets go of what is held before a place.
    fn go_on(&mut self, until: u64, out: &mut Vec<u8>) {
        let begin = self.gone;
        while self.gone < until {
            let next = match self.marks.front() {
                Some(mark) if mark.start <= self.gone => {
                    if self.shown != Some(mark.owner) {
                        out.extend_from_slice(&self.masks.shown[mark.owner]);
                    }
                    self.shown = Some(mark.owner);
                    let end = mark.end.min(until);
                    if mark.end <= until {
                        self.marks.pop_front();
                    }
                    end
                }
                mark => {
                    self.shown = None;
                    let end = mark.map_or(until, |mark| mark.start.min(until));
                    let place = |at: u64| (at - begin) as usize;
                    out.extend_from_slice(&self.held[place(self.gone)..place(end)]);
                    end
                }
            };
            self.gone = next;
        }
        self.held.drain(..(self.gone - begin) as usize);
    }
}
