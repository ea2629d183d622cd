//! The data that a model was trained with: found by their names, and known by their digests. They
//! stay where they are.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::Instant;

use domain::digest::Hasher;
use domain::manifest::{MANIFEST_FILE, check_name};
use domain::provenance::{DATA_SETS_MAX, DataKind, DataSet};
use domain::trust::SIGNATURE_FILE;
use domain::{Code, Problem};
use serde::Deserialize;

use crate::directory::{METRICS_FILE, ModelDirectory};
use crate::following::{Progress, step};
use crate::hashing::{HashError, Hashes};
use crate::terminal::{bytes, one_line};

/// What `decalog.log_data` of the Python package writes: names, as `[data] train` has them.
pub const NAMED_FILE: &str = "training-data.json";
/// The longest such file, in bytes.
const NAMED_BYTES_MAX: u64 = 256 << 10;
/// The most files of one data set.
const FILES_MAX: usize = 100_000;
/// How deep directories may be nested.
const DEPTH_MAX: usize = 32;
/// Data sets that are printed.
const SHOWN_MAX: usize = 4;

/// Data that were named.
#[derive(Default)]
pub struct Training {
    /// What they are, in the order of their names.
    pub sets: Vec<DataSet>,
    /// Real paths of their files in the model directory, which are not pushed.
    pub left_out: BTreeSet<PathBuf>,
}

/// What a name stands for.
struct Found {
    name: String,
    kind: DataKind,
    /// By their names within it, in order.
    files: Vec<(OsString, PathBuf)>,
    bytes: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    train: Vec<String>,
}

fn bad(message: String, help: &str) -> Problem {
    Problem::new(Code::BadModel, message).help(help)
}

/// The names of training data: of the manifest, then of [`NAMED_FILE`].
pub fn names(directory: &ModelDirectory) -> Result<Vec<String>, Problem> {
    let mut names = directory.manifest.data.train.0.clone();
    let path = directory.path.join(NAMED_FILE);
    let unreadable = |wrong: String| {
        let help = "decalog.log_data() writes it: {\"train\": [\"train.parquet\"]}";
        bad(format!("{NAMED_FILE} {wrong}"), help)
    };
    let text = match fs::metadata(&path) {
        Ok(metadata) if metadata.len() > NAMED_BYTES_MAX => {
            return Err(unreadable(format!("has more than {NAMED_BYTES_MAX} bytes")));
        }
        Ok(_) => fs::read(&path).map_err(|error| unreadable(format!("cannot be read: {error}")))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(names),
        Err(error) => return Err(unreadable(format!("cannot be read: {error}"))),
    };
    let named: Named = serde_json::from_slice(&text)
        .map_err(|error| unreadable(format!("cannot be understood: {error}")))?;
    for name in named.train {
        check_name(&name).map_err(|wrong| unreadable(format!("{wrong}.")))?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.len() > DATA_SETS_MAX {
        let text = format!("more than {DATA_SETS_MAX} data sets are named");
        return Err(bad(text, "name directories or patterns"));
    }
    Ok(names)
}

/// Finds the data without reading them: real paths of those in the model directory, which are not
/// pushed.
pub fn kept_here(directory: &ModelDirectory) -> Result<BTreeSet<PathBuf>, Problem> {
    let names = names(directory)?.into_iter();
    let found: Vec<Found> =
        names.map(|name| find(&directory.path, name)).collect::<Result<_, _>>()?;
    left_out(directory, &found)
}

/// Finds the data and computes their digests, with what is known of them.
pub fn training(directory: &ModelDirectory, hashes: &mut Hashes) -> Result<Training, Problem> {
    let names = names(directory)?;
    if names.is_empty() {
        return Ok(Training::default());
    }
    let found: Vec<Found> =
        names.into_iter().map(|name| find(&directory.path, name)).collect::<Result<_, _>>()?;
    let left_out = left_out(directory, &found)?;
    let mut progress = Progress::new("data", found.iter().map(|found| found.bytes).sum());
    let mut sets = vec![];
    for found in found {
        let begin = Instant::now();
        let set = digest(&found, hashes, &mut progress)?;
        if sets.len() < SHOWN_MAX {
            progress.pause(|| tell(&set, begin.elapsed().as_millis() as u64));
        }
        sets.push(set);
    }
    progress.end();
    if sets.len() > SHOWN_MAX {
        step("", &format!("and {} more", sets.len() - SHOWN_MAX), None);
    }
    if !left_out.is_empty() {
        let text = match left_out.len() {
            1 => "1 file stays here; [data] push = true sends it".to_string(),
            count => format!("{count} files stay here; [data] push = true sends them"),
        };
        step("", &text, None);
    }
    Ok(Training { sets, left_out })
}

fn tell(set: &DataSet, elapsed_ms: u64) {
    let files = match set.kind {
        DataKind::File => String::new(),
        _ if set.files == 1 => ", 1 file".into(),
        _ => format!(", {} files", set.files),
    };
    let digest = set.digest.short();
    let text = format!("{}{files}, {}, sha256 {digest}", one_line(&set.name), bytes(set.bytes));
    step("data", &text, Some(elapsed_ms));
}

fn find(directory: &Path, name: String) -> Result<Found, Problem> {
    let path = directory.join(&name);
    let shown = one_line(&name).into_owned();
    let help = "correct [data] train: it is relative to the model directory";
    let unreadable = |error: std::io::Error| {
        bad(format!("the training data `{shown}` cannot be read: {error}"), help)
    };
    let mut walk = Walk { files: vec![], bytes: 0, above: vec![] };
    let kind = match fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => {
            walk.add(OsString::from(&name), path, metadata.len());
            DataKind::File
        }
        Ok(metadata) if metadata.is_dir() => {
            walk.directory(&path, OsStr::new("")).map_err(unreadable)?;
            DataKind::Directory
        }
        Ok(_) => return Err(bad(format!("the training data `{shown}` are no file"), help)),
        Err(error) if !name.contains(['*', '?', '[']) => return Err(unreadable(error)),
        Err(_) => {
            matching(directory, &name, &mut walk)
                .map_err(|wrong| bad(format!("the training data `{shown}` {wrong}"), help))?;
            DataKind::Pattern
        }
    };
    let Walk { mut files, bytes, .. } = walk;
    if files.is_empty() {
        return Err(bad(format!("the training data `{shown}` are no files at all"), help));
    }
    if files.len() > FILES_MAX {
        let text = format!("the training data `{shown}` are more than {FILES_MAX} files");
        return Err(bad(text, "name an archive of them, or a part"));
    }
    files.sort();
    Ok(Found { name, kind, files, bytes })
}

