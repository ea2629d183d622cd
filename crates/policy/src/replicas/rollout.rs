//! New variables are rolled out without a dip: replicas that have the old ones serve until as many
//! have the new.

use domain::Placement;

/// The placement with older variables whose replicas serve in place of a placement's own, if they
/// do: as long as there are more of them than of its own, up to the number that it should have.
/// `serving` counts the replicas of its model that may be used, by placement. Of several older
/// placements the one with the most replicas serves.
pub fn stands_in<'a>(
    serving: impl IntoIterator<Item = (&'a Placement, usize)>,
    placement: &Placement,
    target: Option<u32>,
) -> Option<&'a Placement> {
    let (mut own, mut oldest) = (0, None);
    for (other, count) in serving {
        if other == placement {
            own = count;
        } else if other.is_same_version(placement) {
            let rank = |(of, count): &(&Placement, usize)| (*count, of.revision);
            oldest = oldest.into_iter().chain([(other, count)]).max_by_key(rank);
        }
    }
    let enough = |older: usize| older.min(target.map_or(usize::MAX, |target| target as usize));
    oldest.filter(|(_, count)| own < enough(*count)).map(|(older, _)| older)
}
