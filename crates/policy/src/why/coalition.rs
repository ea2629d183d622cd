//! What several groups account for together: each gets its mean contribution over all orders in
//! which they could be put back (Shapley 1953), exactly, for a few.

use std::collections::BTreeMap;

use super::contrast::Contrast;
use super::dimension::{Dimension, place};
use super::input::Key;
use super::measure::{Measure, Triple};
use super::view::View;
use super::window::Windows;

/// The most groups that are weighed against each other.
pub(super) const GROUPS_MAX: usize = 6;

/// A group that may be put back to what it would be.
#[derive(Clone, Debug)]
pub(super) struct Player {
    pub(super) dimension: Dimension,
    pub(super) id: u16,
    /// What its share would be.
    target: f64,
    /// What its traffic is divided by to be as before; 1 if it was the rate alone.
    traffic: f64,
}

impl Player {
    pub(super) fn new(dimension: Dimension, id: u16, contrast: &Contrast) -> Player {
        let [before, after] = contrast.traffic;
        // As the others are held still, it is the odds that become as before.
        let odds = |share: f64| share / (1.0 - share).max(1e-9);
        let is_mix = contrast.mix > contrast.rate && after > 0.0;
        let traffic = if is_mix { (odds(before) / odds(after)).clamp(0.0, 1e6) } else { 1.0 };
        Player { dimension, id, target: contrast.target(), traffic }
    }
}

/// The requests after the change, by all groups that they are in.
pub(super) struct Table {
    rows: Vec<(Key, Triple)>,
    sign: f64,
}

impl Table {
    /// Of requests, or of the cells of a column.
    pub(super) fn new(
        view: &View,
        column: Option<usize>,
        measure: Measure,
        windows: &Windows,
        sign: f64,
    ) -> Table {
        let cells = column.map_or(&view.cells, |column| &view.columns[column]);
        let mut rows: BTreeMap<Key, Triple> = BTreeMap::new();
        for cell in cells.within(&windows.after) {
            let row = rows.entry(cell.key).or_default();
            row.iter_mut().zip(measure.of(cell)).for_each(|(sum, more)| *sum += more);
        }
        Table { rows: rows.into_iter().collect(), sign }
    }

    /// The share if these players were put back.
    fn without(&self, players: &[&Player]) -> f64 {
        let (mut all, mut some) = (0.0, 0.0);
        for (key, triple) in &self.rows {
            let (mut weight, mut share) = (triple[0], super::grid::rate(*triple));
            for player in players.iter().filter(|p| place(key, p.dimension) == p.id) {
                weight *= player.traffic;
                // Being put back does not make worse what is well.
                share = self.sign * (self.sign * share).min(self.sign * player.target);
            }
            all += weight;
            some += weight * share;
        }
        if all > 0.0 { some / all } else { 0.0 }
    }

    /// After − the share if these were put back, in the direction of the change.
    pub(super) fn effect(&self, players: &[&Player]) -> f64 {
        // If nothing is left there is nothing to compare with.
        self.sign * (self.without(&[]) - self.without(players))
    }

    /// The mean contribution of each.
    pub(super) fn shapley(&self, players: &[&Player]) -> Vec<f64> {
        let count = players.len().min(GROUPS_MAX);
        let effects: Vec<f64> = (0..1_usize << count)
            .map(|set| {
                let chosen: Vec<&Player> =
                    (0..count).filter(|at| set >> at & 1 == 1).map(|at| players[at]).collect();
                self.effect(&chosen)
            })
            .collect();
        let factorial = |n: usize| (1..=n).product::<usize>() as f64;
        (0..count)
            .map(|player| {
                let without = (0..1_usize << count).filter(|set| set >> player & 1 == 0);
                let parts = without.map(|set| {
                    let size = set.count_ones() as usize;
                    let orders = factorial(size) * factorial(count - size - 1) / factorial(count);
                    orders * (effects[set | 1 << player] - effects[set])
                });
                parts.sum()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn player(dimension: Dimension, id: u16) -> Player {
        Player { dimension, id, target: 0.1, traffic: 1.0 }
    }

    #[test]
    fn shares_sum_up_to_what_all_account_for() {
        let key = |version, caller| Key { version, caller, ..Key::default() };
        let rows = vec![
            (key(0, 0), [40.0, 4.0, 40.0]),
            (key(1, 0), [20.0, 12.0, 20.0]),
            (key(0, 1), [20.0, 8.0, 20.0]),
            (key(1, 1), [20.0, 18.0, 20.0]),
        ];
        let table = Table { rows, sign: 1.0 };
        let (version, caller) = (player(Dimension::Version, 1), player(Dimension::Caller, 1));
        let both = [&version, &caller];
        let shares = table.shapley(&both);
        assert!((shares.iter().sum::<f64>() - table.effect(&both)).abs() < 1e-12);
        // 0.42 − 0.1: all of it.
        assert!((table.effect(&both) - 0.32).abs() < 1e-12);
        // Alone 0.26 and 0.22; each the mean of coming first and of coming second.
        assert!((shares[0] - 0.18).abs() < 1e-12 && (shares[1] - 0.14).abs() < 1e-12);
        // The same group twice shares what it has.
        let same = table.shapley(&[&version, &version]);
        assert!((same[0] - same[1]).abs() < 1e-12);
        assert!((same[0] + same[1] - table.effect(&[&version])).abs() < 1e-12);
        assert!(table.shapley(&[]).is_empty());
    }
}
