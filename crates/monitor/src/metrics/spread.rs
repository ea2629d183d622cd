//! How often whole numbers were how large: one count for each cell between any two bounds of the
//! classic and the native buckets, so that both are exact and a number is counted once. Buckets are
//! made of cells when somebody scrapes.

use std::sync::LazyLock;

use crate::exposition::{ClassicBucket, Exemplar, Histogram};

/// Native buckets for each doubling are `2^SCHEMA`: a quantile is at most 4.5% off.
const SCHEMA: i32 = 3;
/// Upper bounds in seconds: from 50 µs, three steps for each factor of ten.
const SECONDS: [f64; 19] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0,
    2.0, 5.0, 10.0, 30.0, 60.0,
];
const ROWS: [f64; 13] =
    [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0];

/// Of microseconds, shown in seconds.
pub static TIMES: LazyLock<Cells> = LazyLock::new(|| Cells::new(&SECONDS, 1e6));
/// Of rows.
pub static COUNTS: LazyLock<Cells> = LazyLock::new(|| Cells::new(&ROWS, 1.0));

/// Where the bounds of cells are.
pub struct Cells {
    /// The largest number of each.
    uppers: Vec<u32>,
    /// The classic bucket of each.
    classic: Vec<usize>,
    /// The native bucket of each; `None` of 0.
    native: Vec<Option<i32>>,
    bounds: &'static [f64],
    /// Numbers to one of what is shown.
    scale: f64,
}

impl Cells {
    fn new(bounds: &'static [f64], scale: f64) -> Cells {
        let largest = |bound: f64| (bound * scale + 1e-6).floor().min(u32::MAX.into()) as u32;
        let edges: Vec<u32> = bounds.iter().map(|bound| largest(*bound)).collect();
        let steps = f64::from(1 << SCHEMA);
        let power = |index: i32| (f64::from(index) / steps).exp2();
        // From the bucket of 1 to that of the largest number.
        let first = ((1.0 / scale).log2() * steps).ceil() as i32;
        let last = ((f64::from(u32::MAX) / scale).log2() * steps).ceil() as i32;
        let powers: Vec<u32> = (first..=last).map(|index| largest(power(index))).collect();
        let mut uppers: Vec<u32> = [0, u32::MAX].into_iter().chain(edges.clone()).collect();
        uppers.extend(&powers);
        uppers.sort_unstable();
        uppers.dedup();
        let at_or_above = |list: &[u32], number: u32| list.partition_point(|it| *it < number);
        let native = |upper: u32| first + at_or_above(&powers, upper) as i32;
        Cells {
            classic: uppers.iter().map(|upper| at_or_above(&edges, *upper)).collect(),
            native: uppers.iter().map(|upper| (*upper > 0).then(|| native(*upper))).collect(),
            uppers,
            bounds,
            scale,
        }
    }

    fn of(&self, number: u32) -> usize {
        self.uppers.partition_point(|upper| *upper < number)
    }
}

/// Counts of cells. It has memory for those between the smallest and the largest number so far.
#[derive(Clone, Default)]
pub struct Spread {
    first: usize,
    counts: Vec<u64>,
    sum: u64,
    /// By classic bucket; empty if none was ever given.
    exemplars: Vec<Option<Exemplar>>,
}

impl Spread {
    /// Takes in a number.
    pub fn take(&mut self, cells: &Cells, number: u32) {
        let cell = cells.of(number);
        self.sum += u64::from(number);
        if self.counts.is_empty() {
            self.first = cell;
        }
        if cell < self.first {
            self.counts.splice(..0, std::iter::repeat_n(0, self.first - cell));
            self.first = cell;
        }
        let at = cell - self.first;
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += 1;
    }

    /// Takes in a number of a request; it is shown until another falls into its classic bucket.
    pub fn take_of(&mut self, cells: &Cells, number: u32, request: Exemplar) {
        self.take(cells, number);
        self.exemplars.resize(cells.bounds.len() + 1, None);
        self.exemplars[cells.classic[cells.of(number)]] = Some(request);
    }

