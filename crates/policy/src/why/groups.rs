//! Requests by what they have in common: a version, a replica, a caller, a size, a column's value.

use std::collections::BTreeMap;

use super::dimension::{Dimension, place};
use super::grid::Grid;
use super::input::{Cell, NONE, Names, Observed};
use super::measure::{Measure, Triple};
use super::view::View;

/// Groups of a dimension that are looked at each for itself; the smaller ones are one group.
const GROUPS_MAX: usize = 128;

/// All groups of a dimension.
pub(super) struct Groups {
    pub(super) dimension: Dimension,
    /// The number of each group in keys, by name; the last is [`NONE`] and stands for all others.
    pub(super) ids: Vec<u16>,
    pub(super) names: Vec<String>,
    /// Groups are compared with others that have the same family: replicas with those of their
    /// version.
    pub(super) family: Vec<u16>,
    pub(super) grid: Grid,
}

fn names_of(observed: &Observed, dimension: Dimension) -> &[String] {
    let Names { versions, replicas, callers, sizes, .. } = &observed.names;
    match dimension {
        Dimension::Version => versions,
        Dimension::Replica => replicas,
        Dimension::Caller => callers,
        Dimension::Size => sizes,
        Dimension::Column(column) => {
            observed.columns.get(column).map_or(&[], |column| &column.values)
        }
    }
}

/// What a group is called.
pub(super) fn name_of(observed: &Observed, dimension: Dimension, id: u16) -> String {
    let name = names_of(observed, dimension).get(usize::from(id));
    name.cloned().unwrap_or_else(|| format!("#{id}"))
}

impl Groups {
    /// Counts by a measure. `None` if nothing is known of the dimension.
    /// `triples` are those of all requests, in their order.
    pub(super) fn of(
        view: &View,
        dimension: Dimension,
        measure: Measure,
        triples: &[Triple],
    ) -> Option<Groups> {
        let own;
        let (cells, triples) = match dimension {
            Dimension::Column(column) => {
                let cells = &view.columns[column].all;
                own = cells.iter().map(|cell| measure.of(cell)).collect::<Vec<_>>();
                (cells, own.as_slice())
            }
            _ => (cells_of(view, measure), triples),
        };
        let mut sums = vec![None; usize::from(NONE) + 1];
        let mut versions: BTreeMap<(u16, u16), f64> = BTreeMap::new();
        for (cell, triple) in cells.iter().zip(triples) {
            let id = place(&cell.key, dimension);
            *sums[usize::from(id)].get_or_insert(0.0) += triple[0];
            if dimension == Dimension::Replica {
                *versions.entry((id, cell.key.version)).or_default() += triple[0];
            }
        }
        let mut weights: BTreeMap<u16, (f64, BTreeMap<u16, f64>)> = (0..=NONE)
            .zip(&sums)
            .filter_map(|(id, sum)| Some((id, ((*sum)?, BTreeMap::new()))))
            .collect();
        for ((id, version), weight) in versions {
            weights.entry(id).or_default().1.insert(version, weight);
        }
        weights.remove(&NONE);
        let mut largest: Vec<_> = weights
            .into_iter()
            .map(|(id, (weight, versions))| {
                let most = versions.into_iter().max_by(|one, other| one.1.total_cmp(&other.1));
                let family = most.map_or(NONE, |(version, _)| version);
                (name_of(view.observed, dimension, id), id, weight, family)
            })
            .collect();
        if largest.is_empty() {
            return None;
        }
        largest.sort_by(|one, other| other.2.total_cmp(&one.2).then_with(|| one.0.cmp(&other.0)));
        largest.truncate(GROUPS_MAX);
        largest.sort_by(|one, other| one.0.cmp(&other.0).then(one.1.cmp(&other.1)));
        let mut slots = vec![largest.len(); usize::from(NONE) + 1];
        largest.iter().enumerate().for_each(|(at, (_, id, ..))| slots[usize::from(*id)] = at);
        let mut grid = Grid::new(largest.len() + 1, view.buckets);
        for (cell, triple) in cells.iter().zip(triples) {
            let slot = slots[usize::from(place(&cell.key, dimension))];
            grid.add(slot, view.bucket(cell), *triple);
        }
        Some(Groups {
            dimension,
            ids: largest.iter().map(|(_, id, ..)| *id).chain([NONE]).collect(),
            names: largest.iter().map(|(name, ..)| name.clone()).chain(["others".into()]).collect(),
            family: largest.iter().map(|(.., family)| *family).chain([NONE]).collect(),
            grid: grid.finish(),
        })
    }

    /// What a group may be compared within.
    pub(super) fn family_of(&self, slot: usize) -> Option<u16> {
        (self.dimension == Dimension::Replica).then(|| self.family[slot])
    }
}

/// The cells that a measure is of.
fn cells_of<'v, 'a>(view: &'v View<'a>, measure: Measure) -> &'v Vec<&'a Cell> {
    match measure {
        Measure::Value { column, .. } => &view.columns[column].all,
        _ => &view.cells.all,
    }
}

/// Of all requests, in their order.
pub(super) fn triples(view: &View, measure: Measure) -> Vec<Triple> {
    cells_of(view, measure).iter().map(|cell| measure.of(cell)).collect()
}

/// All requests as one group.
pub(super) fn all(view: &View, measure: Measure) -> Grid {
    if let Measure::Slow { part, bin } = measure {
        return view.times(part).grid(bin);
    }
    let mut grid = Grid::new(1, view.buckets);
    let cells = cells_of(view, measure);
    cells.iter().for_each(|cell| grid.add(0, view.bucket(cell), measure.of(cell)));
    grid.finish()
}
