//! The supervisor: one small process per data directory that owns all workers and what they are
//! forked from, so that they outlive `decalog up`. It restarts nothing and decides nothing. Beside
//! its main, this crate has what the other end of its protocol needs.

mod clock;
mod control;
mod descriptors;
mod door;
mod end;
mod files;
pub mod groups;
mod held;
pub mod lines;
pub mod local;
mod log;
pub mod mask;
pub mod process;
pub mod protocol;
mod quiet;
mod reap;
mod server;
mod spawn;
mod strays;
mod table;
pub mod walls;
mod watch;

pub use clock::now_ms;
pub use descriptors::{DESCRIPTORS_RESERVED, Descriptors};
pub use files::{DirectoryError, Files, open_of_model, private_directory, run_directory};
pub use server::run;
