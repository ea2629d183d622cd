//! Profiles of known values, where they belong, and bytes that somebody has changed.

use domain::Datatype;
use domain::schema::Column;
use policy::drift::{Bins, Reference};
use testing::measured;

use super::*;
use crate::drift::Feature;

fn column(name: &str, add: impl FnOnce(&mut ColumnProfiler)) -> ColumnProfile {
    let mut profiler = ColumnProfiler::new(name, 4);
    add(&mut profiler);
    profiler.finish()
}

fn numbers(name: &str, values: &[f64]) -> ColumnProfile {
    column(name, |profiler| values.iter().for_each(|value| profiler.add_number(*value)))
}

fn texts(name: &str, values: impl IntoIterator<Item = String>) -> ColumnProfile {
    column(name, |profiler| values.into_iter().for_each(|value| profiler.add_text(&value)))
}

fn profile(columns: Vec<ColumnProfile>, rows: u64) -> Profile {
    let digest = Digest::of(b"the file");
    Profile { rows, columns, ..Profile::of_file("train.csv", digest, 8) }
}

fn schema(inputs: &[&str], outputs: &[&str]) -> Schema {
    let columns = |names: &[&str]| -> Vec<Column> {
        names.iter().map(|name| Column::scalar(name, Datatype::Fp64)).collect()
    };
    serde_json::from_value(
        serde_json::json!({"inputs": columns(inputs), "outputs": columns(outputs)}),
    )
    .unwrap()
}

#[test]
fn a_column_of_numbers_is_what_its_values_are() {
    let values: Vec<f64> = (0..10_000).map(|row| f64::from(row % 100)).collect();
    let age = column("age", |profiler| {
        values.iter().for_each(|value| profiler.add_number(*value));
        (0..500).for_each(|_| profiler.add_missing());
        (0..500).for_each(|_| profiler.add_number(f64::NAN));
    });
    assert_eq!((age.missing, age.sampled), (1_000, 10_000));
    assert!((age.mean.unwrap() - 49.5).abs() < 1e-9);
    let [watched] = &age.watched[..] else { panic!("{:?}", age.watched) };
    assert_eq!(watched.reference, Reference::of_numbers(&values, 1_000).unwrap());
    assert_eq!((watched.quantiles.len(), watched.quantiles[50]), (101, 49.0));
    assert_eq!((watched.quantiles[0], watched.quantiles[100]), (0.0, 99.0));
}

#[test]
fn of_many_values_a_sample_is_taken_which_is_the_same_each_time() {
    let make = || {
        let mut random = fastrand::Rng::with_seed(7);
        let mut profiler = ColumnProfiler::new("x", 512);
        (0..300_000).for_each(|_| profiler.add_number(random.f64()));
        profiler.add_number(9.0);
        profiler.finish()
    };
    let (first, peak) = measured(make);
    assert_eq!(first, make());
    assert_eq!(first.sampled, 16_384);
    let quantiles = &first.watched[0].quantiles;
    for (rank, quantile) in quantiles.iter().enumerate().take(100) {
        assert!((quantile - rank as f64 / 100.0).abs() < 0.02, "{rank}: {quantile}");
    }
    let Bins::Numeric { max, .. } = first.watched[0].reference.bins else { panic!() };
    assert_eq!(max, 9.0, "the extremes are of all values");
    assert!(peak < 2 << 20, "{peak} bytes");
}

#[test]
fn texts_are_categories_if_they_are_few_and_short() {
    let city = texts("city", (0..900).map(|row| format!("city-{}", row % 3)));
    assert_eq!((city.watched.len(), city.watched[0].feature), (1, Feature::Value));
    assert_eq!(city.watched[0].reference.shares.len(), 4);
    let names = texts("name", (0..3_000).map(|row| format!("Name {row}")));
    let features: Vec<Feature> = names.watched.iter().map(|watched| watched.feature).collect();
    assert_eq!(
        (features.len(), features[0], features[6]),
        (7, Feature::Characters, Feature::Script)
    );
    let long = texts("text", (0..300).map(|row| "word ".repeat(20 + row % 2)));
    assert_eq!(long.watched[0].feature, Feature::Characters);
    let (_, peak) = measured(|| texts("all", (0..200_000).map(|row| format!("{row:0200}"))));
    assert!(peak < 24 << 20, "{peak} bytes");
}

