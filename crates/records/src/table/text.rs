//! CSV: which columns are numbers is found out in a first reading, which also makes the digest.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use csv::{ByteRecord, Reader, ReaderBuilder};
use domain::Digest;
use domain::digest::Hasher;

use super::{BLOCK_BYTES, COLUMNS_MAX, TableError, Values};

/// What stands for a missing value, as pandas reads it.
const MISSING: [&[u8]; 9] =
    [b"", b"NA", b"N/A", b"NaN", b"nan", b"null", b"NULL", b"None", b"<NA>"];
/// A line that is longer is no header, in bytes.
const HEADER_BYTES_MAX: u64 = 1 << 20;

/// What a column holds as far as was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Unknown,
    Number,
    Bool,
    Text,
}

/// An open CSV file.
pub(super) struct Text {
    names: Vec<String>,
    kinds: Vec<Kind>,
    reader: Reader<BufReader<File>>,
    record: ByteRecord,
}

/// Hashes what is read through it.
struct Hashed<'t, R> {
    inner: R,
    hasher: Hasher,
    done: u64,
    told: &'t mut dyn FnMut(u64),
}

impl<R: Read> Read for Hashed<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(out)?;
        self.hasher.update(&out[..count]);
        self.done += count as u64;
        (self.told)(self.done);
        Ok(count)
    }
}

impl Text {
    pub fn open(path: &Path, told: &mut dyn FnMut(u64)) -> Result<(Text, Digest), TableError> {
        let delimiter = delimiter(path)?;
        let hashed = Hashed { inner: File::open(path)?, hasher: Hasher::new(), done: 0, told };
        let mut reader = builder(delimiter).buffer_capacity(BLOCK_BYTES).from_reader(hashed);
        let names: Vec<String> = reader
            .byte_headers()?
            .iter()
            .map(|name| String::from_utf8_lossy(name).trim_start_matches('\u{feff}').to_string())
            .collect();
        if names.len() > COLUMNS_MAX {
            return Err(TableError::Columns(names.len()));
        }
        let (mut kinds, mut record) = (vec![Kind::Unknown; names.len()], ByteRecord::new());
        while reader.read_byte_record(&mut record)? {
            for (kind, field) in kinds.iter_mut().zip(&record) {
                *kind = with(*kind, field);
            }
        }
        let mut hashed = reader.into_inner();
        // To the very end, whatever the parser made of it.
        std::io::copy(&mut hashed, &mut std::io::sink())?;
        let digest = hashed.hasher.finish();
        let file = BufReader::with_capacity(BLOCK_BYTES, File::open(path)?);
        let mut reader = builder(delimiter).from_reader(file);
        reader.byte_headers()?;
        Ok((Text { names, kinds, reader, record }, digest))
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Bytes that were read.
    pub fn position(&self) -> u64 {
        self.reader.position().byte()
    }

    pub fn next_rows(&mut self, rows_max: usize) -> Result<Option<Vec<Values>>, TableError> {
        let mut columns: Vec<Values> = self
            .kinds
            .iter()
            .map(|kind| match kind {
                Kind::Text => Values::Texts(vec![]),
                Kind::Unknown | Kind::Number | Kind::Bool => Values::Numbers(vec![]),
            })
            .collect();
        let mut rows = 0;
        while rows < rows_max && self.reader.read_byte_record(&mut self.record)? {
            rows += 1;
            for (column, field) in columns.iter_mut().zip(&self.record) {
                let is_missing = is_missing(field);
                match column {
                    Values::Numbers(values) => values.push(match bool_of(field) {
                        Some(is) => Some(f64::from(u8::from(is))),
                        None => number(field),
                    }),
                    Values::Texts(values) => values
                        .push((!is_missing).then(|| String::from_utf8_lossy(field).into_owned())),
                    Values::Vectors(_) | Values::Others(..) => {}
                }
            }
        }
        Ok((rows > 0).then_some(columns))
    }
}

fn builder(delimiter: u8) -> ReaderBuilder {
    let mut builder = ReaderBuilder::new();
    builder.delimiter(delimiter);
    builder
}

/// The most frequent of `,`, `;` and tab in the first line.
fn delimiter(path: &Path) -> Result<u8, TableError> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(0))?;
    let mut line = vec![];
    BufReader::new(file.take(HEADER_BYTES_MAX)).read_until(b'\n', &mut line)?;
    let count = |wanted: u8| line.iter().filter(|byte| **byte == wanted).count();
    Ok([b'\t', b';', b','].into_iter().max_by_key(|wanted| count(*wanted)).unwrap_or(b','))
}

fn is_missing(field: &[u8]) -> bool {
    MISSING.contains(&field.trim_ascii())
}

fn number(field: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(field.trim_ascii()).ok()?;
    text.parse().ok().filter(|_| !is_missing(field))
}

fn bool_of(field: &[u8]) -> Option<bool> {
    match field.trim_ascii() {
        b"true" | b"True" | b"TRUE" => Some(true),
        b"false" | b"False" | b"FALSE" => Some(false),
        _ => None,
    }
}

/// What a column is that has this too.
fn with(kind: Kind, field: &[u8]) -> Kind {
    if kind == Kind::Text || is_missing(field) {
        return kind;
    }
    let found = match (bool_of(field), number(field)) {
        (Some(_), _) => Kind::Bool,
        (None, Some(_)) => Kind::Number,
        (None, None) => Kind::Text,
    };
    if kind == Kind::Unknown || kind == found { found } else { Kind::Text }
}
