//! Content codings: what a caller has compressed is unpacked within the limits of a body, and a large
//! answer is compressed for who accepts that. A body without a coding does not come here.

use std::io::{self, ErrorKind, Read};

use bytes::Bytes;
use bytes::buf::{Buf, Reader};
use domain::problem::excerpt;
use domain::{Code, Problem};
use flate2::bufread::MultiGzDecoder;
use flate2::read::{GzEncoder, ZlibEncoder};
use flate2::{Compression, Decompress, FlushDecompress, Status};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use http::{HeaderMap, HeaderValue, Response, header};

use crate::admit::too_large;
use crate::body::Body;
use crate::heavy::{Cost, Heavy, INLINE_BYTES_MAX};
use crate::memory::Memory;

/// Answers that are shorter are left as they are: to compress them takes longer than to send them.
pub const PACKED_BYTES_MIN: usize = 64 * 1024;
/// Before it is written, an answer's length is only about known: from here on, in bytes of what the
/// model gave, it is looked at.
pub const LOOKED_AT_BYTES_MIN: usize = PACKED_BYTES_MIN / 8;
/// What is compressed to more than this, in percent, goes as it was: it cost the reader more than it
/// saves.
const PACKED_PERCENT_MAX: usize = 90;
/// So much is unpacked at a time, in bytes.
const STEP_BYTES: usize = 64 * 1024;
/// The window of Zstandard that a sender may ask for, as a power of two: 8 MiB, as RFC 9659 says.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Answers are compressed fast: level 1 of each.
const ZSTD_LEVEL: i32 = 1;
/// How much more work compressing is than writing the same bytes as text.
const PACKING_FACTOR: usize = 4;

/// How a body is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 1952.
    Gzip,
    /// RFC 1950, as HTTP means it; without its head, as some send it, a request is understood too.
    Deflate,
}

impl Coding {
    /// In the order in which they are used for answers.
    const ALL: [Coding; 3] = [Coding::Zstd, Coding::Gzip, Coding::Deflate];

    /// As headers write it.
    fn name(self) -> &'static str {
        match self {
            Coding::Zstd => "zstd",
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
        }
    }

    fn named(text: &str) -> Option<Coding> {
        let bare = text.strip_prefix("x-").unwrap_or(text);
        Coding::ALL.into_iter().find(|coding| bare.eq_ignore_ascii_case(coding.name()))
    }

    /// How a request says that its body is compressed.
    pub fn of(headers: &HeaderMap) -> Result<Option<Coding>, Problem> {
        let mut values = headers.get_all(CONTENT_ENCODING).iter();
        let Some(first) = values.next() else { return Ok(None) };
        let text = first.to_str().unwrap_or("?").trim();
        if values.next().is_some() {
            return Err(not_understood("several, in headers of their own"));
        }
        if text.is_empty() || text.eq_ignore_ascii_case("identity") {
            return Ok(None);
        }
        Coding::named(text).map(Some).ok_or_else(|| not_understood(text))
    }

    /// How whoever sent these headers would best have its answer compressed, if at all.
    pub fn accepted(headers: &HeaderMap) -> Option<Coding> {
        let lines = headers.get_all(ACCEPT_ENCODING).iter();
        let choices: Vec<(&str, f32)> = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .map(weighted)
            .collect();
        let weight = |coding: &Coding| {
            let named = choices.iter().find(|(name, _)| Coding::named(name) == Some(*coding));
            let any = choices.iter().find(|(name, _)| *name == "*");
            named.or(any).map_or(0.0, |(_, weight)| *weight)
        };
        let best = Coding::ALL.iter().map(weight).fold(0.0, f32::max);
        Coding::ALL.into_iter().find(|coding| best > 0.0 && weight(coding) == best)
    }
}

/// One choice of `Accept-Encoding`, with its weight.
fn weighted(choice: &str) -> (&str, f32) {
    let mut parts = choice.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
    (name, weight.unwrap_or(1.0))
}

