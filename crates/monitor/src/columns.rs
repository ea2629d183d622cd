//! Counts every row of every column, by placement and minute, in memory that is bounded: what is
//! beyond the bound is counted as not watched. Finished minutes are handed out as sketches.

use std::collections::HashMap;
use std::sync::Arc;

use domain::Placement;
use domain::schema::COLUMN_NAME_BYTES_MAX;
use protocol::ColumnView;

use crate::sketch::{ColumnSketch, Kind, SKETCH_BYTES_MAX};

/// The length of what one sketch is of, in milliseconds.
pub const MINUTE_MS: u64 = 60_000;
/// A column beside its sketches takes at most so much, in bytes: its name, and where it is found.
const COLUMN_BYTES_MAX: usize = 2 * COLUMN_NAME_BYTES_MAX + 512;

/// Positions in a request at which a column is found without a look-up.
const POSITIONS_MAX: usize = 64;

/// What is watched at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Placements.
    pub placements_max: usize,
    /// Columns of one placement; inputs and outputs, and each kind of values apart.
    pub placement_columns_max: usize,
    /// Columns of all placements.
    pub columns_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { placements_max: 1_000, placement_columns_max: 256, columns_max: 2_048 }
    }
}

impl Limits {
    /// The most memory that is held at once, in bytes: by the minute that runs, and by the one
    /// before it until it is handed out.
    pub fn bytes_max(&self) -> usize {
        self.columns_max * (2 * SKETCH_BYTES_MAX + COLUMN_BYTES_MAX) + self.placements_max * 2_048
    }
}

/// Whether a column is given to a model or comes from it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Direction {
    /// An input.
    In,
    /// An output.
    Out,
}

impl Direction {
    /// `in` or `out`.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::In => "in",
            Direction::Out => "out",
        }
    }
}

/// What was not counted since the start, for lack of room.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NotWatched {
    /// Values of placements beyond the limit.
    pub of_placements: u64,
    /// Values of columns beyond a limit, or whose name is too long.
    pub of_columns: u64,
    /// Values of minutes that nobody took out in time.
    pub of_minutes: u64,
}

/// One column in one minute.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// Whose column.
    pub placement: Arc<Placement>,
    /// Input or output.
    pub direction: Direction,
    /// The column's name.
    pub column: Arc<str>,
    /// The beginning of the minute, in milliseconds since 1970.
    pub minute_ms: u64,
    /// Which part of the minute: a minute that comes twice, as after the clock was set back, has
    /// another. A snapshot has that of the minute that it is of.
    pub sequence: u64,
    /// What its values were.
    pub sketch: ColumnSketch,
}

/// What is counted.
#[derive(Default)]
pub struct Columns {
    limits: Limits,
    placements: HashMap<Arc<Placement>, Watched>,
    /// Of all placements.
    columns: usize,
    minute_ms: u64,
    /// Of the minute that runs: how many there were before it.
    sequence: u64,
    finished: Vec<Sealed>,
    not_watched: NotWatched,
}

/// The columns of one placement.
#[derive(Default)]
struct Watched {
    columns: Vec<Column>,
    /// By name, with all directions and kinds of it.
    by_name: HashMap<Arc<str>, Vec<usize>>,
    /// Where the columns of the last rows were found, by their position.
    last: [Vec<usize>; 2],
}

struct Column {
    direction: Direction,
    name: Arc<str>,
    /// Of the minute that runs.
    sketch: ColumnSketch,
    /// Rows that the last snapshot had.
    shown_rows: u64,
}

impl Column {
    fn sealed(
        &self,
        placement: &Arc<Placement>,
        (minute_ms, sequence): (u64, u64),
        sketch: ColumnSketch,
    ) -> Sealed {
        Sealed {
            placement: placement.clone(),
            direction: self.direction,
            column: self.name.clone(),
            minute_ms,
            sequence,
            sketch,
        }
    }

    fn is(&self, direction: Direction, name: &str, kind: Kind) -> bool {
        self.direction == direction && self.sketch.kind() == kind && *self.name == *name
    }
}

impl Watched {
    /// Where a column is, if it is watched; `position` is its place among those of the request.
    fn find(&mut self, position: usize, direction: Direction, view: &ColumnView) -> Option<usize> {
        let kind = Kind::of(view);
        let last = &self.last[direction as usize];
        let guess = last.get(position).copied();
        let fits = |at: &usize| {
            self.columns.get(*at).is_some_and(|column| column.is(direction, view.name, kind))
        };
        if let Some(at) = guess.filter(fits) {
            return Some(at);
        }
        let found = self.by_name.get(view.name)?.iter().copied().find(fits)?;
        let last = &mut self.last[direction as usize];
        if position < POSITIONS_MAX {
            last.resize(last.len().max(position + 1), usize::MAX);
            last[position] = found;
        }
        Some(found)
    }

