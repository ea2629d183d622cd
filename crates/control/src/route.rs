//! The route table: what the state wants, as far as replicas are there.

use std::collections::BTreeMap;

use domain::route::{KnownVersion, PlacementRoute, ReplicaRoute, Route, RouteTable, WorkerProtocol};
use domain::state::Version;
use domain::{Placement, State};
use engine::{ReplicaState, ReplicaStatus};

use crate::{Control, now_ms};

impl Control {
    /// Puts a new table in force if it differs from the last.
    pub(crate) fn publish_routes(&self) {
        let mut published = self.published.lock();
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
        for (key, model) in &state.models {
            let known = |version: &Version| KnownVersion {
                model: key.clone(),
                version: version.pushed.version,
                digest: version.pushed.digest,
            };
            table.versions.extend(model.versions.values().map(known));
            for (environment, live) in &model.live {
                table.routes.push(Route { model: key.clone(), environment: environment.clone(), version: live.version });
                let wanted = state.placement(key, environment, live.version);
                let mut placements = vec![wanted.clone()];
                if !by_placement.contains_key(&wanted) {
                    // While new variables arrive, the replicas with the old ones serve.
                    let same = |other: &&Placement| {
                        other.model == wanted.model && other.environment == wanted.environment && other.version == wanted.version
                    };
                    placements.extend(by_placement.keys().filter(same).cloned());
                }
                for placement in placements {
                    let replicas = by_placement.get(&placement).map(Vec::as_slice).unwrap_or_default();
                    table.placements.extend(placement_route(&state, placement, replicas));
                }
            }
        }
        table
    }
}

fn placement_route(state: &State, placement: Placement, replicas: &[ReplicaStatus]) -> Option<PlacementRoute> {
    let version = state.models.get(&placement.model)?.versions.get(&placement.version)?;
    let manifest = &version.pushed.manifest;
    let mut routes: Vec<ReplicaRoute> = vec![];
    let mut worker = manifest.model.path.clone().map_or(WorkerProtocol::Binary, WorkerProtocol::Plain);
    for status in replicas {
        let ReplicaState::Ready { info, .. } = &status.state else { continue };
        worker = info.protocol.clone();
        routes.push(ReplicaRoute {
            replica: status.replica.clone(),
            socket: status.socket.to_string_lossy().into_owned(),
            concurrency: manifest.resources.concurrency,
            prefetch: info.prefetch,
        });
    }
    routes.sort_by(|a, b| a.replica.cmp(&b.replica));
    Some(PlacementRoute {
        schema: version.schema.clone()?,
        worker,
        rows_max: manifest.batch.rows_max,
        mix: manifest.batch.mix,
        queue_rows_max: manifest.batch.queue_rows_max,
        deadline_ms: manifest.deadline_ms(),
        predict_ms_max: manifest.predict_ms_max(),
        replicas: routes,
        placement,
    })
}
