//! What is known of one issuer: its document and its keys, asked when they are first needed, again
//! when they are old, and again when a token names a key that is not among them, but never so often
//! that those who send tokens can make this machine flood somebody.

use std::sync::Arc;

use parking_lot::Mutex;

use super::OidcError;
use super::address::Issuer;
use super::asking::Asking;
use super::keys::Keys;
use super::metadata::Metadata;

/// How old may be what is known, in seconds, before it is asked again.
pub const KNOWN_S_MAX: u64 = 600;
/// How old may be what is known, in seconds, while the issuer does not answer: a key that it took
/// back would be good for as long.
pub const STALE_S_MAX: u64 = 6 * 3_600;
/// Between two times that an issuer is asked, in seconds, whatever is asked for.
pub const ASKED_AGAIN_S_MIN: u64 = 10;

/// What an issuer says.
pub struct Known {
    pub metadata: Metadata,
    pub keys: Keys,
    /// When it said so, in seconds since 1970.
    at_s: u64,
}

#[derive(Default)]
struct State {
    known: Option<Arc<Known>>,
    /// When it was last asked, in seconds since 1970, and what came of it.
    asked: Option<(u64, Result<Arc<Known>, OidcError>)>,
}

/// One issuer.
pub struct Source {
    issuer: Issuer,
    asking: Asking,
    state: Mutex<State>,
    /// Held while it is asked: one asks for all who wait.
    turn: Mutex<()>,
}

impl Source {
    /// Asks nothing yet.
    pub fn new(issuer: Issuer, asking: Asking) -> Source {
        Source { issuer, asking, state: Mutex::default(), turn: Mutex::default() }
    }

    /// Who it is.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// How it is asked.
    pub fn asking(&self) -> &Asking {
        &self.asking
    }

    /// What is known of it, not too old.
    pub fn known(&self, now_s: u64) -> Result<Arc<Known>, OidcError> {
        let is_fresh = |known: &Known| known.at_s.abs_diff(now_s) < KNOWN_S_MAX;
        if let Some(known) = self.state.lock().known.clone().filter(|known| is_fresh(known)) {
            return Ok(known);
        }
        let _turn = self.turn.lock();
        self.ask(now_s, is_fresh)
    }

    /// What it says now, where `known` did not do: the same again if it was asked a moment ago.
    pub fn newer(&self, known: &Arc<Known>, now_s: u64) -> Result<Arc<Known>, OidcError> {
        let _turn = self.turn.lock();
        self.ask(now_s, |other| !std::ptr::eq(other, &**known))
    }

    /// Asks unless what is known does meanwhile, or it was asked a moment ago.
    fn ask(&self, now_s: u64, does: impl Fn(&Known) -> bool) -> Result<Arc<Known>, OidcError> {
        let (known, asked) = {
            let state = self.state.lock();
            (state.known.clone(), state.asked.clone())
        };
        if let Some(known) = known.as_ref().filter(|known| does(known)) {
            return Ok(known.clone());
        }
        let answer = match asked {
            Some((at_s, answer)) if at_s.abs_diff(now_s) < ASKED_AGAIN_S_MIN => answer,
            _ => self.ask_now(now_s),
        };
        let is_stale = |known: &Known| known.at_s.abs_diff(now_s) >= STALE_S_MAX;
        answer.or_else(|error| known.filter(|known| !is_stale(known)).ok_or(error))
    }

    fn ask_now(&self, now_s: u64) -> Result<Arc<Known>, OidcError> {
        let answer = Metadata::ask(&self.asking, &self.issuer).and_then(|metadata| {
            let keys = Keys::ask(&self.asking, &self.issuer, &metadata)?;
            Ok(Arc::new(Known { metadata, keys, at_s: now_s }))
        });
        let mut state = self.state.lock();
        match &answer {
            Ok(known) => state.known = Some(known.clone()),
            Err(error) => tracing::warn!("{error}"),
        }
        state.asked = Some((now_s, answer.clone()));
        answer
    }
}
