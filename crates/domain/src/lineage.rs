//! Where the versions of a model come from and where they went: data, code, packages, releases and
//! requests, as a graph. It is made from what the ledger says and from counts; nothing is guessed,
//! and what nobody said has no edge.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{DeploymentId, EnvironmentName, ModelName, ProjectName, VersionNumber};
use crate::manifest::Runtime;
use crate::provenance::{DataKind, Provenance};
use crate::release::Cause;

mod facts;
#[cfg(test)]
mod tests;

pub use facts::{Facts, RELEASES_MAX, VERSIONS_MAX};

/// The graph of one model.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Lineage {
    /// Its project.
    pub project: ProjectName,
    /// Its name.
    pub model: ModelName,
    /// Its versions, newest first; also those that were removed.
    pub versions: Vec<LineageVersion>,
    /// What versions took traffic by, newest first.
    pub releases: Vec<LineageRelease>,
    /// What versions were trained with, and what their values are compared with.
    pub data: Vec<LineageData>,
    /// What versions are made of.
    pub code: Vec<LineageCode>,
    /// What versions run with.
    pub packages: Vec<LineagePackages>,
    /// What was asked of versions since `requests_from_ms`.
    pub requests: Vec<LineageRequests>,
    /// From which time on requests are counted, in milliseconds since 1970; absent if nobody counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_from_ms: Option<u64>,
    /// What leads to what.
    pub edges: Vec<LineageEdge>,
    /// Versions that are older than those here.
    pub versions_left_out: u64,
    /// Releases that are older than those here.
    pub releases_left_out: u64,
}

/// A version.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LineageVersion {
    /// As edges name it: `version:v3`.
    pub id: String,
    /// Its number, as `v3`.
    #[serde(with = "text")]
    #[schemars(with = "String")]
    pub version: VersionNumber,
    /// Its identity.
    pub digest: Digest,
    /// When it was pushed, in milliseconds since 1970.
    pub at_ms: u64,
    /// Who pushed it, as the server knows them.
    pub by: String,
    /// What runs it.
    pub runtime: Runtime,
    /// Where it is live.
    pub live: Vec<EnvironmentName>,
    /// Whether it was removed.
    pub is_removed: bool,
    /// The digest of its lock, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<Digest>,
    /// Where it comes from, as whoever pushed it said.
    pub provenance: Provenance,
}

/// How a version took traffic, or tried to.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LineageRelease {
    /// As edges name it: `release:41`.
    pub id: String,
    /// The number of the entry that began it.
    pub deployment: DeploymentId,
    /// The version, as `v3`.
    #[serde(with = "text")]
    #[schemars(with = "String")]
    pub version: VersionNumber,
    /// Where.
    pub environment: EnvironmentName,
    /// Who asked for it.
    pub by: String,
    /// Why.
    pub cause: Cause,
    /// When it was asked for, in milliseconds since 1970.
    pub at_ms: u64,
    /// The parts of the traffic that it had before it had all of it.
    pub parts: Vec<LineagePart>,
    /// When it took all of it, in milliseconds since 1970; absent if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_ms: Option<u64>,
    /// When it ended without that, in milliseconds since 1970, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// … and at which step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// What took the traffic before, as `v2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
}

/// A part of the traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LineagePart {
    /// From when on, in milliseconds since 1970.
    pub at_ms: u64,
    /// How much, in percent.
    pub percent: u8,
    /// Whether copies of requests, whose answers nobody got.
    pub is_shadow: bool,
}

/// Data, by their content.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LineageData {
    /// As edges name it: `data:SHA-256`.
    pub id: String,
    /// Of the content.
    pub digest: Digest,
    /// What it was called, sorted.
    pub names: Vec<String>,
    /// What the name stands for.
    pub kind: DataKind,
    /// Of all files together.
    pub bytes: u64,
    /// How many files.
    pub files: u64,
    /// Its rows, where they were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
}

/// Code: a commit, and what differs from it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LineageCode {
    /// As edges name it: `code:COMMIT`, with `+` and the digest of what differs from it; where that
    /// is not known, the version stands in its place: two such are not taken for the same.
    pub id: String,
    /// The commit.
    pub commit: String,
    /// Whether it was changed since.
    pub is_dirty: bool,
    /// The digest of what differs from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<Digest>,
    /// Where the repository comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
}

