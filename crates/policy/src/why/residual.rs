//! What moved all groups alike: a version that replaced another, processors, starts, traffic, a
//! change of configuration; and if none of these, that something unseen did.

use std::ops::Range;

use super::answer::{CauseKind, Evidence, Reference, RuledOut, Unit, WhyNot};
use super::chart::Chart;
use super::contrast::{Whole, contrasts};
use super::dimension::Dimension;
use super::events;
use super::evidence::{number, of_group, of_moved};
use super::focus::{Focus, traffic};
use super::grid::{rate, records};
use super::groups::Groups;
use super::input::{Event, EventKind, NONE, SeriesKind};
use super::measure::Measure;
use super::metric::Metric;
use super::placebo::{Moved, moved};
use super::queue::series;
use super::starts;
use super::survivors::{P_MAX, Weighed, came, p_of_whole};
use super::view::{Group, View};
use super::window::{QUIET_MIN, Windows};

/// That the whole changed was told by the gate, or by an alarm: where there are few quiet moments to
/// compare with, such as on a server that has just begun, one burst among them is no proof against it.
const P_MAX_OF_FEW: f64 = 0.1;
/// A version speaks for itself if so many of its records from before the change would have been
/// otherwise, had it been like that.
const EXPECTED_MIN: f64 = 4.0;
/// With fewer, it must have come within so many buckets of the change.
const ALIGNED: usize = 3;
/// What a version, or a value of a column, has of the requests to be what moved them all.
const MOST: f64 = 0.5;
/// A group came when it first had this part of what it has after the change.
const HALF: f64 = 0.5;
/// A value of a column that came has so much more of the rows, for all of them to be affected.
const VALUE_CAME: f64 = 0.2;
/// Processors are short if the pressure rose by so much, to so many times as much.
const PRESSURE_RISE: f64 = 0.04;
const PRESSURE_TIMES: f64 = 1.3;
/// There are fewer replicas if there are at most so many times as many.
const REPLICAS_TIMES: f64 = 0.85;
/// There is more traffic if there is so many times as much; …
const TRAFFIC_TIMES: f64 = 1.15;
/// … and if workers are slower at once, so many times, within so many buckets.
const SURGE_TIMES: f64 = 1.3;
const SURGE_BUCKETS: usize = 36;
/// One caller's traffic is what grew if it has so much of the growth.
const CALLER_SHARE: f64 = 0.6;
/// Failures are those of too much traffic if they are so much of the growth.
const OVERLOAD_SHARE: f64 = 0.5;

/// What accounts for the change of all.
pub(super) struct Found {
    pub(super) kind: CauseKind,
    pub(super) reference: Reference,
    pub(super) p: f64,
    pub(super) evidence: Vec<Evidence>,
    pub(super) chart: Option<Chart>,
    /// The requests in question, if they are not all.
    pub(super) group: Option<Group>,
}

/// All that is asked about.
pub(super) struct Residual<'a, 'b> {
    pub(super) view: &'a View<'b>,
    pub(super) metric: Metric,
    pub(super) focus: &'a Focus,
    pub(super) quiet: &'a [Windows],
    pub(super) weighed: &'a mut Weighed,
    pub(super) near: &'a [&'b Event],
}

impl Residual<'_, '_> {
    /// The first that fits, in the order of causes. `None` if the change is not beyond noise.
    pub(super) fn find(&mut self) -> Option<Found> {
        let p = p_of_whole(self.focus, self.quiet);
        if p > if self.quiet.len() < QUIET_MIN { P_MAX_OF_FEW } else { P_MAX } {
            return None;
        }
        let is_waiting = self.is_waiting();
        let arrived = self.version();
        let found = arrived.or_else(|| match self.metric {
            Metric::Latency | Metric::Errors => self.of_machine(is_waiting),
            Metric::Accuracy | Metric::Drift => self.column().or_else(|| self.configuration()),
        });
        Some(found.unwrap_or_else(|| self.unseen(is_waiting, p)))
    }

    /// Whether requests wait, or are refused as too many, rather than being slower or failing.
    fn is_waiting(&self) -> bool {
        match self.metric {
            Metric::Latency => !self.focus.is_worker,
            Metric::Errors => {
                let sum = |within: &Range<usize>, of: fn(&super::input::Sums) -> f64| {
                    let cells = self.view.cells.within(within).iter();
                    cells.map(|cell| super::measure::counted(of(&cell.sums))).sum::<f64>()
                };
                let Windows { before, after } = &self.focus.windows;
                let grew = |of: fn(&super::input::Sums) -> f64| {
                    let per_bucket =
                        |within: &Range<usize>| sum(within, of) / within.len().max(1) as f64;
                    per_bucket(after) - per_bucket(before)
                };
                let all = grew(|sums| sums.errors);
                all > 0.0 && grew(|sums| sums.overload.min(sums.errors)) >= OVERLOAD_SHARE * all
            }
            Metric::Accuracy | Metric::Drift => false,
        }
    }

