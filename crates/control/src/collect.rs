//! Garbage: what no version refers to any more.

use std::collections::HashSet;
use std::time::Duration;

use domain::Digest;
use engine::EngineError;
use serde::{Deserialize, Serialize};

use crate::{Control, Problem, artifact_problem};

/// What is younger may belong to a push that is on its way.
const AGE_S: u64 = 3_600;

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Garbage {
    /// Blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Python environments.
    pub environments: u64,
    /// Written-out trees.
    pub trees: u64,
}

impl Control {
    /// Removes blobs, environments and trees that no version refers to.
    pub async fn collect(&self) -> Result<Garbage, Problem> {
        let state = self.state();
        let versions = || state.models.values().flat_map(|model| model.versions.values());
        let locks: HashSet<Digest> =
            versions().filter_map(|version| version.pushed.lock.as_ref()).map(|lock| lock.digest).collect();
        let files = versions().flat_map(|version| version.pushed.tree.files()).map(|file| file.digest);
        let blobs: HashSet<Digest> = files.chain(locks.iter().copied()).collect();
        let trees: HashSet<String> = versions().map(|version| version.pushed.tree.digest().to_string()).collect();
        let collected = self.store.collect(&blobs, Duration::from_secs(AGE_S)).await.map_err(artifact_problem)?;
        let environments = self.engine.collect(&locks).await.map_err(EngineError::problem)?;
        let directory = self.config.data.join("trees");
        let removed = tokio::task::spawn_blocking(move || {
            let mut removed = 0;
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                if !trees.contains(&*entry.file_name().to_string_lossy()) && std::fs::remove_dir_all(entry.path()).is_ok() {
                    removed += 1;
                }
            }
            removed
        });
        let trees = removed.await.unwrap_or(0);
        Ok(Garbage { blobs: collected.blobs, bytes: collected.bytes, environments, trees })
    }
}
