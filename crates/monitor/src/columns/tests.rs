//! What is watched of rows as they come, and what is not.

use domain::{Datatype, Digest};
use testing::measured;

use super::*;

fn placement(version: u32) -> Arc<Placement> {
    Arc::new(Placement {
        model: "default/churn".parse().unwrap(),
        environment: "production".parse().unwrap(),
        version: domain::VersionNumber(version),
        digest: Digest::ZERO,
        revision: 0,
    })
}

fn view<'a>(name: &'a str, datatype: Datatype, data: &'a [u8], rows: usize) -> ColumnView<'a> {
    ColumnView { name, datatype, shape: &[], data, valid: None, rows }
}

fn bytes(numbers: &[f64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

#[test]
fn every_row_is_in_the_minute_in_which_it_came() {
    let (mut columns, churn) = (Columns::default(), placement(1));
    let data = bytes(&[1.0, 2.0, 6.0]);
    let age = || [view("age", Datatype::Fp64, &data, 3)].into_iter();
    columns.take(&churn, Direction::In, age(), 59_999);
    assert!(columns.seal(59_999).is_empty());
    columns.take(&churn, Direction::In, age(), 60_000);
    columns.take(&churn, Direction::Out, age(), 60_000);
    let first = columns.seal(60_000);
    assert_eq!((first.len(), first[0].minute_ms, first[0].sketch.rows()), (1, 0, 3));
    assert_eq!((&*first[0].column, first[0].sketch.numbers().mean()), ("age", Some(3.0)));
    assert_eq!(columns.seal(120_000).len(), 2);
    assert!(columns.seal(180_000).is_empty());
    columns.take(&churn, Direction::In, age(), 180_000);
    assert_eq!((columns.close().len(), columns.not_watched()), (1, NotWatched::default()));
}

#[test]
fn a_column_that_changes_its_type_has_a_sketch_for_each() {
    let (mut columns, data) = (Columns::default(), bytes(&[1.0]));
    for datatype in [Datatype::Fp64, Datatype::Int64, Datatype::Fp64] {
        let column = [view("age", datatype, &data, 1)];
        columns.take(&placement(1), Direction::In, column.into_iter(), 0);
    }
    columns.take(&placement(1), Direction::In, [].into_iter(), 0);
    columns.take(
        &placement(1),
        Direction::In,
        [view("age", Datatype::Fp64, &[], 0)].into_iter(),
        0,
    );
    let kinds =
        columns.close().into_iter().map(|sealed| (sealed.sketch.kind(), sealed.sketch.rows()));
    assert_eq!(kinds.collect::<Vec<_>>(), [(Kind::Float, 2), (Kind::Integer, 1)]);
}

#[test]
fn what_is_beyond_the_limits_is_counted_as_not_watched() {
    let limits = Limits { placements_max: 2, placement_columns_max: 2, columns_max: 3 };
    let (mut columns, data) = (Columns::new(limits), bytes(&[1.0, 2.0]));
    for version in 1..=3 {
        for name in ["a", "b", "c", &"x".repeat(300)] {
            let column = [view(name, Datatype::Fp64, &data, 2)];
            columns.take(&placement(version), Direction::In, column.into_iter(), 0);
        }
    }
    let not_watched = columns.not_watched();
    assert_eq!((not_watched.of_placements, not_watched.of_columns), (8, 10));
    // Nobody takes the first minute.
    columns.take(
        &placement(1),
        Direction::In,
        [view("a", Datatype::Fp64, &data, 2)].into_iter(),
        60_000,
    );
    columns.seal(120_000);
    assert_eq!(columns.not_watched().of_minutes, 6);
    // There is room again for whoever comes after those that are idle.
    columns.seal(180_000);
    columns.take(
        &placement(9),
        Direction::In,
        [view("z", Datatype::Fp64, &data, 2)].into_iter(),
        180_000,
    );
    assert_eq!(columns.seal(240_000).len(), 1);
}

#[test]
fn memory_is_bounded_however_many_rows_come() {
    // `COLUMNS_ROWS=10000000` for a long run.
    let rows = std::env::var("COLUMNS_ROWS").ok().and_then(|text| text.parse().ok());
    let rows: u64 = rows.unwrap_or(200_000);
    let limits = Limits { placements_max: 4, placement_columns_max: 8, columns_max: 16 };
    let placements: Vec<Arc<Placement>> = (1..=6).map(placement).collect();
    let mut random = fastrand::Rng::with_seed(5);
    let (watched, peak) = measured(|| {
        let mut columns = Columns::new(limits);
        let mut sealed = 0;
        for row in 0..rows {
            let number = bytes(&[random.f64(), random.f64()]);
            let mut text = vec![];
            protocol::tensor::push_byte_element(&mut text, format!("{row:070}").as_bytes());
            let name = format!("column-{}", row % 11);
            let views =
                [view("x", Datatype::Fp64, &number, 1), view(&name, Datatype::Bytes, &text, 1)];
            let at = &placements[row as usize % placements.len()];
            columns.take(at, Direction::In, views.into_iter(), row);
            if row % 1_000 == 0 {
                sealed += columns.seal(row).iter().map(|sealed| sealed.sketch.rows()).sum::<u64>();
            }
        }
        sealed += columns.close().iter().map(|sealed| sealed.sketch.rows()).sum::<u64>();
        let not = columns.not_watched();
        sealed + not.of_placements + not.of_columns + not.of_minutes
    });
    println!("{peak} bytes at most over {rows} rows; the bound is {}", limits.bytes_max());
    assert_eq!(watched, 2 * rows, "each value is counted, or counted as not watched");
    assert!(peak <= limits.bytes_max() + 64 * 1024, "{peak} > {}", limits.bytes_max());
}
