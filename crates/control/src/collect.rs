//! Garbage: what no version refers to any more, and nobody uses or is about to use.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use artifacts::Collection;
use domain::{Code, Digest, ReplicaId};
use engine::ReplicaState;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Control, Problem, artifact_problem};

/// What half was laid out or built and is so old was left by a process that was killed, in
/// milliseconds.
const HALF_DONE_MS_MAX: u64 = 3_600_000;

/// What lies beside an environment: without its marker, which goes first, it counts as half built.
const BESIDE: [&str; 2] = ["complete", "imports"];

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Garbage {
    /// Blobs.
    pub blobs: u64,
    /// Bytes that are free now.
    pub bytes: u64,
    /// Python environments.
    pub environments: u64,
    /// Trees that were laid out.
    pub trees: u64,
}

/// Trees and environments by the replica that was started from them: they stay until it has ended,
/// also if its version was removed.
#[derive(Default)]
pub struct InUse(Mutex<HashMap<ReplicaId, Vec<Digest>>>);

impl InUse {
    /// Notes what a replica is started from.
    pub fn begin(&self, replica: &ReplicaId, uses: impl Iterator<Item = Digest>) {
        self.0.lock().insert(replica.clone(), uses.collect());
    }

    /// What replicas use that are among those that run.
    fn by(&self, running: &HashSet<ReplicaId>) -> Vec<Digest> {
        let mut table = self.0.lock();
        table.retain(|replica, _| running.contains(replica));
        table.values().flatten().copied().collect()
    }
}

impl Control {
    /// Removes blobs, environments and trees that no version refers to.
    pub async fn collect(&self) -> Result<Garbage, Problem> {
        let collection = self.store.leases().collection().await;
        // Asked for after the collection began: what comes to be needed later is held by a lease
        // until it is a version's.
        let needed = self.needed().await?;
        let mut garbage = Garbage::default();
        // Trees first: a blob is free when no tree shares it any more.
        let trees = self.config.data.trees();
        (garbage.trees, garbage.bytes) = remove_unneeded(&trees, &needed, &collection).await?;
        let (environments, bytes) =
            remove_unneeded(&self.engine.environments(), &needed, &collection).await?;
        (garbage.environments, garbage.bytes) = (environments, garbage.bytes + bytes);
        let (secrets, files) = (self.secrets.clone(), Control::secret_files(&self.state()));
        let age = Duration::from_millis(HALF_DONE_MS_MAX);
        let work =
            tokio::task::spawn_blocking(move || secrets.collect(|file| files.contains(file), age));
        let dropped = work.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        dropped.map_err(|error| {
            Problem::new(Code::Gc, format!("secrets cannot be cleared: {error}"))
                .help("see the server's log")
        })?;
        let collected = self.store.collect(&collection, &needed).await.map_err(artifact_problem)?;
        (garbage.blobs, garbage.bytes) = (collected.blobs, garbage.bytes + collected.bytes);
        Ok(garbage)
    }

    /// All blobs, trees and environments that a version refers to, or a replica was started from.
    async fn needed(&self) -> Result<HashSet<Digest>, Problem> {
        let state = self.state();
        let running = self
            .engine
            .replicas()
            .into_iter()
            .filter(|status| !matches!(status.state, ReplicaState::Ended { .. }));
        let in_use = self.in_use.by(&running.map(|status| status.replica.clone()).collect());
        let needed = tokio::task::spawn_blocking(move || {
            let mut needed: HashSet<Digest> = in_use.into_iter().collect();
            for version in state.models.values().flat_map(|model| model.versions.values()) {
                needed.extend(version.pushed.tree.files().iter().map(|file| file.digest));
                needed.extend(version.pushed.lock.as_ref().map(|lock| lock.digest));
                needed.insert(version.pushed.tree.digest());
            }
            needed
        });
        needed.await.map_err(|error| Problem::new(Code::Internal, error.to_string()))
    }
}

/// Removes the folders that are named by digests that nobody needs, and what others left half done.
/// Gives how many were whole, and the bytes that are free now.
async fn remove_unneeded(
    directory: &Path,
    needed: &HashSet<Digest>,
    collection: &Collection,
) -> Result<(u64, u64), Problem> {
    let failed = |error: std::io::Error| {
        Problem::new(Code::Gc, format!("{} cannot be cleared: {error}", directory.display()))
            .help("see the server's log")
    };
    let (mut removed, mut bytes) = (0, 0);
    for (path, digest) in folders(directory.to_path_buf()).await.map_err(failed)? {
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
            joined.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(failed)?;
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
