//! A sketch as bytes: a version of ours, a checksum, and the parts. Bytes that are damaged are an
//! error; what the library for sketches would allocate for them is bounded before it reads them.

use datasketches::frequencies::{FrequentItemValue, FrequentItemsSketch};
use datasketches::hll::{HllSketch, HllType};
use domain::Digest;

use super::top::Top;
use super::{ColumnSketch, DISTINCT_LG, Kind, Moments, Quantiles};

/// The longest body, in bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Of the whole form. The library's bytes are in it: another release of it is another version,
/// unless it is shown to read these.
const VERSION: u8 = 1;
/// Of the checksum: the first bytes of a SHA-256.
const CHECKSUM_BYTES: usize = 8;
/// No count is larger, so that sums of them are whole.
const COUNT_MAX: u64 = 1 << 53;
/// Where the library's forms say how large they are: bytes of the header, and what they must be.
const QUANTILES_K: (usize, [u8; 2]) = (4, 200_u16.to_le_bytes());
const DISTINCT_K: (usize, [u8; 1]) = (3, [DISTINCT_LG]);
const TOP_LG: (usize, [u8; 1]) = (3, [7]);
/// Once registers are in use, they come after such a header (its first byte says so), which has the
/// number of those that are 0. A register is the number of a bit of 64.
const REGISTERS_MARK: u8 = 10;
const REGISTERS_ZEROS: usize = 32;
const REGISTERS_AT: usize = 40;
const REGISTER_MAX: u8 = 63;

/// Why bytes are no sketch.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BodyError {
    /// Written by a newer Decalog.
    #[error("has the version {0}, and this Decalog reads up to {VERSION}: use the newer one")]
    Version(u8),
    /// The bytes have changed, or were never a sketch.
    #[error("is damaged: its {0} cannot be read")]
    Damaged(&'static str),
}

/// Puts the version and the checksum before what was written.
pub(crate) fn sealed(payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(1 + CHECKSUM_BYTES + payload.len());
    body.push(VERSION);
    body.extend_from_slice(&Digest::of(payload).0[..CHECKSUM_BYTES]);
    body.extend_from_slice(payload);
    body
}

/// What was written, if it is unchanged and no longer than so many bytes.
pub(crate) fn unsealed(body: &[u8], bytes_max: usize) -> Result<&[u8], BodyError> {
    let (version, rest) = body.split_first().ok_or(BodyError::Damaged("length"))?;
    if *version > VERSION {
        return Err(BodyError::Version(*version));
    }
    let parts = rest.split_at_checked(CHECKSUM_BYTES);
    let (checksum, payload) = parts.ok_or(BodyError::Damaged("length"))?;
    if *version != VERSION || body.len() > bytes_max {
        return Err(BodyError::Damaged("length"));
    }
    if Digest::of(payload).0[..CHECKSUM_BYTES] != *checksum {
        return Err(BodyError::Damaged("checksum"));
    }
    Ok(payload)
}

/// Writes parts one after the other.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn moments(&mut self, moments: &Moments) {
        self.number(moments.count);
        for float in [moments.mean, moments.squares, moments.min, moments.max] {
            self.number(float.to_bits());
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }
}

/// Reads what a [`Writer`] wrote.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn number(&mut self) -> Result<u64, BodyError> {
        let (number, rest) = self.0.split_first_chunk().ok_or(BodyError::Damaged("length"))?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*number))
    }

    fn count(&mut self) -> Result<u64, BodyError> {
        let count = self.number()?;
        if count <= COUNT_MAX { Ok(count) } else { Err(BodyError::Damaged("count")) }
    }

    fn moments(&mut self) -> Result<Moments, BodyError> {
        let count = self.count()?;
        let mut float = || self.number().map(f64::from_bits);
        let moments =
            Moments { count, mean: float()?, squares: float()?, min: float()?, max: float()? };
        let is_sound = count == 0 || moments.min.is_finite() && moments.min <= moments.max;
        if is_sound { Ok(moments) } else { Err(BodyError::Damaged("moments")) }
    }

    fn bytes(&mut self) -> Result<&'b [u8], BodyError> {
        let length = usize::try_from(self.number()?).ok();
        let parts = length.and_then(|length| self.0.split_at_checked(length));
        let (bytes, rest) = parts.ok_or(BodyError::Damaged("length"))?;
        self.0 = rest;
        Ok(bytes)
    }
}

