//! Groups of requests that account for the change: large enough, rare enough, and not the same
//! requests as another.

use super::answer::{CauseKind, Reference, RuledOut, WhyNot};
use super::coalition::{GROUPS_MAX, Player, Table};
use super::contrast::{Contrast, Whole, contrasts};
use super::dimension::Dimension;
use super::events;
use super::focus::Focus;
use super::groups::Groups;
use super::input::{Event, NONE};
use super::measure::Measure;
use super::metric::Metric;
use super::placebo::{Placebo, least, of_groups};
use super::view::View;
use super::window::Windows;

/// A cause accounts for so much of the change at least.
pub(super) const SHARE_MIN: f64 = 0.2;
/// … and as much is so rare when nothing happens, whatever the number of candidates.
pub(super) const P_MAX: f64 = 0.005;
/// What adds less than this to another is the same requests.
const SAME_SHARE: f64 = 0.2;
/// Candidates that are told when they are ruled out: so many of each dimension, of so much.
const TOLD_MAX: usize = 2;
const TOLD_SHARE_MIN: f64 = 0.02;
/// A value of a column came with the change if it has so much more of the rows.
const CAME_SHARE: f64 = 0.05;
/// … and so many times as many.
const CAME_TIMES: f64 = 1.5;
/// A caller's own values changed if it has so much more of one.
const WITHIN_SHARE: f64 = 0.2;
/// Columns that are looked at.
const COLUMNS_MAX: usize = 64;

/// A group that accounts for a part of the change.
pub(super) struct Survivor {
    pub(super) kind: CauseKind,
    pub(super) reference: Reference,
    pub(super) contrast: Contrast,
    pub(super) player: Player,
    /// Of the change, 0 to 1.
    pub(super) share: f64,
    pub(super) p: f64,
    /// Which of [`Weighed::groups`].
    pub(super) groups: usize,
}

/// What came of weighing all groups.
pub(super) struct Weighed {
    pub(super) groups: Vec<Groups>,
    pub(super) survivors: Vec<Survivor>,
    pub(super) ruled_out: Vec<RuledOut>,
    pub(super) sign: f64,
}

fn dimensions(view: &View, metric: Metric, focus: &Focus) -> Vec<Dimension> {
    use Dimension::*;
    let columns = (0..view.columns.len().min(COLUMNS_MAX)).map(Column);
    match (metric, focus.measure) {
        (_, Measure::Value { .. }) => vec![Version, Caller],
        // Requests wait for any replica, and whatever is in them.
        (Metric::Latency, _) if !focus.is_worker => vec![Version, Caller],
        (Metric::Latency | Metric::Errors, _) => {
            [Version, Replica, Caller, Size].into_iter().chain(columns).collect()
        }
        _ => [Version, Replica, Caller].into_iter().chain(columns).collect(),
    }
}

/// Whether a value has become frequent, rather than its rows other.
pub(super) fn came(contrast: &Contrast) -> bool {
    let [before, after] = contrast.traffic;
    after - before >= CAME_SHARE && after >= CAME_TIMES * before
}

fn kind_of(dimension: Dimension, metric: Metric, contrast: &Contrast) -> CauseKind {
    match dimension {
        Dimension::Version if metric == Metric::Errors => CauseKind::FailingVersion,
        Dimension::Version => CauseKind::Version,
        Dimension::Replica => CauseKind::Replica,
        Dimension::Caller => CauseKind::Caller,
        Dimension::Size => CauseKind::Load,
        Dimension::Column(_) if came(contrast) || contrast.mix > contrast.rate => CauseKind::Column,
        Dimension::Column(_) if metric == Metric::Accuracy => CauseKind::Concept,
        Dimension::Column(_) => CauseKind::Slice,
    }
}

fn reference_of(
    view: &View,
    groups: &Groups,
    slot: usize,
    kind: CauseKind,
    near: &[&Event],
) -> Reference {
    match groups.dimension {
        Dimension::Column(column) => Reference {
            name: view.observed.columns[column].name.clone(),
            value: Some(groups.names[slot].clone()),
            ..Reference::default()
        },
        _ => events::reference(near, kind, &groups.names[slot]),
    }
}

