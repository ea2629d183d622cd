//! What tests of decoders share: the memory that a piece of work takes, and inputs that are spoilt
//! by seed. Only tests use it; a test that does has the counting allocator.

mod decoders;
mod memory;

pub use decoders::{Corpus, within_limits};
pub use memory::measured;
