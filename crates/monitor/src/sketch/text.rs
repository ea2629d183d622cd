//! Texts of any length as values that are counted: their length, and as much of them as is kept.

use std::borrow::Cow;

/// What is kept of a text, in bytes of UTF-8; a longer one is cut between characters, and ends in
/// `…`. Texts that begin alike are one value then, but as distinct values they are counted whole.
pub const TEXT_BYTES_MAX: usize = 64;

const MORE: &str = "…";

/// How many characters; of bytes that are no UTF-8, how many begin one.
pub fn characters(text: &[u8]) -> usize {
    text.iter().filter(|byte| (**byte as i8) >= -0x40).count()
}

/// Gives as much of a text as is kept; what is no UTF-8 is replaced.
pub fn cut(text: &[u8], take: impl FnOnce(&str)) {
    if text.len() <= TEXT_BYTES_MAX
        && let Ok(whole) = std::str::from_utf8(text)
    {
        return take(whole);
    }
    // A replaced byte takes three, so that this is enough.
    let begin = &text[..text.len().min(TEXT_BYTES_MAX + 4)];
    let begin: Cow<str> = String::from_utf8_lossy(begin);
    if text.len() <= TEXT_BYTES_MAX && begin.len() <= TEXT_BYTES_MAX {
        return take(&begin);
    }
    let end = begin.floor_char_boundary(TEXT_BYTES_MAX - MORE.len());
    let mut short = [0; TEXT_BYTES_MAX];
    short[..end].copy_from_slice(&begin.as_bytes()[..end]);
    short[end..end + MORE.len()].copy_from_slice(MORE.as_bytes());
    if let Ok(short) = std::str::from_utf8(&short[..end + MORE.len()]) {
        take(short);
    }
}
