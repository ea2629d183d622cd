//! By what requests are told apart.

use super::input::Key;

/// By what requests are told apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Dimension {
    Version,
    Replica,
    Caller,
    Size,
    /// A place among the columns.
    Column(usize),
}

/// The number that a group of this dimension has in a key.
pub(super) fn place(key: &Key, dimension: Dimension) -> u16 {
    match dimension {
        Dimension::Version => key.version,
        Dimension::Replica => key.replica,
        Dimension::Caller => key.caller,
        Dimension::Size => key.size,
        Dimension::Column(_) => key.value,
    }
}
