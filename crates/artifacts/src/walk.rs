//! Reads a model directory on the user's machine: which files belong to it, and their digests.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use domain::manifest::MANIFEST_FILE;
use domain::{Digest, Tree, TreeFile};

use crate::ArtifactError;
use crate::verify::digest_of;

/// Names what does not belong to the model, one pattern a line, as in a .gitignore.
pub const IGNORE_FILE: &str = ".decalogignore";
/// What never belongs to a model.
const IGNORED: &[&str] = &[
    ".git",
    ".hg",
    ".svn",
    "__pycache__",
    ".venv",
    "venv",
    "node_modules",
    ".ipynb_checkpoints",
    ".DS_Store",
    "*.pyc",
    ".decalogignore",
];
/// How deep folders may be nested.
const DEPTH_MAX: usize = 32;

/// A model directory that was read.
pub struct Walked {
    /// Its files.
    pub tree: Tree,
    /// Where each digest's content lies.
    pub paths: HashMap<Digest, PathBuf>,
}

/// Reads all files below `directory` that belong to a model. Links within it are followed; one that
/// leaves it is refused.
pub fn walk(directory: &Path) -> Result<Walked, ArtifactError> {
    walk_without(directory, BTreeSet::new())
}

/// The same without some files, which are not even read: `left_out` has their real paths. Links to
/// them are left out, too.
pub fn walk_without(
    directory: &Path,
    left_out: BTreeSet<PathBuf>,
) -> Result<Walked, ArtifactError> {
    let root = directory.canonicalize()?;
    let patterns = patterns(&root)?;
    walk_with(root, Some(patterns), left_out, digest_of)
}

/// What tells whether a file of the model directory, or its manifest, has changed since: their paths,
/// and of each what the file system says. Nothing is read.
pub fn stamp(directory: &Path, left_out: BTreeSet<PathBuf>) -> Result<Digest, ArtifactError> {
    let root = directory.canonicalize()?;
    let patterns = patterns(&root)?;
    let manifest = stamp_of(&root.join(MANIFEST_FILE)).map(|(stamp, _)| stamp);
    let walked = walk_with(root, Some(patterns), left_out, stamp_of)?;
    let manifest = manifest.unwrap_or_else(|_| Digest::of(&[]));
    Ok(Digest::of(&[walked.tree.digest().0, manifest.0].concat()))
}

fn stamp_of(path: &Path) -> std::io::Result<(Digest, u64)> {
    let of = std::fs::metadata(path)?;
    let said = [
        of.ino(),
        of.size(),
        of.mtime() as u64,
        of.mtime_nsec() as u64,
        of.ctime() as u64,
        of.ctime_nsec() as u64,
    ];
    Ok((Digest::of(&said.map(u64::to_le_bytes).concat()), of.size()))
}

/// Reads all files below `directory`, whatever they are called.
pub(crate) fn walk_all(directory: &Path) -> Result<Walked, ArtifactError> {
    walk_with(directory.canonicalize()?, None, BTreeSet::new(), digest_of)
}

fn walk_with(
    root: PathBuf,
    patterns: Option<Vec<String>>,
    left_out: BTreeSet<PathBuf>,
    digest: DigestOf,
) -> Result<Walked, ArtifactError> {
    let (files, paths) = (vec![], HashMap::new());
    let mut walker = Walker { patterns, left_out, digest, root, files, paths };
    let root = walker.root.clone();
    walker.folder(&root, "", 0)?;
    Ok(Walked { tree: Tree::new(walker.files)?, paths: walker.paths })
}

fn patterns(root: &Path) -> Result<Vec<String>, ArtifactError> {
    let mut patterns: Vec<String> = IGNORED.iter().map(|pattern| pattern.to_string()).collect();
    match std::fs::read_to_string(root.join(IGNORE_FILE)) {
        Ok(text) => {
            let lines = text
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty() && !line.starts_with('#'));
            patterns.extend(lines.map(|line| line.trim_end_matches('/').to_string()));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    Ok(patterns)
}

/// What stands for the content of a file; and its size, in bytes.
type DigestOf = fn(&Path) -> std::io::Result<(Digest, u64)>;

struct Walker {
    root: PathBuf,
    /// What is left out, beside the manifest; nothing is if there are none.
    patterns: Option<Vec<String>>,
    /// Real paths of files that are left out, wherever they are.
    left_out: BTreeSet<PathBuf>,
    digest: DigestOf,
    files: Vec<TreeFile>,
    paths: HashMap<Digest, PathBuf>,
}

impl Walker {
    fn folder(&mut self, folder: &Path, prefix: &str, depth: usize) -> Result<(), ArtifactError> {
        let refuse = |path: &str, problem: &str| {
            Err(ArtifactError::Path { path: path.into(), problem: problem.into() })
        };
        if depth > DEPTH_MAX {
            return refuse(
                prefix,
                "folders are nested too deeply (or in a circle of links); at most 32 levels are allowed",
            );
        }
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().map(String::from) else {
                return refuse(
                    &entry.path().to_string_lossy(),
                    "the name is not UTF-8: rename it, or list it in .decalogignore",
                );
            };
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
            if self.is_ignored(&name, &path) {
                continue;
            }
            let real = match entry.path().canonicalize() {
                Ok(real) => real,
                Err(_) if entry.file_type()?.is_symlink() => {
                    return refuse(
                        &path,
                        "it links to nothing: remove it, or list it in .decalogignore",
                    );
                }
                Err(error) => return Err(error.into()),
            };
            if self.left_out.contains(&real) {
                continue;
            }
            if !real.starts_with(&self.root) {
                return refuse(
                    &path,
                    "it links to outside the model directory: copy the file there, or list it in .decalogignore",
                );
            }
            let metadata = std::fs::metadata(&real)?;
            if metadata.is_dir() {
                self.folder(&real, &path, depth + 1)?;
            } else if metadata.is_file() {
                let (digest, size) = (self.digest)(&real)?;
                let executable = metadata.permissions().mode() & 0o111 != 0;
                self.files.push(TreeFile { path, digest, size, executable });
                self.paths.insert(digest, real);
            } else {
                return refuse(
                    &path,
                    "it is neither a file nor a folder: remove it, or list it in .decalogignore",
                );
            }
        }
        Ok(())
    }

    fn is_ignored(&self, name: &str, path: &str) -> bool {
        let Some(patterns) = &self.patterns else { return false };
        let ignores = |pattern: &String| match pattern.strip_prefix('/') {
            Some(pattern) => glob(pattern, path),
            None if pattern.contains('/') => glob(pattern, path),
            None => glob(pattern, name),
        };
        path == MANIFEST_FILE || patterns.iter().any(ignores)
    }
}

/// `*` stands for any characters but a slash.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            let end = rest.find('/').unwrap_or(rest.len());
            (0..=end).filter(|at| rest.is_char_boundary(*at)).any(|at| glob(after, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, text, expected) in [
            ("*.pyc", "a.pyc", true),
            ("*.pyc", "a.py", false),
            ("data/*", "data/x", true),
            ("data/*", "data/x/y", false),
            ("a*c*", "abcd", true),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }
}
