//! A version's file tree: relative paths with digests, in one canonical order.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Hasher};
use crate::problem::excerpt;

/// The most files in one tree.
pub const TREE_FILES_MAX: usize = 20_000;
/// The longest path in a tree, in bytes.
pub const PATH_BYTES_MAX: usize = 1_024;
/// The longest name of one file or folder, in bytes: what all common file systems take.
pub const NAME_BYTES_MAX: usize = 255;
/// The most folders of a path, with its file.
pub const PATH_PARTS_MAX: usize = 64;
/// How much of a path that is refused an error repeats, in characters.
const SHOWN_MAX: usize = 120;

/// One file of a tree.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TreeFile {
    /// Relative, `/`-separated, without `.` or `..`.
    pub path: String,
    /// Of its content.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    /// Whether it may be run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
}

/// A version's files, sorted by path.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Vec<TreeFile>", into = "Vec<TreeFile>")]
pub struct Tree(Vec<TreeFile>);

/// Why a list of files is not a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// Absolute, empty, with `..`, with a NUL, …
    #[error(
        "`{0}` is not a path within a model directory: it must be relative, without `.`, `..`, a backslash or control characters"
    )]
    Path(String),
    /// Over [`PATH_BYTES_MAX`], [`PATH_PARTS_MAX`] or [`NAME_BYTES_MAX`].
    #[error(
        "the path `{0}` is too long: at most 1,024 bytes are allowed, 64 names, and 255 bytes for each of them"
    )]
    TooLong(String),
    /// Twice the same path, or a file where another has a folder.
    #[error("`{0}` is in the tree twice")]
    Twice(String),
    /// Over [`TREE_FILES_MAX`].
    #[error("the tree has {0} files; at most 20,000 are allowed: add a .decalogignore")]
    TooMany(usize),
}

/// Whether a path stays within its tree, and every file system takes it.
pub fn path_is_safe(path: &str) -> bool {
    check_path(path).is_ok()
}

fn check_path(path: &str) -> Result<(), TreeError> {
    let shown = || path.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect();
    let is_deep = path.split('/').count() > PATH_PARTS_MAX;
    if path.len() > PATH_BYTES_MAX
        || is_deep
        || path.split('/').any(|part| part.len() > NAME_BYTES_MAX)
    {
        return Err(TreeError::TooLong(shown()));
    }
    let is_within = !path.is_empty()
        && !path.chars().any(|c| c == '\\' || c.is_control())
        && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    if is_within { Ok(()) } else { Err(TreeError::Path(shown())) }
}

impl Tree {
    /// A tree of these files, in any order.
    pub fn new(mut files: Vec<TreeFile>) -> Result<Tree, TreeError> {
        if files.len() > TREE_FILES_MAX {
            return Err(TreeError::TooMany(files.len()));
        }
        files.iter().try_for_each(|file| check_path(&file.path))?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let paths: std::collections::HashSet<&str> =
            files.iter().map(|file| file.path.as_str()).collect();
        for (index, file) in files.iter().enumerate() {
            let twice = index > 0 && files[index - 1].path == file.path;
            let mut folders = file.path.match_indices('/').map(|(at, _)| &file.path[..at]);
            if twice || folders.any(|folder| paths.contains(folder)) {
                return Err(TreeError::Twice(excerpt(&file.path).into_owned()));
            }
        }
        Ok(Tree(files))
    }

    /// The files, sorted by path.
    pub fn files(&self) -> &[TreeFile] {
        &self.0
    }

    /// The file at this path.
    pub fn get(&self, path: &str) -> Option<&TreeFile> {
        self.0.binary_search_by(|file| file.path.as_str().cmp(path)).ok().map(|at| &self.0[at])
    }

    /// All sizes together, in bytes.
    pub fn size(&self) -> u64 {
        self.0.iter().fold(0, |sum, file| sum.saturating_add(file.size))
    }

    /// Over paths, contents and executable bits.
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        for file in &self.0 {
            hasher.field(file.path.as_bytes());
            hasher.field(&file.digest.0);
            hasher.field(&[file.executable as u8]);
        }
        hasher.finish()
    }
}

impl TryFrom<Vec<TreeFile>> for Tree {
    type Error = TreeError;
    fn try_from(files: Vec<TreeFile>) -> Result<Tree, TreeError> {
        Tree::new(files)
    }
}

impl From<Tree> for Vec<TreeFile> {
    fn from(tree: Tree) -> Vec<TreeFile> {
        tree.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> TreeFile {
        TreeFile {
            path: path.into(),
            digest: Digest::of(path.as_bytes()),
            size: 1,
            executable: false,
        }
    }

    #[test]
    fn refuses_what_leaves_the_tree() {
        let (long, deep) = ("x".repeat(256), ["a"; 65].join("/"));
        for path in
            ["../x", "/etc/passwd", "a/../../b", "a//b", "", "a\\b", "./a", "a/\u{0}", &long, &deep]
        {
            assert!(Tree::new(vec![file(path)]).is_err(), "{path:?}");
        }
        assert!(Tree::new(vec![file("a"), file("a")]).is_err());
        assert!(Tree::new(vec![file("a"), file("a-b"), file("a/b")]).is_err());
    }

    #[test]
    fn refuses_what_no_disk_takes_and_names_it() {
        for path in [
            "x".repeat(256),
            format!("a/{}/b", "y".repeat(300)),
            "d/".repeat(600) + "f",
            "d/".repeat(64) + "f",
        ] {
            let refused = Tree::new(vec![file(&path)]).unwrap_err();
            assert!(
                matches!(&refused, TreeError::TooLong(shown) if path.starts_with(shown)),
                "{refused}"
            );
        }
        let at_the_limit = ("a".repeat(11) + "/").repeat(PATH_PARTS_MAX - 1) + &"x".repeat(255);
        assert!(Tree::new(vec![file(&at_the_limit)]).is_ok());
        let vast = |path: &str| TreeFile { size: u64::MAX, ..file(path) };
        assert_eq!(Tree::new(vec![vast("a"), vast("b")]).unwrap().size(), u64::MAX);
    }

    #[test]
    fn order_does_not_matter() {
        let (one, two) = (vec![file("b"), file("a/c")], vec![file("a/c"), file("b")]);
        assert_eq!(Tree::new(one).unwrap().digest(), Tree::new(two).unwrap().digest());
    }
}
