//! What tests of the control plane talk about: the placements of a model, and a replica that
//! starts.

use domain::{Digest, Placement, ReplicaId, VersionNumber};
use engine::ReplicaStatus;

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

/// One that starts.
pub fn status(replica: &str, placement: &Placement) -> ReplicaStatus {
    ReplicaStatus {
        replica: ReplicaId(replica.into()),
        placement: placement.clone(),
        pid: 1,
        socket: "/s".into(),
        state: engine::ReplicaState::Starting,
        ready: None,
        temperature: domain::launch::Temperature::Cold,
        colder_because: None,
    }
}
