//! Reads a worker's answer. It is input like any other: every number in it is bounded, and whatever
//! is wrong with it is the worker's fault.

use std::borrow::Cow;

use bytes::Bytes;
use domain::route::WorkerProtocol;
use domain::schema::Schema;
use domain::{Code, Datatype, Problem};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::answer::{Answer, Given};
use crate::at_most::AtMost;
use crate::fault::{WorkerFault, words};
use crate::limits::{
    DIMENSIONS_READ_MAX, NAME_BYTES_MAX, PARTS_MAX, SENTENCE_CHARS_MAX, TENSORS_MAX, cut, is_deep,
    shown_name,
};
use crate::oip::{BASE64, decode_data, split};
use crate::tensor::{Tensor, elements, push_byte_element, too_large};

/// Reads a worker's answer for a batch of `rows`, in the form that the worker speaks. `wanted` are
/// the outputs that it was asked for; empty means all.
pub fn decode(
    protocol: &WorkerProtocol,
    body: Bytes,
    header_bytes: Option<usize>,
    rows: usize,
    wanted: &[String],
    schema: &Schema,
) -> Result<Answer, WorkerFault> {
    let answer = match protocol {
        WorkerProtocol::Plain(_) => decode_plain(&body, rows, schema),
        _ => decode_answer(body, header_bytes, rows, schema),
    }?;
    answer.has_declared(wanted, schema)?;
    Ok(answer)
}

/// An answer has `outputs`, or `parts` for rows beside each other that differ in theirs.
#[derive(Deserialize)]
struct ResponseJson<'a> {
    #[serde(borrow, default)]
    outputs: Option<Outputs<'a>>,
    #[serde(borrow, default)]
    parts: Option<AtMost<PartJson<'a>, PARTS_MAX>>,
}

type Outputs<'a> = AtMost<OutputJson<'a>, TENSORS_MAX>;

/// Rows that have the same outputs, or that failed.
#[derive(Deserialize)]
struct PartJson<'a> {
    rows: usize,
    #[serde(borrow, default)]
    outputs: Option<Outputs<'a>>,
    #[serde(borrow, default)]
    problem: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct OutputJson<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    datatype: Cow<'a, str>,
    shape: AtMost<u64, DIMENSIONS_READ_MAX>,
    #[serde(borrow, default)]
    parameters: Option<OutputParameters<'a>>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct OutputParameters<'a> {
    #[serde(default)]
    binary_data_size: Option<usize>,
    #[serde(borrow, default)]
    content_type: Option<Cow<'a, str>>,
}

fn unreadable(error: &serde_json::Error) -> WorkerFault {
    WorkerFault::malformed(format!(
        "the worker's answer cannot be read: {}",
        cut(&error.to_string(), SENTENCE_CHARS_MAX)
    ))
}

/// Reads an answer in the Open Inference Protocol.
pub fn decode_answer(
    body: Bytes,
    header_bytes: Option<usize>,
    rows: usize,
    schema: &Schema,
) -> Result<Answer, WorkerFault> {
    let (json, mut blobs) = split(&body, header_bytes)?;
    let read: ResponseJson = serde_json::from_slice(&json).map_err(|error| unreadable(&error))?;
    let mut given: Vec<Given> = vec![];
    match (read.outputs, read.parts) {
        (Some(outputs), None) => given.push((rows, Ok(decode_outputs(outputs, &mut blobs)?))),
        (None, Some(parts)) => {
            for part in parts.0 {
                let outputs = match (part.problem, part.outputs) {
                    (Some(problem), _) => {
                        Err(words(problem.get().as_bytes()).unwrap_or_else(|| {
                            Problem::new(
                                Code::ModelRaised,
                                "the worker failed a row, but does not say why",
                            )
                        }))
                    }
                    (None, Some(outputs)) => Ok(decode_outputs(outputs, &mut blobs)?),
                    (None, None) => Ok(vec![]),
                };
                given.push((part.rows, outputs));
            }
        }
        _ => {
            return Err(WorkerFault::malformed(
                "the worker's answer has neither outputs nor parts, or both",
            ));
        }
    }
    if !blobs.is_empty() {
        return Err(WorkerFault::malformed(format!(
            "{} bytes are left behind the worker's outputs",
            blobs.len()
        )));
    }
    Answer::from_parts(given, rows, schema)
}

