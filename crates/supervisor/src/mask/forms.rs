//! The forms in which a secret may be printed: as it is, line by line; in base64, also as a part of
//! something longer; and percent-encoded.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Shorter values, and lines of values, are not looked for: they are in many other words.
pub const SECRET_BYTES_MIN: usize = 8;
/// Longer forms are looked for piece by piece. It bounds what is held back.
const PIECE_BYTES: usize = 256;

/// What percent-encoders leave as it is, beside letters and digits: by RFC 3986, as Python's
/// `quote` and `quote_plus`, as JavaScript's `encodeURIComponent` and `encodeURI`.
const LEFT_AS_THEY_ARE: [&[u8]; 4] = [b"-_.~", b"-_.~/", b"-_.~!'()*", b"-_.~!'()*;/?:@&=+$,#"];

/// All patterns to look for, each at least [`SECRET_BYTES_MIN`] long.
pub fn patterns(value: &str) -> BTreeSet<Vec<u8>> {
    let lines = value.lines().filter(|line| line.len() >= SECRET_BYTES_MIN);
    let mut forms: BTreeSet<Vec<u8>> = lines.clone().map(|line| line.as_bytes().to_vec()).collect();
    let whole = Some(value).filter(|value| value.len() >= SECRET_BYTES_MIN);
    for source in lines.chain(whole) {
        base64(source.as_bytes(), &mut forms);
        percent(source.as_bytes(), &mut forms);
    }
    forms.iter().flat_map(|form| pieces(form)).collect()
}

/// A form, cut so that no piece is too long and none too short.
fn pieces(form: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let mut rest = form;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let is_last = rest.len() < PIECE_BYTES + SECRET_BYTES_MIN;
        let (piece, after) = rest.split_at(if is_last { rest.len() } else { PIECE_BYTES });
        rest = after;
        Some(piece.to_vec())
    })
}

/// Both alphabets, and all three places that bytes have within a group of three. What stands before
/// and after changes the characters at the ends, so there are forms without them; those with the
/// last one, and with what fills the group, are for a secret that stands at the end.
fn base64(source: &[u8], forms: &mut BTreeSet<Vec<u8>>) {
    for alphabet in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        for before in 0..3 {
            let encoded = alphabet.encode([&[0; 2][..before], source].concat()).into_bytes();
            let first = [0, 2, 3][before];
            let inner = (before + source.len()) * 8 / 6;
            forms.insert(encoded[first..inner].to_vec());
            forms.insert(encoded[first..].to_vec());
            let mut filled = encoded[first..].to_vec();
            filled.resize(filled.len() + (4 - encoded.len() % 4) % 4, b'=');
            forms.insert(filled);
        }
    }
}

/// With digits in upper and lower case, and spaces as `%20` and as `+`.
fn percent(source: &[u8], forms: &mut BTreeSet<Vec<u8>>) {
    for digits in [b"0123456789ABCDEF", b"0123456789abcdef"] {
        for left in LEFT_AS_THEY_ARE {
            for space in [b"%20".as_slice(), b"+"] {
                let mut form = Vec::with_capacity(source.len());
                for byte in source {
                    match byte {
                        b' ' => form.extend_from_slice(space),
                        byte if byte.is_ascii_alphanumeric() || left.contains(byte) => {
                            form.push(*byte)
                        }
                        byte => {
                            let (high, low) = (byte >> 4, byte & 15);
                            form.extend([b'%', digits[high as usize], digits[low as usize]]);
                        }
                    }
                }
                forms.insert(form);
            }
        }
    }
}
