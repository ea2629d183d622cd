//! Two arms under load: diurnal arrivals, latencies with slow noise that both arms share, noise of
//! each arm's own, and batches whose requests share latency and fate.

use domain::ArmWindow;

use crate::random::Random;

/// Seconds of an interval.
const INTERVAL_S: f64 = 5.0;

/// First-order autoregressive noise in the logarithm of the latency, stepped each second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wander {
    pub deviation: f64,
    pub memory_s: f64,
    value: f64,
}

impl Wander {
    pub fn new(deviation: f64, memory_s: f64, random: &mut Random) -> Wander {
        Wander { deviation, memory_s, value: deviation * random.normal() }
    }

    fn step(&mut self, random: &mut Random) -> f64 {
        let keep = (-1.0 / self.memory_s.max(0.1)).exp();
        self.value =
            keep * self.value + self.deviation * (1.0 - keep * keep).sqrt() * random.normal();
        self.value
    }
}

/// Now and then all is different for a while.
#[derive(Clone, Copy, Debug)]
pub struct Regime {
    pub every_s: f64,
    pub lasts_s: f64,
    /// What it multiplies latencies by.
    pub slower: f64,
    /// What it adds to the share of batches that fail.
    pub errors: f64,
    on: bool,
}

impl Regime {
    pub fn new(
        every_s: f64,
        lasts_s: f64,
        slower: f64,
        errors: f64,
        random: &mut Random,
    ) -> Regime {
        Regime {
            every_s,
            lasts_s,
            slower,
            errors,
            on: random.chance(lasts_s / (every_s + lasts_s)),
        }
    }

    fn step(&mut self, random: &mut Random) -> (f64, f64) {
        let changes = if self.on { 1.0 / self.lasts_s } else { 1.0 / self.every_s };
        self.on ^= random.chance(changes);
        if self.on { (self.slower.ln(), self.errors) } else { (0.0, 0.0) }
    }
}

/// What is worse in the canary than in the baseline.
#[derive(Clone, Copy, Debug)]
pub struct Harm {
    /// Added to the share of requests that fail.
    pub errors: f64,
    /// All latencies.
    pub slower: f64,
    /// The slowest twentieth of batches.
    pub tail_slower: f64,
}

pub const NO_HARM: Harm = Harm { errors: 0.0, slower: 1.0, tail_slower: 1.0 };

/// The circumstances of one release.
#[derive(Clone, Debug)]
pub struct Scene {
    pub requests_per_s: f64,
    pub day_amplitude: f64,
    pub day_s: f64,
    pub day_phase: f64,
    pub median_ms: f64,
    /// Of the logarithm, from batch to batch.
    pub spread: f64,
    pub batch_rows: f64,
    pub errors: f64,
    pub shared: Wander,
    pub shared_regime: Regime,
    pub own: [Wander; 2],
    pub own_regime: [Regime; 2],
    /// The canary's first seconds, and how slow they are.
    pub cold_s: f64,
    pub cold_slower: f64,
    pub harm: Harm,
}

/// The upper twentieth of a standard normal.
const TAIL_NORMAL: f64 = 1.645;

impl Scene {
    /// Any. `settled` keeps slow noise short enough for absolute limits to have a meaning within
    /// ten minutes.
    pub fn random(settled: bool, random: &mut Random) -> Scene {
        let memory_s_max = if settled { 30.0 } else { 600.0 };
        let memory_s = random.between_log(5.0, memory_s_max);
        let shared_deviation =
            if settled { random.between(0.0, 0.2) } else { random.between(0.0, 0.5) };
        let lasts_s = random.between_log(10.0, if settled { 20.0 } else { 120.0 });
        let (every_s, slower) = (
            random.between_log(100.0, 600.0),
            random.between(1.2, if settled { 1.5 } else { 4.0 }),
        );
        let outage = if settled { 0.0 } else { random.between(0.0, 0.05) };
        let own_deviation = random.between(0.0, 0.1);
        let own_memory_s = random.between_log(1.0, 30.0);
        let (pause_every_s, pause_s) =
            (random.between_log(20.0, 200.0), random.between_log(1.0, 5.0));
        let pause_slower = random.between(1.0, 2.0);
        Scene {
            requests_per_s: random.between_log(1.0, 100.0),
            day_amplitude: random.between(0.0, 0.6),
            day_s: random.between_log(600.0, 7_200.0),
            day_phase: random.unit(),
            median_ms: random.between_log(1.0, 200.0),
            spread: random.between(0.2, 1.0),
            batch_rows: random.between_log(1.0, 32.0),
            errors: random.between_log(0.0001, 0.01),
            shared: Wander::new(shared_deviation, memory_s, random),
            shared_regime: Regime::new(every_s, lasts_s, slower, outage, random),
            own: [0, 1].map(|_| Wander::new(own_deviation, own_memory_s, random)),
            own_regime: [0, 1]
                .map(|_| Regime::new(pause_every_s, pause_s, pause_slower, 0.0, random)),
            cold_s: 10.0,
            cold_slower: random.between(1.0, 5.0),
            harm: NO_HARM,
        }
    }

