//! Reads feedback as JSON, JSON lines, CSV or Parquet, line by line: what is held in memory does not
//! depend on how long a file is.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};

use domain::outcome::{Outcome, OutcomeError};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::fields::{Cell, Fields, LIST_MAX, Line, Naming, Role, Take, can_tell, cut};
use super::table;

/// The longest line of JSON lines, in bytes.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// How feedback is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// An object, several, or a list of them.
    Json,
    /// An object on each line.
    JsonLines,
    /// With a line of column names.
    Csv,
    /// Of any schema that has the columns.
    Parquet,
}

impl Form {
    /// By a `Content-Type`; JSON where nothing is said.
    pub fn of_content_type(text: &str) -> Option<Form> {
        let kind = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        Some(match kind.as_str() {
            "" | "application/json" | "application/x-www-form-urlencoded" => Form::Json,
            "application/x-ndjson" | "application/jsonl" | "application/json-lines" => {
                Form::JsonLines
            }
            "text/csv" | "application/csv" => Form::Csv,
            "application/vnd.apache.parquet" | "application/parquet" | "application/x-parquet" => {
                Form::Parquet
            }
            _ => return None,
        })
    }

    /// By the name of a file.
    pub fn of_name(name: &str) -> Option<Form> {
        let (_, ending) = name.rsplit_once('.')?;
        Some(match ending.to_ascii_lowercase().as_str() {
            "json" => Form::Json,
            "jsonl" | "ndjson" => Form::JsonLines,
            "csv" => Form::Csv,
            "parquet" | "pq" => Form::Parquet,
            _ => return None,
        })
    }

    /// As an HTTP header names it.
    pub fn content_type(self) -> &'static str {
        match self {
            Form::Json => "application/json",
            Form::JsonLines => "application/x-ndjson",
            Form::Csv => "text/csv",
            Form::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// Reads a file from its beginning. What cannot be read is a refused line.
pub fn read(form: Form, mut file: File, naming: &Naming, take: &mut Take<'_>) {
    if let Err(error) = file.rewind() {
        take(1, Line::Refused(error.to_string()));
        return;
    }
    match form {
        Form::Json => json(BufReader::new(file), naming, take),
        Form::JsonLines => json_lines(BufReader::new(file), naming, take),
        Form::Csv => csv(file, naming, take),
        Form::Parquet => table::read(file, naming, take),
    }
}

fn json(mut input: impl BufRead, naming: &Naming, take: &mut Take<'_>) {
    let first = loop {
        match input.fill_buf().map(|bytes| bytes.first().copied()) {
            Ok(Some(b' ' | b'\t' | b'\r' | b'\n')) => input.consume(1),
            Ok(Some(byte)) => break byte,
            Ok(None) => return,
            Err(error) => return cut(1, error, take),
        }
    };
    let mut count = 0;
    let mut goes_on = true;
    let mut counted = |line: Line| {
        count += 1;
        goes_on = take(count, line);
        goes_on
    };
    let mut reader = serde_json::Deserializer::from_reader(input);
    let failed = match first {
        b'[' => {
            let list = List { naming, take: &mut counted };
            reader.deserialize_seq(list).and_then(|()| reader.end()).err()
        }
        _ => loop {
            match reader.end() {
                Ok(()) => break None,
                Err(_) => match Object(naming).deserialize(&mut reader) {
                    Ok(line) => {
                        if !counted(line) {
                            break None;
                        }
                    }
                    Err(error) => break Some(error),
                },
            }
        },
    };
    if let Some(error) = failed.filter(|_| goes_on) {
        cut(count + 1, error, take);
    }
}

fn json_lines(mut input: impl BufRead, naming: &Naming, take: &mut Take<'_>) {
    let (mut bytes, mut count) = (vec![], 0);
    loop {
        bytes.clear();
        count += 1;
        match input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => return cut(count, error, take),
        }
        if bytes.len() as u64 == LINE_BYTES_MAX && bytes.last() != Some(&b'\n') {
            return cut(count, format!("it has more than {LINE_BYTES_MAX} bytes"), take);
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let mut reader = serde_json::Deserializer::from_slice(&bytes);
        let read = Object(naming).deserialize(&mut reader);
        let line = read.and_then(|line| reader.end().map(|()| line));
        if !take(count, line.unwrap_or_else(|error| Line::Refused(error.to_string()))) {
            return;
        }
    }
}

fn csv(input: impl Read, naming: &Naming, take: &mut Take<'_>) {
    let mut reader = ::csv::ReaderBuilder::new().flexible(true).from_reader(input);
    let head = match reader.headers() {
        Ok(head) => head.clone(),
        Err(error) => return cut(1, error, take),
    };
    let name = |name: &str| naming.role(name.trim().trim_start_matches('\u{feff}'));
    let roles: Vec<Option<Role>> = head.iter().map(name).collect();
    if !can_tell(&roles) {
        return cut(
            1,
            format!("the columns do not say what is true of what: {}", naming.needs()),
            take,
        );
    }
    let mut record = ::csv::StringRecord::new();
    loop {
        let line = match reader.read_record(&mut record) {
            Ok(false) => return,
            Ok(true) => {
                let mut fields = Fields::default();
                for (role, cell) in roles.iter().zip(&record) {
                    let Some(role) = role else { continue };
                    let value = match role {
                        // Not as a number: `007` and `7` are two customers.
                        Role::Id | Role::Key | Role::KeyValue | Role::At => text_cell(cell),
                        Role::Row | Role::Truth(_) => Outcome::of_cell(cell),
                    };
                    fields.set(*role, Cell::new(value));
                }
                fields.line(naming)
            }
            Err(error) => Line::Refused(error.to_string()),
        };
        let number =
            record.position().or_else(|| Some(reader.position())).map_or(0, |at| at.line());
        if !take(number, line) {
            return;
        }
    }
}

/// A time in milliseconds is a number, everything else the text that it is.
fn text_cell(cell: &str) -> Result<Option<Outcome>, OutcomeError> {
    match cell.trim() {
        "" => Ok(None),
        text => Ok(Some(Outcome::Text(text.into()))),
    }
}

/// A list of objects, taken one by one.
struct List<'a, 'b> {
    naming: &'a Naming,
    take: &'a mut (dyn FnMut(Line) -> bool + 'b),
}

impl<'de> Visitor<'de> for List<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<(), A::Error> {
        while let Some(line) = all.next_element_seed(Object(self.naming))? {
            if !(self.take)(line) {
                return Err(A::Error::custom("ended"));
            }
        }
        Ok(())
    }
}