    fn insert(&mut self, direction: Direction, view: &ColumnView) -> usize {
        let name: Arc<str> = match self.by_name.get_key_value(view.name) {
            Some((name, _)) => name.clone(),
            None => view.name.into(),
        };
        let sketch = ColumnSketch::new(Kind::of(view));
        self.columns.push(Column { direction, name: name.clone(), sketch, shown_rows: 0 });
        self.by_name.entry(name).or_default().push(self.columns.len() - 1);
        self.columns.len() - 1
    }

    /// Hands out what was counted. Columns without a row in this minute are forgotten.
    fn finish(&mut self, placement: &Arc<Placement>, minute: (u64, u64), out: &mut Vec<Sealed>) {
        let has_idle = self.columns.iter().any(|column| column.sketch.rows() == 0);
        for column in self.columns.iter_mut().filter(|column| column.sketch.rows() > 0) {
            let fresh = ColumnSketch::new(column.sketch.kind());
            let sketch = std::mem::replace(&mut column.sketch, fresh);
            out.push(column.sealed(placement, minute, sketch));
            column.shown_rows = 0;
        }
        if has_idle {
            self.columns.clear();
            self.by_name.clear();
            self.last = Default::default();
        }
    }
}

impl Columns {
    /// Nothing yet, within these limits.
    pub fn new(limits: Limits) -> Columns {
        Columns { limits, ..Columns::default() }
    }

    /// Counts rows of a placement; call it with the columns in one order, as they are found faster
    /// then.
    pub fn take<'a>(
        &mut self,
        placement: &Arc<Placement>,
        direction: Direction,
        columns: impl Iterator<Item = ColumnView<'a>>,
        now_ms: u64,
    ) {
        self.turn(now_ms);
        let Columns { limits, placements, columns: count, not_watched, .. } = self;
        if !placements.contains_key(placement) {
            if placements.len() >= limits.placements_max {
                let values = columns.map(|view| view.rows as u64).sum::<u64>();
                not_watched.of_placements = not_watched.of_placements.saturating_add(values);
                return;
            }
            placements.insert(placement.clone(), Watched::default());
        }
        let Some(watched) = placements.get_mut(placement) else { return };
        for (position, view) in columns.enumerate() {
            let at = match watched.find(position, direction, &view) {
                Some(at) => at,
                None if *count < limits.columns_max
                    && watched.columns.len() < limits.placement_columns_max
                    && view.name.len() <= COLUMN_NAME_BYTES_MAX =>
                {
                    *count += 1;
                    watched.insert(direction, &view)
                }
                None => {
                    let values = view.rows as u64;
                    not_watched.of_columns = not_watched.of_columns.saturating_add(values);
                    continue;
                }
            };
            if let Some(column) = watched.columns.get_mut(at) {
                view.values().for_each(|value| column.sketch.add(value));
            }
        }
    }

    /// Gives the minutes that are over; call it once a second.
    pub fn seal(&mut self, now_ms: u64) -> Vec<Sealed> {
        self.turn(now_ms);
        std::mem::take(&mut self.finished)
    }

    /// Copies what the minute that runs has so far, of the columns that have more rows than at the
    /// last snapshot: so that little is lost if the process is killed.
    pub fn snapshot(&mut self) -> Vec<Sealed> {
        let minute = (self.minute_ms, self.sequence);
        let mut shown = vec![];
        for (placement, watched) in &mut self.placements {
            for column in &mut watched.columns {
                if column.sketch.rows() > column.shown_rows {
                    column.shown_rows = column.sketch.rows();
                    shown.push(column.sealed(placement, minute, column.sketch.clone()));
                }
            }
        }
        shown
    }

    /// Gives all, the minute that runs too: before the end.
    pub fn close(&mut self) -> Vec<Sealed> {
        self.finish();
        std::mem::take(&mut self.finished)
    }

    /// What was not counted since the start.
    pub fn not_watched(&self) -> NotWatched {
        self.not_watched
    }

    /// Begins another minute if it is time to; also if the clock was set back.
    fn turn(&mut self, now_ms: u64) {
        let minute_ms = now_ms - now_ms % MINUTE_MS;
        if minute_ms != self.minute_ms {
            self.finish();
            self.minute_ms = minute_ms;
        }
    }

    fn finish(&mut self) {
        // At most one finished minute waits: an older one that nobody has taken is given up.
        let lost = self.finished.drain(..).map(|sealed| sealed.sketch.rows()).sum::<u64>();
        self.not_watched.of_minutes = self.not_watched.of_minutes.saturating_add(lost);
        let (minute, finished) = ((self.minute_ms, self.sequence), &mut self.finished);
        self.placements.retain(|placement, watched| {
            watched.finish(placement, minute, finished);
            !watched.columns.is_empty()
        });
        self.sequence += 1;
        self.columns = self.placements.values().map(|watched| watched.columns.len()).sum();
    }
}

#[cfg(test)]
mod tests;
