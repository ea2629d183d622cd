//! Values of columns: a sample of rows, drawn by the id, and from it bins and cells.

use std::collections::{BTreeMap, HashMap};

use datafusion::arrow::array::cast::AsArray;
use datafusion::arrow::array::types::Float64Type;
use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use policy::drift::Reference;
use policy::why::{Cell, Column, Key, NONE, Sums};
use records::columns::{INPUT, OUTPUT};

/// Rows of the sample.
const ROWS_MAX: usize = 100_000;
/// Values of the sample: with many columns it has fewer rows.
const VALUES_MAX: usize = 600_000;
/// Texts that are told apart in a column; further ones are one.
const TEXTS_MAX: usize = 4_096;
/// The number of no text.
const OTHER: u32 = u32::MAX;

/// Whether a column has one value a row that can be binned.
pub fn is_read(datatype: &DataType) -> bool {
    datatype.is_numeric() || matches!(datatype, DataType::Boolean | DataType::Utf8)
}

/// What a row came to.
#[derive(Clone, Copy)]
pub struct Row {
    pub bucket: u32,
    /// Without a value.
    pub key: Key,
    pub weight: f32,
    pub is_failed: bool,
    pub is_overload: bool,
    /// In all, waiting and at the worker; `None` if it does not count.
    pub us: Option<[u32; 3]>,
    /// `None` if its truth is not known.
    pub loss: Option<f32>,
}

enum Values {
    Numbers(Vec<f64>),
    Texts { values: Vec<Option<u32>>, known: Vec<String>, places: HashMap<String, u32> },
}

/// Rows with the values that they have, each kept with the same probability.
pub struct Sample {
    names: Vec<String>,
    columns: Vec<Values>,
    rows: Vec<(u64, Row)>,
    rows_max: usize,
    /// Rows whose draw is below this are kept.
    below: u64,
}

/// Bins of a column, and which of them each row has.
pub struct Binned {
    pub name: String,
    pub bins: Vec<String>,
    of_rows: Vec<u16>,
}

impl Sample {
    /// Of these columns, each `in.NAME` or `out.NAME`.
    pub fn of(columns: Vec<(String, DataType)>) -> Sample {
        let values = |datatype: &DataType| match datatype.is_numeric() {
            true => Values::Numbers(vec![]),
            false => Values::Texts { values: vec![], known: vec![], places: HashMap::new() },
        };
        Sample {
            columns: columns.iter().map(|(_, datatype)| values(datatype)).collect(),
            rows_max: ROWS_MAX.min(VALUES_MAX / columns.len().max(1)),
            names: columns.into_iter().map(|(name, _)| name).collect(),
            rows: vec![],
            below: u64::MAX,
        }
    }

    /// The share of rows that are kept.
    pub fn share(&self) -> f64 {
        self.below as f64 / u64::MAX as f64
    }

    /// Whether a row with this draw is kept.
    pub fn keeps(&self, draw: u64) -> bool {
        draw <= self.below
    }

    /// Takes rows of a batch: where they are, their draws, and what they came to.
    pub fn take(
        &mut self,
        batch: &RecordBatch,
        chosen: &[(usize, u64, Row)],
    ) -> Result<(), String> {
        if chosen.is_empty() {
            return Ok(());
        }
        for (name, values) in self.names.iter().zip(&mut self.columns) {
            let column = batch.column_by_name(name).ok_or_else(|| format!("no column {name}"))?;
            let to = match values {
                Values::Numbers(_) => DataType::Float64,
                Values::Texts { .. } => DataType::Utf8,
            };
            let column = cast(column, &to).map_err(|error| format!("{name}: {error}"))?;
            match values {
                Values::Numbers(values) => {
                    let column = column.as_primitive::<Float64Type>();
                    values.extend(chosen.iter().map(|(row, ..)| {
                        if column.is_valid(*row) { column.value(*row) } else { f64::NAN }
                    }));
                }
                Values::Texts { values, known, places } => {
                    let column = column.as_string::<i32>();
                    values.extend(chosen.iter().map(|(row, ..)| {
                        column.is_valid(*row).then(|| number(known, places, column.value(*row)))
                    }));
                }
            }
        }
        self.rows.extend(chosen.iter().map(|(_, draw, row)| (*draw, *row)));
        while self.rows.len() > self.rows_max {
            self.below /= 2;
            self.thin();
        }
        Ok(())
    }

