//! Traffic of one model for two hours and a bit: callers with their own data and sizes, a day's
//! cycle, replicas that take one request after the other, records with weights. One thing may go
//! wrong, or two; other things happen besides that change nothing.

use std::collections::{BTreeMap, BinaryHeap};

use policy::why::{
    Cell, Column, Event, EventKind, Key, NONE, Names, Observed, Series, SeriesKind, Sums,
};

use crate::random::Random;

pub const START_MS: u64 = 1_795_000_000_000;
pub const BUCKETS: usize = 1_440;
const BUCKET_S: f64 = 5.0;
/// Buckets of the output.
const OUTPUTS: usize = 4;
const MISSING: usize = 5;
/// How many values each column has; the last is `missing`.
const VALUES: usize = MISSING + 1;
pub const COLUMNS: [&str; 3] = ["age", "amount", "tenure"];

/// What can go wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    SlowVersion,
    FailingVersion,
    CorruptColumn,
    SlowReplica,
    Cpu,
    ColdStarts,
    Concept,
    Caller,
    Dependency,
}

pub const FAULTS: [Fault; 9] = [
    Fault::SlowVersion,
    Fault::FailingVersion,
    Fault::CorruptColumn,
    Fault::SlowReplica,
    Fault::Cpu,
    Fault::ColdStarts,
    Fault::Concept,
    Fault::Caller,
    Fault::Dependency,
];

/// A fault, as it was drawn.
#[derive(Clone, Copy, Debug)]
pub struct Injected {
    pub fault: Fault,
    pub at_s: f64,
    /// How much slower, or how many more: what it means depends on the fault.
    size: f64,
    /// The version, replica, caller or column.
    pub which: usize,
    /// Only one caller's, or not all requests.
    pub is_part: bool,
}

/// A release: the version after it, and when it takes which part of the traffic.
#[derive(Clone, Debug)]
struct Release {
    version: u16,
    steps: Vec<(f64, f64)>,
}

struct Caller {
    /// Of all requests.
    part: f64,
    /// Rows of a request, as a power of two.
    rows_log2: usize,
    /// Where its values lie.
    values: [f64; 3],
    /// It sends requests in bursts.
    is_bulk: bool,
}

/// What is drawn before anything happens.
pub struct World {
    random: Random,
    per_s: f64,
    cycle: f64,
    phase: f64,
    /// By how much traffic grows, from when on.
    ramp: Option<(f64, f64)>,
    replicas: usize,
    base_ms: f64,
    tail: f64,
    callers: Vec<Caller>,
    kept_per_s: f64,
    pub injected: Vec<Injected>,
    releases: Vec<Release>,
    events: Vec<Event>,
}

/// Which of the decoys.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decoys {
    pub release: bool,
    pub ramp: bool,
    pub without_event: bool,
}

/// A moment as the ledger has it.
fn ms(at_s: f64) -> u64 {
    START_MS + (at_s * 1_000.0) as u64
}