    /// Ordinary circumstances, to plant a harm in.
    pub fn ordinary(requests_per_s: f64, harm: Harm, random: &mut Random) -> Scene {
        Scene {
            requests_per_s,
            day_amplitude: 0.3,
            day_s: 3_600.0,
            day_phase: random.unit(),
            median_ms: 20.0,
            spread: 0.5,
            batch_rows: 4.0,
            errors: 0.001,
            shared: Wander::new(0.2, 60.0, random),
            shared_regime: Regime::new(300.0, 20.0, 2.0, 0.0, random),
            own: [0, 1].map(|_| Wander::new(0.05, 10.0, random)),
            own_regime: [0, 1].map(|_| Regime::new(60.0, 2.0, 1.5, 0.0, random)),
            cold_s: 10.0,
            cold_slower: 3.0,
            harm,
        }
    }

    /// The latency that a share of the canary's requests keeps in the long run, in milliseconds, by
    /// sampling its noises as they are distributed at rest.
    pub fn long_run_quantile_ms(&self, share: f64, random: &mut Random) -> f64 {
        let regime = |regime: &Regime, random: &mut Random| {
            if random.chance(regime.lasts_s / (regime.every_s + regime.lasts_s)) {
                regime.slower.ln()
            } else {
                0.0
            }
        };
        let deviation = self.spread.hypot(self.shared.deviation).hypot(self.own[0].deviation);
        let mut draws: Vec<f64> = (0..5_000)
            .map(|_| {
                deviation * random.normal()
                    + regime(&self.shared_regime, random)
                    + regime(&self.own_regime[0], random)
            })
            .collect();
        draws.sort_by(f64::total_cmp);
        self.median_ms * draws[(draws.len() as f64 * share) as usize].exp()
    }
}

/// Steps a scene through time.
pub struct Traffic {
    scene: Scene,
    second: f64,
    random: Random,
}

impl Traffic {
    pub fn new(scene: Scene, random: Random) -> Traffic {
        Traffic { scene, second: 0.0, random }
    }

    /// The next interval, with this share of requests going to the canary: `arms` becomes canary
    /// and baseline.
    pub fn interval(&mut self, weight: f64, arms: &mut [ArmWindow; 2]) {
        arms.iter_mut().for_each(ArmWindow::clear);
        let random = &mut self.random;
        for _ in 0..INTERVAL_S as usize {
            let scene = &mut self.scene;
            let day = (std::f64::consts::TAU * (self.second / scene.day_s + scene.day_phase)).sin();
            let rate = scene.requests_per_s * (1.0 + scene.day_amplitude * day);
            let shared = scene.shared.step(random);
            let (shared_slower, outage) = scene.shared_regime.step(random);
            for (arm, window) in arms.iter_mut().enumerate() {
                let own = scene.own[arm].step(random) + scene.own_regime[arm].step(random).0;
                let harm = if arm == 0 { scene.harm } else { NO_HARM };
                let cold = if arm == 0 && self.second < scene.cold_s {
                    scene.cold_slower.ln()
                } else {
                    0.0
                };
                let level =
                    scene.median_ms.ln() + shared + shared_slower + own + harm.slower.ln() + cold;
                let share = if arm == 0 { weight } else { 1.0 - weight };
                let errors = scene.errors + outage + harm.errors;
                let mut left = random.poisson(rate * share);
                while left > 0 {
                    let rows = if scene.batch_rows <= 1.05 {
                        1
                    } else {
                        (1.0 - (1.0 - random.unit()).ln() * (scene.batch_rows - 1.0)) as u64
                    }
                    .min(left);
                    left -= rows;
                    let normal = random.normal();
                    let tail = if normal > TAIL_NORMAL { harm.tail_slower } else { 1.0 };
                    let ms = (level + scene.spread * normal).exp() * tail;
                    window.requests += rows;
                    if random.chance(errors) {
                        window.errors += rows;
                    } else {
                        window.latency.record_many_us((ms * 1_000.0) as u64, rows as u32);
                    }
                }
            }
            self.second += 1.0;
        }
    }
}
