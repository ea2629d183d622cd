//! The rules that are compared: ours, and faithful ports of two others.

use std::collections::VecDeque;

use policy::scale::{Counts, LoadSample, ScaleRecord, Scaler, Settings, decide};

use crate::simulator::{Rule, View, World};

/// Ours, asked once a second and whenever a request finds no replica.
pub struct Ours {
    scaler: Scaler,
    settings: Settings,
    /// What was decided, if it is wanted.
    pub records: Option<Vec<ScaleRecord>>,
}

impl Ours {
    pub const PERIOD_MS: f64 = 1_000.0;

    pub fn new(world: &World, utilisation: f64) -> Self {
        let settings = Settings {
            max: world.replicas_max,
            utilisation,
            rows_max: world.rows_max as u32,
            ..Settings::default()
        };
        Ours { scaler: Scaler::default(), settings, records: None }
    }

    pub fn with(world: &World, change: impl FnOnce(&mut Settings)) -> Self {
        let mut ours = Ours::new(world, Settings::default().utilisation);
        change(&mut ours.settings);
        ours
    }
}

impl Rule for Ours {
    fn period_ms(&self) -> f64 {
        Self::PERIOD_MS
    }

    fn replicas(&mut self, view: &View) -> u32 {
        self.scaler.observe(LoadSample {
            now_ms: view.now_ms as u64,
            in_system_request_ms: view.request_ms,
            arrived: view.arrived,
            queued: view.queued as u64,
            in_flight: view.in_flight as u64,
            rows_per_request: 1.0,
            service: view.latency.points(),
        });
        let counts = Counts {
            current: view.target,
            ready: view.ready,
            starting: view.starting,
            draining: view.draining,
        };
        self.settings.startup_ms = view.startup.expected_ms().unwrap_or(self.settings.startup_ms);
        let inputs = self.scaler.inputs(view.now_ms as u64, counts, &self.settings);
        let decision = decide(&inputs);
        if let Some(records) = &mut self.records {
            records.push(ScaleRecord { inputs, decision });
        }
        decision.target
    }
}

/// Knative's pod autoscaler with its defaults but for the target, after
/// `pkg/autoscaler/scaling/autoscaler.go` (windows, rates, panic),
/// `pkg/autoscaler/config/config.go` (60 s, 10% of it, 200%, 1000, 2, grace 30 s) and, for the way
/// to zero, `handleScaleToZero` in `pkg/reconciler/autoscaling/kpa/scaler.go`. Concurrency is
/// averaged over buckets of one second, and is that of pods and activator together, which is what a
/// queue before the replicas amounts to.
pub struct Knative {
    /// Requests in the system per replica: `TargetValue`.
    target: f64,
    /// Concurrency by second, the newest last.
    buckets: VecDeque<f64>,
    bucket_from: (f64, f64),
    panic_ms: Option<f64>,
    panic_pods_max: u32,
    active_ms: f64,
    inactive_ms: Option<f64>,
}

impl Knative {
    const STABLE_MS: f64 = 60_000.0;
    const PANIC_BUCKETS: usize = 6;
    const GRACE_MS: f64 = 30_000.0;

    pub fn new(target: f64) -> Self {
        Knative {
            target,
            buckets: VecDeque::new(),
            bucket_from: (0.0, 0.0),
            panic_ms: None,
            panic_pods_max: 0,
            active_ms: 0.0,
            inactive_ms: None,
        }
    }

    fn collect(&mut self, view: &View) {
        // The rule is called every two seconds; within them the load is taken as even.
        let (from_ms, from) = self.bucket_from;
        let seconds = ((view.now_ms - from_ms) / 1_000.0).round() as usize;
        if seconds == 0 {
            return;
        }
        let mean = (view.request_ms - from) / (view.now_ms - from_ms);
        self.buckets.extend(std::iter::repeat_n(mean, seconds));
        while self.buckets.len() > 60 {
            self.buckets.pop_front();
        }
        self.bucket_from = (view.now_ms, view.request_ms);
    }

    fn mean(&self, buckets: usize) -> f64 {
        let count = buckets.min(self.buckets.len());
        self.buckets.iter().rev().take(count).sum::<f64>() / count.max(1) as f64
    }

