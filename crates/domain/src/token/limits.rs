//! How much a token may be used. A limit that is absent is none.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::problem::excerpt;

/// The most requests that a rate can name for one second, minute, hour or day.
pub const RATE_REQUESTS_MAX: u32 = 1_000_000;
/// The longest that a burst may stand for, in seconds of its rate: a day.
pub const BURST_S_MAX: u64 = 86_400;
/// The most concurrent requests that a limit can name.
pub const CONCURRENT_REQUESTS_MAX: u32 = 1_000_000;
/// The most rows a day that a limit can name.
pub const ROWS_DAY_MAX: u64 = 1_000_000_000_000;

/// The time that a rate counts in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Per {
    /// `s`
    Second,
    /// `min`
    Minute,
    /// `h`
    Hour,
    /// `d`
    Day,
}

impl Per {
    const ALL: [Per; 4] = [Per::Second, Per::Minute, Per::Hour, Per::Day];

    /// How long it is, in seconds.
    pub fn seconds(self) -> u64 {
        match self {
            Per::Second => 1,
            Per::Minute => 60,
            Per::Hour => 3_600,
            Per::Day => 86_400,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Per::Second => "s",
            Per::Minute => "min",
            Per::Hour => "h",
            Per::Day => "d",
        }
    }
}

/// So many requests in a time, as `100/s`. In JSON it is that text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[0-9]+/(s|min|h|d)$", "examples" = ["100/s", "5000/d"]))]
pub struct Rate {
    requests: u32,
    per: Per,
}

/// A limit that makes no sense.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LimitsError {
    /// Not a number of requests in a time.
    #[error(
        "`{0}` is not a rate: write REQUESTS/s, /min, /h or /d, from 1 to {RATE_REQUESTS_MAX}, as \
         in 100/s"
    )]
    Rate(String),
    /// None, or too many.
    #[error(
        "a burst is from 1 request to those of a day at its rate, here {most}, and not {burst}"
    )]
    Burst {
        /// As asked for.
        burst: u32,
        /// The most that there could be.
        most: u64,
    },
    /// Nothing to be faster than.
    #[error("a burst needs a rate, as in --rate 100/s --burst 200")]
    BurstAlone,
    /// None, or too many.
    #[error("{name} is from 1 to {most}, and not {found}; leave it out for no limit")]
    Count {
        /// As in JSON.
        name: &'static str,
        /// As asked for.
        found: u64,
        /// The most.
        most: u64,
    },
}

impl Rate {
    /// So many requests in a time.
    pub fn new(requests: u32, per: Per) -> Result<Rate, LimitsError> {
        match (1..=RATE_REQUESTS_MAX).contains(&requests) {
            true => Ok(Rate { requests, per }),
            false => Err(LimitsError::Rate(format!("{requests}/{}", per.as_str()))),
        }
    }

    /// From one request to the next, in nanoseconds: rounded up, so that no more requests pass than
    /// the rate says.
    pub fn interval_ns(&self) -> u64 {
        (self.per.seconds() * 1_000_000_000).div_ceil(u64::from(self.requests))
    }

    /// Those of a second, rounded up: what may come at once if nobody says otherwise.
    pub fn requests_in_a_second(&self) -> u32 {
        u64::from(self.requests).div_ceil(self.per.seconds()) as u32
    }

    /// Those of a day.
    fn requests_in_a_day(&self) -> u64 {
        u64::from(self.requests) * BURST_S_MAX / self.per.seconds()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.requests, self.per.as_str())
    }
}

impl FromStr for Rate {
    type Err = LimitsError;

    fn from_str(text: &str) -> Result<Rate, LimitsError> {
        let wrong = || LimitsError::Rate(excerpt(text).into_owned());
        let (requests, per) = text.split_once('/').ok_or_else(wrong)?;
        let is_plain = !requests.is_empty() && requests.bytes().all(|c| c.is_ascii_digit());
        let requests = requests.parse().ok().filter(|_| is_plain).ok_or_else(wrong)?;
        let per = Per::ALL.into_iter().find(|known| known.as_str() == per).ok_or_else(wrong)?;
        Rate::new(requests, per).map_err(|_| wrong())
    }
}

impl TryFrom<String> for Rate {
    type Error = LimitsError;

    fn try_from(text: String) -> Result<Rate, LimitsError> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> String {
        rate.to_string()
    }
}

/// How much a token may be used.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Limits {
    /// How many requests in the long run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// How many requests may come at once after a pause; those of a second if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// How many requests may be on their way at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_requests_max: Option<u32>,
    /// How many rows may be asked on a day, by UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_day_max: Option<u64>,
}

impl Limits {
    /// Whether there is no limit at all.
    pub fn is_none(&self) -> bool {
        *self == Limits::default()
    }

    /// How many requests may come at once after a pause, with a rate.
    pub fn burst(&self) -> Option<u32> {
        let rate = self.rate?;
        Some(self.burst.unwrap_or_else(|| rate.requests_in_a_second()))
    }

    /// The lower ones of these limits and of others.
    pub fn within(&self, others: &Limits) -> Limits {
        let slower = match (self.rate, others.rate) {
            (Some(own), Some(other)) if own.interval_ns() < other.interval_ns() => Some(other),
            (own, other) => own.or(other),
        };
        let bursts = self.burst().into_iter().chain(others.burst());
        let requests = |limits: &Limits| limits.concurrent_requests_max;
        let concurrent = requests(self).into_iter().chain(requests(others));
        Limits {
            rate: slower,
            burst: bursts
                .min()
                .filter(|burst| slower.is_some_and(|rate| rate.requests_in_a_second() != *burst)),
            concurrent_requests_max: concurrent.min(),
            rows_day_max: self.rows_day_max.into_iter().chain(others.rows_day_max).min(),
        }
    }

    /// Checks what the types cannot.
    pub fn validate(&self) -> Result<(), LimitsError> {
        match (self.rate, self.burst) {
            (None, Some(_)) => return Err(LimitsError::BurstAlone),
            (Some(rate), Some(burst)) => {
                let most = rate.requests_in_a_day();
                if burst == 0 || u64::from(burst) > most {
                    return Err(LimitsError::Burst { burst, most });
                }
            }
            _ => {}
        }
        let concurrent = self.concurrent_requests_max.map(u64::from);
        for (name, found, most) in [
            ("concurrent_requests_max", concurrent, u64::from(CONCURRENT_REQUESTS_MAX)),
            ("rows_day_max", self.rows_day_max, ROWS_DAY_MAX),
        ] {
            if let Some(found) = found.filter(|found| !(1..=most).contains(found)) {
                return Err(LimitsError::Count { name, found, most });
            }
        }
        Ok(())
    }
}
