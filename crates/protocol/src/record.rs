//! A record of one request as bytes: what the data plane leaves behind for whoever keeps records.
//! It is made with one copy and no allocation, and read without any trust in its bytes.
//!
//! All numbers are little-endian. A head of [`HEAD_BYTES`], then the texts, then the inputs in the
//! order of the schema, then the outputs by their names, then [`Traced`]. What was written before
//! that was added ends with the outputs; what will be added comes behind it and is passed over.

mod definition;
mod text;

use domain::Datatype;

pub use definition::Definition;
pub use text::{element_text, row_bytes, scalar_text};

use crate::payload::Cells;
use crate::tensor::Tensor;
use crate::trace::Traced;

/// The part of every record, in bytes.
pub const HEAD_BYTES: usize = 76;
/// The longest text of a record, in bytes; longer ones are cut.
pub const TEXT_BYTES_MAX: usize = 1_024;
/// The longest name of an output, in bytes.
const NAME_BYTES_MAX: usize = domain::schema::COLUMN_NAME_BYTES_MAX;

/// What became of a record's values.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Kept {
    /// There were none.
    #[default]
    None,
    /// They are all there.
    Whole,
    /// They were more than is kept of one request.
    Large,
    /// There was no room for them.
    Dropped,
}

impl Kept {
    const ALL: [Kept; 4] = [Kept::None, Kept::Whole, Kept::Large, Kept::Dropped];

    /// As records show it.
    pub fn name(self) -> &'static str {
        match self {
            Kept::None => "none",
            Kept::Whole => "whole",
            Kept::Large => "large",
            Kept::Dropped => "dropped",
        }
    }
}

/// What is known of every request. Times are in microseconds.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RecordHead<'a> {
    /// A UUIDv7: its first 48 bits are the time of the answer in milliseconds since 1970.
    pub id: [u8; 16],
    /// Names what answered; 0 if it was refused before a route was found.
    pub lane: u64,
    /// Of the route table.
    pub epoch: u64,
    /// The W3C trace id; zeros if there is none.
    pub trace: [u8; 16],
    /// Of the answer.
    pub status: u16,
    /// Whether it was a copy for a shadow.
    pub is_copy: bool,
    /// What became of its values.
    pub kept: Kept,
    /// Rows of the request.
    pub rows: u32,
    /// Rows of the batch that carried it.
    pub batch_rows: u32,
    /// Its first row there.
    pub batch_offset: u32,
    /// From being queued to being sent.
    pub queue_us: u32,
    /// From being sent to the worker's answer.
    pub worker_us: u32,
    /// From the first byte to the answer.
    pub total_us: u32,
    /// What the caller asked for.
    pub reference: &'a str,
    /// The stable code of the error, empty if there was none.
    pub code: &'a str,
    /// What the caller was told.
    pub error: &'a str,
    /// Who asked; empty if nobody said.
    pub principal: &'a str,
    /// What the truth is joined by; empty if nothing was named.
    pub key: &'a str,
    /// The copy of the model that answered; empty if none did.
    pub replica: &'a str,
}

/// A record to be written.
pub struct RecordOut<'a> {
    /// What is known of every request.
    pub head: RecordHead<'a>,
    /// In the order of the schema.
    pub inputs: &'a [Cells],
    /// With their leading dimension.
    pub outputs: &'a [Tensor],
    /// Of its trace.
    pub traced: Traced,
}

/// A record that was read.
#[derive(Clone, PartialEq, Debug)]
pub struct RecordIn<'a> {
    /// What is known of every request.
    pub head: RecordHead<'a>,
    /// In the order of the schema.
    pub inputs: Vec<ValuesIn<'a>>,
    /// By their names.
    pub outputs: Vec<ValuesIn<'a>>,
    /// Of its trace; zeros in records of before.
    pub traced: Traced,
}

/// The values of one column of a record.
#[derive(Clone, PartialEq, Debug)]
pub struct ValuesIn<'a> {
    /// Empty for inputs, which the schema names.
    pub name: &'a str,
    /// `None` for inputs.
    pub datatype: Option<Datatype>,
    /// Of one row for inputs, with the leading dimension for outputs.
    pub shape: Vec<usize>,
    /// As in a [`Tensor`].
    pub data: &'a [u8],
    /// 1 or 0 for each row, if some may be missing.
    pub valid: Option<&'a [u8]>,
}

