//! The profile of one column, made of its values one after the other. Counts, the mean and the
//! extremes are of all of them, the rest of a random sample if there are many.

use std::collections::HashMap;

use policy::drift::{Bins, Reference, TextFeatures, tensor_features, text_features};

use super::{ColumnProfile, plain_name};
use crate::drift::{Feature, Watched};
use crate::sketch::Moments;

/// Rows of one column that are sampled at most.
const SAMPLE_MAX: usize = 200_000;
/// Numbers that are held for all columns together: 64 MiB.
pub const VALUES_MAX: usize = 8 << 20;
/// The longest centroid; of longer vectors there is no cosine.
pub const CENTROID_MAX: usize = 4_096;
/// Elements of a vector that are looked at, as where it is watched.
const ELEMENTS_MAX: usize = 65_536;
/// Texts with more different values, or longer ones in the mean, are watched by what they are like.
const CATEGORIES_MAX: usize = 1_000;
const LENGTH_MAX: f64 = 64.0;
/// A longer text is no category, in bytes.
const CATEGORY_BYTES_MAX: usize = 256;

/// Takes in the values of a column.
pub struct ColumnProfiler {
    name: String,
    rows: u64,
    missing: u64,
    sample_max: usize,
    random: Random,
    kind: Kind,
}

enum Kind {
    /// There was no value yet.
    Unknown,
    Numbers {
        moments: Moments,
        sample: Vec<f64>,
    },
    Texts {
        lengths: Moments,
        categories: Option<HashMap<String, u64>>,
        sample: Vec<TextFeatures>,
    },
    Vectors {
        sums: Vec<f64>,
        count: u64,
        is_even: bool,
        sample: Vec<Vec<f32>>,
        held: usize,
    },
    Others(String),
}

/// A sequence of numbers that is the same on every machine: splitmix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    /// From 0 to below a bound.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(word ^ (word >> 31)) * u128::from(bound)) >> 64) as u64
    }

    /// Where the `seen`-th value (from 1) goes in a sample of so many, if it does: Vitter's R.
    fn place(&mut self, seen: u64, sample: usize, sample_max: usize) -> Option<usize> {
        if sample < sample_max {
            return Some(sample);
        }
        let place = self.below(seen.max(1)) as usize;
        (place < sample_max).then_some(place)
    }
}

fn put<T>(sample: &mut Vec<T>, place: usize, value: T) {
    match sample.get_mut(place) {
        Some(old) => *old = value,
        None => sample.push(value),
    }
}

impl ColumnProfiler {
    /// Of a column of a file with so many.
    pub fn new(name: &str, columns: usize) -> ColumnProfiler {
        ColumnProfiler {
            name: name.into(),
            rows: 0,
            missing: 0,
            sample_max: SAMPLE_MAX.min(VALUES_MAX / columns.max(1)),
            random: Random(0),
            kind: Kind::Unknown,
        }
    }

    /// A row without a value.
    pub fn add_missing(&mut self) {
        self.rows += 1;
        self.missing += 1;
    }

    /// A number; one that is not finite is missing.
    pub fn add_number(&mut self, number: f64) {
        if !number.is_finite() {
            return self.add_missing();
        }
        self.rows += 1;
        if matches!(self.kind, Kind::Unknown) {
            self.kind = Kind::Numbers { moments: Moments::default(), sample: vec![] };
        }
        let Kind::Numbers { moments, sample } = &mut self.kind else { return };
        moments.add(number);
        let seen = moments.count();
        if let Some(place) = self.random.place(seen, sample.len(), self.sample_max) {
            put(sample, place, number + 0.0);
        }
    }

