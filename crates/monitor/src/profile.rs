//! The profile of a file of training data: what a version's values are compared with. It is made
//! where the file lies and goes into the version, as [`PROFILE_FILE`]; the file itself does not.

mod column;
mod exact;

use domain::{Digest, Schema};
use serde::{Deserialize, Serialize};

use crate::drift::{Baseline, Feature, Watched};
pub use column::{ColumnProfiler, VALUES_MAX};
pub use domain::manifest::PROFILE_FILE;

/// The longest profile, in bytes.
pub const PROFILE_BYTES_MAX: usize = 16 << 20;
/// Columns of a profile.
pub const PROFILE_COLUMNS_MAX: usize = 512;
/// What is watched of one column at most.
const WATCHED_MAX: usize = 16;
/// The longest name of a column or file, in bytes.
const NAME_BYTES_MAX: usize = 1_024;
/// Bins of one reference at most.
const BINS_MAX: usize = 64;
/// Of the whole form.
const VERSION: u32 = 2;

/// What is known of a file of training data.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Of this form.
    pub version: u32,
    /// The file's name, without its folder.
    pub file: String,
    /// Of the whole file.
    pub sha256: Digest,
    /// Its size.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// By column, in the order of the file.
    pub columns: Vec<ColumnProfile>,
}

/// What is known of one of its columns.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnProfile {
    /// As in the file.
    pub name: String,
    /// Rows without a value, or with a number that is not finite.
    pub missing: u64,
    /// Rows that the references are of: all, or a sample.
    pub sampled: u64,
    /// Of the numbers, of all rows; `None` if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// What values are compared with: themselves, or numbers that stand for texts and vectors.
    pub watched: Vec<Watched>,
    /// Why nothing is, if nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwatched: Option<String>,
}

impl ColumnProfile {
    /// The name without `in.` or `out.`, as records have it.
    pub fn plain_name(&self) -> &str {
        plain_name(&self.name)
    }
}

/// A name without `in.` or `out.`.
pub fn plain_name(name: &str) -> &str {
    name.strip_prefix("in.").or_else(|| name.strip_prefix("out.")).unwrap_or(name)
}

/// Why bytes are no profile.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProfileError {
    /// Made by a newer Decalog.
    #[error("has the version {0}, and this Decalog reads up to {VERSION}: use the newer one")]
    Version(u32),
    /// Over [`PROFILE_BYTES_MAX`].
    #[error("has {0} bytes; at most 16 MiB are read: name a file with fewer columns")]
    TooLong(usize),
    /// Not JSON of this form, or with values that no file has.
    #[error("is no profile: {0}")]
    Form(String),
}

/// Where the columns of a profile belong.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Matched<'p> {
    /// Those that are inputs.
    pub inputs: Vec<&'p str>,
    /// Those that are outputs.
    pub outputs: Vec<&'p str>,
    /// Those that are neither.
    pub unused: Vec<&'p str>,
    /// Inputs that the file has not.
    pub absent: Vec<String>,
}

impl Profile {
    /// An empty one of a file, to which columns are added.
    pub fn of_file(file: &str, sha256: Digest, bytes: u64) -> Profile {
        Profile { version: VERSION, file: file.into(), sha256, bytes, ..Profile::default() }
    }

    /// As the bytes of [`PROFILE_FILE`]. Where they would be too many, it is forgotten which
    /// categories occurred, so that none is called unseen.
    pub fn encode(&mut self) -> Result<Vec<u8>, ProfileError> {
        let bytes = self.to_bytes()?;
        if bytes.len() <= PROFILE_BYTES_MAX {
            return Ok(bytes);
        }
        let watched = self.columns.iter_mut().flat_map(|column| &mut column.watched);
        watched.for_each(|watched| {
            if let policy::drift::Bins::Categorical { seen, .. } = &mut watched.reference.bins {
                seen.clear();
            }
        });
        let bytes = self.to_bytes()?;
        if bytes.len() > PROFILE_BYTES_MAX {
            return Err(ProfileError::TooLong(bytes.len()));
        }
        Ok(bytes)
    }

    fn to_bytes(&self) -> Result<Vec<u8>, ProfileError> {
        serde_json::to_vec(self).map_err(|error| ProfileError::Form(error.to_string()))
    }

    /// From the bytes of [`PROFILE_FILE`], which anybody may have written.
    pub fn decode(bytes: &[u8]) -> Result<Profile, ProfileError> {
        if bytes.len() > PROFILE_BYTES_MAX {
            return Err(ProfileError::TooLong(bytes.len()));
        }
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let form = |error: serde_json::Error| ProfileError::Form(error.to_string());
        let Versioned { version } = serde_json::from_slice(bytes).map_err(form)?;
        if version > VERSION {
            return Err(ProfileError::Version(version));
        }
        let profile: Profile = match version {
            ..2 => {
                let mut value = serde_json::from_slice(bytes).map_err(form)?;
                exact::unmark_profile(&mut value);
                serde_json::from_value(value).map_err(form)?
            }
            _ => serde_json::from_slice(bytes).map_err(form)?,
        };
        profile.check().map_err(ProfileError::Form)?;
        Ok(profile)
    }