/// Weighs all groups of all dimensions.
pub(super) fn weigh(view: &View, metric: Metric, focus: &Focus, quiet: &[Windows]) -> Weighed {
    let whole = Whole::of(&focus.grid, &focus.windows);
    let (sign, change) = (whole.change().signum(), whole.change().abs().max(f64::MIN_POSITIVE));
    let triples = super::groups::triples(view, focus.measure);
    let groups: Vec<Groups> = dimensions(view, metric, focus)
        .into_iter()
        .filter_map(|dimension| Groups::of(view, dimension, focus.measure, &triples))
        .collect();
    let placebo = of_groups(&groups, &focus.grid, quiet);
    let p_max = least(P_MAX, quiet.len());
    let near = events::near(view, focus.step.possible.start, focus.windows.after.end);
    let (mut found, mut ruled_out) = (vec![], vec![]);
    for (at, of) in groups.iter().enumerate() {
        let mut all = contrasts(of, &focus.windows, sign);
        all.sort_by(|one, other| {
            other.effect().total_cmp(&one.effect()).then(one.slot.cmp(&other.slot))
        });
        let known = all.into_iter().filter(|contrast| of.ids[contrast.slot] != NONE);
        for (rank, contrast) in known.enumerate() {
            let (share, p) = (contrast.effect() / change, placebo.p(contrast.effect()));
            let kind = kind_of(of.dimension, metric, &contrast);
            let reference = reference_of(view, of, contrast.slot, kind, &near);
            if share >= SHARE_MIN && p <= p_max {
                let id = of.ids[contrast.slot];
                let player = Player::new(of.dimension, id, &contrast);
                found.push(Survivor { kind, reference, contrast, player, share, p, groups: at });
            } else if rank < TOLD_MAX && share >= TOLD_SHARE_MIN {
                let why = match share < SHARE_MIN {
                    true => WhyNot::TooSmall { share },
                    false => WhyNot::LikeNoise { p },
                };
                ruled_out.push(RuledOut { kind, reference, series: None, why });
            }
        }
    }
    // The largest first; of equals the one that stands first in the order of causes.
    found.sort_by(|one, other| {
        other.share.total_cmp(&one.share).then(one.groups.cmp(&other.groups))
    });
    let mut weighed = Weighed { groups, survivors: vec![], ruled_out, sign };
    weighed.tell_apart(view, focus, found, change);
    weighed
}

/// A column whose cells know both; `None` if all requests do. `Err` if there is none.
fn common(one: Dimension, other: Dimension) -> Result<Option<usize>, ()> {
    use Dimension::*;
    match (one, other) {
        (Column(one), Column(other)) if one == other => Ok(Some(one)),
        (Column(_), Column(_)) => Err(()),
        (Column(column), Version | Caller) | (Version | Caller, Column(column)) => Ok(Some(column)),
        (Column(_), _) | (_, Column(_)) => Err(()),
        _ => Ok(None),
    }
}

/// Whether a caller's rows have the value of a column that came: then it is the values of the caller
/// that changed, and the column says so.
fn changed_within(view: &View, focus: &Focus, caller: &Survivor, column: &Survivor) -> bool {
    let (Dimension::Caller, Dimension::Column(of)) =
        (caller.player.dimension, column.player.dimension)
    else {
        return false;
    };
    if column.kind != CauseKind::Column {
        return false;
    }
    let share = |within: &std::ops::Range<usize>| {
        let cells = view.columns[of].within(within).iter();
        let cells = cells.filter(|cell| cell.key.caller == caller.player.id);
        let (mut all, mut some) = (0.0, 0.0);
        for cell in cells {
            let weight = super::measure::counted(cell.sums.requests);
            all += weight;
            some += if cell.key.value == column.player.id { weight } else { 0.0 };
        }
        if all > 0.0 { some / all } else { 0.0 }
    };
    let (before, after) = (share(&focus.windows.before), share(&focus.windows.after));
    after - before >= WITHIN_SHARE && after >= CAME_TIMES * before
}

