//! What tests of the control plane talk about: the placements of a model.

use domain::{Digest, Placement, VersionNumber};

/// A version of a model.
pub fn placement_of(model: &str, version: u32, revision: u32) -> Placement {
    Placement {
        model: domain::state::default_model(model).unwrap(),
        environment: "production".parse().unwrap(),
        version: VersionNumber(version),
        digest: Digest::ZERO,
        revision,
    }
}

/// The first version of `m`, with variables of so many changes.
pub fn placement(revision: u32) -> Placement {
    placement_of("m", 1, revision)
}