impl World {
    /// Draws a world with these faults, the first at `at_s`.
    pub fn new(seed: u64, faults: &[Fault], decoys: Decoys, load: f64) -> World {
        let mut random = Random::new(seed);
        let end_s = BUCKETS as f64 * BUCKET_S;
        // It is asked 3 to 10 minutes after.
        let at_s = end_s - random.between(180.0, 600.0) - 180.0 * (faults.len().max(1) - 1) as f64;
        let replicas = 2 + (random.unit() * 4.0) as usize;
        let base_ms = random.between_log(4.0, 60.0);
        let callers = draw_callers(&mut random);
        let busy = random.between(0.15, 0.45);
        let mean_rows: f64 = callers.iter().map(|c| c.part * cost(c.rows_log2)).sum();
        let per_s = (busy * replicas as f64 / (base_ms * mean_rows / 1_000.0)).clamp(1.5, load);
        let mut world = World {
            cycle: random.between(0.0, 0.3),
            phase: random.unit(),
            ramp: decoys
                .ramp
                .then(|| (at_s - random.between(600.0, 1_800.0), random.between(1.15, 1.5))),
            kept_per_s: per_s * random.between_log(0.2, 3.0),
            tail: random.between(0.005, 0.03),
            per_s,
            replicas,
            base_ms,
            callers,
            injected: vec![],
            releases: vec![],
            events: vec![],
            random,
        };
        if decoys.release {
            // It has all traffic half a minute before anything happens.
            let from_s = at_s - world.random.between(25.0, 35.0);
            world.release(from_s, false, true);
        } else if world.random.chance(0.5) {
            let from_s = at_s - world.random.between(900.0, 4_000.0);
            let in_steps = world.random.chance(0.5);
            world.release(from_s, in_steps, true);
        }
        for (nth, fault) in faults.iter().enumerate() {
            world.inject(*fault, at_s + 180.0 * nth as f64, decoys);
        }
        for _ in 0..2 {
            let at_s = world.random.between(0.0, end_s);
            let kinds = [EventKind::Scaled, EventKind::Token, EventKind::Configuration];
            let kind = kinds[(world.random.unit() * 3.0) as usize];
            // One that falls together with a fault would be blamed with reason.
            let near = world.injected.iter().any(|fault| (fault.at_s - at_s).abs() < 120.0);
            if !near {
                world.event(at_s, kind, "");
            }
        }
        world
    }

    fn event(&mut self, at_s: f64, kind: EventKind, subject: &str) {
        let reference = format!("{}", self.events.len() + 100);
        let (actor, subject) = ("ann".into(), subject.into());
        self.events.push(Event { at_ms: ms(at_s), kind, subject, actor, reference });
    }

    /// The next version takes over; its number.
    fn release(&mut self, from_s: f64, in_steps: bool, told: bool) -> u16 {
        let version = self.releases.len() as u16 + 1;
        let steps = match in_steps {
            true => vec![(from_s, 0.1), (from_s + 120.0, 0.5), (from_s + 240.0, 1.0)],
            false => vec![(from_s, 1.0)],
        };
        let name = format!("v{}", version + 1);
        if told {
            self.event(from_s - 0.5, EventKind::ReleaseStarted, &name);
            for (at_s, _) in &steps[1..] {
                self.event(*at_s, EventKind::ReleaseStep, &name);
            }
        }
        self.releases.push(Release { version, steps });
        version
    }

    fn inject(&mut self, fault: Fault, at_s: f64, decoys: Decoys) {
        let random = &mut self.random;
        let callers = self.callers.len();
        let mut injected = Injected {
            fault,
            at_s,
            size: random.between_log(1.8, 5.0),
            which: 0,
            is_part: random.chance(0.4),
        };
        match fault {
            Fault::SlowVersion | Fault::FailingVersion => {
                let in_steps = random.chance(0.4);
                let version = self.release(at_s, in_steps, !decoys.without_event);
                injected.which = usize::from(version);
                injected.size = match fault {
                    Fault::FailingVersion => self.random.between_log(0.04, 0.5),
                    _ => injected.size,
                };
            }
            Fault::SlowReplica => {
                injected.which = (random.unit() * self.replicas as f64) as usize;
                injected.size = random.between_log(2.0, 6.0);
            }
            Fault::CorruptColumn => {
                injected.which = (random.unit() * 2.0) as usize;
                injected.size = random.between(0.2, 0.5);
            }
            Fault::Concept => injected.size = random.between(0.1, 0.35),
            Fault::Caller => {
                injected.which = 1 + (random.unit() * (callers - 1) as f64) as usize;
                injected.size = random.between(3.0, 6.0);
            }
            _ => {}
        }
        self.injected.push(injected);
    }

    fn traffic_at(&self, at_s: f64) -> f64 {
        let day = std::f64::consts::TAU * (at_s / 86_400.0 + self.phase);
        let ramp = self.ramp.map_or(1.0, |(from_s, times)| {
            1.0 + (times - 1.0) * ((at_s - from_s) / 1_500.0).clamp(0.0, 1.0)
        });
        let more = self
            .active(Fault::Caller, at_s)
            .filter(|of| of.is_part)
            .map_or(0.0, |of| self.callers[of.which].part * (of.size - 1.0));
        self.per_s * (1.0 + self.cycle * day.sin()) * ramp * (1.0 + more)
    }

