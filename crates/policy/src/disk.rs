//! When a disk is filling up: by what is free, and by how fast that becomes less, now and before
//! that, so that one large write is no alarm and neither is what happened long ago.

use std::collections::VecDeque;

use domain::alarm::Severity;

/// So long is remembered what was free, in milliseconds.
const KEPT_MS: u64 = 6 * HOUR_MS;
const HOUR_MS: u64 = 3_600_000;
/// Nothing is said of the pace while more than this share of the disk is free.
const PACE_SHARE_MAX: f64 = 0.5;
/// Less free than this is an alert, in bytes: a release needs more.
const ALERT_BYTES: u64 = 1 << 30;
/// Less free than this is a warning, in bytes, if it is less than [`WARNING_SHARE`] too.
const WARNING_BYTES: u64 = 10 << 30;
/// The share of the disk that goes with it.
const WARNING_SHARE: f64 = 0.1;
/// What is said of the pace: how severe, if the disk is full within so long, by the last so long and
/// by the rest of so long; in milliseconds.
const PACES: [(Severity, u64, u64, u64); 2] = [
    (Severity::Alert, 2 * HOUR_MS, HOUR_MS / 6, HOUR_MS),
    (Severity::Warning, 24 * HOUR_MS, HOUR_MS, 6 * HOUR_MS),
];

/// A disk at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// In milliseconds since 1970.
    pub at_ms: u64,
    /// Bytes that the server may still write.
    pub free: u64,
    /// Bytes that there are.
    pub all: u64,
}

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Filling {
    /// How soon somebody should look.
    pub severity: Severity,
    /// Bytes that are free.
    pub free: u64,
    /// The share that is free.
    pub share: f64,
    /// At the pace of late it is full in so long, in milliseconds.
    pub full_in_ms: Option<u64>,
}

/// What is known of a disk: six hours at most, one look a minute.
#[derive(Clone, Default, Debug)]
pub struct Disk {
    looks: VecDeque<Space>,
}

impl Disk {
    /// Takes a look in, and says what is wrong by now.
    pub fn look(&mut self, now: Space) -> Option<Filling> {
        // A clock that was set back, or another disk: what was is no measure.
        if self.looks.back().is_some_and(|last| last.at_ms > now.at_ms || last.all != now.all) {
            self.looks.clear();
        }
        self.looks.push_back(now);
        while self.looks.front().is_some_and(|first| now.at_ms - first.at_ms > KEPT_MS) {
            self.looks.pop_front();
        }
        let share = now.free as f64 / now.all.max(1) as f64;
        let paced = PACES.iter().find_map(|&(severity, within_ms, short_ms, long_ms)| {
            let full_in_ms = self.full_in_ms(now, short_ms, long_ms)?;
            (share <= PACE_SHARE_MAX && full_in_ms <= within_ms).then_some((severity, full_in_ms))
        });
        let low = match now.free {
            ..ALERT_BYTES => Some(Severity::Alert),
            ..WARNING_BYTES if share < WARNING_SHARE => Some(Severity::Warning),
            _ => None,
        };
        let severity = low.max(paced.map(|(severity, _)| severity))?;
        Some(Filling { severity, free: now.free, share, full_in_ms: paced.map(|(_, ms)| ms) })
    }

    /// When it is full at the slower of two paces: that of the last `short_ms`, and that of the time
    /// before, back to `long_ms` ago. None if it did not fill in one of them, or was not looked at
    /// for as long.
    fn full_in_ms(&self, now: Space, short_ms: u64, long_ms: u64) -> Option<u64> {
        let ago = |ms: u64| self.looks.iter().rev().find(|look| now.at_ms - look.at_ms >= ms);
        let (first, middle) = (ago(long_ms)?, ago(short_ms)?);
        let pace = |from: &Space, to: &Space| {
            let used = from.free.checked_sub(to.free).filter(|used| *used > 0)?;
            Some(used as f64 / (to.at_ms - from.at_ms).max(1) as f64)
        };
        let pace = pace(first, middle)?.min(pace(middle, &now)?);
        Some((now.free as f64 / pace) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1 << 30;
    const MINUTE_MS: u64 = 60_000;

    /// Minutes with what is free after each; what was said last.
    fn watched(all: u64, free: impl Iterator<Item = u64>) -> Vec<Option<Severity>> {
        let mut disk = Disk::default();
        let look = |(minute, free)| {
            let space = Space { at_ms: minute as u64 * MINUTE_MS, free, all };
            disk.look(space).map(|filling| filling.severity)
        };
        free.enumerate().map(look).collect()
    }

    #[test]
    fn what_is_low_is_said_at_once() {
        let said = watched(100 * GB, [50 * GB, 9 * GB, GB - 1].into_iter());
        assert_eq!(said, [None, Some(Severity::Warning), Some(Severity::Alert)]);
        // Nine of twenty are no sign.
        assert_eq!(watched(20 * GB, [9 * GB].into_iter()), [None]);
    }

    #[test]
    fn a_steady_pace_is_told_a_day_ahead_and_two_hours_ahead() {
        // 200 GB are free of 1,000, and each hour takes 5: full in 40 hours.
        let pace = |minute: u64| 200 * GB - minute * 5 * GB / 60;
        let said = watched(1_000 * GB, (0..40 * 60).map(pace));
        let first = |severity| said.iter().position(|it| *it == Some(severity)).unwrap() as u64;
        assert!((16 * 60 - 5..16 * 60 + 5).contains(&first(Severity::Warning)));
        assert!((38 * 60 - 5..38 * 60 + 5).contains(&first(Severity::Alert)));
        assert!(said[..16 * 60 - 5].iter().all(Option::is_none));
    }

    #[test]
    fn one_large_write_is_no_pace() {
        let free = |minute: u64| if minute < 400 { 400 * GB } else { 200 * GB };
        let said = watched(1_000 * GB, (0..2_000).map(free));
        assert!(said.iter().all(Option::is_none));
    }

    #[test]
    fn what_is_cleaned_up_again_and_again_is_no_pace() {
        // Records by the hour, thrown away each hour.
        let free = |minute: u64| 100 * GB - minute % 60 * GB;
        let said = watched(300 * GB, (0..3_000).map(free));
        assert!(said.iter().all(Option::is_none), "{:?}", said.iter().flatten().next());
    }

    #[test]
    fn a_clock_that_is_set_back_begins_anew() {
        let mut disk = Disk::default();
        for (at_ms, free) in [(9_000_000, 40 * GB), (10, 39 * GB), (HOUR_MS, 38 * GB)] {
            assert_eq!(disk.look(Space { at_ms, free, all: 80 * GB }), None);
        }
    }
}