/// What is no record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the bytes are no record: they end, or a number in them is wrong, at {0}")]
pub struct NoRecord(pub usize);

fn cut(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl<'a> RecordHead<'a> {
    fn texts(&self) -> [&'a str; 6] {
        [self.reference, self.code, self.error, self.principal, self.key, self.replica].map(cut)
    }
}

impl RecordOut<'_> {
    /// The bytes that [`RecordOut::write`] writes.
    pub fn size(&self) -> usize {
        let texts: usize = self.head.texts().iter().map(|text| 2 + text.len()).sum();
        let inputs: usize = self.inputs.iter().map(cells_bytes).sum();
        let outputs: usize = self.outputs.iter().map(tensor_bytes).sum();
        HEAD_BYTES + texts + 4 + inputs + outputs + Traced::BYTES
    }

    /// Writes the record to the begin of `out`, which has room for [`RecordOut::size`] bytes.
    pub fn write(&self, out: &mut [u8]) {
        let head = &self.head;
        let mut writer = Writer { out, at: 0 };
        writer.bytes(&head.id);
        writer.bytes(&head.lane.to_le_bytes());
        writer.bytes(&head.epoch.to_le_bytes());
        writer.bytes(&head.trace);
        writer.bytes(&head.status.to_le_bytes());
        writer.bytes(&[u8::from(head.is_copy), head.kept as u8]);
        for number in [
            head.rows,
            head.batch_rows,
            head.batch_offset,
            head.queue_us,
            head.worker_us,
            head.total_us,
        ] {
            writer.number(number as usize);
        }
        head.texts().iter().for_each(|text| writer.text(text));
        writer.bytes(&(self.inputs.len() as u16).to_le_bytes());
        writer.bytes(&(self.outputs.len() as u16).to_le_bytes());
        for cells in self.inputs {
            writer.values(&cells.shape, &cells.data, cells.valid.as_deref());
        }
        for tensor in self.outputs {
            writer.text(&tensor.name);
            let known = Datatype::ALL.iter().position(|known| *known == tensor.datatype);
            writer.bytes(&[known.unwrap_or(0) as u8]);
            writer.values(&tensor.shape, &tensor.data, None);
        }
        writer.bytes(&self.traced.to_bytes());
    }
}

fn values_bytes(shape: &[usize], data: &[u8], valid: Option<&[u8]>) -> usize {
    2 + 4 * shape.len() + 4 + data.len() + valid.map_or(0, |valid| 4 + valid.len())
}

fn cells_bytes(cells: &Cells) -> usize {
    values_bytes(&cells.shape, &cells.data, cells.valid.as_deref())
}

fn tensor_bytes(tensor: &Tensor) -> usize {
    2 + tensor.name.len() + 1 + values_bytes(&tensor.shape, &tensor.data, None)
}

struct Writer<'o> {
    out: &'o mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn number(&mut self, number: usize) {
        self.bytes(&(number as u32).to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.bytes(&(text.len() as u16).to_le_bytes());
        self.bytes(text.as_bytes());
    }

    fn values(&mut self, shape: &[usize], data: &[u8], valid: Option<&[u8]>) {
        self.bytes(&[shape.len() as u8, u8::from(valid.is_some())]);
        shape.iter().for_each(|dimension| self.number(*dimension));
        self.number(data.len());
        self.bytes(data);
        if let Some(valid) = valid {
            self.number(valid.len());
            self.bytes(valid);
        }
    }
}

