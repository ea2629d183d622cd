//! The short names of columns.

use records::columns::{INPUT, OUTPUT};

/// `city` for `in.city`.
pub fn other_name(name: &str) -> Option<&str> {
    name.strip_prefix(INPUT).or_else(|| name.strip_prefix(OUTPUT))
}