    /// A text.
    pub fn add_text(&mut self, text: &str) {
        self.rows += 1;
        if matches!(self.kind, Kind::Unknown) {
            let categories = Some(HashMap::new());
            self.kind = Kind::Texts { lengths: Moments::default(), categories, sample: vec![] };
        }
        let Kind::Texts { lengths, categories, sample } = &mut self.kind else { return };
        lengths.add(text.chars().count() as f64);
        if let Some(known) = categories {
            let has_room = known.len() < CATEGORIES_MAX && text.len() <= CATEGORY_BYTES_MAX;
            match known.get_mut(text) {
                Some(count) => *count += 1,
                None if has_room => drop(known.insert(text.into(), 1)),
                None => *categories = None,
            }
        }
        // Features take the room of ten numbers.
        let (seen, sample_max) = (lengths.count(), (self.sample_max / 10).max(1));
        if let Some(place) = self.random.place(seen, sample.len(), sample_max) {
            put(sample, place, text_features(text));
        }
    }

    /// A vector.
    pub fn add_vector(&mut self, values: &[f64]) {
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            return self.add_missing();
        }
        self.rows += 1;
        let values = &values[..values.len().min(ELEMENTS_MAX)];
        if matches!(self.kind, Kind::Unknown) {
            let sums = vec![0.0; values.len()];
            let (sample, is_even) = (vec![], true);
            self.kind = Kind::Vectors { sums, count: 0, is_even, sample, held: 0 };
        }
        let Kind::Vectors { sums, count, is_even, sample, held } = &mut self.kind else { return };
        *count += 1;
        *is_even &= values.len() == sums.len();
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        let sample_max = (2 * self.sample_max / sums.len()).max(100);
        let Some(place) = self.random.place(*count, sample.len(), sample_max) else { return };
        let old = sample.get(place).map_or(0, Vec::len);
        // Vectors of different lengths must not exceed the room either.
        if *held - old + values.len() <= (2 * self.sample_max).max(100 * sums.len()) {
            *held = *held - old + values.len();
            put(sample, place, values.iter().map(|value| *value as f32).collect());
        }
    }

    /// Rows of a type that is not compared.
    pub fn add_others(&mut self, rows: usize, kind: &str) {
        self.rows += rows as u64;
        if matches!(self.kind, Kind::Unknown) {
            self.kind = Kind::Others(kind.into());
        }
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// What is known of it.
    pub fn finish(self) -> ColumnProfile {
        let plain = plain_name(&self.name).to_string();
        let share = self.missing as f64 / self.rows.max(1) as f64;
        let made = Made { column: plain, missing_share: share };
        let (mean, sampled, watched) = match &self.kind {
            Kind::Unknown | Kind::Others(_) => (None, 0, vec![]),
            Kind::Numbers { moments, sample } => {
                let watched =
                    made.numbers(Feature::Value, sample, moments.min().zip(moments.max()));
                (moments.mean(), sample.len(), watched.into_iter().collect())
            }
            Kind::Texts { lengths, categories, sample } => {
                let are_short = lengths.mean().is_some_and(|mean| mean <= LENGTH_MAX);
                match categories {
                    Some(categories) if are_short => {
                        let watched = made.categories(categories, self.missing);
                        (None, self.rows as usize, watched.into_iter().collect())
                    }
                    _ => (lengths.mean(), sample.len(), made.texts(sample, lengths)),
                }
            }
            Kind::Vectors { sums, count, is_even, sample, .. } => {
                let centroid = sums.iter().map(|sum| sum / *count as f64).collect();
                (None, sample.len(), made.vectors(sample, centroid, *is_even))
            }
        };
        let unwatched = match &self.kind {
            _ if !watched.is_empty() => None,
            Kind::Others(kind) => Some(format!("values of type {kind} are not compared")),
            _ => Some("it has no values".into()),
        };
        let (name, missing, sampled) = (self.name, self.missing, sampled as u64);
        ColumnProfile { name, missing, sampled, mean, watched, unwatched }
    }
}

/// What all references of a column have in common.
struct Made {
    column: String,
    missing_share: f64,
}

impl Made {
    fn watched(&self, feature: Feature, reference: Reference, quantiles: Vec<f64>) -> Watched {
        let column = self.column.clone();
        Watched { column, feature, reference, centroid: vec![], quantiles, slice: None }
    }

