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
        let is_own = self.stage == Stage::OwnHour && own.days >= HOUR_DAYS_MIN;
        let of = |bin: usize| {
            let pool = self.pool(bin);
            let known = self.hours.iter().filter(|hour| hour.days > 0);
            match is_own {
                true => own.bound(bin, pool),
                false => known.map(|hour| hour.bound(bin, pool)).fold(0.0, f64::max),
            }
        };
        match self.stage {
            Stage::Learning => self.reference.clone(),
            Stage::OwnHour | Stage::Envelope => (0..self.reference.len()).map(of).collect(),
        }
    }

    fn pool(&self, bin: usize) -> Pool {
        let unrest = self.unrest(bin);
        let known = || self.hours.iter().filter(|hour| hour.days > 0);
        let count = (known().count() as f64).max(1.0);
        let mean = known().map(|hour| hour.mean(bin)).sum::<f64>() / count;
        let error = known().map(|hour| hour.error(bin, unrest)).sum::<f64>() / count;
        let squares = known().map(|hour| (hour.mean(bin) - mean).powi(2)).sum::<f64>();
        let between = (squares / (count - 1.0).max(1.0) - error).max(0.0);
        let hidden = HIDDEN_MINUTES / self.minutes.max(1) as f64;
        Pool { mean, error: error / count, between, unrest, hidden }
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

/// What is known of a share over all hours, as variances.
#[derive(Clone, Copy)]
struct Pool {
    mean: f64,
    /// Of that mean.
    error: f64,
    /// Between the true means of hours.
    between: f64,
    /// How much another day may differ.
    unrest: f64,
    /// What may have been hidden so far.
    hidden: f64,
}

impl Hour {
    fn mean(&self, bin: usize) -> f64 {
        self.bins[bin].sum / f64::from(self.days.max(1))
    }

    /// The variance of the mean.
    fn error(&self, bin: usize, unrest: f64) -> f64 {
        let days = f64::from(self.days.max(1));
        self.bins[bin].noise / (days * days) + unrest / days
    }

    /// The hour's mean and 3.3 standard errors. With little traffic hours differ by chance more than
    /// by season: the mean is drawn to that of all hours as far as chance explains the difference
    /// (Efron, Morris, 'Stein's estimation rule and its competitors', JASA 1973).
    fn bound(&self, bin: usize, pool: Pool) -> f64 {
        let error = self.error(bin, pool.unrest);
        let weight = pool.between / (pool.between + error).max(f64::MIN_POSITIVE);
        let mean = pool.mean + weight * (self.mean(bin) - pool.mean);
        let variance = weight * error + (1.0 - weight) * pool.error + pool.unrest;
        widened(mean + ERRORS_OF_REFERENCE * variance.sqrt() + pool.hidden)
    }
}

/// Days by UTC that lie between the two times as a whole.
fn whole_days(from_ms: u64, to_ms: u64) -> u64 {
    (to_ms / DAY_MS).saturating_sub(from_ms.div_ceil(DAY_MS))
}