/// One object.
struct Object<'a>(&'a Naming);

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = Line;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Line, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Line;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key::<Cow<'_, str>>()? {
            match self.0.role(&name) {
                Some(role) => fields.set(role, map.next_value_seed(OneCell)?),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(fields.line(self.0))
    }
}

/// A value, or a list of them; anything else is read over.
struct OneCell;

impl<'de> DeserializeSeed<'de> for OneCell {
    type Value = Cell;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cell, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OneCell {
    type Value = Cell;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Cell, E> {
        Ok(Cell::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Cell, E> {
        Ok(Cell::Of(Outcome::Bool(truth)))
    }

    fn visit_i64<E>(self, whole: i64) -> Result<Cell, E> {
        Ok(Cell::Of(Outcome::Integer(whole)))
    }

    fn visit_u64<E>(self, whole: u64) -> Result<Cell, E> {
        Ok(Cell::new(match i64::try_from(whole) {
            Ok(whole) => Ok(Some(Outcome::Integer(whole))),
            Err(_) => Outcome::finite(whole as f64).map(Some),
        }))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Cell, E> {
        Ok(Cell::new(Outcome::finite(number).map(Some)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cell, E> {
        // Keys may be longer than classes; what is too long is refused by what it is for.
        let fits = text.len() <= super::KEY_BYTES_MAX;
        Ok(if fits {
            Cell::Of(Outcome::Text(text.into()))
        } else {
            Cell::Wrong(OutcomeError::Long)
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Cell, A::Error> {
        let mut cells = vec![];
        while cells.len() < LIST_MAX {
            match all.next_element_seed(OneCell)? {
                Some(Cell::List(_)) => cells.push(Cell::Wrong(OutcomeError::Form)),
                Some(cell) => cells.push(cell),
                None => return Ok(Cell::List(cells)),
            }
        }
        let mut rest = 0;
        while all.next_element::<IgnoredAny>()?.is_some() {
            rest += 1;
        }
        Ok(if rest > 0 { Cell::Wrong(OutcomeError::Form) } else { Cell::List(cells) })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Cell, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Cell::Wrong(OutcomeError::Form))
    }
}
