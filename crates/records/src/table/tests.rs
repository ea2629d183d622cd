//! Tables as people have them, and files that are none.

use std::sync::Arc;

use arrow_array::types::{Float64Type, Int32Type};
use arrow_array::*;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::*;

fn all(path: &Path) -> Result<Vec<(String, Values)>, TableError> {
    let mut table = Table::open(path, |_, _| {})?;
    let names = table.names().to_vec();
    let mut columns: Vec<(String, Vec<Values>)> =
        names.into_iter().map(|name| (name, vec![])).collect();
    while let Some(rows) = table.next_rows()? {
        assert_eq!(rows.len(), columns.len());
        columns.iter_mut().zip(rows).for_each(|(column, values)| column.1.push(values));
    }
    let (done, rows) = table.progress();
    assert_eq!(done, rows, "all was read");
    table.check(path)?;
    let joined = columns.into_iter().map(|(name, parts)| (name, joined(parts)));
    Ok(joined.collect())
}

fn joined(parts: Vec<Values>) -> Values {
    let both = |left, right| match (left, right) {
        (Values::Numbers(a), Values::Numbers(b)) => Values::Numbers([a, b].concat()),
        (Values::Texts(a), Values::Texts(b)) => Values::Texts([a, b].concat()),
        (Values::Vectors(a), Values::Vectors(b)) => Values::Vectors([a, b].concat()),
        (Values::Others(a, kind), Values::Others(b, _)) => Values::Others(a + b, kind),
        _ => panic!("a column changes its type"),
    };
    parts.into_iter().reduce(both).unwrap()
}

fn csv(text: &str) -> Result<Vec<(String, Values)>, TableError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("train.csv");
    std::fs::write(&path, text).unwrap();
    all(&path)
}

fn numbers(values: &[f64]) -> Values {
    Values::Numbers(values.iter().map(|value| (!value.is_nan()).then_some(*value)).collect())
}

fn texts(values: &[&str]) -> Values {
    Values::Texts(
        values.iter().map(|value| (!value.is_empty()).then(|| value.to_string())).collect(),
    )
}

#[test]
fn a_csv_has_the_types_that_all_its_values_have() {
    let found = csv("\u{feff}age,city,flag,late,zip\n\
         41,Utrecht,True,1.5e3,01234\n\
         NA,\"Den Haag, NL\",False,-2,\n\
         7,,true,NaN,x9\n")
    .unwrap();
    let none = f64::NAN;
    let wanted = [
        ("age", numbers(&[41.0, none, 7.0])),
        ("city", texts(&["Utrecht", "Den Haag, NL", ""])),
        ("flag", numbers(&[1.0, 0.0, 1.0])),
        ("late", numbers(&[1_500.0, -2.0, none])),
        ("zip", texts(&["01234", "", "x9"])),
    ];
    for ((name, values), (wanted_name, wanted)) in found.iter().zip(&wanted) {
        assert_eq!((name.as_str(), values), (*wanted_name, wanted));
    }
    // Semicolons and tabs; what is a text in the last row only is a text in all.
    assert_eq!(csv("a;b\n1;2\nx;4\n").unwrap()[0].1, texts(&["1", "x"]));
    assert_eq!(csv("a\tb\n1\t2,5\n").unwrap()[1].1, texts(&["2,5"]));
    let many = 3 * ROWS_MAX + 1;
    let text: String = (0..many).map(|row| format!("{row}\n")).collect();
    assert_eq!(csv(&format!("n\n{text}")).unwrap()[0].1.len(), many);
}