impl ColumnSketch {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.number(Kind::ALL.iter().position(|kind| *kind == self.kind).unwrap_or(0) as u64);
        for count in [self.rows, self.missing, self.non_finite, self.trues] {
            writer.number(count);
        }
        writer.moments(&self.numbers);
        writer.moments(&self.elements);
        writer.bytes(&self.quantiles.serialize());
        writer.bytes(&self.distinct.as_ref().map(HllSketch::serialize).unwrap_or_default());
        writer.bytes(&match &self.top {
            Top::Integers(top) => top.serialize(),
            Top::Texts(top) => top.serialize(),
            Top::Nothing => vec![],
        });
        sealed(&writer.0)
    }

    /// From bytes.
    pub fn decode(body: &[u8]) -> Result<ColumnSketch, BodyError> {
        let mut reader = Reader(unsealed(body, BODY_BYTES_MAX)?);
        let kind = Kind::ALL.get(usize::try_from(reader.number()?).unwrap_or(usize::MAX));
        let kind = *kind.ok_or(BodyError::Damaged("kind"))?;
        let sketch = ColumnSketch {
            rows: reader.count()?,
            missing: reader.count()?,
            non_finite: reader.count()?,
            trues: reader.count()?,
            numbers: reader.moments()?,
            elements: reader.moments()?,
            quantiles: quantiles(reader.bytes()?)?,
            distinct: distinct(reader.bytes()?)?,
            top: top(kind, reader.bytes()?)?,
            ..ColumnSketch::new(kind)
        };
        let has_distinct = ColumnSketch::new(kind).distinct.is_some();
        let has_quantiles = kind == Kind::Bool || sketch.quantiles.n() == sketch.numbers.count;
        let values = [sketch.missing, sketch.non_finite, sketch.numbers.count].iter().sum::<u64>();
        let is_sound = has_quantiles
            && values <= sketch.rows
            && sketch.trues <= sketch.numbers.count
            && sketch.distinct.is_some() == has_distinct
            && reader.0.is_empty();
        if is_sound { Ok(sketch) } else { Err(BodyError::Damaged("counts")) }
    }
}

fn has<const N: usize>(bytes: &[u8], (at, wanted): (usize, [u8; N])) -> bool {
    bytes.get(at..at + N).is_some_and(|found| *found == wanted)
}

fn quantiles(bytes: &[u8]) -> Result<Quantiles, BodyError> {
    let damaged = BodyError::Damaged("quantiles");
    if !has(bytes, QUANTILES_K) {
        return Err(damaged);
    }
    let quantiles = Quantiles::deserialize(bytes).map_err(|_| damaged.clone())?;
    let is_finite =
        |item: Option<&_>| item.is_none_or(|item: &super::KllFloat<f64>| item.is_finite());
    let is_sound = is_finite(quantiles.min_item()) && is_finite(quantiles.max_item());
    if is_sound { Ok(quantiles) } else { Err(damaged) }
}

fn distinct(bytes: &[u8]) -> Result<Option<HllSketch>, BodyError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let damaged = BodyError::Damaged("distinct values");
    if !has(bytes, DISTINCT_K) || bytes[0] == REGISTERS_MARK && !has_sound_registers(bytes) {
        return Err(damaged);
    }
    let distinct = HllSketch::deserialize(bytes).map_err(|_| damaged.clone())?;
    let is_sound = distinct.target_type() == HllType::Hll8 && distinct.estimate().is_finite();
    if is_sound { Ok(Some(distinct)) } else { Err(damaged) }
}

/// The library relies on it, and does not check it.
fn has_sound_registers(bytes: &[u8]) -> bool {
    let registers = bytes.get(REGISTERS_AT..).unwrap_or_default();
    let zeros = registers.iter().filter(|register| **register == 0).count() as u32;
    registers.len() == 1 << DISTINCT_LG
        && registers.iter().all(|register| *register <= REGISTER_MAX)
        && has(bytes, (REGISTERS_ZEROS, zeros.to_le_bytes()))
}

fn top(kind: Kind, bytes: &[u8]) -> Result<Top, BodyError> {
    match kind {
        Kind::Integer => Ok(Top::Integers(frequent(bytes)?)),
        Kind::Text => Ok(Top::Texts(frequent(bytes)?)),
        Kind::Bool | Kind::Float | Kind::Tensor if bytes.is_empty() => Ok(Top::Nothing),
        Kind::Bool | Kind::Float | Kind::Tensor => Err(BodyError::Damaged("frequent values")),
    }
}

fn frequent<T: FrequentItemValue>(bytes: &[u8]) -> Result<FrequentItemsSketch<T>, BodyError> {
    let damaged = BodyError::Damaged("frequent values");
    if !has(bytes, TOP_LG) {
        return Err(damaged);
    }
    let top = FrequentItemsSketch::<T>::deserialize(bytes).map_err(|_| damaged.clone())?;
    let is_sound = top.total_weight() <= COUNT_MAX && top.maximum_error() <= top.total_weight();
    if is_sound { Ok(top) } else { Err(damaged) }
}