    fn thin(&mut self) {
        let below = self.below;
        let kept: Vec<bool> = self.rows.iter().map(|(draw, _)| *draw <= below).collect();
        fn only<T>(values: &mut Vec<T>, kept: &[bool]) {
            let mut kept = kept.iter();
            values.retain(|_| kept.next() == Some(&true));
        }
        only(&mut self.rows, &kept);
        for values in &mut self.columns {
            match values {
                Values::Numbers(values) => only(values, &kept),
                Values::Texts { values, .. } => only(values, &kept),
            }
        }
    }

    /// The rows, and all columns in bins.
    pub fn bin(self) -> (Vec<Row>, Vec<Binned>) {
        let share = self.share() as f32;
        let mut rows: Vec<Row> = self.rows.into_iter().map(|(_, row)| row).collect();
        // Each stands for those that were not drawn as well.
        rows.iter_mut().for_each(|row| row.weight /= share.max(f32::MIN_POSITIVE));
        let columns = self.names.into_iter().zip(self.columns);
        (rows, columns.map(|(name, values)| binned(name, &values)).collect())
    }
}

fn number(known: &mut Vec<String>, places: &mut HashMap<String, u32>, text: &str) -> u32 {
    match places.get(text) {
        Some(place) => *place,
        None if known.len() < TEXTS_MAX => {
            let place = known.len() as u32;
            known.push(text.into());
            places.insert(text.into(), place);
            place
        }
        None => OTHER,
    }
}

fn binned(name: String, values: &Values) -> Binned {
    let (reference, of_rows): (Option<Reference>, Vec<Option<usize>>) = match values {
        Values::Numbers(values) => {
            let reference = Reference::of_numbers(values, 0);
            let bin = |value: &f64| value.is_finite().then_some(*value).zip(reference.as_ref());
            let bins = values.iter().map(|value| bin(value).map(|(value, of)| of.bin_of(value)));
            (reference.clone(), bins.collect())
        }
        Values::Texts { values, known, .. } => {
            let mut counts = vec![0u64; known.len()];
            let places = values.iter().flatten().filter(|place| **place != OTHER);
            places.for_each(|place| counts[*place as usize] += 1);
            let counted = known.iter().map(String::as_str).zip(counts);
            let reference = Reference::of_categories(counted, 0);
            let of_known: Vec<Option<usize>> = known
                .iter()
                .map(|text| reference.as_ref().and_then(|of| of.bin_of_category(text)))
                .collect();
            let rest = reference.as_ref().map(|of| of.shares.len() - 1);
            let bin = |place: &u32| of_known.get(*place as usize).copied().unwrap_or(rest);
            (reference.clone(), values.iter().map(|place| place.as_ref().and_then(bin)).collect())
        }
    };
    let count = reference.as_ref().map_or(0, |reference| reference.shares.len());
    let mut bins: Vec<String> = reference
        .iter()
        .flat_map(|reference| (0..count).map(|bin| reference.value_name(bin)))
        .collect();
    bins.push("missing".into());
    let of_rows = of_rows.into_iter().map(|bin| bin.unwrap_or(count) as u16).collect();
    Binned { name, bins, of_rows }
}

impl Binned {
    /// Whether it is an input.
    pub fn is_input(&self) -> bool {
        self.name.starts_with(INPUT)
    }

    /// Its name as the schema has it.
    pub fn plain_name(&self) -> String {
        let name = self.name.strip_prefix(INPUT).or_else(|| self.name.strip_prefix(OUTPUT));
        name.unwrap_or(&self.name).into()
    }

    /// The bin of a row.
    pub fn bin(&self, row: usize) -> u16 {
        self.of_rows.get(row).copied().unwrap_or(NONE)
    }

    /// The rows by its values; `output` says in which bin of the output a row is.
    pub fn column(&self, rows: &[Row], output: Option<&Binned>) -> Column {
        let mut cells: BTreeMap<(u32, Key), Sums> = BTreeMap::new();
        for (at, row) in rows.iter().enumerate() {
            let key = Key { replica: NONE, size: NONE, value: self.bin(at), ..row.key };
            let sums = cells.entry((row.bucket, key)).or_default();
            add(sums, row);
            if let Some(output) = output.filter(|_| !row.is_failed) {
                add_output(sums, output.bin(at), row.weight);
            }
        }
        let cells = cells.into_iter();
        Column {
            name: self.plain_name(),
            values: self.bins.clone(),
            cells: cells.map(|((bucket, key), sums)| Cell { bucket, key, sums }).collect(),
        }
    }
}

