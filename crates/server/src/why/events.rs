//! What happened to a model, as causes are told: entries of the ledger and telemetry, with the names
//! that records have.

use std::collections::HashMap;

use control::Control;
use domain::alarm::Target;
use domain::{Action, Event, Happened, Object, Placement, Problem, VersionNumber};
use ledger::Selection;
use policy::why::{self, EventKind, NONE, Names};
use query::Cells;

use super::Asking;

/// Kinds of events that can be causes.
const KINDS: [&str; 9] = [
    "deploy_started",
    "traffic_shifted",
    "released",
    "variable_set",
    "variable_reference_set",
    "variable_removed",
    "scale_changed",
    "replica_ready",
    "replica_failed",
];
/// Events of one page, and pages that are read.
const PAGE: usize = 1_000;
const PAGES_MAX: usize = 50;

impl Asking<'_> {
    /// What happened to the model from one time to another, as far as the caller may know.
    pub(super) async fn happened(
        &self,
        from_ms: u64,
        to_ms: u64,
    ) -> Result<Vec<Happened>, Problem> {
        let (control, model) = (&self.api.control, &self.target.model);
        let of = Object::Model(model.clone());
        // Whoever may read records and nothing else is told what records say.
        if control.permit_somewhere(self.caller, Action::Read, &of).is_err() {
            return Ok(vec![]);
        }
        let selection = Selection {
            subjects: vec![model.to_string(), model.project.to_string()],
            kinds: Some(KINDS.map(String::from).to_vec()),
        };
        let mut after = control.place_at(from_ms).await?;
        let mut happened = vec![];
        for _ in 0..PAGES_MAX {
            let page = control.events(self.caller, after, &selection, PAGE).await?;
            let is_over = page.events.last().is_some_and(|event| event.at_ms > to_ms);
            let within =
                page.events.into_iter().filter(|event| (from_ms..=to_ms).contains(&event.at_ms));
            happened.extend(within);
            if is_over || !page.more {
                break;
            }
            after = page.next;
        }
        Ok(happened)
    }
}

/// The names of what cells tell apart.
pub struct Named {
    pub names: Names,
    /// By the name that a caller has here.
    pub principals: HashMap<String, String>,
    /// Versions with their revisions, in the order of their numbers, and when each was first asked.
    versions: Vec<(VersionNumber, u64)>,
}

impl Named {
    pub fn new(cells: &Cells, start_ms: u64, bucket_ms: u64, control: &Control) -> Named {
        let mut first = vec![u64::MAX; cells.versions.len()];
        for cell in cells.cells.iter().filter(|cell| cell.key.version != NONE) {
            let at_ms = start_ms + u64::from(cell.bucket) * bucket_ms;
            if let Some(first) = first.get_mut(usize::from(cell.key.version)) {
                *first = (*first).min(at_ms);
            }
        }
        let newest = |version: VersionNumber| {
            let of = cells.versions.iter().filter(|(other, _)| *other == version);
            of.map(|(_, revision)| *revision).max()
        };
        let version = |(version, revision): &(VersionNumber, u32)| match newest(*version) {
            Some(newest) if newest != *revision => format!("{version} (revision {revision})"),
            _ => version.to_string(),
        };
        let callers: Vec<String> =
            cells.callers.iter().map(|principal| control.display_name(principal)).collect();
        Named {
            names: Names {
                versions: cells.versions.iter().map(version).collect(),
                replicas: cells.replicas.clone(),
                callers: callers.clone(),
                sizes: cells.sizes.clone(),
                outputs: cells.outputs.clone(),
            },
            principals: callers.into_iter().zip(cells.callers.iter().cloned()).collect(),
            versions: cells.versions.iter().map(|(version, _)| *version).zip(first).collect(),
        }
    }

    /// The last two versions that answered, the earlier one first.
    pub fn last_versions(&self) -> Option<(VersionNumber, VersionNumber)> {
        let known = self.versions.iter().filter(|(_, first_ms)| *first_ms < u64::MAX);
        let mut known: Vec<(u64, VersionNumber)> =
            known.map(|(version, first_ms)| (*first_ms, *version)).collect();
        known.sort_unstable();
        let (_, after) = *known.last()?;
        let before = known.iter().rev().find(|(_, version)| *version != after)?;
        Some((before.1, after))
    }

    /// What a version was called that came at some time.
    fn version(&self, version: VersionNumber, at_ms: u64) -> String {
        let known = self.versions.iter().enumerate().filter(|(_, (known, _))| *known == version);
        let nearest = known.min_by_key(|(_, (_, first_ms))| first_ms.abs_diff(at_ms));
        let name = nearest.and_then(|(at, _)| self.names.versions.get(at).cloned());
        name.unwrap_or_else(|| version.to_string())
    }

    /// Events that can be causes, as they are told.
    pub fn events(&self, target: &Target, happened: &[Happened]) -> Vec<why::Event> {
        // A release is carried out by Decalog, for whoever asked for it.
        let asked = happened.iter().filter(|one| matches!(one.event, Event::DeployStarted { .. }));
        let asked: HashMap<u64, &str> =
            asked.map(|one| (one.place.seq, one.actor.as_str())).collect();
        let tell = |one: &Happened| {
            let (kind, subject) = self.kind(target, one)?;
            let of = match &one.event {
                Event::TrafficShifted { deployment, .. } | Event::Released { deployment, .. } => {
                    asked.get(&deployment.0)
                }
                _ => None,
            };
            Some(why::Event {
                at_ms: one.at_ms,
                kind,
                subject,
                actor: of.copied().unwrap_or(&one.actor).to_string(),
                reference: one.place.to_string(),
            })
        };
        happened.iter().filter_map(tell).collect()
    }

    fn kind(&self, target: &Target, one: &Happened) -> Option<(EventKind, String)> {
        let is_here =
            |of: &Placement| of.model == target.model && of.environment == target.environment;
        let named = |version: &VersionNumber| self.version(*version, one.at_ms);
        match &one.event {
            Event::TrafficShifted { version, environment, step, .. }
                if *environment == target.environment =>
            {
                let kind =
                    if *step == 0 { EventKind::ReleaseStarted } else { EventKind::ReleaseStep };
                Some((kind, named(version)))
            }
            Event::Released { version, environment, previous, .. }
                if *environment == target.environment =>
            {
                let kind = match previous {
                    Some(previous) if previous == version => EventKind::Configuration,
                    Some(previous) if previous > version => EventKind::Rollback,
                    _ => EventKind::ReleaseFinished,
                };
                Some((kind, named(version)))
            }
            Event::VariableSet { environment, model, .. }
            | Event::VariableReferenceSet { environment, model, .. }
            | Event::VariableRemoved { environment, model, .. }
                if *environment == target.environment
                    && model.as_ref().is_none_or(|model| *model == target.model.model) =>
            {
                Some((EventKind::Configuration, String::new()))
            }
            Event::ScaleChanged { placement, .. } if is_here(placement) => {
                Some((EventKind::Scaled, named(&placement.version)))
            }
            Event::ReplicaReady { placement, replica, .. } if is_here(placement) => {
                Some((EventKind::ReplicaStarted, replica.to_string()))
            }
            Event::ReplicaFailed { placement, replica, .. } if is_here(placement) => {
                Some((EventKind::ReplicaFailed, replica.to_string()))
            }
            _ => None,
        }
    }
}
