//! What is known of values, however they come, and what damaged bytes do: nothing.

use testing::{Corpus, measured};

use super::body::sealed;
use super::*;

/// Twice the rank error that the sketch promises with 99% confidence.
const RANK_ERROR: f64 = 0.027;

fn floats(values: impl IntoIterator<Item = f64>) -> ColumnSketch {
    let mut sketch = ColumnSketch::new(Kind::Float);
    values.into_iter().for_each(|value| sketch.add(Value::Number(value)));
    sketch
}

fn texts<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> ColumnSketch {
    let mut sketch = ColumnSketch::new(Kind::Text);
    values.into_iter().for_each(|value| sketch.add(Value::Text(value)));
    sketch
}

fn skewed(count: usize, seed: u64) -> Vec<f64> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count).map(|_| -random.f64().max(1e-12).ln() * 100.0).collect()
}

/// Holds what a sketch says against the values themselves.
fn fits(sketch: &ColumnSketch, values: &[f64]) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    assert_eq!((sketch.rows(), sketch.numbers().count()), (values.len() as u64, sketch.rows()));
    assert!((sketch.numbers().mean().unwrap() / mean - 1.0).abs() < 1e-9);
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    let variance = squares / (values.len() - 1) as f64;
    assert!((sketch.numbers().variance().unwrap() / variance - 1.0).abs() < 1e-9);
    assert_eq!(sketch.numbers().min(), sorted.first().copied());
    assert_eq!(sketch.numbers().max(), sorted.last().copied());
    for share in [0.01, 0.25, 0.5, 0.9, 0.99] {
        let found = sketch.quantile(share).unwrap();
        let rank = sorted.partition_point(|value| *value <= found) as f64 / sorted.len() as f64;
        assert!((rank - share).abs() < RANK_ERROR, "{share}: {found} has the rank {rank}");
    }
    let distinct = sketch.distinct().unwrap() as f64 / values.len() as f64;
    assert!((distinct - 1.0).abs() < 0.08, "{distinct}");
}

#[test]
fn merged_minutes_are_as_one_pass_over_all_rows() {
    let values = skewed(60_000, 7);
    let mut merged = ColumnSketch::new(Kind::Float);
    for minute in values.chunks(1_000) {
        merged.merge(&floats(minute.iter().copied())).unwrap();
    }
    fits(&floats(values.iter().copied()), &values);
    fits(&merged, &values);
    fits(&ColumnSketch::decode(&merged.encode()).unwrap(), &values);
}

#[test]
fn the_order_of_rows_does_not_matter() {
    let mut values = skewed(20_000, 8);
    values.sort_by(f64::total_cmp);
    fits(&floats(values.iter().copied()), &values);
    fits(&floats(values.iter().rev().copied()), &values);
    fastrand::Rng::with_seed(1).shuffle(&mut values);
    fits(&floats(values.iter().copied()), &values);
}

#[test]
fn what_is_no_finite_number_is_counted_apart() {
    let mut sketch = floats([1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 3.0, -0.0, 0.0]);
    sketch.add(Value::Missing);
    assert_eq!((sketch.rows(), sketch.missing(), sketch.non_finite()), (8, 1, 3));
    assert_eq!((sketch.numbers().mean(), sketch.numbers().max()), (Some(1.0), Some(3.0)));
    assert_eq!(sketch.distinct(), Some(3));
    let wide = floats([f64::MAX, f64::MIN]);
    assert_eq!((wide.numbers().variance(), wide.numbers().max()), (None, Some(f64::MAX)));
    assert!(ColumnSketch::decode(&wide.encode()).is_ok());
    let none = floats([f64::NAN]);
    assert_eq!(
        (none.numbers().mean(), none.quantile(0.5), none.numbers().min()),
        (None, None, None)
    );
}

#[test]
fn whole_numbers_have_frequent_values() {
    let mut sketch = ColumnSketch::new(Kind::Integer);
    for value in [i64::MIN as f64, 7.0, 7.0, -1.0, 7.0] {
        sketch.add(Value::Number(value));
    }
    assert_eq!(sketch.numbers().min(), Some(i64::MIN as f64));
    assert_eq!(sketch.top(1), [TopValue { value: "7".into(), count_min: 3, count_max: 3 }]);
    // The one beyond 2^53 is not exact.
    assert_eq!(sketch.top(9).len(), 2);
    for _ in 0..3 {
        (0..10_000).for_each(|value| sketch.add(Value::Number(f64::from(value))));
        (0..3_000).for_each(|_| sketch.add(Value::Number(42.0)));
    }
    let first = &sketch.top(1)[0];
    assert!(
        first.value == "42" && first.count_min <= 9_003 && first.count_max >= 9_003,
        "{first:?}"
    );
}

