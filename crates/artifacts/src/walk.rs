//! Reads a model directory on the user's machine: which files belong to it, and their digests.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use domain::manifest::MANIFEST_FILE;
use domain::trust::SIGNATURE_FILE;
use domain::{Digest, Tree, TreeFile};

use crate::ArtifactError;
use crate::ignored::{Ignored, LeftOut, Verdict};
use crate::verify::digest_of;

/// How deep folders may be nested.
const DEPTH_MAX: usize = 32;

/// A model directory that was read.
pub struct Walked {
    /// Its files.
    pub tree: Tree,
    /// Where each digest's content lies.
    pub paths: HashMap<Digest, PathBuf>,
    /// What was left out without the user having said so, in order.
    pub left_out: Vec<LeftOut>,
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
    let ignored = Ignored::of(&root)?;
    walk_with(root, Some(ignored), left_out, digest_of)
}

/// The same of a directory that is about to be signed: what is pushed once it is, without the
/// signature that it may have already.
pub fn walk_to_sign(
    directory: &Path,
    left_out: BTreeSet<PathBuf>,
) -> Result<Walked, ArtifactError> {
    let root = directory.canonicalize()?;
    let ignored = Ignored::with_manifest(&root, true)?;
    let mut passed_over = left_out;
    passed_over.extend(root.join(SIGNATURE_FILE).canonicalize());
    walk_with(root, Some(ignored), passed_over, digest_of)
}

/// What tells whether a file of the model directory, or its manifest, has changed since: their paths,
/// and of each what the file system says. Nothing is read.
pub fn stamp(directory: &Path, left_out: BTreeSet<PathBuf>) -> Result<Digest, ArtifactError> {
    let root = directory.canonicalize()?;
    let ignored = Ignored::of(&root)?;
    let manifest = stamp_of(&root.join(MANIFEST_FILE)).map(|(stamp, _)| stamp);
    let walked = walk_with(root, Some(ignored), left_out, stamp_of)?;
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
    ignored: Option<Ignored>,
    passed_over: BTreeSet<PathBuf>,
    digest: DigestOf,
) -> Result<Walked, ArtifactError> {
    let (files, paths, left_out) = (vec![], HashMap::new(), vec![]);
    let mut walker = Walker { ignored, passed_over, digest, root, files, paths, left_out };
    let root = walker.root.clone();
    walker.folder(&root, "", 0)?;
    walker.left_out.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Walked { tree: Tree::new(walker.files)?, paths: walker.paths, left_out: walker.left_out })
}

/// What stands for the content of a file; and its size, in bytes.
type DigestOf = fn(&Path) -> std::io::Result<(Digest, u64)>;

struct Walker {
    root: PathBuf,
    /// What does not belong to the model; everything does if there is none.
    ignored: Option<Ignored>,
    /// Real paths of files that are passed over, wherever they are.
    passed_over: BTreeSet<PathBuf>,
    digest: DigestOf,
    files: Vec<TreeFile>,
    paths: HashMap<Digest, PathBuf>,
    left_out: Vec<LeftOut>,
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
            let real = entry.path().canonicalize();
            if self.is_passed_over(&path, real.as_deref().unwrap_or(&entry.path())) {
                continue;
            }
            let real = match real {
                Ok(real) => real,
                Err(_) if entry.file_type()?.is_symlink() => {
                    return refuse(
                        &path,
                        "it links to nothing: remove it, or list it in .decalogignore",
                    );
                }
                Err(error) => return Err(error.into()),
            };
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

    /// Whether a path does not belong to the model; takes note of what is to be said.
    fn is_passed_over(&mut self, path: &str, real: &Path) -> bool {
        let Some(ignored) = &self.ignored else { return false };
        match ignored.verdict(path, real, real.is_dir()) {
            Verdict::Ignored => true,
            Verdict::Kept => self.passed_over.contains(real),
            Verdict::LeftOut(why) => {
                self.left_out.push(LeftOut { path: path.into(), why });
                true
            }
        }
    }
}
