//! Decisions as pure functions of state, observation and now. No clock, no input or output.

pub mod access;
pub mod alarm;
pub mod backoff;
pub mod batch;
pub mod bisect;
pub mod budget;
pub mod burn;
pub mod determinism;
pub mod disk;
pub mod drift;
pub mod guard;
pub mod paired;
mod random;
pub mod rate;
pub mod rehearsal;
pub mod replicas;
pub mod rule;
pub mod scale;
pub mod starts;
pub mod truth;
pub mod why;
