//! Which version was the first bad one, in as few tries as can be. The ends are known: the first
//! version is good, the last one is bad. A try halves the versions that are not decided yet; what
//! cannot be tried is passed over, and costs one.
//!
//! With `u` versions between the ends that may be tried, of which `s` turn out not to be, it takes
//! at most `ceil(log2(u + 1)) + s` tries, the two ends apart.

#[cfg(test)]
mod tests;
mod verdict;

pub use verdict::{Side, ends, side};

/// What is known of a version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mark {
    /// Nothing yet.
    Untried,
    /// It is as the good end.
    Good,
    /// It is as the bad end.
    Bad,
    /// It cannot be tried, or it is as near to one end as to the other.
    Skipped,
}

/// Where the fault came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// With this version.
    First(usize),
    /// With one from the first to the second: all but the last of them were passed over.
    Between(usize, usize),
}

/// A search on its way. Versions are named by their place, from 0 for the good end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bisect {
    marks: Vec<Mark>,
    tries: usize,
}

impl Bisect {
    /// Of so many versions, at least 2.
    pub fn new(count: usize) -> Bisect {
        let mut marks = vec![Mark::Untried; count.max(2)];
        marks[0] = Mark::Good;
        let last = marks.len() - 1;
        marks[last] = Mark::Bad;
        Bisect { marks, tries: 0 }
    }

    /// A version is passed over from the beginning: it was removed. That is no try.
    pub fn leave_out(&mut self, place: usize) {
        if self.marks.get(place) == Some(&Mark::Untried) {
            self.marks[place] = Mark::Skipped;
        }
    }

    /// What came of a try.
    pub fn tell(&mut self, place: usize, mark: Mark) {
        if let Some(known) = self.marks.get_mut(place) {
            *known = mark;
            self.tries += 1;
        }
    }

    /// How many tries there were, the ends apart.
    pub fn tries(&self) -> usize {
        self.tries
    }

    /// The last version that is known to be good, and the first after it that is known to be bad.
    fn bounds(&self) -> (usize, usize) {
        // What comes after a bad one has no say: the first bad one is looked for.
        let bad = self.marks.iter().position(|mark| *mark == Mark::Bad);
        let bad = bad.unwrap_or(self.marks.len() - 1);
        let good = self.marks[..bad].iter().rposition(|mark| *mark == Mark::Good);
        (good.unwrap_or(0), bad)
    }

    fn untried(&self) -> Vec<usize> {
        let (good, bad) = self.bounds();
        (good + 1..bad).filter(|place| self.marks[*place] == Mark::Untried).collect()
    }

    /// The version to try next: the middle one of those that are left. `None` if none is.
    pub fn next(&self) -> Option<usize> {
        let untried = self.untried();
        untried.get(untried.len() / 2).copied()
    }

    /// The most tries that are still needed, if none is passed over.
    pub fn tries_left(&self) -> u32 {
        usize::BITS - self.untried().len().leading_zeros()
    }

    /// Where the fault came in, as far as it is known.
    pub fn found(&self) -> Found {
        let (good, bad) = self.bounds();
        if bad == good + 1 { Found::First(bad) } else { Found::Between(good + 1, bad) }
    }
}
