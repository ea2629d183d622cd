//! Drawing again from what was seen, in blocks of neighbours, from a fixed seed: the same pairs have
//! the same bounds.

use crate::random::Random;

/// As many places as there are, in blocks of neighbours; the first follows the last (Politis, Romano
/// 1992).
pub(super) fn draw(random: &mut Random, count: usize, block: usize, places: &mut Vec<usize>) {
    places.clear();
    while places.len() < count {
        let start = random.below(count);
        let own = block.min(count - places.len());
        places.extend((start..start + own).map(|place| place % count));
    }
}

/// How many neighbours are drawn together: as many as the cube root of all, which is near what serves
/// most series (Hall, Horowitz, Jing 1995).
pub(super) fn block_of(count: usize) -> usize {
    ((count as f64).cbrt().ceil() as usize).max(1)
}
