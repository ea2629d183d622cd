//! The way out when too few people are left to approve: whoever owns the data directory ends all
//! protections while no server runs. The ledger says so, and every later checkpoint carries it.

use domain::{DataDirectory, EnvironmentName, Event, Principal, Problem, ProjectName, State};
use ledger::{Damage, Ledger, Location, NewEntry};

use crate::now_ms;
use crate::state_store::ledger_problem;

/// Ends the protection of all environments. Gives which they were. The caller holds the data
/// directory, so that nobody else writes.
pub fn recover(data: &DataDirectory) -> Result<Vec<(ProjectName, EnvironmentName)>, Problem> {
    let location = Location::of(data);
    let fold =
        |ledger: &Ledger, from| ledger::fold(ledger, from, Damage::Refused).map_err(ledger_problem);
    let state =
        fold(&Ledger::open_read_only(&location).map_err(ledger_problem)?, State::default())?;
    let protected: Vec<_> = state.access.protected.keys().cloned().collect();
    if protected.is_empty() {
        return Ok(protected);
    }
    let mut ledger =
        Ledger::open(&location, now_ms(), env!("CARGO_PKG_VERSION")).map_err(ledger_problem)?;
    let actor = Principal::LocalOwner.to_string();
    let mut state = fold(&ledger, state)?;
    for (project, environment) in &protected {
        let event =
            Event::EnvironmentUnprotected { environment: environment.clone(), proposal: None };
        let entry = NewEntry {
            at_ms: now_ms(),
            actor: &actor,
            subject: project.as_str(),
            expected_subject_seq: state.entries_of(project.as_str()),
            event: &event,
        };
        state.apply(&ledger.append(entry).map_err(ledger_problem)?);
    }
    Ok(protected)
}
