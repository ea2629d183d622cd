//! Where a model directory comes from: what git, the machine, its training data and its
//! `metrics.json` say; and how that is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::PathBuf;

use domain::provenance::{DataKind, DataSet, PERSON_BYTES_MAX, ParentWas, check_metrics};
use domain::{Code, EnvironmentName, Problem, Provenance};
use serde::de::{Deserializer, MapAccess, Visitor};

use crate::directory::{METRICS_FILE, ModelDirectory};
use crate::git::Git;
use crate::hashing::Hashes;
use crate::terminal::{bytes, one_line};
use crate::training::{Training, training};

/// The longest `metrics.json`, in bytes.
const METRICS_BYTES_MAX: u64 = 64 << 10;
/// Metrics and data sets that one line shows.
const SHOWN_MAX: usize = 6;
/// Of a commit, as git shortens it.
const COMMIT_CHARS: usize = 7;

/// Where a directory comes from, and which of its files are not pushed.
pub struct Origin {
    /// For the version.
    pub provenance: Provenance,
    /// Real paths of training data in the directory.
    pub left_out: BTreeSet<PathBuf>,
}

/// Finds out where a directory comes from. Training data are read, unless they are known.
pub fn origin(
    directory: &ModelDirectory,
    environment: &EnvironmentName,
    reference: Option<DataSet>,
) -> Result<Origin, Problem> {
    let metrics = metrics(directory)?;
    let mut hashes = Hashes::open();
    let Training { sets: data, left_out } = training(directory, &mut hashes)?;
    let git = Git(&directory.path);
    let git_commit = git.commit();
    let git_branch = git.branch();
    let git_dirty = git.is_dirty();
    let changed = git_dirty && git_commit.is_some();
    let git_diff = changed.then(|| git.diff(&mut hashes)).flatten();
    hashes.remember();
    let provenance = Provenance {
        author: git.author().unwrap_or_else(user),
        git_remote: git.remote(git_branch.as_deref()),
        git_commit,
        git_dirty,
        git_branch,
        git_diff,
        host: host(),
        environment: Some(environment.clone()),
        parent: None,
        data,
        reference,
        metrics,
    };
    Ok(Origin { provenance, left_out })
}

fn user() -> String {
    let named = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    named.filter(|name| name.len() <= PERSON_BYTES_MAX).unwrap_or_else(|| "root".into())
}

/// The name of this machine.
fn host() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = text.trim();
    (!name.is_empty() && name.len() <= PERSON_BYTES_MAX).then(|| name.to_string())
}

/// What `metrics.json` says.
fn metrics(directory: &ModelDirectory) -> Result<BTreeMap<String, f64>, Problem> {
    let wrong = |wrong: &dyn fmt::Display| {
        Problem::new(Code::BadModel, format!("{METRICS_FILE} {wrong}")).help(
            "it has names and numbers, as in {\"auc\": 0.93}; decalog.log_metrics() writes it",
        )
    };
    let path = directory.path.join(METRICS_FILE);
    match fs::metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Ok(metadata) if metadata.len() > METRICS_BYTES_MAX => {
            return Err(wrong(&format_args!("has more than {METRICS_BYTES_MAX} bytes")));
        }
        _ => {}
    }
    let text = fs::read(&path).map_err(|error| wrong(&format_args!("cannot be read: {error}")))?;
    let metrics = read_metrics(&text)
        .map_err(|error| wrong(&format_args!("cannot be understood: {error}")))?;
    check_metrics(&metrics).map_err(|error| wrong(&format_args!("cannot be kept: {error}")))?;
    Ok(metrics)
}

fn read_metrics(text: &[u8]) -> serde_json::Result<BTreeMap<String, f64>> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let metrics = reader.deserialize_map(Flat)?;
    reader.end()?;
    Ok(metrics)
}

/// An object of numbers. A name that comes twice is refused: which one holds is not clear.
struct Flat;

impl<'de> Visitor<'de> for Flat {
    type Value = BTreeMap<String, f64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of names and numbers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut metrics = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value()?;
            if metrics.insert(name.clone(), value).is_some() {
                let name = domain::problem::excerpt(&name);
                return Err(serde::de::Error::custom(format!("`{name}` is there twice")));
            }
        }
        Ok(metrics)
    }
}

