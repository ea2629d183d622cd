//! Built environments on disk: read-only for workers, whole on disk before they count, and looked
//! at again by every process that uses them. Python keeps compiled modules in folders of their own
//! that stay open for it.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use domain::Digest;
use domain::digest::Hasher;
use serde::{Deserialize, Serialize};

/// Compiled modules: written by Python whenever it likes, and no part of what was installed.
const COMPILED: &str = "__pycache__";
/// Bytes that are read at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// What an environment was when it was finished; kept beside it.
#[derive(Serialize, Deserialize)]
struct Marker {
    /// Of the names, kinds, lengths, modes and times of all files.
    listing: Digest,
    /// Of their content.
    content: Digest,
}

/// The file whose presence tells that an environment was finished.
pub fn marker(environment: &Path) -> PathBuf {
    environment.with_extension("complete")
}

/// Makes an environment read-only, puts it on disk, and marks it as finished.
pub fn finish(environment: &Path) -> io::Result<()> {
    close(environment)?;
    nix::unistd::syncfs(File::open(environment)?)?;
    let files = list(environment)?;
    let marker = Marker { listing: listing(&files), content: content(environment, &files)? };
    write_marker(environment, &marker)
}

fn write_marker(environment: &Path, content: &Marker) -> io::Result<()> {
    let path = marker(environment);
    let temporary = path.with_extension("partial");
    let mut file = File::create(&temporary)?;
    file.write_all(&serde_json::to_vec(content)?)?;
    file.sync_all()?;
    std::fs::rename(&temporary, &path)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

fn read_marker(environment: &Path) -> Option<Marker> {
    serde_json::from_slice(&std::fs::read(marker(environment)).ok()?).ok()
}

/// Whether an environment is finished, and nothing in it was touched since.
pub fn is_sound(environment: &Path) -> bool {
    let Some(marker) = read_marker(environment) else { return false };
    let sound = list(environment).is_ok_and(|files| listing(&files) == marker.listing);
    if !sound {
        tracing::warn!("{} is not as it was installed: it is built again", environment.display());
    }
    sound
}

/// Whether all files of a finished environment hold what they held. One that does not is taken for
/// half built from now on. `None` if it is not finished.
pub fn verify(environment: &Path) -> Option<bool> {
    let marked = read_marker(environment)?;
    let files = list(environment);
    let found = files.and_then(|files| {
        Ok(listing(&files) == marked.listing && content(environment, &files)? == marked.content)
    });
    let sound = found.unwrap_or(false);
    if !sound && let Err(error) = std::fs::remove_file(marker(environment)) {
        tracing::warn!(
            "{} is damaged, but is still taken for finished: {error}",
            environment.display()
        );
    }
    Some(sound)
}

/// Everything in an environment but compiled modules, by its path in it.
fn list(environment: &Path) -> io::Result<BTreeMap<PathBuf, std::fs::Metadata>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(environment.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            // Of the link itself, where it is one.
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                if entry.file_name() == COMPILED {
                    continue;
                }
                folders.push(path.clone());
            }
            files.insert(path, metadata);
        }
    }
    Ok(files)
}

fn listing(files: &BTreeMap<PathBuf, std::fs::Metadata>) -> Digest {
    let mut hasher = Hasher::new();
    for (path, metadata) in files {
        hasher.field(path.as_os_str().as_bytes());
        hasher.field(&metadata.mode().to_le_bytes());
        if metadata.is_file() {
            hasher.field(&metadata.len().to_le_bytes());
            hasher.field(&metadata.mtime().to_le_bytes());
            hasher.field(&metadata.mtime_nsec().to_le_bytes());
        }
    }
    hasher.finish()
}

fn content(environment: &Path, files: &BTreeMap<PathBuf, std::fs::Metadata>) -> io::Result<Digest> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    for (path, metadata) in files.iter().filter(|(_, metadata)| !metadata.is_dir()) {
        let whole = environment.join(path);
        hasher.field(path.as_os_str().as_bytes());
        if metadata.is_symlink() {
            hasher.field(std::fs::read_link(whole)?.as_os_str().as_bytes());
            continue;
        }
        hasher.field(&metadata.len().to_le_bytes());
        let mut file = File::open(whole)?;
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
        }
    }
    Ok(hasher.finish())
}