#[test]
fn vectors_are_watched_by_numbers_that_stand_for_them() {
    let vectors = column("in.v", |profiler| {
        (0..400).for_each(|row| profiler.add_vector(&[1.0, f64::from(row % 7), 2.0]));
        profiler.add_vector(&[]);
    });
    assert_eq!((vectors.missing, vectors.watched.len()), (1, 10));
    assert_eq!(vectors.watched[0].feature, Feature::Norm);
    assert_eq!(vectors.watched[1].centroid.len(), 3);
    let features = policy::drift::tensor_features("v", &[1.0, 0.0, 2.0], &[]);
    let Bins::Numeric { min, max, .. } = vectors.watched[2].reference.bins else { panic!() };
    assert!((min..=max).contains(&features.projections[0]), "the signs are those of `v`");
    let uneven = column("v", |profiler| {
        (1..400).for_each(|row| profiler.add_vector(&vec![1.0; row]));
    });
    assert!(uneven.watched.iter().all(|watched| watched.feature != Feature::Cosine));
    let (_, peak) = measured(|| {
        column("v", |profiler| (0..3_000).for_each(|_| profiler.add_vector(&vec![1.0; 20_000])))
    });
    assert!(peak < 64 << 20, "{peak} bytes");
}

#[test]
fn what_nobody_can_compare_says_why() {
    let day = column("day", |profiler| profiler.add_others(10, "Date32"));
    assert!(day.unwatched.unwrap().contains("Date32"));
    let none = column("none", |profiler| (0..3).for_each(|_| profiler.add_missing()));
    assert_eq!(none.unwatched.as_deref(), Some("it has no values"));
    // Another kind than before counts as a row, and no more.
    let mixed = column("mixed", |profiler| {
        profiler.add_number(1.0);
        profiler.add_text("x");
        profiler.add_vector(&[1.0]);
    });
    assert_eq!(mixed.watched[0].feature, Feature::Value);
}

#[test]
fn columns_belong_where_the_schema_has_their_names() {
    let names = ["age", "in.city", "city", "leave", "out.score", "id"];
    let columns = names.iter().map(|name| numbers(name, &[1.0, 2.0, 3.0])).collect();
    let profile = profile(columns, 3);
    let schema = schema(&["age", "city", "tenure"], &["leave", "score", "age"]);
    let matched = profile.matched(&schema);
    assert_eq!(matched.inputs, ["age", "in.city"]);
    assert_eq!(matched.outputs, ["leave", "out.score"]);
    assert_eq!(matched.unused, ["city", "id"]);
    assert_eq!(matched.absent, ["tenure"]);
    let baseline = profile.baseline(&schema);
    let names = |watched: &[Watched]| -> Vec<String> {
        watched.iter().map(|watched| watched.column.clone()).collect()
    };
    assert_eq!(
        (baseline.file.as_str(), names(&baseline.inputs)),
        ("train.csv", vec!["age".into(), "city".into()])
    );
    assert_eq!(names(&baseline.outputs), ["leave", "score"]);
}

#[test]
fn only_what_has_the_same_type_is_compared() {
    let city = texts("x", (0..30).map(|row| format!("city-{}", row % 3)));
    let vector = column("x", |profiler| (0..9).for_each(|_| profiler.add_vector(&[1.0, 2.0])));
    let count = |column: &ColumnProfile, datatype, shape: &[i64]| {
        let known = Column { shape: Some(shape.to_vec()), ..Column::scalar("x", datatype) };
        let schema = Schema { inputs: vec![known], ..schema(&[], &[]) };
        profile(vec![column.clone()], 30).baseline(&schema).inputs.len()
    };
    let number = numbers("x", &[1.0, 2.0]);
    assert_eq!(count(&number, Datatype::Fp64, &[]), 1);
    assert_eq!(count(&number, Datatype::Bytes, &[]), 1);
    assert_eq!(count(&number, Datatype::Fp64, &[3]), 0);
    assert_eq!(count(&city, Datatype::Fp64, &[]), 0);
    assert_eq!(count(&city, Datatype::Bytes, &[]), 1);
    assert_eq!(count(&vector, Datatype::Fp32, &[2]), 10);
    assert_eq!(count(&vector, Datatype::Fp32, &[]), 0);
}

