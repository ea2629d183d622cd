//! The supervisor: one small process per data directory that owns all workers and what they are forked from, so that
//! they outlive `decalog up`. It restarts nothing and decides nothing.

pub mod client;
mod control;
mod door;
mod lines;
mod log;
pub mod protocol;
mod reap;
mod server;
mod spawn;
mod table;
mod watch;

pub use server::run;
