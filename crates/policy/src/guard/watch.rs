//! What is kept of a release under way: sums by guard, of bounded size however long it lasts.

use domain::guard::{
    ArmWindow, Guard, GuardInputs, GuardSettings, GuardSums, Judgements, Silence, Sums, Verdict,
    rounded,
};
use serde::{Deserialize, Serialize};

use super::judge::{judge, verdict};
use super::memory::Memory;
use super::track::Track;

/// The first requests of an arm, which are left out.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
struct WarmUp {
    intervals: u32,
    requests: u64,
    over: bool,
    left_out: u64,
}

impl WarmUp {
    fn again(&mut self) {
        *self = WarmUp { left_out: self.left_out, ..WarmUp::default() };
    }

    /// Whether this window counts.
    fn admits(&mut self, window: &ArmWindow, settings: &GuardSettings) -> bool {
        let enough = self.intervals >= settings.warm_up_intervals
            && self.requests >= settings.warm_up_requests;
        self.over |= enough || self.intervals >= settings.warm_up_intervals_max;
        if !self.over {
            self.intervals += 1;
            self.requests += window.ended();
            self.left_out += window.ended();
        }
        self.over
    }
}

/// Watches one release. Hand it both arms' windows every [`domain::guard::INTERVAL_MS`], empty ones
/// too, and ask it for a verdict as often as you like.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Watch {
    settings: GuardSettings,
    step: u32,
    epoch: u32,
    epoch_intervals: u64,
    canary_warm_up: WarmUp,
    baseline_warm_up: WarmUp,
    step_canary_requests: u64,
    step_baseline_requests: u64,
    step_intervals: u64,
    canary_totals: (u64, u64),
    baseline_totals: (u64, u64),
    canary_memory: Memory,
    baseline_memory: Memory,
    segment: u32,
    silence: Silence,
    tracks: Vec<Track>,
}

impl Watch {
    /// At the first step of a release. Without guards, [`Guard::defaults`] hold.
    pub fn new(settings: GuardSettings, guards: &[Guard]) -> Watch {
        let guards = if guards.is_empty() { Guard::defaults() } else { guards.to_vec() };
        Watch {
            settings,
            step: 1,
            epoch: 1,
            epoch_intervals: 0,
            canary_warm_up: WarmUp::default(),
            baseline_warm_up: WarmUp::default(),
            step_canary_requests: 0,
            step_baseline_requests: 0,
            step_intervals: 0,
            canary_totals: (0, 0),
            baseline_totals: (0, 0),
            canary_memory: Memory::default(),
            baseline_memory: Memory::default(),
            segment: 1,
            silence: Silence::default(),
            tracks: guards.into_iter().map(Track::new).collect(),
        }
    }

    /// At this step, from 1, of a release whose evidence was lost with the process that had it: it
    /// is collected anew, for the `segment`th time.
    pub fn resume(settings: GuardSettings, guards: &[Guard], step: u32, segment: u32) -> Watch {
        Watch { step, segment, ..Watch::new(settings, guards) }
    }

    /// The next step: more traffic for the canary, and perhaps new replicas, which warm up.
    pub fn begin_step(&mut self) {
        self.step += 1;
        self.canary_warm_up.again();
        (self.step_canary_requests, self.step_baseline_requests, self.step_intervals) = (0, 0, 0);
        self.begin_epoch();
    }

    fn begin_epoch(&mut self) {
        self.epoch += 1;
        self.epoch_intervals = 0;
        self.tracks.iter_mut().for_each(|track| track.recent = Sums::default());
    }