#[test]
fn texts_are_counted_by_value_and_by_length() {
    let long = "é".repeat(60);
    let sketch = texts([&b"Delft"[..], b"Delft", b"", b"\xff\xfe", long.as_bytes()]);
    assert_eq!((sketch.rows(), sketch.distinct()), (5, Some(4)));
    assert_eq!((sketch.numbers().min(), sketch.numbers().max()), (Some(0.0), Some(60.0)));
    let top = sketch.top(9);
    assert_eq!((top[0].value.as_str(), top[0].count_min), ("Delft", 2));
    let values: Vec<&str> = top.iter().map(|top| top.value.as_str()).collect();
    assert!(values.contains(&"") && values.contains(&"\u{fffd}\u{fffd}"), "{values:?}");
    let cut = values.iter().find(|value| value.starts_with('é')).unwrap();
    assert!(cut.ends_with('…') && cut.len() <= TEXT_BYTES_MAX && cut.len() > 60, "{cut}");
    for bytes in 0..200 {
        for text in ["x".repeat(bytes), "€".repeat(bytes)] {
            text::cut(text.as_bytes(), |short| assert!(short.len() <= TEXT_BYTES_MAX));
        }
        text::cut(&vec![0xe2; bytes], |short| assert!(short.len() <= TEXT_BYTES_MAX));
    }
}

#[test]
fn truth_values_are_categories_and_tensors_have_a_norm() {
    let mut truth = ColumnSketch::new(Kind::Bool);
    [true, false, true].into_iter().for_each(|value| truth.add(Value::Bool(value)));
    assert_eq!((truth.trues(), truth.top(2)[0].value.as_str()), (2, "true"));
    let data: Vec<u8> = [3.0f64, 4.0, 1e200, 0.0, f64::NAN, 1.0].map(f64::to_le_bytes).concat();
    let view = ColumnView {
        name: "x",
        datatype: Datatype::Fp64,
        shape: &[2],
        data: &data,
        valid: None,
        rows: 3,
    };
    let mut tensor = ColumnSketch::new(Kind::of(&view));
    view.values().for_each(|value| tensor.add(value));
    assert_eq!((tensor.numbers().min(), tensor.numbers().max()), (Some(5.0), Some(1e200)));
    assert_eq!((tensor.non_finite(), tensor.elements().mean()), (1, Some(2.0)));
    let empty = ColumnView { shape: &[0], data: &[], ..view };
    empty.values().for_each(|value| tensor.add(value));
    assert_eq!((tensor.rows(), tensor.elements().min()), (6, Some(0.0)));
    assert_eq!(truth.merge(&tensor), Err(KindsDiffer(Kind::Tensor, Kind::Bool)));
}

#[test]
fn a_sketch_takes_no_more_memory_than_stated() {
    let mut random = fastrand::Rng::with_seed(3);
    for kind in Kind::ALL {
        let (sketch, bytes) = measured(|| {
            let mut sketch = ColumnSketch::new(kind);
            for row in 0..200_000_u32 {
                let text = format!("{row:080}");
                match kind {
                    Kind::Bool => sketch.add(Value::Bool(row % 3 == 0)),
                    Kind::Text => sketch.add(Value::Text(&text.as_bytes()[row as usize % 40..])),
                    Kind::Tensor => {}
                    Kind::Integer | Kind::Float => sketch.add(Value::Number(random.f64() * 1e9)),
                }
            }
            sketch
        });
        let body = sketch.encode().len();
        println!("{kind}: {bytes} bytes in memory at most, {body} stored");
        assert!(bytes <= SKETCH_BYTES_MAX && body <= BODY_BYTES_MAX, "{kind}: {bytes}, {body}");
    }
}

#[test]
fn damaged_bytes_are_an_error_and_harm_nothing() {
    let many = texts((0..500).map(|n| &b"abcdefghijklmnopqrstuvwxyz"[n % 20..]));
    let mut integers = ColumnSketch::new(Kind::Integer);
    (0..3_000).for_each(|value| integers.add(Value::Number(f64::from(value % 300))));
    let sketches = [many, integers, floats(skewed(5_000, 1)), floats([1.0, 2.0]), floats([])];
    let bodies: Vec<Vec<u8>> = sketches.iter().map(ColumnSketch::encode).collect();
    for body in &bodies {
        for at in 0..body.len() {
            let mut spoilt = body.clone();
            spoilt[at] ^= 1 << (at % 8);
            assert!(ColumnSketch::decode(&spoilt).is_err(), "byte {at}");
            assert!(ColumnSketch::decode(&body[..at]).is_err(), "cut at {at}");
        }
    }
    // Bytes whose checksum fits reach the parts.
    let payloads = bodies.iter().map(|body| body[9..].to_vec()).collect();
    Corpus::of("a sketch", payloads).check(|payload| {
        let _ = ColumnSketch::decode(payload);
        let Ok(read) = ColumnSketch::decode(&sealed(payload)) else { return };
        let mut merged = read.clone();
        merged.merge(&read).expect("they are of one kind");
        for _ in 0..1_000 {
            merged.add(Value::Number(1.0));
            merged.add(Value::Text(b"x"));
        }
        let _ = (merged.quantile(0.5), merged.distinct(), merged.top(10));
    });
}
