//! How long a load is remembered before replicas are stopped.
//!
//! A multiple of the start-up time: where replicas are back in no time, little is lost by stopping
//! them. Each time that stopping was regretted, because more were wanted again soon after, the time
//! doubles, so that a load that comes and goes is learned. If the load had not even grown, the
//! lower number is known to be too low for it, and is not tried again for an hour: under a constant
//! load each number is left downwards at most once in that time.

use std::collections::VecDeque;

use domain::scale::LoadMeasure;

/// The shortest and the longest time, in milliseconds.
pub const HOLD_MS: [u64; 2] = [20_000, 600_000];
/// The first time, in start-ups.
pub const HOLD_STARTUPS: u64 = 10;
/// The first time is at most this, in milliseconds.
pub const HOLD_FIRST_MS_MAX: u64 = 120_000;
/// More replicas within this many hold times after fewer is a regret.
pub const REGRET_HOLDS: u64 = 1;
/// After this many hold times without a regret the time halves.
pub const FORGIVE_HOLDS: u64 = 6;
/// A number that was left again under a load this much larger at most was too low for the load.
pub const SAME_LOAD: f64 = 1.1;
/// More replicas within this many hold times after fewer says that the lower number was too low.
pub const REFUTE_HOLDS: u64 = 4;
/// How long that is known, in milliseconds.
pub const REFUTED_MS: u64 = 3_600_000;
/// For how many numbers that is known at most.
const REFUTED_MAX: usize = 32;
/// Loads closer than this are kept as one, in milliseconds.
const BUCKET_MS: u64 = 1_000;

/// A number of replicas that turned out to be too low.
#[derive(Clone, Copy, Debug)]
struct Refuted {
    at_ms: u64,
    replicas: u32,
    /// The arrivals for which it was, in requests per second.
    per_s: f64,
}

/// Highest loads of the hold time, and how often stopping was regretted.
#[derive(Clone, Debug, Default)]
pub struct Hold {
    measure: Option<LoadMeasure>,
    /// Times and loads; times rise, loads fall, so the first is the highest.
    peaks: VecDeque<(u64, f64)>,
    target: Option<u32>,
    /// The last lowering: when, to what, under which arrivals.
    lowered: Option<Refuted>,
    refuted: Vec<Refuted>,
    doublings: u32,
    changed_at_ms: u64,
}

impl Hold {
    /// Forgets the loads.
    pub fn clear(&mut self) {
        self.peaks.clear();
    }

    /// Takes in the number in force and the arrivals in requests per second, and says how long a
    /// load is to be remembered.
    pub fn observe_target(&mut self, now_ms: u64, target: u32, per_s: f64, startup_ms: u64) -> u64 {
        let hold_ms = self.hold_ms(startup_ms);
        if now_ms < self.changed_at_ms {
            (self.changed_at_ms, self.lowered) = (now_ms, None);
            self.refuted.clear();
        }
        let before = self.target.replace(target).unwrap_or(target);
        if target < before {
            self.lowered =
                (target > 0).then_some(Refuted { at_ms: now_ms, replicas: target, per_s });
        } else if target > before
            && let Some(lowered) = self.lowered.take()
        {
            self.regret(now_ms, lowered, per_s, hold_ms);
        }
        if self.doublings > 0
            && now_ms.saturating_sub(self.changed_at_ms) > hold_ms.saturating_mul(FORGIVE_HOLDS)
        {
            self.doublings -= 1;
            self.changed_at_ms = now_ms;
        }
        self.hold_ms(startup_ms)
    }

    fn regret(&mut self, now_ms: u64, lowered: Refuted, per_s: f64, hold_ms: u64) {
        let since_ms = now_ms.saturating_sub(lowered.at_ms);
        if since_ms < hold_ms.saturating_mul(REGRET_HOLDS) && hold_ms < HOLD_MS[1] {
            self.doublings += 1;
            self.changed_at_ms = now_ms;
        }
        if since_ms < hold_ms.saturating_mul(REFUTE_HOLDS) && per_s <= SAME_LOAD * lowered.per_s {
            self.refuted.retain(|known| known.replicas != lowered.replicas);
            if self.refuted.len() >= REFUTED_MAX {
                self.refuted.remove(0);
            }
            self.refuted.push(Refuted {
                at_ms: now_ms,
                per_s: per_s.min(lowered.per_s),
                ..lowered
            });
        }
    }

    /// The fewest replicas that are not known to be too few for such arrivals.
    pub fn floor(&self, now_ms: u64, per_s: f64) -> u32 {
        let known = |known: &&Refuted| {
            let fresh = now_ms.saturating_sub(known.at_ms) <= REFUTED_MS;
            fresh && per_s * SAME_LOAD >= known.per_s
        };
        self.refuted.iter().filter(known).map(|known| known.replicas + 1).max().unwrap_or(0)
    }

