//! Counts the rows of records as they are read.

use std::collections::HashMap;

use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::datatypes::SchemaRef;
use domain::VersionNumber;
use domain::record::{Blame, blame};
use foldhash::fast::RandomState;
use policy::why::{Cell, Key, NONE, Sums};
use records::Truth;

use super::columns::{self, Row, Sample, add, add_loss, add_output};
use super::fixed::Fixed;
use super::names::{Names, size_of, sizes};
use super::{Cells, CellsAsk, FAILED_FROM, output_of};

/// Cells of requests at most: what comes beyond has neither replica, caller nor size.
const CELLS_MAX: usize = 1_000_000;

/// What was counted so far.
pub(crate) struct Counting {
    ask: CellsAsk,
    /// One in how many of those that did not fail is read.
    one_in: u64,
    versions: Names<(VersionNumber, u32)>,
    replicas: Names<String>,
    callers: Names<String>,
    /// Where a cell is in `sums`, which are large: a table of places is quick to look up and to grow.
    places: HashMap<(u32, Key), u32, RandomState>,
    sums: Vec<Sums>,
    output: Option<String>,
    sample: Sample,
    /// By bucket: how long requests waited together, in microseconds.
    waited_us: Vec<f64>,
    records: u64,
}

impl Counting {
    /// Of a table with these columns; one in so many of the rows that did not fail is read.
    pub fn new(ask: CellsAsk, schema: &SchemaRef, one_in: u64) -> Counting {
        let output = output_of(&ask, schema);
        let is_sampled = |name: &String| {
            name.starts_with(records::columns::INPUT) || Some(name) == output.as_ref()
        };
        let fields = schema.fields().iter();
        let sampled = fields
            .filter(|field| is_sampled(field.name()) && columns::is_read(field.data_type()))
            .map(|field| (field.name().clone(), field.data_type().clone()));
        let sample = Sample::of(sampled.collect());
        Counting {
            versions: Names::new(),
            replicas: Names::new(),
            callers: Names::new(),
            places: HashMap::default(),
            sums: vec![],
            output,
            sample,
            waited_us: vec![0.0; ask.buckets],
            records: 0,
            one_in,
            ask,
        }
    }

    /// Takes in rows, in any order.
    pub fn take(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let fixed = Fixed::of(batch)?;
        let losses = self.losses(batch)?;
        let mut chosen = vec![];
        for row in 0..batch.num_rows() {
            let Some((of, draw)) = self.row(&fixed, row, &losses) else { continue };
            if self.sample.keeps(draw) && fixed.counts.value(row) > 0 {
                // A request of many rows counts once.
                let weight = of.weight / fixed.counts.value(row) as f32;
                chosen.push((row, draw, Row { weight, ..of }));
            }
        }
        self.sample.take(batch, &chosen)
    }

    /// How wrong each row was, if that is known.
    fn losses(&self, batch: &RecordBatch) -> Result<Vec<Option<f32>>, String> {
        let mut losses = vec![None; batch.num_rows()];
        let Some(judge) = &self.ask.truth else { return Ok(losses) };
        let comparison = &judge.comparison;
        let column =
            format!("{}{}", records::columns::OUTPUT, records::element_of(&comparison.output).0);
        if batch.column_by_name(&column).is_none() {
            return Ok(losses);
        }
        let truth = Truth {
            truths: &judge.truths,
            model: &self.ask.model,
            output: &comparison.output,
            truth_ms_max: comparison.truth_ms_max,
        };
        let joined = truth.join(batch, &mut |row, joined| {
            let found = joined.truth.as_ref();
            let loss = found.and_then(|found| comparison.loss(&joined.predicted, &found.truth));
            losses[row] = loss.map(|loss| loss as f32);
        });
        joined.map_err(|error| error.to_string())?;
        Ok(losses)
    }