/// What `decalog show` says of where a version comes from: titles and texts.
pub fn lines(provenance: &Provenance) -> Vec<(&'static str, String)> {
    let mut lines = vec![];
    lines.extend(code(provenance).map(|text| ("code", text)));
    let from = match (&provenance.host, &provenance.environment) {
        (Some(host), Some(environment)) => format!("from {} for {environment}", one_line(host)),
        (Some(host), None) => format!("from {}", one_line(host)),
        (None, Some(environment)) => format!("for {environment}"),
        (None, None) => String::new(),
    };
    if !from.is_empty() {
        lines.push(("pushed", format!("{from} by {}", one_line(&provenance.author))));
    }
    lines.extend(provenance.parent.map(|parent| {
        let was = match parent.was {
            ParentWas::Live => "which was live there",
            ParentWas::Newest => "which was the newest",
        };
        ("parent", format!("{}, {was}", parent.version))
    }));
    let shown = provenance.data.iter().take(SHOWN_MAX);
    lines.extend(shown.map(|set| ("data", line_of_data(set))));
    let more = provenance.data.len().saturating_sub(SHOWN_MAX);
    if more > 0 {
        lines.push(("", format!("and {more} more")));
    }
    if !provenance.metrics.is_empty() {
        let shown = provenance.metrics.iter().take(SHOWN_MAX);
        let shown = shown.map(|(name, value)| format!("{} {}", one_line(name), figure(*value)));
        let mut shown: Vec<String> = shown.collect();
        let more = provenance.metrics.len().saturating_sub(SHOWN_MAX);
        shown.extend((more > 0).then(|| format!("and {more} more")));
        lines.push(("metrics", shown.join(", ")));
    }
    lines
}

/// A number with six digits at most; `--json` has all of them.
fn figure(value: f64) -> String {
    if value.fract() == 0.0 {
        return value.to_string();
    }
    let short = format!("{value:.5e}").parse::<f64>();
    short.unwrap_or(value).to_string()
}

/// Data in one line.
pub fn line_of_data(set: &DataSet) -> String {
    let files = match set.kind {
        DataKind::File => String::new(),
        _ => format!(", {} files", set.files),
    };
    let rows = set.rows.map_or(String::new(), |rows| format!(", {rows} rows"));
    let (name, size) = (one_line(&set.name), bytes(set.bytes));
    format!("{name}{files}{rows}, {size}, sha256 {}", set.digest.short())
}

/// Commit, changes, branch and repository, in one line.
pub fn code(provenance: &Provenance) -> Option<String> {
    let commit = provenance.git_commit.as_ref()?;
    let mut text: String = one_line(commit).chars().take(COMMIT_CHARS).collect();
    if let Some(diff) = &provenance.git_diff {
        text += &format!(" with changes {}", diff.short());
    } else if provenance.git_dirty {
        text += " with changes";
    }
    if let Some(branch) = &provenance.git_branch {
        text += &format!(" on {}", one_line(branch));
    }
    if let Some(remote) = &provenance.git_remote {
        text += &format!(", {}", one_line(remote));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_a_flat_object_of_numbers() {
        let read = |text: &str| read_metrics(text.as_bytes());
        let known = read(r#"{"auc": 0.93, "rows": 412300, "loss": 1e-3}"#).unwrap();
        assert_eq!((known["auc"], known["rows"], known["loss"]), (0.93, 412300.0, 0.001));
        for (text, wrong) in [
            ("[1]", "an object of names and numbers"),
            (r#"{"auc": "0.93"}"#, "expected f64"),
            (r#"{"auc": {"test": 0.9}}"#, "expected f64"),
            (r#"{"auc": NaN}"#, "expected"),
            (r#"{"auc": true}"#, "expected f64"),
            (r#"{"auc": 1e999}"#, "out of range"),
            (r#"{"auc": 1, "auc": 2}"#, "`auc` is there twice"),
            (r#"{"auc": 1} {}"#, "trailing"),
            ("", "EOF"),
        ] {
            let refused = read(text).unwrap_err().to_string();
            assert!(refused.contains(wrong), "{text}: {refused}");
        }
    }

    #[test]
    fn figures_are_short() {
        let shown = [1.0 / 7.0, 0.93, 412300.0, 1e-9 / 3.0, -12345.678912].map(figure);
        assert_eq!(shown, ["0.142857", "0.93", "412300", "0.000000000333333", "-12345.7"]);
    }

    #[test]
    fn what_is_known_is_said() {
        let text = r#"{"author":"ann","git_commit":"a91f3c2deadbeef","git_dirty":true,
            "git_diff":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "git_branch":"main","git_remote":"https://git.example.org/churn","host":"desk",
            "environment":"production","parent":{"version":4,"was":"live"},
            "metrics":{"auc":0.93}}"#;
        let known: Provenance = serde_json::from_str(text).unwrap();
        let expected = [
            ("code", "a91f3c2 with changes ba7816bf8f01 on main, https://git.example.org/churn"),
            ("pushed", "from desk for production by ann"),
            ("parent", "v4, which was live there"),
            ("metrics", "auc 0.93"),
        ];
        let found = lines(&known);
        let found: Vec<(&str, &str)> = found.iter().map(|(a, b)| (*a, b.as_str())).collect();
        assert_eq!(found, expected);
        assert!(lines(&Provenance { author: "ann".into(), ..Provenance::default() }).is_empty());
    }
}
