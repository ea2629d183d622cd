//! Rehearsals of made-up versions, from fixed seeds.

use super::*;
use crate::random::Random;

struct World {
    draws: Random,
    pairs: Vec<Pair>,
}

impl World {
    fn new(seed: u64) -> World {
        World { draws: Random::new(seed), pairs: vec![] }
    }

    fn chance(&mut self, share: f64) -> bool {
        (self.draws.below(1 << 30) as f64) < share * f64::from(1 << 30)
    }

    /// Requests that take both versions about as long as each other, but for a factor.
    fn ask(mut self, count: usize, fails: f64, factor: f64) -> World {
        for _ in 0..count {
            let base = 1_000 + self.draws.below(9_000);
            let mut noise = || 950 + self.draws.below(100);
            let (own, live) = (base * noise() / 1_000, base * noise() / 1_000);
            let candidate = match self.chance(fails) {
                true => Answered::Failed("model_raised".into()),
                false => Answered::In((own as f64 * factor) as u64),
            };
            let agrees = (!candidate.failed()).then_some(true);
            let id = format!("{}", self.pairs.len());
            self.pairs.push(Pair { id, candidate, live: Answered::In(live as u64), agrees });
        }
        self
    }

    fn judged(self, guards: &[&str]) -> Rehearsal {
        let guards: Vec<Guard> = guards.iter().map(|text| text.parse().unwrap()).collect();
        let found = self.pairs.len() as u32;
        judge(&guards, &Evidence { wanted: 5_000, found, pairs: self.pairs, ..Evidence::default() })
    }
}

const USUAL: [&str; 2] = ["errors<baseline+0.5%", "p95<1.2x"];

#[test]
fn a_version_that_does_the_same_passes_once_there_are_enough() {
    let rehearsal = World::new(1).ask(1_000, 0.0, 1.0).judged(&USUAL);
    assert_eq!(rehearsal.verdict, RehearsalVerdict::Holds, "{rehearsal}");
    let ratio = rehearsal.latency.unwrap();
    assert!(ratio.low < 1.0 && 1.0 < ratio.high && ratio.high - ratio.low < 0.02, "{ratio:?}");
    let few = World::new(1).ask(200, 0.0, 1.0).judged(&USUAL);
    assert_eq!(few.verdict, RehearsalVerdict::Undecided);
    // 1 - 0.975^(1/n) is at most 1% from 368 on.
    assert_eq!(few.missing(), Some(170), "{few}");
    let enough = World::new(1).ask(368 + WARM_UP, 0.0, 1.0).judged(&USUAL);
    assert_eq!(enough.verdict, RehearsalVerdict::Holds, "{enough}");
    let one = World::new(1).ask(1, 0.0, 1.0).judged(&USUAL);
    assert_eq!(one.guards.iter().map(|it| it.missing).collect::<Vec<_>>(), [Some(370), Some(120)]);
    let none = World::new(1).judged(&USUAL);
    assert_eq!((none.verdict, none.asked, none.latency), (RehearsalVerdict::Undecided, 0, None));
}

#[test]
fn what_is_worse_is_broken() {
    let failing = World::new(2).ask(1_000, 0.05, 1.0).judged(&USUAL);
    assert_eq!(failing.guards[0].verdict, RehearsalVerdict::Broken, "{failing}");
    assert_eq!(failing.guards[1].verdict, RehearsalVerdict::Holds, "{failing}");
    assert_eq!(failing.verdict, RehearsalVerdict::Broken);
    assert_eq!(failing.examples.len(), 5);
    assert_eq!(failing.examples[0].code.as_deref(), Some("model_raised"));
    let slow = World::new(3).ask(1_000, 0.0, 1.4).judged(&USUAL);
    assert_eq!(slow.guards[0].verdict, RehearsalVerdict::Holds, "{slow}");
    assert_eq!(slow.guards[1].verdict, RehearsalVerdict::Broken, "{slow}");
    let within = World::new(3).ask(1_000, 0.0, 1.1).judged(&USUAL);
    assert_eq!(within.verdict, RehearsalVerdict::Holds, "{within}");
    for guard in ["p50<1.2x", "mean<1.2x", "mean<baseline+1ms", "p99<8ms", "mean<6ms"] {
        let slow = World::new(3).ask(1_000, 0.0, 1.4).judged(&[guard]);
        assert_eq!(slow.verdict, RehearsalVerdict::Broken, "{slow}");
        let same = World::new(3).ask(2_000, 0.0, 1.0).judged(&[guard]);
        let holds = !guard.starts_with("p99");
        assert_eq!(same.verdict == RehearsalVerdict::Holds, holds, "{same}");
    }
}

