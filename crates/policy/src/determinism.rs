//! What the answers to the same rows in different calls say of a model: whether rounding depends on
//! the size of a batch, whether rows change each other's answers, whether it draws them.
//!
//! In a batch of copies of one row, nothing but its size and the row's place can change an answer.
//! In one of different rows, what differs from the copies at the same place of a batch of the same
//! size is due to the neighbours.

use std::collections::HashMap;

use domain::{Determinism, Distance};

/// What a row had beside it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Company {
    /// Nothing, or copies of itself.
    Copies,
    /// Other rows, in the arrangement of this number.
    Others(u32),
}

/// An answer to a row, and the call that it comes from.
#[derive(Clone, Copy, Debug)]
pub struct Seen<A> {
    /// Which row.
    pub row: u32,
    /// Rows of the call.
    pub size: u32,
    /// The row's place there, from 0.
    pub place: u32,
    /// What was beside it.
    pub company: Company,
    /// What it was answered.
    pub answer: A,
}

/// What the answers say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// What the model is; never `unknown`.
    pub outcome: Determinism,
    /// The largest difference that it is so for, in units in the last place; `None` where there is
    /// none, or one beyond rounding.
    pub ulp_max: Option<u64>,
}

/// What some answers have in common, and how far they are from it.
#[derive(Default)]
struct Spread {
    widest: Option<Distance>,
}

impl Spread {
    fn add(&mut self, distance: Distance) {
        self.widest = self.widest.max(Some(distance));
    }

    fn widest(&self) -> Distance {
        self.widest.unwrap_or(Distance::Same)
    }
}

/// Says what a model is, by answers to rows of which each was asked for in several calls.
pub fn classify<A>(seen: &[Seen<A>], distance: impl Fn(&A, &A) -> Distance) -> Found {
    let again = spread_of_repeats(seen, &distance);
    if again != Distance::Same {
        return Found { outcome: Determinism::Random, ulp_max: again.ulp() };
    }
    let sizes = spread_of_sizes(seen, &distance);
    let neighbours = spread_of_neighbours(seen, &distance);
    // Copies whose answers are further from each other than rounding makes them are counted, added
    // up or averaged over: they interact with themselves.
    if sizes == Distance::Far || neighbours > sizes {
        return Found { outcome: Determinism::RowsInteract, ulp_max: None };
    }
    match sizes {
        Distance::Same => Found { outcome: Determinism::Invariant, ulp_max: None },
        _ => Found { outcome: Determinism::SizeDependent, ulp_max: sizes.ulp() },
    }
}

/// Between answers of the same call.
fn spread_of_repeats<A>(seen: &[Seen<A>], distance: &impl Fn(&A, &A) -> Distance) -> Distance {
    let mut first: HashMap<(u32, u32, u32, Company), &A> = HashMap::new();
    let mut spread = Spread::default();
    for Seen { row, size, place, company, answer } in seen {
        match first.entry((*row, *size, *place, *company)) {
            std::collections::hash_map::Entry::Occupied(known) => {
                spread.add(distance(known.get(), answer))
            }
            std::collections::hash_map::Entry::Vacant(free) => drop(free.insert(answer)),
        }
    }
    spread.widest()
}

/// Between answers to a row beside copies of itself only.
fn spread_of_sizes<A>(seen: &[Seen<A>], distance: &impl Fn(&A, &A) -> Distance) -> Distance {
    let mut first: HashMap<u32, &A> = HashMap::new();
    let mut spread = Spread::default();
    for Seen { row, answer, .. } in copies(seen) {
        spread.add(distance(first.entry(*row).or_insert(answer), answer));
    }
    spread.widest()
}

/// Between answers to a row at the same place of batches of one size, beside copies of itself and
/// beside others.
fn spread_of_neighbours<A>(seen: &[Seen<A>], distance: &impl Fn(&A, &A) -> Distance) -> Distance {
    let alone: HashMap<(u32, u32, u32), &A> =
        copies(seen).map(|it| ((it.row, it.size, it.place), &it.answer)).collect();
    let mut spread = Spread::default();
    for Seen { row, size, place, company, answer } in seen {
        if let (Company::Others(_), Some(own)) = (company, alone.get(&(*row, *size, *place))) {
            spread.add(distance(own, answer));
        }
    }
    spread.widest()
}

