//! Replica-seconds against deadline misses, and whether one curve lies on or below another.

/// One setting of a rule over many seeds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spot {
    /// The setting.
    pub target: f64,
    /// Replica-seconds for each that would ideally do.
    pub cost: f64,
    /// Requests that missed their deadline, as a part of all.
    pub misses: f64,
}

/// The spots that no other beats in both, the cheapest first.
pub fn frontier(spots: &[Spot]) -> Vec<Spot> {
    let mut sorted = spots.to_vec();
    sorted.sort_by(|one, other| {
        one.cost.total_cmp(&other.cost).then(one.misses.total_cmp(&other.misses))
    });
    let mut best = Vec::<Spot>::new();
    for spot in sorted {
        if best.last().is_none_or(|last| spot.misses < last.misses) {
            best.push(spot);
        }
    }
    best
}

/// The misses of a frontier at a cost: between two neighbouring settings on the straight line;
/// `None` below the cheapest.
pub fn misses_at(frontier: &[Spot], cost: f64) -> Option<f64> {
    let next = frontier.partition_point(|spot| spot.cost <= cost);
    let left = frontier.get(next.checked_sub(1)?)?;
    let Some(right) = frontier.get(next) else { return Some(left.misses) };
    Some(left.misses + (right.misses - left.misses) * (cost - left.cost) / (right.cost - left.cost))
}

/// By how much the first curve lies above the second at worst, in misses, where the second has at
/// most so many: negative if it is below everywhere.
pub fn excess(ours: &[Spot], theirs: &[Spot], misses_max: f64) -> f64 {
    let ours = frontier(ours);
    let above = |spot: Spot| misses_at(&ours, spot.cost).unwrap_or(1.0) - spot.misses;
    frontier(theirs)
        .into_iter()
        .filter(|spot| spot.misses <= misses_max)
        .map(above)
        .fold(f64::NEG_INFINITY, f64::max)
}

#[test]
fn curves() {
    let spot = |cost, misses| Spot { target: 0.0, cost, misses };
    let curve = [spot(3.0, 0.1), spot(1.0, 0.5), spot(2.5, 0.3), spot(2.0, 0.2), spot(4.0, 0.1)];
    assert_eq!(frontier(&curve), [spot(1.0, 0.5), spot(2.0, 0.2), spot(3.0, 0.1)]);
    assert_eq!(misses_at(&frontier(&curve), 0.9), None);
    assert_eq!(misses_at(&frontier(&curve), 1.5), Some(0.35));
    assert_eq!(misses_at(&frontier(&curve), 9.0), Some(0.1));
    assert!((excess(&curve, &[spot(1.5, 0.3), spot(9.0, 0.0)], 1.0) - 0.1).abs() < 1e-9);
    assert!((excess(&curve, &[spot(1.5, 0.3), spot(9.0, 0.0)], 0.2) - 0.1).abs() < 1e-9);
    assert!(excess(&curve, &[spot(0.5, 0.3), spot(2.0, 0.25)], 0.28) < 0.0);
}
