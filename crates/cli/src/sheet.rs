//! A CSV file as people have it: with a byte order mark, in UTF-16, with semicolons or tabs, with
//! columns that the model does not know and cells that say `NA`. What it says is held against the
//! model's columns here, so that what does not fit is named by its line. Pure.

use std::borrow::Cow;

use domain::{Code, Column, Problem, Schema};
use protocol::typed::{is_number, value};
use serde_json::{Map, Value};

/// What may stand between cells, the most usual first.
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Lines that are named when several do not fit.
const TOLD_MAX: usize = 20;
/// Names that are listed.
const NAMES_MAX: usize = 8;

/// The cells of a file, as text.
#[derive(Debug, PartialEq)]
pub struct Sheet {
    /// The names of its columns.
    pub header: Vec<String>,
    /// What follows.
    pub lines: Vec<Line>,
}

/// A row of cells.
#[derive(Debug, PartialEq)]
pub struct Line {
    /// Where it begins in the file, from 1.
    pub number: u64,
    /// As many as the header has.
    pub cells: Vec<String>,
}

fn refused(text: String) -> Problem {
    Problem::new(Code::SchemaMismatch, text)
}

/// The text of a file, whichever way it is encoded.
fn text<'a>(bytes: &'a [u8], file: &str) -> Result<Cow<'a, str>, Problem> {
    let utf16 = |rest: &[u8], unit: fn([u8; 2]) -> u16| -> Result<Cow<'a, str>, Problem> {
        let units = rest.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        let text: Result<String, _> = char::decode_utf16(units).collect();
        text.map(Cow::Owned)
            .map_err(|_| refused(format!("{file} says that it is UTF-16, and is not")))
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => return utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => return utf16(rest, u16::from_be_bytes),
        _ => {}
    }
    let bare = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bare).map(Cow::Borrowed).map_err(|error| {
        let before = &bare[..error.valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        refused(format!("{file} is not UTF-8: line {line} has a byte that cannot be")).help(
            "save it as UTF-8, or convert it: iconv -f WINDOWS-1252 -t UTF-8 OLD.csv > NEW.csv",
        )
    })
}

fn reader(text: &str, separator: u8) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(separator)
        .from_reader(text.as_bytes())
}

/// What a file's cells are separated by: whatever gives the most names that the model knows, else
/// the most names.
fn separator(text: &str, schema: &Schema) -> u8 {
    let names = |separator: u8| {
        let header = reader(text, separator).into_records().next();
        let header = header.and_then(Result::ok).unwrap_or_default();
        let is_known = |name: &&str| schema.inputs.iter().any(|own| own.name == name.trim());
        (header.iter().filter(is_known).count(), header.len())
    };
    // The last of equals is taken.
    SEPARATORS.into_iter().rev().max_by_key(|one| names(*one)).unwrap_or(b',')
}

/// Reads a file; rows that are too short or too long are refused.
pub fn read(bytes: &[u8], file: &str, schema: &Schema) -> Result<Sheet, Problem> {
    let text = text(bytes, file)?;
    // Spreadsheets write and read such a first line.
    let named =
        text.get(..6).filter(|head| head.starts_with("sep=")).map(|head| head.as_bytes()[4]);
    let (text, skipped) = match (named, text.split_once('\n')) {
        (Some(_), Some((_, rest))) => (rest, 1),
        _ => (&*text, 0),
    };
    let separator = named.unwrap_or_else(|| separator(text, schema));
    let mut records = reader(text, separator).into_records();
    let unreadable = |error: csv::Error| refused(format!("{file} cannot be read as CSV: {error}"));
    let header = records.next().transpose().map_err(unreadable)?.ok_or_else(|| {
        Problem::new(Code::NoInput, format!("{file} is empty"))
            .help("its first line names the columns")
    })?;
    let header: Vec<String> = header.iter().map(|name| name.trim().to_string()).collect();
    check_header(&header, file)?;
    let (mut lines, mut wrong) = (vec![], vec![]);
    for record in records {
        let record = record.map_err(unreadable)?;
        let number = record.position().map_or(0, |begin| line_of(text, begin)) + skipped;
        // A spreadsheet's empty rows.
        if record.len() > 1 && record.iter().all(str::is_empty) {
            continue;
        }
        if record.len() != header.len() {
            let (cells, names) = (counted(record.len(), "cell"), counted(header.len(), "column"));
            wrong.push(format!("line {number} has {cells}, and the first line names {names}"));
            continue;
        }
        lines.push(Line { number, cells: record.iter().map(String::from).collect() });
    }
    if wrong.is_empty() {
        return Ok(Sheet { header, lines });
    }
    let text =
        format!("{} of {file} {} too short or too long", rows(wrong.len()), are(wrong.len()));
    Err(refused(text)
        .details(told(wrong))
        .help("a cell that has the separator in it must stand in quotes: \"Delft, South\""))
}

/// The line of a record that begins here, or after the empty lines that are here.
fn line_of(text: &str, begin: &csv::Position) -> u64 {
    let rest = text.as_bytes().get(begin.byte() as usize..).unwrap_or_default();
    let ends = rest.iter().take_while(|byte| matches!(byte, b'\n' | b'\r'));
    begin.line() + ends.filter(|byte| **byte == b'\n').count() as u64
}

/// A number of things, as people write it.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn rows(count: usize) -> String {
    counted(count, "row")
}

fn are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

