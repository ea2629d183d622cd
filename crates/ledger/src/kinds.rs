//! Kinds of events: a ledger with one that this program does not know is not written, because what
//! it means is not known.

use domain::event::{BODY_VERSION, Event, UnknownEvent};

use crate::LedgerError;
use crate::log::Entries;

/// Fails if some entry is of a kind or shape that this program does not know. Takes a look-up for
/// each, however many entries there are.
pub fn check(entries: &dyn Entries) -> Result<(), LedgerError> {
    let mut last = (String::new(), 0);
    loop {
        let Some((kind, version)) = entries.next_kind(&last.0, last.1)? else { return Ok(()) };
        if version != BODY_VERSION || !Event::KINDS.contains(&kind.as_str()) {
            let reason = "it was written by a newer program; upgrade this one".into();
            return Err(UnknownEvent { kind, version, reason }.into());
        }
        last = (kind, version);
    }
}
