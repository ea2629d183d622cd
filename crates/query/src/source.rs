//! Where records come from: the catalogue, the store, and whoever brings the newest ones there.

use std::sync::Arc;

use artifacts::Area;
use domain::{EnvironmentName, ModelKey};
use records::{Catalogue, Keeper};

/// Whether the caller may see records of a model in an environment.
pub type Seen = Arc<dyn Fn(&ModelKey, &EnvironmentName) -> bool + Send + Sync>;

/// Where records come from.
#[derive(Clone)]
pub struct Source {
    /// Which files there are, and what is missing.
    pub catalogue: Arc<Catalogue>,
    /// Where they lie.
    pub area: Area,
    /// Brings the records of this moment into the catalogue; waits for it.
    pub flush: Arc<dyn Fn() + Send + Sync>,
}

impl Source {
    /// All that somebody keeps.
    pub fn of(keeper: Arc<Keeper>) -> Source {
        let (catalogue, area) = (keeper.catalogue().clone(), keeper.area().clone());
        Source { catalogue, area, flush: Arc::new(move || keeper.flush()) }
    }
}