/// The 415.
pub fn not_understood(what: &str) -> Problem {
    let text = format!("the body's Content-Encoding is `{}`", excerpt(what));
    Problem::new(Code::UnsupportedEncoding, text)
        .help("compress it with one of gzip, deflate and zstd, once, or send it as it is")
}

/// The refusal of a body that is not what its header says.
fn unreadable(coding: Coding, error: &io::Error) -> Problem {
    let text = format!("the body cannot be unpacked as {}: {error}", coding.name());
    let help = match coding {
        Coding::Zstd => {
            "compress it whole, with a window of at most 8 MiB (level 19 at most), or send it as it is"
        }
        _ => "compress it whole, or send it as it is",
    };
    Problem::new(Code::BadRequest, text).help(help)
}

/// What reads a compressed body.
enum Decoder {
    Gzip(MultiGzDecoder<Reader<Bytes>>),
    Deflate(Inflating),
    Zstd(zstd::stream::read::Decoder<'static, Reader<Bytes>>),
}

impl Decoder {
    fn new(coding: Coding, body: Bytes) -> io::Result<Decoder> {
        Ok(match coding {
            Coding::Gzip => Decoder::Gzip(MultiGzDecoder::new(body.reader())),
            Coding::Deflate => Decoder::Deflate(Inflating {
                inflate: Decompress::new(has_zlib_head(&body)),
                rest: body,
                is_over: false,
            }),
            Coding::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(body.reader())?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Decoder::Zstd(decoder)
            }
        })
    }
}

impl Read for Decoder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Decoder::Gzip(decoder) => decoder.read(buffer),
            Decoder::Deflate(decoder) => decoder.read(buffer),
            Decoder::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

/// Whether two bytes can be the head of RFC 1950.
fn has_zlib_head(body: &[u8]) -> bool {
    let [first, second, ..] = *body else { return false };
    first & 0x0f == 8 && u16::from_be_bytes([first, second]) % 31 == 0
}

/// A body in `deflate`. It must come to its end, and nothing may follow: the library's own reader
/// takes a body that was cut off for a whole one.
struct Inflating {
    inflate: Decompress,
    rest: Bytes,
    is_over: bool,
}

impl Read for Inflating {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let fails = |kind, text: &str| Err(io::Error::new(kind, text.to_string()));
        while !self.is_over && !buffer.is_empty() {
            let before = (self.inflate.total_in(), self.inflate.total_out());
            let status = self
                .inflate
                .decompress(&self.rest, buffer, FlushDecompress::None)
                .map_err(io::Error::other)?;
            let taken = (self.inflate.total_in() - before.0) as usize;
            let given = (self.inflate.total_out() - before.1) as usize;
            self.rest.advance(taken);
            self.is_over = status == Status::StreamEnd;
            if self.is_over && !self.rest.is_empty() {
                return fails(ErrorKind::InvalidData, "more follows its end");
            }
            if given > 0 {
                return Ok(given);
            }
            if !self.is_over && (taken == 0 || self.rest.is_empty()) {
                return fails(ErrorKind::UnexpectedEof, "it ends half-way");
            }
        }
        Ok(0)
    }
}

/// A body that is being unpacked: never to more than the limit, and with memory taken for it first.
struct Unpacking {
    coding: Coding,
    decoder: Decoder,
    unpacked: Vec<u8>,
    bytes_max: usize,
    memory: Memory,
    /// Bytes that are taken of it.
    held: usize,
}

impl Unpacking {
    /// Goes on until so many bytes are there, or all.
    fn run(&mut self, bytes: usize) -> Result<Progress, Problem> {
        loop {
            if self.unpacked.len() > self.bytes_max {
                let mut problem = too_large(self.bytes_max);
                problem.message += " when it is unpacked";
                return Err(problem);
            }
            if self.unpacked.len() >= bytes {
                return Ok(Progress::Part);
            }
            if self.unpacked.len() + STEP_BYTES > self.held {
                let step = self.held.max(STEP_BYTES);
                self.memory.grow(step)?;
                self.held += step;
            }
            match self.step() {
                Ok(0) => return Ok(Progress::Whole),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(self.coding, &error)),
            }
        }
    }

    fn step(&mut self) -> io::Result<usize> {
        let begin = self.unpacked.len();
        // One byte over the limit tells that it is over it.
        let step = STEP_BYTES.min(self.bytes_max + 1 - begin);
        self.unpacked.resize(begin + step, 0);
        let read = self.decoder.read(&mut self.unpacked[begin..]);
        self.unpacked.truncate(begin + *read.as_ref().unwrap_or(&0));
        read
    }
}

