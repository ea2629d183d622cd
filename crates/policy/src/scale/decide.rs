//! From inputs to a number of replicas. Pure: no memory, no time but what the inputs say.

use domain::scale::{ScaleDecision, ScaleInputs, ScaleRule, TargetSource};

use super::rounded;

/// Replicas are stopped only if those that stay would still be this far below their target, so that
/// a load at the border between two numbers does not start and stop a replica in turn.
pub const FALL_MARGIN: f64 = 0.85;
/// Replicas are not stopped below what keeps them this busy at their largest learned throughput,
/// whatever the target says.
pub const BUSY_MAX: f64 = 0.9;

/// Decides. Scaling up is immediate and never depends on how many replicas already start, except
/// that they are counted: the result is the number that there should be, not how many to add.
/// Scaling down follows the highest load within `hold_ms`. The limits apply in this order, each
/// above those before it: the requests in the system, `min`, `max`, the budget.
pub fn decide(inputs: &ScaleInputs) -> ScaleDecision {
    let (wanted, rule, load) = want(inputs);
    let (target, rule) = limit(inputs, wanted, rule);
    ScaleDecision { target, rule, wanted, load: rounded(load) }
}

/// What the load asks for, by which rule, and the load that it was computed from.
fn want(inputs: &ScaleInputs) -> (u32, ScaleRule, f64) {
    if inputs.no_data {
        return (inputs.current, ScaleRule::NoData, 0.0);
    }
    let waiting = inputs.queued + inputs.in_flight > 0;
    if inputs.current == 0 && !waiting {
        return (0, ScaleRule::Hold, 0.0);
    }
    if inputs.current > 0 && !waiting && inputs.idle_ms >= inputs.idle_ms_max {
        return (0, ScaleRule::Idle, 0.0);
    }
    let (up, rule, load) = rise(inputs);
    if inputs.current == 0 {
        return (up.max(1), ScaleRule::Wake, load);
    }
    if up > inputs.current {
        return (up, rule, load);
    }
    let down = fall(inputs).max(up);
    if down < inputs.current {
        (down, ScaleRule::Stable, inputs.held)
    } else {
        (inputs.current, ScaleRule::Hold, inputs.held)
    }
}

/// The most that any of the measures of load asks for; at least one replica.
fn rise(inputs: &ScaleInputs) -> (u32, ScaleRule, f64) {
    let measures = [
        (ScaleRule::Stable, inputs.stable),
        (ScaleRule::Forecast, inputs.forecast),
        (ScaleRule::Burst, inputs.burst),
        (ScaleRule::Backlog, inputs.stable.max(inputs.forecast).max(inputs.burst) + inputs.backlog),
    ];
    let mut most = (1, ScaleRule::Stable, inputs.stable);
    for (rule, load) in measures {
        let replicas = replicas(load, inputs.target);
        if replicas > most.0 {
            most = (replicas, rule, load);
        }
    }
    // A queue says nothing of how fast a replica will be: until that is learned, one is added at a
    // time.
    if inputs.target_source == TargetSource::Unlearned {
        most.0 = most.0.min(inputs.ready.saturating_add(1).max(inputs.current));
    }
    most
}

/// The fewest replicas that the load of the hold time leaves room for; at least one.
fn fall(inputs: &ScaleInputs) -> u32 {
    replicas(inputs.held, inputs.target * FALL_MARGIN)
        .max(replicas(inputs.busy_replicas, BUSY_MAX))
        .max(inputs.tried_floor)
        .max(1)
}

fn limit(inputs: &ScaleInputs, wanted: u32, rule: ScaleRule) -> (u32, ScaleRule) {
    let (mut target, mut rule) = (wanted, rule);
    let in_flight_floor = inputs.in_flight_floor.min(inputs.current);
    if target < in_flight_floor {
        (target, rule) = (in_flight_floor, ScaleRule::InFlight);
    }
    if target < inputs.min {
        (target, rule) = (inputs.min, ScaleRule::Min);
    }
    if target > inputs.max {
        (target, rule) = (inputs.max, ScaleRule::Max);
    }
    match inputs.budget {
        Some(budget) if target > budget => (budget, ScaleRule::Budget),
        _ => (target, rule),
    }
}

/// Replicas for a load at so much each; a load or target that is not a number asks for nothing.
fn replicas(load: f64, target: f64) -> u32 {
    let replicas = (load / target.max(1e-3) - 1e-9).ceil();
    if replicas.is_nan() { 0 } else { replicas.max(0.0) as u32 }
}

#[cfg(test)]
mod tests;
