//! The numbers that show a cause, and what to do about it.

use std::ops::Range;

use super::answer::{CauseKind, Evidence, Level, Next, Reference, Span, Unit};
use super::contrast::Contrast;
use super::dimension::{Dimension, place};
use super::focus::Focus;
use super::grid::{rate, records};
use super::groups::Groups;
use super::input::{EventKind, NONE};
use super::measure::{Measure, Part, pooled};
use super::metric::Metric;
use super::placebo::Moved;
use super::view::View;

/// One number.
pub(super) fn number(name: &str, unit: Unit, before: Option<f64>, after: f64) -> Evidence {
    Evidence { name: name.into(), unit, before, after, records: None }
}

/// A stretch of buckets as times.
pub(super) fn span(view: &View, buckets: &Range<usize>) -> Span {
    Span { from_ms: view.time_ms(buckets.start), to_ms: view.time_ms(buckets.end) }
}

/// The metric in a stretch of buckets.
pub(super) fn level(view: &View, metric: Metric, focus: &Focus, within: &Range<usize>) -> Level {
    let sum = focus.grid.sum(0, within);
    let times = (metric == Metric::Latency).then(|| view.times(Part::Total).pooled(within));
    let quantile = |share| times.as_ref().and_then(|times| times.quantile_ms(share));
    Level {
        span: span(view, within),
        share: rate(sum),
        p50_ms: quantile(0.5),
        p99_ms: quantile(0.99),
        requests: sum[0],
        records: records(sum),
    }
}

/// Of a group: itself, the others, and what would be without.
pub(super) fn of_group(
    view: &View,
    focus: &Focus,
    groups: &Groups,
    contrast: &Contrast,
    sign: f64,
) -> Vec<Evidence> {
    let (before, after) = (&focus.windows.before, &focus.windows.after);
    let whole = [focus.grid.sum(0, before), focus.grid.sum(0, after)];
    let known = (contrast.before[0] > 0.0).then(|| rate(contrast.before));
    let own = number("share", Unit::Share, known, rate(contrast.after));
    let rest = |whole: [f64; 3], own: [f64; 3]| {
        let rest: [f64; 3] = std::array::from_fn(|at| (whole[at] - own[at]).max(0.0));
        (rest[0] > 1e-9 * whole[0]).then(|| rate(rest))
    };
    let mut evidence = vec![Evidence { records: Some(records(contrast.after)), ..own }];
    if let Some(others) = rest(whole[1], contrast.after) {
        evidence.push(number("rest", Unit::Share, rest(whole[0], contrast.before), others));
    }
    let [traffic_before, traffic_after] = contrast.traffic;
    evidence.push(number("traffic", Unit::Share, Some(traffic_before), traffic_after));
    let without = rate(whole[1]) - sign * contrast.effect();
    evidence.push(number("without", Unit::Share, Some(rate(whole[0])), without.clamp(0.0, 1.0)));
    evidence.push(number("rate", Unit::Share, None, sign * contrast.rate));
    evidence.push(number("mix", Unit::Share, None, sign * contrast.mix));
    if let Measure::Slow { part, .. } = focus.measure {
        let id = groups.ids[contrast.slot];
        evidence.extend(of_times(view, focus, groups.dimension, id, part));
    }
    evidence
}

/// The 99th percentile of a group and of the others.
fn of_times(
    view: &View,
    focus: &Focus,
    dimension: Dimension,
    id: u16,
    part: Part,
) -> Vec<Evidence> {
    let p99 = |within: &Range<usize>, own: bool| {
        let cells = match dimension {
            Dimension::Column(column) => &view.columns[column],
            _ => &view.cells,
        };
        let of = cells.within(within).iter().copied();
        let of = of.filter(|cell| (place(&cell.key, dimension) == id) == own);
        pooled(of, part).quantile_ms(0.99)
    };
    let (before, after) = (&focus.windows.before, &focus.windows.after);
    [("p99", true), ("p99_rest", false)]
        .into_iter()
        .filter_map(|(name, own)| {
            Some(number(name, Unit::Milliseconds, p99(before, own), p99(after, own)?))
        })
        .collect()
}

/// Of something that was measured.
pub(super) fn of_moved(name: &str, unit: Unit, moved: &Moved) -> Evidence {
    number(name, unit, Some(moved.before), moved.after)
}

/// The version that had most of the traffic before, but for one.
pub(super) fn version_before(view: &View, before: &Range<usize>, but: &str) -> Option<String> {
    let mut weights = std::collections::BTreeMap::<String, f64>::new();
    for cell in view.cells.within(before).iter().filter(|cell| cell.key.version != NONE) {
        let name = super::groups::name_of(view.observed, Dimension::Version, cell.key.version);
        *weights.entry(name).or_default() += super::measure::counted(cell.sums.requests);
    }
    weights.remove(but);
    let most = weights.into_iter().max_by(|one, other| one.1.total_cmp(&other.1));
    most.map(|(name, _)| name)
}

/// What a person should do.
pub(super) fn next(view: &View, before: &Range<usize>, kind: CauseKind, of: &Reference) -> Next {
    match kind {
        CauseKind::Version | CauseKind::FailingVersion => {
            let to = version_before(view, before, &of.name);
            to.map_or(Next::LookAtRecords, |to| Next::RollBack { to })
        }
        CauseKind::Replica => Next::LookAtReplica { replica: of.name.clone() },
        CauseKind::Caller => Next::LookAtCaller { caller: of.name.clone() },
        CauseKind::Column | CauseKind::Slice => Next::LookAtColumn { column: of.name.clone() },
        CauseKind::Configuration if of.happened != Some(EventKind::Rollback) => {
            Next::TakeBack { event: of.event.clone().unwrap_or_default() }
        }
        CauseKind::Cpu => Next::MoreProcessors,
        CauseKind::ColdStarts => Next::KeepReplicasReady,
        CauseKind::Dependency => Next::LookAtDependencies,
        CauseKind::Load | CauseKind::Queue | CauseKind::Replicas => Next::MoreReplicas,
        CauseKind::Concept => Next::TrainAgain,
        CauseKind::Configuration | CauseKind::Unknown => Next::LookAtRecords,
    }
}
