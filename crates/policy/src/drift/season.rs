//! The bounds of shares by the hour of the day: a daily cycle is no drift.
//!
//! A series begins with its reference alone, and then only warns ([`Stage::Learning`]). When it has
//! lived for one whole day, by UTC, a share may be as large as in any hour so far
//! ([`Stage::Envelope`]); after 14, as large as in this hour of the day ([`Stage::OwnHour`]). After
//! 28 learning ends, so that what creeps is found too; a release or a person begins anew.
//!
//! What is learned is the mean of each hour of each day. How much days differ beyond the noise of
//! their minutes is part of the bound: a weekend that is always different is no drift either. For
//! its sake the first 14 days are learned whatever they bring, so the first weekend is found and
//! the second is not; later, a day in which something was found is not learned.

use serde::{Deserialize, Serialize};

use super::bound::{ERRORS_OF_REFERENCE, widened};

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 86_400_000;
/// From so many days on, each hour has its own bound.
pub const OWN_HOUR_DAYS: u64 = 14;
/// From so many days on, nothing is learned any more.
pub const LEARNING_DAYS: u64 = 28;
/// Days that an hour must have had to have its own bound.
const HOUR_DAYS_MIN: u32 = 7;
/// Minutes with rows that an hour must have had to be learned.
const HOUR_MINUTES_MIN: u32 = 5;
/// What was in none of N minutes is in one of N / 7.6, or less often, but for one case in 2,000.
const HIDDEN_MINUTES: f64 = 7.6;

/// How good the bounds are.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Those of the reference: it knows no hours, so what is found is a warning without a promise.
    #[default]
    Learning,
    /// The largest of all hours.
    Envelope,
    /// Each hour's own.
    OwnHour,
}

/// One hour of the day, over the days.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Hour {
    days: u32,
    bins: Vec<Moments>,
}

/// Of one share in one hour of the day: over the days' means, and of the noise of each.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Moments {
    sum: f64,
    squares: f64,
    /// The sum over the days of the squared standard error of the day's mean, by its minutes.
    noise: f64,
}

/// The minutes of the hour that is running.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Running {
    hour: u64,
    minutes: u32,
    sums: Vec<f64>,
    squares: Vec<f64>,
}

/// What is known of the seasons of some shares: 24 bytes for each share and hour, 0.6 KB a share.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Season {
    reference: Vec<f64>,
    started_ms: Option<u64>,
    hours: Vec<Hour>,
    /// Minutes that were learned, of all hours.
    minutes: u64,
    running: Running,
    /// Hours of today, of which it is not yet known whether they may be learned.
    today: Vec<Running>,
    bounds: Vec<f64>,
    bounds_hour: Option<u64>,
    stage: Stage,
}

impl Season {
    /// With bounds to begin with, one for each share.
    pub fn new(reference: Vec<f64>) -> Season {
        Season {
            bounds: reference.clone(),
            reference,
            started_ms: None,
            hours: vec![Hour::default(); 24],
            minutes: 0,
            running: Running::default(),
            today: vec![],
            bounds_hour: None,
            stage: Stage::Learning,
        }
    }

    /// The bounds for this minute; they depend on earlier days only.
    pub fn bounds(&mut self, at_ms: u64) -> (&[f64], Stage) {
        let started_ms = *self.started_ms.get_or_insert(at_ms);
        let hour = at_ms / HOUR_MS;
        if self.bounds_hour != Some(hour) {
            self.bounds_hour = Some(hour);
            self.stage = self.stage_after(whole_days(started_ms, at_ms));
            self.bounds = self.bounds_of((hour % 24) as usize);
        }
        (&self.bounds, self.stage)
    }

    /// The bounds that were last asked for.
    pub fn last_bounds(&self) -> &[f64] {
        &self.bounds
    }

    fn stage_after(&self, days: u64) -> Stage {
        match days {
            _ if self.minutes == 0 => Stage::Learning,
            0 => Stage::Learning,
            1..OWN_HOUR_DAYS => Stage::Envelope,
            _ => Stage::OwnHour,
        }
    }

