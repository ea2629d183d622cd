//! The profile of a column that later values are compared with.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::bound::{Finds, THRESHOLD_MINUTES, smallest_shift, upper_bound};

/// Bins of a numeric column at most.
pub const BINS_MAX: usize = 10;
/// Categories with an own bin at most; the others share one.
pub const CATEGORIES_MAX: usize = 20;
/// Categories of the reference that are remembered at most, to tell what is unseen: 64 KiB. In a
/// column with more (names, texts), nothing is called unseen.
pub const CATEGORIES_SEEN_MAX: usize = 8_192;
/// Where a quantile function is read.
const QUANTILES: usize = 4_000;

/// What a column's values were: numbers in at most [`BINS_MAX`] bins of about equal share, or
/// categories.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Reference {
    /// Values, the missing ones too.
    pub rows: u64,
    /// The share that was missing.
    pub missing_share: f64,
    /// The share of each bin among the values that were not missing.
    pub shares: Vec<f64>,
    /// Where the bins are.
    pub bins: Bins,
}

/// Where bins are.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Bins {
    /// Of numbers.
    Numeric {
        /// The greatest number of each bin but the last, ascending. A value that has a tenth of all
        /// by itself is alone in its bin.
        uppers: Vec<f64>,
        /// The least number of the reference.
        min: f64,
        /// The greatest.
        max: f64,
        /// All values that there were, if they are few: flags, grades.
        values: Vec<f64>,
    },
    /// Of categories.
    Categorical {
        /// The most frequent, by name; each has the bin of its place. The bin after them is for the
        /// rest.
        top: Vec<Category>,
        /// All that occurred, as hashes; empty if there were more than can be remembered.
        seen: BTreeSet<u64>,
    },
}

/// A category with an own bin.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Category {
    /// Its name.
    pub name: String,
    /// The name's hash, by [`hash_of`].
    pub hash: u64,
}

/// How many of a minute's values were where. Fixed size for a column.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Values, the missing ones too.
    pub rows: u64,
    /// Missing values, and what is no number.
    pub missing: u64,
    /// By bin; together all that are not missing.
    pub bins: Vec<u64>,
    /// Numbers outside the reference's; they are in the outer bins too.
    pub out_of_range: u64,
    /// Categories that the reference has not; they are in the rest's bin too.
    pub unseen: u64,
}

impl Counts {
    /// Values that are not missing.
    pub fn present(&self) -> u64 {
        self.rows - self.missing
    }

    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.bins.fill(0);
        (self.rows, self.missing, self.out_of_range, self.unseen) = (0, 0, 0, 0);
    }

    /// Adds another of the same reference.
    pub fn merge(&mut self, other: &Counts) {
        self.bins.resize(self.bins.len().max(other.bins.len()), 0);
        self.bins.iter_mut().zip(&other.bins).for_each(|(mine, theirs)| *mine += theirs);
        self.rows += other.rows;
        self.missing += other.missing;
        self.out_of_range += other.out_of_range;
        self.unseen += other.unseen;
    }
}