/// Packages, by their lock.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LineagePackages {
    /// As edges name it: `packages:SHA-256`.
    pub id: String,
    /// Of the lock.
    pub digest: Digest,
    /// The interpreter, as `3.11`.
    pub python: String,
    /// `name==version`, sorted.
    pub packages: Vec<String>,
}

/// Requests to a version in an environment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LineageRequests {
    /// As edges name it: `requests:v3@production`.
    pub id: String,
    /// The version, as `v3`.
    #[serde(with = "text")]
    #[schemars(with = "String")]
    pub version: VersionNumber,
    /// Where.
    pub environment: EnvironmentName,
    /// How many.
    pub count: u64,
    /// Those that failed by the model's or the server's fault.
    pub failed: u64,
}

/// What leads to what.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LineageEdge {
    /// What was there first.
    pub from: String,
    /// What came of it.
    pub to: String,
    /// How.
    pub is: EdgeKind,
}

/// How one thing leads to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EdgeKind {
    /// Data that a version was trained with.
    Trained,
    /// Data that a version's values are compared with.
    Compared,
    /// Code that a version was pushed from.
    Made,
    /// Packages that a version runs with.
    Runs,
    /// A version that another one came after.
    Before,
    /// A version that was released.
    Released,
    /// A version that was asked.
    Answered,
}

impl EdgeKind {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            EdgeKind::Trained => "trained",
            EdgeKind::Compared => "compared",
            EdgeKind::Made => "made",
            EdgeKind::Runs => "runs",
            EdgeKind::Before => "before",
            EdgeKind::Released => "released",
            EdgeKind::Answered => "answered",
        }
    }
}

/// By which release a version answered.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum InForce<'a> {
    /// It had all of the traffic.
    Live(&'a LineageRelease),
    /// It had a part of it.
    Part(&'a LineageRelease, LineagePart),
    /// It had had all of it; another one took it at this time, in milliseconds since 1970.
    Replaced(&'a LineageRelease, u64),
}

impl Lineage {
    /// By which release a version answered in an environment at a time, in milliseconds since 1970.
    /// `None` if it had no traffic there by then: it was asked for by its number.
    pub fn in_force(
        &self,
        environment: &EnvironmentName,
        version: VersionNumber,
        at_ms: u64,
    ) -> Option<InForce<'_>> {
        let here =
            || self.releases.iter().filter(move |release| release.environment == *environment);
        let went_live = |release: &&LineageRelease| release.live_ms.is_some_and(|ms| ms <= at_ms);
        let live = here().filter(went_live).max_by_key(|release| release.live_ms);
        if let Some(live) = live.filter(|live| live.version == version) {
            return Some(InForce::Live(live));
        }
        let own = || here().filter(move |release| release.version == version);
        let part = own().find_map(|release| {
            let is_over = [release.live_ms, release.ended_ms].into_iter().flatten();
            if is_over.min().is_some_and(|over_ms| over_ms <= at_ms) {
                return None;
            }
            let part = release.parts.iter().rev().find(|part| part.at_ms <= at_ms)?;
            Some(InForce::Part(release, *part))
        });
        let replaced = || {
            let last = own().filter(went_live).max_by_key(|release| release.live_ms)?;
            let next = here().filter_map(|release| release.live_ms);
            let next_ms = next.filter(|ms| Some(*ms) > last.live_ms && *ms <= at_ms).min()?;
            Some(InForce::Replaced(last, next_ms))
        };
        part.or_else(replaced)
    }

    /// The version of this number.
    pub fn version(&self, version: VersionNumber) -> Option<&LineageVersion> {
        self.versions.iter().find(|known| known.version == version)
    }

    /// What leads to something.
    pub fn to<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a LineageEdge> {
        self.edges.iter().filter(move |edge| edge.to == id)
    }

    /// The data of this digest.
    pub fn data_of(&self, digest: Digest) -> Option<&LineageData> {
        self.data.iter().find(|data| data.digest == digest)
    }
}

/// Numbers of versions, as `v3`.
mod text {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::id::VersionNumber;

    pub fn serialize<S: Serializer>(of: &VersionNumber, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(of)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<VersionNumber, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}