    fn scale(&mut self, now_ms: f64, ready: u32) -> u32 {
        let pods = ready.max(1) as f64;
        let (most, least) = ((1_000.0 * pods).ceil(), (pods / 2.0).floor());
        let (stable, panic) = (
            (self.mean(60) / self.target).ceil(),
            (self.mean(Self::PANIC_BUCKETS) / self.target).ceil(),
        );
        let within = |pods: f64| pods.max(least).min(most) as u32;
        let over = panic / pods >= 2.0;
        if over {
            self.panic_ms = Some(now_ms);
        } else if self.panic_ms.is_some_and(|panic_ms| panic_ms + Self::STABLE_MS < now_ms) {
            (self.panic_ms, self.panic_pods_max) = (None, 0);
        }
        if self.panic_ms.is_none() {
            return within(stable);
        }
        self.panic_pods_max = self.panic_pods_max.max(within(stable)).max(within(panic));
        self.panic_pods_max
    }
}

impl Rule for Knative {
    fn period_ms(&self) -> f64 {
        2_000.0
    }

    fn replicas(&mut self, view: &View) -> u32 {
        self.collect(view);
        if view.target == 0 {
            // The activator pokes the autoscaler at the first request.
            if view.queued > 0 {
                (self.active_ms, self.inactive_ms) = (view.now_ms, None);
                return self.scale(view.now_ms, view.ready).max(1);
            }
            return 0;
        }
        let desired = self.scale(view.now_ms, view.ready);
        if desired > 0 {
            if self.inactive_ms.take().is_some() {
                self.active_ms = view.now_ms;
            }
            return desired;
        }
        if view.ready == 0 {
            return view.target;
        }
        match self.inactive_ms {
            None if view.now_ms - self.active_ms < Self::STABLE_MS => 1,
            None => {
                self.inactive_ms = Some(view.now_ms);
                view.target
            }
            Some(inactive_ms) if view.now_ms - inactive_ms >= Self::GRACE_MS => 0,
            Some(_) => view.target,
        }
    }
}

/// Ray Serve's rule with its defaults but for the target, after
/// `python/ray/serve/autoscaling_policy.py` (`_core_replica_queue_length_policy`,
/// `_apply_scaling_factors`, `_apply_bounds`, `_apply_delay_logic`,
/// `_get_cold_start_scale_up_replicas`) and `python/ray/serve/config.py` (look-back 30 s, up after
/// 30 s, down after 600 s).
pub struct Ray {
    /// Requests queued or running per replica: `target_ongoing_requests`.
    target: f64,
    /// Times and integrals within the look-back.
    points: VecDeque<(f64, f64)>,
    /// Ticks in a row that asked for more, or, negative, for fewer.
    counter: i32,
    replicas_max: u32,
}

impl Ray {
    const PERIOD_MS: f64 = 100.0;
    const LOOK_BACK_MS: f64 = 30_000.0;
    const UP_TICKS: i32 = 300;
    const DOWN_TICKS: i32 = 6_000;

    pub fn new(target: f64, replicas_max: u32) -> Self {
        Ray { target, points: VecDeque::from([(0.0, 0.0)]), counter: 0, replicas_max }
    }

    fn load(&mut self, view: &View) -> f64 {
        self.points.push_back((view.now_ms, view.request_ms));
        while self.points.len() > 2 && view.now_ms - self.points[1].0 >= Self::LOOK_BACK_MS {
            self.points.pop_front();
        }
        let (from_ms, from) = self.points[0];
        (view.request_ms - from) / (view.now_ms - from_ms).max(Self::PERIOD_MS)
    }
}

impl Rule for Ray {
    fn period_ms(&self) -> f64 {
        Self::PERIOD_MS
    }

    fn replicas(&mut self, view: &View) -> u32 {
        let load = self.load(view);
        if view.ready == 0 {
            return if load > 0.0 || view.queued > 0 { view.target.max(1) } else { view.target };
        }
        let running = view.ready as f64;
        let desired = running * (load / (self.target * running));
        let desired =
            ((running + (desired - running) - 1e-9).ceil().max(0.0) as u32).min(self.replicas_max);
        if desired > view.target {
            self.counter = self.counter.max(0) + 1;
            if self.counter > Self::UP_TICKS {
                self.counter = 0;
                return desired;
            }
        } else if desired < view.target {
            self.counter = self.counter.min(0) - 1;
            // To zero only from one.
            let desired = if view.target == 1 { desired } else { desired.max(1) };
            if self.counter < -Self::DOWN_TICKS {
                self.counter = 0;
                return desired;
            }
        } else {
            self.counter = 0;
        }
        view.target
    }
}
