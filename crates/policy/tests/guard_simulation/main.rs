//! Releases on a virtual clock: how often guards roll back a canary that is as good as its
//! baseline, and how soon they find one that is not. `GUARD_RUNS` raises the number of equal
//! canaries, `GUARD_SEED` moves all seeds; the seeds below a million were used to choose constants
//! and are not used here.
//!
//!     cargo test -p policy --test guard_simulation -- --nocapture

mod random;
mod repeated;
mod traffic;

use domain::guard::{GuardSettings, Verdict};
use domain::{ArmWindow, Guard};
use policy::guard::Watch;
use random::Random;
use traffic::{Harm, NO_HARM, Scene, Traffic};

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Seeds of reports start here.
fn seed_first() -> u64 {
    number("GUARD_SEED", 1_000_000)
}

/// As ordinary, but for what is being chosen.
fn settings() -> GuardSettings {
    let ordinary = GuardSettings::default();
    let prior = std::env::var("GUARD_PRIOR")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(ordinary.dependence_prior);
    GuardSettings { dependence_prior: prior, ..ordinary }
}

fn guards(texts: &[&str]) -> Vec<Guard> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Family {
    /// The guards of a release that names none.
    Defaults,
    /// Limits at equality itself: the canary has no margin.
    Equality,
    /// Absolute limits a tenth above what the canary keeps in the long run.
    Absolute,
}

const FAMILIES: [Family; 3] = [Family::Defaults, Family::Equality, Family::Absolute];
/// Twelve and a half minutes: longer than an epoch.
const INTERVALS: usize = 150;

#[derive(Default, Clone, Copy)]
struct Outcome {
    rolled_back: bool,
    advanced: bool,
    mann_whitney: bool,
    mann_whitney_once: bool,
    proportions: bool,
}

/// A canary that is the same version as its baseline, in one step or in three.
fn equal_canary(family: Family, seed: u64, contrast: bool) -> Outcome {
    let mut random = Random::new(seed);
    let scene = Scene::random(family == Family::Absolute, &mut random);
    let weight = random.between_log(0.01, 0.5);
    let steps = if random.chance(0.5) { 1 } else { 3 };
    let guards = match family {
        Family::Defaults => Guard::defaults(),
        Family::Equality => guards(&["errors<baseline", "p99<1x", "p50<1x", "mean<1x"]),
        Family::Absolute => {
            let p95_ms = 1.1 * scene.long_run_quantile_ms(0.95, &mut random);
            guards(&[
                &format!("errors<{:.6}%", scene.errors * 110.0),
                &format!("p95<{p95_ms:.6}ms"),
            ])
        }
    };
    let mut watch = Watch::new(settings(), &guards);
    let mut traffic = Traffic::new(scene, random);
    let mut arms: [ArmWindow; 2] = Default::default();
    let mut all: [ArmWindow; 2] = Default::default();
    let mut outcome = Outcome::default();
    for interval in 0..INTERVALS {
        let step = interval * steps / INTERVALS;
        if step > 0 && interval * steps % INTERVALS < steps {
            watch.begin_step();
        }
        traffic.interval(weight.powf(1.0 / (1.0 + step as f64)).min(0.5), &mut arms);
        watch.observe(&arms[0], &arms[1]);
        let verdict = watch.verdict();
        if verdict == Verdict::RollBack && !outcome.rolled_back {
            outcome.rolled_back = true;
            assert_eq!(
                watch.judge().verdict,
                Verdict::RollBack,
                "the record must say the same, seed {seed}"
            );
        }
        outcome.advanced |= verdict == Verdict::Advance;
        if !contrast {
            if outcome.rolled_back {
                break;
            }
            continue;
        }
        // The first ten seconds are left out here too.
        if interval >= 2 {
            all.iter_mut().zip(&arms).for_each(|(all, arm)| repeated::accumulate(all, arm));
        }
        if interval >= 12 && all[0].latency.count() >= 20 && all[1].latency.count() >= 20 {
            outcome.mann_whitney_once = repeated::mann_whitney(&all[0].latency, &all[1].latency)
                > repeated::CRITICAL_NORMAL;
            outcome.mann_whitney |= outcome.mann_whitney_once;
            outcome.proportions |=
                repeated::two_proportions(&all[0], &all[1]) > repeated::CRITICAL_NORMAL;
        }
    }
    outcome
}

/// The most events that `runs` trials of this probability have, except once in a thousand: by the
/// normal approximation.
fn binomial_most(runs: usize, probability: f64) -> f64 {
    let mean = runs as f64 * probability;
    mean + 3.09 * (mean * (1.0 - probability)).sqrt() + 1.0
}