    fn of_machine(&mut self, is_waiting: bool) -> Option<Found> {
        let starts = self.starts();
        let found = starts.or_else(|| if is_waiting { self.replicas() } else { None });
        let found = found.or_else(|| if is_waiting { self.traffic() } else { self.surge() });
        found.or_else(|| self.processors()).or_else(|| self.configuration())
    }

    /// A version that has most requests now, and came with the change.
    fn version(&mut self) -> Option<Found> {
        let at = self.weighed.groups.iter().position(|of| of.dimension == Dimension::Version)?;
        let slot = self.most(at)?;
        let groups = &self.weighed.groups[at];
        let came_at = self.came_at(groups, slot)?;
        let kind = match self.metric {
            Metric::Errors => CauseKind::FailingVersion,
            _ => CauseKind::Version,
        };
        let reference = events::reference(self.near, kind, &groups.names[slot]);
        let step = &self.focus.step;
        let between = came_at.min(step.at)..step.at;
        let start = self.focus.windows.before.start;
        let own = groups.grid.sum(slot, &(start..step.at));
        let whole = Whole::of(&self.focus.grid, &self.focus.windows);
        let middle = (rate(whole.before) + rate(whole.after)) / 2.0;
        let is_well = self.weighed.sign * (rate(own) - middle) < 0.0;
        // So many of its records would have been otherwise.
        let expected = records(own) * whole.change().abs();
        let well_before = if expected >= EXPECTED_MIN {
            is_well
        } else {
            step.at.abs_diff(came_at) > ALIGNED && !step.possible.contains(&came_at)
        };
        if well_before {
            let for_ms = (between.len() as u64).saturating_mul(crate::drift::BUCKET_MS);
            let why = WhyNot::WellBefore { for_ms, share: rate(own) };
            self.weighed.ruled_out.push(RuledOut { kind, reference, series: None, why });
            return None;
        }
        let sign = self.weighed.sign;
        let contrast = contrasts(groups, &self.focus.windows, sign).swap_remove(slot);
        let evidence = of_group(self.view, self.focus, groups, &contrast, sign);
        let p = p_of_whole(self.focus, self.quiet);
        let name = &groups.names[slot];
        let windows = &self.focus.windows;
        let chart = super::chart::of_group(self.view, &groups.grid, slot, name, windows);
        Some(Found { kind, reference, p, evidence, chart: Some(chart), group: None })
    }

    /// The group with most requests after the change, if that is most of them.
    fn most(&self, at: usize) -> Option<usize> {
        let groups = &self.weighed.groups[at];
        let sums: Vec<f64> = (0..groups.grid.groups())
            .map(|slot| groups.grid.sum(slot, &self.focus.windows.after)[0])
            .collect();
        let all: f64 = sums.iter().sum();
        (0..sums.len())
            .find(|slot| groups.ids[*slot] != NONE && sums[*slot] >= MOST * all && all > 0.0)
    }

    /// The bucket in which a group first had half of its later part of the requests; `None` if it
    /// always had.
    fn came_at(&self, groups: &Groups, slot: usize) -> Option<usize> {
        let part = |within: &Range<usize>| {
            let all: f64 = (0..groups.grid.groups()).map(|of| groups.grid.sum(of, within)[0]).sum();
            (all > 0.0).then(|| groups.grid.sum(slot, within)[0] / all)
        };
        let Windows { before, after } = &self.focus.windows;
        let later = part(after)?;
        let had =
            |bucket: usize| part(&(bucket..bucket + 1)).is_none_or(|part| part >= HALF * later);
        // A bucket without requests neither has it nor lacks it; before all of them it lacks it.
        let last_without = (before.start..after.end).rev().find(|bucket| !had(*bucket))?;
        Some(last_without + 1)
    }

    fn moved(&self, kind: SeriesKind) -> Option<Moved> {
        moved(&series(self.view, kind), &self.focus.windows, self.quiet)
    }

    fn rule_out(&mut self, kind: CauseKind, series: Option<SeriesKind>, moved: &Moved) {
        let why = WhyNot::DidNotMove { times: moved.times() };
        let reference = Reference::default();
        self.weighed.ruled_out.push(RuledOut { kind, reference, series, why });
    }

