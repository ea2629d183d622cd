//! Replicas that start again and again: requests wait for them.

use super::input::SeriesKind;
use super::placebo::Moved;
use super::queue::series;
use super::view::View;
use super::window::Windows;

/// By what starts are known.
pub(super) const KINDS: [SeriesKind; 2] = [SeriesKind::Starting, SeriesKind::Restarts];
/// Starts go on if there are so many more a bucket, and so many times as many.
const RISE: f64 = 0.03;
const TIMES: f64 = 2.0;

/// Whether there are many more, and not only at one moment.
pub(super) fn are_many(view: &View, windows: &Windows, kind: SeriesKind, moved: &Moved) -> bool {
    moved.after - moved.before >= RISE
        && moved.times() >= TIMES
        && goes_on(&series(view, kind), windows)
}

/// Starts of one moment belong to a release; those of a storm are in the later half, too.
fn goes_on(values: &[Option<f64>], Windows { after, .. }: &Windows) -> bool {
    let later = &values[(after.start + after.end) / 2..after.end];
    later.iter().any(|value| value.is_some_and(|value| value > 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_starts_once_does_not_go_on() {
        let windows = Windows { before: 0..4, after: 4..8 };
        let series = |at: usize| (0..8).map(|it| Some(f64::from(u8::from(it == at)))).collect();
        let goes_on = |values: Vec<Option<f64>>| goes_on(&values, &windows);
        assert!(!goes_on(series(4)) && goes_on(series(6)));
    }
}
