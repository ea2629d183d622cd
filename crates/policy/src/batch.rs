//! How many rows a batch gets, from a measured model of latency by batch size.
//!
//! Each size class (powers of two) keeps a decaying mean and deviation of its service time; mean +
//! 3 deviations stands for a high quantile, as TCP's retransmission timer does (Jacobson,
//! 'Congestion Avoidance and Control', 1988). Unlike a straight line through all sizes, or the
//! largest latency ever seen, it forgets: after a slow hour it recovers.

use domain::scale::ServicePoint;

/// Size classes: 1, 2, 3–4, 5–8, … up to 4,096 rows.
const CLASSES: usize = 13;
/// The weight of a new observation in the mean.
const MEAN_GAIN: f64 = 0.125;
/// The weight of a new observation in the deviation.
const DEVIATION_GAIN: f64 = 0.25;
/// Deviations above the mean that a batch is planned with.
const DEVIATIONS: f64 = 3.0;
/// A larger size class is worth filling while a row in it takes at most this part of the time that
/// it takes in the best smaller one. With a fixed cost a and a cost b of each row this stops where
/// a batch has 9·a/b rows: a tenth of the throughput at most is left, and nobody waits for rows
/// that gain less.
const WORTHWHILE: f64 = 0.95;
/// A size class that was not used for so many batches is tried again: what was learned of it may
/// have been one slow moment.
const FORGOTTEN_AFTER_BATCHES: u64 = 1_024;

#[derive(Clone, Copy, Debug, Default)]
struct Class {
    mean_us: f64,
    deviation_us: f64,
    mean_rows: f64,
    seen: bool,
    /// The number of the last batch in it.
    last: u64,
}

impl Class {
    fn row_us(&self) -> f64 {
        self.mean_us / self.mean_rows.max(1.0)
    }
}

/// What has been learned of one placement's service times.
#[derive(Clone, Debug, Default)]
pub struct LatencyModel {
    classes: [Class; CLASSES],
    /// Batches observed.
    batches: u64,
}

fn class_of(rows: usize) -> usize {
    (usize::BITS - rows.max(1).saturating_sub(1).leading_zeros()).min(CLASSES as u32 - 1) as usize
}

impl LatencyModel {
    /// Takes in the service time of one batch.
    pub fn observe(&mut self, rows: usize, service_us: f64) {
        self.batches += 1;
        let class = &mut self.classes[class_of(rows)];
        class.last = self.batches;
        if class.seen {
            let error = service_us - class.mean_us;
            class.mean_us += MEAN_GAIN * error;
            class.deviation_us += DEVIATION_GAIN * (error.abs() - class.deviation_us);
            class.mean_rows += MEAN_GAIN * (rows as f64 - class.mean_rows);
        } else {
            let (mean_us, deviation_us) = (service_us, service_us / 2.0);
            *class = Class {
                mean_us,
                deviation_us,
                mean_rows: rows as f64,
                seen: true,
                last: self.batches,
            };
        }
    }

    /// The mean rows and service time of each size class that was seen, the smallest first.
    pub fn points(&self) -> Vec<ServicePoint> {
        let seen = self.classes.iter().filter(|class| class.seen);
        seen.map(|class| ServicePoint { rows: class.mean_rows.max(1.0), mean_us: class.mean_us })
            .collect()
    }

    /// The expected service time; `None` before anything was observed. Between classes it takes the
    /// next larger one that was seen; beyond them it grows with the rows.
    pub fn mean_us(&self, rows: usize) -> Option<f64> {
        self.estimate(rows, |class| class.mean_us)
    }

    /// A service time that is rarely exceeded.
    pub fn high_us(&self, rows: usize) -> Option<f64> {
        self.estimate(rows, |class| class.mean_us + DEVIATIONS * class.deviation_us)
    }

    fn estimate(&self, rows: usize, of: impl Fn(&Class) -> f64) -> Option<f64> {
        let wanted = class_of(rows);
        if let Some(class) = self.classes[wanted..].iter().find(|class| class.seen) {
            return Some(of(class));
        }
        let (at, class) = self.classes.iter().enumerate().rev().find(|(_, class)| class.seen)?;
        Some(of(class) * (1 << (wanted - at)) as f64)
    }

    /// The service time to expect of a batch of a size that may be larger than any before: on the
    /// line through the two largest that were seen.
    fn projected_us(&self, rows: usize) -> Option<f64> {
        let mut seen = self.classes.iter().filter(|class| class.seen).rev();
        let (Some(last), Some(before)) = (seen.next(), seen.next()) else {
            return self.mean_us(rows);
        };
        let beyond = rows as f64 - last.mean_rows;
        if self.classes[class_of(rows)..].iter().any(|class| class.seen) || beyond <= 0.0 {
            return self.mean_us(rows);
        }
        let row_us = (last.mean_us - before.mean_us) / (last.mean_rows - before.mean_rows).max(1.0);
        Some(last.mean_us + beyond * row_us.max(0.0))
    }