/// Adds the files that a pattern fits. Their names begin below the directories without wildcards.
fn matching(directory: &Path, name: &str, walk: &mut Walk) -> Result<(), String> {
    let is_wild = |part: &&str| part.contains(['*', '?', '[']);
    let fixed: Vec<&str> = name.split('/').take_while(|part| !is_wild(part)).collect();
    let base = match fixed.join("/") {
        text if text.is_empty() && name.starts_with('/') => PathBuf::from("/"),
        text if text.is_empty() => directory.to_path_buf(),
        text => directory.join(text),
    };
    // Without `..`: what is found begins with it.
    let base = base.canonicalize().map_err(|error| format!("cannot be read: {error}"))?;
    let wild: Vec<&str> = name.split('/').skip(fixed.len()).collect();
    let base_text = base.to_str().ok_or("are in a directory whose name is not UTF-8")?;
    let base_text = glob::Pattern::escape(base_text.trim_end_matches('/'));
    let pattern = format!("{base_text}/{}", wild.join("/"));
    let options = glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: false,
    };
    let paths =
        glob::glob_with(&pattern, options).map_err(|error| format!("are no pattern: {error}"))?;
    for path in paths {
        let path = path.map_err(|error| format!("cannot be read: {error}"))?;
        let metadata = fs::metadata(&path).map_err(|error| {
            format!("cannot be read: {}: {error}", one_line(&path.to_string_lossy()))
        })?;
        if metadata.is_file() {
            let own = path.strip_prefix(&base).unwrap_or(&path);
            walk.add(own.as_os_str().into(), path.clone(), metadata.len());
        }
        if walk.files.len() > FILES_MAX {
            break;
        }
    }
    Ok(())
}

struct Walk {
    files: Vec<(OsString, PathBuf)>,
    bytes: u64,
    /// Device and inode of the directories above.
    above: Vec<(u64, u64)>,
}

impl Walk {
    fn add(&mut self, name: OsString, path: PathBuf, bytes: u64) {
        self.files.push((name, path));
        self.bytes += bytes;
    }

    fn directory(&mut self, path: &Path, prefix: &OsStr) -> std::io::Result<()> {
        let metadata = fs::metadata(path)?;
        let own = (metadata.dev(), metadata.ino());
        if self.above.contains(&own) || self.above.len() == DEPTH_MAX {
            let text = format!("its directories are nested more than {DEPTH_MAX} deep");
            return Err(std::io::Error::other(text));
        }
        self.above.push(own);
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let mut name = prefix.to_os_string();
            if !name.is_empty() {
                name.push("/");
            }
            name.push(entry.file_name());
            let metadata = fs::metadata(entry.path())?;
            if metadata.is_dir() {
                self.directory(&entry.path(), &name)?;
            } else if metadata.is_file() {
                self.add(name, entry.path(), metadata.len());
            } else {
                let text = format!("{} is no file", one_line(&entry.path().to_string_lossy()));
                return Err(std::io::Error::other(text));
            }
            if self.files.len() > FILES_MAX {
                break;
            }
        }
        self.above.pop();
        Ok(())
    }
}

