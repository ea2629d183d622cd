//! What the share would be if a group of requests had gone on as before, and its peers had not.
//!
//! Rate: a group behaves otherwise, by more than its peers do; what moved them all is no group's
//! doing. Mix: a group whose requests always were like that has more, or less, of the traffic.

use super::dimension::Dimension;
use super::grid::{Grid, rate, records};
use super::groups::Groups;
use super::measure::Triple;
use super::window::Windows;

/// A group without a past is taken for usual, as if so many usual records had been there.
const PRIOR_RECORDS: f64 = 10.0;
/// With fewer records peers say nothing.
const PEERS_MIN: f64 = 30.0;
/// Of the traffic of peers, the part that moved least says what moved all.
const CALM_SHARE: f64 = 0.25;
/// A share of the traffic moves by itself if the group's own requests became so many times as many.
const TRAFFIC_TIMES: f64 = 1.2;

/// A group stands out if it moved further than its peers by more than so many standard errors.
const ERRORS_OUT: f64 = 3.0;
/// What its peers did not do is so much of what a group did.
const OWN_SHARE: f64 = 0.4;
/// A group is said to have been different before if it was by more than so many standard errors.
const ERRORS: f64 = 2.6;

/// One group before and after.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Contrast {
    /// The group's place in its [`Groups`].
    pub(super) slot: usize,
    pub(super) before: Triple,
    pub(super) after: Triple,
    /// Its share before, or what it would have been.
    pub(super) usual: f64,
    /// What its share would be if it had moved as the calmest of its peers; `None` without peers.
    pub(super) like_peers: Option<f64>,
    /// What its rate moved of the whole, in the direction of the change.
    pub(super) rate: f64,
    /// What its part of the traffic moved of the whole, in the direction of the change.
    pub(super) mix: f64,
    /// Its part of the traffic, before and after.
    pub(super) traffic: [f64; 2],
}

impl Contrast {
    /// What the group moved of the whole: after − what it would be.
    pub(super) fn effect(&self) -> f64 {
        self.rate + self.mix
    }

    /// What its share would be.
    pub(super) fn target(&self) -> f64 {
        self.like_peers.unwrap_or(self.usual)
    }
}

/// The whole before and after.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole {
    pub(super) before: Triple,
    pub(super) after: Triple,
}

impl Whole {
    pub(super) fn of(grid: &Grid, windows: &Windows) -> Whole {
        Whole { before: grid.sum(0, &windows.before), after: grid.sum(0, &windows.after) }
    }

    /// After − before.
    pub(super) fn change(&self) -> f64 {
        rate(self.after) - rate(self.before)
    }
}

struct Row {
    before: Triple,
    after: Triple,
    usual: f64,
    /// In the direction of the change, as log-odds: groups that differ move alike on this scale.
    moved: f64,
}

/// Log-odds of a share that rests on so many records: none of few is not the same as never.
fn log_odds(share: f64, records: f64) -> f64 {
    let share = (share * records + 0.5) / (records + 1.0);
    (share / (1.0 - share)).ln()
}

/// All groups of a dimension. `sign` is 1 if the share rose and −1 if it fell.
pub(super) fn contrasts(groups: &Groups, windows: &Windows, sign: f64) -> Vec<Contrast> {
    let grid = &groups.grid;
    let sums = |within| (0..grid.groups()).map(|group| grid.sum(group, within)).collect::<Vec<_>>();
    let (before, after) = (sums(&windows.before), sums(&windows.after));
    let total = |sums: &[Triple]| {
        sums.iter().fold([0.0; 3], |all, one| std::array::from_fn(|at| all[at] + one[at]))
    };
    let whole = Whole { before: total(&before), after: total(&after) };
    if whole.before[0] <= 0.0 || whole.after[0] <= 0.0 {
        return vec![];
    }
    let rows: Vec<Row> = (0..grid.groups())
        .map(|slot| {
            let like = usual_of_family(groups, &before, slot).unwrap_or(rate(whole.before));
            let (own, known) = (rate(before[slot]), records(before[slot]));
            let usual = (own * known + like * PRIOR_RECORDS) / (known + PRIOR_RECORDS);
            let usual_odds = log_odds(usual, known + PRIOR_RECORDS);
            let moved = sign * (log_odds(rate(after[slot]), records(after[slot])) - usual_odds);
            Row { before: before[slot], after: after[slot], usual, moved }
        })
        .collect();
    let mut calmest: Vec<usize> = (0..rows.len()).filter(|at| rows[*at].after[0] > 0.0).collect();
    calmest
        .sort_by(|one, other| rows[*one].moved.total_cmp(&rows[*other].moved).then(one.cmp(other)));
    let seconds = [windows.before.len().max(1) as f64, windows.after.len().max(1) as f64];
    (0..rows.len())
        .map(|slot| contrast(groups, &rows, &calmest, whole, seconds, sign, slot))
        .collect()
}

/// A new replica is expected to be like its version was.
fn usual_of_family(groups: &Groups, before: &[Triple], slot: usize) -> Option<f64> {
    if groups.dimension != Dimension::Replica {
        return None;
    }
    let same = (0..before.len()).filter(|at| groups.family[*at] == groups.family[slot]);
    let sum = same.fold([0.0; 3], |all: Triple, at| {
        std::array::from_fn(|number| all[number] + before[at][number])
    });
    (records(sum) >= PEERS_MIN).then(|| rate(sum))
}

