//! Walls around a process: what it can read and write, whom it can talk to, and what it can ask of
//! the kernel.
//!
//! A process is started by `decalog enclose PROGRAM …`, which draws the walls around itself and then
//! becomes the program. What is forked from a zygote draws its own closer before code of a model
//! runs in it; the worker's part of that is `walls.py`.

pub mod attacks;
mod capabilities;
mod enclose;
mod filter;
mod probe;
mod rules;
pub mod system;
mod view;

pub use enclose::{VARIABLE, enclose};
pub use probe::{Confinement, PROBE, answer_probe, strongest};
pub use rules::ruleset;

use std::io;

/// Says what was tried when the kernel refused.
fn tried<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> io::Error {
    move |error| {
        let error: io::Error = error.into();
        io::Error::new(error.kind(), format!("{}: {error}", what.into()))
    }
}
