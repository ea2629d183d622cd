//! Compares a tree that was laid out with what it should be: by metadata alone where nothing was
//! touched, by hashing what has lost its seal. What does not belong there is removed.

use std::collections::BTreeSet;
use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use domain::{Tree, TreeFile};

use crate::remove_tree;
use crate::seal::{EXECUTABLE_MODE, FOLDER_MODE, PLAIN_MODE, hash, is_sealed, seal};

/// What a look at a tree found.
pub(crate) enum Found {
    /// No directory.
    Nothing,
    /// All as it should be.
    Sound,
    /// These files are lost or damaged.
    Damaged(Vec<TreeFile>),
}

/// Looks at a tree that may be laid out in `directory`.
pub(crate) fn inspect(tree: &Tree, directory: &Path) -> io::Result<Found> {
    match directory.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => {
            std::fs::remove_file(directory)?;
            return Ok(Found::Nothing);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    }
    let mut look =
        Look { tree, directory, folders: folders(tree), sound: BTreeSet::new(), foreign: vec![] };
    let mut is_closed = true;
    for folder in look.folders.clone() {
        is_closed &= look.folder(&folder)?;
    }
    for path in &look.foreign {
        remove(path)?;
    }
    let lost: Vec<TreeFile> = tree
        .files()
        .iter()
        .filter(|file| !look.sound.contains(file.path.as_str()))
        .cloned()
        .collect();
    let is_sound = lost.is_empty() && is_closed && look.foreign.is_empty();
    Ok(if is_sound { Found::Sound } else { Found::Damaged(lost) })
}

struct Look<'a> {
    tree: &'a Tree,
    directory: &'a Path,
    folders: BTreeSet<PathBuf>,
    sound: BTreeSet<&'a str>,
    foreign: Vec<PathBuf>,
}

impl<'a> Look<'a> {
    /// Looks at what lies directly in a folder. Gives whether nobody may write into it.
    fn folder(&mut self, relative: &Path) -> io::Result<bool> {
        let folder = self.directory.join(relative);
        let metadata = match folder.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => metadata,
            // Found as foreign in the folder above, or not there: then its files are lost.
            _ => return Ok(false),
        };
        let is_closed = metadata.permissions().mode() & 0o777 == FOLDER_MODE;
        if !is_closed {
            std::fs::set_permissions(&folder, Permissions::from_mode(0o755))?;
        }
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let path = relative.join(entry.file_name());
            let metadata = entry.metadata()?;
            let expected = path.to_str().and_then(|path| self.tree.get(path));
            match expected {
                Some(file) if metadata.is_file() => {
                    if is_as_laid_out(&entry.path(), &metadata, file)? {
                        self.sound.insert(&file.path);
                    }
                }
                None if metadata.is_dir() && self.folders.contains(&path) => {}
                _ => self.foreign.push(entry.path()),
            }
        }
        Ok(is_closed)
    }
}

fn is_as_laid_out(path: &Path, metadata: &Metadata, file: &TreeFile) -> io::Result<bool> {
    if metadata.len() != file.size {
        return Ok(false);
    }
    let has_mode = metadata.permissions().mode() & 0o777 == mode(file);
    if is_sealed(metadata) && has_mode {
        return Ok(true);
    }
    let mut open = match File::open(path) {
        // Nobody may read it, not even its owner: laid out again.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(false),
        open => open?,
    };
    if hash(&mut open)?.0 != file.digest {
        return Ok(false);
    }
    seal(&open, mode(file))?;
    Ok(true)
}

/// Removes what does not belong into a tree.
fn remove(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    }
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => remove_tree(path).map(|_| ()),
        Ok(_) => std::fs::remove_file(path),
        // With a folder that was foreign, too.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// What a file of a tree may be used for.
pub(crate) fn mode(file: &TreeFile) -> u32 {
    if file.executable { EXECUTABLE_MODE } else { PLAIN_MODE }
}

/// The folders of a tree, itself included, relative to it.
pub(crate) fn folders(tree: &Tree) -> std::collections::BTreeSet<PathBuf> {
    let above = tree.files().iter().flat_map(|file| Path::new(&file.path).ancestors().skip(1));
    above.map(PathBuf::from).chain([PathBuf::new()]).collect()
}
