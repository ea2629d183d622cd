//! Why a deployment or release does not go on.

use domain::Problem;

/// A step that failed, and why.
pub(crate) struct Failure {
    pub(crate) step: &'static str,
    pub(crate) problem: Problem,
}

impl Failure {
    pub(crate) fn at(step: &'static str) -> impl Fn(Problem) -> Failure {
        move |problem| Failure { step, problem }
    }
}
