//! Writes a tree to a directory for workers to read: every byte verified, at once or not at all.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::Tree;
use futures_util::TryStreamExt;
use tokio::io::AsyncWriteExt;

use crate::ArtifactError;
use crate::store::{Store, blocking};

/// Makes names of temporary directories of one process differ.
static COUNT: AtomicU64 = AtomicU64::new(0);

impl Store {
    /// Writes the tree's files below `directory`, read-only; returns at once if it is there.
    pub async fn materialise(&self, tree: &Tree, directory: &Path) -> Result<(), ArtifactError> {
        if tokio::fs::try_exists(directory).await? {
            return Ok(());
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let temporary = directory.with_extension(format!("{}-{count}.partial", std::process::id()));
        let written = self.write_tree(tree, &temporary).await;
        let (from, to) = (temporary.clone(), directory.to_path_buf());
        let moved = match written {
            Ok(()) => blocking(move || Ok(std::fs::rename(from, to)?)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = moved {
            let _ = tokio::fs::remove_dir_all(&temporary).await;
            // Another task may have been faster; its result is as good.
            return if tokio::fs::try_exists(directory).await? { Ok(()) } else { Err(error) };
        }
        Ok(())
    }

    async fn write_tree(&self, tree: &Tree, directory: &Path) -> Result<(), ArtifactError> {
        tokio::fs::create_dir_all(directory).await?;
        for file in tree.files() {
            // A tree's paths are checked when it is made: relative, and without `..`.
            let path = directory.join(&file.path);
            if let Some(parent) = path.parent() {
                tokio::fs::create_dir_all(parent).await?;
            }
            let mode = if file.executable { 0o555 } else { 0o444 };
            let opened = blocking({
                let path = path.clone();
                move || Ok(std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?)
            });
            let mut out = tokio::fs::File::from_std(opened.await?);
            let mut pieces = std::pin::pin!(self.reader(&file.digest).await?);
            while let Some(piece) = pieces.try_next().await? {
                out.write_all(&piece).await?;
            }
            out.flush().await?;
        }
        Ok(())
    }
}
