//! Where a version comes from: who pushed it from where, which code and which data it was made of,
//! and how good it was there. The machine that pushes says most of it; what the server can know
//! itself, it says itself.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{EnvironmentName, VersionNumber};
use crate::problem::excerpt;

/// The longest name of an author, a branch or a host, in bytes.
pub const PERSON_BYTES_MAX: usize = 256;
/// The longest commit, in bytes.
pub const COMMIT_BYTES_MAX: usize = 128;
/// The longest address of a repository, and the longest name of data, in bytes.
pub const NAME_BYTES_MAX: usize = 1_024;
/// The most data sets of one version.
pub const DATA_SETS_MAX: usize = 64;
/// The most metrics of one version.
pub const METRICS_MAX: usize = 256;
/// The longest name of a metric, in bytes.
pub const METRIC_BYTES_MAX: usize = 128;

/// Who made a version from what.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Provenance {
    /// From `git config`, else the login name.
    pub author: String,
    /// The commit of the directory, if it is in a git work tree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_commit: Option<String>,
    /// Whether the directory differs from that commit.
    pub git_dirty: bool,
    /// The branch that was checked out; absent where none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_branch: Option<String>,
    /// Where the repository comes from, without whatever could be a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_remote: Option<String>,
    /// Of how the directory differs from that commit, files that git does not know among it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_diff: Option<Digest>,
    /// The name of the machine that it was pushed from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The environment that it was pushed for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    /// The version that it came after. The server says so, whatever is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// What it was trained with, as far as that was named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<DataSet>,
    /// What its later values are compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<DataSet>,
    /// How good it was, by its `metrics.json`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
}

/// The version that another one came after. Nobody says that it was made from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Parent {
    /// Its number.
    pub version: VersionNumber,
    /// Why it is this one.
    pub was: ParentWas,
}

/// Why a version is another one's parent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParentWas {
    /// It was live in the environment that the other one was pushed for.
    Live,
    /// Nothing was live there: it was the newest version.
    Newest,
}

/// Data that a version was trained with: named, not kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DataSet {
    /// As it was named.
    pub name: String,
    /// What the name stands for.
    pub kind: DataKind,
    /// Of the file's content; of several files, over their names and digests.
    pub digest: Digest,
    /// Of all files together.
    pub bytes: u64,
    /// How many there are.
    pub files: u64,
    /// Its rows, where they were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
}

/// What the name of data stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DataKind {
    /// One file.
    File,
    /// All files below a directory.
    Directory,
    /// All files that a pattern fits.
    Pattern,
}

impl Provenance {
    /// Refuses what is longer or more than the ledger takes, with what is wrong.
    pub fn check(&self) -> Result<(), String> {
        let texts = [
            ("author", Some(&self.author), PERSON_BYTES_MAX),
            ("git_commit", self.git_commit.as_ref(), COMMIT_BYTES_MAX),
            ("git_branch", self.git_branch.as_ref(), PERSON_BYTES_MAX),
            ("git_remote", self.git_remote.as_ref(), NAME_BYTES_MAX),
            ("host", self.host.as_ref(), PERSON_BYTES_MAX),
        ];
        for (name, text, bytes_max) in texts {
            if text.is_some_and(|text| text.len() > bytes_max) {
                return Err(format!("provenance.{name} has more than {bytes_max} bytes"));
            }
        }
        if self.data.len() > DATA_SETS_MAX {
            return Err(format!("there are more than {DATA_SETS_MAX} data sets"));
        }
        let is_bad = |set: &&DataSet| set.name.is_empty() || set.name.len() > NAME_BYTES_MAX;
        if let Some(set) = self.data.iter().chain(&self.reference).find(is_bad) {
            let name = excerpt(&set.name);
            return Err(format!("`{name}` names no data: it takes 1 to {NAME_BYTES_MAX} bytes"));
        }
        check_metrics(&self.metrics)
    }

    /// This, without what could be a password, and with the parent that the server knows.
    pub fn settled(mut self, parent: Option<Parent>) -> Provenance {
        self.git_remote = self.git_remote.as_deref().and_then(without_credentials);
        self.parent = parent;
        self
    }
}

/// Refuses metrics that the ledger does not take, with what is wrong.
pub fn check_metrics(metrics: &BTreeMap<String, f64>) -> Result<(), String> {
    if metrics.len() > METRICS_MAX {
        return Err(format!("there are more than {METRICS_MAX} metrics"));
    }
    for (name, value) in metrics {
        if name.is_empty() || name.len() > METRIC_BYTES_MAX {
            let name = excerpt(name);
            return Err(format!(
                "`{name}` names no metric: it takes 1 to {METRIC_BYTES_MAX} bytes"
            ));
        }
        if !value.is_finite() {
            return Err(format!("the metric `{}` is no number", excerpt(name)));
        }
    }
    Ok(())
}