fn decode_outputs(outputs: Outputs, blobs: &mut Bytes) -> Result<Vec<Tensor>, WorkerFault> {
    outputs.0.into_iter().map(|output| decode_output(output, blobs)).collect()
}

fn decode_output(output: OutputJson, blobs: &mut Bytes) -> Result<Tensor, WorkerFault> {
    let OutputJson { name, datatype, shape, parameters, data } = output;
    let (name, parameters) = (bounded(name)?, parameters.unwrap_or_default());
    let wire = Datatype::from_name(&datatype).ok_or_else(|| {
        WorkerFault::output(format!(
            "the output `{name}` has the unknown datatype `{}`",
            shown_name(&datatype)
        ))
    })?;
    let shape: Vec<usize> = shape
        .0
        .into_iter()
        .map(|dimension| usize::try_from(dimension).unwrap_or(usize::MAX))
        .collect();
    let count = elements(&shape).ok_or_else(|| too_large(&name, &shape))?;
    let data = match (parameters.binary_data_size, data) {
        (Some(size), _) if size <= blobs.len() => blobs.split_to(size),
        (Some(size), _) => {
            let text =
                format!("the output `{name}` announces {size} bytes, but {} are left", blobs.len());
            return Err(WorkerFault::malformed(text));
        }
        (None, Some(raw)) => {
            let is_base64 = parameters.content_type.as_deref() == Some(BASE64);
            decode_data(&name, wire, count, is_base64, raw)?
        }
        (None, None) => {
            return Err(WorkerFault::malformed(format!("the output `{name}` has no data")));
        }
    };
    let datatype = match parameters.content_type.as_deref() {
        Some("json") if wire == Datatype::Bytes => Datatype::Json,
        Some("timestamp") if wire == Datatype::Bytes => Datatype::Timestamp,
        _ => wire,
    };
    Ok(Tensor { name, datatype, shape, data })
}

fn bounded(name: Cow<str>) -> Result<String, WorkerFault> {
    if name.len() > NAME_BYTES_MAX {
        let text = format!("the output `{}` has a name of {} bytes", shown_name(&name), name.len());
        return Err(WorkerFault::output(text).help(format!("at most {NAME_BYTES_MAX} are allowed")));
    }
    Ok(name.into_owned())
}

fn wrong_rows(found: usize, rows: usize) -> WorkerFault {
    WorkerFault::output(format!("the worker gave {found} rows for {rows} rows of input"))
}

/// `{"rows": [{column: value, …}, …]}`. Columns that the schema does not know become JSON columns.
fn decode_plain(body: &[u8], rows: usize, schema: &Schema) -> Result<Answer, WorkerFault> {
    const HELP: &str =
        "a plain JSON worker answers {\"rows\": [{column: value, …}, …]}, one for each input row";
    if schema.promised().is_empty() {
        return decode_free(body, rows, schema).map_err(|fault| fault.help(HELP));
    }
    let columns = Schema {
        inputs: schema.outputs.clone(),
        outputs: schema.outputs.clone(),
        ..schema.clone()
    };
    let (payload, _) = crate::simple::decode(body, &columns).map_err(|problem| {
        let fault = match problem.code.as_str() {
            "bad_json" => WorkerFault::malformed(format!(
                "the worker's answer cannot be read: {}",
                problem.message
            )),
            _ => WorkerFault::output("the worker's answer does not fit the output schema"),
        };
        fault.details(problem.details).help(HELP)
    })?;
    if payload.rows != rows {
        return Err(wrong_rows(payload.rows, rows).help(HELP));
    }
    Answer::from_tensors(payload.to_tensors(&columns), rows, &columns)
}

/// Rows of any columns. Rows beside each other with the same keys in the same order are one part:
/// nobody gets the keys of another.
fn decode_free(body: &[u8], rows: usize, schema: &Schema) -> Result<Answer, WorkerFault> {
    let mut read = FreeRows { rows: 0, rows_max: rows, runs: vec![] };
    let mut reader = serde_json::Deserializer::from_slice(body);
    reader
        .deserialize_map(FreeTop(&mut read))
        .and_then(|()| reader.end())
        .map_err(|error| unreadable(&error))?;
    if read.rows != rows {
        return Err(wrong_rows(read.rows, rows));
    }
    let given = read.runs.into_iter().map(|run| (run.rows, Ok(run.into_tensors()))).collect();
    Answer::from_parts(given, rows, schema)
}

