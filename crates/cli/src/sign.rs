//! `decalog sign`: signs what a push of the directory would send, and writes `model.sig`.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use domain::trust::SIGNATURE_FILE;
use domain::{Code, Problem, Tree};
use serde_json::json;
use signing::{PrivateKey, SigningError};

use crate::Failure;
use crate::args::SignOptions;
use crate::directory::ModelDirectory;
use crate::terminal::{one_line, print_json};
use crate::{profiling, training};

/// The most paths that a signature says are left out.
const LEFT_OUT_MAX: usize = 10_000;

fn bad(message: String, help: &str) -> Problem {
    Problem::new(Code::BadTree, message).help(help)
}

/// Runs the verb.
pub fn run(options: &SignOptions, as_json: bool) -> Result<(), Failure> {
    let text = crate::trust::text_of(&options.key)?;
    let key = PrivateKey::from_pem(&text).map_err(SigningError::problem)?;
    let directory = ModelDirectory::read(&options.path)?;
    let mut passed_over = training::kept_here(&directory)?;
    passed_over.extend(profiling::kept_here(&directory));
    let walked = artifacts::walk_to_sign(&directory.path, passed_over)
        .map_err(|error| Problem::new(Code::BadTree, error.to_string()))?;
    let left_out = left_out(&directory.path, &walked.tree)?;
    let name = directory.path.file_name().unwrap_or_default().to_string_lossy();
    let signature =
        signing::sign(&key, &name, &walked.tree, &left_out.into_iter().collect::<Vec<_>>())
            .map_err(SigningError::problem)?;
    let path = directory.path.join(SIGNATURE_FILE);
    write(&path, &signature).map_err(|error| {
        bad(format!("{} cannot be written: {error}", path.display()), "make the directory writable")
    })?;
    let (files, id) = (walked.tree.files().len(), key.public().id());
    if as_json {
        print_json(&json!({
            "signature": path,
            "files": files,
            "key": id,
            "curve": key.public().curve(),
        }));
        return Ok(());
    }
    let files = if files == 1 { "1 file".into() } else { format!("{files} files") };
    let path = path.display().to_string();
    eprintln!(
        "{}: {files}, signed by the key {} ({})",
        one_line(&path),
        id.short(),
        key.public().curve()
    );
    Ok(())
}

/// All at once or not at all: half a signature would make the directory one that cannot be pushed.
fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
    file.write_all(content)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    file.persist(path)?;
    Ok(())
}

/// What lies in a directory and is not in its tree: the topmost paths of it. Tools that check the
/// signature would take it for files that somebody added.
fn left_out(root: &Path, tree: &Tree) -> Result<BTreeSet<String>, Problem> {
    let files: HashSet<&str> = tree.files().iter().map(|file| file.path.as_str()).collect();
    let mut folders = HashSet::new();
    for file in tree.files() {
        folders.extend(file.path.match_indices('/').map(|(at, _)| &file.path[..at]));
    }
    let (mut found, mut open) = (BTreeSet::new(), vec![PathBuf::new()]);
    let unreadable = |error: std::io::Error| {
        bad(format!("the directory cannot be read: {error}"), "make it readable")
    };
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(root.join(&folder)).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let path = folder.join(entry.file_name());
            // What is no text is refused where the tree is read.
            let Some(text) = path.to_str().map(String::from) else { continue };
            let kind = entry.file_type().map_err(unreadable)?;
            match (files.contains(text.as_str()), folders.contains(text.as_str())) {
                (true, _) => {}
                (_, true) if kind.is_symlink() => {
                    let text = format!(
                        "{} is a link to a folder, which tools do not follow",
                        one_line(&text)
                    );
                    return Err(bad(text, "copy the folder there, or list it in .decalogignore"));
                }
                (_, true) => open.push(path),
                _ if text == SIGNATURE_FILE => {}
                _ => drop(found.insert(text)),
            }
            if found.len() > LEFT_OUT_MAX {
                let text =
                    format!("more than {LEFT_OUT_MAX} files of it do not belong to the model");
                return Err(bad(text, "move them to a folder of their own"));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_pushed_is_told_by_its_topmost_paths() {
        let root = tempfile::tempdir().unwrap();
        for path in
            ["model.py", "venv/bin/x", "a/b.txt", "a/c/__pycache__/y.pyc", "model.sig", ".env"]
        {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let walked = artifacts::walk_to_sign(root.path(), BTreeSet::new()).unwrap();
        let paths: Vec<&str> = walked.tree.files().iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["a/b.txt", "model.py"]);
        let left_out = left_out(root.path(), &walked.tree).unwrap();
        assert_eq!(left_out.into_iter().collect::<Vec<_>>(), [".env", "a/c", "venv"]);
        write(&root.path().join(SIGNATURE_FILE), b"{}").unwrap();
        assert_eq!(fs::read(root.path().join(SIGNATURE_FILE)).unwrap(), b"{}");
    }
}
