//! The context of a trace, as W3C Trace Context writes it in the header `traceparent`, and what of it
//! a record keeps.

/// The length of a `traceparent` of version 00, in bytes.
pub const TRACEPARENT_BYTES: usize = 55;
/// The flag that says that whoever began the trace keeps it.
pub const SAMPLED: u8 = 1;

/// Names a span, and says whether it is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TraceContext {
    /// Of the whole trace; zeros are none.
    pub trace: [u8; 16],
    /// Of the span; zeros are none.
    pub span: [u8; 8],
    /// As the header has them: [`SAMPLED`] and others.
    pub flags: u8,
}

impl TraceContext {
    /// Reads a header. One of a later version is read as far as version 00 goes; one with ids of
    /// zeros, capitals, or of another length is none.
    pub fn read(header: &[u8]) -> Option<TraceContext> {
        let (own, more) = header.split_at_checked(TRACEPARENT_BYTES)?;
        let [version] = digits::<1>(&own[..2])?;
        let is_whole = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more[0] == b'-',
        };
        if !is_whole || own[2] != b'-' || own[35] != b'-' || own[52] != b'-' {
            return None;
        }
        let (trace, span) = (digits::<16>(&own[3..35])?, digits::<8>(&own[36..52])?);
        let [flags] = digits::<1>(&own[53..])?;
        (trace != [0; 16] && span != [0; 8]).then_some(TraceContext { trace, span, flags })
    }

    /// The header.
    pub fn header(&self) -> [u8; TRACEPARENT_BYTES] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        // The places are as long as what is written.
        let _ = hex::encode_to_slice(self.trace, &mut text[3..35]);
        let _ = hex::encode_to_slice(self.span, &mut text[36..52]);
        let _ = hex::encode_to_slice([self.flags], &mut text[53..]);
        text
    }

    /// Whether the span is kept.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }
}

/// Bytes as digits in lower case.
fn digits<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

/// What a record keeps of its trace, beside the trace id. All of it is zeros where nobody traces.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traced {
    /// The caller's span; zeros if it named none.
    pub parent: [u8; 8],
    /// The request's own span.
    pub span: [u8; 8],
    /// The span of the batch that carried it; zeros if none did.
    pub batch: [u8; 8],
    /// [`SAMPLED`], [`Traced::FROM_CALLER`], [`Traced::SHARED`], [`Traced::OPEN_INFERENCE`].
    pub flags: u8,
    /// From the first byte of the request to being sent to the worker, in microseconds.
    pub sent_us: u32,
}

impl Traced {
    /// The caller has named its span, and said whether it is kept.
    pub const FROM_CALLER: u8 = 2;
    /// The batch carried several requests: its span is in a trace of its own.
    pub const SHARED: u8 = 4;
    /// The request came by the Open Inference Protocol.
    pub const OPEN_INFERENCE: u8 = 8;
    /// In a record.
    pub const BYTES: usize = 29;

    /// Whether a flag is set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// As a record has it.
    pub fn to_bytes(&self) -> [u8; Traced::BYTES] {
        let mut bytes = [0; Traced::BYTES];
        bytes[..8].copy_from_slice(&self.parent);
        bytes[8..16].copy_from_slice(&self.span);
        bytes[16..24].copy_from_slice(&self.batch);
        bytes[24] = self.flags;
        bytes[25..].copy_from_slice(&self.sent_us.to_le_bytes());
        bytes
    }

    /// Reads what [`Traced::to_bytes`] wrote.
    pub fn of_bytes(bytes: &[u8; Traced::BYTES]) -> Traced {
        let id = |at: usize| std::array::from_fn(|n| bytes[at + n]);
        Traced {
            parent: id(0),
            span: id(8),
            batch: id(16),
            flags: bytes[24],
            sent_us: u32::from_le_bytes(std::array::from_fn(|n| bytes[25 + n])),
        }
    }
}

/// Another id that follows from a span's: of the `n`th of its parts. Never zeros.
pub fn part_of(span: [u8; 8], n: u64) -> [u8; 8] {
    let mixed = mix(u64::from_be_bytes(span).wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    mixed.max(1).to_be_bytes()
}

/// The trace of a batch of several requests, which follows from its span: in no trace of a caller.
pub fn trace_of_batch(span: [u8; 8]) -> [u8; 16] {
    let mut trace = [0; 16];
    trace[..8].copy_from_slice(&part_of(span, 1));
    trace[8..].copy_from_slice(&part_of(span, 2));
    trace
}

/// The mixer of SplitMix64: all bits of the result depend on all bits of the number.
pub fn mix(number: u64) -> u64 {
    let mut hash = number;
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_header_is_read_and_written() {
        let context = TraceContext::read(GOOD).unwrap();
        assert_eq!((context.trace[..2].to_vec(), context.span[7]), (vec![0x4b, 0xf9], 0xb7));
        assert!(context.is_sampled());
        assert_eq!(context.header(), GOOD);
        let later = b"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-what-comes";
        assert!(!TraceContext::read(later).unwrap().is_sampled());
    }

    #[test]
    fn others_are_none() {
        for bad in [
            "",
            "00-",
            "00-4bf9",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what",
            "00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::read(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn what_a_record_keeps_is_read_again() {
        let traced = Traced {
            parent: [1; 8],
            span: [2; 8],
            batch: [3; 8],
            flags: SAMPLED | Traced::SHARED,
            sent_us: 4_000_000_000,
        };
        assert_eq!(Traced::of_bytes(&traced.to_bytes()), traced);
    }
}
