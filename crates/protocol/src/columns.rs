//! Finds columns by name, without a walk over all of them for each name that somebody sends.

use std::cell::OnceCell;
use std::collections::HashMap;

use domain::schema::Column;

/// Up to so many columns a walk is as fast as a table.
const WALK_MAX: usize = 16;

/// What has a name.
pub(crate) trait Named {
    fn name(&self) -> &str;
}

impl Named for Column {
    fn name(&self) -> &str {
        &self.name
    }
}

/// Columns by name.
pub(crate) struct ColumnIndex<'s, T = Column> {
    columns: &'s [T],
    /// Made when a name first comes out of order.
    by_name: OnceCell<HashMap<&'s str, usize>>,
}

impl<'s, T: Named> ColumnIndex<'s, T> {
    pub(crate) fn new(columns: &'s [T]) -> ColumnIndex<'s, T> {
        ColumnIndex { columns, by_name: OnceCell::new() }
    }

    /// The place of the first column with this name, or `guess` if that has it, as names mostly
    /// come in order.
    pub(crate) fn find(&self, name: &str, guess: usize) -> Option<usize> {
        if self.columns.get(guess).is_some_and(|column| column.name() == name) {
            return Some(guess);
        }
        if self.columns.len() <= WALK_MAX {
            return self.columns.iter().position(|column| column.name() == name);
        }
        self.by_name().get(name).copied()
    }

    /// A column whose name an earlier one has.
    pub(crate) fn twice(&self) -> Option<&'s T> {
        let columns = self.columns;
        let is_first = |at: usize| match columns.len() <= WALK_MAX {
            true => columns[..at].iter().all(|earlier| earlier.name() != columns[at].name()),
            false => self.by_name().get(columns[at].name()) == Some(&at),
        };
        (0..columns.len()).find(|at| !is_first(*at)).map(|at| &columns[at])
    }

    fn by_name(&self) -> &HashMap<&'s str, usize> {
        self.by_name.get_or_init(|| {
            let mut by_name = HashMap::new();
            for (at, column) in self.columns.iter().enumerate() {
                by_name.entry(column.name()).or_insert(at);
            }
            by_name
        })
    }
}
