//! What the values of a version are compared with, if it came with a file.

use axum::Json;
use axum::extract::State;
use control::Control;
use domain::{Code, Digest, EnvironmentName, ModelKey, Placement, Problem, VersionNumber};
use monitor::profile::{PROFILE_BYTES_MAX, PROFILE_FILE, Profile};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::extract::{Name, Path, Query};
use crate::path::ModelPath;
use crate::{Api, ApiError};

/// Rows a minute that are assumed while there are none.
const ROWS_PER_MINUTE: f64 = 60.0;

#[derive(Deserialize, JsonSchema)]
pub struct ReferenceQuery {
    /// As `v3`; what is live in production if unsaid.
    #[schemars(with = "Option<String>")]
    version: Option<Name<VersionNumber>>,
}

/// The file that a version came with.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReferenceView {
    /// As `v3`.
    pub version: String,
    /// The file's name.
    pub file: String,
    /// Of the whole file.
    pub sha256: Digest,
    /// Its size.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// Requests a minute that `finds` is about: those of the last minute, or 60.
    pub rows_per_minute: f64,
    /// Its columns.
    pub columns: Vec<ReferenceColumn>,
    /// Inputs that the file has not.
    pub absent: Vec<String>,
}

/// A column of such a file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReferenceColumn {
    /// As in the file.
    pub name: String,
    /// `input`, `output`, or absent if it is neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is: Option<String>,
    /// Rows without a value.
    pub missing: u64,
    /// Rows that were sampled: all, if they are not too many.
    pub sampled: u64,
    /// Of its numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// Why nothing is compared with it, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwatched: Option<String>,
    /// The smallest shift of its mean that is typically found within a day, in standard deviations;
    /// absent if none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finds_standard_deviations: Option<f64>,
    /// The same as a share of values: which becomes which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finds_shares: Option<(f64, f64)>,
}

/// The profile of a version, if it has one that can be used.
pub async fn profile_of(
    control: &Control,
    model: &ModelKey,
    version: VersionNumber,
) -> Result<Option<Profile>, Problem> {
    let state = control.state();
    let version = state.model(model)?.versions.get(&version).cloned();
    let Some(version) = version else { return Ok(None) };
    let Some(file) = version.pushed.tree.get(PROFILE_FILE).cloned() else { return Ok(None) };
    let unusable = |error: &dyn std::fmt::Display| {
        let text = format!("the reference of {model} {} {error}", version.pushed.version);
        Problem::new(Code::Store, text).help("push the version again")
    };
    if file.size > PROFILE_BYTES_MAX as u64 {
        return Err(unusable(&"is too long"));
    }
    let bytes = control.store().get(&file.digest, PROFILE_BYTES_MAX).await;
    let bytes = bytes.map_err(|error| unusable(&format_args!("cannot be read: {error}")))?;
    Profile::decode(&bytes).map(Some).map_err(|error| unusable(&error))
}

pub async fn show(
    State(api): State<Api>,
    Path(path): Path<ModelPath>,
    Query(query): Query<ReferenceQuery>,
) -> Result<Json<ReferenceView>, ApiError> {
    let (model, environment) = (path.key(), EnvironmentName::default());
    let state = api.control.state();
    let known = state.model(&model)?;
    let wanted = query.version.map(Name::get).transpose()?;
    let live = || known.live.get(&environment).map(|live| live.version);
    let last = || known.versions.keys().next_back().copied();
    let nothing = || {
        Problem::new(Code::NoReference, format!("{model} came without a reference file"))
            .help("name one in decalog.toml: [data] reference = \"train.parquet\"; until then the first day is usual")
    };
    let number = wanted.or_else(live).or_else(last).ok_or_else(nothing)?;
    let version = known.versions.get(&number).ok_or_else(nothing)?;
    let profile = profile_of(&api.control, &model, number).await?.ok_or_else(nothing)?;
    let placement = Placement {
        model,
        environment,
        version: number,
        digest: version.pushed.digest,
        revision: 0,
    };
    let minute = api.monitor.summary(&placement, control::now_ms());
    let rate = minute.map_or(0.0, |minute| minute.requests_per_s * 60.0);
    let rate = if rate > 0.0 { rate } else { ROWS_PER_MINUTE };
    Ok(Json(view(&profile, version.schema.as_ref(), number, rate)))
}

fn view(
    profile: &Profile,
    schema: Option<&domain::Schema>,
    number: VersionNumber,
    rows_per_minute: f64,
) -> ReferenceView {
    let matched = schema.map(|schema| profile.matched(schema)).unwrap_or_default();
    // What is watched together.
    let watched = profile.columns.iter().filter(|column| !column.watched.is_empty()).count();
    let columns = profile.columns.iter().map(|column| {
        let name = column.name.as_str();
        let is = match (matched.inputs.contains(&name), matched.outputs.contains(&name)) {
            (true, _) => Some("input".to_string()),
            (_, true) => Some("output".to_string()),
            _ => None,
        };
        let first = column.watched.first();
        let finds = first.map(|first| first.reference.finds(rows_per_minute, watched));
        let day = finds.and_then(|finds| finds.day);
        ReferenceColumn {
            name: column.name.clone(),
            is,
            missing: column.missing,
            sampled: column.sampled,
            mean: column.mean,
            unwatched: column.unwatched.clone(),
            finds_standard_deviations: day.map(|shift| shift.standard_deviations),
            finds_shares: day.map(|shift| (shift.from_share, shift.to_share)),
        }
    });
    ReferenceView {
        version: number.to_string(),
        file: profile.file.clone(),
        sha256: profile.sha256,
        bytes: profile.bytes,
        rows: profile.rows,
        rows_per_minute,
        columns: columns.collect(),
        absent: matched.absent.clone(),
    }
}