    /// Takes in a load.
    pub fn observe_load(&mut self, now_ms: u64, measure: LoadMeasure, load: f64) {
        if self.measure.replace(measure) != Some(measure)
            || self.peaks.back().is_some_and(|(at_ms, _)| *at_ms > now_ms)
        {
            self.peaks.clear();
        }
        while self.peaks.back().is_some_and(|(_, peak)| *peak <= load) {
            self.peaks.pop_back();
        }
        // A lower load so soon after is covered by the one before it.
        if self.peaks.len() <= 1
            || self.peaks.back().is_none_or(|(at_ms, _)| now_ms - at_ms >= BUCKET_MS)
        {
            self.peaks.push_back((now_ms, load));
        }
        while self.peaks.front().is_some_and(|(at_ms, _)| now_ms - at_ms > HOLD_MS[1]) {
            self.peaks.pop_front();
        }
    }

    /// The highest load within this time.
    pub fn load(&self, now_ms: u64, hold_ms: u64) -> f64 {
        self.peaks
            .iter()
            .find(|(at_ms, _)| now_ms.saturating_sub(*at_ms) <= hold_ms)
            .map_or(0.0, |(_, load)| *load)
    }

    fn hold_ms(&self, startup_ms: u64) -> u64 {
        let first_ms =
            startup_ms.saturating_mul(HOLD_STARTUPS).clamp(HOLD_MS[0], HOLD_FIRST_MS_MAX);
        first_ms.saturating_mul(1 << self.doublings.min(10)).min(HOLD_MS[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_of_the_window() {
        let mut hold = Hold::default();
        for (at_ms, load) in [(0, 5.0), (10_000, 9.0), (20_000, 3.0), (30_000, 4.0)] {
            hold.observe_load(at_ms, LoadMeasure::PerSecond, load);
        }
        assert_eq!(hold.load(30_000, 20_000), 9.0);
        assert_eq!(hold.load(30_001, 20_000), 4.0);
        hold.observe_load(31_000, LoadMeasure::InFlight, 1.0);
        assert_eq!(hold.load(31_000, 20_000), 1.0);
        hold.observe_load(5, LoadMeasure::InFlight, 0.5);
        assert_eq!(hold.load(5, 20_000), 0.5);
    }

    #[test]
    fn memory_is_bounded() {
        let mut hold = Hold::default();
        for at_ms in 0..2_000_000u64 {
            hold.observe_load(at_ms, LoadMeasure::PerSecond, 1e9 - at_ms as f64);
        }
        assert!(hold.peaks.len() as u64 <= HOLD_MS[1] / BUCKET_MS + 2, "{}", hold.peaks.len());
    }

    #[test]
    fn regret_doubles_the_time_and_peace_halves_it() {
        let mut hold = Hold::default();
        let mut now_ms = 0;
        let mut turn = |hold: &mut Hold, target: u32, after_ms: u64| {
            now_ms += after_ms;
            hold.observe_target(now_ms, target, 10.0, 1_000)
        };
        assert_eq!(turn(&mut hold, 2, 0), 20_000);
        assert_eq!(turn(&mut hold, 1, 30_000), 20_000);
        assert_eq!(turn(&mut hold, 2, 10_000), 40_000);
        for expected in [80_000, 160_000, 320_000, 600_000, 600_000] {
            turn(&mut hold, 1, 30_000);
            assert_eq!(turn(&mut hold, 2, 10_000), expected);
        }
        assert_eq!(turn(&mut hold, 2, 600_000 * FORGIVE_HOLDS + 1), 320_000);
    }

    #[test]
    fn a_number_that_was_too_low_is_not_tried_again_for_that_load() {
        let mut hold = Hold::default();
        for (at_ms, target, per_s) in [(0, 5, 10.0), (1_000, 3, 10.0), (60_000, 5, 10.5)] {
            hold.observe_target(at_ms, target, per_s, 1_000);
        }
        assert_eq!(hold.floor(60_000, 10.0), 4);
        assert_eq!(hold.floor(60_000, 8.0), 0);
        assert_eq!(hold.floor(60_000 + REFUTED_MS, 20.0), 4);
        assert_eq!(hold.floor(60_001 + REFUTED_MS, 20.0), 0);
        // The load had grown: nothing is known of three replicas.
        let mut hold = Hold::default();
        for (at_ms, target, per_s) in [(0, 5, 10.0), (1_000, 3, 10.0), (60_000, 5, 20.0)] {
            hold.observe_target(at_ms, target, per_s, 1_000);
        }
        assert_eq!(hold.floor(60_000, 20.0), 0);
    }
}
