//! The supervisor: one small process per data directory that owns all workers, so that they outlive `decalog up`.
//! It restarts nothing and decides nothing.

pub mod client;
mod log;
pub mod protocol;
mod server;

pub use server::run;
