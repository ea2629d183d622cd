//! Lays trees out for workers to read: read-only, without a copy where the disk allows it, and all
//! at once or not at all. What is laid out already is looked at each time; whatever is not as it
//! was is laid out again.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::Ordering;

use domain::{Tree, TreeFile};
use futures_util::TryStreamExt;

use crate::inspect::{Found, folders, inspect, mode};
use crate::names::unique;
use crate::seal::{FOLDER_MODE, seal, sync_folder};
use crate::store::{Store, blocking};
use crate::{ArtifactError, blob, remove_tree};

impl Store {
    /// Sees to it that the tree's files, and nothing else, lie below `directory`. Without the
    /// store, if they do already.
    pub async fn lay_out(&self, tree: &Tree, directory: &Path) -> Result<(), ArtifactError> {
        let lease = self.leases().hold(vec![tree.digest()]).await;
        let _alone = self.layouts.lock(directory.to_path_buf()).await;
        let (looked, of) = (directory.to_path_buf(), tree.clone());
        let found = blocking(move || Ok(inspect(&of, &looked)?)).await?;
        if !matches!(found, Found::Sound) {
            lease.add(&tree.files().iter().map(|file| file.digest).collect::<Vec<_>>()).await;
        }
        match found {
            Found::Sound => Ok(()),
            Found::Nothing => self.lay_out_whole(tree, directory).await,
            Found::Damaged(lost) => {
                tracing::warn!(
                    "{} is not as it was laid out: {} files are laid out again",
                    directory.display(),
                    lost.len()
                );
                self.fill(&lost, directory).await?;
                let (directory, tree) = (directory.to_path_buf(), tree.clone());
                blocking(move || Ok(close(&tree, &directory)?)).await
            }
        }
    }

    async fn lay_out_whole(&self, tree: &Tree, directory: &Path) -> Result<(), ArtifactError> {
        let parent = directory.parent().unwrap_or(Path::new("/")).to_path_buf();
        let temporary =
            parent.join(unique(&directory.file_name().unwrap_or_default().to_string_lossy()));
        let result = async {
            tokio::fs::create_dir_all(&temporary).await?;
            self.fill(tree.files(), &temporary).await?;
            let (tree, from, to) = (tree.clone(), temporary.clone(), directory.to_path_buf());
            blocking(move || {
                close(&tree, &from)?;
                std::fs::rename(from, to)?;
                Ok(sync_folder(&parent)?)
            })
            .await
        }
        .await;
        if result.is_err() {
            let _ = blocking(move || Ok(remove_tree(&temporary)?)).await;
        }
        result
    }

    /// Puts files where they belong below a directory, in place of what may be there.
    async fn fill(&self, files: &[TreeFile], directory: &Path) -> Result<(), ArtifactError> {
        for file in files {
            // A tree's paths are checked when it is made: relative, and without `..`.
            let path = directory.join(&file.path);
            let folder = path.parent().unwrap_or(directory).to_path_buf();
            let temporary = folder.join(unique("file"));
            let opened = blocking(move || Ok(open_folder(&folder)?)).await;
            let placed = match opened {
                Ok(()) => self.place(file, &temporary).await,
                Err(error) => Err(error),
            };
            let from = temporary.clone();
            let moved = match placed {
                Ok(()) => blocking(move || Ok(std::fs::rename(from, path)?)).await,
                Err(error) => Err(error),
            };
            if let Err(error) = moved {
                let _ = tokio::fs::remove_file(temporary).await;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Makes a new file with a blob's content.
    async fn place(&self, file: &TreeFile, target: &Path) -> Result<(), ArtifactError> {
        let lost = || ArtifactError::Lost { path: file.path.clone(), digest: file.digest };
        if let Some(local) = self.local.clone() {
            let (file, target, can_clone) =
                (file.clone(), target.to_path_buf(), self.can_clone.clone());
            let placed = blocking(move || {
                let Some(size) = blob::size(&local, &file.digest)? else { return Ok(None) };
                if size != file.size {
                    return Err(ArtifactError::WrongSize {
                        path: file.path,
                        announced: file.size,
                        found: size,
                    });
                }
                let blob = blob::path(&local, &file.digest);
                if can_clone.load(Ordering::Relaxed) {
                    match clone(&blob, &target, mode(&file)) {
                        Ok(()) => return Ok(Some(true)),
                        Err(error) if is_no_clone(&error) => {
                            can_clone.store(false, Ordering::Relaxed)
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
                // A link has the blob's mode, so that what may be run needs a file of its own.
                Ok(Some(!file.executable && std::fs::hard_link(blob, target).is_ok()))
            });
            match placed.await? {
                Some(true) => return Ok(()),
                Some(false) => {}
                None => return Err(lost()),
            }
        }
        self.copy(file, target).await.map_err(|error| match error {
            ArtifactError::NotFound(_) | ArtifactError::Corrupt(_) => lost(),
            other => other,
        })
    }

    async fn copy(&self, file: &TreeFile, target: &Path) -> Result<(), ArtifactError> {
        let mut pieces = std::pin::pin!(self.reader(&file.digest).await?);
        let target = target.to_path_buf();
        let create =
            move || Ok(File::options().write(true).create_new(true).mode(0o600).open(target)?);
        let mut out = blocking(create).await?;
        let mut size = 0;
        while let Some(piece) = pieces.try_next().await? {
            size += piece.len() as u64;
            out = blocking(move || {
                out.write_all(&piece)?;
                Ok(out)
            })
            .await?;
        }
        if size != file.size {
            return Err(ArtifactError::WrongSize {
                path: file.path.clone(),
                announced: file.size,
                found: size,
            });
        }
        let mode = mode(file);
        blocking(move || Ok(seal(&out, mode)?)).await
    }
}

/// Makes a new file that shares a blob's content until one of the two is written to.
fn clone(blob: &Path, target: &Path, mode: u32) -> io::Result<()> {
    let from = File::open(blob)?;
    let to = File::options().write(true).create_new(true).mode(0o600).open(target)?;
    let cloned = rustix::fs::ioctl_ficlone(&to, &from)
        .map_err(io::Error::from)
        .and_then(|()| seal(&to, mode));
    if cloned.is_err() {
        std::fs::remove_file(target)?;
    }
    cloned
}

/// Whether the disk, or the two disks, cannot do that at all.
fn is_no_clone(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let kinds = [
        Errno::OPNOTSUPP,
        Errno::XDEV,
        Errno::INVAL,
        Errno::NOTTY,
        Errno::NOSYS,
        Errno::PERM,
        Errno::ACCESS,
    ];
    Errno::from_io_error(error).is_some_and(|errno| kinds.contains(&errno))
}

/// Makes a folder with those above it, and lets its owner write into it.
fn open_folder(folder: &Path) -> io::Result<()> {
    match std::fs::create_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            if let Some(above) = folder.parent() {
                open_folder(above)?;
            }
            std::fs::create_dir_all(folder)?;
        }
        other => other?,
    }
    std::fs::set_permissions(folder, Permissions::from_mode(0o755))
}

/// Puts the names in all folders of a tree on disk, and makes the folders read-only.
fn close(tree: &Tree, directory: &Path) -> io::Result<()> {
    for folder in folders(tree) {
        let folder = directory.join(folder);
        sync_folder(&folder)?;
        std::fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE))?;
    }
    Ok(())
}
