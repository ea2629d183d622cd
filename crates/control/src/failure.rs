//! Why a deployment or release does not go on.

use domain::Problem;

/// A step that failed, and why.
pub(crate) struct StepFailure {
    pub(crate) step: &'static str,
    pub(crate) problem: Problem,
}

impl StepFailure {
    pub(crate) fn at(step: &'static str) -> impl Fn(Problem) -> StepFailure {
        move |problem| StepFailure { step, problem }
    }
}