#[test]
fn what_is_no_table_is_refused_with_its_place() {
    let error = |text: &str| csv(text).unwrap_err().to_string();
    assert!(error("a,b\n1,2\n1,2,3\n").contains("line: 3"), "{}", error("a,b\n1,2\n1,2,3\n"));
    assert!(error("a,b,a\n1,2,3\n").contains("`a` twice"));
    let wide: Vec<String> = (0..600).map(|column| format!("c{column}")).collect();
    assert!(error(&wide.join(",")).contains("600 columns"));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("train.parquet");
    for bytes in [&b""[..], b"PAR1", b"PAR1 but no more PAR1", &[0xff; 4_096]] {
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(all(&path), Err(TableError::Parquet(_))));
    }
    std::fs::write(directory.path().join("train.xlsx"), "x").unwrap();
    assert!(matches!(all(&directory.path().join("train.xlsx")), Err(TableError::Kind)));
    assert!(matches!(all(&directory.path().join("none.csv")), Err(TableError::Io(_))));
    // Whoever writes while it is read is noticed.
    let path = directory.path().join("train.csv");
    std::fs::write(&path, "a\n1\n").unwrap();
    let table = Table::open(&path, |_, _| {}).unwrap();
    assert_eq!(table.digest(), Digest::of(b"a\n1\n"));
    std::fs::write(&path, "a\n1\n2\n").unwrap();
    assert!(matches!(table.check(&path), Err(TableError::Changed)));
}

#[test]
fn parquet_of_any_compression_gives_the_values_of_all_types() {
    let days: ArrayRef = Arc::new(Date32Array::from(vec![1, 2, 3]));
    let city: DictionaryArray<Int32Type> =
        vec![Some("Utrecht"), None, Some("Delft")].into_iter().collect();
    let vectors = ListArray::from_iter_primitive::<Float64Type, _, _>([
        Some(vec![Some(1.0), Some(2.0)]),
        None,
        Some(vec![]),
    ]);
    let price = Decimal128Array::from(vec![Some(12_345), None, Some(-10)])
        .with_precision_and_scale(9, 2)
        .unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("age", Arc::new(Int64Array::from(vec![Some(41), None, Some(7)]))),
        ("small", Arc::new(UInt8Array::from(vec![1, 2, 255]))),
        ("x", Arc::new(Float32Array::from(vec![0.5, f32::NAN, f32::INFINITY]))),
        ("flag", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("name", Arc::new(StringArray::from(vec![Some("a"), None, Some("")]))),
        ("city", Arc::new(city)),
        ("price", Arc::new(price)),
        ("v", Arc::new(vectors)),
        ("day", days),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, true)),
    )
    .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("train.parquet");
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(Default::default()),
        Compression::ZSTD(Default::default()),
        Compression::LZ4_RAW,
        Compression::BROTLI(Default::default()),
    ] {
        let properties = WriterProperties::builder().set_compression(compression).build();
        let file = File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let found = all(&path).unwrap();
        let of = |name: &str| found.iter().find(|column| column.0 == name).unwrap().1.clone();
        let none = f64::NAN;
        assert_eq!(of("age"), numbers(&[41.0, none, 7.0]));
        assert_eq!(of("small"), numbers(&[1.0, 2.0, 255.0]));
        assert!(matches!(of("x"), Values::Numbers(values) if values[0] == Some(0.5)
            && values[1].unwrap().is_nan() && values[2] == Some(f64::INFINITY)));
        assert_eq!(of("flag"), numbers(&[1.0, 0.0, none]));
        let empty = Some(String::new());
        assert_eq!(of("name"), Values::Texts(vec![Some("a".into()), None, empty]));
        assert_eq!(of("city"), texts(&["Utrecht", "", "Delft"]));
        assert_eq!(of("price"), numbers(&[123.45, none, -0.1]));
        let vectors = vec![Some(vec![1.0, 2.0]), None, Some(vec![])];
        assert_eq!(of("v"), Values::Vectors(vectors));
        assert_eq!(of("day"), Values::Others(3, "Date32".into()));
    }
}

#[test]
fn memory_does_not_grow_with_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("train.csv");
    let mut peaks = vec![];
    for rows in [20_000, 200_000] {
        let text: String = (0..rows).map(|row| format!("{row},city-{}\n", row % 9)).collect();
        std::fs::write(&path, format!("n,city\n{text}")).unwrap();
        drop(text);
        let (count, peak) = testing::measured(|| {
            let mut table = Table::open(&path, |_, _| {}).unwrap();
            let mut count = 0;
            while let Some(values) = table.next_rows().unwrap() {
                count += values[0].len();
            }
            count
        });
        assert_eq!(count, rows);
        peaks.push(peak);
    }
    println!("{peaks:?} bytes");
    assert!(peaks[1] < peaks[0] + (256 << 10), "{peaks:?}");
}