#[test]
fn what_is_read_is_what_was_written_to_the_last_bit() {
    let mut random = fastrand::Rng::with_seed(2);
    for _ in 0..40 {
        let scale = 10f64.powi(random.i32(-30..30));
        let few: Vec<f64> = (0..7).map(|_| (random.f64() - 0.3) * scale).collect();
        let values: Vec<f64> = (0..500).map(|_| few[random.usize(0..few.len())]).collect();
        let marked = ["~", "~~1.5", "~0.1", ""].map(String::from);
        let columns = vec![numbers("x", &values), texts("city", marked)];
        let mut profile = profile(columns, 500);
        let bytes = profile.encode().unwrap();
        assert_eq!(Profile::decode(&bytes).unwrap(), profile);
    }
    // As the first form had them.
    let marked = ["~", "~~1.5", "~0.1", ""].map(String::from);
    let mut profile = profile(vec![numbers("x", &[0.25, 0.5]), texts("city", marked)], 500);
    let text = String::from_utf8(profile.encode().unwrap()).unwrap();
    let first = text.replace("\"~", "\"~~").replace("0.25", "\"~0.25\"");
    let first = first.replace("\"version\":2", "\"version\":1");
    let read = Profile::decode(first.as_bytes()).unwrap();
    assert_eq!(Profile { version: 2, ..read }, profile);
}

#[test]
fn bytes_that_no_file_makes_are_refused() {
    let cities = texts("city", (0..30).map(|row| format!("{}", row % 3)));
    let mut sound = profile(vec![numbers("x", &[1.0, 2.0, 3.0]), cities], 30);
    let text = String::from_utf8(sound.encode().unwrap()).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let refused = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut value = value.clone();
        change(&mut value);
        let refused = Profile::decode(&serde_json::to_vec(&value).unwrap());
        assert!(refused.is_err(), "{value}");
    };
    let at = |value: &mut serde_json::Value, path: &str, new: serde_json::Value| {
        *value.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = new;
    };
    use serde_json::json;
    for (path, new) in [
        ("/version", json!(3)),
        ("/rows", json!(1)),
        ("/rows", json!(-1)),
        ("/file", json!("x".repeat(2_000))),
        ("/sha256", json!("short")),
        ("/columns/0/missing", json!(31)),
        ("/columns/0/mean", json!("NaN")),
        ("/columns/0/watched/0/reference/shares", json!([0.5, 0.2])),
        ("/columns/0/watched/0/reference/shares/0", json!(-0.5)),
        ("/columns/0/watched/0/reference/rows", json!(0)),
        ("/columns/0/watched/0/reference/bins/Numeric/uppers", json!([3.0, 2.0])),
        ("/columns/0/watched/0/reference/bins/Numeric/uppers", json!(vec![1.0; 5_000])),
        ("/columns/0/watched/0/reference/bins/Numeric/min", json!(null)),
        ("/columns/0/watched/0/quantiles", json!(["~NaN"])),
        ("/columns/0/watched/0/quantiles", json!(vec![1.0; 2_000])),
        ("/columns/0/watched/0/feature", json!("colour")),
        ("/columns/1/watched/0/reference/bins/Categorical/top/0/hash", json!(5)),
        (
            "/columns",
            json!(vec![json!({"name": "a", "missing": 0, "sampled": 0, "watched": []}); 513]),
        ),
        ("/columns/0", json!({"name": "a", "more": 1})),
    ] {
        refused(&|value| at(value, path, new.clone()));
    }
    refused(&|value| value["columns"][0]["watched"][0]["centroid"] = json!(vec![1.0; 5_000]));
    for cut in 0..text.len() {
        assert!(Profile::decode(&text.as_bytes()[..cut]).is_err());
    }
    assert!(matches!(
        Profile::decode(&vec![b' '; PROFILE_BYTES_MAX + 1]),
        Err(ProfileError::TooLong(_))
    ));
    let deep = format!("{{\"version\":1,\"columns\":{}", "[".repeat(100_000));
    assert!(Profile::decode(deep.as_bytes()).is_err());
}

#[test]
fn damaged_bytes_are_read_or_refused_and_no_more() {
    let mut sound = profile(vec![numbers("x", &[1.0, 2.0, 3.0])], 3);
    let bytes = sound.encode().unwrap();
    let mut random = fastrand::Rng::with_seed(9);
    for _ in 0..20_000 {
        let mut damaged = bytes.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(0..damaged.len());
            damaged[at] = random.u8(32..127);
        }
        if let Ok(profile) = Profile::decode(&damaged) {
            profile.baseline(&schema(&["x"], &[]));
            for watched in profile.columns.iter().flat_map(|column| &column.watched) {
                let mut counts = watched.reference.counts();
                watched.reference.count(&mut counts, 2.5);
                watched.reference.finds(60.0, 3);
            }
        }
    }
}
