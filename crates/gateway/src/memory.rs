//! A budget of bytes for the requests in flight, of all models and of each: taken before a body is
//! read, given back when its rows have been answered. What does not fit is refused at once, with a
//! time to try again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use domain::{Code, Problem};

use crate::admit::too_large;

/// The part of all memory that the requests of one placement may take, in percent.
const LANE_PERCENT_MAX: usize = 50;
/// Bodies up to this size count for all models together only.
pub const SMALL_BYTES: usize = 64 * 1024;

/// A number of bytes of which parts are taken.
pub struct Budget {
    used: AtomicUsize,
    max: usize,
}

impl Budget {
    /// All free.
    pub fn new(max: usize) -> Arc<Budget> {
        Arc::new(Budget { used: AtomicUsize::new(0), max })
    }

    /// That of one placement, out of this one.
    pub fn of_lane(&self) -> Arc<Budget> {
        Budget::new(self.lane_max())
    }

    /// The most bytes that one placement may take.
    pub fn lane_max(&self) -> usize {
        (self.max / 100).saturating_mul(LANE_PERCENT_MAX)
    }

    /// Bytes that are taken.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// What is larger than all of it still gets in alone.
    fn try_take(&self, bytes: usize) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = before == 0 || before.saturating_add(bytes) <= self.max;
        if !fits {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }
}

/// A part of a budget, until it is dropped.
pub struct Hold {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Hold {
    /// Takes bytes that are there already, and cannot be refused.
    pub fn anyway(budget: &Arc<Budget>, bytes: usize) -> Hold {
        budget.used.fetch_add(bytes, Ordering::Relaxed);
        Hold { budget: budget.clone(), bytes }
    }

    fn try_grow(&mut self, bytes: usize) -> bool {
        let fits = self.budget.try_take(bytes);
        self.bytes += if fits { bytes } else { 0 };
        fits
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What one request takes.
pub struct Memory {
    process: Hold,
    lane: Option<Hold>,
}

impl Memory {
    /// Nothing yet.
    pub fn new(process: &Arc<Budget>, lane: Option<&Arc<Budget>>) -> Memory {
        Memory { process: Hold::anyway(process, 0), lane: lane.map(|lane| Hold::anyway(lane, 0)) }
    }

    /// Takes what is there already.
    pub fn anyway(process: &Arc<Budget>, bytes: usize) -> Memory {
        Memory { process: Hold::anyway(process, bytes), lane: None }
    }

    /// Takes as many more bytes.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        if self.process.bytes.saturating_add(bytes) > self.process.budget.max {
            return Err(too_large(self.process.budget.max));
        }
        let refused = |code: Code, whose: &str, budget: &Budget| {
            let text = format!(
                "requests {whose} in flight have {} bytes; at most {} may",
                budget.used(),
                budget.max
            );
            Err(Problem::new(code, text)
                .help("try again in a moment, or send fewer rows in one request"))
        };
        if let Some(lane) = &mut self.lane
            && !lane.try_grow(bytes)
        {
            return refused(Code::QueueFull, "of this model", &lane.budget);
        }
        if !self.process.try_grow(bytes) {
            return refused(Code::ServerBusy, "of all models", &self.process.budget);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_until_others_have_gone() {
        let process = Budget::new(1_000);
        let (left, right) = (process.of_lane(), process.of_lane());
        let take = |lane: &Arc<Budget>, bytes| {
            let mut memory = Memory::new(&process, Some(lane));
            memory.grow(bytes).map(|()| memory).map_err(|problem| problem.code)
        };
        let first = take(&left, 400).ok().unwrap();
        assert_eq!(take(&left, 200).err(), Some(Code::QueueFull), "half is for others");
        let second = take(&right, 500).ok().unwrap();
        assert_eq!(take(&process.of_lane(), 200).err(), Some(Code::ServerBusy));
        assert_eq!(take(&left, 1_001).err(), Some(Code::BodyTooLarge));
        drop(first);
        let mut third = take(&left, 400).ok().unwrap();
        assert_eq!(
            third.grow(200).unwrap_err().code,
            Code::QueueFull,
            "a body that grows is refused on its way"
        );
        drop((second, third));
        assert_eq!((process.used(), left.used(), right.used()), (0, 0, 0));
        assert!(take(&left, 900).is_ok(), "alone it may have more than its part");
        let answer = Hold::anyway(&process, 5_000);
        assert!(take(&left, 1).is_err());
        drop(answer);
        assert_eq!(process.used(), 0);
    }
}