fn copies<A>(seen: &[Seen<A>]) -> impl Iterator<Item = &Seen<A>> {
    seen.iter().filter(|it| it.company == Company::Copies)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of a call are numbers; the answers are what `model` makes of all of them.
    fn ask(
        seen: &mut Vec<Seen<f64>>,
        rows: &[u32],
        company: Company,
        model: &mut impl FnMut(&[f64]) -> Vec<f64>,
    ) {
        let values: Vec<f64> = rows.iter().map(|row| f64::from(*row) * 1.25 + 0.5).collect();
        let answers = model(&values);
        for (place, (row, answer)) in (0..).zip(rows.iter().zip(answers)) {
            seen.push(Seen { row: *row, size: rows.len() as u32, place, company, answer });
        }
    }

    /// As the control plane asks: alone, again, copies, others in two orders.
    fn of(mut model: impl FnMut(&[f64]) -> Vec<f64>) -> Found {
        let mut seen = vec![];
        for row in 0..3 {
            (0..8).for_each(|_| ask(&mut seen, &[row], Company::Copies, &mut model));
        }
        for size in [2, 3, 8, 17] {
            for row in 0..3 {
                ask(&mut seen, &vec![row; size], Company::Copies, &mut model);
            }
            for arrangement in 0..2 {
                let rows: Vec<u32> = (0..size as u32).map(|at| (at + arrangement) % 3).collect();
                ask(&mut seen, &rows, Company::Others(arrangement), &mut model);
            }
        }
        classify(&seen, |one, other| match (one.to_bits(), other.to_bits()) {
            (one, other) if one == other => Distance::Same,
            (one, other) if one.abs_diff(other) < 1 << 30 => Distance::Near(one.abs_diff(other)),
            _ => Distance::Far,
        })
    }

    fn each(rows: &[f64], of: impl Fn(usize, f64) -> f64) -> Vec<f64> {
        rows.iter().enumerate().map(|(at, row)| of(at, *row)).collect()
    }

    #[test]
    fn rows_by_themselves_are_invariant() {
        let found = of(|rows| each(rows, |_, row| row * 3.0));
        assert_eq!(found, Found { outcome: Determinism::Invariant, ulp_max: None });
    }

    #[test]
    fn rounding_by_size_or_place_is_measured() {
        let up = |value: f64, by: u64| f64::from_bits(value.to_bits() + by);
        let by_size = of(|rows| each(rows, |_, row| up(row, (rows.len() / 4) as u64)));
        let expected = Found { outcome: Determinism::SizeDependent, ulp_max: Some(4) };
        assert_eq!(by_size, expected);
        let by_place = of(|rows| each(rows, |at, row| up(row, u64::from(at == 5) * 2)));
        assert_eq!(by_place.ulp_max, Some(2));
        assert_eq!(by_place.outcome, Determinism::SizeDependent);
    }

    #[test]
    fn neighbours_that_change_an_answer_are_seen() {
        let mean = |rows: &[f64]| rows.iter().sum::<f64>() / rows.len() as f64;
        let less_mean = of(|rows| each(rows, |_, row| row - mean(rows)));
        assert_eq!(less_mean.outcome, Determinism::RowsInteract);
        // Copies of a row are always the largest.
        let is_largest = of(|rows| {
            let largest = rows.iter().copied().fold(0.0, f64::max);
            each(rows, |_, row| f64::from(u8::from(row == largest)))
        });
        assert_eq!(is_largest.outcome, Determinism::RowsInteract);
        let counted = of(|rows| each(rows, |_, row| row + rows.len() as f64));
        assert_eq!(counted.outcome, Determinism::RowsInteract, "a size is no rounding");
        // Less than rounding by size is put down to that.
        let up = |value: f64, by: u64| f64::from_bits(value.to_bits() + by);
        let by_both = of(|rows| {
            let is_mixed = rows.iter().any(|row| *row != rows[0]);
            each(rows, |_, row| up(row, rows.len() as u64 + u64::from(is_mixed)))
        });
        assert_eq!(by_both.outcome, Determinism::SizeDependent);
        let by_company = of(|rows| {
            let is_mixed = rows.iter().any(|row| *row != rows[0]);
            each(rows, |_, row| up(row, u64::from(is_mixed)))
        });
        assert_eq!(by_company.outcome, Determinism::RowsInteract);
    }

    #[test]
    fn the_same_call_twice_tells_what_is_drawn() {
        let mut calls = 0u64;
        let drawn = of(|rows| {
            calls += 1;
            each(rows, |_, row| row + calls as f64)
        });
        assert_eq!(drawn, Found { outcome: Determinism::Random, ulp_max: None });
        let mut calls = 0u64;
        let unordered = of(|rows| {
            calls += 1;
            each(rows, |_, row| f64::from_bits(row.to_bits() + calls % 2))
        });
        assert_eq!(unordered, Found { outcome: Determinism::Random, ulp_max: Some(1) });
        // One that differs once in many calls is drawn as well.
        let mut calls = 0;
        let rarely = of(|rows| {
            calls += 1;
            each(rows, |_, row| if calls == 7 { row + 1.0 } else { row })
        });
        assert_eq!(rarely.outcome, Determinism::Random);
    }
}
