//! What differs between two versions: their files, line by line where these are texts, and what
//! their manifests say.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use domain::state::Version;
use domain::{
    Action, Code, Digest, Manifest, ModelName, Object, Problem, ProjectName, Tree, TreeFile,
    VersionNumber,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use similar::TextDiff;

use crate::extract::{By, Name, Path, Query};
use crate::path::{ModelPath, VersionText};
use crate::{Api, ApiError, aside};

/// The longest file that is compared line by line, in bytes.
const FILE_BYTES_MAX: u64 = 256 << 10;
/// Files that are compared line by line.
const FILES_MAX: usize = 50;
/// How long lines of all files are compared, in milliseconds; those of the rest are left out.
const ALL_MS_MAX: u128 = 3_000;
/// How long lines of one file are compared, in milliseconds; then a coarser answer does.
const DIFF_MS_MAX: u64 = 500;
/// Lines of the differences of one file.
const LINES_MAX: usize = 400;
/// Lines around a difference.
const CONTEXT: usize = 3;
/// Files that are listed.
const LISTED_MAX: usize = 1_000;

/// Which versions.
#[derive(Deserialize, JsonSchema)]
pub struct ChangesQuery {
    /// The one before, as `v3`.
    #[schemars(with = "VersionText")]
    from: Name<VersionNumber>,
    /// The one after, as `v4`.
    #[schemars(with = "VersionText")]
    to: Name<VersionNumber>,
}

/// What became of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Only the later one has it.
    Added,
    /// Only the earlier one has it.
    Removed,
    /// Its content is another, or whether it may be run.
    Changed,
}

/// A file that differs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FileChanged {
    /// Its path in the model directory.
    pub path: String,
    /// What became of it.
    pub change: ChangeKind,
    /// Its length before, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_before: Option<u64>,
    /// Its length after, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_after: Option<u64>,
    /// Lines that differ, in the unified format of `diff -u`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<String>,
    /// How many more lines there are than are shown.
    #[serde(default)]
    pub lines_left_out: usize,
    /// Why no lines are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_lines: Option<String>,
}

/// A value of the manifest that differs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ManifestChanged {
    /// As `batch.rows_max`.
    pub key: String,
    /// Before; `null` if it was unsaid.
    pub before: Value,
    /// After.
    pub after: Value,
}

/// What differs between two versions.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ChangesView {
    /// The model's project.
    pub project: ProjectName,
    /// The model.
    pub model: ModelName,
    /// The one before, as `v3`.
    pub from: String,
    /// The one after.
    pub to: String,
    /// Files that differ, by path; the first 1,000.
    pub files: Vec<FileChanged>,
    /// How many files differ.
    pub files_changed: usize,
    /// Files that are the same.
    pub files_same: usize,
    /// What the manifests say, where they do not say the same.
    pub manifest: Vec<ManifestChanged>,
}

/// What differs between two versions. Lines of files are for whoever could push other ones.
pub async fn between(
    State(api): State<Api>,
    Path(path): Path<ModelPath>,
    Query(query): Query<ChangesQuery>,
    By(caller): By,
) -> Result<Json<ChangesView>, ApiError> {
    let (key, from, to) = (path.key(), query.from.get()?, query.to.get()?);
    let state = api.control.state();
    let model = state.model(&key)?;
    let version = |number: VersionNumber| {
        let gone = || {
            let text = format!("`{}` has no version {number}, or not any more", key.model);
            Problem::new(Code::NoSuchVersion, text)
        };
        model.versions.get(&number).cloned().ok_or_else(gone)
    };
    let (before, after) = (version(from)?, version(to)?);
    let may_read = api.control.permit(&caller, Action::Push, &Object::Model(key.clone())).is_ok();
    let changed = changed(&before.pushed.tree, &after.pushed.tree);
    let files_same = after.pushed.tree.files().len()
        - changed.iter().filter(|(_, after)| after.is_some()).count();
    let (files_changed, mut files, begin) = (changed.len(), vec![], Instant::now());
    for (place, (before, after)) in changed.into_iter().take(LISTED_MAX).enumerate() {
        let why = match () {
            () if !may_read => Some("whoever may push to the model sees them".to_string()),
            () if place >= FILES_MAX => Some(format!("{FILES_MAX} files are compared")),
            () if begin.elapsed().as_millis() > ALL_MS_MAX => {
                Some("comparing those before it took too long".into())
            }
            () => None,
        };
        let lines = match why {
            Some(why) => Err(why),
            None => lines(&api, before, after).await?,
        };
        files.push(told(before, after, lines));
    }
    Ok(Json(ChangesView {
        project: key.project,
        model: key.model,
        from: from.to_string(),
        to: to.to_string(),
        files,
        files_changed,
        files_same,
        manifest: manifest(&before, &after),
    }))
}