    /// Its buckets.
    pub fn histogram(&self, cells: &Cells) -> Histogram {
        let bucket = |(at, upper): (usize, &f64)| {
            let exemplar = self.exemplars.get(at).copied().flatten();
            ClassicBucket { upper: *upper, count: 0, exemplar }
        };
        let uppers = cells.bounds.iter().chain(&[f64::INFINITY]);
        let mut classic: Vec<ClassicBucket> = uppers.enumerate().map(bucket).collect();
        let (mut zeros, mut native): (u64, Vec<(i32, u64)>) = (0, vec![]);
        let some = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        for (at, count) in some {
            let cell = self.first + at;
            classic[cells.classic[cell]].count += count;
            match (cells.native[cell], native.last_mut()) {
                (None, _) => zeros += count,
                (Some(index), Some(last)) if last.0 == index => last.1 += count,
                (Some(index), _) => native.push((index, *count)),
            }
        }
        let sum = self.sum as f64 / cells.scale;
        Histogram { sum, classic, schema: SCHEMA, zeros, native }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every count is in the bucket whose bounds its number is between, in both kinds of buckets.
    fn check(cells: &Cells, numbers: &[u32]) {
        let mut spread = Spread::default();
        numbers.iter().for_each(|number| spread.take(cells, *number));
        let shown = |number: u32| f64::from(number) / cells.scale;
        let histogram = spread.histogram(cells);
        let within = |low: f64, high: f64| {
            numbers.iter().filter(|number| (low..=high).contains(&shown(**number))).count()
                - numbers.iter().filter(|number| shown(**number) == low).count()
        };
        let mut below = -1.0;
        for bucket in &histogram.classic {
            assert_eq!(bucket.count as usize, within(below, bucket.upper), "{}", bucket.upper);
            below = bucket.upper;
        }
        let power = |index: i32| (f64::from(index) / 8.0).exp2();
        for (index, count) in &histogram.native {
            let (low, high) = (power(index - 1), power(*index));
            assert_eq!(*count as usize, within(low, high), "{low}..{high}");
        }
        let natives: u64 = histogram.native.iter().map(|(_, count)| count).sum();
        assert_eq!(natives + histogram.zeros, numbers.len() as u64);
        assert_eq!(histogram.count(), numbers.len() as u64);
        assert!(histogram.native.is_sorted_by(|left, right| left.0 < right.0));
        let sum: f64 = numbers.iter().map(|number| shown(*number)).sum();
        assert!((histogram.sum - sum).abs() <= sum * 1e-9);
    }

    #[test]
    fn buckets_hold_what_is_between_their_bounds() {
        let mut random = fastrand::Rng::with_seed(7);
        // Around every bound, and everywhere.
        for cells in [&*TIMES, &*COUNTS] {
            let edges = cells
                .uppers
                .iter()
                .flat_map(|upper| [upper.saturating_sub(1), *upper, upper.saturating_add(1)]);
            check(cells, &edges.collect::<Vec<_>>());
            let anywhere = (0..20_000).map(|_| random.u32(..) >> random.u32(0..32));
            check(cells, &anywhere.collect::<Vec<_>>());
        }
        check(&TIMES, &[]);
        check(&TIMES, &[0, 0, 7]);
        check(&COUNTS, &[64, 1, u32::MAX, 0, 1]);
    }

    #[test]
    fn the_last_request_of_each_bucket_is_shown() {
        let mut spread = Spread::default();
        for (us, name) in [(700, 1), (900, 2), (70_000, 3)] {
            let value = f64::from(us) / 1e6;
            let request = Exemplar { request: [name; 16], trace: [0; 16], value, at_ms: 1 };
            spread.take_of(&TIMES, us, request);
        }
        let shown = spread.histogram(&TIMES).classic;
        let shown: Vec<_> = shown
            .iter()
            .filter_map(|bucket| Some((bucket.upper, bucket.exemplar?.request[0])))
            .collect();
        assert_eq!(shown, [(0.001, 2), (0.1, 3)]);
    }
}