    fn check(&self) -> Result<(), String> {
        let is_name = |name: &str| name.len() <= NAME_BYTES_MAX;
        if self.columns.len() > PROFILE_COLUMNS_MAX || !is_name(&self.file) {
            return Err("it has too many columns, or too long a name".into());
        }
        for column in &self.columns {
            let is_sound = is_name(&column.name)
                && column.missing <= self.rows
                && column.sampled <= self.rows
                && column.watched.len() <= WATCHED_MAX
                && column.mean.is_none_or(f64::is_finite)
                && column.watched.iter().all(is_sound);
            if !is_sound {
                let name: String = column.name.chars().take(80).collect();
                return Err(format!("the numbers of column `{name}` cannot be true"));
            }
        }
        Ok(())
    }

    /// Which columns belong where. Where a file has `in.x` or `out.x`, that is the input or output,
    /// and not `x`.
    pub fn matched(&self, schema: &Schema) -> Matched<'_> {
        let has = |name: &str| self.columns.iter().any(|column| column.name == name);
        let is_in = |name: &str| schema.inputs.iter().any(|column| column.name == name);
        let is_out = |name: &str| schema.outputs.iter().any(|column| column.name == name);
        let mut matched = Matched::default();
        for ColumnProfile { name, .. } in &self.columns {
            let input = match name.strip_prefix("in.") {
                Some(plain) if is_in(plain) => true,
                _ => is_in(name) && !has(&format!("in.{name}")),
            };
            let output = match name.strip_prefix("out.") {
                Some(plain) if is_out(plain) => true,
                _ => is_out(name) && !has(&format!("out.{name}")),
            };
            let place = match (input, output) {
                (true, _) => &mut matched.inputs,
                (false, true) => &mut matched.outputs,
                (false, false) => &mut matched.unused,
            };
            place.push(name.as_str());
        }
        let is_there = |wanted: &&domain::schema::Column| {
            matched
                .inputs
                .iter()
                .any(|name| *name == wanted.name || plain_name(name) == wanted.name)
        };
        let absent = schema.inputs.iter().filter(|wanted| !is_there(wanted));
        matched.absent = absent.map(|wanted| wanted.name.clone()).collect();
        matched
    }

    /// What detectors compare a version's values with.
    pub fn baseline(&self, schema: &Schema) -> Baseline {
        let matched = self.matched(schema);
        let of = |names: &[&str], known: &[domain::schema::Column]| -> Vec<Watched> {
            let columns =
                self.columns.iter().filter(|column| names.contains(&column.name.as_str()));
            let named = columns.flat_map(|column| {
                let whole = known.iter().find(|known| known.name == column.name);
                let plain = || known.iter().find(|known| known.name == column.plain_name());
                let known = whole.or_else(plain);
                let fitting = column.watched.iter().filter_map(move |watched| {
                    known.filter(|known| fits(watched, known)).map(|known| (known, watched))
                });
                fitting.map(|(known, watched)| Watched {
                    column: known.name.clone(),
                    ..watched.clone()
                })
            });
            named.collect()
        };
        Baseline {
            file: self.file.clone(),
            inputs: of(&matched.inputs, &schema.inputs),
            outputs: of(&matched.outputs, &schema.outputs),
        }
    }
}

/// Whether values of a column can be compared with this: numbers with numbers, vectors with vectors.
fn fits(watched: &Watched, column: &domain::schema::Column) -> bool {
    use domain::Datatype::{Bytes, Json, Timestamp};
    let is_of_vectors =
        matches!(watched.feature, Feature::Norm | Feature::Cosine | Feature::Projection(_));
    let is_scalar = column.shape.as_deref().is_none_or(<[i64]>::is_empty);
    let is_of_texts = matches!(column.datatype, Bytes | Json | Timestamp);
    match watched.feature {
        _ if is_of_vectors => column.shape.is_none() || !is_scalar,
        // A text that is read as a number is compared as one.
        Feature::Value => is_scalar && (watched.is_numeric() || is_of_texts),
        _ => is_scalar && is_of_texts,
    }
}

/// Whether a reference is one that values can make.
fn is_sound(watched: &Watched) -> bool {
    use policy::drift::Bins;
    let reference = &watched.reference;
    let is_share = |share: &f64| (0.0..=1.0 + 1e-9).contains(share);
    let ascend = |values: &[f64]| {
        values.iter().all(|value| value.is_finite())
            && values.windows(2).all(|two| two[0] <= two[1])
    };
    let bins = match &reference.bins {
        Bins::Numeric { uppers, min, max, values } => {
            let is_sound = ascend(uppers) && ascend(values) && ascend(&[*min, *max]);
            is_sound.then_some(uppers.len() + 1)
        }
        Bins::Categorical { top, .. } => {
            let are_named =
                top.iter().all(|category| category.hash == policy::drift::hash_of(&category.name));
            are_named.then_some(top.len() + 1)
        }
    };
    reference.rows > 0
        && is_share(&reference.missing_share)
        && reference.shares.len() <= BINS_MAX
        && bins == Some(reference.shares.len())
        && reference.shares.iter().all(is_share)
        && (reference.shares.iter().sum::<f64>() - 1.0).abs() < 1e-6
        && ascend(&watched.quantiles)
        && watched.quantiles.len() <= 1_001
        && watched.centroid.iter().all(|value| value.is_finite())
        && watched.centroid.len() <= column::CENTROID_MAX
}

#[cfg(test)]
mod tests;
