//! What was measured beside the requests: replicas, as events tell of them, requests that waited, and
//! the machine's processors.

use domain::alarm::Target;
use domain::{Event, Happened, Placement};
use monitor::pressure::Pressure;
use policy::why::{Series, SeriesKind, WINDOW_BUCKETS};
use query::Cells;

/// Replicas that start, that ended by themselves, and that are wanted.
pub fn of_events(
    target: &Target,
    happened: &[Happened],
    start_ms: u64,
    bucket_ms: u64,
) -> Vec<Series> {
    let bucket = |at_ms: u64| {
        let bucket = at_ms.saturating_sub(start_ms) / bucket_ms;
        (bucket as usize).min(WINDOW_BUCKETS - 1)
    };
    let is_its = |of: &Placement| of.model == target.model && of.environment == target.environment;
    let mut starting = vec![0.0_f32; WINDOW_BUCKETS];
    let mut restarts = vec![0.0_f32; WINDOW_BUCKETS];
    let mut wanted: Vec<(usize, u32, u32)> = vec![];
    for one in happened {
        match &one.event {
            Event::ReplicaReady { placement, elapsed_ms, .. } if is_its(placement) => {
                let from = bucket(one.at_ms.saturating_sub(*elapsed_ms));
                starting[from..=bucket(one.at_ms)].iter_mut().for_each(|count| *count += 1.0);
            }
            Event::ReplicaFailed { placement, .. } if is_its(placement) => {
                restarts[bucket(one.at_ms)] += 1.0;
            }
            Event::ScaleChanged { placement, record } if is_its(placement) => {
                wanted.push((bucket(one.at_ms), record.inputs.current, record.decision.target));
            }
            _ => {}
        }
    }
    let known =
        |kind, values: Vec<f32>| Series { kind, values: values.into_iter().map(Some).collect() };
    let mut series =
        vec![known(SeriesKind::Starting, starting), known(SeriesKind::Restarts, restarts)];
    if let Some((_, first, _)) = wanted.first() {
        let mut values = vec![*first as f32; WINDOW_BUCKETS];
        for (at, _, target) in &wanted {
            values[*at..].fill(*target as f32);
        }
        series.push(known(SeriesKind::Replicas, values));
    }
    series
}

/// How many requests waited in the mean.
pub fn of_waiting(cells: &Cells) -> Option<Series> {
    let values: Vec<Option<f32>> = cells.waiting.iter().map(|mean| Some(*mean as f32)).collect();
    (!values.is_empty()).then_some(Series { kind: SeriesKind::QueueDepth, values })
}

/// Of processors.
pub fn of_pressure(pressure: &[Pressure]) -> Vec<Series> {
    let of = |kind, share: fn(&Pressure) -> Option<f32>| Series {
        kind,
        values: pressure.iter().map(share).collect(),
    };
    [
        of(SeriesKind::CpuPressure, |pressure| pressure.waited),
        of(SeriesKind::CpuThrottled, |pressure| pressure.throttled),
    ]
    .into_iter()
    .filter(|series| series.values.iter().any(Option::is_some))
    .collect()
}
