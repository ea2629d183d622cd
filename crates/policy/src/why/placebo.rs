//! How large an effect is when nothing happened: the same question at quiet moments.

use super::contrast::{Whole, contrasts};
use super::grid::Grid;
use super::groups::Groups;
use super::window::Windows;

/// Effects at quiet moments, ascending.
#[derive(Clone, Debug, Default)]
pub(super) struct Placebo(Vec<f64>);

impl Placebo {
    pub(super) fn new(mut effects: Vec<f64>) -> Placebo {
        effects.sort_by(f64::total_cmp);
        Placebo(effects)
    }

    /// The share of quiet moments with an effect as large; never 0, as this moment is one, too.
    pub(super) fn p(&self, effect: f64) -> f64 {
        let smaller = self.0.partition_point(|placebo| *placebo < effect);
        (self.0.len() - smaller + 1) as f64 / (self.0.len() + 1) as f64
    }
}

/// The largest effect of any group at each quiet moment, so that it does not matter how many groups
/// are looked at (Westfall, Young 1993).
pub(super) fn of_groups(groups: &[Groups], whole: &Grid, quiet: &[Windows]) -> Placebo {
    let largest = quiet.iter().map(|windows| {
        let sign = Whole::of(whole, windows).change().signum();
        let all = groups.iter().flat_map(|groups| contrasts(groups, windows, sign));
        all.map(|contrast| contrast.effect()).fold(0.0, f64::max)
    });
    Placebo::new(largest.collect())
}

/// How far the whole moved at each quiet moment.
pub(super) fn of_whole(grid: &Grid, quiet: &[Windows]) -> Placebo {
    Placebo::new(quiet.iter().map(|windows| Whole::of(grid, windows).change().abs()).collect())
}

/// A number before and after a change, and how rare as large a step is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Moved {
    pub(super) before: f64,
    pub(super) after: f64,
    /// Of steps in the same direction.
    pub(super) p: f64,
    /// Quiet moments of which it is known.
    pub(super) known: usize,
}

/// So many quiet moments tell that what none of them had is rare.
const KNOWN_MIN: usize = 60;

/// How small `p` must be to be at most `p_max`, as far as so many quiet moments can tell.
pub(super) fn least(p_max: f64, known: usize) -> f64 {
    if known >= KNOWN_MIN { p_max.max(1.0 / (known + 1) as f64) } else { p_max }
}

impl Moved {
    /// Whether as large a step is rare: `p` is at most so much, or no quiet moment has one. What is
    /// measured for less long than requests are has fewer of them.
    pub(super) fn is_rare(&self, p_max: f64) -> bool {
        self.p <= least(p_max, self.known)
    }

    /// After divided by before.
    pub(super) fn times(&self) -> f64 {
        if self.before.abs() > 1e-9 {
            self.after / self.before
        } else if self.after.abs() > 1e-9 {
            f64::MAX.sqrt()
        } else {
            1.0
        }
    }
}

/// A series by bucket; `None` if there is no data on one of the sides.
pub(super) fn moved(values: &[Option<f64>], windows: &Windows, quiet: &[Windows]) -> Option<Moved> {
    let mut sums = vec![(0.0, 0.0)];
    for value in values {
        let (sum, count) = sums[sums.len() - 1];
        let value = value.filter(|value| value.is_finite());
        sums.push((sum + value.unwrap_or(0.0), count + f64::from(u8::from(value.is_some()))));
    }
    let mean = |within: &std::ops::Range<usize>| {
        let end = within.end.min(values.len());
        let (from, to) = (sums[within.start.min(end)], sums[end]);
        (to.1 > from.1).then(|| (to.0 - from.0) / (to.1 - from.1))
    };
    let step = |windows: &Windows| Some((mean(&windows.before)?, mean(&windows.after)?));
    let (before, after) = step(windows)?;
    let sign = (after - before).signum();
    let steps = quiet.iter().filter_map(step).map(|(before, after)| sign * (after - before));
    let placebo = Placebo::new(steps.collect());
    let p = placebo.p(sign * (after - before) - 1e-12);
    Some(Moved { before, after, p, known: placebo.0.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_large_counts_as_large() {
        let placebo = Placebo::new(vec![0.3, 0.1, 0.2]);
        assert_eq!(placebo.p(0.4), 0.25);
        assert_eq!(placebo.p(0.3), 0.5);
        assert_eq!(placebo.p(0.0), 1.0);
        assert_eq!(Placebo::default().p(9.0), 1.0);
    }

    #[test]
    fn what_is_known_for_a_shorter_time_can_be_rare_too() {
        let series = |known: usize, rise: f64| {
            let value = |at: usize| match at {
                _ if at < 400 - known => None,
                400.. => Some(rise),
                _ => Some(0.01 * (at % 7) as f64),
            };
            (0..420).map(value).collect::<Vec<Option<f64>>>()
        };
        let windows = Windows { before: 340..400, after: 400..420 };
        let (_, quiet) = windows.quiet();
        let of = |known, rise| moved(&series(known, rise), &windows, &quiet).unwrap();
        let is_rare = |known, rise| of(known, rise).is_rare(0.005);
        assert!(is_rare(400, 0.5) && of(400, 0.5).p <= 0.005);
        assert!(is_rare(120, 0.5) && of(120, 0.5).p > 0.005);
        assert!(!is_rare(60, 0.5), "too few moments to compare with");
        assert!(!is_rare(400, 0.03) && !is_rare(120, 0.03));
    }

    #[test]
    fn no_data_is_not_zero() {
        let windows = Windows { before: 0..4, after: 4..8 };
        let values = [Some(1.0), None, Some(3.0), None, None, Some(6.0), None, None];
        let found = moved(&values, &windows, &[]).unwrap();
        assert_eq!((found.before, found.after, found.times()), (2.0, 6.0, 3.0));
        assert_eq!(moved(&values[..4], &windows, &[]), None);
        assert_eq!(moved(&[], &windows, &[]), None);
    }
}
