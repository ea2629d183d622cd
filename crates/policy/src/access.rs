//! Who may do what. One pure function decides about every request, whatever it comes in by, and can
//! say why; others decide what may be given to whom, and when a protected change may be made.

mod by_state;
mod decide;
mod explain;
mod give;
mod needs;
mod protect;
#[cfg(test)]
mod tests;

pub use by_state::{
    caller_may, caller_may_somewhere, grants_of, may, may_somewhere, may_with, protection_of,
};
pub use decide::{Asker, By, Decision, Missing, Protected, Rules, decide, decide_somewhere};
pub use give::{GiveRefusal, may_give, may_make_token};
pub use needs::{Needs, needs};
pub use protect::{
    ApprovalRefusal, Readiness, Waits, action_to_make_live, approvals_needed, check_approval,
    check_rejection, protection_can_be_met, readiness,
};
