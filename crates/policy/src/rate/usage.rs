//! What a token has been used for so far, shared by all threads that serve requests. Nobody waits
//! for anybody: each limit is one atomic number, changed by compare-and-swap.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use domain::token::Limits;

use crate::rate::{DAY_MS, Gcra, Limited, Rows};

/// The bits of a number of rows; the day of them lies above.
const ROWS_BITS: u32 = 44;
const ROWS_MASK: u64 = (1 << ROWS_BITS) - 1;

/// What a token has been used for so far. It outlives a change of the limits and a rotation of the
/// token, and begins anew with the process; rows a day go by leases, which outlive it.
#[derive(Debug, Default)]
pub struct Usage {
    /// As [`Gcra::take`] leaves it.
    next_ns: AtomicU64,
    /// Requests on their way.
    in_flight: AtomicU32,
    /// [`Rows`] in one number.
    rows: AtomicU64,
    /// How many of them this process may let through, of those that all may: in the same form.
    leased: AtomicU64,
}

/// The right to be on the way, given back when it is dropped.
#[derive(Debug)]
pub struct Permit(Arc<Usage>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Release);
    }
}

impl Usage {
    /// Takes in a request, or says what it is over: first how many are on their way, so that one
    /// that is refused for that costs nothing of the rate. `now_ns` is monotonic.
    pub fn admit(self: &Arc<Self>, limits: &Limits, now_ns: u64) -> Result<Permit, Limited> {
        let permit = self.enter(limits.concurrent_requests_max)?;
        if let Some(rate) = Gcra::of(limits) {
            self.take(rate, now_ns)?;
        }
        Ok(permit)
    }

    /// Counts one more on its way, if there may be.
    fn enter(self: &Arc<Self>, requests_max: Option<u32>) -> Result<Permit, Limited> {
        let requests_max = requests_max.unwrap_or(u32::MAX);
        let one_more = |now| (now < requests_max).then(|| now + 1);
        match self.in_flight.fetch_update(Ordering::Acquire, Ordering::Relaxed, one_more) {
            Ok(_) => Ok(Permit(self.clone())),
            Err(_) => Err(Limited::Concurrent { requests_max }),
        }
    }

    /// Takes one request from a rate.
    pub fn take(&self, rate: Gcra, now_ns: u64) -> Result<(), Limited> {
        let mut refused = 0;
        let next = |next_ns| match rate.take(next_ns, now_ns) {
            Ok(next_ns) => Some(next_ns),
            Err(early) => {
                refused = early.wait_ns;
                None
            }
        };
        // The number stands for itself: nothing else is read by it.
        let taken = self.next_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        taken.map(drop).map_err(|_| Limited::Rate { wait_ns: refused })
    }

    /// Takes rows from those of the day, in milliseconds since 1970, if there is such a limit.
    pub fn take_rows(&self, limits: &Limits, rows: u64, now_ms: u64) -> Result<(), Limited> {
        let Some(rows_day_max) = limits.rows_day_max else { return Ok(()) };
        self.take_rows_of(rows_day_max.min(ROWS_MASK), rows, now_ms)
    }

    /// The same, from those that were leased; over these is what needs another lease.
    pub fn take_leased(&self, limits: &Limits, rows: u64, now_ms: u64) -> Result<(), Limited> {
        let Some(rows_day_max) = limits.rows_day_max else { return Ok(()) };
        self.take_rows_of(self.leased(now_ms), rows, now_ms).map_err(|limited| match limited {
            Limited::Rows { wait_ms, .. } => Limited::Rows { rows_day_max, wait_ms },
            other => other,
        })
    }

    fn leased(&self, now_ms: u64) -> u64 {
        let leased = unpack(self.leased.load(Ordering::Acquire));
        if leased.day == self.day(now_ms) { leased.rows } else { 0 }
    }

    /// How many rows of the day another lease must have at least, so that so many can be taken.
    pub fn rows_short(&self, rows: u64, now_ms: u64) -> u64 {
        let used = self.rows();
        let used = if used.day == self.day(now_ms) { used.rows } else { 0 };
        rows.saturating_sub(self.leased(now_ms).saturating_sub(used))
    }

    /// The day that rows are counted for now, in days since 1970.
    pub fn day(&self, now_ms: u64) -> u64 {
        self.rows().day.max(now_ms / DAY_MS)
    }

    /// Rows of a day that may be let through here as well.
    pub fn add_lease(&self, day: u64, rows: u64) {
        let more = |packed| match unpack(packed) {
            leased if leased.day > day => None,
            leased if leased.day == day => Some(pack(Rows { rows: leased.rows + rows, day })),
            _ => Some(pack(Rows { rows, day })),
        };
        // Those of a day that is over are of no use any more.
        let _ = self.leased.fetch_update(Ordering::Release, Ordering::Relaxed, more);
    }

    fn take_rows_of(&self, rows_day_max: u64, rows: u64, now_ms: u64) -> Result<(), Limited> {
        let mut refused = None;
        let next = |packed| match unpack(packed).take(rows, rows_day_max, now_ms) {
            Ok(rows) => Some(pack(rows)),
            Err(limited) => {
                refused = Some(limited);
                None
            }
        };
        let taken = self.rows.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        match (taken, refused) {
            (Err(_), Some(limited)) => Err(limited),
            _ => Ok(()),
        }
    }

    /// How many requests are on their way.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// The rows of the last day on which any were asked.
    pub fn rows(&self) -> Rows {
        unpack(self.rows.load(Ordering::Relaxed))
    }
}

fn pack(rows: Rows) -> u64 {
    rows.day << ROWS_BITS | rows.rows & ROWS_MASK
}

fn unpack(packed: u64) -> Rows {
    Rows { day: packed >> ROWS_BITS, rows: packed & ROWS_MASK }
}