fn digest(found: &Found, hashes: &mut Hashes, progress: &mut Progress) -> Result<DataSet, Problem> {
    let mut all = Hasher::new();
    all.field(b"decalog files 1");
    let (mut bytes, mut last) = (0, None);
    for (name, path) in &found.files {
        let hashed = hashes.file(path, &mut |done| progress.add(done));
        let (digest, size) = hashed.map_err(|error| {
            let help = match error {
                HashError::Changed => "deploy again when nobody writes it",
                _ => "correct [data] train, or the rights of the file",
            };
            let shown = path.to_string_lossy();
            bad(format!("the training data {} {error}", one_line(&shown)), help)
        })?;
        all.field(name.as_bytes());
        all.field(&digest.0);
        bytes += size;
        last = Some(digest);
    }
    // The digest of one file is what `sha256sum` says of it.
    let digest = match found.kind {
        DataKind::File => last.unwrap_or_default(),
        DataKind::Directory | DataKind::Pattern => all.finish(),
    };
    let files = found.files.len() as u64;
    Ok(DataSet { name: found.name.clone(), kind: found.kind, digest, bytes, files, rows: None })
}

/// The files that are in the model directory and stay here; refused, if the model is among them.
fn left_out(directory: &ModelDirectory, found: &[Found]) -> Result<BTreeSet<PathBuf>, Problem> {
    if directory.manifest.data.push {
        return Ok(BTreeSet::new());
    }
    let own = [
        MANIFEST_FILE,
        METRICS_FILE,
        NAMED_FILE,
        SIGNATURE_FILE,
        "requirements.txt",
        "pyproject.toml",
    ];
    let own: BTreeSet<&str> = own.into_iter().chain(directory.file.as_deref()).collect();
    let mut left_out = BTreeSet::new();
    for found in found {
        for (_, path) in &found.files {
            let Ok(real) = path.canonicalize() else { continue };
            // A link in the directory to data elsewhere is left out, too.
            let Ok(inner) = real.strip_prefix(&directory.path) else {
                let leaves = path.components().any(|part| part == Component::ParentDir);
                let is_link = !leaves && path.starts_with(&directory.path);
                left_out.extend(is_link.then_some(real));
                continue;
            };
            if inner.to_str().is_some_and(|inner| own.contains(inner)) {
                let text = format!(
                    "the training data `{}` contain {}, which belongs to the model",
                    one_line(&found.name),
                    inner.display()
                );
                return Err(bad(text, "name the data alone, or write [data] push = true"));
            }
            left_out.insert(real);
        }
    }
    Ok(left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(directory: &Path, name: &str) -> DataSet {
        let found = find(directory, name.into()).unwrap();
        let mut hashes = Hashes::open();
        digest(&found, &mut hashes, &mut Progress::new("data", found.bytes)).unwrap()
    }

    #[test]
    fn a_directory_and_a_pattern_of_the_same_files_are_the_same_data() {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data/b");
        fs::create_dir_all(&data).unwrap();
        fs::write(home.path().join("data/a.csv"), "1").unwrap();
        fs::write(data.join("c.csv"), "22").unwrap();
        let one = set(home.path(), "data/a.csv");
        let sha256 = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b";
        assert_eq!((one.digest.to_string().as_str(), one.files, one.bytes), (sha256, 1, 1));
        let whole = set(home.path(), "data");
        assert_eq!((whole.kind, whole.files, whole.bytes), (DataKind::Directory, 2, 3));
        let pattern = set(home.path(), "data/**/*.csv");
        assert_eq!((pattern.kind, pattern.digest), (DataKind::Pattern, whole.digest));
        assert_eq!(set(home.path(), "data/[a-b].csv").files, 1);
        // A name says something, too: where files swap their contents, the data differ.
        fs::write(home.path().join("data/a.csv"), "22").unwrap();
        fs::write(data.join("c.csv"), "1").unwrap();
        assert_ne!(set(home.path(), "data").digest, whole.digest);
    }

    #[test]
    fn what_is_no_data_is_refused() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("empty")).unwrap();
        let refused = |name: &str| find(home.path(), name.into()).err().unwrap().message;
        assert!(refused("none.csv").contains("cannot be read"));
        assert!(refused("empty").contains("no files at all"));
        assert!(refused("*.csv").contains("no files at all"));
        assert!(refused("a[.csv").contains("are no pattern"));
        let circle = home.path().join("circle");
        fs::create_dir(&circle).unwrap();
        std::os::unix::fs::symlink(&circle, circle.join("again")).unwrap();
        assert!(refused("circle").contains("nested more than"));
    }
}