/// What rows of any columns are collected in.
struct FreeRows {
    rows: usize,
    rows_max: usize,
    runs: Vec<Run>,
}

/// Rows beside each other that have the same keys.
struct Run {
    rows: usize,
    names: Vec<String>,
    /// The elements of each.
    columns: Vec<Vec<u8>>,
}

impl Run {
    fn of(row: &[(Cow<str>, &RawValue)]) -> Result<Run, String> {
        let mut names = Vec::with_capacity(row.len());
        for (name, _) in row {
            names.push(bounded(Cow::Borrowed(name.as_ref())).map_err(|fault| fault.to_string())?);
        }
        Ok(Run { rows: 0, columns: vec![vec![]; names.len()], names })
    }

    fn has_keys_of(&self, row: &[(Cow<str>, &RawValue)]) -> bool {
        self.names.len() == row.len()
            && self.names.iter().zip(row).all(|(name, (key, _))| name == key)
    }

    fn into_tensors(self) -> Vec<Tensor> {
        let rows = self.rows;
        let tensor = |(name, data): (String, Vec<u8>)| Tensor {
            name,
            datatype: Datatype::Json,
            shape: vec![rows],
            data: Bytes::from(data),
        };
        self.names.into_iter().zip(self.columns).map(tensor).collect()
    }
}

impl FreeRows {
    fn row(&mut self, row: &[(Cow<str>, &RawValue)]) -> Result<(), String> {
        if !self.runs.last().is_some_and(|run| run.has_keys_of(row)) {
            if self.runs.len() == PARTS_MAX {
                return Err(format!("the keys of its rows change more than {PARTS_MAX} times"));
            }
            self.runs.push(Run::of(row)?);
        }
        if let Some(run) = self.runs.last_mut() {
            for (column, (_, raw)) in run.columns.iter_mut().zip(row) {
                push_byte_element(column, raw.get().as_bytes());
            }
            run.rows += 1;
        }
        self.rows += 1;
        Ok(())
    }
}

/// The whole answer; keys other than `rows` are passed over.
struct FreeTop<'r>(&'r mut FreeRows);

impl<'de> Visitor<'de> for FreeTop<'_> {
    type Value = ();
    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("{\"rows\": [...]}")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut found = false;
        while let Some(key) = map.next_key::<Cow<str>>()? {
            match (key.as_ref(), found) {
                ("rows", false) => map.next_value_seed(FreeSeed(&mut *self.0))?,
                ("rows", true) => return Err(A::Error::custom("`rows` is there twice")),
                _ => map.next_value::<serde::de::IgnoredAny>().map(|_| ())?,
            }
            found |= key == "rows";
        }
        if found { Ok(()) } else { Err(A::Error::custom("`rows` is missing")) }
    }
}

struct FreeSeed<'r>(&'r mut FreeRows);

impl<'de> DeserializeSeed<'de> for FreeSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for FreeSeed<'_> {
    type Value = ();
    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("an array of rows")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while elements.next_element_seed(FreeRow(&mut *self.0))?.is_some() {}
        Ok(())
    }
}

struct FreeRow<'r>(&'r mut FreeRows);

impl<'de> DeserializeSeed<'de> for FreeRow<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FreeRow<'_> {
    type Value = ();
    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("an object of output columns")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if self.0.rows == self.0.rows_max {
            return Err(A::Error::custom(format!("there are more than {} rows", self.0.rows_max)));
        }
        let mut row: Vec<(Cow<str>, &RawValue)> = vec![];
        while let Some(key) = map.next_key::<Cow<str>>()? {
            if row.len() == TENSORS_MAX {
                return Err(A::Error::custom(format!("a row has more than {TENSORS_MAX} columns")));
            }
            let raw = map.next_value::<&RawValue>()?;
            if is_deep(raw.get()) {
                return Err(A::Error::custom(format!("`{}` is nested too deep", shown_name(&key))));
            }
            row.push((key, raw));
        }
        self.0.row(&row).map_err(A::Error::custom)
    }
}