    /// Takes in what both arms did in the interval that has just ended.
    pub fn observe(&mut self, canary: &ArmWindow, baseline: &ArmWindow) {
        self.listen(canary, baseline);
        let baseline_counts = self.baseline_warm_up.admits(baseline, &self.settings);
        if self.canary_warm_up.admits(canary, &self.settings) && baseline_counts {
            if self.epoch_intervals >= self.settings.epoch_intervals {
                self.begin_epoch();
            }
            self.epoch_intervals += 1;
            self.step_canary_requests += canary.requests;
            self.step_baseline_requests += baseline.requests;
            self.step_intervals += u64::from(canary.requests > 0);
            self.tracks
                .iter_mut()
                .for_each(|track| track.observe(canary, baseline, &self.baseline_memory));
            self.canary_memory.take(canary);
            let lost_us = self.baseline_memory.lost_us();
            for (totals, window) in
                [(&mut self.canary_totals, canary), (&mut self.baseline_totals, baseline)]
            {
                let lost = window.abandoned.above_us(lost_us);
                *totals = (totals.0 + window.requests + lost, totals.1 + window.errors + lost);
            }
        }
        self.baseline_memory.take(baseline);
    }

    /// Whether the canary answers at all; from its first request on.
    fn listen(&mut self, canary: &ArmWindow, baseline: &ArmWindow) {
        if canary.answered() > 0 {
            self.silence = Silence::default();
            return;
        }
        let lost_us = self.baseline_memory.lost_us();
        let lost = canary.errors + canary.abandoned.above_us(lost_us);
        let silence = &mut self.silence;
        silence.unfinished = canary.unfinished.above_us(lost_us);
        if lost + silence.unfinished > 0 {
            silence.intervals += 1;
            silence.lost += lost;
            silence.baseline_requests += baseline.ended();
            silence.baseline_answered += baseline.answered();
        }
    }

    /// What a verdict depends on, exactly as it is computed with.
    fn exact_inputs(&self) -> GuardInputs {
        let sums = |track: &Track| {
            let whole = &track.whole;
            GuardSums {
                guard: track.guard,
                canary: track.estimate(
                    self.canary_totals,
                    &self.canary_memory,
                    (whole.canary_requests, whole.canary_values),
                ),
                baseline: track.estimate(
                    self.baseline_totals,
                    &self.baseline_memory,
                    (whole.baseline_requests, whole.baseline_values),
                ),
                slower_than_ms: track.slower_than_ms,
                whole: track.whole,
                recent: track.recent,
                dispersion: track.dispersion.sums(),
            }
        };
        GuardInputs {
            settings: self.settings,
            step: self.step,
            epoch: self.epoch,
            step_canary_requests: self.step_canary_requests,
            step_baseline_requests: self.step_baseline_requests,
            step_intervals: self.step_intervals,
            canary_left_out: self.canary_warm_up.left_out,
            baseline_left_out: self.baseline_warm_up.left_out,
            warming_up: !(self.canary_warm_up.over && self.baseline_warm_up.over),
            segment: self.segment,
            silence: self.silence,
            guards: self.tracks.iter().map(sums).collect(),
        }
    }

    /// What a verdict depends on, as it goes into the ledger: with numbers that JSON gives back as
    /// they are.
    pub fn inputs(&self) -> GuardInputs {
        let mut inputs = self.exact_inputs();
        for guard in &mut inputs.guards {
            [&mut guard.canary, &mut guard.baseline, &mut guard.slower_than_ms]
                .into_iter()
                .flatten()
                .for_each(|value| *value = rounded(*value));
            round(&mut guard.whole);
            round(&mut guard.recent);
            for scale in &mut guard.dispersion {
                (scale.squares, scale.canary) = (rounded(scale.squares), rounded(scale.canary));
            }
        }
        inputs
    }

    /// The verdict with its evidence: [`judge`] of [`Watch::inputs`].
    pub fn judge(&self) -> Judgements {
        judge(&self.inputs())
    }

    /// The verdict alone, which is much cheaper than [`Watch::judge`].
    pub fn verdict(&self) -> Verdict {
        verdict(&self.exact_inputs())
    }
}

fn round(sums: &mut Sums) {
    for value in [
        &mut sums.canary_values,
        &mut sums.canary_squares,
        &mut sums.baseline_values,
        &mut sums.baseline_squares,
        &mut sums.weight,
        &mut sums.canary_weighted,
        &mut sums.baseline_weighted,
        &mut sums.canary_spread,
        &mut sums.baseline_spread,
    ] {
        *value = rounded(*value);
    }
}
