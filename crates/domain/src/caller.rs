//! Callers: who asks, and with what, as the data plane found it out. What they may do is decided in
//! the crate `policy`.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::principal::Principal;
use crate::scope::Scopes;
use crate::token::TokenId;

/// Who asks.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Caller {
    /// Whose rights count.
    pub principal: Principal,
    /// The token that they came with, if it was one.
    pub token: Option<CallerToken>,
}

/// A token that somebody came with.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CallerToken {
    /// What it is called.
    pub id: TokenId,
    /// SHA-256 of its text, by which it is seen whether it is still good.
    pub digest: Digest,
    /// What it may be used for at most.
    pub scopes: Scopes,
    /// Whether somebody other than its owner has known its text.
    pub shared: bool,
    /// Who they are, as far as that is known.
    pub known_to: Vec<Principal>,
}

impl Caller {
    /// Decalog itself: its reconcilers and timers.
    pub const PLATFORM: Caller = Caller { principal: Principal::Platform, token: None };

    /// Whoever owns the data directory.
    pub const LOCAL_OWNER: Caller = Caller { principal: Principal::LocalOwner, token: None };

    /// Whether nobody but the principal can be behind this.
    pub fn is_in_person(&self) -> bool {
        self.token.as_ref().is_none_or(|token| !token.shared)
    }

    /// Who else has known what they came with: nothing is done with it that one of them could not do.
    pub fn known_to(&self) -> &[Principal] {
        self.token.as_ref().map_or(&[], |token| &token.known_to)
    }

    /// What they may do at most; none is no limit.
    pub fn scopes(&self) -> Option<&Scopes> {
        self.token.as_ref().map(|token| &token.scopes)
    }
}
