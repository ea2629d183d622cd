//! The ledger through its public face: the suite that every store runs, damage to the files of each,
//! and the snapshot beside it.

mod conformance;
mod home;
mod snapshot;
mod sqlite;