    fn starts(&mut self) -> Option<Found> {
        for kind in starts::KINDS {
            let Some(moved) = self.moved(kind) else { continue };
            let are_many = starts::are_many(self.view, &self.focus.windows, kind, &moved);
            if are_many && moved.is_rare(P_MAX) {
                let name = if kind == SeriesKind::Starting { "starting" } else { "restarts" };
                let mut evidence = vec![of_moved(name, Unit::Count, &moved)];
                let memory = self.moved(SeriesKind::Memory);
                evidence.extend(memory.map(|moved| of_moved("memory", Unit::Bytes, &moved)));
                let causes = [EventKind::ReplicaFailed, EventKind::Scaled];
                let event = self.near.iter().find(|event| causes.contains(&event.kind));
                let reference = event.map(|event| events::of(event)).unwrap_or_default();
                let reference = Reference { name: String::new(), ..reference };
                return Some(Found {
                    kind: CauseKind::ColdStarts,
                    reference,
                    p: moved.p,
                    evidence,
                    chart: None,
                    group: None,
                });
            }
            self.rule_out(CauseKind::ColdStarts, Some(kind), &moved);
        }
        None
    }

    fn replicas(&mut self) -> Option<Found> {
        let moved = self.moved(SeriesKind::Replicas)?;
        if moved.times() <= REPLICAS_TIMES && moved.is_rare(P_MAX) {
            let evidence = vec![of_moved("replicas", Unit::Count, &moved)];
            let kind = CauseKind::Replicas;
            let event = self.near.iter().find(|event| event.kind.causes().contains(&kind));
            let reference = event.map(|event| events::of(event)).unwrap_or_default();
            return Some(Found { kind, reference, p: moved.p, evidence, chart: None, group: None });
        }
        self.rule_out(CauseKind::Replicas, Some(SeriesKind::Replicas), &moved);
        None
    }

    fn traffic(&mut self) -> Option<Found> {
        let moved = moved(&traffic(&self.focus.grid), &self.focus.windows, self.quiet)?;
        if moved.times() >= TRAFFIC_TIMES && moved.p <= 5.0 * P_MAX {
            return Some(self.of_traffic(&moved));
        }
        self.rule_out(CauseKind::Load, None, &moved);
        None
    }

    /// Traffic that grew at the moment at which workers became slower.
    fn surge(&mut self) -> Option<Found> {
        let Windows { before, after } = &self.focus.windows;
        let windows = Windows {
            before: before.start.max(before.end.saturating_sub(SURGE_BUCKETS))..before.end,
            after: after.start..after.end.min(after.start + SURGE_BUCKETS),
        };
        let moved = moved(&traffic(&self.focus.grid), &windows, self.quiet)?;
        if moved.times() >= SURGE_TIMES && moved.is_rare(P_MAX) {
            return Some(self.of_traffic(&moved));
        }
        self.rule_out(CauseKind::Load, None, &moved);
        None
    }

    /// All callers', or one's.
    fn of_traffic(&self, moved: &Moved) -> Found {
        let seconds = crate::drift::BUCKET_MS as f64 / 1_000.0;
        let evidence = |before: f64, after: f64| {
            vec![number("requests", Unit::PerSecond, Some(before / seconds), after / seconds)]
        };
        let callers = self.weighed.groups.iter().find(|of| of.dimension == Dimension::Caller);
        let Windows { before, after } = &self.focus.windows;
        let per_bucket = |of: &Groups, slot: usize, within: &Range<usize>| {
            of.grid.sum(slot, within)[0] / within.len().max(1) as f64
        };
        let grew = moved.after - moved.before;
        let one = callers.and_then(|of| {
            let slots = (0..of.grid.groups()).filter(|slot| of.ids[*slot] != NONE);
            slots
                .map(|slot| (of, slot, per_bucket(of, slot, before), per_bucket(of, slot, after)))
                .find(|(.., before, after)| after - before >= CALLER_SHARE * grew)
                .filter(|(of, _, _, own)| of.ids.len() > 2 && *own < moved.after * 0.999)
        });
        match one {
            Some((of, slot, before, after)) => Found {
                kind: CauseKind::Caller,
                reference: events::reference(self.near, CauseKind::Caller, &of.names[slot]),
                p: moved.p,
                evidence: evidence(before, after),
                chart: None,
                group: Some((Dimension::Caller, of.ids[slot])),
            },
            None => Found {
                kind: CauseKind::Load,
                reference: Reference::default(),
                p: moved.p,
                evidence: evidence(moved.before, moved.after),
                chart: None,
                group: None,
            },
        }
    }

