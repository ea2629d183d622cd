//! Numbers that stand for what has no bins: texts and tensors. Each is watched as an own column.

use super::reference::hash_of;

/// Fixed projections of a tensor.
pub const PROJECTIONS: usize = 8;
/// So much of a text is looked at, in characters; its length counts in full up to
/// [`LENGTH_MAX`].
pub const TEXT_CHARS_MAX: usize = 4_096;
/// Longer texts count as this long, in characters.
pub const LENGTH_MAX: usize = 1_000_000;

/// What a text is like. Shares are of the characters that were looked at.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TextFeatures {
    /// Its length in characters.
    pub characters: f64,
    /// The share of letters.
    pub letters: f64,
    /// The share of capital letters.
    pub capitals: f64,
    /// The share of digits.
    pub digits: f64,
    /// The share of white space.
    pub spaces: f64,
    /// The share of what is none of these: punctuation, symbols, controls.
    pub others: f64,
    /// The script of most letters, as a category: `latin`, `cyrillic`, …, `none`.
    pub script: &'static str,
}

/// What a text is like.
pub fn text_features(text: &str) -> TextFeatures {
    let (mut letters, mut capitals, mut digits, mut spaces) = (0u32, 0u32, 0u32, 0u32);
    let mut looked = 0u32;
    let mut scripts = [0u32; SCRIPTS.len() + 1];
    for character in text.chars().take(TEXT_CHARS_MAX) {
        looked += 1;
        if character.is_alphabetic() {
            letters += 1;
            capitals += u32::from(character.is_uppercase());
            scripts[script_of(character)] += 1;
        } else if character.is_numeric() {
            digits += 1;
        } else if character.is_whitespace() {
            spaces += 1;
        }
    }
    let share = |count: u32| f64::from(count) / f64::from(looked.max(1));
    let most = (0..scripts.len()).rev().max_by_key(|script| scripts[*script]).unwrap_or(0);
    let script = match (letters, SCRIPTS.get(most)) {
        (0, _) => "none",
        (_, Some((name, _))) => name,
        (_, None) => "other",
    };
    TextFeatures {
        characters: text.chars().take(LENGTH_MAX).count() as f64,
        letters: share(letters),
        capitals: share(capitals),
        digits: share(digits),
        spaces: share(spaces),
        others: share(looked - letters - digits - spaces),
        script,
    }
}

/// Scripts by their main blocks in Unicode; enough to see that another one came.
const SCRIPTS: [(&str, &[(u32, u32)]); 11] = [
    ("latin", &[(0x41, 0x24f), (0x1e00, 0x1eff)]),
    ("greek", &[(0x370, 0x3ff), (0x1f00, 0x1fff)]),
    ("cyrillic", &[(0x400, 0x52f)]),
    ("hebrew", &[(0x590, 0x5ff)]),
    ("arabic", &[(0x600, 0x6ff), (0x750, 0x77f), (0x8a0, 0x8ff)]),
    ("devanagari", &[(0x900, 0x97f)]),
    ("thai", &[(0xe00, 0xe7f)]),
    ("hangul", &[(0x1100, 0x11ff), (0xac00, 0xd7af)]),
    ("kana", &[(0x3040, 0x30ff)]),
    ("han", &[(0x3400, 0x4dbf), (0x4e00, 0x9fff), (0x20000, 0x3134f)]),
    ("ethiopic", &[(0x1200, 0x139f)]),
];

fn script_of(letter: char) -> usize {
    let code = u32::from(letter);
    let is_in = |blocks: &[(u32, u32)]| blocks.iter().any(|(a, b)| (*a..=*b).contains(&code));
    SCRIPTS.iter().position(|(_, blocks)| is_in(blocks)).unwrap_or(SCRIPTS.len())
}

/// What a tensor of one row is like.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TensorFeatures {
    /// Its Euclidean length.
    pub norm: f64,
    /// The cosine of its angle to the centroid of the reference; NaN, which counts as missing, if
    /// there is none of this size or one of the two is zero.
    pub cosine: f64,
    /// Sums over its values with fixed random signs, divided by the square root of their number.
    pub projections: [f64; PROJECTIONS],
}

/// What a tensor is like. The signs depend on the column's name and on the place of a value alone
/// (Achlioptas 2003), so that they are the same on every machine and for ever.
pub fn tensor_features(column: &str, values: &[f64], centroid: &[f64]) -> TensorFeatures {
    let seed = hash_of(column);
    let mut projections = [0.0; PROJECTIONS];
    let mut squares = 0.0;
    for (place, value) in values.iter().enumerate() {
        squares += value * value;
        let signs = mixed(seed.wrapping_add(place as u64));
        for (bit, projection) in projections.iter_mut().enumerate() {
            *projection += if signs >> bit & 1 == 0 { *value } else { -value };
        }
    }
    let scale = (values.len().max(1) as f64).sqrt();
    let norm = squares.sqrt();
    TensorFeatures {
        norm,
        cosine: cosine(values, norm, centroid),
        projections: projections.map(|projection| projection / scale),
    }
}

fn cosine(values: &[f64], norm: f64, centroid: &[f64]) -> f64 {
    let length = centroid.iter().map(|value| value * value).sum::<f64>().sqrt();
    if values.len() != centroid.len() || norm == 0.0 || length == 0.0 {
        return f64::NAN;
    }
    let product: f64 = values.iter().zip(centroid).map(|(a, b)| a * b).sum();
    (product / norm / length).clamp(-1.0, 1.0)
}

/// The finaliser of splitmix64 (Steele, Lea, Flood 2014).
fn mixed(seed: u64) -> u64 {
    let mut word = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
