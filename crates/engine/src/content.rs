//! What replicas are started from: trees, laid out from the store, and environments, installed by
//! their locks. What running replicas use stays, whatever refers to it; the rest is garbage when no
//! version needs it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use artifacts::{ArtifactError, Collection, Store};
use bytes::Bytes;
use domain::event::Lock;
use domain::{Digest, ReplicaId, Tree, TreeFile};

use crate::handle::LocalEngine;
use crate::packages::locked;
use crate::{Built, EngineError};

/// What half was laid out or built and is so old was left by a process that was killed, in
/// milliseconds.
const HALF_DONE_MS_MAX: u64 = 3_600_000;
/// The longest text of a lock, in bytes.
const LOCK_BYTES_MAX: usize = 16 << 20;

/// What lies beside an environment: without its marker, which goes first, it counts as half built.
const BESIDE: [&str; 2] = ["complete", "imports"];

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    /// Trees that were laid out.
    pub trees: u64,
    /// Python environments.
    pub environments: u64,
    /// Bytes that are free now.
    pub bytes: u64,
}

/// The artifact of a lock, whose digest also covers the interpreter.
pub fn lock_artifact(lock: &Lock, text: &str) -> Bytes {
    Bytes::from(format!("python {}\n{text}", lock.python))
}

impl LocalEngine {
    fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Lays a tree out, unless it is. Gives its directory.
    pub(crate) async fn lay_out(&self, tree: &Tree) -> Result<PathBuf, EngineError> {
        let directory = self.inner.files.data.tree(&tree.digest());
        self.store().lay_out(tree, &directory).await?;
        Ok(directory)
    }

    pub(crate) async fn bring(
        &self,
        replica: &ReplicaId,
        tree: &Tree,
        lock: Option<&Lock>,
    ) -> Result<(), EngineError> {
        let digests = [Some(tree.digest()), lock.map(|lock| lock.digest)];
        self.inner.in_use.begin(replica, digests.into_iter().flatten().collect());
        self.lay_out(tree).await?;
        if let Some(lock) = lock {
            // Restored or collected environments come back by themselves.
            self.install(lock).await?;
        }
        Ok(())
    }

    /// Installs a lock. What is installed and sound needs no store.
    pub(crate) async fn install(&self, lock: &Lock) -> Result<Built, EngineError> {
        let _lease = self.store().leases().hold(vec![lock.digest]).await;
        let environments = &self.inner.environments;
        if environments.is_built(lock).await {
            return Ok(Built { cached: true, elapsed_ms: 0 });
        }
        let text = self.lock_text(lock).await?;
        let progress = |line: &str| tracing::debug!("build of {}: {line}", lock.digest.short());
        let tools = &self.inner.tools;
        let archives = locked::archives(&text);
        if archives.is_empty() {
            return environments.build(tools, lock, &text, None, &progress).await;
        }
        let place = tempfile::tempdir_in(self.inner.files.data.environments())
            .map_err(EngineError::io("making a folder for archives"))?;
        let folder = place.path().join("archives");
        self.lay_out_archives(&archives, &folder).await?;
        let built = environments.build(tools, lock, &text, Some(&folder), &progress).await;
        let removed = tokio::task::spawn_blocking(move || artifacts::remove_tree(&folder)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!("archives of {} stay: {error}", lock.digest.short());
        }
        built
    }

    /// Lays out the archives that a lock names. They are files of the versions that have the lock.
    async fn lay_out_archives(
        &self,
        archives: &[(Digest, String)],
        folder: &Path,
    ) -> Result<(), EngineError> {
        let mut files = vec![];
        for (digest, path) in archives {
            let size = self.store().size(digest).await?;
            let size = size.ok_or(ArtifactError::NotFound(*digest))?;
            files.push(TreeFile { path: path.clone(), digest: *digest, size, executable: false });
        }
        let tree = Tree::new(files).map_err(ArtifactError::from)?;
        Ok(self.store().lay_out(&tree, folder).await?)
    }

    async fn lock_text(&self, lock: &Lock) -> Result<String, ArtifactError> {
        let bytes = self.store().get(&lock.digest, LOCK_BYTES_MAX).await?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(text.split_once('\n').map(|(_, rest)| rest.to_string()).unwrap_or_default())
    }

    /// Removes the trees and environments that are not needed.
    pub(crate) async fn clear(
        &self,
        needed: &HashSet<Digest>,
        collection: &Collection,
    ) -> Result<Cleared, EngineError> {
        let data = &self.inner.files.data;
        let (trees, of_trees) = remove_unneeded(&data.trees(), needed, collection).await?;
        let (environments, of_environments) =
            remove_unneeded(&data.environments(), needed, collection).await?;
        Ok(Cleared { trees, environments, bytes: of_trees + of_environments })
    }
}

/// Removes the folders that are named by digests that nobody needs, and what others left half done.
/// Gives how many were whole, and the bytes that are free now.
async fn remove_unneeded(
    directory: &Path,
    needed: &HashSet<Digest>,
    collection: &Collection,
) -> Result<(u64, u64), EngineError> {
    let failed = || EngineError::io(format!("clearing {}", directory.display()));
    let (mut removed, mut bytes) = (0, 0);
    for (path, digest) in folders(directory.to_path_buf()).await.map_err(failed())? {
        let removal = match digest {
            Some(digest) if needed.contains(&digest) => continue,
            Some(digest) => match collection.begin_removal(&digest) {
                Some(removal) => Some(removal),
                None => continue,
            },
            None => None,
        };
        let work = move || {
            BESIDE.iter().for_each(|kind| drop(std::fs::remove_file(path.with_extension(kind))));
            artifacts::remove_tree(&path)
        };
        let joined = tokio::task::spawn_blocking(work).await;
        bytes +=
            joined.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(failed())?;
        removed += removal.is_some() as u64;
    }
    Ok((removed, bytes))
}

/// The folders of a directory that are named by a digest, and older ones that are not.
async fn folders(directory: PathBuf) -> std::io::Result<Vec<(PathBuf, Option<Digest>)>> {
    let before = SystemTime::now()
        .checked_sub(Duration::from_millis(HALF_DONE_MS_MAX))
        .unwrap_or(SystemTime::UNIX_EPOCH);
    let work = tokio::task::spawn_blocking(move || {
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
            Err(error) => return Err(error),
        };
        let mut found = vec![];
        for entry in entries {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let digest = entry.file_name().to_str().and_then(|name| name.parse::<Digest>().ok());
            if metadata.is_dir() && (digest.is_some() || metadata.modified()? < before) {
                found.push((entry.path(), digest));
            }
        }
        Ok(found)
    });
    work.await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
}