/// How far unpacking came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Progress {
    Part,
    Whole,
}

/// Unpacks a body. What turns out to be long goes on on another thread: a few bytes may be made
/// into as many as the limit allows.
pub async fn unpack(
    heavy: &Heavy,
    coding: Coding,
    body: Bytes,
    memory: Memory,
    bytes_max: usize,
) -> Result<(Bytes, Memory), Problem> {
    let (cost, held) = (Cost::Text(body.len()), body.len());
    let begin = move || {
        let decoder = Decoder::new(coding, body).map_err(|error| unreadable(coding, &error))?;
        let unpacked = vec![];
        let mut unpacking = Unpacking { coding, decoder, unpacked, bytes_max, memory, held };
        let progress = unpacking.run(INLINE_BYTES_MAX)?;
        Ok::<_, Problem>((unpacking, progress))
    };
    let (mut unpacking, progress) = heavy.run(cost, begin).await??;
    if progress == Progress::Part {
        let rest = move || unpacking.run(usize::MAX).map(|_| unpacking);
        unpacking = heavy.run(Cost::Text(usize::MAX), rest).await??;
    }
    Ok((unpacking.unpacked.into(), unpacking.memory))
}

/// How much work an answer is that may be compressed beside being written.
pub fn packing_cost(cost: Cost, coding: Option<Coding>) -> Cost {
    let (Cost::Text(bytes) | Cost::Copy(bytes)) = cost;
    match coding {
        Some(_) => Cost::Text(bytes.saturating_mul(PACKING_FACTOR)),
        None => cost,
    }
}

fn packed(coding: Coding, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut packed = Vec::with_capacity(bytes.len() / 2);
    match coding {
        Coding::Zstd => return zstd::bulk::compress(bytes, ZSTD_LEVEL),
        Coding::Gzip => GzEncoder::new(bytes, Compression::fast()).read_to_end(&mut packed)?,
        Coding::Deflate => ZlibEncoder::new(bytes, Compression::fast()).read_to_end(&mut packed)?,
    };
    Ok(packed)
}

/// Compresses what is worth it; `None` if it goes as it is.
pub fn pack(coding: Coding, bytes: &[u8]) -> Option<Bytes> {
    let packed = packed(coding, bytes).ok()?;
    let is_shorter = packed.len() <= bytes.len() / 100 * PACKED_PERCENT_MAX;
    is_shorter.then(|| packed.into())
}

/// Says how an answer is compressed, or that it might have been.
pub fn label(headers: &mut HeaderMap, coding: Option<Coding>) {
    headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Some(coding) = coding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    }
}

/// Compresses a whole answer of the data plane, if it is large.
pub fn pack_answer(response: &mut Response<Body>, coding: Coding) {
    let Some(bytes) = response.body_mut().whole() else { return };
    if bytes.len() < PACKED_BYTES_MIN {
        return;
    }
    let packed = pack(coding, bytes);
    let used = packed.as_ref().map(|_| coding);
    if let Some(packed) = packed {
        *bytes = packed;
    }
    label(response.headers_mut(), used);
}

/// Whether an answer of the control plane is text that is worth it to compress, and is not
/// compressed yet.
pub fn is_packable(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    let is_text = kind.starts_with("text/") || kind.ends_with("json") || kind.ends_with("-text");
    is_text && !headers.contains_key(CONTENT_ENCODING)
}

#[cfg(test)]
mod tests;