#[test]
fn equal_canaries_are_rarely_rolled_back() {
    let runs = number("GUARD_RUNS", 10_000) as usize;
    let alpha = GuardSettings::default().alpha;
    let contrasted = 600;
    println!(
        "| guards | equal canaries | rolled back | advanced within 12.5 minutes |\n| --- | --- | --- | --- |"
    );
    let mut total = 0;
    for (index, family) in FAMILIES.into_iter().enumerate() {
        let seeds: Vec<u64> =
            (0..runs).filter(|run| run % 3 == index).map(|run| seed_first() + run as u64).collect();
        let outcomes: Vec<Outcome> = seeds
            .iter()
            .enumerate()
            .map(|(at, seed)| {
                equal_canary(family, *seed, family == Family::Equality && at < contrasted)
            })
            .collect();
        let count =
            |of: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| of(outcome)).count();
        let rolled_back = count(|outcome| outcome.rolled_back);
        let percent = |count: usize, of: usize| 100.0 * count as f64 / of as f64;
        println!(
            "| {family:?} | {} | {:.2}% | {:.0}% |",
            outcomes.len(),
            percent(rolled_back, outcomes.len()),
            percent(count(|outcome| outcome.advanced), outcomes.len())
        );
        assert!(
            rolled_back as f64 <= binomial_most(outcomes.len(), alpha),
            "{family:?}: {rolled_back} of {}",
            outcomes.len()
        );
        total += rolled_back;
        if family == Family::Equality {
            let outcomes = &outcomes[..contrasted.min(outcomes.len())];
            let rate = |of: fn(&Outcome) -> bool| {
                outcomes.iter().filter(|outcome| of(outcome)).count() as f64 / outcomes.len() as f64
            };
            let [ours, often, once, proportions] = [
                rate(|outcome| outcome.rolled_back),
                rate(|outcome| outcome.mann_whitney),
                rate(|outcome| outcome.mann_whitney_once),
                rate(|outcome| outcome.proportions),
            ];
            println!(
                "| on {} of the same traces: Mann–Whitney at 5% every 5 s {:.0}%, once at the end {:.0}%; two proportions every 5 s {:.0}%; guards {:.1}% ||||",
                outcomes.len(),
                100.0 * often,
                100.0 * once,
                100.0 * proportions,
                100.0 * ours
            );
            assert!(
                often > 3.0 * alpha && proportions > alpha && ours <= alpha,
                "{often} {once} {proportions} {ours}"
            );
        }
    }
    println!("| together | {runs} | {:.2}% | |", 100.0 * total as f64 / runs as f64);
    assert!(
        total as f64 <= alpha * runs as f64,
        "{total} of {runs} equal canaries were rolled back"
    );
}

/// Whether an equal canary is rolled back while the server restarts every minute or two, and if
/// each restart had all of α.
fn restarted_canary(seed: u64) -> (bool, bool) {
    let mut random = Random::new(seed);
    let scene = Scene::random(false, &mut random);
    let weight = random.between_log(0.01, 0.5);
    let lasts = random.between(12.0, 25.0) as usize;
    let guards = guards(&["errors<baseline", "p99<1x", "p50<1x", "mean<1x"]);
    let (mut watch, mut careless) =
        (Watch::new(settings(), &guards), Watch::new(settings(), &guards));
    let mut traffic = Traffic::new(scene, random);
    let mut arms: [ArmWindow; 2] = Default::default();
    let mut rolled_back = (false, false);
    for interval in 0..2 * INTERVALS {
        if interval > 0 && interval % lasts == 0 {
            watch = Watch::resume(settings(), &guards, 1, (interval / lasts) as u32 + 1);
            careless = Watch::resume(settings(), &guards, 1, 0);
        }
        traffic.interval(weight, &mut arms);
        for (watch, rolled_back) in
            [(&mut watch, &mut rolled_back.0), (&mut careless, &mut rolled_back.1)]
        {
            watch.observe(&arms[0], &arms[1]);
            *rolled_back |= watch.verdict() == Verdict::RollBack;
        }
    }
    rolled_back
}

#[test]
fn equal_canaries_are_rarely_rolled_back_however_often_the_server_restarts() {
    let runs = number("GUARD_RUNS", 10_000) as usize / 5;
    let outcomes: Vec<(bool, bool)> =
        (0..runs).map(|run| restarted_canary(seed_first() + 900_000 + run as u64)).collect();
    let (ours, careless) =
        outcomes.iter().fold((0, 0), |sum, of| (sum.0 + of.0 as usize, sum.1 + of.1 as usize));
    println!(
        "{runs} equal canaries, restarted up to 25 times: rolled back {ours}; {careless} if each had all of α"
    );
    assert!(ours as f64 <= binomial_most(runs, settings().alpha), "{ours} of {runs}");
    assert!(careless > ours, "restarts cost nothing: {careless}");
}

const INTERVALS_MAX: usize = 360;

/// Intervals until a canary with this harm is rolled back, and until it first could advance, each
/// if within half an hour.
fn harmed_canary(
    texts: &[&str],
    requests_per_s: f64,
    harm: Harm,
    seed: u64,
) -> (Option<usize>, Option<usize>) {
    let mut random = Random::new(seed);
    let scene = Scene::ordinary(requests_per_s, harm, &mut random);
    let mut watch = Watch::new(settings(), &guards(texts));
    let mut traffic = Traffic::new(scene, random);
    let mut arms: [ArmWindow; 2] = Default::default();
    let mut advanced = None;
    for interval in 1..=INTERVALS_MAX {
        traffic.interval(0.1, &mut arms);
        watch.observe(&arms[0], &arms[1]);
        match watch.verdict() {
            Verdict::RollBack => return (Some(interval), advanced),
            Verdict::Advance => advanced = advanced.or(Some(interval)),
            Verdict::Hold => (),
        }
    }
    (None, advanced)
}

