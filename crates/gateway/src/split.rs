//! Which version of a model answers: the live one, or the candidate of a release for its part of
//! the requests.

use std::sync::Arc;

use domain::route::{Candidate, SHARES};
use http::{HeaderMap, HeaderName};

use crate::lane::Lane;

/// What a reference without a version leads to.
pub struct Target {
    /// What is live.
    pub lane: Arc<Lane>,
    /// What is on its way to be.
    pub split: Option<Split>,
}

/// The candidate of a release.
pub struct Split {
    /// Its placement.
    pub lane: Arc<Lane>,
    /// Whether it gets copies.
    pub shadow: bool,
    /// By how much numbers of two answers may differ and still agree.
    pub tolerance: f64,
    share: u32,
    sticky: Option<HeaderName>,
    salt: u64,
}

impl Split {
    /// As the route table says.
    pub fn new(lane: Arc<Lane>, candidate: &Candidate) -> Split {
        let sticky =
            candidate.sticky.as_ref().and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok());
        let (shadow, share, salt, tolerance) =
            (candidate.shadow, candidate.share, candidate.salt, candidate.tolerance);
        Split { lane, shadow, tolerance, share, sticky, salt }
    }

    /// Whether this request belongs to the candidate's part.
    fn draws(&self, headers: &HeaderMap) -> bool {
        let key = self.sticky.as_ref().and_then(|name| headers.get(name));
        let ticket = match key {
            // The same caller draws the same ticket throughout a release: a growing share only adds
            // callers.
            Some(key) => (hash(self.salt, key.as_bytes()) % u64::from(SHARES)) as u32,
            None => fastrand::u32(..SHARES),
        };
        ticket < self.share
    }
}

impl Target {
    /// What answers a request. A candidate without a ready replica gets none: what is live answers
    /// instead.
    pub fn answers(&self, headers: &HeaderMap) -> &Arc<Lane> {
        match &self.split {
            Some(split) if !split.shadow && split.draws(headers) && split.lane.is_ready() => {
                &split.lane
            }
            _ => &self.lane,
        }
    }

    /// What gets a copy of a request, if anything does.
    pub fn copies_to(&self, headers: &HeaderMap) -> Option<&Split> {
        self.split.as_ref().filter(|split| split.shadow && split.draws(headers))
    }
}

/// FNV-1a over the salt and the key, finished by the mixer of SplitMix64: the same on all machines
/// and in all versions of this program.
fn hash(salt: u64, key: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in salt.to_le_bytes().iter().chain(key) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_spread_evenly_and_anew_for_each_release() {
        let below = |salt: u64, share: u64| {
            (0..10_000u32).filter(|n| hash(salt, n.to_string().as_bytes()) % 10_000 < share).count()
        };
        for salt in [1, 2, 77] {
            assert!((400..600).contains(&below(salt, 500)), "{}", below(salt, 500));
            assert!((4_700..5_300).contains(&below(salt, 5_000)));
        }
        let both = (0..10_000u32)
            .filter(|n| {
                [1, 2].iter().all(|salt| hash(*salt, n.to_string().as_bytes()) % 10_000 < 1_000)
            })
            .count();
        assert!((50..200).contains(&both), "{both} callers are drawn twice");
    }
}
