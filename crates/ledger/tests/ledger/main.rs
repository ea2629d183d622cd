//! The ledger through its public face: the suite that every store runs, damage to the files of each,
//! what can be proved to others, and the snapshot beside it.

mod conformance;
mod home;
mod proofs;
mod snapshot;
mod sqlite;
