//! Gates: a short benchmark of a candidate replica, and the limits that it must keep before it
//! takes traffic.

use std::time::{Duration, Instant};

use domain::event::Measurement;
use domain::manifest::GatesSection;
use domain::{Code, Problem, Schema};
use worker::Caller;

use crate::case::Case;

/// The benchmark ends after so many requests, or after so long.
const REQUESTS_MAX: usize = 200;
const BENCHMARK_MS: u64 = 1_000;
/// Requests before it that do not count.
const WARM_UP: usize = 5;

/// Asks one row after another, as a lone caller would; the rows are those of the cases, else one
/// that fits the schema.
pub async fn measure(
    mut caller: Caller,
    schema: &Schema,
    cases: &[Case],
    limit: Duration,
) -> Result<Measurement, Problem> {
    let mut rows: Vec<_> = cases.iter().filter_map(|case| case.rows.first().cloned()).collect();
    if rows.is_empty() {
        rows.push(worker::synthetic_row(schema));
    }
    let requests = rows
        .iter()
        .map(|row| caller.prepare(std::slice::from_ref(row)).map(|(_, request)| request));
    let requests = requests.collect::<Result<Vec<_>, _>>()?;
    let mut times_ms = vec![];
    let begin = Instant::now();
    for (count, request) in requests.iter().cycle().take(REQUESTS_MAX + WARM_UP).enumerate() {
        let sent = Instant::now();
        caller.send(request, limit).await?;
        if count >= WARM_UP || requests.len() == 1 && count > 0 {
            times_ms.push(sent.elapsed().as_secs_f64() * 1_000.0);
        }
        if begin.elapsed() > Duration::from_millis(BENCHMARK_MS) && !times_ms.is_empty() {
            break;
        }
    }
    times_ms.sort_by(f64::total_cmp);
    let quantile = |share: f64| {
        times_ms[((times_ms.len() as f64 * share).ceil() as usize).clamp(1, times_ms.len()) - 1]
    };
    Ok(Measurement {
        p50_ms: quantile(0.5),
        p99_ms: quantile(0.99),
        memory_mb: 0.0,
        requests: times_ms.len() as u32,
    })
}

/// Compares what was measured with the limits.
pub fn check(
    gates: &GatesSection,
    candidate: &Measurement,
    live: Option<&Measurement>,
) -> Result<(), Problem> {
    let figures = [
        (
            "p99",
            "ms",
            candidate.p99_ms,
            gates.p99_ms_max,
            live.map(|live| live.p99_ms),
            "p99_ms_max",
        ),
        (
            "memory",
            "MB",
            candidate.memory_mb,
            gates.memory_mb_max,
            live.map(|live| live.memory_mb),
            "memory_mb_max",
        ),
    ];
    let mut details = vec![];
    for (name, unit, value, limit, live, key) in figures {
        if let Some(limit) = limit.filter(|limit| value > *limit) {
            let live = live
                .map_or(String::new(), |live| format!("; the live version has {live:.1} {unit}"));
            details.push(format!("{name}  {value:.1} {unit} is over the limit of {limit} {unit} ([gates] {key}){live}"));
        }
    }
    if details.is_empty() {
        return Ok(());
    }
    Err(Problem::new(
        Code::GateFailed,
        format!("the candidate fails {} of its gates", details.len()),
    )
    .details(details)
    .help("make the model faster or smaller, or raise the gate in decalog.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        let candidate = Measurement { p50_ms: 1.0, p99_ms: 12.0, memory_mb: 80.0, requests: 200 };
        let gates = |p99_ms_max, memory_mb_max| GatesSection { p99_ms_max, memory_mb_max };
        assert!(check(&gates(None, None), &candidate, None).is_ok());
        assert!(check(&gates(Some(12.0), Some(80.0)), &candidate, None).is_ok());
        let problem =
            check(&gates(Some(10.0), Some(60.0)), &candidate, Some(&candidate)).unwrap_err();
        assert_eq!(problem.details.len(), 2);
        assert!(
            problem.details[0].contains("p99  12.0 ms is over the limit of 10 ms"),
            "{problem}"
        );
        assert!(problem.details[1].contains("the live version has 80.0 MB"), "{problem}");
    }
}
