//! What routes depend on beside the state changes here and there: whose routes that concerns, and
//! how often it was.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::ModelKey;
use parking_lot::Mutex;

/// Changes that the route table has not seen yet.
#[derive(Default)]
pub struct Changes {
    count: AtomicU64,
    models: Mutex<BTreeSet<ModelKey>>,
}

impl Changes {
    /// Grows with each change.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Something has changed, of models that whoever asks knows.
    pub fn tell(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    /// Something of a model has changed.
    pub fn tell_of(&self, model: &ModelKey) {
        // In this order: whoever sees the count finds the model.
        self.models.lock().insert(model.clone());
        self.tell();
    }

    /// The models that were told of since this was last asked.
    pub fn take(&self) -> BTreeSet<ModelKey> {
        std::mem::take(&mut self.models.lock())
    }
}
