//! What the events of a model say of its lineage, gathered one by one, and the graph of it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    EdgeKind, Lineage, LineageCode, LineageData, LineageEdge, LineagePackages, LineagePart,
    LineageRelease, LineageRequests, LineageVersion,
};
use crate::digest::Digest;
use crate::event::{Event, Lock, VersionPushed};
use crate::happened::Happened;
use crate::id::{DeploymentId, EnvironmentName, ModelKey, VersionNumber};
use crate::provenance::DataSet;

/// The most versions of one graph, the newest.
pub const VERSIONS_MAX: usize = 1_000;
/// The most releases of one graph, the newest.
pub const RELEASES_MAX: usize = 1_000;

/// What is known of a model's lineage.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    versions: BTreeMap<VersionNumber, LineageVersion>,
    locks: BTreeMap<Digest, Lock>,
    releases: BTreeMap<u64, LineageRelease>,
    live: BTreeMap<EnvironmentName, VersionNumber>,
    versions_left_out: u64,
    releases_left_out: u64,
}

impl Facts {
    /// The kinds of events that say something of it.
    pub const KINDS: [&str; 7] = [
        "version_pushed",
        "deploy_started",
        "traffic_shifted",
        "released",
        "deploy_failed",
        "version_removed",
        "model_removed",
    ];

    /// Takes in an event of the model. They come in their order.
    pub fn take(&mut self, happened: Happened) {
        let Happened { at_ms, actor, entry, event, .. } = happened;
        match event {
            Event::VersionPushed(pushed) => self.pushed(*pushed, at_ms, actor),
            Event::DeployStarted { version, environment, plan, .. } => {
                let Some(entry) = entry else { return };
                let release = LineageRelease {
                    id: format!("release:{}", entry.seq),
                    deployment: DeploymentId(entry.seq),
                    version,
                    environment,
                    by: actor,
                    cause: plan.cause,
                    at_ms,
                    parts: vec![],
                    live_ms: None,
                    ended_ms: None,
                    ended_at: None,
                    previous: None,
                };
                self.releases.insert(entry.seq, release);
                if self.releases.len() > RELEASES_MAX {
                    self.releases.pop_first();
                    self.releases_left_out += 1;
                }
            }
            Event::TrafficShifted { deployment, phase, baseline, .. } => {
                self.with(deployment, |release| {
                    release.previous = Some(baseline.to_string());
                    release.parts.push(LineagePart {
                        at_ms,
                        percent: phase.percent,
                        is_shadow: phase.shadow,
                    });
                });
            }
            Event::Released { deployment, version, environment, previous, .. } => {
                self.with(deployment, |release| {
                    release.live_ms = Some(at_ms);
                    release.previous = previous.map(|previous| previous.to_string());
                });
                self.live.insert(environment, version);
            }
            Event::DeployFailed { deployment, step, .. } => {
                self.with(deployment, |release| {
                    release.ended_ms = Some(at_ms);
                    release.ended_at = Some(step);
                });
                // What never had any traffic was no release.
                let had_none = |release: &LineageRelease| release.parts.is_empty();
                if self.releases.get(&deployment.0).is_some_and(had_none) {
                    self.releases.remove(&deployment.0);
                }
            }
            Event::VersionRemoved { version, .. } => {
                if let Some(version) = self.versions.get_mut(&version) {
                    version.is_removed = true;
                }
            }
            // Another model of this name is another model.
            Event::ModelRemoved { .. } => *self = Facts::default(),
            _ => {}
        }
    }

    fn pushed(&mut self, pushed: VersionPushed, at_ms: u64, by: String) {
        let version = LineageVersion {
            id: version_id(pushed.version),
            version: pushed.version,
            digest: pushed.digest,
            at_ms,
            by,
            runtime: pushed.runtime,
            live: vec![],
            is_removed: false,
            lock: pushed.lock.as_ref().map(|lock| lock.digest),
            provenance: pushed.provenance,
        };
        self.versions.insert(version.version, version);
        if let Some(lock) = pushed.lock {
            self.locks.entry(lock.digest).or_insert(lock);
        }
        if self.versions.len() > VERSIONS_MAX {
            self.versions.pop_first();
            self.versions_left_out += 1;
        }
    }

    fn with(&mut self, deployment: DeploymentId, change: impl FnOnce(&mut LineageRelease)) {
        if let Some(release) = self.releases.get_mut(&deployment.0) {
            change(release);
        }
    }

