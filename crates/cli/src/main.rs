//! The binary `decalog`.

fn main() {}