/// The hash of a category: FNV-1a of 64 bits; it is stored, so it never changes.
#[inline]
pub fn hash_of(category: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    category.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

impl Reference {
    /// Of numbers; what is not finite counts as missing, as do the `missing` others. `None` if
    /// there is no number.
    pub fn of_numbers(values: &[f64], missing: u64) -> Option<Reference> {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let rows = values.len() as u64 + missing;
        numeric(&sorted, sorted.len() as u64, rows)
    }

    /// Of a sketch: `quantile` gives the value at a rank from 0 to 1, of `n` numbers.
    pub fn of_quantiles(quantile: impl Fn(f64) -> f64, n: u64, missing: u64) -> Option<Reference> {
        let points = QUANTILES.min(usize::try_from(n).unwrap_or(QUANTILES));
        let rank = |index: usize| (index as f64 + 0.5) / points as f64;
        let mut sorted: Vec<f64> = (0..points).map(|index| quantile(rank(index))).collect();
        if let [first, .., last] = sorted.as_mut_slice() {
            (*first, *last) = (quantile(0.0), quantile(1.0));
        }
        sorted.retain(|value| value.is_finite());
        sorted.sort_by(f64::total_cmp);
        numeric(&sorted, n, n + missing)
    }

    /// Of categories with their counts, each once. `None` if there are none.
    pub fn of_categories<'a>(
        counts: impl IntoIterator<Item = (&'a str, u64)>,
        missing: u64,
    ) -> Option<Reference> {
        let mut counts: Vec<(&str, u64)> =
            counts.into_iter().filter(|(_, count)| *count > 0).collect();
        counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let present: u64 = counts.iter().map(|(_, count)| count).sum();
        if present == 0 {
            return None;
        }
        let top = &counts[..counts.len().min(CATEGORIES_MAX)];
        let mut shares: Vec<f64> =
            top.iter().map(|(_, count)| *count as f64 / present as f64).collect();
        shares.push((1.0 - shares.iter().sum::<f64>()).max(0.0));
        let category =
            |(name, _): &(&str, u64)| Category { name: name.to_string(), hash: hash_of(name) };
        let seen = match counts.len() <= CATEGORIES_SEEN_MAX {
            true => counts.iter().map(|(name, _)| hash_of(name)).collect(),
            false => BTreeSet::new(),
        };
        let bins = Bins::Categorical { top: top.iter().map(category).collect(), seen };
        let rows = present + missing;
        Some(Reference { rows, missing_share: missing as f64 / rows as f64, shares, bins })
    }

    /// Empty counts that fit.
    pub fn counts(&self) -> Counts {
        Counts { bins: vec![0; self.shares.len()], ..Counts::default() }
    }

    /// The bin of a number; it must not be NaN. In a column of categories, the rest.
    #[inline]
    pub fn bin_of(&self, value: f64) -> usize {
        match &self.bins {
            // At most nine comparisons without a branch.
            Bins::Numeric { uppers, .. } => {
                uppers.iter().map(|upper| usize::from(value > *upper)).sum()
            }
            Bins::Categorical { top, .. } => top.len(),
        }
    }

    /// The bin of a category. In a column of numbers it is read as one; `None` if it is none.
    #[inline]
    pub fn bin_of_category(&self, category: &str) -> Option<usize> {
        let Bins::Categorical { top, .. } = &self.bins else {
            let number: f64 = category.parse().ok()?;
            return number.is_finite().then(|| self.bin_of(number));
        };
        let hash = hash_of(category);
        Some(top.iter().position(|known| known.hash == hash).unwrap_or(top.len()))
    }

    /// Counts a number.
    #[inline]
    pub fn count(&self, counts: &mut Counts, value: f64) {
        counts.rows += 1;
        if !value.is_finite() {
            counts.missing += 1;
            return;
        }
        counts.bins[self.bin_of(value)] += 1;
        if let Bins::Numeric { min, max, .. } = &self.bins {
            counts.out_of_range += u64::from(value < *min || value > *max);
        }
    }

    /// Counts a category. In a column of numbers it is read as one, and missing if it is none.
    #[inline]
    pub fn count_category(&self, counts: &mut Counts, category: &str) {
        let Bins::Categorical { top, seen } = &self.bins else {
            return self.count(counts, category.parse().unwrap_or(f64::NAN));
        };
        let hash = hash_of(category);
        let bin = top.iter().position(|known| known.hash == hash).unwrap_or(top.len());
        counts.rows += 1;
        counts.bins[bin] += 1;
        let unseen = bin == top.len() && !seen.is_empty() && !seen.contains(&hash);
        counts.unseen += u64::from(unseen);
    }

    /// Counts a missing value.
    #[inline]
    pub fn count_missing(&self, counts: &mut Counts) {
        counts.rows += 1;
        counts.missing += 1;
    }

    /// Values that were not missing.
    pub fn present(&self) -> u64 {
        (self.rows as f64 * (1.0 - self.missing_share)).round() as u64
    }

    /// What a bin is called: `12.5 – 40`, `Utrecht`, `other`.
    pub fn bin_name(&self, bin: usize) -> String {
        match &self.bins {
            Bins::Categorical { top, .. } => {
                top.get(bin).map_or_else(|| "other".into(), |category| category.name.clone())
            }
            Bins::Numeric { uppers, .. } => {
                let below = bin.checked_sub(1).and_then(|bin| uppers.get(bin));
                // Below a value that has a bin of its own.
                if let Some((upper, next)) = uppers.get(bin).zip(uppers.get(bin + 1))
                    && upper.next_up() == *next
                    && below.is_none_or(|below| below.next_up() != *upper)
                {
                    return match below {
                        Some(below) => format!("{} to {}", readable(*below), readable(*next)),
                        None => format!("below {}", readable(*next)),
                    };
                }
                match (below, uppers.get(bin)) {
                    (Some(below), Some(upper)) if below.next_up() == *upper => readable(*upper),
                    (Some(below), Some(upper)) => {
                        format!("{} to {}", readable(*below), readable(*upper))
                    }
                    (None, Some(upper)) => format!("up to {}", readable(*upper)),
                    (Some(below), None) => format!("above {}", readable(*below)),
                    (None, None) => "all".into(),
                }
            }
        }
    }

    /// The value of a bin that holds one only; of others, what the bin is called.
    pub fn value_name(&self, bin: usize) -> String {
        let only = match &self.bins {
            Bins::Numeric { values, .. } => values.iter().find(|value| self.bin_of(**value) == bin),
            Bins::Categorical { .. } => None,
        };
        only.map_or_else(|| self.bin_name(bin), |value| readable(*value))
    }

    /// The smallest shift of this column that is found, with so many rows a minute, among `columns`
    /// columns that are watched together: what `show` says.
    pub fn finds(&self, rows_per_minute: f64, columns: usize) -> Finds {
        // An outer bin: the last of numbers, a category of ordinary size else.
        let share = self.shares.iter().copied().filter(|share| *share > 0.0).fold(1.0, f64::min);
        let bound = upper_bound(share, self.present());
        let streams = self.shares.len() * columns.max(1);
        let within = |minutes| {
            smallest_shift(share, bound, rows_per_minute, minutes, streams, THRESHOLD_MINUTES)
        };
        Finds { hour: within(60.0), day: within(1_440.0) }
    }
}

/// A number to four significant digits, as people write it.
fn readable(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let digits = 3 - value.abs().log10().floor() as i32;
    match digits {
        ..-9 | 10.. => format!("{value:.3e}"),
        ..=0 => format!("{}", value.round()),
        _ => {
            let text = format!("{value:.*}", digits as usize);
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        }
    }
}

/// Cuts sorted points of equal weight into bins; `present` is how many values they stand for.
fn numeric(sorted: &[f64], present: u64, rows: u64) -> Option<Reference> {
    let (min, max) = (*sorted.first()?, *sorted.last()?);
    let mut bins = cut(sorted);
    while bins.len() > BINS_MAX {
        let lightest =
            (1..bins.len()).min_by_key(|at| bins[*at].points + bins[at - 1].points).unwrap_or(1);
        let merged = bins.remove(lightest);
        bins[lightest - 1].points += merged.points;
        bins[lightest - 1].upper = merged.upper;
    }
    let mut shares: Vec<f64> =
        bins.iter().map(|bin| bin.points as f64 / sorted.len() as f64).collect();
    let mut uppers: Vec<f64> = bins.iter().map(|bin| bin.upper).collect();
    uppers.pop();
    if uppers.is_empty() {
        // One value only: what is below and above it must be seen to come.
        (shares, uppers) = (vec![0.0, 1.0, 0.0], vec![min.next_down(), max]);
    }
    let missing_share = (rows - present) as f64 / rows as f64;
    let runs = sorted.chunk_by(|a, b| a == b).map(|run| run[0]);
    let values: Vec<f64> = runs.take(CATEGORIES_MAX + 1).collect();
    let values = if values.len() > CATEGORIES_MAX { vec![] } else { values };
    let bins = Bins::Numeric { uppers, min, max, values };
    Some(Reference { rows, missing_share, shares, bins })
}

struct Bin {
    upper: f64,
    points: usize,
}

/// Bins of a tenth of the points, and of single values that have a tenth.
fn cut(sorted: &[f64]) -> Vec<Bin> {
    let full = sorted.len().div_ceil(BINS_MAX).max(1);
    let mut bins: Vec<Bin> = vec![];
    let mut filling = 0;
    for run in sorted.chunk_by(|a, b| a == b) {
        let value = run[0];
        if run.len() >= full && sorted.len() >= BINS_MAX {
            if filling > 0 {
                bins.push(Bin { upper: value.next_down(), points: filling });
            }
            bins.push(Bin { upper: value, points: run.len() });
            filling = 0;
            continue;
        }
        filling += run.len();
        if filling >= full {
            bins.push(Bin { upper: value, points: filling });
            filling = 0;
        }
    }
    if filling > 0 {
        bins.push(Bin { upper: f64::MAX, points: filling });
    }
    bins
}