    fn version_at(&mut self, at_s: f64) -> u16 {
        let mut version = 0;
        for release in &self.releases {
            let part = release.steps.iter().rev().find(|(from_s, _)| at_s >= *from_s);
            if part.is_some_and(|(_, part)| *part >= 1.0 || self.random.chance(*part)) {
                version = release.version;
            }
        }
        version
    }

    fn active(&self, fault: Fault, at_s: f64) -> Option<Injected> {
        let mut injected = self.injected.iter().filter(|of| of.fault == fault && at_s >= of.at_s);
        injected.next().copied()
    }

    /// Lets all requests come, and sums them up.
    pub fn run(mut self) -> Observed {
        let mut table = Tables::new();
        let storm = self.storm();
        let mut free: BinaryHeap<std::cmp::Reverse<(u64, usize)>> =
            (0..self.replicas).map(|replica| std::cmp::Reverse((0, replica))).collect();
        let mut limit = Limit::default();
        let end_s = BUCKETS as f64 * BUCKET_S;
        let (mut at_s, mut noise) = (0.0, 0.0);
        let mut burst: Option<(usize, usize)> = None;
        let mut pressure = vec![0.0_f64; BUCKETS];
        for (bucket, pressure) in pressure.iter_mut().enumerate() {
            let bucket_s = bucket as f64 * BUCKET_S;
            noise = 0.97 * noise + 0.02 * self.random.normal();
            let starved = self.active(Fault::Cpu, bucket_s).map_or(0.0, |of| 0.08 * of.size);
            *pressure = (0.06 + noise.abs() * 0.3 + starved + 0.02 * self.random.unit()).min(1.0);
        }
        loop {
            match &mut burst {
                Some((_, left)) if *left > 0 => {
                    *left -= 1;
                    at_s += 0.02;
                }
                _ => {
                    burst = None;
                    at_s += -(1.0 - self.random.unit()).ln() / self.traffic_at(at_s);
                }
            }
            if at_s >= end_s {
                break;
            }
            let caller = match burst {
                Some((caller, _)) => caller,
                None => self.caller(at_s),
            };
            if burst.is_none() && self.callers[caller].is_bulk && self.random.chance(0.01) {
                burst = Some((caller, 20));
            }
            let pressure = pressure[(at_s / BUCKET_S) as usize];
            self.request(at_s, caller, pressure, &storm, &mut free, &mut limit, &mut table);
        }
        self.observed(table, &pressure, &storm)
    }

    fn caller(&mut self, at_s: f64) -> usize {
        let changed = self.active(Fault::Caller, at_s);
        let parts: Vec<f64> = (0..self.callers.len())
            .map(|caller| {
                let more = changed.filter(|of| of.which == caller && of.is_part);
                self.callers[caller].part * more.map_or(1.0, |of| of.size)
            })
            .collect();
        let mut at = self.random.unit() * parts.iter().sum::<f64>();
        parts
            .iter()
            .position(|part| {
                at -= part;
                at <= 0.0
            })
            .unwrap_or(0)
    }

    /// When each replica is away, in seconds: it starts then.
    fn storm(&mut self) -> Vec<(usize, f64, f64)> {
        let Some(of) = self.injected.iter().find(|of| of.fault == Fault::ColdStarts).copied()
        else {
            return vec![];
        };
        let (mut at_s, mut away) = (of.at_s, vec![]);
        while at_s < BUCKETS as f64 * BUCKET_S {
            let replica = (self.random.unit() * self.replicas as f64) as usize;
            away.push((replica, at_s, at_s + self.random.between(2.0, 3.0 + of.size)));
            at_s += self.random.between(4.0, 16.0);
        }
        away
    }

