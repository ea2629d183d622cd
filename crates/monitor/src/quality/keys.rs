//! Which keys an hour may have: a filter that says yes for all that it has, and for one in a hundred
//! that it has not (Bloom, CACM 1970).

use std::collections::HashSet;

/// Bits for each key, and how many of them are set.
const BITS: usize = 10;
const HASHES: u64 = 7;
/// The largest filter, in bytes; beyond 200,000 keys it says yes more often.
const BYTES_MAX: usize = 256 << 10;

/// A filter.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Keys(Vec<u8>);

impl From<Vec<u8>> for Keys {
    fn from(bytes: Vec<u8>) -> Keys {
        Keys(bytes)
    }
}

/// FNV-1a, mixed once more.
pub fn hash(key: &str) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let mut hash = key.bytes().fold(0xcbf2_9ce4_8422_2325, fold);
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ hash >> 29
}

impl Keys {
    /// Of keys by their hashes.
    pub fn of(hashes: &HashSet<u64>) -> Keys {
        if hashes.is_empty() {
            return Keys::default();
        }
        let bytes = (hashes.len() * BITS).div_ceil(8).clamp(8, BYTES_MAX);
        let mut keys = Keys(vec![0; bytes]);
        for hash in hashes {
            for bit in keys.bits(*hash) {
                keys.0[bit / 8] |= 1 << (bit % 8);
            }
        }
        keys
    }

    fn bits(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let (bits, step) = (self.0.len() as u64 * 8, hash >> 32 | 1);
        (0..HASHES).map(move |at| (hash.wrapping_add(at.wrapping_mul(step)) % bits) as usize)
    }

    /// Whether the key may be one of them.
    pub fn may_have(&self, key: &str) -> bool {
        !self.0.is_empty() && self.bits(hash(key)).all(|bit| self.0[bit / 8] & 1 << (bit % 8) != 0)
    }

    /// As it is stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_are_found_and_few_others() {
        let name = |at: u32| format!("customer={at}");
        let keys = Keys::of(&(0..5_000).map(|at| hash(&name(at))).collect());
        assert!((0..5_000).all(|at| keys.may_have(&name(at))));
        let wrong = (5_000..25_000).filter(|at| keys.may_have(&name(*at))).count();
        assert!(wrong < 500, "{wrong} of 20,000");
        assert!(!Keys::default().may_have("customer=1"));
        assert_eq!(Keys::from(keys.as_bytes().to_vec()), keys);
    }
}
