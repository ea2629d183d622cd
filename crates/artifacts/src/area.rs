//! A part of the store beside the blobs, for files that have names.

use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::{ArtifactError, Store};

/// A part of the store for files that have names.
#[derive(Clone)]
pub struct Area {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl Store {
    /// The part with a name, which is no part of blobs.
    pub fn area(&self, name: &str) -> Area {
        Area { objects: self.objects.clone(), prefix: self.prefix.clone().join(name) }
    }
}

impl Area {
    /// The store that it is in, …
    pub fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    /// … and where.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    fn path(&self, name: &str) -> Path {
        Path::from_iter(self.prefix.parts().chain(Path::from(name).parts()))
    }

    /// Stores a file whole, in place of one that is there.
    pub async fn put(&self, name: &str, content: Bytes) -> Result<(), ArtifactError> {
        self.objects.put(&self.path(name), content.into()).await?;
        Ok(())
    }

    /// Reads a file.
    pub async fn get(&self, name: &str) -> Result<Bytes, ArtifactError> {
        Ok(self.objects.get(&self.path(name)).await?.bytes().await?)
    }

    /// Removes a file; it may be gone already.
    pub async fn remove(&self, name: &str) -> Result<(), ArtifactError> {
        match self.objects.delete(&self.path(name)).await {
            Err(object_store::Error::NotFound { .. }) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
