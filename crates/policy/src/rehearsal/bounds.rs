//! Bounds of shares, and of what one is more than another.

use domain::guard::rounded;
use domain::rehearsal::Estimate;

/// Neighbouring requests that are looked at together, to see whether they share their fate.
const BLOCKS: [usize; 2] = [8, 32];
/// Fewer blocks tell nothing.
const BLOCKS_MIN: usize = 20;

/// How many of how many.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Share {
    pub part: usize,
    pub whole: usize,
    /// As many count as one, because neighbours share their fate (Kish's design effect); at least 1.
    pub design_effect: f64,
    /// Times as many of the same.
    times: f64,
}

impl Default for Share {
    fn default() -> Share {
        Share { part: 0, whole: 0, design_effect: 1.0, times: 1.0 }
    }
}

impl Share {
    /// Of what is true of how many, in the order in which it was seen.
    pub fn of(seen: impl Iterator<Item = bool>) -> Share {
        let seen: Vec<bool> = seen.collect();
        let part = seen.iter().filter(|it| **it).count();
        let share = Share { part, whole: seen.len(), ..Share::default() };
        let design_effect = BLOCKS
            .map(|block| dispersion(&seen, block, share.share()))
            .into_iter()
            .fold(1.0, f64::max);
        Share { design_effect, ..share }
    }

    /// As if there were so many times as many of the same.
    pub fn times(self, times: f64) -> Share {
        Share { times: self.times * times, ..self }
    }

    pub fn share(&self) -> f64 {
        self.part as f64 / self.whole.max(1) as f64
    }

    /// With bounds that each miss it with this probability.
    pub fn estimate(&self, alpha: f64) -> Estimate {
        let (low, high) = share_interval(*self, alpha);
        Estimate { value: rounded(self.share()), low: rounded(low), high: rounded(high) }
    }

    /// Independent ones that say as much.
    fn effective(&self) -> (f64, f64) {
        let scale = self.times / self.design_effect;
        (self.part as f64 * scale, self.whole as f64 * scale)
    }
}

/// The variance of means of blocks, by what it would be of independent ones.
fn dispersion(seen: &[bool], block: usize, share: f64) -> f64 {
    let blocks = seen.len() / block;
    let alone = share * (1.0 - share) / block as f64;
    if blocks < BLOCKS_MIN || alone <= 0.0 {
        return 1.0;
    }
    let squares = seen.chunks_exact(block).map(|block| {
        let mean = block.iter().filter(|it| **it).count() as f64 / block.len() as f64;
        (mean - share).powi(2)
    });
    squares.sum::<f64>() / (blocks - 1) as f64 / alone
}

/// Exact bounds of a share (Clopper, Pearson 1934); from 0 to 1 if there is nothing.
pub(super) fn share_interval(share: Share, alpha: f64) -> (f64, f64) {
    let (part, whole) = share.effective();
    // Counts are whole: those that clusters leave are rounded so that the interval is no narrower.
    let (few, many, whole) = (part.floor(), part.ceil().min(whole.floor()), whole.floor());
    if whole < 1.0 {
        return (0.0, 1.0);
    }
    let low = match few {
        few if few <= 0.0 => 0.0,
        // The share at which so many or more would be as rare as α.
        few => bisect(|at| 1.0 - at_most(few - 1.0, whole, at) < alpha),
    };
    let high = match many {
        many if many >= whole => 1.0,
        many => bisect(|at| at_most(many, whole, at) > alpha),
    };
    (low.min(share.share()), high.max(share.share()))
}

/// The largest value between 0 and 1 below which it holds.
fn bisect(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut below, mut above) = (0.0, 1.0);
    for _ in 0..40 {
        let middle: f64 = (below + above) / 2.0;
        if holds(middle) { below = middle } else { above = middle }
    }
    (below + above) / 2.0
}

/// The probability that at most so many of `whole` are true, if each is with this probability.
fn at_most(part: f64, whole: f64, share: f64) -> f64 {
    if share <= 0.0 {
        return 1.0;
    }
    if share >= 1.0 {
        return if part >= whole { 1.0 } else { 0.0 };
    }
    let odds = share.ln() - (-share).ln_1p();
    let (mut term, mut sum) = (whole * (-share).ln_1p(), 0.0);
    for count in 0..=(part as u64) {
        sum += term.exp();
        let count = count as f64;
        term += ((whole - count) / (count + 1.0)).ln() + odds;
    }
    sum.min(1.0)
}

/// How much more a share is than `factor` times another, with bounds that each miss it with this
/// probability: the distances of both from their bounds are put together (Newcombe 1998, method 10).
/// If they are parts of the same requests that exclude each other, one grows as the other shrinks, and
/// the bounds are so much wider.
pub(super) fn difference_of_shares(
    more: Share,
    less: Share,
    factor: f64,
    alpha: f64,
    exclude: bool,
) -> Estimate {
    let (p, q) = (more.share(), less.share());
    let ((p_low, p_high), (q_low, q_high)) =
        (share_interval(more, alpha), share_interval(less, alpha));
    let correlation = match exclude {
        true => -(p * q / ((1.0 - p).max(1e-9) * (1.0 - q).max(1e-9))).sqrt().min(1.0),
        false => 0.0,
    };
    let apart = |one: f64, other: f64| {
        (one * one + other * other - 2.0 * correlation * one * other).max(0.0).sqrt()
    };
    let value = p - factor * q;
    Estimate {
        value: rounded(value),
        low: rounded(value - apart(p - p_low, factor * (q_high - q))),
        high: rounded(value + apart(p_high - p, factor * (q - q_low))),
    }
}
