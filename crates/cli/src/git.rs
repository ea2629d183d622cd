//! What git knows of a model directory. Whatever it does not answer is not known.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use domain::Digest;
use domain::digest::Hasher;
use domain::provenance::{COMMIT_BYTES_MAX, NAME_BYTES_MAX, PERSON_BYTES_MAX, without_credentials};

use crate::hashing::Hashes;

/// Settings under which git answers the same whatever the user configured, …
const CONFIG: &[&str] = &[
    "core.quotePath=true",
    "core.fsmonitor=false",
    "diff.orderFile=/dev/null",
    "diff.suppressBlankEmpty=false",
    "diff.submodule=short",
];
/// … and options under which a diff is the same.
const DIFF: &[&str] = &[
    "diff",
    "HEAD",
    "--binary",
    "--full-index",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--no-renames",
    "--no-relative",
    "--no-indent-heuristic",
    "--diff-algorithm=myers",
    "--unified=3",
    "--inter-hunk-context=0",
    "--src-prefix=a/",
    "--dst-prefix=b/",
    "--ignore-submodules=none",
    "--",
    ".",
];
/// Bytes of a diff that are read at a time.
const BLOCK_BYTES: usize = 64 << 10;

/// A directory, as git sees it.
pub struct Git<'a>(pub &'a Path);

impl Git<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        // It only reads: it takes no lock that somebody else may want.
        command.env("GIT_OPTIONAL_LOCKS", "0").arg("-C").arg(self.0);
        for setting in CONFIG {
            command.args(["-c", setting]);
        }
        command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn bytes(&self, arguments: &[&str]) -> Option<Vec<u8>> {
        let output = self.command(arguments).output().ok()?;
        output.status.success().then_some(output.stdout)
    }

    /// A line of text that is not empty and not too long.
    fn line(&self, arguments: &[&str], bytes_max: usize) -> Option<String> {
        let text = String::from_utf8_lossy(&self.bytes(arguments)?).trim().to_string();
        Some(text).filter(|text| !text.is_empty() && text.len() <= bytes_max)
    }

    /// Who works here.
    pub fn author(&self) -> Option<String> {
        self.line(&["config", "user.name"], PERSON_BYTES_MAX)
    }

    /// The commit that is checked out.
    pub fn commit(&self) -> Option<String> {
        self.line(&["rev-parse", "--verify", "-q", "HEAD"], COMMIT_BYTES_MAX)
    }

    /// The branch that is.
    pub fn branch(&self) -> Option<String> {
        self.line(&["symbolic-ref", "--short", "-q", "HEAD"], PERSON_BYTES_MAX)
    }

    /// Where the branch comes from: its own remote, else `origin`, else the only one.
    pub fn remote(&self, branch: Option<&str>) -> Option<String> {
        let own = branch.and_then(|branch| {
            self.line(&["config", "--get", &format!("branch.{branch}.remote")], PERSON_BYTES_MAX)
        });
        let url = |name: &str| {
            let key = format!("remote.{name}.url");
            self.line(&["config", "--get", &key], NAME_BYTES_MAX)
        };
        let only = || {
            let names = self.line(&["remote"], NAME_BYTES_MAX)?;
            Some(names).filter(|names| !names.contains('\n')).and_then(|name| url(&name))
        };
        let found = own.as_deref().and_then(url).or_else(|| url("origin")).or_else(only)?;
        without_credentials(&found)
    }

    /// Whether the directory differs from its commit.
    pub fn is_dirty(&self) -> bool {
        let changes = self.bytes(&["status", "--porcelain", "--untracked-files=normal", "--", "."]);
        changes.is_some_and(|changes| !changes.is_empty())
    }

    /// Of how the directory differs from its commit: over the digest of the diff, and the names and
    /// digests of the files that git does not know and does not ignore, by name.
    pub fn diff(&self, hashes: &mut Hashes) -> Option<Digest> {
        let mut whole = Hasher::new();
        whole.field(b"decalog diff 1");
        whole.field(&self.known_diff()?.0);
        let others =
            self.bytes(&["ls-files", "--others", "--exclude-standard", "-z", "--", "."])?;
        let mut names: Vec<&[u8]> =
            others.split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
        names.sort_unstable();
        for name in names {
            let path = self.0.join(OsStr::from_bytes(name));
            let digest = match std::fs::read_link(&path) {
                Ok(link) => Digest::of(link.as_os_str().as_bytes()),
                // A repository within this one is named by its directory: git knows no more of it.
                Err(_) if path.is_dir() => Digest::ZERO,
                Err(_) => hashes.file(&path, &mut |_| {}).ok()?.0,
            };
            whole.field(name);
            whole.field(&digest.0);
        }
        Some(whole.finish())
    }

    /// The digest of what `git diff` prints.
    fn known_diff(&self) -> Option<Digest> {
        let mut child = self.command(DIFF).stdout(Stdio::piped()).spawn().ok()?;
        let mut output = child.stdout.take()?;
        let (mut hasher, mut block) = (Hasher::new(), vec![0; BLOCK_BYTES]);
        let is_whole = loop {
            match output.read(&mut block) {
                Ok(0) => break true,
                Ok(count) => hasher.update(&block[..count]),
                Err(_) => break false,
            }
        };
        drop(output);
        let is_done = child.wait().is_ok_and(|status| status.success());
        (is_whole && is_done).then(|| hasher.finish())
    }
}
