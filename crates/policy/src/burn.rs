//! Service level objectives: how fast the error budget is spent, over two windows at once.
//!
//! A burn rate of 1 spends the budget of 30 days in 30 days. An alarm needs a long window, so that
//! it matters, and a short one, so that it is still going on (Beyer et al., 'The Site Reliability
//! Workbook', chapter 5). Little traffic needs [`BAD_MIN`] bad events besides.
//!
//! Memory of an objective: 360 minutes, 432 stretches of ten minutes, 30 days: 13 KB.

mod bytes;
#[cfg(test)]
mod tests;

use domain::alarm::Severity;
use serde::{Deserialize, Serialize};

/// Requests that are answered without fault of model or platform.
pub const AVAILABILITY: f64 = 0.999;
/// Requests that are answered within `slo_ms`.
pub const LATENCY: f64 = 0.99;
/// Records that are kept of those that should be.
pub const RECORDS_COMPLETE: f64 = 0.9999;
/// With fewer bad events in the long window nobody is told.
pub const BAD_MIN: u64 = 10;

/// When somebody is told.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Rule {
    /// Both windows burn at this rate at least.
    pub rate: f64,
    /// In minutes.
    pub long_minutes: u64,
    /// In minutes.
    pub short_minutes: u64,
    /// How soon somebody should look: an alert pages, a warning is a ticket.
    pub severity: Severity,
}

/// The fastest first: 2%, 5%, 10% and 10% of the budget of 30 days, each in its long window.
pub const RULES: [Rule; 4] = [
    Rule { rate: 14.4, long_minutes: 60, short_minutes: 5, severity: Severity::Alert },
    Rule { rate: 6.0, long_minutes: 360, short_minutes: 30, severity: Severity::Alert },
    Rule { rate: 3.0, long_minutes: 1_440, short_minutes: 120, severity: Severity::Warning },
    Rule { rate: 1.0, long_minutes: 4_320, short_minutes: 360, severity: Severity::Warning },
];

/// Counts of events in a stretch of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Events {
    /// All.
    pub all: u64,
    /// Those that broke the objective.
    pub bad: u64,
}

/// The last stretches of time, all of one length, by number modulo their count.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Ring {
    slot_minutes: u64,
    slots: Vec<Events>,
    last: u64,
}

impl Ring {
    fn new(slot_minutes: u64, slots: usize) -> Ring {
        Ring { slot_minutes, slots: vec![Events::default(); slots], last: 0 }
    }

    fn add(&mut self, minute: u64, events: Events) {
        let (slot, len) = (minute / self.slot_minutes, self.slots.len() as u64);
        // What was skipped had no events; a clock that goes back adds to the last stretch.
        for skipped in (self.last + 1..=slot).rev().take(self.slots.len()) {
            self.slots[(skipped % len) as usize] = Events::default();
        }
        self.last = self.last.max(slot);
        let now = &mut self.slots[(self.last % len) as usize];
        now.all = now.all.saturating_add(events.all);
        now.bad = now.bad.saturating_add(events.bad.min(events.all));
    }

    /// Of the last so many minutes up to this one.
    fn within(&self, minute: u64, minutes: u64) -> Events {
        let (end, len) = (minute / self.slot_minutes, self.slots.len() as u64);
        let count = minutes.div_ceil(self.slot_minutes).min(len);
        let first = (end + 1).saturating_sub(count).max((self.last + 1).saturating_sub(len));
        let slots = (first..=end.min(self.last)).map(|slot| self.slots[(slot % len) as usize]);
        slots.fold(Events::default(), |sum, slot| Events {
            all: sum.all.saturating_add(slot.all),
            bad: sum.bad.saturating_add(slot.bad),
        })
    }
}

/// One objective of one model, and its events.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Objective {
    target: f64,
    minutes: Ring,
    tens: Ring,
    days: Ring,
}

/// The budget is spent too fast.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Burning {
    /// By which rule; the most severe that holds.
    pub rule: Rule,
    /// Burn rate over the long window.
    pub long_rate: f64,
    /// Over the short one.
    pub short_rate: f64,
    /// Events of the long window.
    pub events: Events,
}

impl Objective {
    /// This share of events should be good, below 1.
    pub fn new(target: f64) -> Objective {
        Objective {
            target: target.clamp(0.0, 1.0 - 1e-9),
            minutes: Ring::new(1, 360),
            tens: Ring::new(10, 432),
            days: Ring::new(1_440, 30),
        }
    }

    /// The share of events that should be good.
    pub fn target(&self) -> f64 {
        self.target
    }

    /// Takes in events of the minute of this time, in milliseconds since 1970.
    pub fn add(&mut self, at_ms: u64, events: Events) {
        let minute = at_ms / 60_000;
        [&mut self.minutes, &mut self.tens, &mut self.days]
            .into_iter()
            .for_each(|ring| ring.add(minute, events));
    }

    /// Events of the last so many minutes, up to three days.
    pub fn events(&self, now_ms: u64, minutes: u64) -> Events {
        let ring = if minutes <= 360 { &self.minutes } else { &self.tens };
        ring.within(now_ms / 60_000, minutes)
    }

    /// Events of the last 30 days.
    pub fn month(&self, now_ms: u64) -> Events {
        self.days.within(now_ms / 60_000, 30 * 1_440)
    }

    /// The share of bad events, as a multiple of what the objective allows.
    pub fn burn_rate(&self, events: Events) -> f64 {
        events.bad as f64 / events.all.max(1) as f64 / (1.0 - self.target)
    }

    /// Whether the budget is spent too fast now.
    pub fn burning(&self, now_ms: u64) -> Option<Burning> {
        RULES.into_iter().find_map(|rule| {
            let events = self.events(now_ms, rule.long_minutes);
            let long_rate = self.burn_rate(events);
            let short_rate = self.burn_rate(self.events(now_ms, rule.short_minutes));
            let is_fast = long_rate >= rule.rate && short_rate >= rule.rate;
            (is_fast && events.bad >= BAD_MIN).then_some(Burning {
                rule,
                long_rate,
                short_rate,
                events,
            })
        })
    }

    /// The share of the error budget of the last 30 days that is left: 1 if nothing broke, negative
    /// if more did than the objective allows.
    pub fn budget_left(&self, now_ms: u64) -> f64 {
        1.0 - self.burn_rate(self.month(now_ms))
    }
}