    /// Counts a row, and gives it with its draw; `None` if it is outside, or says nothing of the
    /// model.
    fn row(&mut self, fixed: &Fixed<'_>, row: usize, losses: &[Option<f32>]) -> Option<(Row, u64)> {
        let bucket = self.bucket(fixed.times.value(row))?;
        let code = fixed.code(row);
        let status = fixed.statuses.value(row);
        let blamed = blame(status, code);
        if fixed.copies.value(row) || blamed == Blame::Others {
            return None;
        }
        let us = [fixed.total_us, fixed.queue_us, fixed.worker_us].map(|times| times.value(row));
        // One that failed at once was not fast.
        let is_timed = blamed != Blame::Placement || code == "deadline";
        let stands_for = if status < FAILED_FROM { self.one_in as f64 } else { 1.0 };
        let weight = fixed.weights.value(row) * stands_for;
        let of = Row {
            bucket,
            key: self.key(fixed, row),
            weight: weight as f32,
            is_failed: blamed == Blame::Placement,
            is_overload: matches!(code, "queue_full" | "no_capacity" | "deadline"),
            us: is_timed.then_some(us),
            loss: losses[row],
        };
        let is_first = fixed.rows.value(row) == 0;
        if is_first || of.loss.is_some() {
            let sums = self.sums(of.bucket, of.key);
            if is_first {
                add(sums, &Row { loss: None, ..of });
            }
            if let Some(loss) = of.loss {
                add_loss(sums, f64::from(loss), weight);
            }
        }
        if is_first {
            self.records += 1;
            self.waited_us[bucket as usize] += weight * f64::from(us[1]);
        }
        Some((of, draw(fixed.ids.value(row), fixed.rows.value(row))))
    }

    fn bucket(&self, time_us: i64) -> Option<u32> {
        let since_ms = u64::try_from(time_us / 1_000).ok()?.checked_sub(self.ask.start_ms)?;
        let bucket = since_ms / self.ask.bucket_ms.max(1);
        (bucket < self.ask.buckets as u64).then_some(bucket as u32)
    }

    fn key(&mut self, fixed: &Fixed<'_>, row: usize) -> Key {
        let version = fixed.versions.value(row).parse().unwrap_or(VersionNumber(0));
        let revision = fixed.revisions.value(row);
        let replicas = fixed.replicas;
        let callers = fixed.principals;
        let known = |names: &mut Names<String>, of: &datafusion::arrow::array::StringArray| {
            if of.is_valid(row) { names.number(of.value(row)) } else { NONE }
        };
        Key {
            version: self.versions.number(&(version, revision)),
            replica: known(&mut self.replicas, replicas),
            caller: known(&mut self.callers, callers),
            size: size_of(fixed.counts.value(row)),
            value: NONE,
        }
    }

    fn sums(&mut self, bucket: u32, key: Key) -> &mut Sums {
        let is_full = self.sums.len() >= CELLS_MAX && !self.places.contains_key(&(bucket, key));
        let key = match is_full {
            true => Key { version: key.version, ..Key::default() },
            false => key,
        };
        let next = self.sums.len() as u32;
        let place = *self.places.entry((bucket, key)).or_insert(next);
        if place == next {
            self.sums.push(Sums::default());
        }
        &mut self.sums[place as usize]
    }

    /// What all came to.
    pub fn finish(mut self) -> Cells {
        let sampled = self.sample.share() / self.one_in as f64;
        let bucket_us = self.ask.bucket_ms as f64 * 1_000.0;
        let sample = std::mem::replace(&mut self.sample, Sample::of(vec![]));
        let (rows, binned) = sample.bin();
        let output = binned.iter().find(|binned| !binned.is_input());
        if let Some(output) = output {
            for (at, row) in rows.iter().enumerate() {
                // What has no answer has no output.
                if !row.is_failed
                    && let Some(place) = self.places.get(&(row.bucket, row.key))
                {
                    add_output(&mut self.sums[*place as usize], output.bin(at), row.weight);
                }
            }
        }
        let inputs = binned.iter().filter(|binned| binned.is_input());
        let mut places: Vec<((u32, Key), u32)> = self.places.into_iter().collect();
        places.sort_unstable();
        let mut sums = self.sums;
        let take = |((bucket, key), place): ((u32, Key), u32)| Cell {
            bucket,
            key,
            sums: std::mem::take(&mut sums[place as usize]),
        };
        let cells = places.into_iter().map(take).collect();
        Cells {
            versions: self.versions.into_names(),
            replicas: self.replicas.into_names(),
            callers: self.callers.into_names(),
            sizes: sizes(),
            outputs: output.map(|output| output.bins.clone()).unwrap_or_default(),
            output: self.output,
            cells,
            columns: inputs.map(|input| input.column(&rows, output)).collect(),
            waiting: self.waited_us.iter().map(|us| us / bucket_us).collect(),
            records: self.records,
            sampled,
        }
    }
}

/// By which a row is drawn: the same for the same row, and like chance else.
fn draw(id: &str, row: u32) -> u64 {
    let mix = |hash: u64, word: u64| {
        let mixed = (hash ^ word).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 31)
    };
    let words = id.as_bytes().chunks(8).map(|part| {
        let mut word = [0; 8];
        word[..part.len()].copy_from_slice(part);
        u64::from_le_bytes(word)
    });
    let hash = words.fold(0xcbf2_9ce4_8422_2325, mix);
    mix(mix(hash, u64::from(row)), 0x94d0_49bb_1331_11eb)
}
