//! What requests are summed up to.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array};
use datafusion::arrow::datatypes::DataType;

use super::keeping::*;
use crate::{Cells, CellsAsk, Limits};

const ROWS: usize = 600;
const BUCKET_MS: u64 = 60_000;

async fn summed(from_hour: u64, buckets: usize) -> Cells {
    summed_within(Limits::default(), from_hour, buckets).await
}

async fn summed_within(limits: Limits, from_hour: u64, buckets: usize) -> Cells {
    let keeping = Keeping::new(limits);
    let cities = ["Delft", "Utrecht"].into_iter().cycle();
    for (version, hour) in [(1, 0), (2, 1)] {
        let leave: ArrayRef =
            Arc::new(Float64Array::from_iter_values((0..ROWS).map(|row| row as f64)));
        let columns = vec![
            ("in.city", texts(cities.clone().take(ROWS))),
            ("in.age", typed(&DataType::Int32, ROWS)),
            ("out.leave", leave),
        ];
        keeping.make(Made { model: "churn", version, hour, rows: ROWS, columns }).await;
    }
    let ask = CellsAsk {
        model: all_of("churn").model,
        environment: "production".parse().unwrap(),
        start_ms: BEGIN_MS + from_hour * HOUR_MS,
        bucket_ms: BUCKET_MS,
        buckets,
        truth: None,
    };
    keeping.queries.cells(ask, everything()).await.unwrap()
}

#[tokio::test]
async fn each_request_is_counted_once_in_its_bucket() {
    let cells = summed(0, 120).await;
    assert_eq!((cells.records, cells.sampled), (2 * ROWS as u64, 1.0));
    let sum = |of: fn(&policy::why::Sums) -> f64| -> f64 {
        cells.cells.iter().map(|cell| of(&cell.sums)).sum()
    };
    assert_eq!(sum(|sums| sums.requests), 1_200.0);
    assert_eq!(sum(|sums| sums.errors), 120.0, "every tenth has status 500");
    assert_eq!(sum(|sums| sums.total.weight()), 1_080.0, "what failed at once was not fast");
    let versions: Vec<u32> = cells.versions.iter().map(|(version, _)| version.0).collect();
    assert_eq!((versions.len(), cells.replicas.len(), cells.callers.len()), (2, 1, 1));
    // Ten requests a minute, of the one version and then of the other.
    for cell in &cells.cells {
        let version = versions[usize::from(cell.key.version)];
        assert_eq!(version, 1 + cell.bucket / 60, "{cell:?}");
    }
    assert!(cells.waiting.iter().all(|mean| (mean - 10.0 * 10.0 / 60e6).abs() < 1e-9));
}

#[tokio::test]
async fn of_too_many_some_stand_for_all_and_what_failed_is_counted() {
    let limits = Limits { counted_rows_max: 400, ..Limits::default() };
    let cells = summed_within(limits, 0, 120).await;
    let sum = |of: fn(&policy::why::Sums) -> f64| -> f64 {
        cells.cells.iter().map(|cell| of(&cell.sums)).sum()
    };
    assert_eq!(sum(|sums| sums.errors), 120.0);
    // One in three of 1,080 that did not fail.
    assert!((440..=520).contains(&cells.records), "{}", cells.records);
    assert!((sum(|sums| sums.requests) - 1_200.0).abs() < 120.0);
    let squares = sum(|sums| sums.squares);
    assert_eq!(squares, 120.0 + 9.0 * (cells.records as f64 - 120.0), "each counts for three");
    assert_eq!(cells.sampled, 1.0 / 3.0);
    let city: f64 = cells.columns[0].cells.iter().map(|cell| cell.sums.requests).sum();
    assert!((city - 1_200.0).abs() < 120.0, "{city}");
}

#[tokio::test]
async fn values_are_those_of_columns_and_only_within_the_time() {
    let cells = summed(1, 30).await;
    assert_eq!(cells.records, ROWS as u64 / 2);
    let names: Vec<&str> = cells.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["city", "age"]);
    let city = &cells.columns[0];
    let share = |name: &str| -> f64 {
        let value = city.values.iter().position(|value| value == name).unwrap() as u16;
        let own = city.cells.iter().filter(|cell| cell.key.value == value);
        own.map(|cell| cell.sums.requests).sum()
    };
    assert_eq!((share("Delft"), share("Utrecht"), share("missing")), (150.0, 150.0, 0.0));
    assert_eq!(cells.output.as_deref(), Some("out.leave"));
    let outputs: f32 = cells.cells.iter().flat_map(|cell| &cell.sums.outputs).map(|o| o.1).sum();
    assert_eq!(outputs, 270.0, "what failed has no output");
}

#[tokio::test]
async fn who_may_not_see_records_gets_none() {
    let keeping = Keeping::new(Limits::default());
    let columns = vec![("in.age", typed(&DataType::Int32, ROWS))];
    keeping.make(Made { model: "churn", version: 1, hour: 0, rows: ROWS, columns }).await;
    let ask = CellsAsk {
        model: all_of("churn").model,
        environment: "production".parse().unwrap(),
        start_ms: BEGIN_MS,
        bucket_ms: BUCKET_MS,
        buckets: 60,
        truth: None,
    };
    let cells = keeping.queries.cells(ask.clone(), Arc::new(|_, _| false)).await.unwrap();
    assert_eq!((cells.records, cells.columns.len()), (0, 0));
    let elsewhere = CellsAsk { environment: "staging".parse().unwrap(), ..ask };
    assert_eq!(keeping.queries.cells(elsewhere, everything()).await.unwrap().records, 0);
}