/// The address of a repository without user names, passwords, queries and fragments; of `ssh`, the
/// user name stays, which is no secret there. `None` if it cannot be told what is what.
pub fn without_credentials(remote: &str) -> Option<String> {
    let remote = remote.trim();
    // What calls a helper of git's own may carry anything.
    let has_helper = remote.split("://").next().is_some_and(|begin| begin.contains("::"));
    if remote.is_empty() || has_helper || remote.chars().any(char::is_control) {
        return None;
    }
    let Some((scheme, rest)) = remote.split_once("://") else {
        return without_password(remote);
    };
    let is_scheme = scheme.bytes().all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(&c));
    if scheme.is_empty() || !is_scheme {
        return None;
    }
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    // A password with a slash in it would begin the path: then the host has no port but a word.
    let after_host = match host.rsplit_once(']') {
        Some((_, after)) => after,
        None => &host[host.find(':').unwrap_or(host.len())..],
    };
    let is_port = |text: &str| text.len() <= 5 && text.bytes().all(|c| c.is_ascii_digit());
    if !after_host.is_empty() && !after_host.strip_prefix(':').is_some_and(is_port) {
        return None;
    }
    let is_ssh = ["ssh", "git+ssh", "ssh+git"].contains(&scheme.to_ascii_lowercase().as_str());
    let user = user.split(':').next().unwrap_or_default();
    let user = if is_ssh && !user.is_empty() { format!("{user}@") } else { String::new() };
    Some(format!("{scheme}://{user}{host}{path}"))
}

/// `user@host:path`, as `scp` has it, or a path.
fn without_password(remote: &str) -> Option<String> {
    let before_path = remote.split('/').next().unwrap_or_default();
    match before_path.split_once('@') {
        // `user:password@host:path` is not what git takes, and not what is kept.
        Some((user, host)) if user.contains(':') || host.contains('@') => None,
        _ => Some(remote.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_a_password_is_not_kept() {
        for (remote, kept) in [
            ("https://github.com/a/b.git", Some("https://github.com/a/b.git")),
            ("https://ann:s3cret@github.com/a/b.git", Some("https://github.com/a/b.git")),
            ("https://ghp_token@github.com/a/b", Some("https://github.com/a/b")),
            ("HTTPS://a:b@c:8443/d", Some("HTTPS://c:8443/d")),
            ("https://ann:p@ss@host/a", Some("https://host/a")),
            ("https://ann:pa/ss@host/a", None),
            ("https://host/a?private_token=x#y", Some("https://host/a")),
            ("https://host/@scope/a", Some("https://host/@scope/a")),
            ("http://u:p@[::1]:80/a", Some("http://[::1]:80/a")),
            ("http://u:p@[2001:db8:0:1:2:3:4:5]:80/a", Some("http://[2001:db8:0:1:2:3:4:5]:80/a")),
            ("ssh://git:pw@host:22/a", Some("ssh://git@host:22/a")),
            ("git@github.com:a/b.git", Some("git@github.com:a/b.git")),
            ("ann:pw@host:a/b", None),
            ("ext::sh -c 'echo secret'", None),
            ("/srv/git/a.git", Some("/srv/git/a.git")),
            ("../other", Some("../other")),
            ("https://host\n/a", None),
            ("://x", None),
            ("", None),
        ] {
            assert_eq!(without_credentials(remote).as_deref(), kept, "{remote}");
            if let Some(kept) = kept {
                assert_eq!(without_credentials(kept).as_deref(), Some(kept), "once more: {remote}");
            }
        }
    }

    #[test]
    fn what_is_absent_is_not_written_and_what_is_long_is_refused() {
        let old = r#"{"author":"ann","git_commit":"a91f3c2","git_dirty":false}"#;
        let read: Provenance = serde_json::from_str(old).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), old);
        assert!(read.check().is_ok());
        let long = Provenance { host: Some("h".repeat(257)), ..read.clone() };
        assert_eq!(long.check().unwrap_err(), "provenance.host has more than 256 bytes");
        let set = |name: &str| DataSet {
            name: name.into(),
            kind: DataKind::File,
            digest: Digest::ZERO,
            bytes: 1,
            files: 1,
            rows: None,
        };
        let unnamed = Provenance { data: vec![set("a"), set("")], ..read.clone() };
        assert!(unnamed.check().unwrap_err().contains("names no data"));
        let many = Provenance { data: vec![set("a"); 65], ..read.clone() };
        assert_eq!(many.check().unwrap_err(), "there are more than 64 data sets");
        let nothing = Provenance { metrics: [("auc".into(), f64::NAN)].into(), ..read };
        assert_eq!(nothing.check().unwrap_err(), "the metric `auc` is no number");
    }

    #[test]
    fn the_server_says_which_the_parent_is() {
        let claimed = Parent { version: VersionNumber(9), was: ParentWas::Live };
        let sent = Provenance {
            parent: Some(claimed),
            git_remote: Some("https://ann:pw@host/a".into()),
            ..Provenance::default()
        };
        let known = Parent { version: VersionNumber(2), was: ParentWas::Newest };
        let settled = sent.settled(Some(known));
        assert_eq!(settled.parent, Some(known));
        assert_eq!(settled.git_remote.as_deref(), Some("https://host/a"));
    }
}