/// The first of many.
fn told(mut all: Vec<String>) -> Vec<String> {
    let more = all.len().saturating_sub(TOLD_MAX);
    if more > 0 {
        all.truncate(TOLD_MAX);
        all.push(format!("… and {more} more"));
    }
    all
}

fn check_header(header: &[String], file: &str) -> Result<(), Problem> {
    for (at, name) in header.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        if let Some(before) = header[..at].iter().position(|other| other == name) {
            let text = format!(
                "{file} has the column `{name}` twice: as its {} and its {}",
                before + 1,
                at + 1
            );
            return Err(refused(text).help("rename or remove one of them"));
        }
    }
    Ok(())
}

/// How a file's columns are those of a model.
#[derive(Debug, PartialEq)]
pub struct Mapping {
    /// By column of the file: which input it is.
    inputs: Vec<Option<usize>>,
    /// Whether all of them together are the one input, as a vector.
    is_vector: bool,
    /// What was taken otherwise than it is written, for people.
    pub notes: Vec<String>,
}

/// Finds the model's columns in a file's.
pub fn mapping(
    sheet: &Sheet,
    file: &str,
    schema: &Schema,
    model: &str,
) -> Result<Mapping, Problem> {
    let at = |name: &String| schema.inputs.iter().position(|column| column.name == *name);
    let inputs: Vec<Option<usize>> = sheet.header.iter().map(at).collect();
    let width = i64::try_from(sheet.header.len()).unwrap_or(i64::MAX);
    if let [column] = &schema.inputs[..]
        && inputs.iter().all(Option::is_none)
        && let Some([size]) = column.shape.as_deref()
        && (*size == width || *size == -1 && width > 1)
        && is_number(column.datatype)
    {
        let note = format!(
            "the {} of {file} are taken as `{}`, in their order",
            counted(sheet.header.len(), "column"),
            column.name
        );
        return Ok(Mapping { inputs, is_vector: true, notes: vec![note] });
    }
    let is_missing =
        |(at, column): &(usize, &Column)| !column.is_optional() && !inputs.contains(&Some(*at));
    let missing: Vec<&str> = schema
        .inputs
        .iter()
        .enumerate()
        .filter(is_missing)
        .map(|(_, column)| column.name.as_str())
        .collect();
    if !missing.is_empty() {
        let text = format!("{file} has no column {}, which {model} needs", listed(&missing));
        let known = listed(&sheet.header.iter().map(String::as_str).collect::<Vec<_>>());
        return Err(refused(text).help(format!("it has {known}; decalog show {model} --schema")));
    }
    let unknown: Vec<&str> = sheet
        .header
        .iter()
        .zip(&inputs)
        .filter(|(name, input)| input.is_none() && !name.is_empty())
        .map(|(name, _)| name.as_str())
        .collect();
    let notes = match unknown.len() {
        0 => vec![],
        1 => vec![format!("{} is no column of {model}, which does not get it", listed(&unknown))],
        _ => {
            vec![format!("{} are no columns of {model}, which does not get them", listed(&unknown))]
        }
    };
    Ok(Mapping { inputs, is_vector: false, notes })
}

/// Names as people read them, not more than a line of them.
fn listed(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(NAMES_MAX).map(|name| format!("`{name}`")).collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

impl Mapping {
    /// The rows of a file as the model takes them; what does not fit is named by its line.
    pub fn rows(
        &self,
        sheet: &Sheet,
        file: &str,
        schema: &Schema,
        model: &str,
    ) -> Result<Vec<Value>, Problem> {
        let (mut rows, mut wrong) = (Vec::with_capacity(sheet.lines.len()), vec![]);
        for line in &sheet.lines {
            let row = if self.is_vector {
                vector(&line.cells, &schema.inputs[0])
            } else {
                self.row(line, schema)
            };
            match row {
                Ok(row) => rows.push(Value::Object(row)),
                Err(why) => wrong.push(format!("line {}: {why}", line.number)),
            }
        }
        if wrong.is_empty() {
            return Ok(rows);
        }
        let do_not = if wrong.len() == 1 { "does not" } else { "do not" };
        let text = format!("{} of {file} {do_not} fit {model}", self::rows(wrong.len()));
        Err(refused(text).details(told(wrong)).help(format!("decalog show {model} --schema")))
    }

    fn row(&self, line: &Line, schema: &Schema) -> Result<Map<String, Value>, String> {
        let mut row = Map::new();
        for (cell, input) in line.cells.iter().zip(&self.inputs) {
            let Some(column) = input.and_then(|at| schema.inputs.get(at)) else { continue };
            let value = value(column, cell).map_err(|why| format!("{}  {why}", column.name))?;
            if let Some(value) = value {
                row.insert(column.name.clone(), value);
            }
        }
        Ok(row)
    }
}

/// All cells of a line as one column.
fn vector(cells: &[String], column: &Column) -> Result<Map<String, Value>, String> {
    let element = Column { shape: Some(vec![]), ..column.clone() };
    let elements = cells.iter().enumerate().map(|(at, cell)| {
        let value = value(&element, cell).map_err(|why| format!("cell {}  {why}", at + 1))?;
        Ok(value.unwrap_or(Value::Null))
    });
    let elements: Result<Vec<Value>, String> = elements.collect();
    Ok(Map::from_iter([(column.name.clone(), Value::Array(elements?))]))
}

#[cfg(test)]
mod tests;