/// A file before and after.
type Pair<'t> = (Option<&'t TreeFile>, Option<&'t TreeFile>);

/// The files that differ, by path.
fn changed<'t>(before: &'t Tree, after: &'t Tree) -> Vec<Pair<'t>> {
    let mut pairs: BTreeMap<&str, Pair<'t>> = BTreeMap::new();
    for file in before.files() {
        pairs.entry(&file.path).or_default().0 = Some(file);
    }
    for file in after.files() {
        pairs.entry(&file.path).or_default().1 = Some(file);
    }
    let mut pairs: Vec<Pair<'t>> = pairs.into_values().collect();
    pairs.retain(|(before, after)| before != after);
    pairs
}

fn told(
    before: Option<&TreeFile>,
    after: Option<&TreeFile>,
    lines: Result<(String, usize), String>,
) -> FileChanged {
    let path = before.or(after).map(|file| file.path.clone()).unwrap_or_default();
    let change = match (before, after) {
        (None, _) => ChangeKind::Added,
        (_, None) => ChangeKind::Removed,
        _ => ChangeKind::Changed,
    };
    let (lines, lines_left_out, no_lines) = match lines {
        Ok((lines, left_out)) => (Some(lines), left_out, None),
        Err(why) => (None, 0, Some(why)),
    };
    FileChanged {
        path,
        change,
        bytes_before: before.map(|file| file.size),
        bytes_after: after.map(|file| file.size),
        lines,
        lines_left_out,
        no_lines,
    }
}

/// The lines that differ, and how many more there are; or why none are shown.
async fn lines(
    api: &Api,
    before: Option<&TreeFile>,
    after: Option<&TreeFile>,
) -> Result<Result<(String, usize), String>, ApiError> {
    if [before, after].into_iter().flatten().any(|file| file.size > FILE_BYTES_MAX) {
        return Ok(Err(format!("it is longer than {} KiB", FILE_BYTES_MAX >> 10)));
    }
    let (old, new) = match (text(api, before).await, text(api, after).await) {
        (Ok(Some(old)), Ok(Some(new))) => (old, new),
        (Err(problem), _) | (_, Err(problem)) => return Ok(Err(problem.message)),
        _ => return Ok(Err("it is no text".into())),
    };
    if old == new {
        return Ok(Err("it may be run, or not any more".into()));
    }
    let path = before.or(after).map(|file| file.path.clone()).unwrap_or_default();
    let names = [(before, 'a'), (after, 'b')].map(|(file, side)| match file {
        Some(_) => format!("{side}/{path}"),
        None => "/dev/null".into(),
    });
    let diff = aside(move || {
        let limit = Duration::from_millis(DIFF_MS_MAX);
        let diff = TextDiff::configure().timeout(limit).diff_lines(&old, &new);
        let mut unified = diff.unified_diff();
        unified.context_radius(CONTEXT).header(&names[0], &names[1]).to_string()
    });
    let diff = diff.await?;
    let all = diff.lines().count();
    let shown: Vec<&str> = diff.lines().take(LINES_MAX).collect();
    Ok(Ok((shown.join("\n"), all.saturating_sub(LINES_MAX))))
}

/// The text of a file, empty of one that is not there; `None` if it is no text.
async fn text(api: &Api, file: Option<&TreeFile>) -> Result<Option<String>, Problem> {
    let Some(TreeFile { digest, .. }) = file else { return Ok(Some(String::new())) };
    let digest: &Digest = digest;
    let bytes = api.control.store().get(digest, FILE_BYTES_MAX as usize).await;
    let bytes = bytes.map_err(artifacts::ArtifactError::problem)?;
    let text = String::from_utf8(bytes.to_vec()).ok();
    Ok(text.filter(|text| !text.contains('\0')))
}

/// What manifests say, value by value.
fn manifest(before: &Version, after: &Version) -> Vec<ManifestChanged> {
    let values = |manifest: &Manifest| {
        let mut values = BTreeMap::new();
        flatten(String::new(), serde_json::to_value(manifest).unwrap_or_default(), &mut values);
        values
    };
    let (before, after) = (values(&before.pushed.manifest), values(&after.pushed.manifest));
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
    keys.sort();
    keys.dedup();
    let of = |values: &BTreeMap<String, Value>, key: &String| {
        values.get(key).cloned().unwrap_or(Value::Null)
    };
    let changed = keys.into_iter().map(|key| ManifestChanged {
        key: key.clone(),
        before: of(&before, key),
        after: of(&after, key),
    });
    changed.filter(|changed| changed.before != changed.after).collect()
}

/// Values by the names that lead to them; a list is one.
fn flatten(name: String, value: Value, values: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let name = if name.is_empty() { key } else { format!("{name}.{key}") };
                flatten(name, value, values);
            }
        }
        value => {
            values.insert(name, value);
        }
    }
}
