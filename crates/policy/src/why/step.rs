//! When a share changed: the step that leaves the least squares, and how far it may lie elsewhere.

use std::ops::Range;

use super::grid::Grid;

/// The shortest stretch that is told, in buckets.
const LENGTH_MIN: usize = 3;
/// First only every so many buckets are tried.
const STRIDE: usize = 3;
/// That a change is over must explain so much more than that it goes on.
const OVER_FACTOR: f64 = 1.05;
/// A step elsewhere is possible if it explains less by at most so many variances: 2 × log 38, which
/// holds 95% of the steps of the simulation and more.
const DROP: f64 = 7.3;
/// How far around the first estimate the step is looked for again, in buckets.
pub(super) const NEAR: usize = 120;

/// A change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Step {
    /// The first bucket that is different.
    pub(super) at: usize,
    /// The first possible, and the last possible plus one.
    pub(super) possible: Range<usize>,
    /// The first bucket that is as before again; the end if there is none.
    pub(super) over: usize,
}

/// Least squares of steps in a stretch of buckets: running sums of weights, of the share times its
/// weight, of its square times its weight.
struct Squares {
    sums: Vec<[f64; 3]>,
    filled: usize,
}

impl Squares {
    fn new(grid: &Grid, within: &Range<usize>) -> Squares {
        let mut sums = vec![[0.0; 3]];
        let mut filled = 0;
        for bucket in within.clone() {
            let [all, some, _] = grid.sum(0, &(bucket..bucket + 1));
            // The root: a bucket of many requests says more, but they share one fate.
            let (weight, share) = (all.sqrt(), if all > 0.0 { some / all } else { 0.0 });
            let last = sums[sums.len() - 1];
            sums.push([
                last[0] + weight,
                last[1] + weight * share,
                last[2] + weight * share * share,
            ]);
            filled += usize::from(all > 0.0);
        }
        Squares { sums, filled }
    }

    fn of(&self, from: usize, to: usize) -> [f64; 3] {
        std::array::from_fn(|at| self.sums[to][at] - self.sums[from][at])
    }

    /// By how much the squares are less if buckets from one to another have a mean of their own.
    fn gain(&self, from: usize, to: usize) -> f64 {
        let all = self.sums[self.sums.len() - 1];
        let inside = self.of(from, to);
        let outside = [all[0] - inside[0], all[1] - inside[1]];
        if inside[0] <= 0.0 || outside[0] <= 0.0 {
            return 0.0;
        }
        let of = |sums: &[f64]| sums[1] * sums[1] / sums[0];
        of(&inside) + of(&outside) - of(&all)
    }

    /// What is left of the squares after that, for each bucket with requests.
    fn variance(&self, gain: f64) -> f64 {
        let all = self.sums[self.sums.len() - 1];
        if all[0] <= 0.0 {
            return 0.0;
        }
        let whole = all[2] - all[1] * all[1] / all[0];
        (whole - gain).max(0.0) / (self.filled.saturating_sub(3)).max(1) as f64
    }
}

/// The stretch that differs most from what is around it and begins in `begins`, among all buckets.
pub(super) fn stretch(grid: &Grid, begins: &Range<usize>) -> Option<Range<usize>> {
    let end = grid.buckets();
    let squares = Squares::new(grid, &(0..end));
    let begins = begins.start.max(1)..begins.end.min((end + 1).saturating_sub(LENGTH_MIN));
    let (mut best, mut found) = (0.0, None);
    for from in begins.clone().step_by(STRIDE).chain(begins.clone().last()) {
        let to_the_end = squares.gain(from, end);
        if to_the_end > best {
            (best, found) = (to_the_end, Some(from..end));
        }
        // What is over again lasted for a minute at least, and has been over for as long.
        for to in (from + 12..(end + 1).saturating_sub(12)).step_by(STRIDE) {
            let gain = squares.gain(from, to) / OVER_FACTOR;
            if gain > best {
                (best, found) = (gain, Some(from..to));
            }
        }
    }
    found
}

/// The one step near a bucket, and where else it may be.
pub(super) fn near(grid: &Grid, at: usize, over: usize) -> Option<Step> {
    let within = at.saturating_sub(NEAR)..over.min(at + NEAR).min(grid.buckets());
    let squares = Squares::new(grid, &within);
    let length = within.len();
    let gain = |from: usize| squares.gain(from, length);
    let steps = LENGTH_MIN..(length + 1).saturating_sub(LENGTH_MIN);
    let best = steps.clone().map(|from| (from, gain(from))).fold(None, |best, (from, gain)| {
        if best.is_none_or(|(_, most)| gain > most) { Some((from, gain)) } else { best }
    });
    let (step, most) = best.filter(|(_, gain)| *gain > 0.0)?;
    let least = most - DROP * squares.variance(most);
    let first = steps.clone().find(|from| gain(*from) >= least).unwrap_or(step);
    let last = steps.rev().find(|from| gain(*from) >= least).unwrap_or(step);
    let start = within.start;
    Some(Step { at: start + step, possible: start + first..start + last + 1, over })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(shares: impl Iterator<Item = f64>, buckets: usize) -> Grid {
        let mut grid = Grid::new(1, buckets);
        for (bucket, share) in shares.take(buckets).enumerate() {
            let wobble = 0.02 * ((bucket * 7) % 5) as f64;
            grid.add(0, bucket, [100.0, 100.0 * (share + wobble), 100.0]);
        }
        grid.finish()
    }

    #[test]
    fn a_step_is_found_where_it_is() {
        let steps = grid((0..1_440).map(|at| if at >= 1_400 { 0.5 } else { 0.1 }), 1_440);
        let found = stretch(&steps, &(200..1_440)).unwrap();
        assert!(found.start.abs_diff(1_400) < STRIDE && found.end == 1_440);
        let step = near(&steps, found.start, found.end).unwrap();
        assert_eq!(step.at, 1_400);
        assert!(step.possible.contains(&1_400) && step.possible.len() <= 3);
    }

    #[test]
    fn what_is_over_again_is_a_stretch() {
        let hill = |at| if (900..960).contains(&at) { 0.5 } else { 0.1 };
        let steps = grid((0..1_440).map(hill), 1_440);
        let found = stretch(&steps, &(200..1_440)).unwrap();
        assert!(found.start.abs_diff(900) <= STRIDE && found.end.abs_diff(960) <= STRIDE);
        assert_eq!(near(&steps, found.start, found.end).unwrap().at, 900);
    }

    #[test]
    fn nothing_has_no_step() {
        assert_eq!(stretch(&Grid::new(1, 0).finish(), &(0..10)), None);
        assert_eq!(stretch(&Grid::new(1, 50).finish(), &(0..50)), None);
        assert_eq!(near(&Grid::new(1, 50).finish(), 20, 50), None);
    }
}
