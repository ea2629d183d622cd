//! Replicas that serve batches from one queue, on a virtual clock. The same for every rule: only
//! the number of replicas differs.

use std::collections::VecDeque;

use policy::batch::LatencyModel;
use policy::scale::StartupTime;

use crate::random::Random;

/// One model with its traffic.
#[derive(Clone, Debug)]
pub struct World {
    /// The fixed time of a batch and that of each row, in milliseconds.
    pub batch_ms: f64,
    pub row_ms: f64,
    pub rows_max: usize,
    /// Of a request, from its arrival, in milliseconds.
    pub deadline_ms: f64,
    /// The median time of a start, in milliseconds.
    pub startup_ms: f64,
    pub replicas_max: u32,
    /// When requests arrive, in milliseconds, rising.
    pub arrivals_ms: Vec<f64>,
    pub horizon_ms: f64,
    pub seed: u64,
}

impl World {
    pub fn service_ms(&self, rows: usize) -> f64 {
        self.batch_ms + self.row_ms * rows as f64
    }

    /// What one replica serves with full batches, in requests per second.
    pub fn capacity_per_s(&self) -> f64 {
        self.rows_max as f64 / self.service_ms(self.rows_max) * 1_000.0
    }

    /// Replica-seconds that would do if replicas came and went in no time and every batch were
    /// full.
    pub fn ideal_replica_s(&self) -> f64 {
        self.arrivals_ms.len() as f64 / self.capacity_per_s()
    }
}

/// What a rule sees.
pub struct View<'a> {
    pub now_ms: f64,
    pub target: u32,
    pub ready: u32,
    pub starting: u32,
    pub draining: u32,
    pub queued: usize,
    pub in_flight: usize,
    pub arrived: u64,
    /// The integral of the requests in the system, in request-milliseconds.
    pub request_ms: f64,
    pub latency: &'a LatencyModel,
    pub startup: &'a StartupTime,
}

/// A way to choose the number of replicas.
pub trait Rule {
    fn period_ms(&self) -> f64;
    /// How many there should be. Also called when a request arrives and there is no replica at all.
    fn replicas(&mut self, view: &View) -> u32;
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    pub requests: u64,
    /// Requests that were answered late or not at all.
    pub missed: u64,
    /// From spawn to end, until the horizon.
    pub replica_s: f64,
    /// Changes of the target, and those among them that went the other way than the one before.
    pub changes: u32,
    pub reversals: u32,
}

struct Replica {
    from_ms: f64,
    ready_ms: f64,
    /// The batch that runs: its end and the arrivals in it.
    batch: Option<(f64, Vec<f64>)>,
    ready: bool,
    draining: bool,
}

/// What changes only when a replica does.
#[derive(Clone, Copy)]
struct Overview {
    /// The replica whose start or batch ends first, and when.
    first: (usize, f64),
    /// One that could take a batch.
    free: Option<usize>,
    ready: u32,
    starting: u32,
    draining: u32,
}

struct Simulation<'a> {
    world: &'a World,
    random: Random,
    now_ms: f64,
    queue: VecDeque<f64>,
    replicas: Vec<Replica>,
    overview: Option<Overview>,
    in_flight: usize,
    arrived: usize,
    request_ms: f64,
    target: u32,
    rising: Option<bool>,
    latency: LatencyModel,
    startup: StartupTime,
    spare: Vec<Vec<f64>>,
    outcome: Outcome,
}

/// Runs one rule over one world, from one ready replica on.
pub fn simulate(world: &World, rule: &mut dyn Rule) -> Outcome {
    let mut simulation = Simulation {
        world,
        random: Random::new(world.seed ^ 0x5EED),
        now_ms: 0.0,
        queue: VecDeque::new(),
        replicas: Vec::new(),
        overview: None,
        in_flight: 0,
        arrived: 0,
        request_ms: 0.0,
        target: 1,
        rising: None,
        latency: LatencyModel::default(),
        startup: StartupTime::default(),
        spare: Vec::new(),
        outcome: Outcome { requests: world.arrivals_ms.len() as u64, ..Outcome::default() },
    };
    // A version is started once before it takes traffic, so one start is known.
    let candidate_ms = simulation.startup_ms();
    simulation.startup.observe(candidate_ms as u64);
    simulation.spawn(0.0);
    simulation.run(rule);
    simulation.outcome
}