fn contrast(
    groups: &Groups,
    rows: &[Row],
    calmest: &[usize],
    whole: Whole,
    seconds: [f64; 2],
    sign: f64,
    slot: usize,
) -> Contrast {
    let row = &rows[slot];
    let traffic = [row.before[0] / whole.before[0], row.after[0] / whole.after[0]];
    let like_peers = calm_of_peers(groups, rows, calmest, slot)
        .filter(|peers| row.stands_out(peers, sign))
        .map(|peers| row.like(&peers, sign));
    let own = |target: f64| sign * (rate(row.after) - target);
    let rate_moved = like_peers
        .filter(|target| own(*target) >= OWN_SHARE * own(row.usual))
        .map_or(0.0, |target| traffic[1] * own(target).max(0.0));
    let mix = match groups.dimension {
        // Which replica a request goes to is nobody's choice.
        Dimension::Replica => 0.0,
        dimension => mix(dimension, row, whole, traffic, seconds, sign),
    };
    Contrast {
        slot,
        before: row.before,
        after: row.after,
        usual: row.usual,
        like_peers,
        rate: rate_moved,
        mix,
        traffic,
    }
}

fn mix(
    dimension: Dimension,
    row: &Row,
    whole: Whole,
    traffic: [f64; 2],
    seconds: [f64; 2],
    sign: f64,
) -> f64 {
    let per_bucket = [row.before[0] / seconds[0], row.after[0] / seconds[1]];
    let grew = traffic[1] > traffic[0] && per_bucket[1] > TRAFFIC_TIMES * per_bucket[0];
    // A version or a value that has less gave way to another, which is told; a caller just left.
    let shrank = dimension == Dimension::Caller
        && traffic[1] < traffic[0]
        && per_bucket[0] > TRAFFIC_TIMES * per_bucket[1];
    let rest = [whole.before[0] - row.before[0], whole.before[1] - row.before[1]];
    if !(grew || shrank) || rest[0] <= 1e-9 * whole.before[0] {
        return 0.0;
    }
    let rest = (rest[1] / rest[0]).clamp(0.0, 1.0);
    // What a group of few records was like before is not known well: the least is taken.
    let known = records(row.before) + PRIOR_RECORDS;
    let error = ERRORS * ((row.usual * (1.0 - row.usual) + 0.5 / known) / known).sqrt();
    let differs = (row.usual - rest).signum() * ((row.usual - rest).abs() - error).max(0.0);
    (sign * (traffic[1] - traffic[0]) * differs).max(0.0)
}

/// How the peers of a group moved.
struct Peers {
    /// Of the calmest, as one, in log-odds and as a share; not less than nothing.
    calm_odds: f64,
    calm_share: f64,
    /// Of all of them, before and after.
    all_before: f64,
    all_after: Triple,
}

impl Row {
    fn moved_share(&self, sign: f64) -> f64 {
        sign * (rate(self.after) - self.usual)
    }

    /// Whether it moved further than its peers on the whole, beyond chance.
    fn stands_out(&self, peers: &Peers, sign: f64) -> bool {
        let variance = |share: f64, known: f64| share * (1.0 - share) / known.max(1.0);
        let (own, others) = (rate(self.after), rate(peers.all_after));
        let known = records(self.after);
        // Of few records the share of all is more to be trusted than their own.
        let error = (variance((own + others) / 2.0, known).max(variance(own, known))
            + variance(others, records(peers.all_after)))
        .sqrt();
        self.moved_share(sign) - sign * (others - peers.all_before) > ERRORS_OUT * error
    }

    /// What its share would be if it had moved as the calmest peers: on the scale on which it is
    /// more like them.
    fn like(&self, peers: &Peers, sign: f64) -> f64 {
        let usual = self.usual.clamp(1e-6, 1.0 - 1e-6);
        let odds = (usual / (1.0 - usual)).ln() + sign * peers.calm_odds;
        let (by_odds, by_share) =
            (1.0 / (1.0 + (-odds).exp()), self.usual + sign * peers.calm_share);
        let further = if sign > 0.0 { by_odds.max(by_share) } else { by_odds.min(by_share) };
        further.clamp(0.0, 1.0)
    }
}

/// How the peers of a group moved; `None` if there are too few.
fn calm_of_peers(groups: &Groups, rows: &[Row], calmest: &[usize], slot: usize) -> Option<Peers> {
    let peers = || {
        calmest.iter().filter(|at| **at != slot && groups.family_of(**at) == groups.family_of(slot))
    };
    let mut all = Peers { calm_odds: 0.0, calm_share: 0.0, all_before: 0.0, all_after: [0.0; 3] };
    for at in peers() {
        all.all_before += rows[*at].after[0] * rows[*at].usual;
        all.all_after.iter_mut().zip(rows[*at].after).for_each(|(sum, more)| *sum += more);
    }
    all.all_before /= all.all_after[0].max(f64::MIN_POSITIVE);
    let (mut weight, mut known) = (0.0, 0.0);
    for at in peers() {
        let row = &rows[*at];
        all.calm_odds += row.after[0] * row.moved;
        all.calm_share += row.after[0] * (rate(row.after) - row.usual);
        weight += row.after[0];
        known += records(row.after);
        if weight >= CALM_SHARE * all.all_after[0] && known >= PEERS_MIN {
            let calm_share = (all.calm_share / weight).abs();
            let is_calm = all.calm_odds <= 0.0;
            all.calm_odds = (all.calm_odds / weight).max(0.0);
            all.calm_share = if is_calm { 0.0 } else { calm_share };
            return Some(all);
        }
    }
    None
}