impl<'a> RecordHead<'a> {
    /// Reads no more than what is known of every request.
    pub fn read(bytes: &'a [u8]) -> Result<RecordHead<'a>, NoRecord> {
        head(&mut Reader { bytes, at: 0 })
    }
}

impl<'a> RecordIn<'a> {
    /// Reads a record.
    pub fn read(bytes: &'a [u8]) -> Result<RecordIn<'a>, NoRecord> {
        let mut reader = Reader { bytes, at: 0 };
        let head = head(&mut reader)?;
        let (inputs, outputs) = (reader.short()?, reader.short()?);
        let inputs = (0..inputs).map(|_| reader.values("", None)).collect::<Result<_, _>>()?;
        let outputs = (0..outputs)
            .map(|_| {
                let name = reader.text(NAME_BYTES_MAX)?;
                let datatype = Datatype::ALL.get(usize::from(reader.byte()?)).copied();
                let datatype = datatype.ok_or(NoRecord(reader.at))?;
                reader.values(name, Some(datatype))
            })
            .collect::<Result<_, _>>()?;
        let traced = match reader.at == bytes.len() {
            true => Traced::default(),
            false => Traced::of_bytes(&reader.array()?),
        };
        Ok(RecordIn { head, inputs, outputs, traced })
    }
}

fn head<'a>(reader: &mut Reader<'a>) -> Result<RecordHead<'a>, NoRecord> {
    let id = reader.array()?;
    let (lane, epoch) = (u64::from_le_bytes(reader.array()?), u64::from_le_bytes(reader.array()?));
    let trace = reader.array()?;
    let status = u16::from_le_bytes(reader.array()?);
    let (is_copy, kept) = (reader.byte()? == 1, reader.byte()?);
    let kept = *Kept::ALL.get(usize::from(kept)).ok_or(NoRecord(reader.at))?;
    let mut numbers = [0; 6];
    for number in &mut numbers {
        *number = reader.number()? as u32;
    }
    let [rows, batch_rows, batch_offset, queue_us, worker_us, total_us] = numbers;
    let mut texts = [""; 6];
    for text in &mut texts {
        *text = reader.text(TEXT_BYTES_MAX)?;
    }
    let [reference, code, error, principal, key, replica] = texts;
    Ok(RecordHead {
        id,
        lane,
        epoch,
        trace,
        status,
        is_copy,
        kept,
        rows,
        batch_rows,
        batch_offset,
        queue_us,
        worker_us,
        total_us,
        reference,
        code,
        error,
        principal,
        key,
        replica,
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], NoRecord> {
        let end = self.at.checked_add(count).ok_or(NoRecord(self.at))?;
        let taken = self.bytes.get(self.at..end).ok_or(NoRecord(self.at))?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], NoRecord> {
        let at = self.at;
        self.take(N)?.try_into().map_err(|_| NoRecord(at))
    }

    fn byte(&mut self) -> Result<u8, NoRecord> {
        Ok(self.array::<1>()?[0])
    }

    fn short(&mut self) -> Result<usize, NoRecord> {
        Ok(usize::from(u16::from_le_bytes(self.array()?)))
    }

    fn number(&mut self) -> Result<usize, NoRecord> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    fn text(&mut self, bytes_max: usize) -> Result<&'a str, NoRecord> {
        let (at, length) = (self.at, self.short()?);
        if length > bytes_max {
            return Err(NoRecord(at));
        }
        std::str::from_utf8(self.take(length)?).map_err(|_| NoRecord(at))
    }

    fn values(
        &mut self,
        name: &'a str,
        datatype: Option<Datatype>,
    ) -> Result<ValuesIn<'a>, NoRecord> {
        let (dimensions, has_valid) = (self.byte()?, self.byte()? == 1);
        let shape = (0..dimensions).map(|_| self.number()).collect::<Result<_, _>>()?;
        let length = self.number()?;
        let data = self.take(length)?;
        let valid = match has_valid {
            true => {
                let length = self.number()?;
                Some(self.take(length)?)
            }
            false => None,
        };
        Ok(ValuesIn { name, datatype, shape, data, valid })
    }
}

/// Where records go. Nobody waits for it: what finds no room is counted there.
pub trait Recorder: Send + Sync {
    /// Makes room for so many bytes and lets them be written; `is_whole` says whether they hold the
    /// values too: these are the first to find no room. Gives whether they were taken.
    fn put(&self, bytes: usize, is_whole: bool, write: &mut dyn FnMut(&mut [u8])) -> bool;

    /// Says what a lane's number stands for, before its first record.
    fn define(&self, lane: u64, definition: &str);
}

#[cfg(test)]
mod tests;