/// The time that a share of all took, as text.
fn quantile(intervals: &[Option<usize>], share: f64) -> String {
    let mut sorted: Vec<usize> =
        intervals.iter().map(|intervals| intervals.unwrap_or(usize::MAX)).collect();
    sorted.sort_unstable();
    match sorted[(sorted.len() as f64 * share).ceil() as usize - 1] {
        usize::MAX => "–".to_string(),
        intervals => format!("{} s", intervals * 5),
    }
}

const HALF_POINT: &[&str] = &["errors<baseline+0.5%"];
const P99: &[&str] = &["p99<1.2x"];
const P95: &[&str] = &["p95<1.2x"];
const MEAN: &[&str] = &["mean<1.2x"];

#[test]
fn harmed_canaries_are_found() {
    let seeds = number("GUARD_SEEDS_HARMED", 50);
    // With the longest median that is accepted, in seconds, at each rate of requests; 0 where none
    // is promised.
    let rows: [(&str, &[&str], Harm, [usize; 3]); 15] = [
        ("none", &[], NO_HARM, [0; 3]),
        ("none", P99, NO_HARM, [0; 3]),
        ("none", MEAN, NO_HARM, [0; 3]),
        ("errors 0.1% → 1%", HALF_POINT, Harm { errors: 0.009, ..NO_HARM }, [0, 0, 900]),
        ("errors 0.1% → 5%", HALF_POINT, Harm { errors: 0.049, ..NO_HARM }, [700, 180, 100]),
        ("errors 0.1% → 5%", &["errors<1%"], Harm { errors: 0.049, ..NO_HARM }, [700, 180, 100]),
        ("errors 0.1% → 100%", HALF_POINT, Harm { errors: 1.0, ..NO_HARM }, [60, 30, 30]),
        ("slowest 5% × 1.3", P99, Harm { tail_slower: 1.3, ..NO_HARM }, [0; 3]),
        ("slowest 5% × 2", P99, Harm { tail_slower: 2.0, ..NO_HARM }, [1_700, 360, 150]),
        ("slowest 5% × 5", P99, Harm { tail_slower: 5.0, ..NO_HARM }, [900, 260, 140]),
        ("all × 1.3", P99, Harm { slower: 1.3, ..NO_HARM }, [0; 3]),
        ("all × 1.3", MEAN, Harm { slower: 1.3, ..NO_HARM }, [0, 1_000, 400]),
        ("all × 2", P99, Harm { slower: 2.0, ..NO_HARM }, [400, 130, 90]),
        ("all × 2", P95, Harm { slower: 2.0, ..NO_HARM }, [200, 90, 70]),
        ("all × 2", MEAN, Harm { slower: 2.0, ..NO_HARM }, [130, 70, 60]),
    ];
    println!(
        "| harm | guard | canary requests/s | rolled back | after (median) | (90%) | could advance | after (median) |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for (name, texts, harm, median_s_max) in rows {
        for (canary_per_s, median_s_max) in [1.0, 10.0, 100.0].into_iter().zip(median_s_max) {
            let run =
                |run| harmed_canary(texts, canary_per_s / 0.1, harm, seed_first() + 500_000 + run);
            let (found, advanced): (Vec<_>, Vec<_>) = (0..seeds).map(run).unzip();
            let percent = |times: &[Option<usize>]| {
                100.0 * times.iter().flatten().count() as f64 / times.len() as f64
            };
            println!(
                "| {name} | {} | {canary_per_s} | {:.0}% | {} | {} | {:.0}% | {} |",
                if texts.is_empty() {
                    "defaults".to_string()
                } else {
                    format!("`{}`", texts.join(" "))
                },
                percent(&found),
                quantile(&found, 0.5),
                quantile(&found, 0.9),
                percent(&advanced),
                quantile(&advanced, 0.5)
            );
            if name == "none" {
                assert!(
                    found.iter().flatten().count() as f64
                        <= binomial_most(found.len(), settings().alpha),
                    "{texts:?}"
                );
            }
            if median_s_max > 0 {
                let soon = found
                    .iter()
                    .flatten()
                    .filter(|intervals| *intervals * 5 <= median_s_max)
                    .count();
                assert!(
                    soon * 2 >= found.len(),
                    "{name} {texts:?} at {canary_per_s}/s: {soon} within {median_s_max} s"
                );
                let let_through = advanced.iter().flatten().count();
                assert!(
                    let_through * 5 <= advanced.len(),
                    "{name} {texts:?} at {canary_per_s}/s: {let_through} let through"
                );
            }
        }
    }
}
