//! Queries over real files: what they find, what they open, and what ends them.

mod found;
mod hostile;
mod keeping;
mod summed;
