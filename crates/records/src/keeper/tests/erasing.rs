//! Erasure by key, also when it is interrupted.

use domain::Pseudonyms;

use super::*;
use crate::catalogue::{Sought, Stage};
use crate::erase::Eraser;

fn erasure<'e>(key: &'e str, pseudonyms: Option<&'e Pseudonyms>) -> Erasure<'e> {
    Erasure {
        project: "default".parse().unwrap(),
        model: None,
        key,
        pseudonyms,
        by: "u1".into(),
        mark: "mark".into(),
    }
}

fn keyed(key: Option<&str>) -> Definition {
    Definition { key: key.map(Into::into), ..definition() }
}

/// The keys of all rows, with their ages.
fn kept(place: &Place, keeper: &Keeper) -> Vec<(Option<String>, i64)> {
    let of = |batch: &RecordBatch| {
        let keys = batch.column_by_name("key").unwrap().as_string::<i32>().clone();
        let ages = batch.column_by_name("in.age").unwrap().as_primitive::<Int64Type>().clone();
        let keys = keys.iter().map(|key| key.map(str::to_string)).collect::<Vec<_>>();
        keys.into_iter().zip(ages.values().to_vec()).collect::<Vec<_>>()
    };
    let mut kept: Vec<_> = place.rows(keeper).iter().flat_map(of).collect();
    kept.sort();
    kept
}

fn row(key: &str, age: i64) -> (Option<String>, i64) {
    (Some(key).filter(|key| !key.is_empty()).map(Into::into), age)
}