    /// The batch of at most `rows` in which a row takes least time, the smaller where it makes no
    /// difference. Where time grows with the rows (large tensors that are mostly copied), a larger
    /// batch serves no more rows a second, and all its callers wait for the last. The next class on
    /// either side is tried where it was never used, or not for long.
    pub fn rows_worthwhile(&self, rows: usize) -> usize {
        let classes = &self.classes[..=class_of(rows)];
        let mut best: Option<usize> = None;
        for (at, class) in classes.iter().enumerate().filter(|(_, class)| class.seen) {
            if best.is_none_or(|best| class.row_us() < WORTHWHILE * classes[best].row_us()) {
                best = Some(at);
            }
        }
        let Some(best) = best else { return rows };
        let is_unknown = |at: &usize| {
            let class = classes.get(*at);
            class.is_some_and(|class| {
                !class.seen || self.batches - class.last >= FORGOTTEN_AFTER_BATCHES
            })
        };
        let tried = [best.wrapping_sub(1), best + 1].into_iter().find(is_unknown);
        rows.min(1 << tried.unwrap_or(best))
    }

    /// The largest batch of at most `rows` that is done within `slack_us`; `None` if not even one
    /// row is.
    pub fn rows_within(&self, rows: usize, slack_us: f64) -> Option<usize> {
        if slack_us <= 0.0 {
            return None;
        }
        let fits = |rows: usize| self.high_us(rows).is_none_or(|high_us| high_us <= slack_us);
        if fits(rows) {
            return Some(rows);
        }
        // What is rarely exceeded is the wrong measure for one row alone: refuse only what the mean
        // cannot meet.
        let mut best = self.mean_us(1).is_none_or(|mean_us| mean_us <= slack_us).then_some(1);
        for size in (1..CLASSES).map(|class| 1 << class).take_while(|size| *size < rows) {
            if fits(size) {
                best = Some(size);
            }
        }
        best
    }
}

/// The longest gap between two callers that come back, in microseconds.
pub const LINGER_GAP_US_MAX: u64 = 2_000;
/// Below this, a pause is not worth a timer.
pub const LINGER_GAP_US_MIN: u64 = 400;

/// A pause before the next batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Linger {
    /// It ends when nobody came for so long, in microseconds.
    pub gap_us: u64,
    /// It ends after so long, in microseconds, even if callers still come.
    pub limit_us: u64,
}

