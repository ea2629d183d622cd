//! When what was found is over: in two stretches of time after each other every share that was to
//! blame lay within its bound in the mean. Evidence alone would not do: it takes as long to shrink
//! as it took to grow.

use serde::{Deserialize, Serialize};

/// Clean stretches that it takes.
const STRETCHES: u32 = 2;

/// How long a stretch is: both must be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Stretch {
    /// Units of time that had data.
    pub units_min: u32,
    /// Rows or requests in them.
    pub rows_min: u64,
}

/// The stretch that is running, and how many before it were clean.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Calm {
    units: u32,
    rows: u64,
    excess: Vec<f64>,
    clean: u32,
}

impl Calm {
    /// Takes in one unit of time: by how much each share was above its bound. Whether it is over.
    pub fn update(
        &mut self,
        stretch: Stretch,
        rows: u64,
        excess: impl IntoIterator<Item = f64>,
    ) -> bool {
        self.units += 1;
        self.rows = self.rows.saturating_add(rows);
        for (index, excess) in excess.into_iter().enumerate() {
            match self.excess.get_mut(index) {
                Some(sum) => *sum += excess,
                None => self.excess.push(excess),
            }
        }
        if self.units < stretch.units_min || self.rows < stretch.rows_min {
            return false;
        }
        let is_clean = self.excess.iter().all(|sum| *sum <= 0.0);
        let clean = if is_clean { self.clean + 1 } else { 0 };
        *self = Calm { clean, ..Calm::default() };
        clean >= STRETCHES
    }
}
