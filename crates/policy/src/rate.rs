//! How fast somebody may ask, how much at the same time, and how much a day. Time is an argument:
//! nanoseconds on any clock that does not go back for the rate, milliseconds since 1970 for the
//! day.
//!
//! The rate is kept by the generic cell rate algorithm (ITU-T I.371): one number, the time at which
//! the next request would come if all came evenly. It needs no timer and no count of tokens.

#[cfg(test)]
mod tests;
mod usage;

use std::fmt;

use domain::token::Limits;

pub use usage::{Permit, Usage};

/// The longest wait that is asked of a caller, in seconds: a day.
pub const RETRY_AFTER_S_MAX: u64 = 86_400;

/// How fast requests may come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gcra {
    interval_ns: u64,
    burst_ns: u64,
}

/// It came too early.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooEarly {
    /// How long until it would not, in nanoseconds, if nothing else comes.
    pub wait_ns: u64,
}

impl Gcra {
    /// One request each `interval_ns` nanoseconds in the long run, and after a pause so many at
    /// once as `burst` says; both are at least 1.
    pub fn new(interval_ns: u64, burst: u32) -> Gcra {
        let interval_ns = interval_ns.max(1);
        Gcra { interval_ns, burst_ns: interval_ns.saturating_mul(u64::from(burst.max(1))) }
    }

    /// Of these limits; none if they have no rate.
    pub fn of(limits: &Limits) -> Option<Gcra> {
        Some(Gcra::new(limits.rate?.interval_ns(), limits.burst()?))
    }

    /// Whether a request may come now. `next_ns` is what the last request that came has left, 0 if
    /// there was none; what is given back takes its place. In any time of length t that begins
    /// anywhere, at most `burst + t / interval` requests come.
    pub fn take(&self, next_ns: u64, now_ns: u64) -> Result<u64, TooEarly> {
        let next_ns = next_ns.max(now_ns).saturating_add(self.interval_ns);
        let latest_ns = now_ns.saturating_add(self.burst_ns);
        match next_ns <= latest_ns {
            true => Ok(next_ns),
            false => Err(TooEarly { wait_ns: next_ns - latest_ns }),
        }
    }
}

/// Which limit a request is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limited {
    /// The rate.
    Rate {
        /// Until it would be within it, in nanoseconds.
        wait_ns: u64,
    },
    /// The number of requests at the same time.
    Concurrent {
        /// As many as there may be.
        requests_max: u32,
    },
    /// The rows of this day.
    Rows {
        /// As many as there may be.
        rows_day_max: u64,
        /// Until the next day by UTC, in milliseconds.
        wait_ms: u64,
    },
}

impl fmt::Display for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limited::Rate { .. } => f.write_str("the token is used faster than its rate allows"),
            Limited::Concurrent { requests_max } => {
                write!(f, "the token has {requests_max} requests on their way, its limit")
            }
            Limited::Rows { rows_day_max, .. } => {
                write!(f, "the token may ask {rows_day_max} rows a day, and these would be more")
            }
        }
    }
}

impl Limited {
    /// After how many seconds to ask again, for `Retry-After`: from 1, rounded up.
    pub fn retry_after_s(&self) -> u64 {
        let seconds = match self {
            Limited::Rate { wait_ns } => wait_ns.div_ceil(1_000_000_000),
            // Nobody knows when one of the others ends.
            Limited::Concurrent { .. } => 1,
            Limited::Rows { wait_ms, .. } => wait_ms.div_ceil(1_000),
        };
        seconds.clamp(1, RETRY_AFTER_S_MAX)
    }
}

const DAY_MS: u64 = 86_400_000;

/// The rows that were asked on one day, by UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rows {
    /// Which day, in days since 1970.
    pub day: u64,
    /// How many so far.
    pub rows: u64,
}

impl Rows {
    /// With so many more at this time, in milliseconds since 1970. A request is not cut in two: if
    /// all of its rows do not fit in the day, none is counted. A clock that goes back by a day does
    /// not give the day again.
    pub fn take(self, rows: u64, rows_day_max: u64, now_ms: u64) -> Result<Rows, Limited> {
        let today = match now_ms / DAY_MS {
            day if day > self.day => Rows { day, rows: 0 },
            _ => self,
        };
        match today.rows.checked_add(rows).filter(|rows| *rows <= rows_day_max) {
            Some(rows) => Ok(Rows { rows, ..today }),
            None => {
                let tomorrow_ms = (today.day + 1).saturating_mul(DAY_MS);
                Err(Limited::Rows { rows_day_max, wait_ms: tomorrow_ms.saturating_sub(now_ms) })
            }
        }
    }
}