    fn service_ms(
        &mut self,
        at_s: f64,
        version: u16,
        replica: usize,
        rows_log2: usize,
        pressure: f64,
    ) -> f64 {
        let mut ms = self.base_ms * cost(rows_log2) * (0.35 * self.random.normal()).exp();
        if self.random.chance(self.tail) {
            ms *= (1.0 - self.random.unit()).powf(-0.7).min(30.0);
        }
        if let Some(of) = self.active(Fault::SlowVersion, at_s) {
            let slow = usize::from(version) == of.which && (!of.is_part || self.random.chance(0.3));
            ms *= if slow { of.size } else { 1.0 };
        }
        if let Some(of) = self.active(Fault::SlowReplica, at_s) {
            ms *= if of.which == replica { of.size } else { 1.0 };
        }
        if let Some(of) = self.active(Fault::Cpu, at_s) {
            ms *= 1.0 + (of.size - 1.0) * (pressure * 3.0).min(1.5) * self.random.unit();
        }
        if let Some(of) = self.active(Fault::Dependency, at_s) {
            let slow = !of.is_part || self.random.chance(0.3);
            ms += if slow {
                self.base_ms * of.size * (0.3 * self.random.normal()).exp()
            } else {
                0.0
            };
        }
        ms
    }

    #[allow(clippy::too_many_arguments)]
    fn request(
        &mut self,
        at_s: f64,
        caller: usize,
        pressure: f64,
        storm: &[(usize, f64, f64)],
        free: &mut BinaryHeap<std::cmp::Reverse<(u64, usize)>>,
        limit: &mut Limit,
        table: &mut Tables,
    ) {
        let version = self.version_at(at_s);
        let changed = self.active(Fault::Caller, at_s).filter(|of| of.which == caller);
        let larger = changed.filter(|of| !of.is_part).map_or(0, |of| of.size as usize);
        let usual = self.callers[caller].rows_log2;
        let rows_log2 = usual + larger + usize::from(self.random.chance(0.2));
        let now_us = (at_s * 1e6) as u64;
        let Some(std::cmp::Reverse((mut free_us, replica))) = free.pop() else { return };
        let mut is_cold = false;
        for (_, from_s, to_s) in storm.iter().filter(|(of, ..)| *of == replica) {
            let (from_us, to_us) = ((from_s * 1e6) as u64, (to_s * 1e6) as u64);
            let begins_us = free_us.max(now_us);
            if begins_us >= from_us && begins_us < to_us {
                (free_us, is_cold) = (to_us, true);
            }
        }
        let begins_us = free_us.max(now_us);
        let mut worker_ms = self.service_ms(at_s, version, replica, rows_log2, pressure);
        worker_ms *= if is_cold { 4.0 } else { 1.0 };
        let worker_us = (worker_ms * 1_000.0) as u64;
        let queue_us = begins_us - now_us;
        let too_long = queue_us > 20_000_000;
        free.push(std::cmp::Reverse((
            if too_long { free_us } else { begins_us + worker_us },
            replica,
        )));
        let mut is_error = self.random.chance(0.001) || too_long;
        if let Some(of) = self.active(Fault::FailingVersion, at_s) {
            is_error |= usize::from(version) == of.which && self.random.chance(of.size);
        }
        let overhead_us = (200.0 * (0.5 * self.random.normal()).exp()) as u64;
        let total_us = queue_us + worker_us + overhead_us;
        let weight = match limit.is_slow(total_us) || is_error {
            true => 1.0,
            false => {
                let kept = (self.kept_per_s / self.traffic_at(at_s)).min(1.0);
                if !self.random.chance(kept) {
                    return;
                }
                1.0 / kept
            }
        };
        let (values, output, loss) = self.outcome(at_s, caller);
        let truth = (!is_error && self.random.chance(0.6)).then_some(loss);
        let bucket = (((now_us + total_us) as f64 / 1e6 / BUCKET_S) as usize).min(BUCKETS - 1);
        let key = Key {
            version,
            // Each version has replicas of its own.
            replica: version * 8 + replica as u16,
            caller: caller as u16,
            size: rows_log2.min(11) as u16,
            value: NONE,
        };
        let times = [total_us, queue_us, worker_us];
        table.add(bucket, key, weight, times, [is_error, too_long], truth, output, values);
    }

