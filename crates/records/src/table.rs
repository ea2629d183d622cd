//! Reads a table of training data, Parquet or CSV, some rows at a time: what a version's values are
//! compared with later. However large the file is, the memory is that of some rows.

mod arrow;
mod text;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use domain::Digest;
use domain::digest::Hasher;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use text::Text;

/// Columns of a table that are read at most.
pub const COLUMNS_MAX: usize = 512;
/// Rows that are read at a time.
const ROWS_MAX: usize = 4_096;
/// Of a table that has vectors.
const VECTOR_ROWS_MAX: usize = 128;
/// Bytes that are read at a time where all of a file is.
const BLOCK_BYTES: usize = 1 << 20;

/// Why a table cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file is not there, or not readable.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Not `.parquet` and not `.csv`.
    #[error("is neither Parquet nor CSV: its name must end in .parquet or .csv")]
    Kind,
    /// It is no Parquet.
    #[error("cannot be read as Parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// It is no CSV: lines are counted from 1.
    #[error("cannot be read as CSV: {0}")]
    Csv(#[from] csv::Error),
    /// More columns than [`COLUMNS_MAX`].
    #[error("has {0} columns; at most 512 are compared: leave out what the model does not take")]
    Columns(usize),
    /// A column without a name, or two of one name.
    #[error("has the column `{0}` twice")]
    Twice(String),
    /// It was written while it was read.
    #[error("has changed while it was read: try again when nobody writes it")]
    Changed,
}

/// Values of one column; `None` where there is none.
#[derive(Clone, PartialEq, Debug)]
pub enum Values {
    /// Numbers; `true` and `false` are 1 and 0.
    Numbers(Vec<Option<f64>>),
    /// Texts.
    Texts(Vec<Option<String>>),
    /// Vectors of numbers.
    Vectors(Vec<Option<Vec<f64>>>),
    /// Of a type that is not compared: times, bytes, structures. How many, and of which type.
    Others(usize, String),
}

impl Values {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Values::Numbers(values) => values.len(),
            Values::Texts(values) => values.len(),
            Values::Vectors(values) => values.len(),
            Values::Others(count, _) => *count,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An open table.
pub struct Table {
    names: Vec<String>,
    bytes: u64,
    digest: Digest,
    rows: Rows,
    stamp: Stamp,
}

enum Rows {
    Parquet { reader: ParquetRecordBatchReader, done: u64, rows: u64 },
    Csv(Box<Text>),
}

/// By which a file is known to be unchanged: its length, and when it was written.
type Stamp = (u64, Option<std::time::SystemTime>);

fn stamp(path: &Path) -> std::io::Result<Stamp> {
    let metadata = std::fs::metadata(path)?;
    Ok((metadata.len(), metadata.modified().ok()))
}

impl Table {
    /// Opens a file. It is read once as a whole, for its digest and, in a CSV, for what its columns
    /// are; `told` hears how many bytes of it were read.
    pub fn open(path: &Path, mut told: impl FnMut(u64, u64)) -> Result<Table, TableError> {
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        let stamp = stamp(path)?;
        let mut told = |done: u64| told(done, stamp.0);
        let (digest, rows, names) = match extension.to_str() {
            Some("parquet" | "pq") => {
                let digest = digest(File::open(path)?, &mut told)?;
                let (rows, names) = parquet(path)?;
                (digest, rows, names)
            }
            Some("csv" | "tsv") => {
                let (text, digest) = Text::open(path, &mut told)?;
                let names = text.names().to_vec();
                (digest, Rows::Csv(Box::new(text)), names)
            }
            _ => return Err(TableError::Kind),
        };
        if names.len() > COLUMNS_MAX {
            return Err(TableError::Columns(names.len()));
        }
        let mut sorted: Vec<&String> = names.iter().collect();
        sorted.sort();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(TableError::Twice(pair[0].clone()));
        }
        Ok(Table { names, bytes: stamp.0, digest, rows, stamp })
    }

    /// Its columns, in their order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The size of the file in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Of the whole file.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The next rows: the values of all columns, in their order. `None` at the end.
    pub fn next_rows(&mut self) -> Result<Option<Vec<Values>>, TableError> {
        match &mut self.rows {
            Rows::Csv(text) => text.next_rows(ROWS_MAX),
            Rows::Parquet { reader, done, .. } => {
                let Some(batch) = reader.next() else { return Ok(None) };
                let batch = batch.map_err(parquet::errors::ParquetError::from)?;
                *done += batch.num_rows() as u64;
                Ok(Some(batch.columns().iter().map(arrow::values_of).collect()))
            }
        }
    }

    /// How much was read, and how much there is: rows or bytes.
    pub fn progress(&self) -> (u64, u64) {
        match &self.rows {
            Rows::Csv(text) => (text.position(), self.bytes),
            Rows::Parquet { done, rows, .. } => (*done, *rows),
        }
    }

    /// Whether the file is still the one that was opened.
    pub fn check(&self, path: &Path) -> Result<(), TableError> {
        if stamp(path)? == self.stamp { Ok(()) } else { Err(TableError::Changed) }
    }
}

fn parquet(path: &Path) -> Result<(Rows, Vec<String>), TableError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
    let fields = builder.schema().fields().clone();
    let names: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
    if names.len() > COLUMNS_MAX {
        return Err(TableError::Columns(names.len()));
    }
    let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
    let has_vectors = fields.iter().any(|field| field.data_type().is_nested());
    let count = if has_vectors { VECTOR_ROWS_MAX } else { ROWS_MAX };
    let all = ProjectionMask::all();
    let reader = builder.with_projection(all).with_batch_size(count).build()?;
    Ok((Rows::Parquet { reader, done: 0, rows }, names))
}

fn digest(mut file: File, told: &mut dyn FnMut(u64)) -> std::io::Result<Digest> {
    let (mut hasher, mut block, mut done) = (Hasher::new(), vec![0; BLOCK_BYTES], 0);
    loop {
        let count = file.read(&mut block)?;
        if count == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&block[..count]);
        done += count as u64;
        told(done);
    }
}

#[cfg(test)]
mod tests;
