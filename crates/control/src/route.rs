//! The route table: what the state wants, as far as replicas are there.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::route::{Candidate, KnownVersion, PlacementRoute, ReplicaRoute, Route, RouteTable, SHARES};
use domain::state::{Model, Version};
use domain::{EnvironmentName, Manifest, Placement, State};
use engine::{ReplicaState, ReplicaStatus};

use crate::wanted::Part;
use crate::{Control, now_ms};

/// Steps in which the default deadline grows with the time that a start takes, in milliseconds.
const DEADLINE_STEP_MS: u64 = 10_000;

/// The versions of all that a table is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    seq: u64,
    replicas: u64,
    scales: u64,
    /// Since when what may have replicas is as it is: some of it ends with time.
    wanted: u64,
}

impl Control {
    /// Puts a new table in force if it differs from the last.
    pub(crate) fn publish_routes(&self) {
        let mut published = self.published.lock();
        // Read before the table is made: what changes meanwhile is seen the next time.
        let state = self.state();
        let stamp = Stamp {
            seq: state.seq,
            replicas: *self.engine.changed().borrow() + self.replicas.changes(),
            scales: self.scales.changes(),
            wanted: self.wanted_since(&state),
        };
        if published.1 == Some(stamp) {
            return;
        }
        published.1 = Some(stamp);
        let published = &mut published.0;
        let mut table = self.table();
        if published.epoch > 0
            && published.routes == table.routes
            && published.placements == table.placements
            && published.versions == table.versions
        {
            return;
        }
        // Larger than any epoch of an earlier process too.
        table.epoch = now_ms().max(published.epoch + 1);
        (self.publish)(table.clone());
        self.replicas.routed(&table);
        *published = table;
    }

    fn table(&self) -> RouteTable {
        let state = self.state();
        let mut by_placement: BTreeMap<Placement, Vec<ReplicaStatus>> = BTreeMap::new();
        for status in self.engine.replicas() {
            let ready = matches!(status.state, ReplicaState::Ready { .. }) && !self.replicas.is_leaving(&status.replica);
            if ready {
                by_placement.entry(status.placement.clone()).or_default().push(status);
            }
        }
        let mut table = RouteTable::default();
        let wanted = self.wanted(&state);
        for (key, model) in &state.models {
            let known = |version: &Arc<Version>| KnownVersion {
                model: key.clone(),
                version: version.pushed.version,
                digest: version.pushed.digest,
            };
            table.versions.extend(model.versions.values().map(known));
            for (environment, live) in &model.live {
                let (model, candidate) = (key.clone(), candidate(model, environment));
                table.routes.push(Route { model, environment: environment.clone(), version: live.version, candidate });
            }
        }
        for (placement, wanted) in wanted.iter() {
            // A candidate that is still built and tested is nobody's business.
            if wanted.part == Part::Candidate && wanted.floor == 0 {
                continue;
            }
            let asleep = self.scales.target(placement) == Some(0);
            let mut replicas = by_placement.get(placement).map(Vec::as_slice).unwrap_or_default();
            if asleep {
                // What is there then is a spare, or on its way out.
                replicas = &[];
            }
            table.placements.extend(self.placement_route(&state, placement.clone(), replicas, asleep));
            if replicas.is_empty() && !asleep {
                // While new variables arrive, the replicas with the old ones serve.
                for older in by_placement.keys().filter(|other| other.is_same_version(placement)) {
                    let replicas = by_placement.get(older).map(Vec::as_slice).unwrap_or_default();
                    table.placements.extend(self.placement_route(&state, older.clone(), replicas, false));
                }
            }
        }
        table
    }

    /// The deadline of requests that name none: as the manifest says, else long enough for a replica to start first.
    fn deadline_ms(&self, placement: &Placement, manifest: &Manifest) -> u64 {
        let start_up_ms = self.replicas.start_up_ms(placement).unwrap_or(0);
        // In steps, so that routes do not change with every start.
        let steps = (2 * start_up_ms).div_ceil(DEADLINE_STEP_MS);
        manifest.model.deadline_ms.unwrap_or(manifest.deadline_ms().max(steps * DEADLINE_STEP_MS))
    }

    fn placement_route(
        &self,
        state: &State,
        placement: Placement,
        replicas: &[ReplicaStatus],
        asleep: bool,
    ) -> Option<PlacementRoute> {
        let version = state.models.get(&placement.model)?.versions.get(&placement.version)?;
        let manifest = &version.pushed.manifest;
        let mut routes: Vec<ReplicaRoute> = vec![];
        for status in replicas {
            let ReplicaState::Ready { info, .. } = &status.state else { continue };
            routes.push(ReplicaRoute {
                replica: status.replica.clone(),
                socket: status.socket.to_string_lossy().into_owned(),
                protocol: info.protocol.clone(),
                concurrency: manifest.resources.concurrency,
                prefetch: info.prefetch,
            });
        }
        routes.sort_by(|a, b| a.replica.cmp(&b.replica));
        Some(PlacementRoute {
            schema: version.schema.clone()?,
            rows_max: manifest.batch.rows_max,
            mix: manifest.batch.mix,
            queue_rows_max: manifest.batch.queue_rows_max,
            deadline_ms: self.deadline_ms(&placement, manifest),
            predict_ms_max: manifest.predict_ms_max(),
            asleep,
            failed: self.replicas.problem(&placement).filter(|_| !asleep && routes.is_empty()),
            replicas: routes,
            placement,
        })
    }
}

/// The part of a release that is on its way.
fn candidate(model: &Model, environment: &EnvironmentName) -> Option<Candidate> {
    let (deployment, progress) = model.shifting(environment)?;
    let version = model.versions.get(&deployment.version)?;
    Some(Candidate {
        version: deployment.version,
        share: u32::from(progress.phase.percent) * (SHARES / 100),
        shadow: progress.phase.shadow,
        sticky: deployment.plan.sticky.clone(),
        salt: deployment.id.0,
        tolerance: version.pushed.manifest.tests.tolerance,
    })
}