    fn bounds_of(&self, hour: usize) -> Vec<f64> {
        let own = &self.hours[hour];
        match self.stage {
            Stage::Learning => self.reference.clone(),
            Stage::OwnHour if own.days >= HOUR_DAYS_MIN => {
                let of = |bin: usize| own.bound(bin, self.unrest(bin), self.minutes);
                (0..self.reference.len()).map(of).collect()
            }
            Stage::OwnHour | Stage::Envelope => {
                let of = |bin: usize| {
                    let unrest = self.unrest(bin);
                    let known = self.hours.iter().filter(|hour| hour.days > 0);
                    known.map(|hour| hour.bound(bin, unrest, self.minutes)).fold(0.0, f64::max)
                };
                (0..self.reference.len()).map(of).collect()
            }
        }
    }

    /// The variance between the days' means of an hour beyond the noise of their minutes, averaged
    /// over the hours.
    fn unrest(&self, bin: usize) -> f64 {
        let (mut sum, mut freedom) = (0.0, 0.0);
        for hour in self.hours.iter().filter(|hour| hour.days >= 2) {
            let (days, moments) = (f64::from(hour.days), hour.bins[bin]);
            let squares = moments.squares - moments.sum * moments.sum / days;
            sum += squares - moments.noise * (days - 1.0) / days;
            freedom += days - 1.0;
        }
        if freedom > 0.0 { (sum / freedom).max(0.0) } else { 0.0 }
    }

    /// Takes in the shares of one minute that had rows. `clean`: nothing is found just now; once
    /// hours have their own bounds, a day in which something is found is not learned.
    pub fn learn(&mut self, at_ms: u64, shares: impl ExactSizeIterator<Item = f64>, clean: bool) {
        let started_ms = *self.started_ms.get_or_insert(at_ms);
        if whole_days(started_ms, at_ms) >= LEARNING_DAYS {
            return;
        }
        let hour = at_ms / HOUR_MS;
        if self.running.hour != hour {
            let over = std::mem::take(&mut self.running);
            let (day_before, day) = (over.hour / 24, hour / 24);
            if over.minutes >= HOUR_MINUTES_MIN {
                self.today.push(over);
            }
            if day_before != day {
                self.keep_day();
            }
            self.running.hour = hour;
        }
        if !clean && self.stage == Stage::OwnHour {
            self.today.clear();
            (self.running.minutes, self.running.sums, self.running.squares) = (0, vec![], vec![]);
            return;
        }
        let running = &mut self.running;
        running.minutes += 1;
        running.sums.resize(shares.len(), 0.0);
        running.squares.resize(shares.len(), 0.0);
        for ((sum, square), share) in running.sums.iter_mut().zip(&mut running.squares).zip(shares)
        {
            *sum += share;
            *square += share * share;
        }
    }

    fn keep_day(&mut self) {
        for running in std::mem::take(&mut self.today) {
            let hour = &mut self.hours[(running.hour % 24) as usize];
            hour.days += 1;
            self.minutes += u64::from(running.minutes);
            hour.bins.resize(running.sums.len(), Moments::default());
            let minutes = f64::from(running.minutes);
            for ((moments, sum), squares) in
                hour.bins.iter_mut().zip(&running.sums).zip(&running.squares)
            {
                let mean = sum / minutes;
                let variance = (squares / minutes - mean * mean).max(0.0);
                moments.sum += mean;
                moments.squares += mean * mean;
                moments.noise += variance / (minutes - 1.0).max(1.0);
            }
        }
    }
}

impl Hour {
    /// The mean over the days and 3.3 of its standard errors; `unrest` is how much another day may
    /// differ, as a variance, and `minutes` how many were learned in all.
    fn bound(&self, bin: usize, unrest: f64, minutes: u64) -> f64 {
        let (days, moments) = (f64::from(self.days.max(1)), self.bins[bin]);
        let noise = moments.noise / (days * days);
        let errors = (noise + unrest * (1.0 + 1.0 / days)).sqrt();
        let hidden = HIDDEN_MINUTES / minutes.max(1) as f64;
        widened(moments.sum / days + ERRORS_OF_REFERENCE * errors + hidden)
    }
}

/// Days by UTC that lie between the two times as a whole.
fn whole_days(from_ms: u64, to_ms: u64) -> u64 {
    (to_ms / DAY_MS).saturating_sub(from_ms.div_ceil(DAY_MS))
}
