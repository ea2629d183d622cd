//! The messages from the control plane to the data plane and back.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use crate::id::{EnvironmentName, ModelKey, Placement, ReplicaId};
use crate::problem::Problem;
use crate::recording::Recording;
use crate::scale::LoadSample;
use crate::schema::Schema;
use crate::{Digest, VersionNumber};

/// Where all requests go; swapped whole. A larger epoch is newer. Two tables share the routes of
/// models that are the same in both, so that a change costs what has changed, however many models
/// there are.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct RouteTable {
    /// Counts changes; never falls within a data directory.
    pub epoch: u64,
    /// Of each model that exists.
    pub models: OrdMap<ModelKey, Arc<ModelRoutes>>,
}

/// Where the requests of one model go.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ModelRoutes {
    /// What a reference can name: the live version of each environment.
    pub routes: Vec<Route>,
    /// What the routes and explicit versions lead to.
    pub placements: Vec<PlacementRoute>,
    /// All versions that exist, so that a reference to one that does not run is answered
    /// truthfully.
    pub versions: Vec<KnownVersion>,
}

impl ModelRoutes {
    /// The replicas that requests may go to.
    pub fn replicas(&self) -> impl Iterator<Item = &ReplicaId> {
        let routes = self.placements.iter().flat_map(|placement| &placement.replicas);
        routes.map(|route| &route.replica)
    }
}

/// The traffic of a model in one environment.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Route {
    /// The environment whose requests it is for.
    pub environment: EnvironmentName,
    /// What answers it.
    pub version: VersionNumber,
    /// What answers a part of it, or gets copies, while a release is on its way.
    pub candidate: Option<Candidate>,
}

/// The new version of a release that does not happen all at once.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Candidate {
    /// The version that is released step by step.
    pub version: VersionNumber,
    /// Its part of the requests, of [`SHARES`].
    pub share: u32,
    /// Whether it gets copies, whose answers are compared and dropped.
    pub shadow: bool,
    /// The header whose value decides who gets it, instead of chance.
    pub sticky: Option<String>,
    /// Of the release: other callers are drawn for another.
    pub salt: u64,
    /// By how much numbers of two answers may differ and still agree, absolute or relative.
    pub tolerance: f64,
}

/// All requests.
pub const SHARES: u32 = 10_000;

/// A version that exists, running or not.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct KnownVersion {
    /// Its number.
    pub version: VersionNumber,
    /// Its identity.
    pub digest: Digest,
}

/// How requests reach one placement.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PlacementRoute {
    /// Which one.
    pub placement: Placement,
    /// What the rows must fit.
    pub schema: Schema,
    /// The most rows in one batch.
    pub rows_max: u32,
    /// Whether requests may share a batch.
    pub mix: bool,
    /// The most rows that wait.
    pub queue_rows_max: u32,
    /// The deadline of a request that names none.
    pub deadline_ms: u64,
    /// The longest a batch may run.
    pub predict_ms_max: u64,
    /// Whether it is scaled to zero: a request wakes it.
    pub asleep: bool,
    /// Why no replica could be started, if the last start failed and none is there: requests fail
    /// with it at once, until one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Problem>,
    /// What of its requests may be in records.
    #[serde(default, skip_serializing_if = "Recording::is_empty")]
    pub recording: Recording,
    /// Those that may be used.
    pub replicas: Vec<ReplicaRoute>,
}

/// What a worker's socket speaks.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerProtocol {
    /// Open Inference Protocol v2 with the binary tensor extension in both directions.
    Binary,
    /// Open Inference Protocol v2 in JSON only.
    Json,
    /// `{"rows": […]}` posted to this path, answered by `{"rows": […]}`.
    Plain(String),
}

/// Where a replica takes requests.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// The path of a Unix socket on this machine.
    Unix(String),
}

impl Address {
    /// Of a Unix socket at this path.
    pub fn unix(path: &std::path::Path) -> Address {
        Address::Unix(path.to_string_lossy().into_owned())
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Unix(path) => f.write_str(path),
        }
    }
}

/// A replica under a routing lease.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ReplicaRoute {
    /// Which one.
    pub replica: ReplicaId,
    /// Where it takes requests.
    pub address: Address,
    /// What it speaks there.
    pub protocol: WorkerProtocol,
    /// Batches that it takes at the same time.
    pub concurrency: u32,
    /// Whether one more connection may carry the next batch.
    pub prefetch: bool,
}

/// What the data plane tells the control plane.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Observation {
    /// The replica has no request in flight and gets none any more: it may stop.
    Returned {
        /// The replica.
        replica: ReplicaId,
    },
    /// The replica did not answer as it must; it gets no more requests and must be replaced.
    Broken {
        /// The replica.
        replica: ReplicaId,
        /// One sentence.
        reason: String,
    },
    /// A request waits where there is no replica.
    Waiting {
        /// For which.
        placement: Placement,
    },
}

/// The load of one placement at this moment.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Demand {
    /// Whose.
    pub placement: Placement,
    /// Rows that wait.
    pub queued_rows: u64,
    /// Batches at each replica.
    pub in_flight: BTreeMap<ReplicaId, u32>,
    /// What its replicas are counted by.
    pub load: LoadSample,
}