/// Takes the right to write away from everybody, except where Python keeps compiled modules.
fn close(environment: &Path) -> io::Result<()> {
    for (path, metadata) in list(environment)? {
        let whole = environment.join(&path);
        if metadata.is_file() {
            if path.extension().is_some_and(|extension| extension == "py") {
                let folder = whole.with_file_name(COMPILED);
                if !folder.exists() {
                    std::fs::create_dir(folder)?;
                }
            }
            std::fs::set_permissions(&whole, Permissions::from_mode(metadata.mode() & 0o555))?;
        }
    }
    // Later than the files, so that folders could be made in them.
    for (path, _) in list(environment)?.iter().filter(|(_, metadata)| metadata.is_dir()) {
        std::fs::set_permissions(environment.join(path), Permissions::from_mode(0o555))?;
    }
    std::fs::set_permissions(environment, Permissions::from_mode(0o555))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let environment = directory.path().join("e");
        std::fs::create_dir_all(environment.join("lib/package")).unwrap();
        std::fs::write(environment.join("lib/package/__init__.py"), "x = 1").unwrap();
        std::fs::write(environment.join("lib/library.so"), "machine").unwrap();
        std::os::unix::fs::symlink("/usr/bin/python3", environment.join("python")).unwrap();
        (directory, environment)
    }

    #[test]
    fn whatever_is_done_to_an_environment_is_noticed_but_for_compiled_modules() {
        type Damage = fn(&Path);
        let damages: [Damage; 5] = [
            |environment| {
                std::fs::write(environment.join("lib/package/__init__.py"), "x = 2").unwrap()
            },
            |environment| std::fs::write(environment.join("lib/library.so"), "").unwrap(),
            |environment| std::fs::remove_file(environment.join("lib/library.so")).unwrap(),
            |environment| std::fs::write(environment.join("lib/other.py"), "").unwrap(),
            |environment| std::fs::remove_file(environment.with_extension("complete")).unwrap(),
        ];
        for (number, damage) in damages.iter().enumerate() {
            let (_directory, environment) = environment();
            assert!(!is_sound(&environment));
            finish(&environment).unwrap();
            for (path, metadata) in list(&environment).unwrap() {
                assert!(
                    metadata.is_symlink() || metadata.mode() & 0o222 == 0,
                    "{path:?} can be written to"
                );
            }
            std::fs::write(environment.join("lib/package/__pycache__/x.pyc"), "compiled").unwrap();
            assert!(is_sound(&environment) && verify(&environment) == Some(true));
            for folder in ["lib", "lib/package"] {
                std::fs::set_permissions(environment.join(folder), Permissions::from_mode(0o755))
                    .unwrap();
            }
            for file in ["lib/package/__init__.py", "lib/library.so"] {
                std::fs::set_permissions(environment.join(file), Permissions::from_mode(0o644))
                    .unwrap();
            }
            damage(&environment);
            assert!(!is_sound(&environment), "damage {number}");
        }
    }

    #[test]
    fn verification_reads_what_the_files_hold() {
        let (_directory, environment) = environment();
        finish(&environment).unwrap();
        let library = environment.join("lib/library.so");
        let before = library.metadata().unwrap();
        std::fs::set_permissions(&library, Permissions::from_mode(0o644)).unwrap();
        std::fs::write(&library, "mach1ne").unwrap();
        File::options()
            .write(true)
            .open(&library)
            .unwrap()
            .set_modified(before.modified().unwrap())
            .unwrap();
        std::fs::set_permissions(&library, before.permissions()).unwrap();
        assert!(is_sound(&environment), "its time, length and mode are as before");
        assert_eq!(verify(&environment), Some(false));
        assert!(!is_sound(&environment), "it is built again");
        assert_eq!(verify(&environment), None);
    }
}
