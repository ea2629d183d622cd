//! The two stretches of time that are compared, and the quiet moments before that show how much
//! such a comparison comes to when nothing happens.

use std::ops::Range;

use super::step::Step;

/// The longest stretch after the change that is looked at, in buckets: ten minutes.
const AFTER_MAX: usize = 120;
/// The longest before it: half an hour.
const BEFORE_MAX: usize = 360;
/// The shortest before it: five minutes.
const BEFORE_MIN: usize = 60;
/// The stretch before is so many times as long as that after.
const BEFORE_FACTOR: usize = 3;
/// With fewer quiet moments nothing is told.
pub(super) const QUIET_MIN: usize = 200;
/// No more are looked at.
const QUIET_MAX: usize = 900;

/// What is compared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Windows {
    pub(super) before: Range<usize>,
    pub(super) after: Range<usize>,
}

impl Windows {
    /// Around a step; what may lie on either side of it is in neither, if enough is left.
    pub(super) fn around(step: &Step) -> Windows {
        let over = step.over.min(step.at + AFTER_MAX);
        let last_possible = step.possible.end.saturating_sub(1).max(step.at);
        let from = if over.saturating_sub(last_possible) >= 3 { last_possible } else { step.at };
        let after = from..over.max(from);
        let length = (BEFORE_FACTOR * after.len()).clamp(BEFORE_MIN, BEFORE_MAX);
        let end = step.possible.start.min(step.at);
        Windows { before: end.saturating_sub(length)..end, after }
    }

    /// Stretches of the same lengths at quiet moments: those that end before the change may begin.
    /// The number is that of all such moments; of many a part is looked at.
    pub(super) fn quiet(&self) -> (usize, Vec<Windows>) {
        let (before, after) = (self.before.len(), self.after.len());
        let splits = before..(self.before.end + 1).saturating_sub(after.max(1));
        let stride = splits.len().div_ceil(QUIET_MAX).max(1);
        let at =
            |split: usize| Windows { before: split - before..split, after: split..split + after };
        (splits.len(), splits.step_by(stride).map(at).collect())
    }
}