    /// The graph, with requests that were counted from a time on.
    pub fn lineage(
        self,
        model: &ModelKey,
        requests: Option<(u64, Vec<LineageRequests>)>,
    ) -> Lineage {
        let Facts { mut versions, locks, releases, live, versions_left_out, releases_left_out } =
            self;
        for (environment, version) in live {
            if let Some(version) = versions.get_mut(&version) {
                version.live.push(environment);
            }
        }
        let had_traffic =
            |release: &LineageRelease| release.live_ms.is_some() || !release.parts.is_empty();
        let (requests_from_ms, requests) =
            requests.map_or((None, vec![]), |(from_ms, requests)| (Some(from_ms), requests));
        let mut graph = Graph { locks, ..Graph::default() };
        versions.values().rev().for_each(|version| graph.version(version, &versions));
        let releases: Vec<LineageRelease> =
            releases.into_values().rev().filter(had_traffic).collect();
        for release in releases.iter().filter(|release| versions.contains_key(&release.version)) {
            graph.edge(version_id(release.version), release.id.clone(), EdgeKind::Released);
        }
        for asked in requests.iter().filter(|asked| versions.contains_key(&asked.version)) {
            graph.edge(version_id(asked.version), asked.id.clone(), EdgeKind::Answered);
        }
        Lineage {
            project: model.project.clone(),
            model: model.model.clone(),
            versions: versions.into_values().rev().collect(),
            releases,
            data: graph.data.into_values().map(LineageData::from).collect(),
            code: graph.code.into_values().collect(),
            packages: graph.packages.into_values().collect(),
            requests,
            requests_from_ms,
            edges: graph.edges,
            versions_left_out,
            releases_left_out,
        }
    }
}

fn version_id(version: VersionNumber) -> String {
    format!("version:{version}")
}

#[derive(Default)]
struct Graph {
    locks: BTreeMap<Digest, Lock>,
    data: BTreeMap<Digest, Named>,
    code: BTreeMap<String, LineageCode>,
    packages: BTreeMap<Digest, LineagePackages>,
    edges: Vec<LineageEdge>,
}

/// Data under all their names.
struct Named {
    names: BTreeSet<String>,
    set: DataSet,
}

impl From<Named> for LineageData {
    fn from(Named { names, set }: Named) -> LineageData {
        let DataSet { kind, digest, bytes, files, rows, .. } = set;
        let names = names.into_iter().collect();
        LineageData { id: format!("data:{digest}"), digest, names, kind, bytes, files, rows }
    }
}

impl Graph {
    fn edge(&mut self, from: String, to: String, is: EdgeKind) {
        self.edges.push(LineageEdge { from, to, is });
    }

    fn version(&mut self, version: &LineageVersion, all: &BTreeMap<VersionNumber, LineageVersion>) {
        let provenance = &version.provenance;
        let sets = provenance.data.iter().map(|set| (set, EdgeKind::Trained));
        let reference = provenance.reference.iter().map(|set| (set, EdgeKind::Compared));
        let mut seen = BTreeSet::new();
        for (set, is) in sets.chain(reference) {
            let known = self.data.entry(set.digest);
            let known = known.or_insert_with(|| Named { names: BTreeSet::new(), set: set.clone() });
            known.names.insert(set.name.clone());
            known.set.rows = known.set.rows.or(set.rows);
            // One file may be named twice.
            if seen.insert((set.digest, is.as_str())) {
                self.edge(format!("data:{}", set.digest), version.id.clone(), is);
            }
        }
        if let Some(code) = code_of(version) {
            self.edge(code.id.clone(), version.id.clone(), EdgeKind::Made);
            self.code.entry(code.id.clone()).or_insert(code);
        }
        if let Some(lock) = version.lock.and_then(|digest| self.locks.get(&digest)).cloned() {
            let Lock { digest, python, packages, .. } = lock;
            let id = format!("packages:{digest}");
            self.edge(id.clone(), version.id.clone(), EdgeKind::Runs);
            self.packages.entry(digest).or_insert(LineagePackages { id, digest, python, packages });
        }
        let parent = provenance.parent.filter(|parent| all.contains_key(&parent.version));
        if let Some(parent) = parent {
            self.edge(version_id(parent.version), version.id.clone(), EdgeKind::Before);
        }
    }
}

fn code_of(version: &LineageVersion) -> Option<LineageCode> {
    let provenance = &version.provenance;
    let commit = provenance.git_commit.clone()?;
    let (is_dirty, diff) = (provenance.git_dirty, provenance.git_diff);
    let id = match (is_dirty, diff) {
        (_, Some(diff)) => format!("code:{commit}+{diff}"),
        (true, None) => format!("code:{commit}+{}", version.version),
        (false, None) => format!("code:{commit}"),
    };
    Some(LineageCode { id, commit, is_dirty, diff, remote: provenance.git_remote.clone() })
}