    fn numbers(
        &self,
        feature: Feature,
        sample: &[f64],
        extremes: Option<(f64, f64)>,
    ) -> Option<Watched> {
        // As many are missing in the sample as in the file.
        let share = self.missing_share.min(0.999_999);
        let missing = (sample.len() as f64 * share / (1.0 - share)).round() as u64;
        let mut reference = Reference::of_numbers(sample, missing)?;
        if let (Some((least, greatest)), Bins::Numeric { min, max, .. }) =
            (extremes, &mut reference.bins)
        {
            (*min, *max) = (min.min(least), max.max(greatest));
        }
        let mut sorted: Vec<f64> =
            sample.iter().copied().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let quantiles = (0..=100).map(|rank| sorted[last * rank / 100]).collect();
        let is_finite = match &reference.bins {
            Bins::Numeric { uppers, .. } => uppers.iter().all(|upper| upper.is_finite()),
            Bins::Categorical { .. } => true,
        };
        is_finite.then(|| self.watched(feature, reference, quantiles))
    }

    fn categories(&self, categories: &HashMap<String, u64>, missing: u64) -> Option<Watched> {
        let counts = categories.iter().map(|(name, count)| (name.as_str(), *count));
        let reference = Reference::of_categories(counts, missing)?;
        Some(self.watched(Feature::Value, reference, vec![]))
    }

    fn texts(&self, sample: &[TextFeatures], lengths: &Moments) -> Vec<Watched> {
        type Part = fn(&TextFeatures) -> f64;
        let parts: [(Feature, Part); 6] = [
            (Feature::Characters, |text| text.characters),
            (Feature::Letters, |text| text.letters),
            (Feature::Capitals, |text| text.capitals),
            (Feature::Digits, |text| text.digits),
            (Feature::Spaces, |text| text.spaces),
            (Feature::Others, |text| text.others),
        ];
        let numbers = parts.into_iter().filter_map(|(feature, part)| {
            let values: Vec<f64> = sample.iter().map(part).collect();
            let of_all = lengths.min().zip(lengths.max());
            let extremes = if feature == Feature::Characters { of_all } else { None };
            self.numbers(feature, &values, extremes)
        });
        let mut watched: Vec<Watched> = numbers.collect();
        let mut scripts: HashMap<String, u64> = HashMap::new();
        sample.iter().for_each(|text| *scripts.entry(text.script.into()).or_default() += 1);
        let script = self.categories(&scripts, 0);
        watched.extend(script.map(|script| Watched { feature: Feature::Script, ..script }));
        watched
    }

    fn vectors(&self, sample: &[Vec<f32>], centroid: Vec<f64>, is_even: bool) -> Vec<Watched> {
        let has_centroid = is_even && centroid.len() <= CENTROID_MAX;
        let centroid = if has_centroid { centroid } else { vec![] };
        let (mut norms, mut cosines) = (vec![], vec![]);
        let mut projections: Vec<Vec<f64>> = vec![vec![]; policy::drift::PROJECTIONS];
        for vector in sample {
            let values: Vec<f64> = vector.iter().map(|value| f64::from(*value)).collect();
            let features = tensor_features(&self.column, &values, &centroid);
            norms.push(features.norm);
            cosines.push(features.cosine);
            for (all, value) in projections.iter_mut().zip(features.projections) {
                all.push(value);
            }
        }
        let mut watched: Vec<Watched> =
            self.numbers(Feature::Norm, &norms, None).into_iter().collect();
        if has_centroid {
            let cosine = self.numbers(Feature::Cosine, &cosines, None);
            watched.extend(cosine.map(|cosine| Watched { centroid, ..cosine }));
        }
        for (which, values) in projections.iter().enumerate() {
            watched.extend(self.numbers(Feature::Projection(which as u8), values, None));
        }
        watched
    }
}