    fn processors(&mut self) -> Option<Found> {
        for (kind, name) in
            [(SeriesKind::CpuPressure, "cpu_pressure"), (SeriesKind::CpuThrottled, "cpu_throttled")]
        {
            let Some(moved) = self.moved(kind) else { continue };
            let rose =
                moved.after - moved.before >= PRESSURE_RISE && moved.times() >= PRESSURE_TIMES;
            if rose && moved.is_rare(P_MAX) {
                return Some(Found {
                    kind: CauseKind::Cpu,
                    reference: Reference::default(),
                    p: moved.p,
                    evidence: vec![of_moved(name, Unit::Share, &moved)],
                    chart: None,
                    group: None,
                });
            }
            self.rule_out(CauseKind::Cpu, Some(kind), &moved);
        }
        None
    }

    fn configuration(&mut self) -> Option<Found> {
        let (from, to) = (self.focus.step.possible.start, self.focus.step.possible.end);
        let mut events = self.near.iter().filter(|event| {
            event.kind.causes().contains(&CauseKind::Configuration)
                && events::aligned(self.view, event, from, to)
        });
        let event = events.next()?;
        let p = p_of_whole(self.focus, self.quiet);
        let (kind, reference) = (CauseKind::Configuration, events::of(event));
        Some(Found { kind, reference, p, evidence: self.of_all(), chart: None, group: None })
    }

    /// A value of a column that most rows have since the change.
    fn column(&mut self) -> Option<Found> {
        let sign = self.weighed.sign;
        let mut best: Option<(f64, usize, super::contrast::Contrast)> = None;
        for (at, of) in self.weighed.groups.iter().enumerate() {
            if !matches!(of.dimension, Dimension::Column(_)) {
                continue;
            }
            for contrast in contrasts(of, &self.focus.windows, sign) {
                let more = contrast.traffic[1] - contrast.traffic[0];
                let is_more = best.as_ref().is_none_or(|(most, ..)| more > *most);
                let is_known = of.ids[contrast.slot] != NONE;
                if is_known && is_more && more >= VALUE_CAME && came(&contrast) {
                    best = Some((more, at, contrast));
                }
            }
        }
        let (_, at, contrast) = best?;
        let groups = &self.weighed.groups[at];
        let Dimension::Column(column) = groups.dimension else { return None };
        let reference = Reference {
            name: self.view.observed.columns[column].name.clone(),
            value: Some(groups.names[contrast.slot].clone()),
            ..Reference::default()
        };
        let evidence = of_group(self.view, self.focus, groups, &contrast, sign);
        let p = p_of_whole(self.focus, self.quiet);
        let group = Some((groups.dimension, groups.ids[contrast.slot]));
        Some(Found { kind: CauseKind::Column, reference, p, evidence, chart: None, group })
    }

    fn of_all(&self) -> Vec<Evidence> {
        let whole = Whole::of(&self.focus.grid, &self.focus.windows);
        let share = number("share", Unit::Share, Some(rate(whole.before)), rate(whole.after));
        vec![Evidence { records: Some(records(whole.after)), ..share }]
    }

    fn unseen(&self, is_waiting: bool, p: f64) -> Found {
        let mut evidence = self.of_all();
        let (kind, reference) = match (self.metric, self.focus.measure) {
            (Metric::Latency, _) if is_waiting => (CauseKind::Unknown, Reference::default()),
            (Metric::Latency, _) => {
                if let Some(split) = &self.focus.split {
                    let [before, after] = split.worker_ms;
                    evidence.push(number("worker", Unit::Milliseconds, Some(before), after));
                }
                (CauseKind::Dependency, Reference::default())
            }
            (Metric::Errors, _) if is_waiting => (CauseKind::Unknown, Reference::default()),
            (Metric::Errors, _) => (CauseKind::Dependency, Reference::default()),
            (Metric::Accuracy, _) => (CauseKind::Concept, Reference::default()),
            (Metric::Drift, Measure::Value { column, value }) => {
                let of = &self.view.observed.columns[column];
                let value = of.values.get(usize::from(value)).cloned();
                (
                    CauseKind::Column,
                    Reference { name: of.name.clone(), value, ..Reference::default() },
                )
            }
            (Metric::Drift, _) => (CauseKind::Unknown, Reference::default()),
        };
        Found { kind, reference, p, evidence, chart: None, group: None }
    }
}
