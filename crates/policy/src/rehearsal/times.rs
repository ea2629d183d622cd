//! How long both versions took for the same requests, and by how much one was slower.

use domain::guard::{Guard, Limit, Metric, rounded};
use domain::rehearsal::Estimate;

use super::sample::{block_of, draw};
use super::{Pair, WARM_UP};
use crate::random::Random;

/// How often the pairs are drawn again.
const DRAWS: usize = 1_000;
/// The seed of the draws.
const SEED: u64 = 0x5eed;
/// A percentile needs as many requests beyond it; a mean or a median, as many in all.
const BEYOND_MIN: f64 = 5.0;
const REQUESTS_MIN: usize = 30;
/// Standard errors to each side of a 95% interval.
const Z: f64 = 1.959_964;

/// Times of the requests that both answered, in milliseconds, in the order in which they were asked.
pub(super) struct Times {
    pub candidate: Vec<f64>,
    pub live: Vec<f64>,
}

/// A guard on times: what must be below which limit.
pub(super) struct JudgedTimes {
    pub estimate: Estimate,
    pub limit: f64,
    pub upper: f64,
    pub tolerated: f64,
    pub requests_min: usize,
}

impl Times {
    pub fn new(pairs: &[Pair]) -> Times {
        let both = pairs.iter().filter_map(|pair| Some((pair.candidate.us()?, pair.live.us()?)));
        let ms = |us: u64| us as f64 / 1_000.0;
        let (candidate, live) =
            both.skip(WARM_UP).map(|(candidate, live)| (ms(candidate), ms(live))).unzip();
        Times { candidate, live }
    }

    /// The candidate's time by the live version's, the median of all pairs.
    pub fn ratio(&self, alpha: f64) -> Option<Estimate> {
        let ratios: Vec<f64> = self
            .candidate
            .iter()
            .zip(&self.live)
            .map(|(candidate, live)| candidate / live.max(1e-3))
            .collect();
        if ratios.is_empty() {
            return None;
        }
        let median = |values: &mut Vec<f64>| {
            values.sort_by(f64::total_cmp);
            quantile(values, 0.5)
        };
        let (mut drawn, mut values) = (vec![], vec![]);
        self.draw(|places| {
            values.clear();
            values.extend(places.iter().map(|place| ratios[*place]));
            drawn.push(median(&mut values));
        });
        Some(bounded(median(&mut ratios.clone()), &mut drawn, alpha))
    }

    /// One guard, with bounds that each miss with probability `alpha`.
    pub fn judged(&self, guard: &Guard, mean_tolerance: f64, alpha: f64) -> JudgedTimes {
        let metric = guard.metric();
        // A share beyond the percentile that the tolerance allows, as for a canary: twice as many.
        let tolerated_metric = match metric {
            Metric::Quantile(per_10000) => {
                let (at, most) = (f64::from(per_10000), 10_000.0);
                let tolerance = (most - at).min(at / 2.0);
                Metric::Quantile(((at - tolerance).round() as u16).max(1))
            }
            other => other,
        };
        let beside = |candidate: f64, live: f64| match guard.limit() {
            Limit::Absolute(_) => candidate,
            Limit::BaselinePlus(_) => candidate - live,
            Limit::BaselineTimes(_) => candidate / live.max(1e-3),
        };
        let (mut drawn, mut lenient) = (vec![], vec![]);
        let (mut own, mut live) = (vec![], vec![]);
        self.draw(|places| {
            fill(&mut own, &self.candidate, places);
            fill(&mut live, &self.live, places);
            let of_live = sorted_figure(metric, &live);
            drawn.push(beside(sorted_figure(metric, &own), of_live));
            lenient.push(beside(sorted_figure(tolerated_metric, &own), of_live));
        });
        let (candidate, of_live) = (figure(metric, &self.candidate), figure(metric, &self.live));
        let estimate = bounded(beside(candidate, of_live), &mut drawn, alpha);
        let (Limit::Absolute(limit) | Limit::BaselinePlus(limit) | Limit::BaselineTimes(limit)) =
            guard.limit();
        let tolerance = match (metric, guard.limit()) {
            (Metric::Mean, Limit::BaselinePlus(_)) => mean_tolerance * (of_live + limit),
            (Metric::Mean, _) => mean_tolerance * limit,
            _ => 0.0,
        };
        lenient.sort_by(f64::total_cmp);
        JudgedTimes {
            estimate,
            limit,
            upper: quantile(&lenient, 1.0 - alpha),
            tolerated: limit + tolerance,
            requests_min: requests_min(metric),
        }
    }

    fn draw(&self, mut each: impl FnMut(&[usize])) {
        let count = self.candidate.len();
        let (mut random, mut places) = (Random::new(SEED), Vec::with_capacity(count));
        for _ in 0..DRAWS {
            draw(&mut random, count, block_of(count), &mut places);
            each(&places);
        }
    }
}

/// Requests without which a figure says nothing.
pub(super) fn requests_min(metric: Metric) -> usize {
    match metric {
        Metric::Quantile(per_10000) => {
            let beyond = 1.0 - f64::from(per_10000) / 10_000.0;
            let within = f64::from(per_10000) / 10_000.0;
            ((BEYOND_MIN / beyond.min(within)).ceil() as usize).max(REQUESTS_MIN)
        }
        _ => REQUESTS_MIN,
    }
}

fn fill(values: &mut Vec<f64>, from: &[f64], places: &[usize]) {
    values.clear();
    values.extend(places.iter().map(|place| from[*place]));
    values.sort_by(f64::total_cmp);
}

/// What a guard looks at, of times in any order.
pub(super) fn figure(metric: Metric, times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted_figure(metric, &sorted)
}

fn sorted_figure(metric: Metric, sorted: &[f64]) -> f64 {
    match metric {
        Metric::Quantile(per_10000) => quantile(sorted, f64::from(per_10000) / 10_000.0),
        _ => sorted.iter().sum::<f64>() / sorted.len().max(1) as f64,
    }
}

/// The value that a share of sorted ones does not exceed; 0 of none.
pub(super) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(place.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(0.0)
}

fn bounded(value: f64, drawn: &mut [f64], alpha: f64) -> Estimate {
    drawn.sort_by(f64::total_cmp);
    Estimate {
        value: rounded(value),
        low: rounded(quantile(drawn, alpha).min(value)),
        high: rounded(quantile(drawn, 1.0 - alpha).max(value)),
    }
}

/// The mean with its 95% interval, by the variance of single ones or of blocks of neighbours, whichever
/// is larger.
pub(super) fn mean_interval(values: &[f64]) -> Estimate {
    let count = values.len();
    let mean = values.iter().sum::<f64>() / count.max(1) as f64;
    let variance_of_mean = |block: usize| {
        let blocks = count / block;
        if blocks < 2 {
            return 0.0;
        }
        let means = values.chunks_exact(block).map(|own| own.iter().sum::<f64>() / block as f64);
        means.map(|own| (own - mean).powi(2)).sum::<f64>() / (blocks - 1) as f64 / blocks as f64
    };
    let spread = Z * variance_of_mean(1).max(variance_of_mean(block_of(count))).sqrt();
    Estimate { value: rounded(mean), low: rounded(mean - spread), high: rounded(mean + spread) }
}