    /// Values of the columns, the bin of the output, and whether it is wrong.
    fn outcome(&mut self, at_s: f64, caller: usize) -> ([usize; 3], usize, f64) {
        let mut values = [0; 3];
        let mut score = 0.0;
        for (column, value) in values.iter_mut().enumerate() {
            let centre = self.callers[caller].values[column];
            let drawn = (centre + 1.2 * self.random.normal()).round().clamp(0.0, 4.0);
            *value = if self.random.chance(0.01) { MISSING } else { drawn as usize };
            score += if *value == MISSING { 0.0 } else { drawn - 2.0 };
        }
        let mut wrong = 0.08 + 0.03 * f64::from(u8::from(values[0] == 0));
        if let Some(of) = self.active(Fault::CorruptColumn, at_s) {
            if !of.is_part || caller == 0 {
                score -=
                    if values[of.which] == MISSING { 0.0 } else { values[of.which] as f64 - 2.0 };
                score -= 1.5;
                values[of.which] = if of.size > 0.35 { MISSING } else { 0 };
                wrong += of.size;
            }
        }
        if let Some(of) = self.active(Fault::Concept, at_s) {
            wrong += of.size;
        }
        let output = ((score + 0.7 * self.random.normal()) / 2.0 + 2.0).clamp(0.0, 3.9) as usize;
        (values, output, f64::from(u8::from(self.random.chance(wrong))))
    }

    fn observed(
        mut self,
        table: Tables,
        pressure: &[f64],
        storm: &[(usize, f64, f64)],
    ) -> Observed {
        let mut starting = vec![Some(0.0_f32); BUCKETS];
        let mut replicas = vec![Some(self.replicas as f32); BUCKETS];
        let mut starts = |from_s: f64, to_s: f64, is_away: bool| {
            let first = (from_s / BUCKET_S) as usize;
            for bucket in first..=((to_s / BUCKET_S) as usize).min(BUCKETS - 1) {
                starting[bucket] = starting[bucket].map(|count| count + 1.0);
                if is_away {
                    replicas[bucket] = replicas[bucket].map(|count| (count - 0.5).max(0.0));
                }
            }
        };
        for release in &self.releases {
            let from_s = release.steps[0].0;
            (0..self.replicas).for_each(|_| starts(from_s - 4.0, from_s - 1.0, false));
        }
        storm.iter().for_each(|(_, from_s, to_s)| starts(*from_s, *to_s, true));
        for (_, from_s, _) in storm.iter().take(3) {
            let told = self.random.chance(0.7);
            if told {
                self.event(*from_s, EventKind::ReplicaFailed, "");
            }
        }
        let series = |kind, values| Series { kind, values };
        let pressure = pressure.iter().map(|value| Some(*value as f32)).collect();
        let versions = self.releases.len() + 1;
        Observed {
            start_ms: START_MS,
            buckets: BUCKETS,
            names: Names {
                versions: (1..=versions).map(|number| format!("v{number}")).collect(),
                replicas: (0..versions * 8)
                    .map(|at| format!("v{}/{}", at / 8 + 1, at % 8))
                    .collect(),
                callers: (0..self.callers.len()).map(|at| format!("caller-{at}")).collect(),
                sizes: (0..12).map(|log2| format!("{} rows", 1 << log2)).collect(),
                outputs: (0..OUTPUTS).map(|bin| format!("bin {bin}")).collect(),
            },
            series: vec![
                series(SeriesKind::Starting, starting),
                series(SeriesKind::Replicas, replicas),
                series(SeriesKind::CpuPressure, pressure),
            ],
            events: self.events,
            ..table.finish()
        }
    }
}

/// How much longer so many rows take, relative to one.
fn cost(rows_log2: usize) -> f64 {
    0.8 + 0.2 * 2.0_f64.powi(rows_log2 as i32).powf(0.8)
}

