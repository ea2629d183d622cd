//! What becomes of replicas: which may be there, which are started, drained, killed and forgotten.
//! [`History::plan`] compares what the engine reports with the targets and says what is to be done;
//! it takes no hints, so that it does not matter what woke whoever asks, or what was missed before.

mod history;
mod plan;
mod rollout;
mod view;
mod wanted;

#[cfg(test)]
mod tests;

pub use history::{History, ReplicaFailure};
pub use rollout::stands_in;
pub use view::{Action, Desired, End, Phase, Replica, View};
pub use wanted::{Part, Sizes, Wanted, wanted};
