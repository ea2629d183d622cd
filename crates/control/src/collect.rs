//! Garbage: what no version refers to any more, and nobody uses or is about to use.

use std::collections::HashSet;
use std::time::Duration;

use artifacts::ArtifactError;
use domain::{Code, Digest};
use engine::EngineError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::audit::key_file;
use crate::{Control, Problem};

/// A secret that half was written and is so old was left by a process that was killed, in
/// milliseconds.
const HALF_DONE_MS_MAX: u64 = 3_600_000;

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

impl Control {
    /// Removes blobs, environments and trees that no version refers to.
    pub async fn collect(&self) -> Result<Garbage, Problem> {
        let collection = self.store.leases().collection().await;
        // Asked for after the collection began: what comes to be needed later is held by a lease
        // until it is a version's.
        let needed = self.needed().await?;
        // Trees first: a blob is free when no tree shares it any more.
        let cleared =
            self.engine.collect(&needed, &collection).await.map_err(EngineError::problem)?;
        let (secrets, files) = (self.secrets.clone(), Control::secret_files(&self.state()));
        let age = Duration::from_millis(HALF_DONE_MS_MAX);
        let work = tokio::task::spawn_blocking(move || {
            secrets.collect(|file| files.contains_key(file) || *file == key_file(), age)
        });
        let dropped = work.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        dropped.map_err(|error| {
            Problem::new(Code::Gc, format!("secrets cannot be cleared: {error}"))
                .help("see the server's log")
        })?;
        let collected =
            self.store.collect(&collection, &needed).await.map_err(ArtifactError::problem)?;
        Ok(Garbage {
            blobs: collected.blobs,
            bytes: cleared.bytes + collected.bytes,
            environments: cleared.environments,
            trees: cleared.trees,
        })
    }

    /// All blobs, trees and environments that a version refers to, or a replica was started from.
    async fn needed(&self) -> Result<HashSet<Digest>, Problem> {
        let state = self.state();
        let in_use = self.engine.in_use();
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
