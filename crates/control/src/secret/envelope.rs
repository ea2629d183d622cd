//! What a secret's file holds: the value, encrypted with a key of its own, and that key, wrapped.
//! Rotating keys replaces the latter and leaves the former as it is.

use super::key::KeyId;
use super::seal::SEALED_KEY_BYTES;

/// The first byte of a file that names the key that wraps its own.
const WITH_KEY_ID: u8 = 2;
const ID_BYTES: usize = 8;

/// A secret's file, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Envelope<'a> {
    /// What wraps the key of the value; `None` in files of older programs, which had one key.
    pub key: Option<KeyId>,
    /// The key of the value, wrapped.
    pub wrapped: &'a [u8],
    /// The value, encrypted.
    pub value: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Takes a file apart. Older files begin with random bytes, and only name a known key by one
    /// chance in 2^64.
    pub fn read(file: &'a [u8], is_known: impl Fn(KeyId) -> bool) -> Option<Envelope<'a>> {
        let newer = Envelope::read_with_id(file);
        if newer.is_some_and(|envelope| envelope.key.is_some_and(is_known)) {
            return newer;
        }
        let older = file.split_at_checked(SEALED_KEY_BYTES).map(|(wrapped, value)| Envelope {
            key: None,
            wrapped,
            value,
        });
        older.or(newer)
    }

    /// Takes a file apart that names a key; one that begins so by chance is taken for such a file.
    pub fn read_with_id(file: &'a [u8]) -> Option<Envelope<'a>> {
        let rest = file.strip_prefix(&[WITH_KEY_ID])?;
        let (id, rest) = rest.split_first_chunk::<ID_BYTES>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (wrapped, value) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        Some(Envelope { key: Some(KeyId(*id)), wrapped, value })
    }

    /// `2`, the key's id, the length of the wrapped key in two bytes, the wrapped key, the value.
    pub fn write(key: KeyId, wrapped: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        let length = u16::try_from(wrapped.len()).ok()?;
        Some([&[WITH_KEY_ID], &key.0[..], &length.to_be_bytes(), wrapped, value].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_both_kinds_are_told_apart() {
        let key = KeyId([7; 8]);
        let file = Envelope::write(key, &[1; 60], b"value").unwrap();
        let whole = Envelope { key: Some(key), wrapped: &[1; 60], value: b"value" };
        assert_eq!(Envelope::read(&file, |id| id == key), Some(whole));
        // Random bytes that look like it.
        let read = Envelope::read(&file, |_| false).unwrap();
        assert_eq!((read.key, read.wrapped.len(), read.value.len()), (None, 60, file.len() - 60));
        assert_eq!(Envelope::read(&file[..40], |_| true), None, "cut short");
        assert_eq!(Envelope::write(key, &vec![0; 1 << 16], b""), None);
    }
}