impl Simulation<'_> {
    fn run(&mut self, rule: &mut dyn Rule) {
        let mut tick_ms = rule.period_ms();
        loop {
            let arrival_ms =
                self.world.arrivals_ms.get(self.arrived).copied().unwrap_or(f64::INFINITY);
            let expiry_ms = self
                .queue
                .front()
                .map_or(f64::INFINITY, |arrived_ms| arrived_ms + self.world.deadline_ms);
            let (replica, replica_ms) = self.overview().first;
            let next_ms = arrival_ms.min(expiry_ms).min(replica_ms).min(tick_ms);
            if next_ms >= self.world.horizon_ms {
                break;
            }
            self.advance(next_ms);
            if next_ms == replica_ms {
                self.replica_event(replica);
            } else if next_ms == expiry_ms {
                self.queue.pop_front();
                self.outcome.missed += 1;
            } else if next_ms == arrival_ms {
                self.arrived += 1;
                self.queue.push_back(next_ms);
                self.dispatch();
                if self.target == 0 {
                    self.decide(rule);
                }
            } else {
                tick_ms += rule.period_ms();
                self.decide(rule);
            }
        }
        self.advance(self.world.horizon_ms);
        // What is not over yet counts as it would if the clock stood still for the number of
        // replicas: late only if late now.
        let late = self
            .queue
            .iter()
            .filter(|arrived_ms| self.now_ms - **arrived_ms > self.world.deadline_ms)
            .count();
        self.outcome.missed += late as u64;
        let from_ms: Vec<f64> = self.replicas.iter().map(|replica| replica.from_ms).collect();
        from_ms.into_iter().for_each(|from_ms| self.charge(from_ms));
    }

    fn advance(&mut self, to_ms: f64) {
        self.request_ms += (to_ms - self.now_ms) * (self.queue.len() + self.in_flight) as f64;
        self.now_ms = to_ms;
    }

    fn overview(&mut self) -> Overview {
        if let Some(overview) = self.overview {
            return overview;
        }
        let mut overview =
            Overview { first: (0, f64::INFINITY), free: None, ready: 0, starting: 0, draining: 0 };
        for (at, replica) in self.replicas.iter().enumerate() {
            let count = match (replica.ready, replica.draining) {
                (_, true) => &mut overview.draining,
                (true, false) => &mut overview.ready,
                (false, false) => &mut overview.starting,
            };
            *count += 1;
            let end_ms = match &replica.batch {
                Some((end_ms, _)) => *end_ms,
                None if !replica.ready => replica.ready_ms,
                None => {
                    overview.free = overview.free.or(Some(at));
                    continue;
                }
            };
            if end_ms < overview.first.1 {
                overview.first = (at, end_ms);
            }
        }
        self.overview = Some(overview);
        overview
    }

    fn replica_event(&mut self, at: usize) {
        self.overview = None;
        let replica = &mut self.replicas[at];
        if let Some((_, rows)) = replica.batch.take() {
            self.in_flight -= rows.len();
            let late = rows
                .iter()
                .filter(|arrived_ms| self.now_ms - **arrived_ms > self.world.deadline_ms)
                .count();
            self.outcome.missed += late as u64;
            self.spare.push(rows);
            if replica.draining {
                self.remove(at);
            }
        } else {
            replica.ready = true;
            let elapsed_ms = self.now_ms - replica.from_ms;
            if elapsed_ms > 0.0 {
                self.startup.observe(elapsed_ms as u64);
            }
        }
        self.dispatch();
    }

    /// Gives every free replica what is queued, as the gateway does: as many rows as the head's
    /// deadline allows.
    fn dispatch(&mut self) {
        while !self.queue.is_empty() {
            let Some(at) = self.overview().free else { return };
            let slack_ms = self.queue[0] + self.world.deadline_ms - self.now_ms;
            let rows = self.queue.len().min(self.world.rows_max);
            let Some(rows) = self.latency.rows_within(rows, slack_ms * 1_000.0) else {
                self.queue.pop_front();
                self.outcome.missed += 1;
                continue;
            };
            let mut batch = self.spare.pop().unwrap_or_default();
            batch.clear();
            batch.extend(self.queue.drain(..rows));
            let service_ms = self.world.service_ms(rows) * self.random.lognormal(0.1);
            self.latency.observe(rows, service_ms * 1_000.0);
            self.in_flight += rows;
            self.replicas[at].batch = Some((self.now_ms + service_ms, batch));
            self.overview = None;
        }
    }

    fn decide(&mut self, rule: &mut dyn Rule) {
        let Overview { ready, starting, draining, .. } = self.overview();
        let view = View {
            now_ms: self.now_ms,
            target: self.target,
            ready,
            starting,
            draining,
            queued: self.queue.len(),
            in_flight: self.in_flight,
            arrived: self.arrived as u64,
            request_ms: self.request_ms,
            latency: &self.latency,
            startup: &self.startup,
        };
        let target = rule.replicas(&view).min(self.world.replicas_max);
        if target != self.target {
            let rising = target > self.target;
            self.outcome.changes += 1;
            self.outcome.reversals += u32::from(self.rising.is_some_and(|before| before != rising));
            self.rising = Some(rising);
            self.target = target;
        }
        self.follow(ready + starting);
    }

    /// Starts what is missing; ends what is too much: what starts first, then what is free, then
    /// what is busy, after its batch.
    fn follow(&mut self, running: u32) {
        if running != self.target {
            self.overview = None;
        }
        let mut running = running;
        while running < self.target {
            let startup_ms = self.startup_ms();
            self.spawn(startup_ms);
            running += 1;
        }
        while running > self.target {
            running -= 1;
            let last = |of: fn(&Replica) -> bool| self.replicas.iter().rposition(of);
            let unused =
                last(|replica| !replica.ready).or_else(|| last(|replica| replica.batch.is_none()));
            match unused {
                Some(at) => self.remove(at),
                None => {
                    if let Some(at) = last(|replica| !replica.draining) {
                        self.replicas[at].draining = true;
                    }
                }
            }
        }
    }

    fn spawn(&mut self, startup_ms: f64) {
        self.overview = None;
        let (from_ms, ready_ms) = (self.now_ms, self.now_ms + startup_ms);
        self.replicas.push(Replica {
            from_ms,
            ready_ms,
            batch: None,
            ready: startup_ms == 0.0,
            draining: false,
        });
    }

    fn startup_ms(&mut self) -> f64 {
        self.world.startup_ms * self.random.lognormal(0.2)
    }

    fn remove(&mut self, at: usize) {
        let replica = self.replicas.remove(at);
        self.charge(replica.from_ms);
    }

    fn charge(&mut self, from_ms: f64) {
        self.outcome.replica_s += (self.now_ms - from_ms) / 1_000.0;
    }
}