#[test]
fn what_both_fail_on_is_held_against_neither() {
    let mut world = World::new(4).ask(1_000, 0.0, 1.0);
    for pair in world.pairs.iter_mut().step_by(10) {
        (pair.candidate, pair.live) = (Answered::Failed("x".into()), Answered::Failed("x".into()));
        pair.agrees = None;
    }
    let pairs = world.pairs.clone();
    let rehearsal = world.judged(&USUAL);
    assert_eq!(rehearsal.verdict, RehearsalVerdict::Holds, "{rehearsal}");
    assert_eq!(rehearsal.compared, 900);
    let absolute = World { draws: Random::new(0), pairs }.judged(&["errors<1%"]);
    assert_eq!(absolute.verdict, RehearsalVerdict::Broken, "{absolute}");
}

#[test]
fn answers_that_differ_are_a_gate_if_one_asks() {
    let world = |every: usize| {
        let mut world = World::new(5).ask(2_000, 0.0, 1.0);
        world.pairs.iter_mut().step_by(every).for_each(|pair| pair.agrees = Some(false));
        world
    };
    assert_eq!(world(20).judged(&USUAL).verdict, RehearsalVerdict::Holds);
    let verdict = |every, guard| world(every).judged(&[guard]).verdict;
    assert_eq!(verdict(20, "disagreement<1%"), RehearsalVerdict::Broken);
    assert_eq!(verdict(200, "disagreement<1%"), RehearsalVerdict::Holds);
    // What the candidate alone fails on is no agreement.
    let failing = World::new(6).ask(2_000, 0.05, 1.0).judged(&["disagreement<1%"]);
    assert_eq!(failing.verdict, RehearsalVerdict::Broken, "{failing}");
}

#[test]
fn failures_in_a_row_count_for_less() {
    let mut apart = World::new(7).ask(1_600, 0.0, 1.0);
    let mut together = World::new(7).ask(1_600, 0.0, 1.0);
    for at in 0..24 {
        apart.pairs[at * 66].candidate = Answered::Failed("x".into());
        together.pairs[800 + at].candidate = Answered::Failed("x".into());
    }
    let (apart, together) = (apart.judged(&USUAL), together.judged(&USUAL));
    assert_eq!(apart.guards[0].verdict, RehearsalVerdict::Broken, "{apart}");
    assert_eq!(together.guards[0].verdict, RehearsalVerdict::Undecided, "{together}");
    assert!(together.guards[0].design_effect > 10.0, "{together}");
}

#[test]
fn bounds_are_those_of_the_tables() {
    let share = |part, whole| {
        let mut seen = vec![false; whole];
        seen.iter_mut().take(part).for_each(|it| *it = true);
        // Spread, so that neighbours share nothing.
        let spread: Vec<bool> = (0..whole).map(|at| seen[at * 7 % whole]).collect();
        Share::of(spread.into_iter())
    };
    for (part, whole, low, high) in [
        (0, 10, 0.0, 0.3085),
        (1, 10, 0.0025, 0.4450),
        (5, 10, 0.1871, 0.8129),
        (10, 10, 0.6915, 1.0),
    ] {
        let found = share_interval(share(part, whole), 0.025);
        assert!((found.0 - low).abs() < 1e-4 && (found.1 - high).abs() < 1e-4, "{part}: {found:?}");
    }
    let none = difference_of_shares(share(0, 400), share(0, 400), 1.0, 0.025, true);
    assert!(none.value == 0.0 && (none.high - 0.00918).abs() < 1e-4, "{none:?}");
    assert_eq!(none.low, -none.high);
}

#[test]
fn equal_versions_are_seldom_called_broken() {
    // Each of 60 rehearsals has two guards that spend 2.5%; a tail of times is lumpy.
    let mut broken = 0;
    for seed in 0..60 {
        let world = World::new(100 + seed).ask(300, 0.005, 1.195);
        broken += u32::from(world.judged(&USUAL).verdict == RehearsalVerdict::Broken);
    }
    assert!(broken <= 7, "{broken} of 60");
}

#[test]
fn a_mean_has_an_interval_that_neighbours_widen() {
    let alternating: Vec<f64> = (0..1_000).map(|at| f64::from(at % 2)).collect();
    let in_rows: Vec<f64> = (0..1_000).map(|at| f64::from(at / 50 % 2)).collect();
    let (one, other) = (mean_interval(&alternating), mean_interval(&in_rows));
    assert!((one.value, other.value) == (0.5, 0.5));
    assert!(other.high - other.low > 2.0 * (one.high - one.low), "{one:?} {other:?}");
}

#[test]
fn reasons_are_few() {
    let left_out = (0..10).map(|at| (format!("reason {at}"), at + 1)).collect();
    let gaps = gaps(&left_out);
    assert_eq!((gaps.len(), gaps[0].requests, gaps[6].requests), (7, 10, 1 + 2 + 3 + 4));
}