/// Which of two that are the same requests is told: true for the first.
fn is_told_before(one: &Survivor, other: &Survivor) -> bool {
    use Dimension::*;
    let (first, second) = (one.player.dimension, other.player.dimension);
    let is_column = |survivor: &Survivor| survivor.kind == CauseKind::Column;
    match (first, second) {
        // That a caller's values changed says why the caller fares worse.
        (Column(_), Caller) if is_column(one) => return true,
        (Caller, Column(_)) if is_column(other) => return false,
        // A size of batch is what somebody sends.
        (Size, _) => return false,
        (_, Size) => return true,
        _ => {}
    }
    let traffic = |survivor: &Survivor| survivor.contrast.traffic[1];
    if traffic(one) < 0.9 * traffic(other) {
        return true;
    }
    traffic(one) * 0.9 <= traffic(other) && first <= second
}

impl Weighed {
    /// Keeps of those that are the same requests one, and gives the rest its share.
    fn tell_apart(&mut self, view: &View, focus: &Focus, found: Vec<Survivor>, change: f64) {
        let table = |column| Table::new(view, column, focus.measure, &focus.windows, self.sign);
        let mut kept: Vec<Survivor> = vec![];
        let mut dropped: Vec<(Survivor, Reference)> = vec![];
        for survivor in found.into_iter().take(4 * GROUPS_MAX) {
            let mut rival = None;
            if let Some(at) =
                kept.iter().position(|other| changed_within(view, focus, &survivor, other))
            {
                dropped.push((survivor, kept[at].reference.clone()));
                continue;
            }
            if let Some(at) =
                kept.iter().position(|other| changed_within(view, focus, other, &survivor))
            {
                let told = survivor.reference.clone();
                dropped.push((std::mem::replace(&mut kept[at], survivor), told));
                continue;
            }
            for (at, other) in kept.iter().enumerate() {
                let Ok(column) = common(survivor.player.dimension, other.player.dimension) else {
                    rival = Some((at, true));
                    break;
                };
                let table = table(column);
                let both = table.effect(&[&survivor.player, &other.player]);
                let adds = (both - table.effect(&[&other.player])) / change;
                let other_adds = (both - table.effect(&[&survivor.player])) / change;
                if adds < SAME_SHARE {
                    let is_same = other_adds < SAME_SHARE;
                    rival = Some((at, !(is_same && is_told_before(&survivor, other))));
                    break;
                }
            }
            match rival {
                None => kept.push(survivor),
                Some((at, true)) => dropped.push((survivor, kept[at].reference.clone())),
                Some((at, false)) => {
                    let told = survivor.reference.clone();
                    dropped.push((std::mem::replace(&mut kept[at], survivor), told));
                }
            }
        }
        kept.truncate(GROUPS_MAX);
        let column = kept.iter().find_map(|survivor| match survivor.player.dimension {
            Dimension::Column(column) => Some(column),
            _ => None,
        });
        if kept.len() > 1 {
            let players: Vec<&Player> = kept.iter().map(|survivor| &survivor.player).collect();
            let shares = table(column).shapley(&players);
            kept.iter_mut().zip(shares).for_each(|(one, effect)| one.share = effect / change);
        }
        kept.retain(|survivor| survivor.share >= SHARE_MIN / 2.0);
        kept.iter_mut().for_each(|survivor| survivor.share = survivor.share.min(1.0));
        let sum: f64 = kept.iter().map(|survivor| survivor.share).sum();
        kept.iter_mut().for_each(|survivor| survivor.share /= sum.max(1.0));
        kept.sort_by(|one, other| {
            other.share.total_cmp(&one.share).then(one.groups.cmp(&other.groups))
        });
        for (survivor, told) in dropped {
            // What was told in its place may itself have been replaced: then by the first.
            let cause = kept.iter().position(|kept| kept.reference == told).unwrap_or(0) + 1;
            let why = WhyNot::SameRequests { cause };
            let Survivor { kind, reference, .. } = survivor;
            self.ruled_out.push(RuledOut { kind, reference, series: None, why });
        }
        self.survivors = kept;
    }
}

/// How rare a change of the whole is.
pub(super) fn p_of_whole(focus: &Focus, quiet: &[Windows]) -> f64 {
    let placebo: Placebo = super::placebo::of_whole(&focus.grid, quiet);
    placebo.p(Whole::of(&focus.grid, &focus.windows).change().abs())
}