/// All files below a directory.
fn files(directory: &std::path::Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
        match entry.path().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

fn parquet_files(place: &Place) -> usize {
    let is_parquet = |path: &PathBuf| path.extension().is_some_and(|end| end == "parquet");
    files(place.directory.path()).iter().filter(|path| is_parquet(path)).count()
}

#[test]
fn rows_of_a_key_go_and_all_others_stay() {
    let place = Place::new();
    let keeper = place.start(1e9);
    let plain = keyed(None);
    assert!(put_as(&keeper, id(1), 1, "customer=42", &plain));
    assert!(put_as(&keeper, id(2), 2, "customer=43", &plain));
    assert!(put_as(&keeper, id(3), 2, "customer=42", &plain));
    keeper.flush();
    assert!(put_as(&keeper, id(4), 1, "customer=42", &plain));
    // It is answered after what is erased.
    let mut later = id(5);
    later[0] = 0x7f;
    assert!(put_as(&keeper, later, 1, "customer=42", &plain));
    let erased = keeper.erase(&erasure("customer=42", None)).unwrap();
    assert_eq!((erased.records, erased.rows, erased.files, erased.unread), (3, 4, 2, 0));
    let left = vec![row("customer=42", 40), row("customer=43", 40), row("customer=43", 41)];
    assert_eq!(kept(&place, &keeper), left);
    let gaps = keeper.gaps(0).unwrap();
    assert_eq!(gaps.iter().map(|gap| gap.records).sum::<u64>(), 3);
    assert!(gaps.iter().all(|gap| gap.reason == crate::erase::REASON), "{gaps:?}");
    let requests: u64 = keeper.files(0, u64::MAX).unwrap().iter().map(|file| file.requests).sum();
    assert_eq!((requests, parquet_files(&place)), (2, 2), "old files are gone");
    let again = keeper.erase(&erasure("customer=42", None)).unwrap();
    assert_eq!((again.records, again.files), (0, 0));
    keeper.end();
}

#[test]
fn each_row_has_the_key_of_its_column_and_goes_alone() {
    let place = Place::new();
    let keeper = place.start(1e9);
    assert!(put_as(&keeper, id(1), 3, "", &keyed(Some("age"))));
    assert!(put_as(&keeper, id(2), 3, "trip=1", &keyed(Some("age"))));
    assert!(put_as(&keeper, id(3), 3, "", &keyed(None)));
    let own = [row("age=40", 40), row("age=41", 41), row("age=42", 42)];
    assert_eq!(kept(&place, &keeper).iter().filter(|row| own.contains(row)).count(), 3);
    // Whatever the key of a row is, and whether it has one.
    let erased = keeper.erase(&erasure("age=41", None)).unwrap();
    assert_eq!((erased.records, erased.rows), (3, 3));
    assert!(kept(&place, &keeper).iter().all(|(_, age)| *age != 41));
    assert_eq!(kept(&place, &keeper).len(), 6);
    assert!(keeper.gaps(0).unwrap().is_empty(), "of each request some is left");
    // A float by its shortest text; a text; and all there is.
    assert_eq!(keeper.erase(&erasure("city=Delf", None)).unwrap().rows, 0);
    assert_eq!(keeper.erase(&erasure("leave=0.25", None)).unwrap().rows, 6);
    assert_eq!((kept(&place, &keeper).len(), parquet_files(&place)), (0, 0));
    assert_eq!(keeper.gaps(0).unwrap().iter().map(|gap| gap.records).sum::<u64>(), 3);
    keeper.end();
}

#[test]
fn a_disguised_key_is_found_by_what_it_stands_for() {
    let place = Place::new();
    let keeper = place.start(1e9);
    let pseudonyms = Pseudonyms::new([3; 32]);
    let disguised = format!("customer={}", pseudonyms.of(b"42"));
    assert!(put_as(&keeper, id(1), 1, &disguised, &keyed(None)));
    assert!(put_as(&keeper, id(2), 1, &pseudonyms.of(b"order=7"), &keyed(None)));
    assert!(put_as(&keeper, id(3), 1, &pseudonyms.of(b"order=8"), &keyed(None)));
    assert_eq!(keeper.erase(&erasure("customer=42", None)).unwrap().rows, 0);
    assert_eq!(keeper.erase(&erasure("customer=42", Some(&pseudonyms))).unwrap().rows, 1);
    assert_eq!(keeper.erase(&erasure("order=7", Some(&pseudonyms))).unwrap().rows, 1);
    assert_eq!(kept(&place, &keeper), [row(&pseudonyms.of(b"order=8"), 40)]);
    let other = Erasure { project: "other".parse().unwrap(), ..erasure("age=40", None) };
    assert_eq!(keeper.erase(&other).unwrap().rows, 0);
    let other = Erasure { model: "other".parse().ok(), ..erasure("age=40", None) };
    assert_eq!(keeper.erase(&other).unwrap().rows, 0);
    let own = Erasure { model: "churn".parse().ok(), ..erasure("age=40", None) };
    assert_eq!(keeper.erase(&own).unwrap().rows, 1);
    keeper.end();
}

#[test]
fn an_erasure_that_was_swept_before_its_turn_is_swept_again() {
    let place = Place::new();
    let keeper = place.start(1e9);
    let (catalogue, area) = (keeper.catalogue(), keeper.area());
    let eraser = Eraser { area, catalogue, runtime: place.runtime.handle() };
    let begun = erasure("customer=42", None).begun(now_ms()).unwrap();
    let number = catalogue.begin_erasure(&begun).unwrap();
    // Between them comes what looks every minute for what was left.
    eraser.resume(now_ms()).unwrap();
    assert!(put_as(&keeper, id(1), 1, "customer=42", &keyed(None)));
    keeper.flush();
    assert_eq!(eraser.sweep_one(number).unwrap().rows, 1);
    assert!(kept(&place, &keeper).is_empty());
    keeper.end();
}

#[test]
fn an_erasure_that_was_interrupted_is_completed_at_the_next_start() {
    let place = Place::new();
    let keeper = place.start(1e9);
    assert!(put_as(&keeper, id(1), 1, "customer=42", &keyed(None)));
    assert!(put_as(&keeper, id(2), 1, "customer=43", &keyed(None)));
    keeper.flush();
    // Also what is in the ring, or in a segment, when the process ends.
    assert!(put_as(&keeper, id(3), 1, "customer=42", &keyed(None)));
    let catalogue = Catalogue::open(&place.directory.path().join("records/catalogue.sqlite"));
    let catalogue = catalogue.unwrap();
    let begun = erasure("customer=42", None).begun(now_ms()).unwrap();
    let number = catalogue.begin_erasure(&begun).unwrap();
    assert!(keeper.untold_erasures().unwrap().is_empty());
    keeper.end();
    // As it is with a process that has ended: nobody holds its segment.
    while segment::left_in(&place.directory.path().join("records")).unwrap().is_empty() {
        std::thread::yield_now();
    }

    let keeper = place.start(1e9);
    let completed = || !keeper.untold_erasures().unwrap().is_empty();
    while !completed() {
        std::thread::yield_now();
    }
    let untold = keeper.untold_erasures().unwrap();
    assert_eq!((untold[0].id, untold[0].records, untold[0].mark.as_str()), (number, 2, "mark"));
    assert_eq!(kept(&place, &keeper), [row("customer=43", 40)]);
    keeper.told_erasure(number).unwrap();
    assert!(keeper.untold_erasures().unwrap().is_empty());
    keeper.end();
}

#[test]
fn a_file_that_was_replaced_goes_at_the_next_start_and_what_was_sought_is_forgotten() {
    let place = Place::new();
    let keeper = place.start(1e9);
    assert!(put_as(&keeper, id(1), 1, "customer=42", &keyed(None)));
    assert!(put_as(&keeper, id(2), 1, "customer=43", &keyed(None)));
    keeper.flush();
    let old = keeper.files(0, u64::MAX).unwrap().remove(0);
    let content = place.runtime.block_on(keeper.area().get(&old.path)).unwrap();
    let erased = keeper.erase(&erasure("customer=42", None)).unwrap();
    keeper.end();
    // Killed before the old file was removed; and long ago.
    let path = place.directory.path().join("records/catalogue.sqlite");
    place.runtime.block_on(keeper.area().put(&old.path, content)).unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute("INSERT INTO replaced VALUES (?1)", [&old.path]).unwrap();
    let catalogue = Catalogue::open(&path).unwrap();
    let mut long_ago = catalogue.erasures_at(Stage::Swept).unwrap().remove(0);
    assert_eq!(long_ago, erased);
    assert!(!long_ago.sought.keys.is_empty());
    long_ago.until_ms -= crate::erase::SETTLE_MS;
    catalogue.advance(&long_ago, Stage::Swept).unwrap();
    assert_eq!(parquet_files(&place), 2);

    let keeper = place.start(1e9);
    let done = || catalogue.erasures_at(Stage::Done).unwrap();
    while done().is_empty() || parquet_files(&place) > 1 {
        std::thread::yield_now();
    }
    assert_eq!(done()[0].sought, Sought::default());
    assert_eq!(kept(&place, &keeper), [row("customer=43", 40)]);
    keeper.end();
}

#[test]
fn what_is_erased_is_in_no_file() {
    let place = Place::new();
    let keeper = place.start(1e9);
    let canary = "canary-4711-erased";
    for n in 0..50 {
        let key = if n % 2 == 0 { format!("customer={canary}") } else { format!("customer={n}") };
        assert!(put_as(&keeper, id(n), 1, &key, &keyed(None)));
    }
    keeper.flush();
    let erased = keeper.erase(&erasure(&format!("customer={canary}"), None)).unwrap();
    assert_eq!(erased.records, 25);
    keeper.end();
    for path in files(place.directory.path()) {
        let content = std::fs::read(&path).unwrap();
        let found = content.windows(canary.len()).any(|window| window == canary.as_bytes());
        assert!(!found, "{}", path.display());
    }
    assert_eq!(kept(&place, &place.start(1e9)).len(), 25);
}

#[test]
fn a_file_that_cannot_be_read_stops_no_erasure() {
    let place = Place::new();
    let keeper = place.start(1e9);
    assert!(put_as(&keeper, id(1), 1, "customer=42", &keyed(None)));
    keeper.flush();
    let damaged = keeper.files(0, u64::MAX).unwrap().remove(0);
    let put = keeper.area().put(&damaged.path, Bytes::from_static(b"PAR1 or so"));
    place.runtime.block_on(put).unwrap();
    assert!(put_as(&keeper, id(2), 1, "customer=42", &keyed(None)));
    let erased = keeper.erase(&erasure("customer=42", None)).unwrap();
    assert_eq!((erased.records, erased.files, erased.unread), (1, 1, 1));
    keeper.end();
}
