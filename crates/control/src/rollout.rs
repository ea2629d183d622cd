//! New variables are rolled out without a dip: replicas that have the old ones serve until as many
//! have the new.

use domain::Placement;
use engine::ReplicaStatus;

/// The replicas with older variables that serve in place of a placement's own, if they do: as long
/// as there are more of them than of its own, up to the number that it should have. `ready` holds
/// those of its model that may be used, by placement. Of several older placements the one with the
/// most replicas serves.
pub(crate) fn stands_in<'a>(
    ready: impl IntoIterator<Item = (&'a Placement, &'a [&'a ReplicaStatus])>,
    placement: &Placement,
    target: Option<u32>,
) -> Option<(&'a Placement, &'a [&'a ReplicaStatus])> {
    let (mut own, mut oldest) = (0, None);
    for (other, replicas) in ready {
        if other == placement {
            own = replicas.len();
        } else if other.is_same_version(placement) {
            let rank =
                |(of, replicas): &(&Placement, &[&ReplicaStatus])| (replicas.len(), of.revision);
            oldest = oldest.into_iter().chain([(other, replicas)]).max_by_key(rank);
        }
    }
    let enough = |older: usize| older.min(target.map_or(usize::MAX, |target| target as usize));
    oldest.filter(|(_, replicas)| own < enough(replicas.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{placement, status};

    /// Who serves in place of revision 9, with so many ready replicas by revision.
    fn in_place(ready: &[(u32, usize)], target: Option<u32>) -> Option<u32> {
        let statuses: Vec<(Placement, Vec<ReplicaStatus>)> = ready
            .iter()
            .map(|(revision, count)| {
                (placement(*revision), vec![status("r1-1", &placement(*revision)); *count])
            })
            .collect();
        let ready: Vec<(&Placement, Vec<&ReplicaStatus>)> = statuses
            .iter()
            .map(|(placement, replicas)| (placement, replicas.iter().collect()))
            .collect();
        let ready = ready.iter().map(|(placement, replicas)| (*placement, replicas.as_slice()));
        stands_in(ready, &placement(9), target).map(|(older, _)| older.revision)
    }

    #[test]
    fn the_old_serve_until_as_many_new_are_ready() {
        assert_eq!(in_place(&[(8, 3)], Some(3)), Some(8));
        assert_eq!(in_place(&[(8, 3), (9, 2)], Some(3)), Some(8), "two of three are a dip");
        assert_eq!(in_place(&[(8, 3), (9, 3)], Some(3)), None);
        assert_eq!(in_place(&[(8, 3), (9, 2)], Some(2)), None, "more are not wanted any more");
        assert_eq!(in_place(&[(8, 3)], Some(0)), None, "it sleeps");
        assert_eq!(in_place(&[(8, 1)], None), Some(8), "before anything was decided");
        assert_eq!(in_place(&[(8, 1), (9, 1)], Some(5)), None, "the new are no fewer");
        assert_eq!(in_place(&[], Some(3)), None);
        assert_eq!(
            in_place(&[(7, 3), (8, 1), (9, 1)], Some(3)),
            Some(7),
            "a roll-out that was overtaken does not count"
        );
        assert_eq!(in_place(&[(7, 2), (8, 2)], Some(3)), Some(8));
    }
}