/// A pause before the next batch, when one of several rows has just been answered: the callers just
/// answered tend to ask again at once, and one batch for all costs less than two. Without it, a
/// closed loop of n callers settles into two or three alternating batches, or the first to return
/// runs alone, and all keep paying for all of them. It lasts as long as callers keep coming, with
/// gaps of at most a quarter of the batch that it delays, and half of that batch in all; it ends
/// when all may be back; and it never follows one row: a lone caller never waits.
pub fn linger(
    model: &LatencyModel,
    answered_rows: usize,
    queued_rows: usize,
    rows_max: usize,
) -> Option<Linger> {
    if answered_rows <= 1 || queued_rows >= rows_max {
        return None;
    }
    let together = (queued_rows + answered_rows).min(rows_max);
    let (alone_us, others_us, together_us) = (
        model.mean_us(queued_rows.max(1))?,
        model.mean_us(answered_rows)?,
        model.projected_us(together)?,
    );
    let gap_us = (alone_us / 4.0).min(LINGER_GAP_US_MAX as f64);
    let saved_us = alone_us + others_us - together_us;
    let limit_us = (alone_us / 2.0).min(saved_us);
    let pays = gap_us >= LINGER_GAP_US_MIN as f64 && limit_us >= gap_us;
    pays.then_some(Linger { gap_us: gap_us as u64, limit_us: limit_us as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn learned(cost_us: impl Fn(usize) -> f64) -> LatencyModel {
        let mut model = LatencyModel::default();
        for _ in 0..50 {
            for class in 0..CLASSES {
                model.observe(1 << class, cost_us(1 << class));
            }
        }
        model
    }

    #[test]
    fn classes() {
        let classes: Vec<usize> = [1, 2, 3, 4, 5, 8, 9, 64, 4_096, 1 << 40].map(class_of).to_vec();
        assert_eq!(classes, [0, 1, 2, 2, 3, 3, 4, 6, 12, 12]);
    }

    #[test]
    fn the_batch_fits_the_slack() {
        let model = learned(|rows| 1_000.0 + 100.0 * rows as f64);
        assert_eq!(model.rows_within(64, 1e9), Some(64));
        assert_eq!(model.rows_within(64, 3_000.0), Some(16));
        assert_eq!(model.rows_within(64, 1_150.0), Some(1));
        assert_eq!(model.rows_within(64, 500.0), None);
        assert_eq!(LatencyModel::default().rows_within(64, 1.0), Some(64));
        assert_eq!(LatencyModel::default().rows_within(64, -1.0), None);
    }

    /// The sizes of the batches of a queue that never ends.
    fn settled(cost_us: impl Fn(usize) -> f64) -> Vec<usize> {
        let mut model = LatencyModel::default();
        let mut sizes = vec![];
        for _ in 0..5_000 {
            let rows = model.rows_worthwhile(64);
            model.observe(rows, cost_us(rows));
            sizes.push(rows);
        }
        sizes
    }

    #[test]
    fn a_batch_grows_while_a_row_takes_less_time_in_it() {
        let most = |sizes: Vec<usize>| {
            let late = &sizes[100..];
            [1, 2, 4, 8, 16, 32, 64]
                .into_iter()
                .max_by_key(|size| late.iter().filter(|used| *used == size).count())
        };
        assert_eq!(most(settled(|rows| 4_000.0 + 10.0 * rows as f64)), Some(64), "a forest");
        assert_eq!(most(settled(|rows| 400.0 * rows as f64)), Some(1), "a copy");
        assert_eq!(most(settled(|rows| 100.0 + 100.0 * rows as f64)), Some(16));
        assert_eq!(
            most(settled(|rows| 300.0 * rows as f64 + 20.0 * (rows * rows) as f64)),
            Some(1),
            "falls out of the cache"
        );
        assert_eq!(LatencyModel::default().rows_worthwhile(64), 64);
    }

    #[test]
    fn a_size_that_was_slow_once_is_tried_again() {
        let mut model = LatencyModel::default();
        let mut sizes = vec![];
        for batch in 0..20_000 {
            let rows = model.rows_worthwhile(64);
            let slow = if (20..60).contains(&batch) { 50.0 } else { 1.0 };
            model.observe(rows, slow * (4_000.0 + 10.0 * rows as f64));
            sizes.push(rows);
        }
        let late = &sizes[15_000..];
        assert!(late.iter().filter(|rows| **rows == 64).count() > 4_900, "{:?}", &late[..50]);
    }

    #[test]
    fn a_slow_hour_is_forgotten() {
        let mut model = learned(|_| 1_000_000.0);
        (0..100).for_each(|_| model.observe(1, 1_000.0));
        assert!(model.high_us(1).unwrap() < 3_000.0, "{:?}", model.high_us(1));
    }

    #[test]
    fn points_are_what_was_seen() {
        let mut model = LatencyModel::default();
        assert_eq!(model.points(), []);
        (0..200).for_each(|_| model.observe(33, 5_000.0));
        model.observe(1, 1_000.0);
        let expected = [
            ServicePoint { rows: 1.0, mean_us: 1_000.0 },
            ServicePoint { rows: 33.0, mean_us: 5_000.0 },
        ];
        assert_eq!(model.points(), expected);
    }

    #[test]
    fn lingers_only_where_it_pays() {
        let forest = learned(|rows| 4_200.0 + 8.0 * rows as f64);
        assert_eq!(linger(&forest, 63, 1, 64), Some(Linger { gap_us: 1_052, limit_us: 2_104 }));
        assert_eq!(linger(&forest, 1, 1, 64), None);
        assert_eq!(linger(&forest, 63, 0, 64), Some(Linger { gap_us: 1_052, limit_us: 2_104 }));
        assert_eq!(linger(&forest, 1, 0, 64), None);
        let slow = learned(|rows| 42_000.0 + 8.0 * rows as f64);
        assert_eq!(
            linger(&slow, 63, 1, 64),
            Some(Linger { gap_us: LINGER_GAP_US_MAX, limit_us: 21_004 })
        );
        let echo = learned(|rows| 40.0 + rows as f64);
        assert_eq!(linger(&echo, 63, 1, 64), None);
        let linear = learned(|rows| 4_000.0 * rows as f64);
        assert_eq!(linger(&linear, 32, 8, 64), None);
        assert_eq!(linger(&linear, 32, 32, 64), None);
        assert_eq!(linger(&LatencyModel::default(), 63, 1, 64), None);
    }

    #[test]
    fn two_halves_that_alternate_become_one() {
        for sizes in [&[1, 16, 32][..], &[32, 64]] {
            let learned = |cost_us: fn(usize) -> f64| {
                let mut model = LatencyModel::default();
                sizes.iter().for_each(|rows| model.observe(*rows, cost_us(*rows)));
                model
            };
            let forest = learned(|rows| 4_000.0 + 10.0 * rows as f64);
            assert_eq!(
                linger(&forest, 32, 32, 64),
                Some(Linger { gap_us: 1_080, limit_us: 2_160 }),
                "{sizes:?}"
            );
            assert_eq!(
                linger(&learned(|rows| 400.0 * rows as f64), 32, 32, 64),
                None,
                "{sizes:?}: nothing is saved"
            );
        }
    }

    proptest! {
        #[test]
        fn never_more_than_asked_and_never_zero(rows in 1usize..5_000, slack in 0.0f64..1e7, base in 1.0f64..1e5, each in 0.0f64..1e4) {
            let model = learned(|rows| base + each * rows as f64);
            if let Some(size) = model.rows_within(rows, slack) {
                prop_assert!(size >= 1 && size <= rows);
            }
        }
    }
}