fn draw_callers(random: &mut Random) -> Vec<Caller> {
    let count = 3 + (random.unit() * 6.0) as usize;
    let mut callers: Vec<Caller> = (0..count)
        .map(|at| Caller {
            // The first has a good part.
            part: if at == 0 { random.between(0.25, 0.5) } else { random.between(0.1, 0.3) },
            rows_log2: (random.unit() * 3.0) as usize,
            values: std::array::from_fn(|_| random.between(1.0, 3.0)),
            is_bulk: random.chance(0.2),
        })
        .collect();
    let sum: f64 = callers[1..].iter().map(|caller| caller.part).sum();
    let rest = 1.0 - callers[0].part;
    callers[1..].iter_mut().for_each(|caller| caller.part *= rest / sum);
    callers
}

/// The slowest hundredth so far, as records are kept.
#[derive(Default)]
struct Limit {
    limit_us: f64,
    seen: u64,
}

impl Limit {
    /// Follows the 99th percentile: up by 99 steps for one above, down by one for each below.
    fn is_slow(&mut self, us: u64) -> bool {
        self.seen += 1;
        let us = us as f64;
        if self.seen == 1 {
            self.limit_us = us;
        }
        let is_slow = us > self.limit_us;
        self.limit_us *= if is_slow { 1.0 + 0.002 * 99.0 / 4.0 } else { 1.0 - 0.002 / 4.0 };
        is_slow
    }
}

/// Sums by what is told apart.
struct Tables {
    cells: BTreeMap<(u32, Key), Sums>,
    columns: Vec<BTreeMap<(u32, Key), Sums>>,
}

impl Tables {
    fn new() -> Tables {
        Tables { cells: BTreeMap::new(), columns: vec![BTreeMap::new(); COLUMNS.len()] }
    }

    #[allow(clippy::too_many_arguments)]
    fn add(
        &mut self,
        bucket: usize,
        key: Key,
        weight: f64,
        [total_us, queue_us, worker_us]: [u64; 3],
        [is_error, is_overload]: [bool; 2],
        truth: Option<f64>,
        output: usize,
        values: [usize; 3],
    ) {
        let bucket = bucket as u32;
        let one = |sums: &mut Sums| {
            sums.requests += weight;
            sums.squares += weight * weight;
            sums.errors += weight * f64::from(u8::from(is_error));
            sums.overload += weight * f64::from(u8::from(is_overload));
            if let Some(loss) = truth {
                sums.truths += weight;
                sums.truth_squares += weight * weight;
                sums.loss += weight * loss;
            }
            match sums.outputs.iter_mut().find(|(bin, _)| usize::from(*bin) == output) {
                Some((_, sum)) => *sum += weight as f32,
                None => sums.outputs.push((output as u16, weight as f32)),
            }
        };
        let sums = self.cells.entry((bucket, key)).or_default();
        one(sums);
        sums.total.add_us(total_us, weight);
        sums.queue.add_us(queue_us, weight);
        sums.worker.add_us(worker_us, weight);
        for (column, value) in values.into_iter().enumerate() {
            let key = Key { replica: NONE, size: NONE, value: value as u16, ..key };
            one(self.columns[column].entry((bucket, key)).or_default());
        }
    }

    fn finish(self) -> Observed {
        let cells = |map: BTreeMap<(u32, Key), Sums>| -> Vec<Cell> {
            map.into_iter().map(|((bucket, key), sums)| Cell { bucket, key, sums }).collect()
        };
        let values = || {
            let bins = (0..VALUES - 1).map(|value| value.to_string());
            bins.chain(["missing".to_string()]).collect()
        };
        let columns = self.columns.into_iter().zip(COLUMNS);
        Observed {
            cells: cells(self.cells),
            columns: columns
                .map(|(map, name)| Column {
                    name: name.into(),
                    values: values(),
                    cells: cells(map),
                })
                .collect(),
            ..Observed::default()
        }
    }
}
