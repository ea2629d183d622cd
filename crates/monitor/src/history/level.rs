//! The lengths of time of which a history knows something.

use crate::columns::MINUTE_MS;

/// What one row of a history is of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day of UTC.
    Day,
}

impl Level {
    /// All of them, the shortest first.
    pub const ALL: [Level; 3] = [Level::Minute, Level::Hour, Level::Day];

    /// How long it is, in milliseconds.
    pub fn length_ms(self) -> u64 {
        match self {
            Level::Minute => MINUTE_MS,
            Level::Hour => 60 * MINUTE_MS,
            Level::Day => 24 * 60 * MINUTE_MS,
        }
    }

    /// `minute`, `hour` or `day`.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Minute => "minute",
            Level::Hour => "hour",
            Level::Day => "day",
        }
    }

    pub(super) fn number(self) -> i64 {
        self as i64
    }

    pub(super) fn below(self) -> Option<Level> {
        match self {
            Level::Minute => None,
            Level::Hour => Some(Level::Minute),
            Level::Day => Some(Level::Hour),
        }
    }

    pub(super) fn above(self) -> Option<Level> {
        match self {
            Level::Minute => Some(Level::Hour),
            Level::Hour => Some(Level::Day),
            Level::Day => None,
        }
    }

    /// The beginning of the one that a time is in.
    pub(super) fn start_of(self, at_ms: i64) -> i64 {
        at_ms - at_ms.rem_euclid(self.length_ms() as i64)
    }

    /// The end of the one that a time is in.
    pub(super) fn end_of(self, at_ms: i64) -> i64 {
        self.start_of(at_ms) + self.length_ms() as i64
    }
}