/// Adds a row to a cell.
pub fn add(sums: &mut Sums, row: &Row) {
    let weight = f64::from(row.weight);
    sums.requests += weight;
    sums.squares += weight * weight;
    sums.errors += if row.is_failed { weight } else { 0.0 };
    sums.overload += if row.is_overload { weight } else { 0.0 };
    if let Some([total, queue, worker]) = row.us {
        sums.total.add_us(u64::from(total), weight);
        sums.queue.add_us(u64::from(queue), weight);
        sums.worker.add_us(u64::from(worker), weight);
    }
    if let Some(loss) = row.loss {
        add_loss(sums, f64::from(loss), weight);
    }
}

/// Adds a truth to a cell.
pub fn add_loss(sums: &mut Sums, loss: f64, weight: f64) {
    sums.truths += weight;
    sums.truth_squares += weight * weight;
    sums.loss += weight * loss;
}

/// Adds an output to a cell.
pub fn add_output(sums: &mut Sums, bin: u16, weight: f32) {
    match sums.outputs.iter_mut().find(|(known, _)| *known == bin) {
        Some((_, sum)) => *sum += weight,
        None => sums.outputs.push((bin, weight)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, Int32Array, StringArray};
    use datafusion::arrow::datatypes::{Field, Schema};

    use super::*;

    fn batch(ages: Vec<Option<i32>>, cities: Vec<Option<&str>>) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("in.age", DataType::Int32, true),
            Field::new("in.city", DataType::Utf8, true),
        ]);
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int32Array::from(ages)), Arc::new(StringArray::from(cities))];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }

    fn sample() -> Sample {
        Sample::of(vec![("in.age".into(), DataType::Int32), ("in.city".into(), DataType::Utf8)])
    }

    fn row(bucket: u32, weight: f32) -> Row {
        let key = Key { version: 0, ..Key::default() };
        Row { bucket, key, weight, is_failed: false, is_overload: false, us: None, loss: None }
    }

    #[test]
    fn values_have_bins_and_what_is_missing_has_one() {
        let mut sample = sample();
        let batch = batch(vec![Some(1), None, Some(9)], vec![Some("Delft"), Some("Gent"), None]);
        let chosen: Vec<_> = (0..3).map(|at| (at, at as u64, row(at as u32, 2.0))).collect();
        sample.take(&batch, &chosen).unwrap();
        let (rows, columns) = sample.bin();
        let city = columns[1].column(&rows, Some(&columns[0]));
        assert_eq!((city.name.as_str(), city.cells.len()), ("city", 3));
        let name = |at: usize| city.values[usize::from(city.cells[at].key.value)].as_str();
        assert_eq!([name(0), name(1), name(2)], ["Delft", "Gent", "missing"]);
        let missing = columns[0].bins.len() as u16 - 1;
        assert_eq!(city.cells[1].sums.outputs, [(missing, 2.0)]);
        assert_eq!((city.cells[0].sums.requests, city.cells[0].sums.squares), (2.0, 4.0));
    }

    #[test]
    fn a_sample_stands_for_all() {
        let mut sample = sample();
        let count = 1_000;
        let one = batch(vec![Some(1); count], vec![Some("Gent"); count]);
        let mut state = 7_u64;
        for _ in 0..400 {
            let mut draw = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state ^ (state >> 29)
            };
            let chosen: Vec<_> = (0..count)
                .map(|at| (at, draw(), row(0, 1.0)))
                .filter(|(_, draw, _)| sample.keeps(*draw))
                .collect();
            sample.take(&one, &chosen).unwrap();
        }
        assert!(sample.rows.len() <= ROWS_MAX && sample.share() < 0.5);
        let (rows, columns) = sample.bin();
        let all: f64 = columns[1].column(&rows, None).cells.iter().map(|c| c.sums.requests).sum();
        assert!((all / 400_000.0 - 1.0).abs() < 0.03, "{all}");
    }
}
