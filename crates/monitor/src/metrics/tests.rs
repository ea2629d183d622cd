//! Series come and go with their placements, and a scrape stays as small as is promised.

use super::*;
use crate::exposition::{Format, encode};

fn placement(version: u32) -> Arc<Placement> {
    let model =
        domain::ModelKey { project: "default".parse().unwrap(), model: "m".parse().unwrap() };
    let (version, digest) =
        (domain::VersionNumber(version), domain::Digest::of(&version.to_le_bytes()));
    Arc::new(Placement {
        model,
        environment: "production".parse().unwrap(),
        version,
        digest,
        revision: 0,
    })
}

fn ask(metrics: &mut Metrics, placement: &Arc<Placement>, now_ms: u64) {
    for (status, is_copy) in [(200, false), (500, false), (200, true)] {
        let mut record = Record::new(Some(placement.clone()), 1, 10);
        (record.status, record.is_copy, record.code) = (status, is_copy, "model_raised");
        metrics.take(std::slice::from_ref(&record), now_ms);
    }
}

fn scrape(live: &[u32]) -> Scrape {
    let demand = |version: &u32| Demand {
        placement: (*placement(*version)).clone(),
        queued_rows: 0,
        in_flight: Default::default(),
        load: domain::scale::LoadSample {
            now_ms: 0,
            in_system_request_ms: 0.0,
            arrived: 0,
            queued: 0,
            in_flight: 0,
            rows_per_request: 1.0,
            service: vec![],
        },
    };
    Scrape { demand: live.iter().map(demand).collect(), records_dropped: 0, epoch: 1 }
}

fn text(metrics: &mut Metrics, live: &[u32], format: Format, now_ms: u64) -> String {
    let families = metrics.families(&scrape(live), now_ms);
    String::from_utf8_lossy(&encode(&families, format, now_ms)).into()
}

#[test]
fn what_is_gone_is_dropped_and_what_is_live_stays() {
    let mut metrics = Metrics::default();
    let shown =
        |metrics: &mut Metrics, live: &[u32], now_ms| text(metrics, live, Format::Text, now_ms);
    let empty = shown(&mut metrics, &[], 0).len();
    ask(&mut metrics, &placement(1), 1_000);
    ask(&mut metrics, &placement(2), 1_000);
    let both = shown(&mut metrics, &[2], 1_000 + GONE_MS);
    assert!(
        both.contains("version=\"v1\"") && both.contains("version=\"v2\""),
        "a last scrape finds both"
    );
    let one = shown(&mut metrics, &[2], 1_001 + GONE_MS);
    assert!(!one.contains("version=\"v1\"") && one.contains("version=\"v2\""));
    assert_eq!(shown(&mut metrics, &[], 1_001 + GONE_MS).len(), empty, "nothing is left of either");
}

#[test]
fn many_deploys_do_not_grow_the_scrape() {
    let mut metrics = Metrics::default();
    (1..=PLACEMENTS_MAX as u32 + 50)
        .for_each(|version| ask(&mut metrics, &placement(version), u64::from(version)));
    assert_eq!(metrics.placements.len(), PLACEMENTS_MAX);
    let text = text(&mut metrics, &[], Format::Text, 0);
    assert!(
        !text.contains("version=\"v50\"") && text.contains("version=\"v51\""),
        "the oldest went"
    );
}

/// Bytes of the largest scrape of so many placements as there may be, with names of so many
/// characters, in each format.
fn largest(name_chars: usize) -> [usize; 3] {
    let mut metrics = Metrics::default();
    let long = "x".repeat(name_chars);
    let named = |version: u32| {
        let mut placement = (*placement(version)).clone();
        placement.environment = long.parse().unwrap();
        (placement.model.project, placement.model.model) =
            (long.parse().unwrap(), long.parse().unwrap());
        Arc::new(placement)
    };
    let placements: Vec<_> = (1..=PLACEMENTS_MAX as u32 + 5).map(named).collect();
    let now_ms = 1_790_000_000_000u64;
    for placement in &placements {
        for step in 0..30 {
            let mut record = Record::new(Some(placement.clone()), 1 << (step % 13), 40 << step);
            (record.queue_us, record.worker_us) = (7 << step, 11 << step);
            record.batch_rows = record.rows;
            record.id[..TIME_BYTES].copy_from_slice(&now_ms.to_be_bytes()[2..]);
            record.trace = [0xff; 16];
            metrics.take(std::slice::from_ref(&record), now_ms);
        }
        for code in ["model_raised", "deadline", "queue_full", "schema_mismatch", "no_capacity"] {
            let mut record = Record::new(Some(placement.clone()), 1, 10);
            (record.status, record.code) = (400 + code.len() as u16, code);
            metrics.take(std::slice::from_ref(&record), now_ms);
        }
    }
    [Format::Text, Format::OpenMetrics, Format::Protobuf].map(|format| {
        let families = metrics.families(&scrape(&[]), now_ms);
        encode(&families, format, now_ms).len()
    })
}

#[test]
fn the_largest_scrape_is_as_small_as_the_docs_say() {
    let (usual, longest) = (largest(12), largest(domain::id::NAME_CHARS_MAX));
    println!("{usual:?} {longest:?}");
    assert!(usual.iter().all(|bytes| (1 << 20..20 << 20).contains(bytes)), "{usual:?}");
    assert!(longest.iter().all(|bytes| *bytes < 48 << 20), "{longest:?}");
}

#[test]
fn a_request_is_shown_with_its_id_and_its_trace() {
    let mut metrics = Metrics::default();
    let mut record = Record::new(Some(placement(1)), 1, 1_500);
    record.id = *b"\x01\x99\xa3\xf2\x11\x11\x7a\xaa\x8b\xbb\xcc\xcc\xcc\xcc\xcc\xcc";
    record.trace = [0x4b; 16];
    metrics.take(std::slice::from_ref(&record), 0);
    (record.status, record.code, record.trace) = (500, "model_raised", [0; 16]);
    metrics.take(std::slice::from_ref(&record), 0);
    let shown = text(&mut metrics, &[], Format::OpenMetrics, 0);
    let trace = "4b".repeat(16);
    let id = "0199a3f2-1111-7aaa-8bbb-cccccccccccc";
    let seconds = format!("{:.3}", 0x0199_a3f2_1111u64 as f64 / 1e3);
    let slow = format!(
        "part=\"total\",le=\"0.002\"}} 1 # {{trace_id=\"{trace}\",request_id=\"{id}\"}} 0.0015 {seconds}\n"
    );
    assert!(shown.contains(&slow), "{shown}");
    let failed = format!("code=\"model_raised\"}} 1 # {{request_id=\"{id}\"}} 1.0 {seconds}\n");
    assert!(shown.contains(&failed), "{shown}");
    assert!(!text(&mut metrics, &[], Format::Text, 0).contains(id), "0.0.4 has no exemplars");
}
